//! Whether a `Path<T>` fits the names of a subject template. Checked when a service is built; otherwise
//! every request would be refused, and every message would become a dead letter.

use std::fmt;

use serde::de::{DeserializeOwned, Error, Expected};

use super::Tokens;

/// Why a `T` can never be made from tokens with these names; `None` if it can, or if it depends on the
/// tokens.
pub(crate) fn misfit<T: DeserializeOwned>(names: &[&str]) -> Option<String> {
    let tokens: Vec<_> = names.iter().map(|name| (*name, None)).collect();
    match T::deserialize(Tokens::new(&tokens)) {
        Err(Misfit::Never(why)) => Some(why),
        Ok(_) | Err(Misfit::Unknown) => None,
    }
}

#[derive(Debug)]
enum Misfit {
    /// Every token fails.
    Never(String),
    /// The sample token failed; another may succeed.
    Unknown,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never(why) => f.write_str(why),
            Self::Unknown => f.write_str("the sample is refused"),
        }
    }
}

impl std::error::Error for Misfit {}

impl Error for Misfit {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::Unknown
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Never(format!("needs a name {{{field}}}"))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::Never(format!("knows no name {{{field}}}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::Never(format!("takes {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    struct Office {
        city: String,
        floor: u8,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape is looked at")]
    struct Maybe {
        city: String,
        floor: Option<u8>,
    }

    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Even;

    impl TryFrom<String> for Even {
        type Error = &'static str;

        fn try_from(text: String) -> Result<Self, Self::Error> {
            text.len().is_multiple_of(2).then_some(Self).ok_or("is odd")
        }
    }

    #[test]
    fn another_number_of_names_never_fits() {
        assert_eq!(misfit::<String>(&["a"]), None);
        assert_eq!(misfit::<Even>(&["a"]), None, "another token may be even");
        assert_eq!(misfit::<(String, u8)>(&["a", "b"]), None);
        assert_eq!(misfit::<Office>(&["city", "floor"]), None);
        assert_eq!(misfit::<Maybe>(&["city"]), None);
        assert_eq!(misfit::<Vec<String>>(&["a", "b", "c"]), None);

        let why = |found: Option<String>| found.unwrap();
        assert_eq!(why(misfit::<String>(&[])), "takes 1 value");
        assert_eq!(why(misfit::<Even>(&["a", "b"])), "takes 1 value");
        assert_eq!(why(misfit::<(String, u8)>(&["a"])), "takes 2 values");
        assert_eq!(why(misfit::<(String,)>(&["a", "b"])), "takes 1 value");
        assert_eq!(why(misfit::<Office>(&["city"])), "needs a name {floor}");
        assert_eq!(
            why(misfit::<Office>(&["city", "level"])),
            "needs a name {floor}"
        );
    }
}
