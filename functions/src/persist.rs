//! Moves the log into the database.

use std::sync::atomic::Ordering::Relaxed;

use natsfn::{
    Background, Batch, Error, FromMessage, Kind, Message as LoggedMessage, Outcomes, Result,
    StreamId, Tx,
};

use crate::app::App;
use crate::epoch::{epoch_of, find_epoch, save_floor};
use crate::insert::{InsertError, Stored, insert_once};
use crate::logged::Logged;
use crate::message::Message;
use crate::rows::{Position, Row, last_seq};

impl FromMessage for Message {
    fn from_message(message: &LoggedMessage) -> Result<Self> {
        Logged::from(message)
            .message()
            .map_err(|refusal| Error::bad_request(refusal.to_string()))
    }
}

/// Stores each message once. Redelivery is normal: a row already there is success.
///
/// # Errors
/// [`Kind::Halt`] where a message's place belongs to another one; the database's own.
pub async fn persist(tx: Tx, messages: Batch<Message>) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    let Some(first) = messages.first() else {
        return Ok(outcomes);
    };
    let stream = first.message().stream();
    let epoch = epoch_of(&tx, &stream.name, stream.created_ns()).await?;
    let rows: Vec<Row> = messages
        .iter()
        .map(|item| Row {
            message: Message::clone(item),
            at: Position {
                epoch,
                seq: item.seq().cast_signed(),
            },
        })
        .collect();
    for (item, stored) in messages
        .iter()
        .zip(insert_once(&tx, &rows).await.map_err(failed)?)
    {
        match stored {
            Stored::Here => {}
            Stored::Again | Stored::Repeat(_) => outcomes.duplicate(item.message()),
            Stored::Taken(at) => outcomes.fail(item.message(), taken(at)),
        }
    }
    save_floor(&tx, epoch, stream.ack_floor.cast_signed()).await?;
    Ok(outcomes)
}

/// Up to where the database has everything of a life of the log: what is compared with the
/// consumer's ack floor by `setup`, and before `persist` takes its first message.
///
/// The floor is noted with each batch, as it was before it, so it lies behind after a crash. Where
/// the newest row stands at the ack floor or above it, nothing is missing all the same.
///
/// # Errors
/// The database's own.
pub async fn stored_up_to(app: App, reach: Background, stream: StreamId) -> Result<u64> {
    let db = reach.db()?;
    let stored = match find_epoch(&db, &stream.name, stream.created_ns()).await? {
        None => 0,
        Some(epoch) => {
            let newest = last_seq(&db, epoch.id).await?.cast_unsigned();
            let floor = epoch.floor.cast_unsigned();
            if newest >= stream.ack_floor {
                stream.ack_floor
            } else {
                floor
            }
        }
    };
    app.compared.store(stream.created_ns(), Relaxed);
    Ok(stored)
}

fn taken(at: Position) -> Error {
    Error::new(
        Kind::Conflict,
        format!(
            "its uid and id stand for another message, at epoch {} seq {}",
            at.epoch, at.seq
        ),
    )
}

fn failed(error: InsertError) -> Error {
    match error {
        InsertError::Clash(_) => Error::new(Kind::Halt, error.to_string()),
        InsertError::Contended => Error::unavailable(error.to_string()),
        InsertError::Db(error) => error.into(),
    }
}
