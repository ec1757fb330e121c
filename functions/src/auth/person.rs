//! Somebody whose identity is proved.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// What somebody may do. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads chat rooms.
    Reader,
    /// Writes in chat rooms too.
    User,
    /// Reads and writes in admin rooms too.
    Admin,
}

/// A person who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The permanent id.
    pub uid: String,
    /// The display name.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What stands in front of the uid of everybody who does not log in here, but at a provider.
const FOREIGN: &str = "o-";

/// The longest subject of a provider that is used as it is.
const MAX_SUBJECT: usize = 60;

/// The longest display name, in characters.
const MAX_NAME: usize = 128;

/// What a display name keeps unencoded in a user name.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

impl Person {
    /// The user name of their connection: `<uid>~<name>`, the name percent-encoded, or just the uid
    /// where that is the name.
    pub fn user_name(&self) -> String {
        if self.name == self.uid {
            return self.uid.clone();
        }
        let name: String = self.name.chars().take(MAX_NAME).collect();
        format!("{}~{}", self.uid, utf8_percent_encode(&name, ENCODED))
    }
}

/// The uid of a provider's subject: `o-<subject>`. A subject that is no subject token on NATS, or
/// long, is hashed; the page computes the same.
pub fn uid_of_subject(subject: &str) -> String {
    let is_short = (1..=MAX_SUBJECT).contains(&subject.len());
    // A `-` in front tells a hash: nobody's subject may look like the hash of another's.
    if is_short && subject.bytes().all(is_plain) && !subject.starts_with('-') {
        return format!("{FOREIGN}{subject}");
    }
    let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(subject));
    format!("{FOREIGN}-{hash}")
}

/// Whether a local user may be called so: `[a-z0-9_-]{1,32}`, and not as somebody of a provider.
pub fn is_local_name(name: &str) -> bool {
    let is_lower = |byte: u8| is_plain(byte) && !byte.is_ascii_uppercase();
    (1..=32).contains(&name.len()) && name.bytes().all(is_lower) && !name.starts_with(FOREIGN)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_that_is_no_token_is_hashed() {
        assert_eq!(uid_of_subject("5c1e-x_Y"), "o-5c1e-x_Y");
        assert_eq!(
            uid_of_subject(&"a".repeat(60)),
            format!("o-{}", "a".repeat(60))
        );
        for subject in ["a.b", "*", ">", "a b", "é", "a~b", "-a", &"a".repeat(61)] {
            let uid = uid_of_subject(subject);
            assert_eq!(uid.len(), 3 + 43, "{subject}");
            assert!(uid.bytes().all(is_plain), "{uid}");
        }
        // SHA-256 of "a.b"; the page's tests have the same.
        assert_eq!(uid_of_subject("a.b"), HASHED);
    }

    const HASHED: &str = "o--LnM23I66h-9HLfVow1SCq_JXXcPl6sDFxiuP-urCyTQ";

    #[test]
    fn local_name_is_a_token_of_its_own() {
        for name in ["alice", "a", "bob-2", "x_y", "o", &"a".repeat(32)] {
            assert!(is_local_name(name), "{name}");
        }
        for name in [
            "",
            "Alice",
            "alice.send",
            "*",
            ">",
            "o-1",
            "a~b",
            "é",
            &"a".repeat(33),
        ] {
            assert!(!is_local_name(name), "{name}");
        }
    }

    #[test]
    fn user_name_is_one_token_of_harmless_characters() {
        let person = |name: &str| Person {
            uid: "bob".into(),
            name: name.into(),
            role: Role::User,
        };
        assert_eq!(person("bob").user_name(), "bob");
        assert_eq!(person("Bob").user_name(), "bob~Bob");
        assert_eq!(person("B. é~>").user_name(), "bob~B.%20%C3%A9%7E%3E");
        assert_eq!(person(&"x".repeat(1_000)).user_name().len(), 4 + MAX_NAME);
    }
}
