//! The files that a program is made of, and whether one has changed. They are looked at again and again: no crate for
//! the notices of four systems, and it works on every file system. A few hundred files take a millisecond or two.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

const LOOK: Duration = Duration::from_millis(200);
/// Nothing changes for this long after the last of several saves.
const QUIET: Duration = Duration::from_millis(100);
/// A file that is written all the time, such as a log, does not keep the others waiting for longer.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What is looked at, and how it was before the last build.
pub(super) struct Sources {
    /// Where cargo writes.
    target: PathBuf,
    files: BTreeSet<PathBuf>,
    /// With the ending that a file must have, where not every file counts.
    folders: BTreeMap<PathBuf, Option<&'static str>>,
    seen: Seen,
    /// What was written during the last build.
    written: Seen,
}

type Seen = BTreeMap<PathBuf, (SystemTime, u64)>;

impl Sources {
    pub(super) fn new(target: PathBuf) -> Self {
        Self {
            target,
            files: BTreeSet::new(),
            folders: BTreeMap::new(),
            seen: Seen::new(),
            written: Seen::new(),
        }
    }

    pub(super) fn file(&mut self, path: impl Into<PathBuf>) {
        let path = path.into();
        if path.is_absolute() && !path.starts_with(&self.target) {
            self.files.insert(path);
        }
    }

    /// The folder of a target's first file. Where that is the package's own, what else lies there is no source.
    pub(super) fn folder_of(&mut self, first: &Path, package: &Path) {
        if let Some(folder) = first.parent() {
            let ending = (folder == package).then_some("rs");
            self.folders.insert(folder.to_owned(), ending);
        }
    }

    /// What was found by a build that began at that time was there already, unless it is younger.
    pub(super) fn built(&mut self, began: SystemTime) {
        for (path, stamp) in self.look() {
            if stamp.0 < began {
                self.seen.entry(path).or_insert(stamp);
            }
        }
    }

    /// After a build that made a program. What was written during it and during the one before, and made no other
    /// program, is the work of a build script: it would lead to one build after the other.
    pub(super) fn handed_on(&mut self, is_new: bool) {
        let mut written = self.look();
        written.retain(|path, stamp| self.seen.get(path) != Some(stamp));
        let before = std::mem::replace(&mut self.written, written);
        if !is_new {
            let again = self
                .written
                .iter()
                .filter(|(path, _)| before.contains_key(*path));
            self.seen
                .extend(again.map(|(path, stamp)| (path.clone(), *stamp)));
        }
    }

    /// Waits until something has changed since the last time, and nothing more does.
    pub(super) async fn changed(&mut self) {
        let mut now = self.look();
        while now == self.seen {
            sleep(LOOK).await;
            now = self.look();
        }
        let first = Instant::now();
        loop {
            sleep(QUIET).await;
            let next = self.look();
            let is_quiet = next == now;
            now = next;
            if is_quiet || first.elapsed() > LONGEST_WAIT {
                break;
            }
        }
        self.seen = now;
    }

    fn look(&self) -> Seen {
        let mut seen = Seen::new();
        for file in &self.files {
            note(file, &mut seen);
        }
        for (folder, ending) in &self.folders {
            self.look_into(folder, *ending, &mut seen);
        }
        seen
    }

    fn look_into(&self, folder: &Path, ending: Option<&str>, seen: &mut Seen) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if name.as_encoded_bytes().starts_with(b".")
                || name == "node_modules"
                || path == self.target
            {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.look_into(&path, ending, seen);
            } else if ending.is_none_or(|ending| path.extension().is_some_and(|it| it == ending)) {
                note(&path, seen);
            }
        }
    }
}

/// A file that is not there is not noted.
fn note(path: &Path, seen: &mut Seen) {
    if let Ok(metadata) = fs::metadata(path)
        && let Ok(modified) = metadata.modified()
    {
        seen.insert(path.to_owned(), (modified, metadata.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_what_the_program_is_made_of_and_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut sources = Sources::new(root.join("target"));
        for file in [
            "Cargo.toml",
            "build.rs",
            "README.md",
            "main.db",
            "schema.sql",
            ".git/HEAD",
            ".natsfn/hello.db",
            "target/debug/out.rs",
            "node_modules/a.rs",
            "src/lib.rs",
            "src/deep/query.sql",
            "src/.lib.rs.swp",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for file in ["Cargo.toml", "schema.sql", "target/debug/out.rs", "gone.rs"] {
            sources.file(root.join(file));
        }
        sources.folder_of(&root.join("src/lib.rs"), root);
        let seen = |sources: &Sources| -> Vec<String> {
            let name = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
            sources.look().keys().map(name).collect()
        };

        let usual = [
            "Cargo.toml",
            "schema.sql",
            "src/deep/query.sql",
            "src/lib.rs",
        ];
        assert_eq!(seen(&sources), usual);
        // A package whose main.rs lies beside all else.
        sources.folder_of(&root.join("main.rs"), root);
        assert_eq!(
            seen(&sources)[..3],
            ["Cargo.toml", "build.rs", "schema.sql"]
        );
    }

    #[test]
    fn what_is_younger_than_the_build_that_found_it_has_changed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lib.rs");
        fs::write(&file, "").unwrap();
        let mut sources = Sources::new(directory.path().join("target"));
        sources.file(&file);
        let written = fs::metadata(&file).unwrap().modified().unwrap();

        sources.built(written);
        assert_ne!(sources.seen, sources.look());
        sources.built(written + Duration::from_millis(1));
        assert_eq!(sources.seen, sources.look());
    }

    #[tokio::test]
    async fn file_that_is_written_all_the_time_does_not_keep_the_others_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let mut sources = Sources::new(directory.path().join("target"));
        let file = directory.path().join("lib.rs");
        sources.file(&file);
        let writing = async {
            for length in 1.. {
                fs::write(&file, "a".repeat(length)).unwrap();
                sleep(QUIET / 10).await;
            }
        };

        tokio::select! {
            () = sources.changed() => {}
            () = writing => {}
            () = sleep(LONGEST_WAIT * 10) => panic!("it waits"),
        }
    }

    #[test]
    fn what_each_build_writes_is_no_change_once_it_makes_no_other_program() {
        let directory = tempfile::tempdir().unwrap();
        let mut sources = Sources::new(directory.path().join("target"));
        let [generated, lib] = ["generated.rs", "lib.rs"].map(|file| directory.path().join(file));
        sources.file(&generated);
        sources.file(&lib);

        fs::write(&generated, "1").unwrap();
        sources.handed_on(true);
        assert_ne!(sources.seen, sources.look());
        sources.seen = sources.look();
        fs::write(&generated, "22").unwrap();
        sources.handed_on(false);
        assert_eq!(sources.seen, sources.look());
        // What a person saves meanwhile is one.
        fs::write(&generated, "333").unwrap();
        fs::write(&lib, "1").unwrap();
        sources.handed_on(false);
        assert_ne!(sources.seen, sources.look());
    }
}
