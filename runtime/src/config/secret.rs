//! A text that is nobody else's business.

use std::cell::Cell;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A text that no log and no error shows: it prints as `***`, and is overwritten when it is dropped.
///
/// In a configuration it is a text, or the file that has it, such as a mounted secret:
/// `password = { file = "/run/secrets/shop" }`. A line end after the text is not part of it.
///
/// ```
/// # use natsfn::config::Secret;
/// let password = Secret::from("hush");
/// assert_eq!(password.to_string(), "***");
/// assert_eq!(password.expose(), "hush");
/// ```
#[derive(Clone, Default, Eq)]
pub struct Secret {
    text: Zeroizing<String>,
    file: Option<PathBuf>,
}

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

    /// What a file has.
    ///
    /// # Errors
    /// A sentence with the file's name, which cannot be read or is empty.
    pub fn from_file(file: impl Into<PathBuf>) -> Result<Self, String> {
        let file = file.into();
        let mut text = Zeroizing::new(text_of(&file)?);
        let end = text.trim_end_matches(['\r', '\n']).len();
        if end == 0 {
            return Err(format!("{} is empty", file.display()));
        }
        text.truncate(end);
        Ok(Self {
            text,
            file: Some(file),
        })
    }

    /// The text itself, for where it is needed.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What the file has by now; without one the text itself.
    pub(crate) fn now(&self) -> Result<Self, String> {
        match &self.file {
            Some(file) => Self::from_file(file),
            None => Ok(self.clone()),
        }
    }
}

/// The text of a small file, or a sentence with its name.
pub(crate) fn text_of(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))
}

impl<T: Into<String>> From<T> for Secret {
    fn from(text: T) -> Self {
        Self {
            text: Zeroizing::new(text.into()),
            file: None,
        }
    }
}

impl PartialEq for Secret {
    /// Takes as long for a wrong guess as for a nearly right one.
    fn eq(&self, other: &Self) -> bool {
        self.text.as_bytes().ct_eq(other.text.as_bytes()).into()
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
        deserializer.deserialize_any(TextOrFile)
    }
}

thread_local! {
    /// Whether a configuration is being read.
    static FILES: Cell<bool> = const { Cell::new(false) };
}

/// Runs what reads a configuration, in which a secret may name its file.
#[cfg(any(feature = "cli", test))]
pub(super) fn with_files<T>(read: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            FILES.set(self.0);
        }
    }
    let _before = Before(FILES.replace(true));
    read()
}

struct TextOrFile;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InFile {
    file: PathBuf,
}

impl<'de> Visitor<'de> for TextOrFile {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or the file that has it")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(text.into())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        // Whoever sends JSON must not have files of this machine read.
        if !FILES.get() {
            return Err(A::Error::invalid_type(Unexpected::Map, &"a text"));
        }
        let InFile { file } = InFile::deserialize(MapAccessDeserializer::new(map))?;
        if file.as_os_str().is_empty() {
            return Err(A::Error::custom("has no file's name"));
        }
        Secret::from_file(file).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    fn file_has_it_without_the_line_end_and_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let value = || json!({ "file": file });
        let read = || with_files(|| serde_json::from_value::<Secret>(value()));
        let missing = read().unwrap_err().to_string();
        assert!(missing.contains("password cannot be read"), "{missing}");

        fs::write(&file, "\r\n").unwrap();
        let empty = read().unwrap_err().to_string();
        assert!(empty.contains("password is empty"), "{empty}");
        fs::write(&file, " hush\r\n").unwrap();
        let secret = read().unwrap();
        assert_eq!(secret.expose(), " hush");
        fs::write(&file, "other").unwrap();
        assert_eq!(secret.now().unwrap().expose(), "other");

        let elsewhere = serde_json::from_value::<Secret>(value()).unwrap_err();
        assert!(
            elsewhere.to_string().contains("invalid type"),
            "{elsewhere}"
        );
        let plain: Secret = serde_json::from_value(json!("text")).unwrap();
        assert_eq!(plain.now().unwrap().expose(), "text");
        for wrong in [
            json!(7),
            json!({ "fiel": "a" }),
            json!({ "file": file, "text": "a" }),
        ] {
            assert!(with_files(|| serde_json::from_value::<Secret>(wrong)).is_err());
        }
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
