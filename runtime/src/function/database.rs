//! What the runtime wraps around a function whose effect is on a database. `sql/` implements
//! it; the consumer and the endpoint know nothing of SQL.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::event::Entry;
use super::template::Template;
use crate::config::PoolSizes;
use crate::error::run_error::RunError;
use crate::error::{Error, Result};

/// A service's database before it is opened: its type of migrations, forgotten.
pub(crate) trait DatabaseDefinition: Send + Sync + 'static {
    /// Makes pools of these sizes for `url`. They connect when they are first used, so a database
    /// that is down does not keep a service from starting.
    fn open(
        &self,
        url: &str,
        tables: &Tables,
        sizes: PoolSizes,
    ) -> Result<Arc<dyn Database>, RunError>;

    /// Runs what migrations are missing, the runtime's own and the service's, and looks whether the
    /// tables are as they must be then. Two at once are safe.
    fn migrate<'a>(
        &'a self,
        url: &'a str,
        tables: &'a Tables,
    ) -> BoxFuture<'a, Result<(), RunError>>;
}

/// The tables that the service's own statements need.
#[derive(Clone, Default)]
pub(crate) struct Tables(Vec<Arc<dyn Any + Send + Sync>>);

impl Tables {
    /// Adds a table as the database's folder describes it.
    pub(crate) fn add<T: Any + Send + Sync>(&mut self, table: T) {
        self.0.push(Arc::new(table));
    }

    /// Those that are described by this type.
    pub(crate) fn all<T: Any + Clone>(&self) -> Vec<T> {
        self.0
            .iter()
            .filter_map(|table| table.downcast_ref().cloned())
            .collect()
    }
}

/// A service's database, as the runtime sees it.
pub(crate) trait Database: Send + Sync + 'static {
    /// What the extractor `Db` hands out.
    fn handle(&self) -> Arc<dyn Any + Send + Sync>;

    /// The same database over connections that requests cannot take: for stream functions and
    /// background work.
    fn for_consumers(&self) -> Arc<dyn Database>;

    /// Compares the schema with the one that this program knows, or says that the database is
    /// away. A start refuses another schema, and waits for a database that is away.
    fn schema(&self) -> BoxFuture<'_, Result<Schema>>;

    /// The schema is the one that this program knows; a good answer is remembered.
    fn check(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// The id that `setup` has written into it; none before that.
    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>>;

    /// Writes an id into a database that has lost its own; one that is there stays.
    fn identify<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Whether what failed with this error may do at once on another connection: a plan that was
    /// made for an earlier schema, a statement that the connection no longer knows.
    fn runs_again(&self, error: &Error) -> bool;

    /// What is behind a failure, where the database refused a statement and its tables are not as the
    /// program needs them: that is what failed then, and no message is at fault.
    fn fault<'a>(&'a self, failure: &'a Error) -> BoxFuture<'a, Option<Error>>;

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
    /// What the consumer is fed with: only of that its ack floor tells anything.
    pub(crate) filter: &'a [Template],
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
