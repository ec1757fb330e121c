//! The file of a SQLite database. Where another one is put in its place, open connections go on
//! writing into the former one, which nobody else sees.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Tells a file from another one of the same name.
type Id = (u64, u64);

/// The file at a path, as it was when it was looked at last.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    known: Mutex<Option<Id>>,
}

impl File {
    /// The file that is there now, if one is.
    pub(crate) fn at(path: &Path) -> Self {
        Self {
            known: Mutex::new(id(path)),
            path: path.to_owned(),
        }
    }

    /// Whether it was taken away, or replaced, since it was looked at last.
    pub(crate) fn is_gone(&self) -> bool {
        let now = id(&self.path);
        let mut known = self.known.lock();
        let before = std::mem::replace(&mut *known, now);
        let is_gone = before.is_some() && before != now;
        if is_gone {
            tracing::warn!(
                path = %self.path.display(),
                "the database's file was taken away or replaced: its connections are opened anew"
            );
        }
        is_gone
    }
}

#[cfg(unix)]
fn id(path: &Path) -> Option<Id> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// A file that is open cannot be replaced here.
#[cfg(not(unix))]
fn id(path: &Path) -> Option<Id> {
    path.exists().then_some((0, 0))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn file_is_gone_once_it_is_replaced_or_taken_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("some.db");
        let file = File::at(&path);
        let gone = |expected: [bool; 2]| {
            assert_eq!([file.is_gone(), file.is_gone()], expected);
        };
        gone([false, false]);
        std::fs::write(&path, "made").unwrap();
        gone([false, false]);
        std::fs::write(&path, "changed").unwrap();
        gone([false, false]);
        std::fs::write(directory.path().join("other"), "other").unwrap();
        std::fs::rename(directory.path().join("other"), &path).unwrap();
        gone([true, false]);
        std::fs::remove_file(&path).unwrap();
        gone([true, false]);
    }
}
