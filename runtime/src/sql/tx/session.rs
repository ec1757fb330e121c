//! A connection, and the transaction and savepoints that are open on it.

use sea_orm::sqlx::{AssertSqlSafe, Database, Executor, PgConnection, Row, SqlSafeStr, SqlStr};
use sea_orm::{DbErr, sqlx};
use sqlx_core::transaction::TransactionManager;

use super::condition::{lost, unread};
use super::connection::{Connection, on, query_error};

/// When PostgreSQL's transaction began, which tells it from every other.
const BEGAN: &str = "extract(epoch from now())::text";

pub(super) struct Session {
    pub(super) connection: Connection,
    /// Whether sqlx's statements have used it, which the runtime does not see.
    pub(super) was_lent: bool,
    began: String,
    /// The transaction, and the savepoints in it.
    open: Vec<Level>,
    begun: u64,
    /// A statement has failed, or was dropped before its end: SQLite may have rolled back.
    is_doubtful: bool,
    /// SQLite is asked whether it has, or has said so; or what was committed in it has been rolled back.
    pub(super) is_lost: bool,
    /// PostgreSQL may have ended it, because a statement said so.
    may_have_ended: bool,
}

struct Level {
    id: u64,
    /// How many sqlx counted once this one had begun, this one included.
    depth: usize,
    /// It was committed while a savepoint in it was open, and is released after that one.
    is_done: bool,
}

impl Session {
    pub(super) fn on(connection: Connection) -> Self {
        Self {
            connection,
            was_lent: false,
            began: String::new(),
            open: Vec::new(),
            begun: 0,
            is_doubtful: false,
            is_lost: false,
            may_have_ended: false,
        }
    }

    fn depth(&self) -> usize {
        on!(&self.connection, |it: D| {
            <D as Database>::TransactionManager::get_transaction_depth(it)
        })
    }

    /// Forgets what is open no more: where a SAVEPOINT fails or is dropped, sqlx rolls the innermost back, or all.
    pub(super) fn settle(&mut self) {
        let depth = self.depth();
        while self.open.last().is_some_and(|last| last.depth > depth) {
            // Who committed it has gone on.
            self.is_lost |= self.open.pop().is_some_and(|last| last.is_done);
        }
    }

    pub(super) fn depth_of(&self, id: u64) -> Option<usize> {
        let level = self.open.iter().find(|level| level.id == id);
        level.map(|level| level.depth)
    }

    pub(super) fn is_outermost(&self, id: u64) -> bool {
        self.open.first().is_some_and(|level| level.id == id)
    }

    pub(super) async fn begin(&mut self, begin: Option<SqlStr>) -> Result<u64, DbErr> {
        self.is_doubtful = true;
        on!(&mut self.connection, |it: D| {
            <D as Database>::TransactionManager::begin(it, begin).await
        })
        .map_err(query_error)?;
        self.is_doubtful = false;
        self.begun += 1;
        let (id, depth) = (self.begun, self.depth());
        let is_done = false;
        self.open.push(Level { id, depth, is_done });
        Ok(id)
    }

    /// Commits it; a savepoint in which another one is open is committed with that one. `before` is called before all of
    /// it is.
    pub(super) async fn commit(&mut self, id: u64, before: impl FnOnce()) -> Result<(), DbErr> {
        while self.open.last().is_some_and(|last| last.is_done) {
            self.commit_innermost().await?;
        }
        if self.open.last().is_some_and(|last| last.id == id) {
            if self.open.len() == 1 {
                if self.may_have_ended {
                    self.goes_on().await?;
                }
                before();
            }
            return self.commit_innermost().await;
        }
        match self.open.iter_mut().skip(1).find(|level| level.id == id) {
            Some(level) => level.is_done = true,
            None => return Err(lost()),
        }
        Ok(())
    }

    async fn commit_innermost(&mut self) -> Result<(), DbErr> {
        // One of sqlx's own is open in it.
        if self.open.last().map(|last| last.depth) != Some(self.depth()) {
            return Err(lost());
        }
        on!(&mut self.connection, |it: D| {
            <D as Database>::TransactionManager::commit(it).await
        })
        .map_err(query_error)?;
        self.open.pop();
        Ok(())
    }

    /// Runs a statement.
    pub(super) async fn run<T>(
        &mut self,
        may_end: bool,
        work: impl AsyncFnOnce(&mut Connection) -> Result<T, DbErr>,
    ) -> Result<T, DbErr> {
        self.is_doubtful = true;
        self.may_have_ended |= may_end;
        let done = work(&mut self.connection).await?;
        self.is_doubtful = false;
        Ok(done)
    }

    /// Looks whether SQLite has rolled back by itself, as it does on some errors: every later statement would be committed
    /// alone. It cannot be asked, but it refuses a second BEGIN.
    pub(super) async fn look(&mut self) {
        if let (Connection::Sqlite(sqlite), true) = (&mut self.connection, self.is_doubtful) {
            // Dropped meanwhile, the question itself may have begun a transaction.
            let was_asked = std::mem::replace(&mut self.is_lost, true);
            if !was_asked {
                let begun = sqlite.execute("BEGIN").await;
                let is_open =
                    |error: sqlx::Error| error.to_string().contains("within a transaction");
                self.is_lost = !begun.is_err_and(is_open);
            }
            self.is_doubtful = self.is_lost;
        }
    }

    /// Rolls back, unless sqlx has done so, and what is open in it.
    pub(super) async fn roll_back(&mut self, id: u64) -> Result<(), DbErr> {
        while self.depth_of(id).is_some() {
            on!(&mut self.connection, |it: D| {
                <D as Database>::TransactionManager::rollback(it).await
            })
            .map_err(query_error)?;
            self.open.pop();
        }
        if self.open.is_empty() && self.was_lent && !self.is_in_step().await {
            self.close_on_drop();
        }
        Ok(())
    }

    /// As [`Self::roll_back`], before the next statement.
    pub(super) fn start_roll_back(&mut self, id: u64) {
        while self.depth_of(id).is_some() {
            on!(&mut self.connection, |it: D| {
                <D as Database>::TransactionManager::start_rollback(it);
            });
            self.open.pop();
        }
        if self.open.is_empty() && self.was_lent {
            // Whether it is in step cannot be asked here.
            self.close_on_drop();
        }
    }

    fn close_on_drop(&mut self) {
        match &mut self.connection {
            Connection::Postgres(connection) => connection.close_on_drop(),
            Connection::Sqlite(connection) => connection.close_on_drop(),
        }
    }

    /// Before sqlx's statements use it for the first time.
    pub(super) async fn lend(&mut self) -> Result<(), DbErr> {
        if let Connection::Postgres(postgres) = &mut self.connection {
            self.began = answer(postgres, format!("SELECT {BEGAN}")).await?;
        }
        self.was_lent = true;
        Ok(())
    }

    /// Whether PostgreSQL's transaction can go on, is the one that the runtime has begun, and the answer is that to
    /// this question: a COPY that was not read to its end leaves answers behind.
    pub(super) async fn goes_on(&mut self) -> Result<(), DbErr> {
        let Connection::Postgres(postgres) = &mut self.connection else {
            return Ok(());
        };
        let number = fastrand::u64(..);
        let began = if self.was_lent { BEGAN } else { "''" };
        let question =
            format!("SAVEPOINT natsfn; RELEASE SAVEPOINT natsfn; SELECT '{number} ' || {began}");
        let answer = answer(postgres, question).await?;
        match answer.strip_prefix(&format!("{number} ")) {
            Some(began) if began == self.began => Ok(()),
            Some(_) => Err(lost()),
            None => Err(unread()),
        }
    }

    /// Whether PostgreSQL's answers are those to the questions.
    async fn is_in_step(&mut self) -> bool {
        let Connection::Postgres(postgres) = &mut self.connection else {
            return true;
        };
        let number = fastrand::u64(..).to_string();
        let answer = answer(postgres, format!("SELECT '{number}'")).await;
        answer.is_ok_and(|answer| answer == number)
    }
}

async fn answer(connection: &mut PgConnection, question: String) -> Result<String, DbErr> {
    let question = AssertSqlSafe(question).into_sql_str();
    let row = connection.fetch_optional(question).await;
    let row = row.map_err(query_error)?;
    let answer = row.and_then(|row| row.try_get(0).ok());
    answer.ok_or_else(unread)
}
