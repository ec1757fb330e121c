//! Lets go of the messages of a stream that is no longer what it was: somebody recreated it, or its log was rolled
//! back, and its sequences stand for other messages now. The server settles by the sequence alone, so an
//! acknowledgement of a former message would end another one, unseen.

use super::Feed;
use crate::error::Kind;
use crate::nats::jetstream::{StreamInfo, consumer_info};
use crate::run::consumer::ranges::Ranges;

/// At so many messages at most, where others have left the stream meanwhile.
const LOOKED_AT: usize = 16;

impl Feed {
    /// To be called on each connection, before anything is taken on it.
    pub(super) async fn let_go_of_former(&self, stream: &StreamInfo) {
        let is_recreated = {
            let mut readable = self.readable.lock();
            let is_recreated = readable.0.replace(stream.created) != Some(stream.created);
            if is_recreated {
                readable.1 = Ranges::default();
            }
            is_recreated
        };
        if !is_recreated && !self.is_rolled_back(stream).await {
            return;
        }
        let messages = self.settler.in_progress.forget();
        if messages > 0 {
            tracing::warn!(consumer = %self.consumer.name, messages, "the stream was recreated or rolled back: the messages of it that are held here are not settled, since others may have their sequences now");
        }
    }

    /// Notices it too while the queue is full and no pull request is open, which would tell.
    pub(super) async fn look_for_another(&self) {
        let Some(found) = self.current() else {
            return;
        };
        let (name, durable) = (self.consumer.stream.name(), self.consumer.durable_name());
        let is_another = match consumer_info(&self.nats, name, &durable).await {
            Ok(consumer) => !self.is_same(&found, &consumer),
            Err(error) => error.kind() == Kind::NotFound,
        };
        if is_another {
            self.end(Some(&found));
        }
    }

    /// Whether the last message that is held here, and still in the stream, is another one now; or the last one was
    /// never stored. A log that is rolled back loses its end. Where nothing can be looked at, it counts as what it was.
    async fn is_rolled_back(&self, stream: &StreamInfo) -> bool {
        for (seq, time_ns) in self.settler.in_progress.last(LOOKED_AT) {
            match self.look(seq).await {
                Ok((_, Some(raw))) => {
                    return raw.read().is_ok_and(|message| message.time_ns != time_ns);
                }
                Ok((_, None)) if seq > stream.state.last_seq => return true,
                Ok((_, None)) => {}
                Err(_) => return false,
            }
        }
        false
    }
}
