//! What chat's functions share.

use std::sync::Arc;

use crate::config::Config;
use crate::tail::Floor;

/// chat's state; cloning it is cheap.
#[derive(Clone)]
pub struct App {
    /// What was configured.
    pub config: Arc<Config>,
    /// How far the database is, as `history` last saw it.
    pub floor: Floor,
}

impl App {
    /// The state of a process that begins.
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            floor: Floor::default(),
        }
    }
}
