//! Durable consumers that somebody changed by hand so that messages would be lost silently, or never come.

use std::time::Duration;

use super::{Consumer, MOST_UNSETTLED, Wanted, settings};
use crate::error::{Error, Result};
use crate::nats::jetstream::{ConsumerInfo, Nats};
use crate::nats::pull::bytes;
use crate::service::difference::differences;

impl ConsumerInfo {
    /// Whether the server gives up a message after a number of deliveries, without a dead letter.
    pub(crate) fn gives_up(&self) -> bool {
        let most = self.config.get("max_deliver");
        most.and_then(|most| most.as_i64())
            .is_some_and(|most| most > 0)
    }

    /// How long the server waits for a word about a message until it delivers it again.
    pub(crate) fn ack_wait(&self) -> Option<Duration> {
        let nanos = self.config.get("ack_wait")?.as_u64()?;
        Some(Duration::from_nanos(nanos))
    }

    /// Whether a message of this size never comes.
    fn holds_back(&self, bytes: usize) -> bool {
        let most = self.config.get("max_bytes").and_then(|most| most.as_u64());
        most.is_some_and(|most| (1..bytes as u64).contains(&most))
    }

    /// Whether messages are delivered without their payload.
    pub(crate) fn is_without_payload(&self) -> bool {
        self.config.get("headers_only") == Some(&true.into())
    }
}

impl Consumer {
    /// Why no further message comes in, where as many wait as the server lets a consumer have.
    pub(crate) fn is_full(&self, found: &ConsumerInfo) -> Option<String> {
        let most = found.config.get("max_ack_pending")?.as_u64()?;
        let is_full = most > 0 && found.num_ack_pending >= most && found.num_pending > 0;
        let (durable, stream) = (self.durable_name(), self.stream.name());
        let larger = (most * 2).min(MOST_UNSETTLED as u64);
        let more = if larger > most {
            format!(
                ", or let it have more: nats consumer edit {stream} {durable} --max-pending {larger}"
            )
        } else {
            String::new()
        };
        let places = match self.by_key {
            Some(_) => {
                ", or for a place of their key (let it have more: Consumer::max_in_flight_by)"
            }
            None => "",
        };
        is_full.then(|| {
            format!(
                "the consumer {durable} of {stream} has {} messages that are delivered and not settled, such as those that wait for a retry{places}, and the server gives it no others (max_ack_pending): wait less in Consumer::retry{more}",
                found.num_ack_pending
            )
        })
    }

    /// What a consumer skips if its filter is not this definition's: another version has set it up, or
    /// somebody has edited it.
    pub(crate) fn passes_over(&self, found: &ConsumerInfo) -> Option<String> {
        let own = settings(&self.config(Wanted::default())).ok()?;
        let keys = ["filter_subject", "filter_subjects"];
        if keys
            .iter()
            .all(|key| own.get(*key) == found.config.get(*key))
        {
            return None;
        }
        let shown = |key: &&str| Some(found.config.get(*key)?.to_string());
        let filter: String = keys
            .iter()
            .find_map(shown)
            .unwrap_or_else(|| "all".to_owned());
        let (durable, stream) = (self.durable_name(), self.stream.name());
        Some(format!(
            "the consumer {durable} of {stream} has the filter {filter}, and this version needs {}: other messages never arrive; run `{} setup`",
            self.subjects().join(", "),
            self.service
        ))
    }

    /// Undoes changes to a consumer that would lose messages, or hold them back; leaves others as they are.
    ///
    /// # Errors
    /// Why the server refuses it, with the cure.
    pub(crate) async fn mend(&self, nats: &Nats, found: ConsumerInfo) -> Result<ConsumerInfo> {
        let holds_back = found.holds_back(bytes(nats));
        if !found.gives_up() && !found.is_without_payload() && !holds_back {
            return Ok(found);
        }
        let mut config = found.config.clone();
        config.insert("max_deliver".into(), (-1).into());
        config.remove("headers_only");
        if holds_back {
            config.remove("max_bytes");
        }
        let changes = differences(&found.config, &config);
        let changes = changes
            .iter()
            .map(|it| it.trim())
            .collect::<Vec<_>>()
            .join(", ");
        let (durable, stream) = (self.durable_name(), self.stream.name());
        let mended = self.create(nats, "update", config).await.map_err(|error| {
            let cure = format!("run `{} setup`", self.service);
            let what = format!("the consumer {durable} of {stream} would lose messages or hold them back, and cannot be changed back ({changes}): {cure}: {error}");
            Error::unavailable(what)
        })?;
        tracing::warn!(
            consumer = durable,
            stream,
            "the consumer would have lost messages or held them back; changed it back: {changes}"
        );
        Ok(mended)
    }
}
