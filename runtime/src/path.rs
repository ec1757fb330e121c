//! Reads the tokens of a subject into a value: one into a scalar, several into a tuple or struct.

use serde::de::value::{Error as ValueError, MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::{Error, Result};

/// Makes a `T` of name and token pairs.
pub(crate) fn read<T: DeserializeOwned>(pairs: &[(&str, &str)]) -> Result<T> {
    T::deserialize(Tokens(pairs)).map_err(|error| match pairs {
        [(name, token)] => Error::bad_request(format!("{name} {:?}: {error}", shown(token))),
        _ => Error::bad_request(format!("the subject's tokens: {error}")),
    })
}

/// Enough of a token to recognise it: an attacker's may be long.
fn shown(token: &str) -> String {
    token.chars().take(80).collect()
}

struct Tokens<'a>(&'a [(&'a str, &'a str)]);

impl<'de> Tokens<'de> {
    fn only(&self) -> Result<Token<'de>, ValueError> {
        match self.0 {
            [(_, token)] => Ok(Token(token)),
            pairs => Err(ValueError::custom(format!(
                "one value is asked for, and the subject template names {}",
                pairs.len()
            ))),
        }
    }

    fn tokens(&self) -> impl Iterator<Item = Token<'de>> + use<'de> {
        self.0.iter().map(|(_, token)| Token(token))
    }
}

macro_rules! from_the_only_token {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            self.only()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Tokens<'de> {
    type Error = ValueError;

    from_the_only_token! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_option
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(SeqDeserializer::new(self.tokens()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_map(MapDeserializer::new(
            self.0.iter().map(|(name, token)| (*name, Token(token))),
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        self.deserialize_map(visitor)
    }

    forward_to_deserialize_any! { bytes byte_buf i128 u128 unit unit_struct tuple_struct identifier ignored_any }
}

/// One token: text that becomes whatever scalar is asked for.
struct Token<'de>(&'de str);

impl<'de> IntoDeserializer<'de, ValueError> for Token<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $what:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
            let value = self.0.parse().map_err(|_| ValueError::custom(concat!("is not ", $what)))?;
            visitor.$visit(value)
        })*
    };
}

impl<'de> Deserializer<'de> for Token<'de> {
    type Error = ValueError;

    parsed! {
        deserialize_bool visit_bool "true or false"
        deserialize_i8 visit_i8 "a number from -128 to 127"
        deserialize_i16 visit_i16 "a 16-bit number"
        deserialize_i32 visit_i32 "a 32-bit number"
        deserialize_i64 visit_i64 "a 64-bit number"
        deserialize_u8 visit_u8 "a number from 0 to 255"
        deserialize_u16 visit_u16 "a number from 0 to 65535"
        deserialize_u32 visit_u32 "a 32-bit number, not negative"
        deserialize_u64 visit_u64 "a 64-bit number, not negative"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
        deserialize_char visit_char "one character"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ValueError> {
        let text: serde::de::value::StrDeserializer<'_, ValueError> = self.0.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i128 u128 str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, Debug, PartialEq)]
    struct Sku(String);

    #[derive(Deserialize, Debug, PartialEq)]
    struct Place {
        city: String,
        floor: u8,
    }

    #[test]
    fn one_token_becomes_a_scalar_or_a_newtype() {
        assert_eq!(read::<Sku>(&[("sku", "x1")]).unwrap(), Sku("x1".into()));
        assert_eq!(read::<u32>(&[("n", "7")]).unwrap(), 7);
        assert!(
            read::<u32>(&[("n", "x")])
                .unwrap_err()
                .message()
                .contains("32-bit")
        );
    }

    #[test]
    fn several_tokens_become_a_tuple_or_a_struct() {
        let pairs = [("city", "rome"), ("floor", "2")];
        assert_eq!(read::<(String, u8)>(&pairs).unwrap(), ("rome".into(), 2));
        assert_eq!(
            read::<Place>(&pairs).unwrap(),
            Place {
                city: "rome".into(),
                floor: 2
            }
        );
        assert!(read::<Sku>(&pairs).is_err());
    }
}
