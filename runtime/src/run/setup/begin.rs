//! Where a consumer begins that somebody has deleted.

use std::sync::Arc;

use super::wrong;
use crate::error::Kind;
use crate::error::run_error::RunError;
use crate::function::database::Database;
use crate::function::event::{Known, StreamId};
use crate::nats::jetstream::{Nats, stream_info};
use crate::service::consumer::Consumer;
use crate::service::consumer::start::{Begin, Start, after};
use crate::service::definition::Definition;

/// Where a consumer begins that is not there, though its inbox knows of an earlier one; `None` for where
/// the definition says.
pub(super) async fn begin(
    service: &Definition,
    consumer: &Consumer,
    nats: &Nats,
    database: Option<&Arc<dyn Database>>,
) -> Result<Option<Begin>, RunError> {
    let Some(database) = database else {
        return Ok(None);
    };
    if consumer.starts() == Start::All || !service.has_inbox(consumer) {
        return Ok(None);
    }
    let name = consumer.stream.name();
    let stream = match stream_info(nats, name).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == Kind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    let id = StreamId {
        name: name.to_owned(),
        created: stream.created,
        ack_floor: 0,
    };
    let settled = database.settled(consumer.owner(), &consumer.name, &id);
    match settled.await.map_err(wrong)? {
        Known::Settled(settled) => {
            let begin = after(nats, name, settled, stream.state.last_seq).await;
            begin.map(Some).map_err(wrong)
        }
        // Everything in a stream that was made again is new, but for what a backup has put back.
        Known::EarlierLife => Ok(Some(Begin::Time(stream.created))),
        Known::Nothing => Ok(None),
    }
}
