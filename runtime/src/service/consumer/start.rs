//! Where a consumer begins in its stream. The server remembers nothing of a consumer that was deleted, and
//! cannot change where one that is there began.

use std::fmt;
use std::time::SystemTime;

use serde_json::json;

use super::{Consumer, Wanted, settings};
use crate::error::{Error, Kind, Result};
use crate::function::event::SettledUpTo;
use crate::nats::jetstream::raw_message::RawMessage;
use crate::nats::jetstream::{ConsumerInfo, Nats, call, calls, format_time, parse_time};
use crate::service::difference::Settings;

/// The key of the definition's start, in the metadata of a consumer that does not begin at its stream's
/// first message.
const START: &str = "natsfn.start";

/// Where a new consumer begins in its stream: see [`Consumer::start`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the stream's first message.
    #[default]
    All,
    /// With what is stored once `setup` has made it.
    New,
    /// With what the stream has stored at this time or later, by the server's clock. A time that is still to
    /// come is as [`Self::New`].
    Since(SystemTime),
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("the stream's first message"),
            Self::New => f.write_str("what is stored from then on"),
            Self::Since(time) => write!(f, "what was stored since {}", format_time(*time)),
        }
    }
}

/// Where a consumer begins that is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    Sequence(u64),
    Time(SystemTime),
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sequence(seq) => write!(f, "message {seq}, behind what is settled"),
            Self::Time(time) => write!(f, "what was stored since {}", format_time(*time)),
        }
    }
}

/// Where the next consumer of a life of a stream begins. In one that was rolled back, the sequences up to the
/// settled one stand for other messages: they are not there, or are later than what was settled.
///
/// # Errors
/// [`Kind::Unavailable`] where the server does not say.
pub(crate) async fn after(
    nats: &Nats,
    stream: &str,
    settled: SettledUpTo,
    last_seq: u64,
) -> Result<Begin> {
    if settled.seq > last_seq {
        return Ok(Begin::Time(settled.time));
    }
    if settled.seq == 0 {
        return Ok(Begin::Sequence(1));
    }
    let (name, body) = (calls::message(stream), json!({ "seq": settled.seq }));
    match call::<RawMessage>(nats, &name, &body).await {
        Ok(message) if message.time()? > settled.time => Ok(Begin::Time(settled.time)),
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ => Ok(Begin::Sequence(settled.seq + 1)),
    }
}

impl Consumer {
    /// Where the durable consumer begins when `setup` makes it: [`Start::All`] by default. A function
    /// that sends mail and is added later takes [`Start::New`], or it mails the stream's history.
    ///
    /// ```
    /// use natsfn::{Consumer, Start, Stream};
    ///
    /// let orders = Stream::new("ORDERS", ["orders.{customer}"]);
    /// let mail = Consumer::new("mail", orders).start(Start::New);
    /// ```
    ///
    /// nats-server cannot change where a consumer that is there began: a later change of this setting
    /// has no effect, and `setup` says so.
    ///
    /// With [`Start::New`] and [`Start::Since`], a consumer that somebody deletes is made again where it
    /// was: a running function, and one with an inbox, knows up to where everything was settled. What was
    /// stored meanwhile is not skipped; what was handled above that comes again. Where nobody knows, one with
    /// `New` holds until `setup` has made it anew, for only an operator can tell what was missed, and one
    /// with `Since` begins at its time. With [`Start::All`], it is made again at the stream's first message,
    /// and an inbox passes over what was handled.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The definition's start.
    pub(crate) fn starts(&self) -> Start {
        self.start
    }

    /// Problems of the definition.
    pub(crate) fn check_start(&self, problems: &mut Vec<String>) {
        if self.floor.is_some() && self.start != Start::All {
            problems.push(format!(
                "function {:?}: .floor(..) lets everything be handled that the store lacks, so the consumer begins at {}, not at {}: remove .start(..)",
                self.name, Start::All, self.start
            ));
        }
    }

    /// The error of a function that finds no consumer, and cannot know what was stored since there was one.
    pub(crate) fn unknown_start(&self) -> Error {
        Error::unavailable(format!(
            "the consumer {} of {} does not exist, and nobody knows what was stored since it did: run `{} setup`, which makes it begin with {}",
            self.durable_name(),
            self.stream.name(),
            self.service,
            self.start
        ))
    }

    /// The configuration of a new consumer.
    pub(super) fn new_settings(&self, wanted: Wanted<'_>) -> Result<Settings> {
        let mut settings = settings(&self.config(wanted))?;
        let mut set = |policy: &str, key: &str, value| {
            settings.insert("deliver_policy".into(), policy.into());
            settings.insert(key.into(), value);
        };
        match (wanted.begin, self.start) {
            (Some(Begin::Sequence(seq)), _) => {
                set("by_start_sequence", "opt_start_seq", seq.into());
            }
            (Some(Begin::Time(time)), _) | (None, Start::Since(time)) => {
                set("by_start_time", "opt_start_time", format_time(time).into());
            }
            (None, Start::New) => {
                settings.insert("deliver_policy".into(), "new".into());
            }
            (None, Start::All) => {}
        }
        if self.start != Start::All {
            let metadata = settings.entry("metadata").or_insert_with(|| json!({}));
            metadata[START] = self.start.to_string().into();
        }
        Ok(settings)
    }

    /// What `setup` says of a consumer that it makes.
    pub(crate) fn begins(&self, begin: Option<Begin>) -> Option<String> {
        let place = match (begin, self.start) {
            (Some(begin), Start::New | Start::Since(_)) => begin.to_string(),
            (_, Start::All) => return None,
            (None, start) => return Some(format!("begins with {start}")),
        };
        Some(format!(
            "begins with {place}, as its inbox knows; to begin with {} instead, stop every instance, delete the consumer, let the inbox forget its place, and run setup: UPDATE natsfn_life SET settled_ns = 0 WHERE service = '{}' AND function = '{}'",
            self.start, self.service, self.name
        ))
    }

    /// What `setup` has to say where a consumer that is there began elsewhere than the definition says.
    pub(crate) fn keeps_start(&self, found: &ConsumerInfo) -> Option<String> {
        let (began, wanted) = (start_of(found), self.start.to_string());
        let (stream, durable) = (self.stream.name(), self.durable_name());
        (began != wanted).then(|| {
            format!(
                "consumer {durable} of {stream}: keeps its place, behind message {}: it began with {began}, and the definition says {wanted}, which nats-server cannot change; to begin there, stop every instance first, which would make it again where it was; then delete it and run setup: nats consumer rm {stream} {durable}",
                found.ack_floor.stream_seq
            )
        })
    }
}

/// The start of the definition that a consumer was made for. Without a note of it the consumer is from an
/// earlier version or was made by hand; one that begins at a sequence was made again where it was.
fn start_of(found: &ConsumerInfo) -> String {
    if let Some(start) = found.metadata(START) {
        return start.to_owned();
    }
    let text = |key: &str| found.config.get(key).and_then(|value| value.as_str());
    let start = match (text("deliver_policy"), text("opt_start_time")) {
        (Some("new"), _) => Start::New,
        (_, Some(time)) => parse_time(time).map_or(Start::All, Start::Since),
        _ => Start::All,
    };
    start.to_string()
}
