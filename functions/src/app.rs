//! What chat's functions share.

use std::sync::Arc;

use crate::config::Config;
use crate::tail::Tails;

/// chat's state; cloning it is cheap.
#[derive(Clone)]
pub struct App {
    /// What was configured.
    pub config: Arc<Config>,
    /// What `history` knows of the log.
    pub tails: Tails,
}

impl App {
    /// The state of a process that begins.
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            tails: Tails::default(),
        }
    }
}
