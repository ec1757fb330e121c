//! The state that chat's functions share.

use std::sync::Arc;
use std::time::Duration;

use natsfn::StreamCache;

use crate::config::Config;
use crate::store::rows::Cursor;
use crate::subjects::LOG;
use crate::tail::Tails;

/// What the pages that are kept may take, in bytes.
const PAGES: usize = 64 << 20;

/// For how long one is kept at most: rows that somebody changes by hand are seen then. `trim` takes
/// nothing from the log that came to it within this time.
pub const PAGE_AGE: Duration = Duration::from_secs(4);

/// chat's state; cloning it is cheap.
#[derive(Clone)]
pub struct App {
    /// The configuration.
    pub config: Arc<Config>,
    /// `history`'s cache of the log's tail.
    pub tails: Tails,
    /// Pages that `history` answered, by what was asked about a room.
    pub pages: Arc<StreamCache<(Cursor, u64)>>,
}

impl App {
    /// The state at start.
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            tails: Tails::default(),
            pages: Arc::new(StreamCache::new(LOG, PAGES, PAGE_AGE)),
        }
    }
}
