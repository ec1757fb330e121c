//! The file of local users: JSON, a key for each.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::auth::password;
use crate::auth::person::{Person, Role, is_local_name};

/// Local users by name.
pub type Table = BTreeMap<String, User>;

/// A local user. `Debug` does not show the hash.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The display name; without it, the user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the user may do besides reading.
    #[serde(default)]
    pub roles: Vec<RoleName>,
    /// The password's hash, `$argon2id$...`.
    pub password: String,
    /// When the password was set, in milliseconds since 1970: [`change`] notes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
}

/// A role, as the file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleName {
    /// Writes in chat rooms.
    User,
    /// Reads and writes in admin rooms too.
    Admin,
}

/// What tells a version of the file from another: it is replaced, not written over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Version {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("User");
        shown.field("name", &self.name).field("roles", &self.roles);
        shown.field("since", &self.since).finish_non_exhaustive()
    }
}

impl User {
    /// The person that this user is.
    pub fn person(&self, uid: &str) -> Person {
        let role = |name: &RoleName| match name {
            RoleName::User => Role::User,
            RoleName::Admin => Role::Admin,
        };
        Person {
            uid: uid.to_owned(),
            name: self.name.clone().unwrap_or_else(|| uid.to_owned()),
            role: self.roles.iter().map(role).max().unwrap_or(Role::Reader),
        }
    }
}

/// Reads the users.
///
/// # Errors
/// A sentence that names the file and what is wrong with it, and never a hash.
pub fn read(path: &Path) -> Result<Table, String> {
    let shown = path.display();
    let text = fs::read(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{shown} does not exist; `chat user add NAME` creates it")
        }
        _ => format!("{shown} cannot be read: {error}"),
    })?;
    let table: Table = serde_json::from_slice(&text)
        .map_err(|error| format!("{shown} is no file of users: {}", without_values(&error)))?;
    for (name, user) in &table {
        if !is_local_name(name) {
            return Err(format!("{shown}: {name:?} is no user name; {NAME_RULE}"));
        }
        if !password::is_hash(&user.password) {
            return Err(format!(
                "{shown}: the password of {name} is no argon2 hash; `chat user passwd {name}` makes one"
            ));
        }
    }
    Ok(table)
}

/// What a local user may be called.
pub const NAME_RULE: &str = "it has 1 to 32 of the characters a-z, 0-9, _ and -, and does not \
    begin with o-";

/// Only where and what kind: the text of the error may repeat a value.
fn without_values(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let what = error.to_string();
    // The role is worth repeating; everything else that serde repeats may be a password.
    let what = match error.classify() {
        serde_json::error::Category::Data if !what.starts_with("unknown variant") => {
            "a user has `password`, `roles` (of admin and user) and `name`"
        }
        serde_json::error::Category::Data => "a role is admin or user",
        _ => "it is no JSON",
    };
    format!("{what} (line {line}, column {column})")
}

/// Changes the users: reads them, lets `change` change them, and replaces the file in one step, so
/// that nobody reads half of it. Two who do it at the same time do it one after the other.
///
/// # Errors
/// A sentence: the file cannot be read or written, or `change` refuses.
pub fn change<T>(
    path: &Path,
    change: impl FnOnce(&mut Table) -> Result<T, String>,
) -> Result<T, String> {
    // Whoever has put a link here means the file that it leads to.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let failed = |error: io::Error| format!("{} cannot be written: {error}", path.display());
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let lock = File::open(&directory).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let before = fs::metadata(&path).ok();
    let mut table = match before {
        Some(_) => read(&path)?,
        None => Table::new(),
    };
    let former = table.clone();
    let answer = change(&mut table)?;
    for (name, user) in &mut table {
        if former.get(name).map(|former| &former.password) != Some(&user.password) {
            user.since = Some(milliseconds(SystemTime::now()));
        }
    }
    replace(&path, &directory, &table, before.as_ref()).map_err(failed)?;
    Ok(answer)
}

/// Milliseconds since 1970.
pub(crate) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn replace(
    path: &Path,
    directory: &Path,
    table: &Table,
    before: Option<&Metadata>,
) -> io::Result<()> {
    // It is created for its owner alone, mode 0600.
    let mut file = tempfile::Builder::new()
        .prefix(".users")
        .tempfile_in(directory)?;
    serde_json::to_writer_pretty(&mut file, table)?;
    file.write_all(b"\n")?;
    if let Some(before) = before {
        let own = file.as_file().metadata()?;
        if (own.uid(), own.gid()) != (before.uid(), before.gid()) {
            // root changes the file of the user that `auth` runs as, who must read it.
            chown(file.path(), Some(before.uid()), Some(before.gid()))?;
        }
        // A group that could read it still can, and others never can.
        let mode = 0o600 | (before.mode() & 0o640);
        fs::set_permissions(file.path(), Permissions::from_mode(mode))?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$\
        aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g";

    fn user(roles: &[RoleName]) -> User {
        User {
            name: None,
            roles: roles.to_vec(),
            password: HASH.to_owned(),
            since: None,
        }
    }

    #[test]
    fn file_is_replaced_as_a_whole_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        let add = |name: &str, roles: &[RoleName]| {
            change(&path, |table| {
                table.insert(name.to_owned(), user(roles));
                Ok(())
            })
        };
        add("alice", &[RoleName::Admin, RoleName::User]).unwrap();
        let first = Version::of(&path).unwrap();
        add("bob", &[]).unwrap();

        let table = read(&path).unwrap();
        assert_eq!(table.keys().collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(table["alice"].person("alice").role, Role::Admin);
        assert_eq!(table["bob"].person("bob").role, Role::Reader);
        assert_ne!(Version::of(&path).unwrap(), first);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let refused = change(&path, |table| {
            table.clear();
            Err::<(), _>("no".to_owned())
        });
        assert_eq!(refused, Err("no".to_owned()));
        assert_eq!(read(&path).unwrap().len(), 2);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_who_change_it_at_once_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        std::thread::scope(|scope| {
            for n in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    change(path, |table| {
                        table.insert(format!("user-{n}"), user(&[]));
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(read(&path).unwrap().len(), 8);
    }

    #[test]
    fn link_stays_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        fs::write(&file, "{}").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        change(&link, |table| {
            table.insert("alice".to_owned(), user(&[]));
            Ok(())
        })
        .unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&file).unwrap().len(), 1);
    }

    #[test]
    fn broken_file_is_named_without_what_stands_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        assert!(
            read(&path)
                .unwrap_err()
                .contains("`chat user add NAME` creates it")
        );
        for (text, said) in [
            ("", "it is no JSON"),
            ("{\"a\": {\"password\": \"hunter2\"", "it is no JSON"),
            ("[]", "a user has `password`"),
            ("{\"alice\": \"hunter2\"}", "a user has `password`"),
            (
                "{\"alice\": {\"password\": \"hunter2\"}}",
                "password of alice is no argon2 hash",
            ),
            (
                "{\"alice\": {\"password\": \"\", \"pass\": \"hunter2\"}}",
                "a user has `password`",
            ),
            (
                "{\"alice\": {\"password\": \"x\", \"roles\": [\"hunter2\"]}}",
                "a role is admin or user",
            ),
            (
                &format!("{{\"o-1\": {{\"password\": \"{HASH}\"}}}}"),
                "\"o-1\" is no user name",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(
                error.contains(said) && error.contains("users.json"),
                "{text}: {error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn who_may_read_it_stays_but_never_everybody() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.json");
        for (before, after) in [
            (0o600, 0o600),
            (0o640, 0o640),
            (0o660, 0o640),
            (0o644, 0o640),
            (0o777, 0o640),
            (0o400, 0o600),
        ] {
            fs::write(&path, "{}").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
            change(&path, |table| {
                table.insert("alice".to_owned(), user(&[]));
                Ok(())
            })
            .unwrap();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, after, "{before:o} became {mode:o}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn debug_shows_no_hash() {
        let shown = format!("{:?}", user(&[RoleName::User]));
        assert!(
            shown.contains("User") && !shown.contains("argon2"),
            "{shown}"
        );
    }
}
