//! A stream that a service needs, as its definition says. It is made in `plan.rs`, checked in
//! `problems.rs`. A key-value bucket and an object store are streams too.

pub(crate) mod bucket;
mod caution;
mod merge;
pub(crate) mod object_store;
mod plan;
mod problems;

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};

use crate::function::template::{Template, overlap};
use crate::nats::client::access::store::Store;

pub(crate) use plan::{OWNER, StreamPlan, Wish};

/// How long a message id is remembered where nothing is said: the server's own time.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// What a dead letter says besides the message itself, in bytes: the largest message that a stream
/// takes must still fit into one.
const DEAD_LETTER: usize = 8 * 1024;

/// The stream that holds the dead letters of all services.
pub const DEAD_LETTERS: &str = "DEAD_LETTERS";

/// A stream that a service needs: file storage, limits retention, discard new. `setup` makes it.
///
/// ```
/// use natsfn::Stream;
///
/// let orders = Stream::new("ORDERS", ["orders.{customer}"]).max_bytes(1 << 30).replicas(3);
/// // One that somebody else makes and changes:
/// let invoices = Stream::existing("INVOICES").template("invoices.{year}");
/// ```
#[derive(Clone, Debug)]
pub struct Stream {
    config: Config,
    templates: Vec<String>,
    may_discard: bool,
    existing: bool,
    gathers: bool,
    /// The bucket or object store that this stream is.
    store: Option<Store>,
}

impl Stream {
    /// What the dead-letter stream must be: limits, discard new. Nothing leaves it by itself.
    pub(crate) fn dead_letters() -> Self {
        Self::new(DEAD_LETTERS, ["dead.>"])
    }

    /// A stream that somebody else makes and changes: `setup` only checks that it is there, captures
    /// the subjects that [`Stream::template`] names, and loses nothing.
    ///
    /// A consumer of it gets what its own filter names, else what the templates name, else all.
    pub fn existing(name: impl Into<String>) -> Self {
        let mut stream = Self::new(name, [""; 0]);
        stream.existing = true;
        stream
    }

    /// One more subject that the stream captures. A token may be `{name}`, which `Path` extracts.
    #[must_use]
    pub fn template(mut self, template: impl Into<String>) -> Self {
        let template = template.into();
        self.config.subjects.push(subject_of(&template));
        self.templates.push(template);
        self
    }

    /// A stream of the service's own that captures these subjects. A token may be `{name}`, which `Path` extracts.
    pub fn new<T: Into<String>>(
        name: impl Into<String>,
        subjects: impl IntoIterator<Item = T>,
    ) -> Self {
        let templates: Vec<String> = subjects.into_iter().map(Into::into).collect();
        let subjects = templates.iter().map(|text| subject_of(text)).collect();
        let config = Config {
            name: name.into(),
            subjects,
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            // The other policy drops acknowledged messages that nobody has read, without a word.
            discard: DiscardPolicy::New,
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            max_bytes: -1,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            ..Config::default()
        };
        Self {
            config,
            templates,
            may_discard: false,
            existing: false,
            gathers: false,
            store: None,
        }
    }

    /// The stream of a bucket or an object store; what it holds goes when its owner or a limit says so.
    fn of(store: Store) -> Self {
        let mut stream = Self::new(store.stream(), store.subjects()).may_discard();
        stream.config.allow_rollup = true;
        stream.store = Some(store);
        stream
    }

    /// What a person calls it: "stream ORDERS", "bucket rates".
    pub(crate) fn title(&self) -> String {
        let name = self.name();
        let store = self.store.as_ref();
        store.map_or_else(|| format!("stream {name}"), ToString::to_string)
    }

    /// The bucket or object store that this stream is.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    /// At most so many bytes; then publishers get [`Kind::Unavailable`](crate::Kind::Unavailable) until something trims it.
    #[must_use]
    pub fn max_bytes(mut self, bytes: i64) -> Self {
        self.config.max_bytes = bytes;
        self
    }

    /// No message larger than this, headers included. Without it the limit is what a dead letter
    /// can hold: the server's `max_payload` less 8 KiB.
    #[must_use]
    pub fn max_message_size(mut self, bytes: i32) -> Self {
        self.config.max_message_size = bytes;
        self
    }

    /// How long a message id is remembered (2 minutes by default).
    #[must_use]
    pub fn duplicate_window(mut self, window: Duration) -> Self {
        self.config.duplicate_window = window;
        self
    }

    /// Publishes every stored message again, once, on another subject: for live listeners.
    #[must_use]
    pub fn republish(mut self, source: impl Into<String>, destination: impl Into<String>) -> Self {
        self.config.republish = Some(Republish {
            source: source.into(),
            destination: destination.into(),
            headers_only: false,
        });
        self
    }

    /// Gathers the service's appends: those with an id that wait at once, 16 or more, are published as one atomic
    /// batch ([`Client::append`](crate::Client::append)). It pays where the server syncs each message
    /// (`sync_interval: always`), since one sync then serves them all, or where the stream has replicas; elsewhere a
    /// batch costs more than its messages. It needs nats-server 2.15: an older one syncs each message of a batch, so
    /// there nothing is gathered. An id that the stream knows already makes its batch slower than plain appends: the
    /// server refuses it, and each is published by itself; after two such batches in a row, all are for a second.
    ///
    /// Such messages are stored with the headers `Nats-Batch-Id` and `Nats-Batch-Sequence`, and the last of a batch
    /// with `Nats-Batch-Commit`. [`Stream::republish`] passes them on: so no stream may capture where it leads, or
    /// its copies of these messages are lost. `setup` allows batches on the stream (`allow_atomic`); on a
    /// [`Stream::existing`] one its owner does.
    #[must_use]
    pub fn atomic_appends(mut self) -> Self {
        self.config.allow_atomic_publish = true;
        self.gathers = true;
        self
    }

    /// Refuses the deletion of single messages.
    #[must_use]
    pub fn deny_delete(mut self) -> Self {
        self.config.deny_delete = true;
        self
    }

    /// How many servers of a cluster hold it (1 by default).
    #[must_use]
    pub fn replicas(mut self, n: usize) -> Self {
        self.config.num_replicas = n;
        self
    }

    /// Everything else that a stream can be; what it must be is checked all the same.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Says that this stream is meant to drop messages that nobody has consumed. Without it such
    /// limits are an error.
    #[must_use]
    pub fn may_discard(mut self) -> Self {
        self.may_discard = true;
        self
    }

    /// Whether appends to it are gathered.
    pub(crate) fn gathers(&self) -> bool {
        self.gathers
    }

    /// Whether somebody else makes and changes it.
    pub(crate) fn is_existing(&self) -> bool {
        self.existing
    }

    /// Whether both say the same of a stream, however they name the tokens of its subjects.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let same = self.existing || self.config == other.config;
        same && self.existing == other.existing && self.gathers == other.gathers
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The subjects that it captures, with wildcards.
    pub fn subjects(&self) -> impl Iterator<Item = &str> {
        self.config.subjects.iter().map(String::as_str)
    }

    /// Whether it may hold messages on a subject with wildcards, as far as this definition says.
    pub(crate) fn may_hold(&self, subject: &str) -> bool {
        let config = &self.config;
        let takes_others = config.mirror.is_some()
            || config.sources.is_some()
            || config.subject_transform.is_some();
        self.existing || takes_others || self.subjects().any(|own| overlap(own, subject))
    }

    /// The subject templates as they were written.
    pub(crate) fn templates(&self) -> &[String] {
        &self.templates
    }

    /// The largest message where this definition names none. Publishers are refused at once what
    /// could never be buried. The dead letters themselves are larger than what they hold, and what a bucket holds is
    /// no message that becomes one.
    fn message_limit(&self, max_payload: usize) -> Option<i32> {
        let is_limited = self.config.max_message_size > 0;
        if is_limited || self.name() == DEAD_LETTERS || self.store.is_some() {
            return None;
        }
        // A server for tiny messages has no 8 KiB to spare.
        let limit = max_payload.saturating_sub(DEAD_LETTER).max(max_payload / 2);
        Some(i32::try_from(limit).unwrap_or(i32::MAX))
    }

    /// The largest message that it takes, as far as the definition says, in bytes.
    pub(crate) fn largest_message(&self, max_payload: usize) -> usize {
        let limit = self.message_limit(max_payload);
        let limit = limit.unwrap_or(self.config.max_message_size);
        usize::try_from(limit).unwrap_or(max_payload)
    }
}

/// The subject that a template stands for; a wrong one is told by [`Stream::problems`].
fn subject_of(template: &str) -> String {
    Template::parse(template).map_or(template.to_owned(), |t| t.subject().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_discard_are_a_problem_unless_they_are_meant() {
        let stream = Stream::new("S", ["a.{b}"]).configure(|config| {
            config.discard = DiscardPolicy::Old;
            config.max_messages = 10;
        });
        assert_eq!(stream.problems().len(), 1);
        assert!(stream.may_discard().problems().is_empty());
        assert_eq!(
            Stream::new("S", ["a.{b}"]).subjects().collect::<Vec<_>>(),
            ["a.*"]
        );
    }
}
