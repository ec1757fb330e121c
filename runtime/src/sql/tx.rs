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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::effect::{Database, Transaction};
    use crate::sql::scratch::{Network, Scratch, begin, entries, number, open};

    fn of(transaction: &dyn Transaction) -> Tx {
        Arc::unwrap_or_clone(transaction.handle().downcast::<Tx>().unwrap())
    }

    async fn insert(db: &impl ConnectionTrait, id: u64) -> Result<(), DbErr> {
        db.execute_unprepared(&format!("INSERT INTO effects (id) VALUES ({id})"))
            .await
            .map(drop)
    }

    async fn stored(scratch: &Scratch) -> i64 {
        number(&scratch.connect().await, "SELECT count(*) FROM effects").await
    }

    #[tokio::test]
    async fn effect_and_inbox_are_committed_together() {
        for scratch in Scratch::each().await {
            let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
            insert(&of(&*transaction), 1).await.unwrap();
            assert_eq!(stored(&scratch).await, 0);
            transaction.commit(&[]).await.unwrap();
            assert_eq!(stored(&scratch).await, 1);
        }
    }

    #[tokio::test]
    async fn transaction_that_a_function_keeps_is_rolled_back_and_ended() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
            let kept = of(&*transaction);
            insert(&kept, 1).await.unwrap();
            let error = transaction.commit(&[]).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Internal);
            assert!(error.message().contains("still holds its Tx"), "{error}");
            assert!(
                insert(&kept, 2)
                    .await
                    .unwrap_err()
                    .to_string()
                    .contains("over")
            );
            assert!(kept.begin().await.is_err());
            // It is over although it is kept: the next one does not wait for it.
            begin(&database, &entries(1, 0, [1]))
                .await
                .unwrap()
                .commit(&[])
                .await
                .unwrap();
            assert_eq!(stored(&scratch).await, 0);
        }
    }

    #[tokio::test]
    async fn savepoint_that_a_function_keeps_cannot_commit() {
        for scratch in Scratch::each().await {
            let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
            let savepoint = of(&*transaction).begin().await.unwrap();
            insert(&savepoint, 1).await.unwrap();
            assert!(transaction.commit(&[]).await.is_err());
            assert!(insert(&savepoint, 2).await.is_err());
            assert!(savepoint.commit().await.is_err());
            assert_eq!(stored(&scratch).await, 0);
        }
    }

    #[tokio::test]
    async fn transaction_dropped_by_the_runtime_ends_although_a_function_keeps_it() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
            let kept = of(&*transaction);
            insert(&kept, 1).await.unwrap();
            drop(transaction);
            begin(&database, &entries(1, 0, [1]))
                .await
                .unwrap()
                .commit(&[])
                .await
                .unwrap();
            assert!(insert(&kept, 2).await.is_err());
            assert_eq!(stored(&scratch).await, 0);
        }
    }

    #[tokio::test]
    async fn failed_statement_that_is_passed_over_is_not_committed_as_a_success_on_postgres() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            insert(&tx, 1).await.unwrap();
            insert(&tx, 1).await.unwrap_err();
            drop(tx);
            let committed = transaction.commit(&[]).await;
            if scratch.is_postgres() {
                // PostgreSQL itself would answer COMMIT with a rollback that is no error.
                let error = committed.unwrap_err();
                assert_eq!(error.kind(), Kind::Internal);
                assert!(error.message().contains("savepoint"), "{error}");
                assert_eq!(stored(&scratch).await, 0);
            } else {
                committed.unwrap();
                assert_eq!(stored(&scratch).await, 1);
            }
        }
    }

    #[tokio::test]
    async fn failed_statement_in_a_savepoint_leaves_the_rest() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            insert(&tx, 1).await.unwrap();
            let savepoint = tx.begin().await.unwrap();
            insert(&savepoint, 2).await.unwrap();
            insert(&savepoint, 1).await.unwrap_err();
            savepoint.rollback().await.unwrap();
            let dropped = tx.begin().await.unwrap();
            insert(&dropped, 3).await.unwrap();
            drop(dropped);
            let good = tx.begin().await.unwrap();
            insert(&good, 4).await.unwrap();
            good.commit().await.unwrap();
            let outcome = tx
                .transaction(|inner| Box::pin(async move { insert(inner, 5).await }))
                .await;
            outcome.unwrap();
            drop(tx);
            transaction.commit(&[]).await.unwrap();
            assert_eq!(
                number(
                    &scratch.connect().await,
                    "SELECT CAST(sum(id) AS bigint) FROM effects"
                )
                .await,
                10
            );
        }
    }

    #[tokio::test]
    async fn writers_that_read_first_wait_for_each_other() {
        for scratch in Scratch::each().await {
            let database = Arc::new(scratch.open());
            let tasks: Vec<_> = (0..50)
                .map(|id| {
                    let database = database.clone();
                    tokio::spawn(async move {
                        let transaction = database.begin(None).await?;
                        let tx = of(&*transaction);
                        number(&tx, "SELECT count(*) FROM effects").await;
                        insert(&tx, id).await?;
                        drop(tx);
                        transaction.commit(&[]).await
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            assert_eq!(stored(&scratch).await, 50);
        }
    }

    #[tokio::test]
    async fn full_disk_ends_the_transaction_even_if_the_function_goes_on() {
        let [sqlite, _] = Scratch::each().await;
        let database = sqlite.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        insert(&tx, 1).await.unwrap();
        tx.execute_unprepared("PRAGMA max_page_count = 1")
            .await
            .unwrap();
        let error = tx
            .execute_unprepared("INSERT INTO effects (id, note) VALUES (2, hex(zeroblob(100000)))")
            .await;
        assert_eq!(Error::from(error.unwrap_err()).kind(), Kind::Unavailable);
        assert!(insert(&tx, 3).await.is_err());
        drop(tx);
        assert_eq!(
            transaction.commit(&[]).await.unwrap_err().kind(),
            Kind::Unavailable
        );
        assert_eq!(stored(&sqlite).await, 0);
    }

    #[tokio::test]
    async fn postgres_that_ends_the_connection_is_unavailable_and_the_next_transaction_works() {
        let [_, postgres] = Scratch::each().await;
        let database = postgres.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        insert(&tx, 1).await.unwrap();
        let pid = number(&tx, "SELECT CAST(pg_backend_pid() AS bigint)").await;
        drop(tx);
        let other = postgres.connect().await;
        other
            .execute_unprepared(&format!("SELECT pg_terminate_backend({pid})"))
            .await
            .unwrap();
        assert_eq!(
            transaction.commit(&[]).await.unwrap_err().kind(),
            Kind::Unavailable
        );
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        assert!(!transaction.is_done(1));
        insert(&of(&*transaction), 1).await.unwrap();
        transaction.commit(&[]).await.unwrap();
        assert_eq!(stored(&postgres).await, 1);
    }

    #[tokio::test]
    async fn database_that_stands_still_is_unavailable_within_ten_seconds() {
        let [_, postgres] = Scratch::each().await;
        let network = Network::before(&postgres).await;
        let database = open(&network.url);
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        network.stand_still();
        // From here only the clock moves: nothing comes from the network.
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        let error = Error::from(insert(&tx, 1).await.unwrap_err());
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(
            start.elapsed() <= std::time::Duration::from_secs(11),
            "{:?}",
            start.elapsed()
        );
        drop(tx);
        assert_eq!(
            transaction.commit(&[]).await.unwrap_err().kind(),
            Kind::Unavailable
        );
        let start = tokio::time::Instant::now();
        let error = begin(&database, &entries(1, 0, [2])).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        assert!(
            start.elapsed() <= std::time::Duration::from_secs(11),
            "{:?}",
            start.elapsed()
        );
        tokio::time::resume();
        network.flow();
        begin(&database, &entries(1, 0, [1]))
            .await
            .unwrap()
            .commit(&[])
            .await
            .unwrap();
        assert_eq!(stored(&postgres).await, 0);
    }

    #[tokio::test]
    async fn server_that_is_gone_is_unavailable_and_found_again() {
        let [_, postgres] = Scratch::each().await;
        let network = Network::before(&postgres).await;
        let database = open(&network.url);
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        network.cut();
        let error = Error::from(insert(&tx, 1).await.unwrap_err());
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        drop(tx);
        assert_eq!(
            transaction.commit(&[]).await.unwrap_err().kind(),
            Kind::Unavailable
        );
        let error = begin(&database, &entries(1, 0, [1])).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        network.flow();
        begin(&database, &entries(1, 0, [1]))
            .await
            .unwrap()
            .commit(&[])
            .await
            .unwrap();
    }
}
