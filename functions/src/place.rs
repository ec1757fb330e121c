//! The room that a request's subject names.

use natsfn::{Error, FromEvent, Request, Result};

use crate::message::room::{Realm, Room};
use crate::subjects;

/// A room of a realm, read from `<realm>.<verb>.<room>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Who may read it.
    pub realm: Realm,
    /// The room.
    pub room: Room,
}

impl Place {
    /// The subject under which the room's messages are logged.
    pub fn subject(&self) -> String {
        subjects::logged(self.realm, &self.room)
    }

    /// Parses a subject.
    ///
    /// # Errors
    /// 400 for another subject, or an invalid realm or room.
    pub fn of(subject: &str) -> Result<Self> {
        let mut tokens = subject.split('.');
        let (realm, room) = (tokens.next(), tokens.nth(1));
        let (Some(realm), Some(room)) = (realm, room) else {
            return Err(Error::bad_request(
                "the subject is not <realm>.<verb>.<room>",
            ));
        };
        Ok(Self {
            realm: realm.parse().map_err(refused)?,
            room: room.parse().map_err(refused)?,
        })
    }
}

fn refused(error: impl std::fmt::Display) -> Error {
    Error::bad_request(error.to_string())
}

impl<S> FromEvent<Request, S> for Place {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        Self::of(request.subject())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn realm_and_room_come_from_the_subject() {
        let place = Place::of("admin.send.ops").unwrap();
        assert_eq!((place.realm, place.room.as_str()), (Realm::Admin, "ops"));
        assert_eq!(place.subject(), "admin.ops");
        for bad in [
            "chat.send.*",
            "chat.send.>",
            "chat.send.История",
            "chat.send",
            "x.send.a",
        ] {
            assert_eq!(Place::of(bad).unwrap_err().kind().code(), 400, "{bad}");
        }
    }
}
