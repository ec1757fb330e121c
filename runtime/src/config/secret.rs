//! A text that is nobody else's business.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A text that no log and no error shows: it prints as `***`, and is overwritten when it is dropped.
///
/// ```
/// # use natsfn::config::Secret;
/// let password = Secret::from("hush");
/// assert_eq!(password.to_string(), "***");
/// assert_eq!(password.expose(), "hush");
/// ```
#[derive(Clone, Default, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// 128 random bits after a letter: digits alone would be a number in a configuration file.
    ///
    /// # Errors
    /// The machine has no random numbers to give.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
        Ok(Self::from(format!("s{}", digits.collect::<String>())))
    }

    /// The text itself, for where it is needed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self(Zeroizing::new(text.into()))
    }
}

impl PartialEq for Secret {
    /// Takes as long for a wrong guess as for a nearly right one.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_one_is_a_word_and_no_other_is_like_it() {
        let random = Secret::random().unwrap();
        let (letter, digits) = random.expose().split_at(1);
        assert_eq!(letter, "s");
        assert!(digits.len() == 32 && digits.bytes().all(|it| it.is_ascii_hexdigit()));
        assert_ne!(random, Secret::random().unwrap());
    }

    #[test]
    fn it_prints_as_stars_and_equals_itself_alone() {
        let secret = Secret::from("hush");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret, Secret::from("hush".to_owned()));
        for other in ["hus", "hushh", "husH", ""] {
            assert_ne!(secret, Secret::from(other));
        }
    }
}
