//! What a database's error is, wherever it stands in a chain of sources; what it means: `database/meaning.rs`.

mod meaning;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

use sea_orm::sqlx::error::{DatabaseError, UnexpectedNullError};
use sea_orm::sqlx::postgres::{PgDatabaseError, PgSeverity};
use sea_orm::sqlx::sqlite::SqliteError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

use super::Kind;
use meaning::{DOWN, Meaning, READ_ONLY, SCHEMA, VALUES, of_postgres, of_sqlite, primary_code};

pub(crate) use meaning::{BUSY, CANNOT_OPEN};

/// The kind of the first database error in a chain of sources; None where there is none, or where
/// it says nothing of the database.
pub(crate) fn kind_of(error: &(dyn StdError + 'static)) -> Option<Kind> {
    meaning_of(error).map(|meaning| meaning.kind)
}

/// As [`kind_of`], with a sentence.
pub(crate) fn meaning_of(error: &(dyn StdError + 'static)) -> Option<Meaning> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<DbErr>() {
            return of_sea_orm(error);
        }
        if let Some(error) = error.downcast_ref::<RuntimeErr>() {
            return of_runtime(error);
        }
        if error.is::<ConnAcquireErr>() {
            return Some(DOWN);
        }
        if let Some(error) = error.downcast_ref::<sqlx::Error>() {
            return of_sqlx(error);
        }
        if let Some(error) = error.downcast_ref::<PgDatabaseError>() {
            return of_postgres(error);
        }
        if let Some(error) = error.downcast_ref::<SqliteError>() {
            return of_sqlite(error);
        }
        next = error.source();
    }
    None
}

/// The statement is not known to this connection, or was planned for another schema: on a new
/// connection it may do.
pub(crate) fn is_stale(error: &(dyn StdError + 'static)) -> bool {
    in_chain::<PgDatabaseError>(error).is_some_and(|error| match error.code() {
        "0A000" => error.routine() == Some("RevalidateCachedQuery"),
        // No such statement; and parameters that were meant for another of that name.
        "26000" | "22P03" | "08P01" => true,
        _ => false,
    })
}

/// The settings that the connection began with may be what is wrong, and a new connection has those
/// of now: PostgreSQL takes `ALTER DATABASE ... SET` and `ALTER ROLE ... SET` in at the beginning
/// only. Read-only while a disk was full or another server led; a search path without the schema.
pub(crate) fn is_of_session(error: &(dyn StdError + 'static)) -> bool {
    in_chain::<PgDatabaseError>(error).is_some_and(|error| {
        matches!(
            error.code(),
            "25006" | "42P01" | "42883" | "42704" | "3F000"
        )
    })
}

/// The connection is gone: the database has ended it, or the network has. A statement that took too long
/// says nothing of the connection, much less of others.
pub(crate) fn is_disconnected(error: &DbErr) -> bool {
    match sqlx_error(error) {
        Some(sqlx::Error::Io(error)) => !matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
        ),
        Some(sqlx::Error::Database(error)) => {
            let postgres = error.try_downcast_ref::<PgDatabaseError>();
            postgres.is_some_and(|error| matches!(error.code(), "57P01" | "57P02" | "57P05"))
        }
        _ => false,
    }
}

/// Another transaction was in the way, and this one is rolled back: it may begin again at once.
pub(crate) fn is_conflict(error: &(dyn StdError + 'static)) -> bool {
    in_chain::<PgDatabaseError>(error)
        .is_some_and(|error| matches!(error.code(), "40001" | "40P01"))
}

/// The database refused a statement on a connection that goes on.
pub(crate) fn spares_connection(error: &DbErr) -> bool {
    kind_of(error) == Some(Kind::BadRequest)
        || in_chain::<PgDatabaseError>(error)
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Error))
}

/// The database refused a statement, for its values or for the schema that it needs.
pub(crate) fn is_of_statement(error: &(dyn StdError + 'static)) -> bool {
    meaning_of(error).is_some_and(|meaning| meaning == VALUES || meaning == SCHEMA)
}

/// SQLite's connection may only read: one that was opened while the file could not be written never
/// writes.
pub(crate) fn is_read_only(error: &(dyn StdError + 'static)) -> bool {
    in_chain::<SqliteError>(error).is_some_and(|error| primary_code(error) == READ_ONLY)
}

/// A database's own error in a chain of sources.
fn in_chain<'a, E: DatabaseError>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        let database = match error.downcast_ref::<DbErr>() {
            Some(error) => database_error(error),
            None => match error.downcast_ref::<sqlx::Error>() {
                Some(error) => error.as_database_error(),
                None => None,
            },
        };
        let found = database.and_then(|error| error.try_downcast_ref::<E>());
        if found.is_some() {
            return found;
        }
        next = error.source();
    }
    None
}

/// The error is that of a table that does not exist.
pub(crate) fn is_missing_table(error: &DbErr) -> bool {
    database_error(error).is_some_and(|error| {
        let postgres = error.try_downcast_ref::<PgDatabaseError>();
        postgres.is_some_and(|error| error.code() == "42P01")
            || error.message().starts_with("no such table")
    })
}

/// The error is that of a SQLite file that is locked or cannot be opened, by SQLite's code for it.
pub(crate) fn is_sqlite(error: &DbErr, code: u32) -> bool {
    database_error(error)
        .and_then(|error| error.try_downcast_ref::<SqliteError>())
        .is_some_and(|error| primary_code(error) == code)
}

/// The database's own code for an error: SQLSTATE, or SQLite's number.
pub(crate) fn state_of(error: &DbErr) -> Option<String> {
    database_error(error)?.code().map(Cow::into_owned)
}

fn database_error(error: &DbErr) -> Option<&dyn DatabaseError> {
    sqlx_error(error)?.as_database_error()
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    let (DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error)) = error else {
        return None;
    };
    match error {
        RuntimeErr::SqlxError(error) => Some(error),
        RuntimeErr::Internal(_) => None,
    }
}

fn of_sea_orm(error: &DbErr) -> Option<Meaning> {
    match error {
        DbErr::ConnectionAcquire(_) => Some(DOWN),
        DbErr::Conn(RuntimeErr::Internal(_)) => Some(DOWN),
        DbErr::Conn(error) | DbErr::Exec(error) | DbErr::Query(error) => of_runtime(error),
        _ => None,
    }
}

fn of_runtime(error: &RuntimeErr) -> Option<Meaning> {
    match error {
        RuntimeErr::SqlxError(error) => of_sqlx(error),
        RuntimeErr::Internal(_) => None,
    }
}

fn of_sqlx(error: &sqlx::Error) -> Option<Meaning> {
    use sqlx::Error;
    match error {
        Error::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                of_postgres(error)
            } else {
                of_sqlite(error.try_downcast_ref()?)
            }
        }
        Error::Encode(_) => Some(VALUES),
        // No row is an answer.
        Error::RowNotFound => None,
        // More parameters than the protocol has room for: fewer messages may do.
        Error::Protocol(text) if text.contains("too many arguments") => None,
        // One row has no value where the program needs one.
        Error::ColumnDecode { source, .. } if source.is::<UnexpectedNullError>() => None,
        // A column of another name or type than the program was written for.
        Error::Decode(_)
        | Error::ColumnDecode { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::TypeNotFound { .. } => Some(SCHEMA),
        _ => Some(DOWN),
    }
}
