//! What a stream must be so that nothing acknowledged is lost; making it, and checking it.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Republish, RetentionPolicy, StorageType,
};
use async_nats::{Client, jetstream};

use crate::dead_letter;
use crate::error::{Error, Kind};
use crate::jetstream::{StreamInfo, stream_info};
use crate::run_error::RunError;
use crate::template::Template;

/// What a dead letter says besides the message itself, in bytes: the largest message that a stream
/// takes must still fit into one.
const DEAD_LETTER: usize = 8 * 1024;

/// A stream that a service needs: file storage, limits retention, discard new. `setup` makes it.
#[derive(Clone, Debug)]
pub struct Stream {
    config: Config,
    templates: Vec<String>,
    may_discard: bool,
}

impl Stream {
    /// A stream that captures these subjects. A token may be `{name}`, which `Path` extracts.
    pub fn new<T: Into<String>>(
        name: impl Into<String>,
        subjects: impl IntoIterator<Item = T>,
    ) -> Self {
        let templates: Vec<String> = subjects.into_iter().map(Into::into).collect();
        let subjects = templates
            .iter()
            .map(|text| Template::parse(text).map_or(text.clone(), |t| t.subject().to_owned()))
            .collect();
        let config = Config {
            name: name.into(),
            subjects,
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            // The other policy drops acknowledged messages that nobody has read, without a word.
            discard: DiscardPolicy::New,
            duplicate_window: Duration::from_secs(120),
            allow_direct: true,
            max_bytes: -1,
            max_messages: -1,
            max_messages_per_subject: -1,
            max_consumers: -1,
            num_replicas: 1,
            ..Config::default()
        };
        Self {
            config,
            templates,
            may_discard: false,
        }
    }

    /// At most so many bytes; then publishers get [`Kind::Unavailable`] until something trims it.
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

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// The subjects that it captures, with wildcards.
    pub fn subjects(&self) -> impl Iterator<Item = &str> {
        self.config.subjects.iter().map(String::as_str)
    }

    /// The subject templates as they were written.
    pub(crate) fn templates(&self) -> &[String] {
        &self.templates
    }

    /// Every mistake in the definition, a sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let name = self.name();
        let mut problems = Vec::new();
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            problems.push(format!(
                "stream name {name:?}: must be one or more of A-Z, a-z, 0-9, _ and -"
            ));
        }
        for template in &self.templates {
            if let Err(problem) = Template::parse(template) {
                problems.push(format!("stream {name}: {problem}"));
            }
        }
        problems.extend(self.losses(&self.config));
        problems
    }

    /// Why a stream with this configuration would lose acknowledged messages.
    fn losses(&self, config: &Config) -> Vec<String> {
        if self.may_discard {
            return Vec::new();
        }
        let name = &config.name;
        let mut losses = Vec::new();
        let bounded = config.max_bytes > 0 || config.max_messages > 0;
        if config.discard == DiscardPolicy::Old && bounded {
            losses.push(format!(
                "stream {name}: max_msgs or max_bytes with discard `old` drops acknowledged messages that nobody has consumed; use discard `new`"
            ));
        }
        if config.max_messages_per_subject > 0 && !config.discard_new_per_subject {
            losses.push(format!(
                "stream {name}: max_msgs_per_subject drops acknowledged messages that nobody has consumed"
            ));
        }
        if !config.max_age.is_zero() {
            losses.push(format!(
                "stream {name}: max_age drops acknowledged messages that nobody has consumed; trim the stream behind its consumer instead"
            ));
        }
        if config.retention == RetentionPolicy::Interest {
            losses.push(format!(
                "stream {name}: interest retention acknowledges and drops what is published while no consumer exists"
            ));
        }
        if config.no_ack {
            losses.push(format!(
                "stream {name}: no_ack leaves publishers without an acknowledgement"
            ));
        }
        for loss in &mut losses {
            loss.push_str(". If that is meant, say .may_discard()");
        }
        losses
    }

    /// The stream as it is, unless it would lose messages or does not capture the subjects.
    pub(crate) async fn check(&self, nats: &Client) -> Result<StreamInfo, Error> {
        let info = stream_info(nats, self.name())
            .await
            .map_err(|error| match error.kind() {
                Kind::NotFound => {
                    Error::unavailable(format!("there is no stream {}; run `setup`", self.name()))
                }
                _ => error,
            })?;
        let losses = self.losses(&info.config);
        if losses.is_empty() {
            Ok(info)
        } else {
            Err(Error::new(Kind::Halt, losses.join("; ")))
        }
    }

    /// Makes the stream, or changes the one that is there to what this version needs.
    pub(crate) async fn set_up(&self, nats: &Client) -> Result<(), RunError> {
        let context = jetstream::new(nats.clone());
        let doing = |what: &str| format!("stream {}: {what}", self.name());
        let limit = self.message_limit(nats.max_payload());
        match stream_info(nats, self.name()).await {
            Err(error) if error.kind() == Kind::NotFound => {
                let mut wanted = self.config.clone();
                wanted.max_message_size = limit.unwrap_or(wanted.max_message_size);
                context.create_stream(wanted).await.map_err(|error| {
                    RunError::while_doing(doing("cannot be made"), Error::from(error))
                })?;
                tracing::info!(stream = self.name(), "made the stream");
            }
            Err(error) => return Err(RunError::while_doing(doing("cannot be read"), error)),
            Ok(info) => {
                let changed = self.merge(info.config.clone(), limit);
                if changed != info.config {
                    context.update_stream(changed).await.map_err(|error| {
                        RunError::while_doing(doing("cannot be changed"), Error::from(error))
                    })?;
                    tracing::info!(stream = self.name(), "changed the stream");
                }
            }
        }
        Ok(())
    }

    /// The largest message where this definition names none. Publishers are refused at once what
    /// could never be buried. The dead letters themselves are larger than what they hold.
    fn message_limit(&self, max_payload: usize) -> Option<i32> {
        if self.config.max_message_size > 0 || self.name() == dead_letter::STREAM {
            return None;
        }
        // A server for tiny messages has no 8 KiB to spare.
        let limit = max_payload.saturating_sub(DEAD_LETTER).max(max_payload / 2);
        Some(i32::try_from(limit).unwrap_or(i32::MAX))
    }

    /// What this definition speaks of is taken from it, what it is silent on stays as an operator
    /// set it.
    fn merge(&self, mut live: Config, limit: Option<i32>) -> Config {
        let want = &self.config;
        live.subjects.clone_from(&want.subjects);
        live.retention = want.retention;
        live.discard = want.discard;
        live.max_bytes = want.max_bytes;
        live.max_messages = want.max_messages;
        live.max_messages_per_subject = want.max_messages_per_subject;
        live.max_age = want.max_age;
        if want.max_message_size != 0 {
            live.max_message_size = want.max_message_size;
        }
        if let Some(limit) = limit
            && (live.max_message_size <= 0 || live.max_message_size > limit)
        {
            live.max_message_size = limit;
        }
        live.duplicate_window = want.duplicate_window;
        live.republish.clone_from(&want.republish);
        live.allow_direct = want.allow_direct;
        live.deny_delete = want.deny_delete;
        live.num_replicas = want.num_replicas;
        live
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_limit_stays_only_where_a_dead_letter_can_hold_its_messages() {
        let stream = Stream::new("S", ["a"]);
        let limit = stream.message_limit(1 << 20);
        assert_eq!(limit, Some((1 << 20) - 8192));
        let merged = |live: i32| {
            let live = Config {
                max_message_size: live,
                ..Config::default()
            };
            stream.merge(live, limit).max_message_size
        };
        for unset_or_larger in [-1, 0, 1 << 20] {
            assert_eq!(merged(unset_or_larger), (1 << 20) - 8192);
        }
        assert_eq!(merged(1000), 1000);
        assert_eq!(stream.message_limit(8192), Some(4096));
        assert_eq!(dead_letter::stream().message_limit(1 << 20), None);
        assert_eq!(stream.max_message_size(7).message_limit(1 << 20), None);
    }

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
