//! The transaction below `Tx`, on a connection that sqlx's statements can use too: sea-orm's own lends its
//! connection to nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex as SyncMutex;
use sea_orm::sqlx::{Database, SqlStr, Sqlite};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, TransactionOptions};
use sqlx_core::transaction::TransactionManager;
use tokio::sync::{Mutex, MutexGuard, OwnedMutexGuard};
use tokio::time::timeout;

use super::condition::{lent, lost};
use super::connection::{Connection, query_error};
use super::session::Session;
use crate::sql::timeout::connection_error;

/// How long a statement waits for a connection that is lent: longer than PostgreSQL runs one, less than the runtime
/// waits for the database.
const LENT: Duration = Duration::from_secs(9);

/// A transaction, or a savepoint in one. Dropped, it is rolled back before the connection's next statement.
pub(in crate::sql) struct OpenTransaction {
    shared: Arc<Shared>,
    /// Which of the session's transactions and savepoints it is.
    id: u64,
    is_open: bool,
}

struct Shared {
    backend: DbBackend,
    session: Arc<Mutex<Session>>,
    is_lent: AtomicBool,
    /// What was dropped while another task ran a statement, to be rolled back after it.
    dropped: SyncMutex<Vec<u64>>,
    /// The hooks of SQLite stay on the connection, for whoever is lent it next.
    hooks: Arc<Hooks>,
}

struct Hooks {
    /// Whether SQLite has rolled back.
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
        let begin = match backend {
            DbBackend::Sqlite => Some(SqlStr::from_static("BEGIN IMMEDIATE")),
            _ => None,
        };
        let mut session = Session::on(connection.map_err(connection_error)?);
        let id = session.begin(begin).await?;
        let hooks = Hooks {
            is_lost: AtomicBool::new(false),
            commits: AtomicBool::new(true),
        };
        let shared = Shared {
            backend,
            session: Arc::new(Mutex::new(session)),
            is_lent: AtomicBool::new(false),
            dropped: SyncMutex::default(),
            hooks: Arc::new(hooks),
        };
        Ok(Self {
            shared: Arc::new(shared),
            id,
            is_open: true,
        })
    }

    /// A savepoint in it.
    pub(super) async fn savepoint(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        let id = self.session().await?.begin(None).await?;
        let savepoint = Self {
            shared: self.shared.clone(),
            id,
            is_open: true,
        };
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
        let mut session = self.session().await?;
        let is_lent = session.was_lent;
        let depth = session.depth_of(self.id);
        if let Connection::Sqlite(sqlite) = &mut session.connection {
            let is_now = <Sqlite as Database>::TransactionManager::get_transaction_depth(sqlite);
            if is_lent || Some(is_now) != depth {
                // What was dropped before its end runs until now, and may be what SQLite rolls back for.
                let _after = sqlite.lock_handle().await.map_err(query_error)?;
            }
        }
        self.check(&mut session)?;
        let hooks = &self.shared.hooks;
        let before = || hooks.commits.store(true, Ordering::Release);
        session.commit(self.id, before).await?;
        drop(session);
        self.is_open = false;
        Ok(())
    }

    pub(in crate::sql) async fn rollback(mut self) -> Result<(), DbErr> {
        let mut session = self.locked().await?;
        let is_outermost = session.is_outermost(self.id);
        session.roll_back(self.id).await?;
        if is_outermost {
            self.shared.hooks.commits.store(true, Ordering::Release);
        }
        drop(session);
        self.is_open = false;
        Ok(())
    }

    /// Whether PostgreSQL's transaction can go on.
    pub(super) async fn goes_on(&self) -> Result<(), DbErr> {
        self.session().await?.goes_on().await
    }

    /// The connection, for statements that the runtime does not see. SQLite rolls back by itself on some errors, and
    /// each later statement would be committed alone: until [`Self::commit`] nothing is.
    pub(super) async fn lend(&self) -> Result<OwnedMutexGuard<Session>, DbErr> {
        let lock = self.shared.session.clone().lock_owned();
        let mut session = timeout(LENT, lock).await.map_err(|_| lent())?;
        self.shared.settle(&mut session);
        session.look().await;
        self.check(&mut session)?;
        if !session.was_lent {
            let hooks = &self.shared.hooks;
            if let Connection::Sqlite(sqlite) = &mut session.connection {
                let [commits, lost] = [hooks.clone(), hooks.clone()];
                let handle = sqlite.lock_handle().await;
                let mut handle = handle.map_err(query_error)?;
                handle.set_commit_hook(move || commits.commits.load(Ordering::Acquire));
                handle.set_rollback_hook(move || lost.is_lost.store(true, Ordering::Release));
            }
            session.lend().await?;
            hooks.commits.store(false, Ordering::Release);
        }
        self.shared.is_lent.store(true, Ordering::Release);
        Ok(session)
    }

    /// The connection has come back.
    pub(super) fn returned(&self) {
        self.shared.is_lent.store(false, Ordering::Release);
    }

    /// Runs a statement; whether it may end the transaction.
    pub(super) async fn run<T>(
        &self,
        may_end: bool,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, DbErr>,
    ) -> Result<T, DbErr> {
        let mut session = self.session().await?;
        let done = session.run(may_end, work).await;
        self.shared.settle(&mut session);
        done
    }

    /// The session, inside this transaction.
    async fn session(&self) -> Result<MutexGuard<'_, Session>, DbErr> {
        let mut session = self.locked().await?;
        session.look().await;
        self.check(&mut session)?;
        Ok(session)
    }

    fn check(&self, session: &mut Session) -> Result<(), DbErr> {
        session.settle();
        let is_lost = session.is_lost || self.shared.hooks.is_lost.load(Ordering::Acquire);
        match is_lost || session.depth_of(self.id).is_none() {
            true => Err(lost()),
            false => Ok(()),
        }
    }

    async fn locked(&self) -> Result<MutexGuard<'_, Session>, DbErr> {
        let mut session = match self.shared.session.try_lock() {
            Ok(session) => session,
            Err(_) if self.shared.is_lent.load(Ordering::Acquire) => {
                let lock = timeout(LENT, self.shared.session.lock()).await;
                lock.map_err(|_| lent())?
            }
            Err(_) => self.shared.session.lock().await,
        };
        self.shared.settle(&mut session);
        Ok(session)
    }
}

impl Shared {
    fn settle(&self, session: &mut Session) {
        session.settle();
        for id in std::mem::take(&mut *self.dropped.lock()) {
            session.start_roll_back(id);
        }
    }
}

impl Drop for OpenTransaction {
    fn drop(&mut self) {
        if self.is_open {
            self.shared.dropped.lock().push(self.id);
        }
        // Whoever has the session settles it; where it was lent, its connection is closed then.
        if let Ok(mut session) = self.shared.session.try_lock() {
            self.shared.settle(&mut session);
        }
    }
}
