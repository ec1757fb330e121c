//! What kind of failure a database's error is.
//!
//! Only what a database says of *these values* is a bad request; everything else holds, because a
//! list of what heals by waiting is never complete.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::io;

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::sqlx::sqlite::SqliteError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, sqlx};

use super::Kind;

/// What a database's error means: its kind, and a sentence for whoever looks after the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) kind: Kind,
    pub(crate) sentence: &'static str,
}

/// The database refuses the values: other ones would do.
const VALUES: Meaning = Meaning {
    kind: Kind::BadRequest,
    sentence: "the database refused it",
};
/// It heals by waiting.
const DOWN: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database cannot do it now",
};
const RIGHTS: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database denies its user a right: grant it, waiting does not help",
};
const SCHEMA: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database's schema is not the one that this program needs: run `setup`, or deploy the program that \
               fits it; waiting does not help",
};
const DAMAGE: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database is damaged or at fault: an operator must look at it, waiting does not help",
};

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
            return of_postgres(error.code());
        }
        if let Some(error) = error.downcast_ref::<SqliteError>() {
            return Some(of_sqlite(error));
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

/// SQLite's code for a database that another connection has locked.
pub(crate) const BUSY: u32 = 5;
/// SQLite's code for a file that cannot be written.
const READ_ONLY: u32 = 8;
/// SQLite's code for a file that cannot be opened.
pub(crate) const CANNOT_OPEN: u32 = 14;

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
                of_postgres(error.code())
            } else {
                error.try_downcast_ref::<SqliteError>().map(of_sqlite)
            }
        }
        Error::Encode(_) => Some(VALUES),
        // No row is an answer.
        Error::RowNotFound => None,
        // A column of another name or type than the program was written for.
        Error::Decode(_)
        | Error::ColumnDecode { .. }
        | Error::ColumnNotFound(_)
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::TypeNotFound { .. } => Some(SCHEMA),
        _ => Some(DOWN),
    }
}

/// By SQLSTATE, whose first two characters are the class.
fn of_postgres(code: &str) -> Option<Meaning> {
    Some(match (code.get(..2)?, code) {
        // Only the echo of an earlier error, which the function has passed over.
        (_, "25P02") => return None,
        // Not of the values: a prepared statement of another connection (a pooler in transaction
        // mode), and a database whose encoding lacks the character.
        (_, "22P03" | "22P05") => SCHEMA,
        // Data; a constraint; too long for an index.
        ("22" | "23", _) | (_, "54000") => VALUES,
        (_, "42501") => RIGHTS,
        ("42" | "0A" | "26" | "3D" | "3F", _) => SCHEMA,
        ("XX", _) => DAMAGE,
        _ => DOWN,
    })
}

fn of_sqlite(error: &SqliteError) -> Meaning {
    if code(error) == COMMIT_HOOK {
        return DOWN;
    }
    match primary_code(error) {
        // TOOBIG, CONSTRAINT, MISMATCH.
        18..=20 => VALUES,
        // SQLITE_ERROR is what a missing table or column says.
        1 => SCHEMA,
        // CORRUPT, NOTADB.
        11 | 26 => DAMAGE,
        _ => DOWN,
    }
}

/// A statement after SQLite had rolled back the function's transaction (`sql/tx/open.rs`).
const COMMIT_HOOK: u32 = 531;

/// SQLite's extended codes keep the plain one in their lowest byte.
fn primary_code(error: &SqliteError) -> u32 {
    code(error) & 0xff
}

fn code(error: &SqliteError) -> u32 {
    let code = error.code().and_then(|code| code.parse().ok());
    code.unwrap_or(0)
}
