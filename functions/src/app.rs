//! The state that chat's functions share.

use std::sync::Arc;

use crate::config::Config;
use crate::tail::Tails;

/// chat's state; cloning it is cheap.
#[derive(Clone)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// `history`'s cache of the log's tail.
    pub tails: Tails,
}

impl App {
    /// The state at start.
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            tails: Tails::default(),
        }
    }
}
