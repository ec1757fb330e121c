//! A transaction inside `Tx`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sea_orm::{DbBackend, DbErr, Statement, TransactionOptions, TransactionSession};

use super::{OpenTransaction, Tx};
use crate::error::Result;
use crate::sql::delegate::{connection, transactions};
use crate::sql::statement_span::{DatabaseName, TracedStatement};
use crate::sql::timeout::bounded;

/// A part of a [`Tx`] that can be taken back alone: a savepoint. Dropping it takes it back. While it is open, what runs
/// by `&tx`, by sqlx on [`Tx::postgres`], or in a savepoint that begins later, is part of it too.
///
/// ```
/// use natsfn::{Error, Kind, Result, Tx};
/// use sea_orm::{ConnectionTrait, TransactionSession, TransactionTrait};
///
/// async fn tidy(tx: Tx) -> Result<()> {
///     let part = tx.begin().await?;
///     match part.execute_unprepared("DELETE FROM carts WHERE old").await {
///         Ok(_) => part.commit().await?,
///         Err(error) => {
///             part.rollback().await?; // what else `tx` has done stays
///             let error = Error::from(error);
///             if error.kind() != Kind::BadRequest {
///                 return Err(error); // not for these values: a deadlock, say, and it is tried again
///             }
///         }
///     }
///     Ok(())
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("tidy", tidy);
/// ```
pub struct Savepoint {
    pub(super) inner: OpenTransaction,
    pub(super) tx: Tx,
}

connection!(Savepoint);
transactions!(Savepoint => Savepoint);

impl Savepoint {
    fn backend(&self) -> DbBackend {
        self.tx.backend()
    }

    fn database_name(&self) -> &Arc<DatabaseName> {
        self.tx.database_name()
    }

    #[expect(
        clippy::unused_async,
        reason = "the same shape as a transaction's, which can be gone"
    )]
    async fn held(&self) -> Result<&OpenTransaction, DbErr> {
        self.tx.usable().map(|()| &self.inner)
    }

    async fn run<T>(
        &self,
        held: &OpenTransaction,
        asked: TracedStatement,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        self.tx.run(held, asked, work).await
    }

    fn spare(&self, statement: &Statement) -> Option<Statement> {
        self.tx.spare(statement)
    }

    async fn start(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        self.tx.usable()?;
        let begun = bounded(self.inner.savepoint(options)).await;
        let inner = begun.inspect_err(|error| self.tx.failed(error))?;
        Ok(Self {
            inner,
            tx: self.tx.clone(),
        })
    }
}

// By hand, as `sql/delegate.rs` says.
impl TransactionSession for Savepoint {
    fn commit<'future>(self) -> BoxFuture<'future, Result<(), DbErr>>
    where
        Self: 'future,
    {
        fn body(Savepoint { inner, tx }: Savepoint) -> BoxFuture<'static, Result<(), DbErr>> {
            Box::pin(async move {
                // Below a transaction that is over, this would commit what the runtime took back.
                tx.usable()?;
                tx.ended(inner.commit()).await
            })
        }
        body(self)
    }

    fn rollback<'future>(self) -> BoxFuture<'future, Result<(), DbErr>>
    where
        Self: 'future,
    {
        fn body(Savepoint { inner, tx }: Savepoint) -> BoxFuture<'static, Result<(), DbErr>> {
            Box::pin(async move { tx.ended(inner.rollback()).await })
        }
        body(self)
    }
}
