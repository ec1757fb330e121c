//! Serves a room's messages.

pub mod merge;
pub mod question;

use natsfn::{Client, Db, Error, Head, Response, Result, State};

use crate::app::App;
use crate::store::rows::{self, Cursor, Position, Row, rows_of};
use crate::tail::waiting::Waiting;
use crate::tail::{Tail, tail};
use merge::{Merged, merge, nearest, storable};
use question::Question;

/// Bytes of an answer that are reserved for its headers.
const HEADERS: usize = 512;

/// Answers a page of a room, with every message that was acknowledged before the request, stored or
/// not. Headers: `History-More`, and `History-Head`, the position up to which the database and this
/// answer are complete.
///
/// # Errors
/// 503 if the log or the database is unavailable, or too many messages wait to be stored. No error
/// is answered as an empty page.
pub async fn history(
    State(app): State<App>,
    client: Client,
    db: Db,
    question: Question,
) -> Result<Response> {
    let (subject, asked) = (question.place.subject(), (question.cursor, question.limit));
    let read = async |last| read(&app, &client, &db, question, last).await;
    app.pages.get(&client, &subject, asked, read).await
}

/// Reads a page in the log and in the database, where the room's last message in the log may be known.
/// Returns with it whether it stays as it is until the room gets another message: while messages of it wait
/// to be stored it may not, since some of them may turn out to be repeats or dead letters.
async fn read(
    app: &App,
    client: &Client,
    db: &Db,
    question: Question,
    last: Option<Head>,
) -> Result<(Response, bool)> {
    let Question {
        place,
        cursor,
        limit,
    } = question;
    let tail = tail(&app.tails, client, db, &place, cursor, limit, last.as_ref()).await?;
    let Tail { upto, floor, .. } = *tail;
    let stored = rows::page(db, place.realm, &place.room, cursor, upto, limit + 1).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (waiting, stays) = waiting(db, &tail, cursor, limit + 1).await?;
    let merged = merge(stored, waiting, cursor, limit);
    let merged = within(
        merged,
        cursor,
        client.nats().max_payload().saturating_sub(HEADERS),
    )?;
    let head = head(cursor, &merged, upto, floor);
    let page = Response::json(&merged.rows)?
        .with_header("History-More", merged.more)
        .with_header("History-Head", format!("{}.{}", head.epoch, head.seq));
    Ok((page, stays && !tail.doubtful))
}

/// The nearest messages of the tail that will be stored: `n` or more, if there are as many; and whether
/// each of them is stored already. Only the database knows that, and which are repeats, so it is asked about a few
/// at a time.
async fn waiting(db: &Db, tail: &Tail, cursor: Cursor, n: usize) -> Result<(Vec<Row>, bool)> {
    let mut looked_at = n;
    loop {
        let near = nearest(&tail.rows, cursor, looked_at);
        if near.is_empty() {
            return Ok((Vec::new(), true));
        }
        let known = rows_of(db, near.iter().map(|waiting| &*waiting.message)).await?;
        let storable = storable(near, &known, tail.upto);
        if storable.len() >= n || near.len() < looked_at {
            let are_stored = near.iter().all(|Waiting { message, .. }| {
                let stored = known.get(&(message.uid.clone(), message.id.clone()));
                stored.is_some_and(|stored| stored.at <= tail.upto)
            });
            return Ok((storable, are_stored));
        }
        looked_at *= 4;
    }
}

/// The position up to which every message of the room is in the database or in the answer.
fn head(asked: Cursor, merged: &Merged, upto: Position, floor: Position) -> Position {
    match asked {
        Cursor::Last => upto,
        Cursor::After(_) if !merged.more => upto,
        Cursor::After(_) => merged.rows.last().map_or(floor, |row| row.at.max(floor)),
        Cursor::Before(_) => floor,
    }
}

/// Cuts a page that is too large for one message at its far end; the next request continues there.
fn within(mut merged: Merged, asked: Cursor, limit: usize) -> Result<Merged> {
    let mut sizes = Vec::with_capacity(merged.rows.len());
    for row in &merged.rows {
        // Each takes a comma or a bracket.
        sizes.push(serde_json::to_vec(row)?.len() + 1);
    }
    let fitting = |sizes: &mut dyn Iterator<Item = &usize>| {
        let mut total = 1;
        sizes
            .take_while(|size| {
                total += **size;
                total <= limit
            })
            .count()
    };
    let fits = match asked {
        Cursor::After(_) => fitting(&mut sizes.iter()),
        Cursor::Last | Cursor::Before(_) => fitting(&mut sizes.iter().rev()),
    };
    if fits == 0 && !merged.rows.is_empty() {
        return Err(Error::internal(
            "a single message does not fit into an answer",
        ));
    }
    if fits < merged.rows.len() {
        merged.more = true;
        match asked {
            Cursor::After(_) => merged.rows.truncate(fits),
            Cursor::Last | Cursor::Before(_) => {
                merged.rows.drain(..merged.rows.len() - fits);
            }
        }
    }
    Ok(merged)
}
