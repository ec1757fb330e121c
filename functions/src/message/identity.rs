//! The sender: a uid and a display name, from the caller that the server stamped.

use natsfn::{Caller, Error, Kind, Result};
use percent_encoding::percent_decode_str;

use super::room::is_token;
use super::visible::is_visible;

/// The longest display name, in characters; the rest is cut.
const MAX_NAME: usize = 128;

/// A person. The user name of their connection is `<uid>~<name>`, the name percent-encoded, or the
/// uid alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The permanent id.
    pub uid: String,
    /// The display name.
    pub name: String,
}

impl Identity {
    /// Reads the caller.
    ///
    /// # Errors
    /// [`Kind::Forbidden`] for an invalid user name; only whoever creates users can cause it.
    pub fn of(caller: &Caller) -> Result<Self> {
        let nobody = || Error::new(Kind::Forbidden, "this user is not a person and cannot send");
        let (uid, name) = caller.user.split_once('~').unwrap_or((&caller.user, ""));
        if !is_token(uid) {
            return Err(nobody());
        }
        let name = percent_decode_str(name)
            .decode_utf8()
            .map_err(|_| nobody())?;
        let name: String = name
            .chars()
            .filter(|c| !c.is_control())
            .take(MAX_NAME)
            .collect();
        Ok(Self {
            uid: uid.to_owned(),
            name: if is_visible(&name) {
                name
            } else {
                uid.to_owned()
            },
        })
    }

    /// The key of rate limits: the uid, since a person's connections may have different names.
    pub fn key(caller: &Caller) -> String {
        let uid = caller.user.split('~').next();
        uid.unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(user: &str) -> Caller {
        Caller {
            user: user.into(),
            account: "PEOPLE".into(),
        }
    }

    #[test]
    fn user_name_without_a_valid_uid_is_forbidden() {
        for user in ["", "~alice", "a.b~x", "*", ">", "a b", "bob~%FF"] {
            assert_eq!(
                Identity::of(&caller(user)).unwrap_err().kind(),
                Kind::Forbidden,
                "{user}"
            );
        }
    }
}
