//! The extractor `Tx`: the transaction that the runtime commits before it acknowledges.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, TransactionOptions, TransactionSession,
    TransactionTrait,
};
use tokio::sync::{RwLock, RwLockReadGuard};

use super::delegate::{connection, transactions};
use super::kind::kind_of;
use super::patience::{bounded, io_error};
use super::statement_span::Place;
use crate::error::{Error, Kind, Result};
use crate::event::{Delivery, Reach, Request};
use crate::extract::{FromEvent, Needs};

/// A transaction that the runtime begins for the function, and commits when the function returns
/// `Ok`, before it acknowledges the messages or answers the request. On any error it is rolled back.
///
/// `&tx` goes into sea-orm's calls; `tx.begin()` makes a [`Savepoint`]. A function must let go of
/// it before it returns: one that keeps it in a spawned task gets an error, and nothing is stored.
/// A test makes one with `Tx::from(transaction)`, gives a clone to the function, and commits it.
#[derive(Clone)]
pub struct Tx(Arc<Lent>);

struct Lent {
    backend: DbBackend,
    place: Arc<Place>,
    transaction: RwLock<Option<DatabaseTransaction>>,
    condition: AtomicU8,
}

/// Every statement was a success.
const CLEAN: u8 = 0;
/// A statement failed or a savepoint was made: PostgreSQL may have given the transaction up, and
/// would then answer COMMIT with a rollback that looks like a success.
const DOUBTFUL: u8 = 1;
/// A statement was not finished, or SQLite may have rolled back: what came after it would be
/// committed alone.
const BROKEN: u8 = 2;
/// The runtime has taken it back.
const OVER: u8 = 3;

impl From<DatabaseTransaction> for Tx {
    fn from(transaction: DatabaseTransaction) -> Self {
        let place = Place::backend(transaction.get_database_backend());
        Self::at(transaction, Arc::new(place))
    }
}

impl Tx {
    pub(super) fn at(transaction: DatabaseTransaction, place: Arc<Place>) -> Self {
        Self(Arc::new(Lent {
            backend: transaction.get_database_backend(),
            place,
            transaction: RwLock::new(Some(transaction)),
            condition: AtomicU8::new(CLEAN),
        }))
    }
}

impl Tx {
    /// Commits, as the runtime does after a function; for tests.
    ///
    /// # Errors
    /// Somebody still holds a clone, a statement had failed, or the database's own error.
    #[cfg(feature = "testing")]
    pub async fn commit(self) -> Result<()> {
        let transaction = self.take_back().await?;
        Ok(bounded(transaction.commit()).await?)
    }

    /// Takes the transaction back from the function, if it is fit to be committed. Otherwise it is
    /// rolled back.
    pub(super) async fn take_back(&self) -> Result<DatabaseTransaction> {
        let kept = Arc::strong_count(&self.0) > 1;
        let condition = self.0.condition.load(Ordering::Acquire);
        let transaction = self.take().await.ok_or_else(over)?;
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
                runtime.spawn(async move { drop(tx.take().await) });
            }
            (Err(_), Err(_)) => {}
        }
    }

    /// Takes the transaction away from whoever still holds this. It waits for a running statement.
    async fn take(&self) -> Option<DatabaseTransaction> {
        self.now(OVER);
        self.0.transaction.write().await.take()
    }

    /// Whether a statement may still run.
    fn usable(&self) -> Result<(), DbErr> {
        match self.0.condition.load(Ordering::Acquire) {
            BROKEN => Err(broken()),
            OVER => Err(over()),
            _ => Ok(()),
        }
    }

    fn backend(&self) -> DbBackend {
        self.0.backend
    }

    /// What spans say of the database.
    pub(super) fn place(&self) -> &Arc<Place> {
        &self.0.place
    }

    async fn held(&self) -> Result<RwLockReadGuard<'_, DatabaseTransaction>, DbErr> {
        self.usable()?;
        let held = self.0.transaction.read().await;
        RwLockReadGuard::try_map(held, Option::as_ref).map_err(|_| over())
    }

    fn seen<T>(&self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        if let Err(error) = &outcome {
            let unfinished = kind_of(error) == Some(Kind::Unavailable);
            let gone = self.0.backend == DbBackend::Sqlite
                || !matches!(error, DbErr::Exec(_) | DbErr::Query(_));
            self.now(if unfinished && gone { BROKEN } else { DOUBTFUL });
        }
        outcome
    }

    fn now(&self, condition: u8) {
        self.0.condition.fetch_max(condition, Ordering::AcqRel);
    }

    async fn start(&self, options: TransactionOptions) -> Result<Savepoint, DbErr> {
        let held = self.held().await?;
        self.now(DOUBTFUL);
        let inner = self.seen(bounded(held.begin_with_options(options)).await)?;
        Ok(Savepoint {
            inner,
            tx: self.clone(),
        })
    }
}

async fn fit(condition: u8, transaction: &DatabaseTransaction) -> Result<()> {
    if condition == CLEAN {
        return Ok(());
    }
    let Err(error) = bounded(transaction.execute_unprepared("SELECT 1")).await else {
        return Ok(());
    };
    // Where the database went away meanwhile, its own error says so.
    Err(match kind_of(&error) {
        Some(_) => error.into(),
        None => Error::internal(PASSED_OVER).with_source(error),
    })
}

const KEPT: &str = "the function returned and something that it started still holds its Tx; nothing of it is stored. \
                    Await what you spawn, or give it a Db";

const PASSED_OVER: &str = "a statement failed and the function went on, but its transaction cannot; nothing of it is \
                           stored. Return the error, or run the statement in a savepoint (tx.begin())";

fn over() -> DbErr {
    DbErr::Custom("this transaction is over: its function has returned".to_owned())
}

fn broken() -> DbErr {
    io_error(
        ErrorKind::BrokenPipe,
        "an earlier statement of this transaction was not finished",
    )
}

connection!(Tx);
transactions!(Tx => Savepoint);

/// A part of a [`Tx`] that can be taken back alone: a savepoint. Dropping it takes it back.
pub struct Savepoint {
    inner: DatabaseTransaction,
    tx: Tx,
}

impl Savepoint {
    fn backend(&self) -> DbBackend {
        self.tx.backend()
    }

    fn place(&self) -> &Arc<Place> {
        self.tx.place()
    }

    #[expect(
        clippy::unused_async,
        reason = "the same shape as a transaction's, which can be gone"
    )]
    async fn held(&self) -> Result<&DatabaseTransaction, DbErr> {
        self.tx.usable().map(|()| &self.inner)
    }

    fn seen<T>(&self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        self.tx.seen(outcome)
    }

    async fn start(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        self.tx.usable()?;
        let inner = self.seen(bounded(self.inner.begin_with_options(options)).await)?;
        Ok(Self {
            inner,
            tx: self.tx.clone(),
        })
    }
}

connection!(Savepoint);
transactions!(Savepoint => Savepoint);

#[sea_orm::prelude::async_trait::async_trait]
impl TransactionSession for Savepoint {
    async fn commit(self) -> Result<(), DbErr> {
        let Self { inner, tx } = self;
        // Below a transaction that is over, this would commit what the runtime took back.
        tx.usable()?;
        tx.seen(bounded(inner.commit()).await)
    }

    async fn rollback(self) -> Result<(), DbErr> {
        let Self { inner, tx } = self;
        tx.seen(bounded(inner.rollback()).await)
    }
}

impl<S> FromEvent<Request, S> for Tx {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        lent(&request.reach)
    }

    fn needs(needs: &mut Needs) {
        needs.transaction = true;
    }
}

impl<S> FromEvent<Delivery, S> for Tx {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        lent(&delivery.reach)
    }

    fn needs(needs: &mut Needs) {
        needs.transaction = true;
    }
}

fn lent(reach: &Reach) -> Result<Tx> {
    let tx = reach
        .transaction
        .as_ref()
        .and_then(|transaction| transaction.downcast_ref::<Tx>());
    tx.cloned().ok_or_else(|| {
        Error::internal("this function needs a Tx, and there is no transaction here")
    })
}

#[cfg(test)]
mod tests;
