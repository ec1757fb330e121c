//! Lets go of the messages of a stream that is no longer what it was: somebody recreated it, or its log was rolled
//! back, and its sequences stand for other messages now. The server settles by the sequence alone, so an
//! acknowledgement of a former message would end another one, unseen.

use super::Feed;
use crate::nats::jetstream::StreamInfo;
use crate::run::consumer::ranges::Ranges;

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

    /// Whether the last message that is held here is another one now, or was never stored. As a log loses its end only,
    /// the last one tells for all. Where it cannot be looked at, the log counts as what it was.
    async fn is_rolled_back(&self, stream: &StreamInfo) -> bool {
        let Some((seq, time_ns)) = self.settler.in_progress.last() else {
            return false;
        };
        match self.look(seq).await {
            Ok((_, Some(raw))) => raw.read().is_ok_and(|message| message.time_ns != time_ns),
            Ok((_, None)) => seq > stream.state.last_seq,
            Err(_) => false,
        }
    }
}
