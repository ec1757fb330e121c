//! The login of a connection. Its files are read at each connect: a secret is replaced without a restart.

use std::path::{Path, PathBuf};

use async_nats::Auth;
use nkeys::KeyPair;
use zeroize::Zeroizing;

use crate::config::address::{TWO_LOGINS, UrlLogin};
use crate::config::{NatsConfig, Secret, text_of};

/// How a user proves who it is.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    User(String, Secret),
    Token(Secret),
    /// A file with the seed.
    Nkey(PathBuf),
    /// A file with a JWT and the seed.
    Creds(PathBuf),
}

impl Credentials {
    /// The login of a configuration, or of its address.
    ///
    /// # Errors
    /// There is more than one.
    pub(super) fn of(config: &NatsConfig, address: Option<UrlLogin>) -> Result<Self, String> {
        let user = config.user.clone();
        let logins = [
            user.map(|user| Self::User(user, config.password.clone().unwrap_or_default())),
            config.token.clone().map(Self::Token),
            config.nkey.clone().map(Self::Nkey),
            config.creds.clone().map(Self::Creds),
            address.map(|login| match login {
                UrlLogin::User(user, password) => Self::User(user, password),
                UrlLogin::Token(token) => Self::Token(token),
            }),
        ];
        let mut logins = logins.into_iter().flatten();
        match (logins.next(), logins.next()) {
            (_, Some(_)) => Err(TWO_LOGINS.to_owned()),
            (login, None) => Ok(login.unwrap_or(Self::None)),
        }
    }

    /// The answer to the server's nonce. `section` is the part of the configuration that the login stands in.
    ///
    /// # Errors
    /// A file cannot be read, or is not what it should be: the key, and why.
    pub(super) fn auth(&self, section: &str, nonce: &[u8]) -> Result<Auth, String> {
        let mut auth = Auth::new();
        let wrong = |key: &str, why: String| format!("{section}.{key}: {why}");
        match self {
            Self::None => {}
            Self::User(user, password) => {
                let password = password.now().map_err(|why| wrong("password", why))?;
                auth.username = Some(user.clone());
                auth.password = Some(password.expose().to_owned());
            }
            Self::Token(token) => {
                let token = token.now().map_err(|why| wrong("token", why))?;
                auth.token = Some(token.expose().to_owned());
            }
            Self::Nkey(file) => {
                let text = Zeroizing::new(text_of(file).map_err(|why| wrong("nkey", why))?);
                let key = text.lines().find_map(key);
                let key =
                    key.ok_or_else(|| wrong("nkey", invalid(file, "the seed of a user's nkey")))?;
                auth.signature = key.sign(nonce).ok();
                auth.nkey = Some(key.public_key());
            }
            Self::Creds(file) => {
                let text = Zeroizing::new(text_of(file).map_err(|why| wrong("creds", why))?);
                let mut blocks = blocks(&text);
                let jwt = blocks.next();
                let (Some(jwt), Some(key)) = (jwt, blocks.next().and_then(key)) else {
                    return Err(wrong(
                        "creds",
                        invalid(file, "a JWT and the seed of its user"),
                    ));
                };
                auth.signature = key.sign(nonce).ok();
                auth.jwt = Some(jwt.to_owned());
            }
        }
        Ok(auth)
    }
}

fn key(seed: &str) -> Option<KeyPair> {
    KeyPair::from_seed(seed.trim()).ok()
}

fn invalid(file: &Path, what: &str) -> String {
    format!("{} does not hold {what}", file.display())
}

/// The lines between two of dashes.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    std::iter::from_fn(move || {
        lines.find(|line| line.starts_with("---") && line.ends_with("---"))?;
        let line = lines.next();
        lines.next();
        line
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config() -> NatsConfig {
        NatsConfig::default()
    }

    fn auth(config: &NatsConfig) -> Result<Auth, String> {
        Credentials::of(config, None)?.auth("nats", b"nonce")
    }

    #[test]
    fn files_are_read_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let [seed, creds, password] =
            ["seed", "creds", "password"].map(|name| directory.path().join(name));
        fs::write(&password, "one\n").unwrap();
        let user = NatsConfig {
            user: Some("shop".to_owned()),
            password: Some(Secret::from_file(&password).unwrap()),
            ..config()
        };
        let nkey = NatsConfig {
            nkey: Some(seed.clone()),
            ..config()
        };
        let jwt = NatsConfig {
            creds: Some(creds.clone()),
            ..config()
        };
        for turn in ["one", "two"] {
            let key = KeyPair::new_user();
            fs::write(&password, format!("{turn}\n")).unwrap();
            fs::write(&seed, format!("{}\n", key.seed().unwrap())).unwrap();
            // nsc writes five, others other numbers, and an editor a mark at the beginning.
            let dashes = if turn == "one" {
                "-----"
            } else {
                "\u{feff}---"
            };
            let text = format!(
                "{dashes}BEGIN NATS USER JWT-----\r\n{turn}.jwt\r\n------END NATS USER JWT------\r\n\r\n\
                 *** IMPORTANT ***\r\n\r\n-----BEGIN USER NKEY SEED-----\r\n{}\r\n------END USER NKEY SEED------\r\n",
                key.seed().unwrap()
            );
            fs::write(&creds, text).unwrap();

            assert_eq!(auth(&user).unwrap().password.as_deref(), Some(turn));
            let signed = auth(&nkey).unwrap();
            assert_eq!(signed.nkey, Some(key.public_key()));
            key.verify(b"nonce", &signed.signature.unwrap()).unwrap();
            let signed = auth(&jwt).unwrap();
            assert_eq!(signed.jwt, Some(format!("{turn}.jwt")));
            key.verify(b"nonce", &signed.signature.unwrap()).unwrap();
        }
    }

    #[test]
    fn file_that_is_not_what_it_should_be_is_named_and_not_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hush");
        let nkey = NatsConfig {
            nkey: Some(file.clone()),
            ..config()
        };
        let creds = NatsConfig {
            creds: Some(file.clone()),
            ..config()
        };
        let refused = |config: &NatsConfig| auth(config).err().unwrap();
        assert!(refused(&nkey).contains("hush cannot be read"));
        for wrong in [
            "",
            "SUSECRET",
            "-----BEGIN A-----",
            "-----BEGIN A-----\na\n-----BEGIN B-----\nSUSECRET",
        ] {
            fs::write(&file, wrong).unwrap();
            for (config, what) in [
                (&nkey, "the seed of a user's nkey"),
                (&creds, "a JWT and the seed of its user"),
            ] {
                let refused = refused(config);
                assert!(
                    refused.ends_with(&format!("hush does not hold {what}")),
                    "{refused}"
                );
                assert!(!refused.contains("SUSECRET"));
            }
        }
    }

    #[test]
    fn one_login_is_enough() {
        let two = NatsConfig {
            token: Some("t".into()),
            creds: Some("c".into()),
            ..config()
        };
        assert!(Credentials::of(&two, None).is_err());
        let one = NatsConfig {
            token: Some("t".into()),
            ..config()
        };
        assert!(Credentials::of(&one, Some(UrlLogin::Token("t".into()))).is_err());
    }
}
