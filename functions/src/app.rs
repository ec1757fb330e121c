//! What chat's functions share.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use crate::config::Config;
use crate::tail::Floor;

/// chat's state; cloning it is cheap.
#[derive(Clone)]
pub struct App {
    /// What was configured.
    pub config: Arc<Config>,
    /// The life of the log, by its creation in ns since 1970, of which this process knows that the
    /// database does not lie behind the consumer; 0 for none yet. Until then nothing may be noted or
    /// purged by what the consumer says.
    pub compared: Arc<AtomicI64>,
    /// How far the database is, as `history` last saw it.
    pub floor: Floor,
}

impl App {
    /// The state of a process that begins.
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            compared: Arc::default(),
            floor: Floor::default(),
        }
    }
}
