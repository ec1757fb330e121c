//! How long a statement is waited for.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

use crate::error::database::kind_of;
use crate::error::{Error, Kind};

/// Longer than the database's own limits (`pool.rs`), which know better what is wrong: this one is
/// for a database that stands still, or a network that swallows packets. The kernel would need
/// minutes to notice the latter, and never notices the former.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the database, but not for ever.
pub(crate) async fn bounded<T>(work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    match tokio::time::timeout(STATEMENT_TIMEOUT, work).await {
        Ok(done) => done,
        Err(_) => Err(io_error(
            io::ErrorKind::TimedOut,
            "the database did not answer within 10 s",
        )),
    }
}

/// An error of the connection. It is one of sqlx's, so that it is still known for what it is
/// inside an error type that hides its `DbErr` (thiserror's `transparent` does).
pub(crate) fn io_error(kind: io::ErrorKind, text: &'static str) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(sqlx::Error::Io(
        io::Error::new(kind, text),
    ))))
}

/// sqlx's error as sea-orm has it.
pub(crate) fn connection_error(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}

/// The runtime's own error for a statement of its own that failed. None of a message's values are in it, so
/// whatever the database says, no message is at fault. sqlx tries to connect until the time is over, and then
/// knows no better reason than that.
pub(crate) fn down(error: DbErr) -> Error {
    match error {
        error @ DbErr::ConnectionAcquire(_) => Error::unavailable(
            "the database gave no connection in time: is it up, and has it connections left?",
        )
        .with_source(error),
        error if kind_of(&error) == Some(Kind::Unavailable) => error.into(),
        error => Error::unavailable("a statement of the runtime's own failed").with_source(error),
    }
}

/// Whether the pool gave no connection.
pub(crate) fn is_without_connection(error: &Error) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref());
    matches!(source, Some(DbErr::ConnectionAcquire(_)))
}
