//! Where a message belongs: a room of a realm.

use std::fmt;
use std::str::FromStr;

use sea_orm::DeriveValueType;
use serde::{Deserialize, Serialize};

/// A room's name: `^[A-Za-z0-9_-]{1,64}$`, so it is one subject token and never a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, DeriveValueType)]
#[serde(try_from = "String", into = "String")]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct Room(String);

/// Who may read a room: everybody, or admins only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub enum Realm {
    /// Rooms that everybody reads.
    Chat,
    /// Rooms that admins read.
    Admin,
}

/// An invalid room name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a room's name is 1 to 64 of the characters A-Z, a-z, 0-9, _ and -")]
pub struct BadRoom;

/// A realm that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a realm is chat or admin")]
pub struct BadRealm;

impl Room {
    /// The name, safe as one subject token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Realm {
    /// The name, which is also the first token of the realm's subjects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Admin => "admin",
        }
    }
}

/// Whether `name` is 1 to 64 of `[A-Za-z0-9_-]`: the rule for rooms and for message ids.
pub(crate) fn is_token(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl TryFrom<String> for Room {
    type Error = BadRoom;

    fn try_from(name: String) -> Result<Self, BadRoom> {
        if is_token(&name) {
            Ok(Self(name))
        } else {
            Err(BadRoom)
        }
    }
}

impl FromStr for Room {
    type Err = BadRoom;

    fn from_str(name: &str) -> Result<Self, BadRoom> {
        name.to_owned().try_into()
    }
}

impl From<Room> for String {
    fn from(room: Room) -> Self {
        room.0
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Realm {
    type Err = BadRealm;

    fn from_str(name: &str) -> Result<Self, BadRealm> {
        match name {
            "chat" => Ok(Self::Chat),
            "admin" => Ok(Self::Admin),
            _ => Err(BadRealm),
        }
    }
}

impl fmt::Display for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_in_json_is_checked() {
        assert_eq!(
            serde_json::to_string(&"general".parse::<Room>().unwrap()).unwrap(),
            r#""general""#
        );
        let error = serde_json::from_str::<Room>(r#""a.b""#).unwrap_err();
        assert!(
            error.to_string().starts_with(&BadRoom.to_string()),
            "{error}"
        );
    }

    #[test]
    fn realm_is_chat_or_admin() {
        for realm in [Realm::Chat, Realm::Admin] {
            assert_eq!(realm.to_string().parse::<Realm>(), Ok(realm));
        }
        for bad in ["", "Chat", "live", "chat "] {
            assert_eq!(bad.parse::<Realm>(), Err(BadRealm));
        }
    }
}
