//! A service's database, through sea-orm: a function's effect on it happens exactly once.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm_migration::MigratorTrait;
use tokio::sync::Semaphore;

use crate::effect::{Database, DatabaseDefinition, Inbox, Schema, Transaction};
use crate::error::{Error, Result};
use crate::run_error::RunError;
use crate::service::Service;

mod db;
mod delegate;
mod inbox;
mod kind;
mod migrate;
mod patience;
mod pool;
mod schema;
mod statement_span;
mod transaction;
mod tx;

#[cfg(test)]
mod scratch;

pub use db::Db;
pub(crate) use kind::kind_of;
pub use tx::{Savepoint, Tx};

use inbox::Pruned;
use schema::Known;
use transaction::SqlTransaction;

impl<S> Service<S> {
    /// Gives the service a database: its migrations, which `setup` runs, a pool from
    /// `database.url`, and the extractors [`Db`] and [`Tx`]. Services that share a database each
    /// need a migration table of their own (`M::migration_table_name`).
    pub fn database<M: MigratorTrait + Sync + 'static>(mut self) -> Self {
        let service = self.definition.name.clone();
        self.definition.database = Some(Arc::new(Migrations {
            service,
            of: PhantomData::<fn() -> M>,
        }));
        self
    }
}

/// A service's type of migrations, and the service's name for what is said to its operator.
struct Migrations<M> {
    service: String,
    of: PhantomData<fn() -> M>,
}

impl<M: MigratorTrait + Sync + 'static> DatabaseDefinition for Migrations<M> {
    fn open(&self, url: &str) -> Result<Arc<dyn Database>, RunError> {
        let database = SqlDatabase::open(&self.service, url, Known::of::<M>())?;
        Ok(Arc::new(database))
    }

    fn migrate<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<(), RunError>> {
        migrate::migrate::<M>(url).boxed()
    }
}

/// A service's database at work.
struct SqlDatabase {
    service: String,
    db: Db,
    known: Known,
    /// The schema was found good: it is not looked at again.
    good: AtomicBool,
    /// SQLite has one writer at a time. Waiting for it here, in order, costs neither a connection
    /// nor the polling with which SQLite itself waits.
    writer: Option<Arc<Semaphore>>,
    pruned: Arc<Pruned>,
}

impl SqlDatabase {
    fn open(service: &str, url: &str, known: Known) -> Result<Self, RunError> {
        let address = address(url)?;
        let one_writer = matches!(address, pool::Address::Sqlite(_));
        Ok(Self {
            service: service.to_owned(),
            db: Db::from(address.open(service)),
            known,
            good: AtomicBool::new(false),
            writer: one_writer.then(|| Arc::new(Semaphore::new(1))),
            pruned: Arc::default(),
        })
    }

    /// Looks at the schema until it is found good, then never again.
    async fn look(&self) -> Result<Schema> {
        if self.good.load(Ordering::Acquire) {
            return Ok(Schema::Known);
        }
        let found = patience::bounded(self.known.problem(&self.db, &self.service)).await;
        match found {
            Ok(None) => {
                self.good.store(true, Ordering::Release);
                Ok(Schema::Known)
            }
            Ok(Some(problem)) => Ok(Schema::Other(problem)),
            Err(error) => Err(Error::unavailable(format!(
                "the database cannot be reached: {}",
                patience::down(error)
            ))),
        }
    }
}

impl Database for SqlDatabase {
    fn handle(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.db.clone())
    }

    fn schema(&self) -> BoxFuture<'_, Result<Schema>> {
        self.look().boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        async {
            match self.look().await? {
                Schema::Known => Ok(()),
                Schema::Other(why) => Err(Error::unavailable(why)),
            }
        }
        .boxed()
    }

    fn begin<'a>(
        &'a self,
        inbox: Option<Inbox<'a>>,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>>> {
        async move {
            let transaction =
                SqlTransaction::begin(&self.db, self.writer.clone(), inbox, &self.pruned).await?;
            Ok(Box::new(transaction) as Box<dyn Transaction>)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            // Closing waits for connections that are still lent; one that hangs is left behind.
            let closed = tokio::time::timeout(Duration::from_secs(5), self.db.close_by_ref()).await;
            if closed.is_err() {
                tracing::warn!("the database's connections were not all closed in time");
            }
        }
        .boxed()
    }
}

/// What is wrong with a database's address, if anything is.
#[cfg(feature = "cli")]
pub(crate) fn check_address(url: &str) -> Result<(), String> {
    pool::Address::parse(url).map(|_| ())
}

fn address(url: &str) -> Result<pool::Address, RunError> {
    pool::Address::parse(url).map_err(|wrong| RunError::misuse([format!("database.url: {wrong}")]))
}
