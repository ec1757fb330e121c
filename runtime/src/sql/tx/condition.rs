//! The condition of a transaction.

use std::io::ErrorKind;

use sea_orm::DbErr;

use super::OpenTransaction;
use crate::error::database::kind_of;
use crate::error::{Error, Result};
use crate::sql::timeout::{bounded, io_error};

/// Every statement succeeded.
pub(super) const CLEAN: u8 = 0;

/// A statement failed or a savepoint was made. PostgreSQL may have aborted the transaction, and would
/// then answer COMMIT with a rollback that looks like a success.
pub(super) const DOUBTFUL: u8 = 1;

/// A statement was not finished, or SQLite may have rolled back: later statements would be committed
/// without the earlier ones.
pub(super) const BROKEN: u8 = 2;

/// The runtime has ended it.
pub(super) const OVER: u8 = 3;

pub(super) async fn fit(condition: u8, transaction: &OpenTransaction) -> Result<()> {
    if condition == CLEAN {
        return Ok(());
    }
    let Err(error) = bounded(transaction.goes_on()).await else {
        return Ok(());
    };
    // If the database became unreachable meanwhile, its own error says so.
    Err(match kind_of(&error) {
        Some(_) => error.into(),
        None => Error::internal(PASSED_OVER).with_source(error),
    })
}

pub(super) const KEPT: &str = "the function returned and something that it started still holds its Tx; nothing of it is stored. \
                    Await what you spawn, or give it a Db";

pub(super) const PASSED_OVER: &str = "a statement failed and the function went on, but its transaction cannot; nothing of it is \
                           stored. Return the error, or run the statement in a savepoint (tx.begin())";

pub(super) fn over() -> DbErr {
    DbErr::Custom("this transaction is over: its function has returned".to_owned())
}

/// Not by a fault of the connection: the others of the pool are spared.
pub(super) fn lost() -> DbErr {
    io_error(
        ErrorKind::Interrupted,
        "this transaction has been rolled back, or is not the one that the runtime has begun",
    )
}

pub(super) fn lent() -> DbErr {
    io_error(
        ErrorKind::TimedOut,
        "the connection of this transaction is lent to sqlx: drop the SqlxConnection first",
    )
}

pub(super) fn unread() -> DbErr {
    let text =
        "a statement's answer was not read to its end, and nothing of the transaction is stored";
    DbErr::Custom(text.to_owned())
}

pub(super) fn broken() -> DbErr {
    io_error(
        ErrorKind::BrokenPipe,
        "an earlier statement of this transaction was not finished",
    )
}
