//! Files that only their owner can read.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes a file that only its owner can read, completely or not at all.
pub(super) fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    let mut options = File::options();
    let mut written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    // The mode above applies to a new file, not to one that was left behind.
    written.set_permissions(Permissions::from_mode(0o600))?;
    written.write_all(bytes)?;
    written.sync_all()?;
    fs::rename(aside, file)
}
