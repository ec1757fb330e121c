//! Moves the log into the database.

use std::collections::HashSet;

use natsfn::{
    Batch, Error, FromMessage, Item, Kind, Message as LoggedMessage, Outcomes, Result, Tx,
};

use crate::message::Message;
use crate::message::logged::Logged;
use crate::store::epoch::{Life, life_of};
use crate::store::insert::{InsertError, Stored, insert_once};
use crate::store::rows::{Position, Row};

impl FromMessage for Message {
    fn from_message(message: &LoggedMessage) -> Result<Self> {
        Logged::from(message)
            .message()
            .map_err(|refusal| Error::bad_request(refusal.to_string()))
    }
}

/// How often a batch is tried again after the log turned out to be rolled back. Each time, a new
/// epoch has begun in which the position is free.
const ATTEMPTS: usize = 4;

/// Stores each message once. Redelivery is normal: a row already there is success. If a message's
/// position belongs to another message, the log was rolled back: a new epoch begins.
///
/// # Errors
/// The database's own.
pub async fn persist(tx: Tx, messages: Batch<Message>) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    let Some(first) = messages.first() else {
        return Ok(outcomes);
    };
    let stream = first.message().stream();
    let life = life_of(&tx, &stream.name, stream.created_ns()).await?;
    let floor = stream.ack_floor.cast_signed();
    let stored = store(&tx, life, &messages, floor).await?;
    for (item, stored) in messages.iter().zip(stored) {
        match stored {
            Stored::Here => {}
            Stored::Again | Stored::Repeat(_) => outcomes.duplicate(item.message()),
            Stored::Taken(at) => outcomes.fail(item.message(), taken(at)),
        }
    }
    Ok(outcomes)
}

/// Stores the messages. If a position belongs to another message, begins an epoch. It begins behind
/// the ack floor, so that instances which notice at the same moment agree.
async fn store(
    tx: &Tx,
    mut life: Life,
    messages: &[Item<Message>],
    floor: i64,
) -> Result<Vec<Stored>> {
    let mut all = Vec::with_capacity(messages.len());
    let mut attempts = 0;
    while all.len() < messages.len() {
        let rest = &messages[all.len()..];
        let rows: Vec<Row> = rest[..distinct(rest)]
            .iter()
            .map(|item| Row {
                message: Message::clone(item),
                at: life.position(item.seq().cast_signed()),
            })
            .collect();
        match insert_once(tx, &rows).await {
            Ok(stored) => all.extend(stored),
            Err(InsertError::Clash(at)) if attempts < ATTEMPTS => {
                attempts += 1;
                let first_seq = at.seq.min(floor + 1);
                life = life.follow(tx, first_seq).await?;
            }
            Err(InsertError::Db(error)) => return Err(error.into()),
            Err(error) => return Err(Error::unavailable(error.to_string())),
        }
    }
    Ok(all)
}

/// How many messages come before the first repeated sequence: the log may have been rolled back
/// while the batch was fetched.
fn distinct(messages: &[Item<Message>]) -> usize {
    let mut seen = HashSet::new();
    let before = messages.iter().take_while(|item| seen.insert(item.seq()));
    before.count()
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
