//! The database as the consumer and the endpoint see it. `sql/` implements these traits; all else knows
//! no SQL.

use std::any::Any;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;

use super::event::{Entry, Known, StreamId};
use super::template::Template;
use crate::config::PoolSizes;
use crate::error::run_error::RunError;
use crate::error::{Error, Result};

/// A service's database before it is opened, with the type of its migrations erased.
pub(crate) trait DatabaseDefinition: Send + Sync + 'static {
    /// The mistakes in the definition, a sentence each.
    fn problems(&self) -> Vec<String>;

    /// Makes pools of these sizes for `url`. They connect when they are first used, so a database
    /// that is down does not keep a service from starting.
    fn open(
        &self,
        url: &str,
        tables: &Tables,
        sizes: PoolSizes,
    ) -> Result<Arc<dyn Database>, RunError>;

    /// Runs the missing migrations, the runtime's and the service's, then checks the tables. Two may
    /// run at once.
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
    /// Adds a table, in the form that `sql/` uses.
    pub(crate) fn add<T: Any + Send + Sync>(&mut self, table: T) {
        self.0.push(Arc::new(table));
    }

    /// The tables of this type.
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

    /// The same database through a pool that requests cannot use: for stream functions and background
    /// work.
    fn for_consumers(&self) -> Arc<dyn Database>;

    /// Compares the schema with the one that this program expects; fails if the database is
    /// unreachable. A start refuses a different schema, and waits for an unreachable database.
    fn schema(&self) -> BoxFuture<'_, Result<Schema>>;

    /// Fails unless the schema is the expected one; caches a success.
    fn check(&self) -> BoxFuture<'_, Result<(), Error>>;

    /// Why no connection is to be had although the database answers; `None` where that is not so.
    fn shortage(&self) -> BoxFuture<'_, Option<String>>;

    /// The id that `setup` wrote into the database; `None` before that.
    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>>;

    /// Writes an id into a database that has none; keeps an existing one.
    fn identify<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>>;

    /// Whether a call that has run again `times` times and failed may run again now: its plan was made for an
    /// earlier schema, the connection has lost a prepared statement, or another transaction was in its way (a
    /// deadlock, a serialization failure). Waits for a moment where the other one may need it.
    fn runs_again<'a>(&'a self, error: &'a Error, times: u32) -> BoxFuture<'a, bool>;

    /// Whether the database has refused a statement, for its values or for the schema that it needs.
    fn has_refused(&self, failure: &Error) -> bool;

    /// The cause of a refused statement, if the tables are not as the program needs them. Then no
    /// message is at fault.
    fn fault<'a>(&'a self, failure: &'a Error) -> BoxFuture<'a, Option<Error>>;

    /// Waits until one more transaction may begin, of as many as there are connections (but one), or on SQLite of one.
    /// To wait here for a call of our own is no outage; to wait for a connection is. To be kept until the transaction
    /// is over.
    fn place(&self) -> BoxFuture<'_, Place>;

    /// Begins a transaction. With an inbox, it records the items there and hides from the function
    /// those that were recorded before.
    fn begin<'a>(&'a self, inbox: Option<Inbox<'a>>)
    -> BoxFuture<'a, Result<Box<dyn Transaction>>>;

    /// Up to where a function has settled one life of a stream, as the inbox knows it.
    fn settled<'a>(
        &'a self,
        service: &'a str,
        function: &'a str,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Known>>;

    /// Closes the pool.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A place for a transaction.
pub(crate) type Place = Option<OwnedSemaphorePermit>;

/// What `schema` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schema {
    /// The one that this program expects.
    Known,
    /// An older or a newer one; the text says which, and what to do.
    Other(String),
}

/// The items that a function is about to handle.
#[derive(Clone, Copy)]
pub(crate) struct Inbox<'a> {
    pub(crate) service: &'a str,
    pub(crate) function: &'a str,
    pub(crate) entries: &'a [Arc<Entry>],
    /// The consumer's filter: its ack floor tells nothing about other subjects.
    pub(crate) filter: &'a [Template],
}

/// A transaction that the runtime opens and a function uses.
pub(crate) trait Transaction: Send {
    /// What the extractor `Tx` hands out.
    fn handle(&self) -> Arc<dyn Any + Send + Sync>;

    /// Whether the item with this sequence was done before.
    fn is_done(&self, seq: u64) -> bool;

    /// Removes the failed items from the inbox and commits.
    fn commit<'a>(self: Box<Self>, failed: &'a [u64]) -> BoxFuture<'a, Result<()>>;

    /// Rolls back. Dropping does the same, later.
    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()>;
}
