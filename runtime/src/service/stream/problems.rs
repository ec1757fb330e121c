//! What is wrong with a stream: as it is defined, and as it is on the server.

use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};

use super::{DEAD_LETTERS, Stream};
use crate::error::{Error, Kind};
use crate::function::template::{Template, overlap};
use crate::nats::client::access::store::Store;
use crate::nats::jetstream::{Nats, StreamInfo, stream_info};
use crate::service::name::{NAME_RULE, is_name};

/// An id must be known for as long as a batch may take until its messages are published one by one.
const SHORTEST_WINDOW: Duration = Duration::from_secs(5);

impl Stream {
    /// Every mistake in the definition, a sentence each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let name = self.name();
        let mut problems = Vec::new();
        if !is_name(name) {
            problems.push(format!("stream name {name:?}: {NAME_RULE}"));
        }
        for template in &self.templates {
            if let Err(problem) = Template::parse(template) {
                problems.push(format!("stream {name}: {problem}"));
            }
        }
        problems.extend(self.history_problem());
        problems.extend(self.losses(&self.config));
        problems.extend(self.batchless(&self.config));
        problems
    }

    /// Why appends to a stream with this configuration cannot be gathered, where the definition says so.
    pub(super) fn batchless(&self, config: &Config) -> Option<String> {
        let why = if config.mirror.is_some() {
            "a mirror takes no messages"
        } else if config.persist_mode == Some(PersistenceMode::Async) {
            "persist_mode `async` takes no batches"
        } else if config.duplicate_window < SHORTEST_WINDOW {
            "what a refused batch held is published again, and stored once only with a duplicate window of 5 s or more"
        } else {
            return None;
        };
        let name = self.name();
        (self.gathers()).then(|| format!("stream {name}: has atomic_appends, but {why}"))
    }

    /// What is wrong where another stream captures subjects on which this one publishes again what it stores in
    /// batches.
    pub(crate) fn republishes_batches_to<'a>(
        &self,
        other: &str,
        mut captured: impl Iterator<Item = &'a str>,
    ) -> Option<String> {
        let destination = self.republished().filter(|_| self.gathers())?;
        // From where it depends on the message, it may be anything.
        let reached = destination.split('.').map(|token| {
            let depends = token.contains("{{") || token.starts_with('$');
            if depends { ">" } else { token }
        });
        let reached = reached.collect::<Vec<_>>().join(".");
        let captured = captured.find(|subject| overlap(subject, &reached))?;
        let name = self.name();
        Some(format!(
            "stream {name}: has atomic_appends and is republished to {destination}, which the stream {other} captures with {captured:?}: it would take the headers of a batch for its own, and refuse or keep back its copies of the messages"
        ))
    }

    /// Why a stream with this configuration would lose acknowledged messages.
    fn losses(&self, config: &Config) -> Vec<String> {
        if let Some(store) = &self.store {
            return self.store_losses(store, config);
        }
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
        if config.allow_rollup {
            losses.push(format!(
                "stream {name}: allow_rollup_hdrs lets a message with the header Nats-Rollup drop acknowledged messages that nobody has consumed"
            ));
        }
        if config.allow_message_ttl {
            losses.push(format!(
                "stream {name}: allow_msg_ttl lets the header Nats-TTL drop acknowledged messages that nobody has consumed; the server does not take it back, so another stream is needed"
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
        // The server changes neither of them in a stream that is there.
        let again = format!(
            "and the server never changes that: once its consumers have everything, delete it (`nats stream rm {name}`) and recreate it with `setup`"
        );
        if config.storage == StorageType::Memory {
            losses.push(format!(
                "stream {name}: storage `memory` loses every acknowledged message when nats-server ends, {again}"
            ));
        }
        if config.persist_mode == Some(PersistenceMode::Async) {
            losses.push(format!(
                "stream {name}: persist_mode `async` acknowledges messages that are not written yet, which a crash of nats-server loses, {again}"
            ));
        }
        let cure = if name == DEAD_LETTERS {
            ". No dead letter is written until then; `setup` changes back what the server lets it"
        } else {
            ". If that is meant, say .may_discard()"
        };
        for loss in &mut losses {
            loss.push_str(cure);
        }
        losses
    }

    /// Why a bucket or an object store with this configuration would lose what it holds, where that is not meant.
    fn store_losses(&self, store: &Store, config: &Config) -> Vec<String> {
        let mut losses = Vec::new();
        if config.storage == StorageType::Memory && self.config.storage != StorageType::Memory {
            losses.push(format!(
                "{store}: storage `memory` loses everything when nats-server ends, and the server never changes that: delete it and recreate it with `setup`. If it is meant, say .configure(|stream| stream.storage = StorageType::Memory)"
            ));
        }
        let acknowledges_early = Some(PersistenceMode::Async);
        if config.persist_mode == acknowledges_early
            && self.config.persist_mode != acknowledges_early
        {
            losses.push(format!(
                "{store}: persist_mode `async` acknowledges values that are not written yet, which a crash of nats-server loses, and the server never changes that: delete it and recreate it with `setup`. If it is meant, say .configure(|stream| stream.persist_mode = Some(PersistenceMode::Async))"
            ));
        }
        losses
    }

    /// A bucket or an object store that gets what it holds from a stream of another name keeps that one's subjects,
    /// under which nobody looks for it here.
    fn mirrors(&self, config: &Config) -> Option<String> {
        let store = self.store.as_ref()?;
        let sources = config.mirror.iter().chain(config.sources.iter().flatten());
        let mut foreign =
            sources.filter(|it| it.name != self.name() && it.subject_transforms.is_empty());
        let from = foreign.next()?;
        Some(format!(
            "{store}: mirrors the stream {}, and keeps its subjects, so that nothing would be found in it: use that one",
            from.name
        ))
    }

    /// The stream as it is, unless it would lose messages or does not capture the subjects.
    pub(crate) async fn check(&self, nats: &Nats) -> Result<StreamInfo, Error> {
        let info = stream_info(nats, self.name())
            .await
            .map_err(|error| match error.kind() {
                Kind::NotFound => Error::unavailable(self.missing()),
                _ => error,
            })?;
        let refusals = self.refusals(&info.config);
        if refusals.is_empty() {
            Ok(info)
        } else {
            Err(Error::new(Kind::Halt, refusals.join("; ")))
        }
    }

    /// Why this stream, as it is, cannot be used.
    pub(crate) fn refusals(&self, config: &Config) -> Vec<String> {
        let mut refusals = self.losses(config);
        refusals.extend(self.misfits(config));
        refusals.extend(self.transforms(config));
        refusals.extend(self.mirrors(config));
        refusals
    }

    /// A stream that stores messages under other subjects than those that the templates name: none of
    /// them could be read.
    fn transforms(&self, config: &Config) -> Option<String> {
        let transform = config.subject_transform.as_ref()?;
        let source = match transform.source.as_str() {
            "" => ">",
            source => source,
        };
        let is_meant = self.config.subject_transform == config.subject_transform;
        if is_meant || !self.subjects().any(|subject| overlap(source, subject)) {
            return None;
        }
        let name = self.name();
        Some(format!(
            "stream {name}: subject_transform stores what comes on {source} as {}, which is not what its functions read: each of these messages would be a dead letter; remove it: `nats stream edit {name} --no-transform`",
            transform.destination
        ))
    }

    /// A stream of the service's own that takes nothing any more.
    pub(super) fn sealed(&self, config: &Config) -> Option<String> {
        if !config.sealed || self.config.sealed {
            return None;
        }
        let name = self.name();
        if let Some(store) = &self.store {
            return Some(format!(
                "{store}: is sealed: nothing is written to it any more, and what it holds stays; to read it, use it as it is: {}",
                store.existing()
            ));
        }
        Some(format!(
            "stream {name}: is sealed, so it takes no message, and the server never takes that back: once its consumers have everything, delete it (`nats stream rm {name}`) and recreate it with `setup`"
        ))
    }

    pub(crate) fn missing(&self) -> String {
        let title = self.title();
        if self.existing {
            let kind = match &self.store {
                Some(Store::Bucket(_)) => "Bucket",
                Some(Store::Objects(_)) => "ObjectStore",
                None => "Stream",
            };
            format!(
                "there is no {title}, which {kind}::existing says is made by somebody else: let them make it first"
            )
        } else {
            format!("there is no {title}; run `setup`")
        }
    }
}
