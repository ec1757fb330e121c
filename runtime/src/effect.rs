//! What the runtime wraps around a function whose effect is on a database. `sql.rs` implements
//! it; the consumer and the endpoint know nothing of SQL.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::error::{Error, Result};
use crate::event::Entry;
use crate::run_error::RunError;

/// A service's database before it is opened: its type of migrations, forgotten.
pub(crate) trait DatabaseDefinition: Send + Sync + 'static {
    /// Makes a pool for `url`. It connects when it is first used, so a database that is down does
    /// not keep a service from starting.
    fn open(&self, url: &str) -> Result<Arc<dyn Database>, RunError>;

    /// Runs what migrations are missing, the runtime's own and the service's. Two at once are safe.
    fn migrate<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), RunError>>;
}

/// A service's database, as the runtime sees it.
pub(crate) trait Database: Send + Sync + 'static {
    /// What the extractor `Db` hands out.
    fn handle(&self) -> Arc<dyn Any + Send + Sync>;

    /// Compares the schema with the one that this program knows, or says that the database is
    /// away. A start refuses another schema, and waits for a database that is away.
    fn schema(&self) -> BoxFuture<'_, Result<Schema>>;

    /// The schema is the one that this program knows; a good answer is remembered.
    fn check(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Begins a transaction. With an inbox, the items are written into it, and those that were
    /// there already are hidden from the function.
    fn begin<'a>(&'a self, inbox: Option<Inbox<'a>>)
    -> BoxFuture<'a, Result<Box<dyn Transaction>>>;

    /// Closes the pool.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What `schema` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The one that this program knows.
    Known,
    /// An older or a newer one: a sentence that says which, and what to do.
    Other(String),
}

/// Which items a function is about to see.
#[derive(Clone, Copy)]
pub(crate) struct Inbox<'a> {
    pub(crate) service: &'a str,
    pub(crate) function: &'a str,
    pub(crate) entries: &'a [Arc<Entry>],
}

/// A transaction of the runtime's, lent to a function.
pub(crate) trait Transaction: Send {
    /// What the extractor `Tx` hands out.
    fn handle(&self) -> Arc<dyn Any + Send + Sync>;

    /// Whether the item with this sequence was done before.
    fn is_done(&self, seq: u64) -> bool;

    /// Takes the failed items out of the inbox again and commits.
    fn commit<'a>(self: Box<Self>, failed: &'a [u64]) -> BoxFuture<'a, Result<()>>;

    /// Takes everything back. Dropping does the same, later.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()>;
}
