//! A connection, and the transaction and savepoints that are open on it.

use sea_orm::DbErr;
use sea_orm::sqlx::{AssertSqlSafe, Database, Executor, PgConnection, Row, SqlSafeStr, SqlStr};
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
}

struct Level {
    id: u64,
    /// How many sqlx counted once this one had begun, this one included.
    depth: usize,
}

impl Session {
    pub(super) fn on(connection: Connection) -> Self {
        Self {
            connection,
            was_lent: false,
            began: String::new(),
            open: Vec::new(),
            begun: 0,
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
        self.open.retain(|level| level.depth <= depth);
    }

    pub(super) fn depth_of(&self, id: u64) -> Option<usize> {
        let level = self.open.iter().find(|level| level.id == id);
        level.map(|level| level.depth)
    }

    /// Whether no savepoint is open in it, nor one of sqlx's own.
    pub(super) fn is_innermost(&self, id: u64) -> bool {
        let innermost = self.open.last();
        innermost.is_some_and(|level| level.id == id && level.depth == self.depth())
    }

    pub(super) fn is_outermost(&self, id: u64) -> bool {
        self.open.first().is_some_and(|level| level.id == id)
    }

    pub(super) async fn begin(&mut self, begin: Option<SqlStr>) -> Result<u64, DbErr> {
        on!(&mut self.connection, |it: D| {
            <D as Database>::TransactionManager::begin(it, begin).await
        })
        .map_err(query_error)?;
        self.begun += 1;
        let (id, depth) = (self.begun, self.depth());
        self.open.push(Level { id, depth });
        Ok(id)
    }

    /// Commits the innermost.
    pub(super) async fn commit(&mut self) -> Result<(), DbErr> {
        on!(&mut self.connection, |it: D| {
            <D as Database>::TransactionManager::commit(it).await
        })
        .map_err(query_error)?;
        self.open.pop();
        Ok(())
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
        on!(&mut self.connection, |it: D| it.close_on_drop());
    }

    /// Before sqlx's statements use it for the first time.
    pub(super) async fn lend(&mut self) -> Result<(), DbErr> {
        self.was_lent = true;
        if let Connection::Postgres(postgres) = &mut self.connection {
            self.began = answer(postgres, format!("SELECT {BEGAN}")).await?;
        }
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
