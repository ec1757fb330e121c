//! Local users: who they are stands in a file, which is read again when it has changed.

pub mod file;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use natsfn::config::Secret;
use natsfn::{Error, Kind, Result};
use parking_lot::Mutex;

use super::guesses::{Guess, Guesses};
use super::password::Hashing;
use super::person::is_local_name;
use file::{Table, User, Version};

/// The local users, while `auth` runs.
pub struct Users {
    path: PathBuf,
    read: Mutex<Read>,
    hashing: Hashing,
    /// Wrong passwords for one user name from one address.
    from_host: Guesses,
    /// Wrong passwords for one user name from everywhere.
    from_everywhere: Guesses,
    /// Wrong passwords from one address, whatever the name: each costs as much as a right one.
    of_host: Guesses,
}

/// What was read, and of which version of the file.
struct Read {
    /// `None` while there is no file.
    version: Option<Version>,
    table: Arc<Table>,
}

impl Users {
    /// Reads the users.
    ///
    /// # Errors
    /// A sentence that names the file and what is wrong with it.
    pub fn open(path: &Path) -> std::result::Result<Self, String> {
        let version = Version::of(path).ok();
        let table = Arc::new(file::read(path)?);
        Ok(Self {
            path: path.to_owned(),
            read: Mutex::new(Read { version, table }),
            hashing: Hashing::default(),
            from_host: Guesses::new(10, Duration::from_secs(6)),
            // An attacker with many addresses locks out the owner only by one guess each second.
            from_everywhere: Guesses::new(60, Duration::from_secs(1)),
            of_host: Guesses::new(100, Duration::from_millis(100)),
        })
    }

    /// Proves who somebody is by a password.
    ///
    /// # Errors
    /// [`Kind::Unauthorized`] for a wrong name or password, which one it does not say;
    /// [`Kind::TooManyRequests`] after many of them, [`Kind::Unavailable`] when too many log in at
    /// once.
    pub async fn log_in(&self, name: &str, password: &Secret, host: &str) -> Result<User> {
        let wrong = || Error::new(Kind::Unauthorized, "wrong user name or password");
        if !is_local_name(name) {
            return Err(wrong());
        }
        let guesses = [
            self.from_host.begin(&format!("{name} {host}"))?,
            self.from_everywhere.begin(name)?,
            self.of_host.begin(host)?,
        ];
        let user = self.find(name);
        let hash = user.as_ref().map(|user| user.password.clone());
        let is_right = self.hashing.is_of(hash, password.clone()).await?;
        match user {
            // Somebody may have changed the user while this login waited for its turn.
            Some(user) if is_right => {
                let now = self.find(name);
                now.filter(|now| now.password == user.password)
                    .ok_or_else(wrong)
            }
            _ => {
                guesses.into_iter().for_each(Guess::failed);
                Err(wrong())
            }
        }
    }

    /// A user as the file has it now.
    pub fn find(&self, name: &str) -> Option<User> {
        self.table().get(name).cloned()
    }

    /// The users as the file has them; while it is broken or away, as they were before.
    fn table(&self) -> Arc<Table> {
        let mut read = self.read.lock();
        let version = Version::of(&self.path).ok();
        if version != read.version {
            match file::read(&self.path) {
                Ok(table) => {
                    tracing::info!(users = table.len(), "the file of users was read again");
                    read.table = Arc::new(table);
                }
                Err(what) => tracing::error!(
                    "auth.users: {what}; until this is mended, the users from before are used"
                ),
            }
            // A broken version is told once.
            read.version = version;
        }
        read.table.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::file::RoleName;
    use super::*;
    use crate::auth::password;

    struct Place {
        directory: tempfile::TempDir,
        users: Users,
    }

    impl Place {
        fn with(names: &[&str]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("users.json");
            fs::write(&path, "{}").unwrap();
            let place = Self {
                users: Users::open(&path).unwrap(),
                directory,
            };
            names.iter().for_each(|name| place.set(name, name));
            place
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("users.json")
        }

        fn set(&self, name: &str, password: &str) {
            let user = User {
                name: None,
                roles: vec![RoleName::User],
                password: password::hash(&password.into()).unwrap(),
                since: None,
            };
            file::change(&self.path(), |table| {
                table.insert(name.to_owned(), user);
                Ok(())
            })
            .unwrap();
        }

        async fn log_in(&self, name: &str, password: &str) -> Result<User> {
            self.users.log_in(name, &password.into(), "10.0.0.1").await
        }
    }

    #[tokio::test]
    async fn change_of_the_file_counts_at_the_next_login() {
        let place = Place::with(&["alice"]);
        place.log_in("alice", "alice").await.unwrap();
        for (name, password) in [("alice", "bob"), ("bob", "bob"), ("*", "x"), ("", "")] {
            let refused = place.log_in(name, password).await.unwrap_err();
            assert_eq!(refused.message(), "wrong user name or password", "{name}");
        }

        place.set("bob", "bob");
        place.set("alice", "new");

        place.log_in("bob", "bob").await.unwrap();
        place.log_in("alice", "new").await.unwrap();
        place.log_in("alice", "alice").await.unwrap_err();
    }

    #[tokio::test]
    async fn broken_file_leaves_the_users_from_before() {
        let place = Place::with(&["alice"]);
        place.log_in("alice", "alice").await.unwrap();

        fs::write(place.path(), "{ \"alice\": ").unwrap();
        place.log_in("alice", "alice").await.unwrap();
        fs::remove_file(place.path()).unwrap();
        place.log_in("alice", "alice").await.unwrap();

        place.set("bob", "bob");
        place.log_in("bob", "bob").await.unwrap();
        place.log_in("alice", "alice").await.unwrap_err();
    }

    #[tokio::test]
    async fn who_guesses_must_wait_and_the_owner_elsewhere_need_not() {
        let place = Place::with(&["alice"]);
        for name in ["alice", "nobody"] {
            for _ in 0..10 {
                let refused = place.log_in(name, "guess").await.unwrap_err();
                assert_eq!(refused.kind(), Kind::Unauthorized);
            }
            let refused = place.log_in(name, "guess").await.unwrap_err();
            assert_eq!(refused.kind(), Kind::TooManyRequests, "{name}");
        }
        let refused = place.log_in("alice", "alice").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::TooManyRequests);

        let password = Secret::from("alice");
        let elsewhere = place.users.log_in("alice", &password, "10.0.0.2").await;
        elsewhere.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn many_guesses_at_once_are_no_way_around_the_limit() {
        let place = Place::with(&["alice"]);
        let guesses = (0..66).map(|_| place.log_in("alice", "guess"));
        let answers = futures_util::future::join_all(guesses).await;

        let kinds = answers
            .iter()
            .map(|answer| answer.as_ref().unwrap_err().kind());
        let checked = kinds.filter(|kind| *kind == Kind::Unauthorized).count();
        assert_eq!(checked, 10);
        let refused = place.log_in("alice", "alice").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
    }

    #[tokio::test(start_paused = true)]
    async fn right_passwords_cost_nothing_however_many_come_at_once() {
        let place = Place::with(&["alice"]);
        for _ in 0..2 {
            let logins = (0..10).map(|_| place.log_in("alice", "alice"));
            futures_util::future::try_join_all(logins).await.unwrap();
        }
        place.log_in("alice", "guess").await.unwrap_err();
        place.log_in("alice", "alice").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_has_few_guesses_whatever_the_names() {
        let place = Place::with(&["alice"]);
        for n in 0..100 {
            let name = format!("user-{n}");
            let refused = place.log_in(&name, "guess").await.unwrap_err();
            assert_eq!(refused.kind(), Kind::Unauthorized, "{name}");
        }

        let refused = place.log_in("alice", "alice").await.unwrap_err();
        assert_eq!(refused.kind(), Kind::TooManyRequests);
        let password = Secret::from("alice");
        let elsewhere = place.users.log_in("alice", &password, "10.0.0.2").await;
        elsewhere.unwrap();
    }

    #[tokio::test]
    async fn login_does_not_outlive_the_password_that_it_began_with() {
        let place = Place::with(&["alice", "bob"]);
        let mut alice = std::pin::pin!(place.log_in("alice", "alice"));
        let mut bob = std::pin::pin!(place.log_in("bob", "bob"));
        assert!(futures_util::poll!(alice.as_mut()).is_pending());
        assert!(futures_util::poll!(bob.as_mut()).is_pending());

        place.set("alice", "new");
        let remove = |table: &mut Table| Ok(table.remove("bob"));
        file::change(&place.path(), remove).unwrap();

        for login in [alice.await, bob.await] {
            assert_eq!(login.unwrap_err().kind(), Kind::Unauthorized);
        }
    }
}
