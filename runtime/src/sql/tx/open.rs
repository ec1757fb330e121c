//! The transaction below `Tx`, on a connection that sqlx's statements can use too: sea-orm's own lends its
//! connection to nobody.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sea_orm::sqlx::{Database, SqlStr, Sqlite};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, TransactionOptions};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};
use tokio::time::timeout;

use super::connection::{Connection, answers, depth, on, query_error};
use crate::sql::timeout::{connection_error, io_error};

/// A transaction, or a savepoint in one. Dropped, it is rolled back before the connection's next statement.
pub(in crate::sql) struct OpenTransaction {
    shared: Arc<Shared>,
    /// 1 for the transaction, 2 for a savepoint in it. sqlx counts them too, and rolls the innermost back where a
    /// BEGIN or SAVEPOINT fails or is dropped: below its level, a transaction is over.
    level: usize,
    is_open: bool,
}

struct Shared {
    backend: DbBackend,
    connection: Arc<Mutex<Connection>>,
    /// Whether sqlx's statements have used it, which the runtime does not see.
    is_lent: AtomicBool,
    /// The hooks of SQLite stay on the connection, for whoever is lent it next.
    state: Arc<State>,
}

struct State {
    /// SQLite has rolled back, or a savepoint was dropped while another task ran a statement and could not be
    /// rolled back.
    is_lost: AtomicBool,
    /// Whether SQLite commits, see [`OpenTransaction::lend`].
    commits: AtomicBool,
}

impl OpenTransaction {
    pub(super) fn backend(&self) -> DbBackend {
        self.shared.backend
    }

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
        let state = State {
            is_lost: AtomicBool::new(false),
            commits: AtomicBool::new(true),
        };
        let shared = Shared {
            backend,
            connection: Arc::new(Mutex::new(connection)),
            is_lent: AtomicBool::new(false),
            state: Arc::new(state),
        };
        let mut begun = Self {
            shared: Arc::new(shared),
            level: 1,
            is_open: false,
        };
        on!(&mut *begun.locked().await?, |it: D| {
            <D as Database>::TransactionManager::begin(it, begin).await
        })
        .map_err(query_error)?;
        begun.is_open = true;
        Ok(begun)
    }

    /// A savepoint in it.
    pub(super) async fn savepoint(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        let mut savepoint = Self {
            shared: self.shared.clone(),
            level: self.level + 1,
            is_open: false,
        };
        on!(&mut *self.connection().await?, |it: D| {
            <D as Database>::TransactionManager::begin(it, None).await
        })
        .map_err(query_error)?;
        savepoint.is_open = true;
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

    pub(in crate::sql) async fn commit(mut self) -> Result<(), DbErr> {
        let is_lent = self.shared.is_lent.load(Ordering::Acquire);
        let mut connection = self.connection().await?;
        if let Connection::Sqlite(sqlite) = &mut *connection
            && (is_lent || depth::<Sqlite>(sqlite) != self.level)
        {
            // What was dropped before its end runs until now, and may be what SQLite rolls back for.
            let _after = sqlite.lock_handle().await.map_err(query_error)?;
        }
        self.check(&connection)?;
        if on!(&*connection, |it: D| depth::<D>(it)) != self.level {
            return Err(lost());
        }
        if self.level == 1 {
            self.shared.state.commits.store(true, Ordering::Release);
        }
        on!(&mut *connection, |it: D| {
            <D as Database>::TransactionManager::commit(it).await
        })
        .map_err(query_error)?;
        drop(connection);
        self.is_open = false;
        Ok(())
    }

    pub(in crate::sql) async fn rollback(mut self) -> Result<(), DbErr> {
        let mut connection = self.locked().await?;
        // sqlx may have rolled it back already.
        if on!(&*connection, |it: D| depth::<D>(it)) >= self.level {
            on!(&mut *connection, |it: D| {
                <D as Database>::TransactionManager::rollback(it).await
            })
            .map_err(query_error)?;
        }
        if self.level == 1 && self.shared.is_lent.load(Ordering::Acquire) {
            let in_step = on!(&mut *connection, |it: D| answers::<D>(it, "").await);
            if in_step.is_err() {
                connection.close_on_drop();
            }
        }
        drop(connection);
        self.is_open = false;
        Ok(())
    }

    /// Whether PostgreSQL's transaction can go on, and the answer is that to this question: a COPY that was not
    /// read to its end leaves answers behind.
    pub(super) async fn goes_on(&self) -> Result<(), DbErr> {
        let inside = "SAVEPOINT natsfn; RELEASE SAVEPOINT natsfn;";
        on!(&mut *self.connection().await?, |it: D| {
            answers::<D>(it, inside).await
        })
    }

    /// The connection, for statements that the runtime does not see. SQLite rolls back by itself on some errors, and
    /// each later statement would be committed alone: until [`Self::commit`] nothing is.
    pub(super) async fn lend(&self) -> Result<OwnedMutexGuard<Connection>, DbErr> {
        let lock = self.shared.connection.clone().lock_owned();
        let mut connection = timeout(LENT, lock).await.map_err(|_| lent())?;
        self.check(&connection)?;
        if let Connection::Sqlite(sqlite) = &mut *connection
            && self.shared.state.commits.load(Ordering::Acquire)
        {
            let [commits, lost] = [self.shared.state.clone(), self.shared.state.clone()];
            let handle = sqlite.lock_handle().await;
            let mut handle = handle.map_err(query_error)?;
            handle.set_commit_hook(move || commits.commits.load(Ordering::Acquire));
            handle.set_rollback_hook(move || lost.is_lost.store(true, Ordering::Release));
            self.shared.state.commits.store(false, Ordering::Release);
        }
        self.shared.is_lent.store(true, Ordering::Release);
        Ok(connection)
    }

    /// The connection, inside this transaction.
    pub(super) async fn connection(&self) -> Result<MutexGuard<'_, Connection>, DbErr> {
        let connection = self.locked().await?;
        self.check(&connection)?;
        Ok(connection)
    }

    fn check(&self, connection: &Connection) -> Result<(), DbErr> {
        let is_lost = self.shared.state.is_lost.load(Ordering::Acquire);
        let is_over = on!(connection, |it: D| depth::<D>(it)) < self.level;
        match is_lost || is_over {
            true => Err(lost()),
            false => Ok(()),
        }
    }

    async fn locked(&self) -> Result<MutexGuard<'_, Connection>, DbErr> {
        if let Ok(connection) = self.shared.connection.try_lock() {
            return Ok(connection);
        }
        let lock = self.shared.connection.lock();
        match self.shared.is_lent.load(Ordering::Acquire) {
            true => timeout(LENT, lock).await.map_err(|_| lent()),
            false => Ok(lock.await),
        }
    }
}

/// How long a statement waits for a connection that is lent, less than for the database.
const LENT: Duration = Duration::from_secs(5);

fn lent() -> DbErr {
    let text = "the connection of this transaction is lent to sqlx: drop the SqlxConnection first";
    DbErr::Custom(text.to_owned())
}

fn lost() -> DbErr {
    io_error(
        ErrorKind::BrokenPipe,
        "this transaction has been rolled back, by the database or since a savepoint could not be",
    )
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        let Ok(mut connection) = self.shared.connection.try_lock() else {
            return self.shared.state.is_lost.store(true, Ordering::Release);
        };
        if on!(&*connection, |it: D| depth::<D>(it)) >= self.level {
            on!(&mut *connection, |it: D| {
                <D as Database>::TransactionManager::start_rollback(it);
            });
        }
        if self.level == 1 && self.shared.is_lent.load(Ordering::Acquire) {
            // Whether it still gives the answer to each question cannot be asked here.
            connection.close_on_drop();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.state.commits.store(true, Ordering::Release);
    }
}
