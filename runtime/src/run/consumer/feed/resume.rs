//! Where a consumer goes on that somebody has deleted.

use std::time::SystemTime;

use super::Feed;
use crate::error::Result;
use crate::function::event::{Known, SettledUpTo};
use crate::nats::jetstream::{ConsumerInfo, StreamInfo};
use crate::service::consumer::start::{Begin, Start, after};

impl Feed {
    /// Notes up to where everything is settled in this life of the stream.
    pub(super) fn remember(&self, stream_created: SystemTime, consumer: &ConsumerInfo) {
        let settled = SettledUpTo {
            seq: consumer.ack_floor.stream_seq,
            time: consumer.time,
        };
        *self.settled.lock() = Some((stream_created, settled));
    }

    /// Where the consumer begins; `None` for where the definition says.
    ///
    /// # Errors
    /// Nobody knows: messages would be skipped.
    pub(super) async fn resume(&self, stream: &StreamInfo) -> Result<Option<Begin>> {
        let start = self.consumer.starts();
        if start == Start::All {
            return Ok(None);
        }
        let seen = *self.settled.lock();
        let known = self.attempt.settled(&self.consumer, stream.created).await?;
        let settled = match (known, seen) {
            // A database that was put back knows what it lacks.
            (Known::Settled(settled), _) => settled,
            (_, Some((created, settled))) if created == stream.created => settled,
            // Everything in a stream that was made again is new, but for what a backup has put back.
            (Known::EarlierLife, _) | (_, Some(_)) => return Ok(Some(Begin::Time(stream.created))),
            (Known::Nothing, None) if start == Start::New => {
                return Err(self.consumer.unknown_start());
            }
            (Known::Nothing, None) => return Ok(None),
        };
        let (nats, name) = (&self.nats, self.consumer.stream.name());
        let begin = after(nats, name, settled, stream.state.last_seq);
        begin.await.map(Some)
    }
}
