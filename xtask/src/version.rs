//! A version number, as the tools print it.

use std::fmt;

/// Major, minor, patch. A suffix (`-RC.1`, `beta2`) is not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// The first number in a tool's output, since each tool prints other words around it.
    pub(crate) fn find(text: &str) -> Option<Self> {
        let number = &text[text.find(|c: char| c.is_ascii_digit())?..];
        let end = number
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(number.len());
        let mut parts = number[..end].split('.').map_while(|part| part.parse().ok());
        let mut next = || parts.next().unwrap_or(0);
        Some(Self(next(), next(), next()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn version_is_found_in_what_each_tool_prints() {
        let cases = [
            ("nats-server: v2.15.2\n", Version(2, 15, 2)),
            ("v0.5.0", Version(0, 5, 0)),
            ("go version go1.26.8 linux/amd64", Version(1, 26, 8)),
            ("go version go1.27rc1 linux/amd64", Version(1, 27, 0)),
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)",
                Version(15, 18, 0),
            ),
            ("postgres (PostgreSQL) 19beta2", Version(19, 0, 0)),
        ];
        for (text, version) in cases {
            assert_eq!(Version::find(text), Some(version), "{text}");
        }
        assert_eq!(Version::find("development"), None);
    }

    #[test]
    fn versions_compare_as_numbers_and_not_as_text() {
        assert!(Version(2, 9, 25) < Version(2, 14, 0));
        assert!(Version(2, 14, 0) < Version(10, 0, 0));
    }
}
