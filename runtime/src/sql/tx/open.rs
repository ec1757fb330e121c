//! The transaction below `Tx`, on a connection that sqlx's statements can use too: sea-orm's own lends its
//! connection to nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{AssertSqlSafe, Database, Executor, Postgres, SqlSafeStr, SqlStr, Sqlite};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement, TransactionOptions, Values, sqlx,
};
use sea_query_sqlx::SqlxValues;
use sqlx_core::transaction::TransactionManager;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::sql::timeout::connection_error;

/// A connection, taken from its pool.
pub(super) enum Connection {
    Postgres(PoolConnection<Postgres>),
    Sqlite(PoolConnection<Sqlite>),
}

/// Does the same with either connection.
macro_rules! on {
    ($connection:expr, |$inner:ident: $database:ident| $work:expr) => {
        match $connection {
            Connection::Postgres($inner) => {
                type $database = Postgres;
                $work
            }
            Connection::Sqlite($inner) => {
                type $database = Sqlite;
                $work
            }
        }
    };
}

/// A transaction, or a savepoint in one. Dropped, it is rolled back before the connection's next statement.
pub(in crate::sql) struct OpenTransaction {
    shared: Arc<Shared>,
    is_open: bool,
}

struct Shared {
    backend: DbBackend,
    connection: Arc<Mutex<Connection>>,
    /// A savepoint was dropped while another task ran a statement: it could not be rolled back.
    is_spoiled: AtomicBool,
    /// Whether SQLite commits, see [`OpenTransaction::lend`].
    commits: Arc<AtomicBool>,
}

impl OpenTransaction {
    /// Begins one on a connection of the pool. On SQLite it takes the writer's place at once.
    pub(in crate::sql) async fn begin(db: &DatabaseConnection) -> Result<Self, DbErr> {
        let backend = db.get_database_backend();
        // To connect takes a large future, and few do.
        let connection = match backend {
            DbBackend::Postgres => {
                let acquired = Box::pin(db.get_postgres_connection_pool().acquire());
                acquired.await.map(Connection::Postgres)
            }
            DbBackend::Sqlite => {
                let acquired = Box::pin(db.get_sqlite_connection_pool().acquire());
                acquired.await.map(Connection::Sqlite)
            }
            other => return Err(DbErr::Custom(format!("natsfn knows no {other:?}"))),
        };
        let connection = connection.map_err(connection_error)?;
        let begin = match backend {
            DbBackend::Sqlite => Some(SqlStr::from_static("BEGIN IMMEDIATE")),
            _ => None,
        };
        let shared = Arc::new(Shared {
            backend,
            connection: Arc::new(Mutex::new(connection)),
            is_spoiled: AtomicBool::new(false),
            commits: Arc::new(AtomicBool::new(true)),
        });
        Self::begun(shared, begin).await
    }

    /// A savepoint in it.
    pub(super) async fn savepoint(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        let savepoint = Self::begun(self.shared.clone(), None).await?;
        let isolation = options
            .isolation_level
            .map(|it| format!("ISOLATION LEVEL {it}"));
        let settings = isolation
            .into_iter()
            .chain(options.access_mode.map(|it| it.to_string()));
        let settings: Vec<_> = settings.collect();
        if !settings.is_empty() && self.shared.backend == DbBackend::Postgres {
            let set = format!("SET TRANSACTION {}", settings.join(" "));
            savepoint.execute_unprepared(&set).await?;
        }
        Ok(savepoint)
    }

    async fn begun(shared: Arc<Shared>, begin: Option<SqlStr>) -> Result<Self, DbErr> {
        // Dropped in between, it is rolled back too.
        let begun = Self {
            shared,
            is_open: true,
        };
        on!(&mut *begun.connection().await, |it: D| {
            <D as Database>::TransactionManager::begin(it, begin).await
        })
        .map_err(query_error)?;
        Ok(begun)
    }

    pub(in crate::sql) async fn commit(mut self) -> Result<(), DbErr> {
        if self.shared.is_spoiled.load(Ordering::Acquire) {
            return Err(DbErr::Custom(SPOILED.to_owned()));
        }
        self.shared.commits.store(true, Ordering::Release);
        on!(&mut *self.connection().await, |it: D| {
            <D as Database>::TransactionManager::commit(it).await
        })
        .map_err(query_error)?;
        self.is_open = false;
        Ok(())
    }

    pub(in crate::sql) async fn rollback(mut self) -> Result<(), DbErr> {
        on!(&mut *self.connection().await, |it: D| {
            <D as Database>::TransactionManager::rollback(it).await
        })
        .map_err(query_error)?;
        self.is_open = false;
        Ok(())
    }

    /// The connection, for statements that the runtime does not see. SQLite rolls back by itself on some errors, and
    /// each later statement would be committed alone: until [`Self::commit`] nothing is.
    pub(super) async fn lend(&self) -> Result<OwnedMutexGuard<Connection>, DbErr> {
        let mut connection = self.shared.connection.clone().lock_owned().await;
        if let Connection::Sqlite(sqlite) = &mut *connection
            && self.shared.commits.swap(false, Ordering::AcqRel)
        {
            let commits = self.shared.commits.clone();
            let handle = sqlite.lock_handle().await;
            let mut handle = handle.map_err(query_error)?;
            handle.set_commit_hook(move || commits.load(Ordering::Acquire));
        }
        Ok(connection)
    }

    async fn connection(&self) -> tokio::sync::MutexGuard<'_, Connection> {
        self.shared.connection.lock().await
    }
}

const SPOILED: &str = "a savepoint was dropped while another statement ran, and could not be rolled back; nothing of the \
                       transaction is stored";

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        match self.shared.connection.try_lock() {
            Ok(mut connection) => on!(&mut *connection, |it: D| {
                <D as Database>::TransactionManager::start_rollback(it);
            }),
            Err(_) => self.shared.is_spoiled.store(true, Ordering::Release),
        }
    }
}

impl Drop for Shared {
    /// The hook stays on the connection, for whoever is lent it next.
    fn drop(&mut self) {
        self.commits.store(true, Ordering::Release);
    }
}

fn exec_error(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_error(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

fn query_of(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let values = statement.values.unwrap_or(Values(Vec::new()));
    (AssertSqlSafe(statement.sql), SqlxValues(values))
}

#[async_trait]
impl ConnectionTrait for OpenTransaction {
    fn get_database_backend(&self) -> DbBackend {
        self.shared.backend
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = query_of(statement);
        on!(&mut *self.connection().await, |it: D| {
            let done = sqlx::query_with::<D, _>(sql, values).execute(&mut **it);
            done.await.map(Into::into)
        })
        .map_err(exec_error)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = AssertSqlSafe(sql).into_sql_str();
        on!(&mut *self.connection().await, |it: D| {
            let done = <&mut <D as Database>::Connection>::execute(&mut **it, sql);
            done.await.map(Into::into)
        })
        .map_err(exec_error)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (sql, values) = query_of(statement);
        on!(&mut *self.connection().await, |it: D| {
            let row = sqlx::query_with::<D, _>(sql, values).fetch_optional(&mut **it);
            row.await.map(|row| row.map(Into::into))
        })
        .map_err(query_error)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = query_of(statement);
        on!(&mut *self.connection().await, |it: D| {
            let rows = sqlx::query_with::<D, _>(sql, values).fetch_all(&mut **it);
            rows.await
                .map(|rows| rows.into_iter().map(Into::into).collect())
        })
        .map_err(query_error)
    }
}
