//! What kind of failure a database's error is.
//!
//! What a database says of *these values* is a bad request, and what it says of itself or of its schema holds.
//! Both lists are short, for neither is ever complete. The rest has no meaning here and is an error like any
//! other (`Kind::Internal`): batches are halved, a message is given up only where others succeed, and while none
//! does the function holds.

use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::sqlx::sqlite::SqliteError;

use crate::error::Kind;

/// What a database's error means: its kind, and a sentence for whoever looks after the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meaning {
    pub(crate) kind: Kind,
    pub(crate) sentence: &'static str,
}

/// The database refuses the values: other ones would do.
pub(super) const VALUES: Meaning = Meaning {
    kind: Kind::BadRequest,
    sentence: "the database refused it",
};
/// It heals by waiting.
pub(super) const DOWN: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database cannot do it now",
};
/// One statement was too much, or the database is slow for all.
pub(super) const LATE: Meaning = Meaning {
    kind: Kind::Timeout,
    sentence: "it took longer than the database allows",
};
pub(super) const RIGHTS: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database denies its user a right: grant it, waiting does not help",
};
pub(super) const SCHEMA: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database's schema is not the one that this program needs: run `setup`, or deploy the program that \
               fits it; waiting does not help",
};
pub(super) const DAMAGE: Meaning = Meaning {
    kind: Kind::Unavailable,
    sentence: "the database is damaged or at fault: an operator must look at it, waiting does not help",
};

pub(super) fn of_postgres(error: &PgDatabaseError) -> Option<Meaning> {
    let routine = error.routine().unwrap_or_default();
    of_state(error.code(), routine, error.constraint().is_some())
}

/// By SQLSTATE, whose first two characters are the class; where one code says two things, by PostgreSQL's routine.
fn of_state(code: &str, routine: &str, has_constraint: bool) -> Option<Meaning> {
    Some(match (code.get(..2)?, code) {
        // A prepared statement of another connection (a pooler in transaction mode).
        (_, "22P03") => SCHEMA,
        // A sequence has no number left.
        (_, "2200H") => DAMAGE,
        // A row without a partition, which may be anybody's fault.
        (_, "23514") if !has_constraint => return None,
        ("22" | "23", _) => VALUES,
        (_, "54000") if INDEXES.iter().any(|name| routine.starts_with(name)) => VALUES,
        // No id of a transaction is left, or no room for a NOTIFY.
        (_, "54000") if routine.starts_with("GetNew") || routine == "PreCommit_Notify" => DOWN,
        // A policy of row-level security refuses the row.
        (_, "42501") if routine == "ExecWithCheckOptions" => return None,
        (_, "42501") => RIGHTS,
        ("42" | "0A" | "26" | "3D" | "3F", _) => SCHEMA,
        (_, "XX001" | "XX002") => DAMAGE,
        // Also of a transaction in which no statement ran for too long, and of one that is too long.
        (_, "57014" | "25P03" | "25P04") => LATE,
        // Only the echo of an earlier error, which the function has passed over; and too large a temporary file.
        (_, "25P02" | "53400") => return None,
        ("08" | "25" | "28" | "40" | "53" | "55" | "57" | "58" | "HV", _) => DOWN,
        _ => return None,
    })
}

/// How the routines begin that refuse a key which is too long for an index.
const INDEXES: [&str; 8] = [
    "index_form_tuple",
    "_bt_",
    "_hash_",
    "brin_",
    "gin",
    "Gin",
    "gist",
    "spg",
];

pub(super) fn of_sqlite(error: &SqliteError) -> Option<Meaning> {
    if code(error) == COMMIT_HOOK {
        return Some(DOWN);
    }
    Some(match primary_code(error) {
        // TOOBIG, CONSTRAINT, MISMATCH.
        18..=20 => VALUES,
        // ERROR: only the text tells a missing table from malformed JSON.
        1 if is_of_schema(error.message()) => SCHEMA,
        // MISUSE, RANGE: of the program.
        1 | 21 | 25 => return None,
        // CORRUPT, NOTADB.
        11 | 26 => DAMAGE,
        _ => DOWN,
    })
}

/// What SQLite says of a statement that does not fit the schema.
fn is_of_schema(text: &str) -> bool {
    let begins = ["no such ", "near "];
    let contains = ["has no column named", " columns but ", "ON CONFLICT clause"];
    begins.iter().any(|it| text.starts_with(it)) || contains.iter().any(|it| text.contains(it))
}

/// SQLite's code for a database that another connection has locked.
pub(crate) const BUSY: u32 = 5;
/// SQLite's code for a file that cannot be written.
pub(super) const READ_ONLY: u32 = 8;
/// SQLite's code for a file that cannot be opened.
pub(crate) const CANNOT_OPEN: u32 = 14;

/// A statement after SQLite had rolled back the function's transaction (`sql/tx/open.rs`).
const COMMIT_HOOK: u32 = 531;

/// SQLite's extended codes keep the plain one in their lowest byte.
pub(super) fn primary_code(error: &SqliteError) -> u32 {
    code(error) & 0xff
}

fn code(error: &SqliteError) -> u32 {
    let code = error.code().and_then(|code| code.parse().ok());
    code.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Errors that no test can make a real database have; the others are in `sql/meanings.rs`.
    #[test]
    fn limits_of_the_server_are_told_from_those_of_an_index() {
        for (routine, meaning) in [
            ("GetNewTransactionId", Some(DOWN)),
            ("GetNewMultiXactId", Some(DOWN)),
            ("PreCommit_Notify", Some(DOWN)),
            ("_hash_doinsert", Some(VALUES)),
            ("gistSplit", Some(VALUES)),
            ("spgdoinsert", Some(VALUES)),
            ("make_tsvector", None),
            ("", None),
        ] {
            assert_eq!(of_state("54000", routine, false), meaning, "{routine}");
        }
        assert_eq!(of_state("08006", "", false), Some(DOWN));
        assert_eq!(of_state("HV000", "", false), Some(DOWN));
    }
}
