//! What the stream functions of a service without a broker were delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::function::event::{Message, StreamId, nanoseconds};
use crate::testing::message::TestMessage;

/// The streams as the functions see them: each message that a test delivers is the next one of its stream. Made anew,
/// the streams are new ones too: another test's messages in the same database are others.
pub(super) struct Delivered {
    created: SystemTime,
    /// The last sequence of each stream.
    last: HashMap<String, u64>,
    /// What each function was delivered last.
    latest: HashMap<String, Delivery>,
}

/// Messages that a function is called with, and how often they have been delivered.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) stream: Arc<StreamId>,
    pub(super) messages: Vec<Message>,
    pub(super) times: u64,
}

impl Default for Delivered {
    fn default() -> Self {
        Self {
            created: SystemTime::now(),
            last: HashMap::new(),
            latest: HashMap::new(),
        }
    }
}

impl Delivered {
    /// Stores the messages in the stream, and delivers them to the function; `subject` is that of a message that has
    /// none.
    pub(super) fn new_messages(
        &mut self,
        function: &str,
        stream: &str,
        subject: &str,
        messages: Vec<TestMessage>,
    ) -> Delivery {
        let last = self.last.entry(stream.to_owned()).or_default();
        let now = SystemTime::now();
        let stored = messages.into_iter().map(|message| {
            *last += 1;
            Message {
                subject: message.subject.as_deref().unwrap_or(subject).into(),
                headers: message.headers,
                payload: message.payload,
                seq: *last,
                time_ns: nanoseconds(message.time.unwrap_or(now)),
                unreadable: None,
            }
        });
        let delivery = Delivery {
            messages: stored.collect(),
            stream: Arc::new(StreamId {
                name: stream.to_owned(),
                created: self.created,
                ack_floor: 0,
            }),
            times: 1,
        };
        self.latest.insert(function.to_owned(), delivery.clone());
        delivery
    }

    /// What the function was delivered last, once more.
    pub(super) fn again(&mut self, function: &str) -> Option<Delivery> {
        let latest = self.latest.get_mut(function)?;
        latest.times += 1;
        Some(latest.clone())
    }
}
