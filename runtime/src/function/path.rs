//! Reads the tokens of a subject into a value: one into a scalar, several into a tuple or struct.

mod misfit;

use std::marker::PhantomData;

use serde::de::value::{Error as ValueError, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as DeError, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::error::{Error, Result};

pub(crate) use misfit::misfit;

type Read<T, E> = std::result::Result<T, E>;

/// Makes a `T` from pairs of name and token. A wildcard is no value: the server lets anybody publish to one, and in a
/// subject that a function makes of it, it would stand for every other.
pub(crate) fn read<T: DeserializeOwned>(pairs: &[(&str, &str)]) -> Result<T> {
    if let Some((name, token)) = pairs.iter().find(|(_, it)| matches!(*it, "*" | ">")) {
        return Err(Error::bad_request(format!(
            "{name} {token:?}: is a wildcard, and must be one value"
        )));
    }
    let tokens: Vec<_> = pairs.iter().map(|(name, it)| (*name, Some(*it))).collect();
    let read: Read<T, ValueError> = T::deserialize(Tokens::new(&tokens));
    read.map_err(|error| match pairs {
        [(name, token)] => Error::bad_request(format!("{name} {:?}: {error}", shown(token))),
        _ => Error::bad_request(format!("the subject's tokens: {error}")),
    })
}

/// Enough of a token to recognise it; a hostile one may be long.
fn shown(token: &str) -> String {
    token.chars().take(80).collect()
}

/// Names with their tokens. A token of `None` fits every scalar: it serves to check the shape of a
/// type.
struct Tokens<'a, E> {
    pairs: &'a [(&'a str, Option<&'a str>)],
    error: PhantomData<E>,
}

impl<'a, E: DeError> Tokens<'a, E> {
    fn new(pairs: &'a [(&'a str, Option<&'a str>)]) -> Self {
        Self {
            pairs,
            error: PhantomData,
        }
    }

    fn takes(&self, n: usize) -> Read<(), E> {
        if self.pairs.len() == n {
            return Ok(());
        }
        let values = if n == 1 { "value" } else { "values" };
        let expected = format!("{n} {values}");
        Err(E::invalid_length(self.pairs.len(), &expected.as_str()))
    }

    fn only(&self) -> Read<Token<'a, E>, E> {
        self.takes(1)?;
        Ok(Token::new(self.pairs[0].1))
    }
}

macro_rules! from_the_only_token {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value, E> {
            self.only()?.$method(visitor)
        })*
    };
}

impl<'de, E: DeError> Deserializer<'de> for Tokens<'de, E> {
    type Error = E;

    from_the_only_token! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i128 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_option
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Read<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value, E> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value, E> {
        let tokens = self.pairs.iter().map(|(_, token)| Token::new(*token));
        visitor.visit_seq(SeqDeserializer::new(tokens))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, n: usize, visitor: V) -> Read<V::Value, E> {
        self.takes(n)?;
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        n: usize,
        visitor: V,
    ) -> Read<V::Value, E> {
        self.deserialize_tuple(n, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value, E> {
        let pairs = self.pairs.iter();
        let pairs = pairs.map(|(name, token)| (*name, Token::new(*token)));
        visitor.visit_map(MapDeserializer::new(pairs))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value, E> {
        self.deserialize_map(visitor)
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct identifier ignored_any }
}

/// One token: text that becomes whatever scalar is asked for.
struct Token<'de, E> {
    text: Option<&'de str>,
    error: PhantomData<E>,
}

impl<'de, E> Token<'de, E> {
    fn new(text: Option<&'de str>) -> Self {
        Self {
            text,
            error: PhantomData,
        }
    }
}

impl<'de, E: DeError> IntoDeserializer<'de, E> for Token<'de, E> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $any:literal $what:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value, E> {
            let value = match self.text {
                Some(text) => text.parse().map_err(|_| E::custom(concat!("is not ", $what)))?,
                None => $any,
            };
            visitor.$visit(value)
        })*
    };
}

impl<'de, E: DeError> Deserializer<'de> for Token<'de, E> {
    type Error = E;

    parsed! {
        deserialize_bool visit_bool false "true or false"
        deserialize_i8 visit_i8 1 "a number from -128 to 127"
        deserialize_i16 visit_i16 1 "a 16-bit number"
        deserialize_i32 visit_i32 1 "a 32-bit number"
        deserialize_i64 visit_i64 1 "a 64-bit number"
        deserialize_u8 visit_u8 1 "a number from 0 to 255"
        deserialize_u16 visit_u16 1 "a number from 0 to 65535"
        deserialize_u32 visit_u32 1 "a 32-bit number, not negative"
        deserialize_u64 visit_u64 1 "a 64-bit number, not negative"
        deserialize_i128 visit_i128 1 "a 128-bit number"
        deserialize_u128 visit_u128 1 "a 128-bit number, not negative"
        deserialize_f32 visit_f32 1.0 "a number"
        deserialize_f64 visit_f64 1.0 "a number"
        deserialize_char visit_char '1' "one character"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value, E> {
        visitor.visit_borrowed_str(self.text.unwrap_or("1"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Read<V::Value, E> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Read<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Read<V::Value, E> {
        let text = self.text.or(variants.first().copied()).unwrap_or_default();
        let text: StrDeserializer<'_, E> = text.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
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
    struct Office {
        city: String,
        floor: u8,
    }

    #[test]
    fn one_token_becomes_a_scalar_or_a_newtype() {
        assert_eq!(read::<Sku>(&[("sku", "x1")]).unwrap(), Sku("x1".into()));
        assert_eq!(read::<u32>(&[("n", "7")]).unwrap(), 7);
        assert_eq!(read::<u128>(&[("n", "7")]).unwrap(), 7);
        assert_eq!(read::<i128>(&[("n", "-7")]).unwrap(), -7);
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
            read::<Office>(&pairs).unwrap(),
            Office {
                city: "rome".into(),
                floor: 2
            }
        );
        assert!(read::<Sku>(&pairs).is_err());
    }
}
