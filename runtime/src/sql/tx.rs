//! The extractor `Tx`: the transaction that the runtime commits before it acknowledges.

mod condition;
mod connection;
mod extract;
mod lend;
mod open;
mod savepoint;
mod session;
#[cfg(feature = "testing")]
mod testing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement, TransactionOptions};
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::time::timeout;

use super::delegate::{connection, transactions};
use super::statement_span::{DatabaseName, TracedStatement, traced};
use crate::error::database::kind_of;
use crate::error::{Error, Kind, Result};
use crate::sql::reuse::Reuse;
use crate::sql::timeout::{STATEMENT_TIMEOUT, bounded};
use condition::{BROKEN, CLEAN, DOUBTFUL, KEPT, OVER, broken, fit, over};

pub use lend::SqlxConnection;
pub(super) use open::OpenTransaction;
pub use savepoint::Savepoint;

/// A transaction that the runtime begins for the function, and commits when the function returns
/// `Ok`, before it acknowledges the messages or answers the request. On any error it is rolled back.
///
/// `&tx` goes into sea-orm's calls; `tx.begin()` makes a [`Savepoint`]. A function must let go of
/// it before it returns: one that keeps it in a spawned task gets an error, and nothing is stored.
/// PostgreSQL ends a transaction in which no statement runs for 60 s; what the function sets there (`SET`, `SET ROLE`,
/// advisory locks) ends with its transaction. Statements of sqlx run on [`Tx::postgres`] or [`Tx::sqlite`]. A test makes
/// one with `Tx::begin_on(&db)` (feature `testing`), gives a clone to the function, and commits it; `testing::local` tests
/// the function with its inbox and its limits.
///
/// ```
/// use natsfn::{Json, Result, Tx};
/// use sea_orm::{ActiveValue::Set, EntityTrait};
///
/// # mod order {
/// #     use sea_orm::entity::prelude::*;
/// #     #[sea_orm::model]
/// #     #[derive(Clone, Debug, DeriveEntityModel)]
/// #     #[sea_orm(table_name = "orders")]
/// #     pub struct Model {
/// #         #[sea_orm(primary_key)]
/// #         pub id: i64,
/// #         pub sku: String,
/// #     }
/// #     impl ActiveModelBehavior for ActiveModel {}
/// # }
/// /// Of a stream: each message's row is there once, however often it is delivered.
/// async fn store(tx: Tx, Json(sku): Json<String>) -> Result<()> {
///     let order = order::ActiveModel { sku: Set(sku), ..Default::default() };
///     order::Entity::insert(order).exec_without_returning(&tx).await?;
///     Ok(())
/// }
/// # let orders = natsfn::Stream::new("ORDERS", ["orders.*"]);
/// # let _ = natsfn::Service::new("shop", "1.0.0").consumer(natsfn::Consumer::new("store", orders), store);
/// ```
#[derive(Clone)]
pub struct Tx(Arc<Lent>);

struct Lent {
    backend: DbBackend,
    place: Arc<DatabaseName>,
    reuse: Reuse,
    transaction: RwLock<Option<OpenTransaction>>,
    condition: AtomicU8,
}

/// Takes note where a future is dropped before its end.
struct Unfinished<'a>(Option<(&'a Tx, u8)>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some((tx, condition)) = self.0 {
            tx.now(condition);
        }
    }
}

impl Tx {
    pub(super) fn at(transaction: OpenTransaction, place: Arc<DatabaseName>, reuse: Reuse) -> Self {
        Self(Arc::new(Lent {
            backend: transaction.get_database_backend(),
            place,
            reuse,
            transaction: RwLock::new(Some(transaction)),
            condition: AtomicU8::new(CLEAN),
        }))
    }
}

impl Tx {
    /// Takes the transaction back from the function, if it is fit to be committed. Otherwise it is
    /// rolled back.
    pub(super) async fn take_back(&self) -> Result<OpenTransaction> {
        let kept = Arc::strong_count(&self.0) > 1;
        let condition = self.0.condition.load(Ordering::Acquire);
        let Some(transaction) = self.take().await else {
            return Err(if kept {
                Error::internal(KEPT)
            } else {
                over().into()
            });
        };
        if condition == BROKEN {
            // Dropping it rolls it back too, without waiting for a database that may stand still.
            return Err(broken().into());
        }
        let fit = if kept {
            Err(Error::internal(KEPT))
        } else {
            fit(condition, &transaction).await
        };
        match fit {
            Ok(()) => Ok(transaction),
            Err(error) => {
                let _ = bounded(transaction.rollback()).await;
                Err(error)
            }
        }
    }

    /// Takes the transaction back from the function and rolls it back.
    pub(super) async fn roll_back(&self) -> Result<(), DbErr> {
        let condition = self.0.condition.load(Ordering::Acquire);
        match self.take().await {
            Some(transaction) if condition != BROKEN => bounded(transaction.rollback()).await,
            _ => Ok(()),
        }
    }

    /// Ends the transaction without waiting; what cannot be ended at once ends in the background.
    pub(super) fn abandon(&self) {
        self.now(OVER);
        match (
            self.0.transaction.try_write(),
            tokio::runtime::Handle::try_current(),
        ) {
            (Ok(mut transaction), _) => drop(transaction.take()),
            (Err(_), Ok(runtime)) => {
                let tx = self.clone();
                runtime.spawn(async move { drop(tx.0.transaction.write().await.take()) });
            }
            (Err(_), Err(_)) => {}
        }
    }

    /// Takes the transaction away from whoever still holds this. It waits for a running statement, but not for ever:
    /// a task may keep the connection.
    async fn take(&self) -> Option<OpenTransaction> {
        self.now(OVER);
        let taken = timeout(STATEMENT_TIMEOUT, self.0.transaction.write()).await;
        taken.ok()?.take()
    }

    /// Whether a statement may still run.
    pub(super) fn usable(&self) -> Result<(), DbErr> {
        match self.0.condition.load(Ordering::Acquire) {
            BROKEN => Err(broken()),
            OVER => Err(over()),
            _ => Ok(()),
        }
    }

    pub(super) fn backend(&self) -> DbBackend {
        self.0.backend
    }

    /// What spans say of the database.
    pub(super) fn database_name(&self) -> &Arc<DatabaseName> {
        &self.0.place
    }

    async fn held(&self) -> Result<RwLockReadGuard<'_, OpenTransaction>, DbErr> {
        self.usable()?;
        let held = self.0.transaction.read().await;
        RwLockReadGuard::try_map(held, Option::as_ref).map_err(|_| over())
    }

    /// Runs a statement, and takes note of what it came to.
    pub(super) async fn run<T>(
        &self,
        _: &OpenTransaction,
        asked: TracedStatement,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let mut unfinished = Unfinished(Some((self, DOUBTFUL)));
        let outcome = traced(asked, work).await;
        unfinished.0 = None;
        self.0.reuse.seen_of_statement(&outcome);
        outcome.inspect_err(|error| self.failed(error))
    }

    /// Within a transaction nothing runs on another connection.
    #[expect(clippy::unused_self, reason = "the same shape as a pool's")]
    pub(super) fn spare(&self, _: &Statement) -> Option<Statement> {
        None
    }

    fn failed(&self, error: &DbErr) {
        let of_statement = matches!(error, DbErr::Exec(_) | DbErr::Query(_));
        let unfinished = !of_statement && kind_of(error) == Some(Kind::Unavailable);
        self.now(if unfinished { BROKEN } else { DOUBTFUL });
    }

    /// Ends a savepoint. Where that failed, SQLite may have no transaction any more, and sqlx one too many: the next
    /// COMMIT would be none. Where it was dropped, nobody knows what is left of what.
    async fn ended(&self, end: impl Future<Output = Result<(), DbErr>>) -> Result<(), DbErr> {
        let mut unfinished = Unfinished(Some((self, BROKEN)));
        let outcome = bounded(end).await;
        unfinished.0 = None;
        match &outcome {
            Err(_) if self.0.backend == DbBackend::Sqlite => self.now(BROKEN),
            Err(error) => self.failed(error),
            Ok(()) => {}
        }
        outcome
    }

    fn now(&self, condition: u8) {
        self.0.condition.fetch_max(condition, Ordering::AcqRel);
    }

    async fn start(&self, options: TransactionOptions) -> Result<Savepoint, DbErr> {
        let held = self.held().await?;
        self.now(DOUBTFUL);
        let begun = bounded(held.savepoint(options)).await;
        let inner = begun.inspect_err(|error| self.failed(error))?;
        Ok(Savepoint {
            inner,
            tx: self.clone(),
        })
    }
}

connection!(Tx);
transactions!(Tx => Savepoint);

#[cfg(test)]
mod tests;
