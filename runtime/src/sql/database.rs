//! A service's database as the runtime uses it.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::inbox::{self, Pruned, StreamLife};
use super::pool::{self, crowd};
use super::schema::{ExpectedMigrations, fitness};
use super::transaction::SqlTransaction;
use super::{Db, Table, address, table, timeout};
use crate::config::PoolSizes;
use crate::error::database::{is_conflict, is_of_statement, is_stale};
use crate::error::run_error::RunError;
use crate::error::{Error, Result};
use crate::function::database::{Database, Inbox, Place, Schema, Transaction};
use crate::function::event::{Known, StreamId};
use crate::run::backoff::jitter;

/// How often a call whose transactions conflict with others runs again, and the first pause: the other one, which
/// waited for a lock, needs a moment to get it.
const CONFLICTS: u32 = 3;
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// A service's database at work.
pub(super) struct SqlDatabase {
    pub(super) service: String,
    pub(super) address: pool::Address,
    pub(super) sizes: PoolSizes,
    pub(super) user: pool::User,
    pub(super) db: Db,
    /// The same database over a pool of its own.
    pub(super) consumers: OnceLock<Arc<SqlDatabase>>,
    pub(super) expected: ExpectedMigrations,
    pub(super) tables: Arc<[Table]>,
    /// The schema was found good: it is not looked at again.
    pub(super) good: AtomicBool,
    /// Whether requests leave connections to the consumers: once for a pool.
    pub(super) is_shared: AtomicBool,
    /// Places for transactions. None for requests on PostgreSQL: they wait for a connection, for a short time.
    /// SQLite has one writer at a time: waiting for it here, in order, costs neither a connection nor the
    /// polling with which SQLite itself waits.
    pub(super) places: Option<Arc<Semaphore>>,
    pub(super) pruned: Arc<Pruned>,
}

impl SqlDatabase {
    pub(super) fn open(
        service: &str,
        url: &str,
        expected: ExpectedMigrations,
        tables: &[Table],
        sizes: PoolSizes,
    ) -> Result<Self, RunError> {
        let address = address(url)?;
        let one_writer = matches!(address, pool::Address::Sqlite(_));
        Ok(Self {
            service: service.to_owned(),
            db: (address.clone()).open(service, pool::User::Requests, sizes),
            address,
            sizes,
            user: pool::User::Requests,
            consumers: OnceLock::new(),
            expected,
            tables: tables.into(),
            good: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            places: one_writer.then(|| Arc::new(Semaphore::new(1))),
            pruned: Arc::default(),
        })
    }

    /// Looks at the schema until it is found good, then never again.
    pub(super) async fn look(&self) -> Result<Schema> {
        if self.good.load(Ordering::Acquire) {
            return Ok(Schema::Known);
        }
        let problem = async {
            if matches!(self.address, pool::Address::Postgres(_)) {
                let pool = self.db.get_postgres_connection_pool();
                let unfit = fitness::unfit(pool)
                    .await
                    .map_err(timeout::connection_error)?;
                if unfit.is_some() {
                    return Ok(unfit);
                }
            }
            match self.expected.problem(&self.db, &self.service).await? {
                None => table::lack(&*self.db, &self.tables).await,
                problem => Ok(problem),
            }
        };
        let found = timeout::bounded(problem).await;
        match found {
            Ok(None) => {
                self.good.store(true, Ordering::Release);
                let is_for_requests = matches!(self.user, pool::User::Requests);
                if is_for_requests && !self.is_shared.swap(true, Ordering::AcqRel) {
                    let (db, address) = (self.db.clone(), self.address.clone());
                    // Nobody waits for it, so nobody can give it up.
                    tokio::spawn(crowd::share(db, address, self.sizes));
                }
                Ok(Schema::Known)
            }
            Ok(Some(problem)) => Ok(Schema::Other(problem)),
            Err(error) => Err(Error::unavailable(format!(
                "the database cannot be reached: {}",
                self.explained(timeout::down(error)).await
            ))),
        }
    }
}

impl SqlDatabase {
    /// The error of one to whom the pool gave no connection, with the server's own reason.
    pub(super) async fn explained(&self, error: Error) -> Error {
        if !timeout::is_without_connection(&error) {
            return error;
        }
        let refusal = crowd::refusal(&self.address, self.sizes).await;
        refusal.map_or(error, Error::unavailable)
    }
}

impl Database for SqlDatabase {
    fn handle(&self) -> Arc<dyn Any + Send + Sync> {
        Arc::new(self.db.clone())
    }

    fn for_consumers(&self) -> Arc<dyn Database> {
        let open = || {
            // One connection is left for background work.
            let most = self.address.sizes(self.sizes)[pool::User::Consumers as usize];
            let places = || Arc::new(Semaphore::new(most.saturating_sub(1).max(1) as usize));
            Arc::new(Self {
                service: self.service.clone(),
                db: (self.address.clone()).open(&self.service, pool::User::Consumers, self.sizes),
                address: self.address.clone(),
                sizes: self.sizes,
                user: pool::User::Consumers,
                consumers: OnceLock::new(),
                expected: self.expected.clone(),
                tables: self.tables.clone(),
                good: AtomicBool::new(false),
                is_shared: AtomicBool::new(false),
                places: Some(self.places.clone().unwrap_or_else(places)),
                pruned: self.pruned.clone(),
            })
        };
        self.consumers.get_or_init(open).clone()
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

    fn shortage(&self) -> BoxFuture<'_, Option<String>> {
        crowd::shortage(&self.db, self.user, &self.address, self.sizes).boxed()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Option<String>>> {
        async {
            self.check().await?;
            self.db.identity().await
        }
        .boxed()
    }

    fn identify<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        self.db.identify(id).boxed()
    }

    fn runs_again<'a>(&'a self, error: &'a Error, times: u32) -> BoxFuture<'a, bool> {
        async move {
            if times == 0 && error.source().is_some_and(is_stale) {
                // sqlx's own statements are not seen by those who keep these.
                self.db.reuse().end_open_ones();
                tracing::info!(%error, "running again on another database connection");
                return true;
            }
            let again = times < CONFLICTS && error.source().is_some_and(is_conflict);
            if again {
                tracing::info!(%error, "running again: another transaction was in the way");
                tokio::time::sleep(jitter(CONFLICT_PAUSE * (1 << times))).await;
            }
            again
        }
        .boxed()
    }

    fn has_refused(&self, failure: &Error) -> bool {
        failure.source().is_some_and(is_of_statement)
    }

    fn fault<'a>(&'a self, failure: &'a Error) -> BoxFuture<'a, Option<Error>> {
        async move {
            if !self.has_refused(failure) {
                return None;
            }
            let lack = timeout::bounded(table::lack(&*self.db, &self.tables)).await;
            match lack {
                Ok(lack) => Some(Error::unavailable(format!("{} ({failure})", lack?))),
                // Nobody knows then, and waiting loses nothing.
                Err(error) => Some(timeout::down(error)),
            }
        }
        .boxed()
    }

    fn place(&self) -> BoxFuture<'_, Place> {
        async {
            match &self.places {
                // The semaphore is never closed.
                Some(places) => places.clone().acquire_owned().await.ok(),
                None => None,
            }
        }
        .boxed()
    }

    fn begin<'a>(
        &'a self,
        inbox: Option<Inbox<'a>>,
    ) -> BoxFuture<'a, Result<Box<dyn Transaction>>> {
        async move {
            let begun = SqlTransaction::begin(&self.db, inbox, &self.pruned);
            let transaction = match begun.await {
                Ok(transaction) => transaction,
                Err(error) => return Err(self.explained(error).await),
            };
            Ok(Box::new(transaction) as Box<dyn Transaction>)
        }
        .boxed()
    }

    fn settled<'a>(
        &'a self,
        service: &'a str,
        function: &'a str,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Known>> {
        async move {
            self.check().await?;
            let life = StreamLife::new(service, function, stream);
            let read = inbox::settled(&self.db, &life);
            timeout::bounded(read).await.map_err(timeout::down)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async {
            // Closing waits for connections that are still lent; one that hangs is left behind.
            let consumers = self.consumers.get();
            let all = async {
                if let Some(consumers) = consumers {
                    let _ = consumers.db.close_pool().await;
                }
                self.db.close_pool().await
            };
            let closed = tokio::time::timeout(Duration::from_secs(5), all).await;
            if closed.is_err() {
                tracing::warn!("the database's connections were not all closed in time");
            }
        }
        .boxed()
    }
}
