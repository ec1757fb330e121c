//! Which connections go back to their pool: those outside of any transaction, by the database's
//! own word.
//!
//! sqlx counts transactions itself, and what it counts can differ from what the database has: SQLite
//! rolls back by itself where a disk is full, a BEGIN can be under way when its future is dropped,
//! and a function may run a BEGIN of its own. On such a connection the next COMMIT is none, and
//! what it should have stored is seen by nobody else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::DbErr;
use sea_orm::sqlx::{self, Connection};

use crate::error::Kind;
use crate::error::database::{is_of_session, is_read_only, is_stale, kind_of};

/// How long a connection may take to say that it is outside of any transaction.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is older than this is closed where its settings may be what is wrong: so one
/// that is opened anew each time costs little where they are not.
const SETTLED_IN: Duration = Duration::from_secs(5);

/// The connections of one pool that may be lent again; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reuse(Arc<Ended>);

#[derive(Debug)]
struct Ended {
    born: Instant,
    /// Connections that were open at this time are closed, in nanoseconds since `born`.
    at: AtomicU64,
}

impl Default for Reuse {
    fn default() -> Self {
        Self(Arc::new(Ended {
            born: Instant::now(),
            at: AtomicU64::new(0),
        }))
    }
}

impl Reuse {
    /// Every connection that is open now is closed when it is asked for or given back.
    pub(crate) fn end_open_ones(&self) {
        self.end_older_than(Duration::ZERO);
    }

    fn end_older_than(&self, age: Duration) {
        let opened = self.0.born.elapsed().saturating_sub(age).as_nanos();
        let opened = u64::try_from(opened).unwrap_or(u64::MAX);
        self.0.at.fetch_max(opened, Ordering::AcqRel);
    }

    /// Whether a connection of this age was opened since.
    pub(crate) fn allows(&self, age: Duration) -> bool {
        let opened = self.0.born.elapsed().saturating_sub(age).as_nanos();
        opened >= u128::from(self.0.at.load(Ordering::Acquire))
    }

    /// Takes note of what a statement came to. Where the plan was made for an earlier schema, the
    /// plans of the other connections were too; where SQLite's file could not be written, those that were
    /// opened then never write; and where a connection began with settings that have
    /// been changed since, it would keep them for good.
    pub(crate) fn seen_of_statement<T>(&self, outcome: &Result<T, DbErr>) {
        if let Err(error) = outcome {
            self.seen_of_error(error);
        }
    }

    pub(crate) fn seen_of_error(&self, error: &DbErr) {
        if is_stale(error) || is_read_only(error) {
            self.end_open_ones();
        } else if is_of_session(error) {
            self.end_older_than(SETTLED_IN);
        }
    }

    /// Takes note of what BEGIN, COMMIT or ROLLBACK came to. One that failed ends the open
    /// connections, except where there was no connection, or where a COMMIT was refused because of
    /// the values: the database has rolled back then, and says so.
    pub(crate) fn seen<T>(&self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        if let Err(error) = &outcome
            && !matches!(error, DbErr::ConnectionAcquire(_))
            && kind_of(error) != Some(Kind::BadRequest)
        {
            self.end_open_ones();
        }
        outcome
    }
}

/// Whether a connection that is given back is outside of any transaction. It also shows that it
/// lives, so that nobody waits for one that does not.
pub(crate) async fn is_outside<C: Connection>(connection: &mut C) -> Result<bool, sqlx::Error> {
    // As the beginning of a transaction this fails exactly where neither sqlx nor the database has
    // one open: `BeginFailed` says that the statement has not begun any.
    let probe = sqlx::SqlStr::from_static("SELECT 1");
    let begun = tokio::time::timeout(ANSWER_TIMEOUT, connection.begin_with(probe)).await;
    let outside = match begun {
        Ok(Err(sqlx::Error::BeginFailed)) => true,
        Ok(Err(error @ sqlx::Error::Io(_))) => return Err(error),
        Ok(_) => false,
        Err(_) => return Err(sqlx::Error::PoolTimedOut),
    };
    if !outside {
        tracing::warn!("a database connection came back inside a transaction; it is closed");
    }
    Ok(outside)
}

#[cfg(test)]
mod tests;
