//! The extractor `Db`: the service's database, without a transaction of the runtime's.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode,
    Statement, TransactionOptions, TransactionTrait,
};

use super::delegate::{connection, transactions};
use super::statement_span::{DatabaseName, TracedStatement, traced};
use super::tx::OpenTransaction;
use crate::error::database::is_disconnected;
use crate::error::{Error, Result};
use crate::function::context::Context;
use crate::function::event::{Delivery, Request};
use crate::function::extract::{FromEvent, Needs};
use crate::service::background::Background;
use crate::sql::reuse::Reuse;
use crate::sql::timeout::bounded;

/// The service's database: a pool, cheap to clone, for reading mostly. What is written through it
/// is not part of the message's own transaction; [`Tx`](crate::Tx) is.
///
/// On PostgreSQL each statement finds the session as it began: what one sets of it (`SET`, `SET ROLE`, a lock of
/// `pg_advisory_lock`, a temporary table) ends with the statement, or with the transaction in which it stands.
///
/// `&db` goes into sea-orm's calls. A statement that is not answered within 10 s is an error of
/// kind [`Unavailable`](crate::Kind::Unavailable); the pool itself, to which it derefs, has no such
/// limit. A test makes one with `Db::from(connection)`.
///
/// ```
/// use natsfn::{Db, Json, Result};
/// use sea_orm::{EntityTrait, PaginatorTrait};
///
/// # mod order {
/// #     use sea_orm::entity::prelude::*;
/// #     #[sea_orm::model]
/// #     #[derive(Clone, Debug, DeriveEntityModel)]
/// #     #[sea_orm(table_name = "orders")]
/// #     pub struct Model {
/// #         #[sea_orm(primary_key)]
/// #         pub id: i64,
/// #     }
/// #     impl ActiveModelBehavior for ActiveModel {}
/// # }
/// async fn count(db: Db) -> Result<Json<u64>> {
///     Ok(Json(order::Entity::find().count(&db).await?))
/// }
/// # let _ = natsfn::Service::new("shop", "1.0.0").endpoint("count", count);
/// ```
#[derive(Clone, Debug)]
pub struct Db {
    connection: DatabaseConnection,
    place: Arc<DatabaseName>,
    reuse: Reuse,
    /// How many of the pool's connections nobody gets (`pool/crowd.rs`).
    pub(super) withheld: Arc<AtomicU32>,
}

impl From<DatabaseConnection> for Db {
    fn from(connection: DatabaseConnection) -> Self {
        Self::pooled(connection, Reuse::default())
    }
}

impl Deref for Db {
    type Target = DatabaseConnection;

    fn deref(&self) -> &DatabaseConnection {
        &self.connection
    }
}

impl Db {
    /// A pool whose connections may be lent again as this says.
    pub(super) fn pooled(connection: DatabaseConnection, reuse: Reuse) -> Self {
        Self {
            place: DatabaseName::of(&connection),
            connection,
            reuse,
            withheld: Arc::default(),
        }
    }

    /// Closes the pool once nothing of it is lent. It waits for what is withheld too, which never comes
    /// back, and may be withheld while it waits.
    pub(super) async fn close_pool(&self) -> Result<(), DbErr> {
        let all_but_withheld = async {
            loop {
                let withheld = self.withheld.load(Ordering::Relaxed) as usize;
                let (open, idle) = self.open_and_idle();
                if withheld > 0 && open as usize <= idle + withheld {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            biased;
            closed = self.connection.close_by_ref() => closed,
            () = all_but_withheld => Ok(()),
        }
    }

    /// Whether all of the pool's connections, at most so many, are lent.
    pub(super) fn is_all_lent(&self, most: u32) -> bool {
        let (open, idle) = self.open_and_idle();
        open >= most && idle == 0
    }

    fn open_and_idle(&self) -> (u32, usize) {
        match self.backend() {
            DbBackend::Postgres => {
                let pool = self.get_postgres_connection_pool();
                (pool.size(), pool.num_idle())
            }
            _ => {
                let pool = self.get_sqlite_connection_pool();
                (pool.size(), pool.num_idle())
            }
        }
    }

    /// Which of the pool's connections may be lent again.
    pub(super) fn reuse(&self) -> &Reuse {
        &self.reuse
    }

    /// What spans say of the database.
    pub(super) fn database_name(&self) -> &Arc<DatabaseName> {
        &self.place
    }

    fn backend(&self) -> DbBackend {
        sea_orm::ConnectionTrait::get_database_backend(&self.connection)
    }

    #[expect(
        clippy::unused_async,
        reason = "the same shape as a transaction's, which can be gone"
    )]
    async fn held(&self) -> Result<&DatabaseConnection, DbErr> {
        Ok(&self.connection)
    }

    async fn run<T>(
        &self,
        _: &DatabaseConnection,
        asked: TracedStatement,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let outcome = traced(asked, work).await;
        self.reuse.seen_of_statement(&outcome);
        outcome
    }

    fn spare(&self, statement: &Statement) -> Option<Statement> {
        (self.backend() == DbBackend::Postgres).then(|| statement.clone())
    }

    /// On SQLite a transaction takes the writer's place at once, unless it is read-only: one that
    /// read first and then wants to write is refused where another has written meanwhile.
    async fn start(&self, mut options: TransactionOptions) -> Result<DatabaseTransaction, DbErr> {
        if options.access_mode != Some(AccessMode::ReadOnly) {
            options
                .sqlite_transaction_mode
                .get_or_insert(SqliteTransactionMode::Immediate);
        }
        self.begun(|| self.connection.begin_with_options(options))
            .await
    }

    /// A transaction for the runtime.
    pub(super) async fn open(&self) -> Result<OpenTransaction, DbErr> {
        self.begun(|| OpenTransaction::begin(&self.connection))
            .await
    }

    async fn begun<T, F>(&self, begin: impl Fn() -> F) -> Result<T, DbErr>
    where
        F: Future<Output = Result<T, DbErr>>,
    {
        match self.reuse.seen(bounded(begin()).await) {
            // Nothing was done in it yet, and the connections of its time are closed by now.
            Err(error) if is_disconnected(&error) => self.reuse.seen(bounded(begin()).await),
            begun => begun,
        }
    }
}

connection!(Db);
transactions!(Db => DatabaseTransaction);

impl<S> FromEvent<Request, S> for Db {
    fn from_event(request: &mut Request, _: &S) -> Result<Self> {
        reached(&request.context)
    }

    fn needs(needs: &mut Needs) {
        needs.database = true;
    }
}

impl<S> FromEvent<Delivery, S> for Db {
    fn from_event(delivery: &mut Delivery, _: &S) -> Result<Self> {
        reached(&delivery.context)
    }

    fn needs(needs: &mut Needs) {
        needs.database = true;
    }
}

fn reached(context: &Context) -> Result<Db> {
    context
        .get::<Db>()
        .cloned()
        .ok_or_else(|| Error::internal("this function needs a Db, and there is no database here"))
}

impl Background {
    /// The service's database.
    ///
    /// # Errors
    /// The service has none.
    pub fn db(&self) -> Result<Db> {
        let db = self
            .database
            .as_ref()
            .and_then(|database| database.downcast_ref::<Db>());
        db.cloned().ok_or_else(|| {
            Error::internal("there is no database: the service has none (.database::<Migrator>() gives it one), or database.url is missing")
        })
    }
}
