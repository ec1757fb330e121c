//! Which connections return to their pool: those that the database itself reports to be outside any
//! transaction.
//!
//! sqlx counts transactions itself, and its count can differ from the database's state: SQLite rolls
//! back by itself if a disk is full, a BEGIN can be under way when its future is dropped, and a
//! function may run its own BEGIN. On such a connection the next COMMIT commits nothing, and no other
//! connection sees what it should have stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sea_orm::DbErr;
use sea_orm::sqlx::{self, Connection};

use crate::error::database::{
    is_disconnected, is_of_session, is_read_only, is_stale, spares_connection,
};

/// How long a connection may take to report that it is outside any transaction.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// An older connection is closed if its settings may be the cause of an error. A younger one is kept:
/// if they are not the cause, connections would be opened anew each time.
const SETTLED_IN: Duration = Duration::from_secs(5);

/// The connections of one pool that may be lent again; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Reuse(Arc<Ended>);

#[derive(Debug)]
struct Ended {
    born: Instant,
    /// Connections that were opened before this time are closed; in nanoseconds since `born`.
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
    /// Closes every connection that is open now, when it is next taken from the pool or returned to it.
    pub(crate) fn end_open_ones(&self) {
        self.end_older_than(Duration::ZERO);
    }

    fn end_older_than(&self, age: Duration) {
        let opened = self.0.born.elapsed().saturating_sub(age).as_nanos();
        let opened = u64::try_from(opened).unwrap_or(u64::MAX);
        self.0.at.fetch_max(opened, Ordering::AcqRel);
    }

    /// Whether a connection of this age was opened after that time.
    pub(crate) fn allows(&self, age: Duration) -> bool {
        let opened = self.0.born.elapsed().saturating_sub(age).as_nanos();
        opened >= u128::from(self.0.at.load(Ordering::Acquire))
    }

    /// Notes the outcome of a statement. If its plan was made for an earlier schema, so were the plans
    /// of the other connections; if the database has ended this one, it has hardly spared the others, and
    /// each would cost a request; if SQLite's file could not be written, the connections opened then
    /// never write; if a connection began with settings that have changed since, it keeps them.
    pub(crate) fn seen_of_statement<T>(&self, outcome: &Result<T, DbErr>) {
        if let Err(error) = outcome {
            self.seen_of_error(error);
        }
    }

    pub(crate) fn seen_of_error(&self, error: &DbErr) {
        if is_stale(error) || is_disconnected(error) || is_read_only(error) {
            self.end_open_ones();
        } else if is_of_session(error) {
            self.end_older_than(SETTLED_IN);
        }
    }

    /// Notes the outcome of BEGIN, COMMIT or ROLLBACK. A failure closes the open connections, unless
    /// there was no connection, or a COMMIT was refused, such as for the values or for a conflict with
    /// another transaction: then the database has rolled back, and says so.
    pub(crate) fn seen<T>(&self, outcome: Result<T, DbErr>) -> Result<T, DbErr> {
        if let Err(error) = &outcome
            && !matches!(error, DbErr::ConnectionAcquire(_))
            && !spares_connection(error)
        {
            self.end_open_ones();
        }
        outcome
    }
}

/// Asks nothing.
pub(crate) const PROBE: &str = "SELECT 1";

/// Asks PostgreSQL to forget what somebody has set of the session: the next one would work with it, and lack
/// what it does not know of, such as `synchronous_commit`, another role, or a lock that nobody else gives back. A pooler
/// between them sets what sqlx says at the start of a session, and RESET ALL would undo that.
pub(crate) const FORGET: &str = "RESET SESSION AUTHORIZATION; RESET ROLE; RESET ALL; SET TimeZone = 'UTC'; \
    SET DateStyle = 'ISO, MDY'; SET client_encoding = 'UTF8'; CLOSE ALL; UNLISTEN *; DISCARD TEMP; \
    SELECT pg_advisory_unlock_all()";

/// Whether a returned connection is outside any transaction. Also proves that the connection is alive,
/// so that no caller waits for a dead one.
pub(crate) async fn is_outside<C: Connection>(
    connection: &mut C,
    probe: &'static str,
) -> Result<bool, sqlx::Error> {
    // As the beginning of a transaction this fails only if neither sqlx nor the database has one open:
    // `BeginFailed` says that the statement has begun none.
    let probe = sqlx::SqlStr::from_static(probe);
    let begun = tokio::time::timeout(ANSWER_TIMEOUT, connection.begin_with(probe)).await;
    let outside = match begun {
        Ok(Err(sqlx::Error::BeginFailed)) => true,
        Ok(Err(error @ sqlx::Error::Io(_))) => return Err(error),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a database connection that came back answers with an error; it is closed");
            return Ok(false);
        }
        Ok(Ok(_)) => false,
        Err(_) => return Err(sqlx::Error::PoolTimedOut),
    };
    if !outside {
        tracing::warn!("a database connection came back inside a transaction; it is closed");
    }
    Ok(outside)
}

#[cfg(test)]
mod tests;
