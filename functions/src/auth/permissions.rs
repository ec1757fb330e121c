//! What a person may publish and subscribe.

use natsfn::auth_callout::Permissions;

use super::person::{Person, Role};
use crate::message::room::Realm;
use crate::subjects::{self, SESSION, USER_INFO};

/// The permissions of a person. Only who logged in with a password may ask for a session token, so
/// that nobody prolongs a session by itself.
pub fn permissions(person: &Person, with_password: bool) -> Permissions {
    let mut own = Permissions::none()
        .subscribe([subjects::inbox(&person.uid), subjects::hearing(Realm::Chat)])
        .publish([USER_INFO.to_owned(), subjects::asking(Realm::Chat)]);
    if person.role >= Role::User {
        own = own.publish([subjects::sending(Realm::Chat)]);
    }
    if person.role >= Role::Admin {
        own = own.subscribe([subjects::hearing(Realm::Admin)]).publish([
            subjects::sending(Realm::Admin),
            subjects::asking(Realm::Admin),
        ]);
    }
    if with_password {
        own = own.publish([SESSION]);
    }
    own
}

#[cfg(test)]
mod tests {
    use natsfn::Caller;
    use proptest::prelude::*;

    use super::*;
    use crate::auth::person::{is_local_name, uid_of_subject};
    use crate::message::identity::Identity;

    fn person(uid: &str, role: Role) -> Person {
        Person {
            uid: uid.to_owned(),
            name: uid.to_owned(),
            role,
        }
    }

    /// Whether a subject, which may have wildcards itself, lies wholly within a pattern.
    fn covers(pattern: &str, subject: &str) -> bool {
        let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
        loop {
            match (pattern.next(), subject.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(token)) if token != ">" => {}
                (Some(own), Some(token)) if own == token && own != "*" => {}
                _ => return false,
            }
        }
    }

    /// Whether some subject matches both patterns.
    fn overlap(one: &str, other: &str) -> bool {
        let (mut one, mut other) = (one.split('.'), other.split('.'));
        loop {
            match (one.next(), other.next()) {
                (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
                (Some(a), Some(b)) if a == b || a == "*" || b == "*" => {}
                _ => return false,
            }
        }
    }

    fn allows(list: &natsfn::auth_callout::Subjects, subject: &str) -> bool {
        assert!(list.deny.is_empty());
        list.allow.iter().any(|pattern| covers(pattern, subject))
    }

    /// Every subject of the contract: who may publish it, who may subscribe it. `-` is nobody.
    #[test]
    fn matrix_of_roles_and_subjects() {
        const EVERYBODY: &str = "rua";
        let table = [
            // subject, publish, subscribe: reader, user, admin; p: only with a password
            ("$SYS.REQ.USER.INFO", EVERYBODY, "-"),
            ("auth.session", "p", "-"),
            ("chat.history.general", EVERYBODY, "-"),
            ("chat.history.*", EVERYBODY, "-"),
            ("chat.send.general", "ua", "-"),
            ("admin.history.ops", "a", "-"),
            ("admin.send.ops", "a", "-"),
            ("live.chat.general", "-", EVERYBODY),
            ("live.chat.*", "-", EVERYBODY),
            ("live.admin.ops", "-", "a"),
            ("live.admin.*", "-", "a"),
            ("_INBOX.u.bob.x", "-", EVERYBODY),
            ("_INBOX.u.bob.>", "-", EVERYBODY),
            // What is nobody's.
            ("chat.general", "-", "-"),
            ("admin.ops", "-", "-"),
            ("chat.*", "-", "-"),
            ("chat.>", "-", "-"),
            ("chat.send.a.b", "-", "-"),
            ("live.>", "-", "-"),
            ("live.*.*", "-", "-"),
            ("_INBOX.>", "-", "-"),
            ("_INBOX.u.>", "-", "-"),
            ("_INBOX.u.*.>", "-", "-"),
            ("_INBOX.u.alice.x", "-", "-"),
            ("_INBOX.u.bob", "-", "-"),
            ("_INBOX.s.send.x", "-", "-"),
            ("_INBOX.o.operator.x", "-", "-"),
            ("_R_.x", "-", "-"),
            ("$SYS.REQ.USER.AUTH", "-", "-"),
            ("$SYS.REQ.SERVER.PING", "-", "-"),
            ("$SYS.>", "-", "-"),
            ("$JS.API.INFO", "-", "-"),
            ("$JS.API.STREAM.DELETE.CHAT_MESSAGES", "-", "-"),
            ("$JS.ACK.x", "-", "-"),
            ("$SRV.PING", "-", "-"),
            ("fn.chat.persist", "-", "-"),
            ("dead.chat.persist.x", "-", "-"),
            ("refused.live.chat.general", "-", "-"),
            (">", "-", "-"),
            ("*", "-", "-"),
        ];
        for (role, letter) in [(Role::Reader, 'r'), (Role::User, 'u'), (Role::Admin, 'a')] {
            for with_password in [false, true] {
                let own = permissions(&person("bob", role), with_password);
                for (subject, publish, subscribe) in table {
                    let may = |who: &str| who.contains(letter) || (with_password && who == "p");
                    assert_eq!(
                        allows(&own.publish, subject),
                        may(publish),
                        "{role:?} publishes {subject}"
                    );
                    assert_eq!(
                        allows(&own.subscribe, subject),
                        may(subscribe),
                        "{role:?} subscribes {subject}"
                    );
                }
            }
        }
    }

    /// A uid, however hostile what it is made of.
    fn uid() -> impl Strategy<Value = String> {
        let hostile = prop_oneof![
            any::<String>(),
            "[a-zA-Z0-9_.*>~ -]{0,70}",
            "(alice|bob|persist|operator|send)?[.*>~]{0,3}(alice|bob|persist)?",
        ];
        (hostile, any::<bool>()).prop_map(|(text, local)| {
            if local && is_local_name(&text) {
                text
            } else {
                uid_of_subject(&text)
            }
        })
    }

    fn role() -> impl Strategy<Value = Role> {
        prop_oneof![Just(Role::Reader), Just(Role::User), Just(Role::Admin)]
    }

    proptest! {
        #[test]
        fn nobody_reaches_what_only_another_may(
            one in uid(), other in uid(), name in any::<String>(), room in "[A-Za-z0-9_-]{1,64}",
            role in role(), token in "[A-Za-z0-9]{1,22}",
        ) {
            prop_assume!(one != other);
            let own = permissions(&Person { uid: one.clone(), name: name.clone(), role }, true);
            let Person { uid, .. } = person(&other, Role::Admin);
            // Another's inbox, a service's, an operator's: neither heard nor overlapped.
            for inbox in [
                format!("_INBOX.u.{uid}.{token}"),
                format!("_INBOX.u.{uid}.>"),
                format!("_INBOX.s.{uid}.>"),
                format!("_INBOX.o.{uid}.>"),
                "_INBOX.s.>".to_owned(),
                "_INBOX.o.>".to_owned(),
                format!("_R_.{token}"),
            ] {
                prop_assert!(own.subscribe.allow.iter().all(|list| !overlap(list, &inbox)), "{inbox}");
                prop_assert!(own.publish.allow.iter().all(|list| !overlap(list, &inbox)), "{inbox}");
            }
            // What only a higher role may.
            let (admins, writers) = (role == Role::Admin, role >= Role::User);
            prop_assert_eq!(allows(&own.subscribe, &format!("live.admin.{room}")), admins);
            prop_assert_eq!(allows(&own.publish, &format!("admin.send.{room}")), admins);
            prop_assert_eq!(allows(&own.publish, &format!("admin.history.{room}")), admins);
            prop_assert_eq!(allows(&own.publish, &format!("chat.send.{room}")), writers);
            for nobodys in [format!("chat.{room}"), format!("live.chat.{room}")] {
                prop_assert!(!allows(&own.publish, &nobodys));
            }
            // Every list is of whole subjects with few wildcards: none of somebody's making.
            for subject in own.subscribe.allow.iter().chain(&own.publish.allow) {
                prop_assert!(subject.split('.').all(|token| !token.is_empty()), "{subject}");
                prop_assert!(subject.split('.').filter(|t| matches!(*t, "*" | ">")).count() <= 1);
                prop_assert!(!subject.contains(char::is_whitespace));
            }
        }

        #[test]
        fn stamped_user_name_is_of_its_uid_whatever_the_display_name(
            uid in uid(), name in any::<String>(), role in role(),
        ) {
            let user = Person { uid: uid.clone(), name, role }.user_name();
            prop_assert!(user.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b)));
            let caller = Caller { user, account: "PEOPLE".to_owned() };
            prop_assert_eq!(Identity::of(&caller).unwrap().uid, uid);
        }
    }
}
