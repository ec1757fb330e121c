//! The limit on the size of all streams together: `max_file_store`, or three quarters of the disk space
//! that was free when the process started. It does not grow with the free space.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

/// The limit counts as reached if a message of the usual largest size no longer fits.
const LARGEST: u64 = 1 << 20;

/// The part of `/jsz` with the limit.
#[derive(Deserialize)]
pub(super) struct Limit {
    config: Config,
    #[serde(default)]
    storage: u64,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
struct Config {
    max_storage: u64,
}

impl Limit {
    pub(super) fn bytes(&self) -> u64 {
        self.config.max_storage
    }

    pub(super) fn is_reached(&self) -> bool {
        !self.disabled && self.storage.saturating_add(LARGEST) > self.bytes()
    }

    /// Whether a process that starts now would get at least twice the limit, and more than is stored
    /// already.
    pub(super) fn would_grow(&self, data: &Path) -> bool {
        let Ok(disk) = rustix::fs::statvfs(data) else {
            return false;
        };
        let next = disk.f_bavail.saturating_mul(disk.f_frsize) / 4 * 3;
        next >= self.bytes().saturating_mul(2) && next > self.storage.saturating_add(LARGEST)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stored, limit) = (self.storage, self.bytes());
        write!(
            out,
            "the streams take {stored} of the {limit} bytes that nats-server allowed them at its start"
        )
    }
}
