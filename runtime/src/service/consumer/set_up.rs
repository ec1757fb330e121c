//! Making the durable consumer on the server, and recreating it where the service has less.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, ReplayPolicy, pull};
use serde_json::json;
use tokio::time::sleep;

use super::start::Begin;
use super::{Consumer, UNSETTLED};
use crate::error::{Error, Kind, Result};
use crate::function::event::StreamId;
use crate::nats::jetstream::{ApiError, ConsumerInfo, Nats, call, calls, consumer_info};
use crate::service::background::Background;
use crate::service::difference::{Settings, differences};

/// An instance that has read the consumer before a change, and writes it after it (`crashes.rs`, `edited.rs`),
/// undoes the change, and the server compares nothing. Such a write is usually there within this time;
/// then `setup` looks whether there was one.
const UNDONE_WITHIN: Duration = Duration::from_millis(200);

/// A consumer that is missing may have been deleted just now. nats-server 2.15 tells those who wait for its
/// messages before it removes its files, and one of that name that is made in between has the old one's
/// state: what was to be handled again would count as done. This is far longer than removing them takes.
pub(crate) const REMOVED_WITHIN: Duration = Duration::from_secs(1);

/// The server's error code where it, the account or the stream lets no consumer have as many unsettled messages.
const TOO_MANY_UNSETTLED: u64 = 10121;

/// The key of the limit that was taken instead, in a consumer's metadata: it is not to be raised at each `setup`.
const LIMIT: &str = "natsfn.max_ack_pending";

/// What a durable consumer is to be, besides what its definition says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    /// Where a new one begins; without it, where the definition says.
    pub(crate) begin: Option<Begin>,
    /// The id of the database that it feeds.
    pub(crate) database: Option<&'a str>,
    /// Whether it becomes this service's, whoever made it.
    pub(crate) take_over: bool,
}

pub(super) fn settings(config: &pull::Config) -> Result<Settings> {
    let value = serde_json::to_value(config).map_err(Error::from)?;
    serde_json::from_value(value).map_err(Error::from)
}

/// How many unsettled messages a consumer may have, where the server has refused more.
fn limit_of(error: &Error) -> Option<u64> {
    let api = error.source()?.downcast_ref::<ApiError>()?;
    let (_, limit) = api.description.rsplit_once(' ')?;
    let limit = limit.parse().ok()?;
    (api.err_code == TOO_MANY_UNSETTLED && limit > 0).then_some(limit)
}

impl Consumer {
    /// Which of the stream's messages it is fed with; empty for all.
    pub(crate) fn filters(&self) -> Vec<String> {
        // What somebody else's stream captures besides is not for this function.
        if self.filter.is_empty() && !self.stream.is_existing() {
            Vec::new()
        } else {
            self.subjects()
        }
    }

    /// The durable consumer on the server.
    pub(super) fn config(&self, wanted: Wanted<'_>) -> pull::Config {
        let held = self.capacity(false).max(self.capacity(true));
        let held = held.saturating_mul(self.instances);
        let filters = self.filters();
        let (filter_subject, filter_subjects) = match filters.as_slice() {
            [one] => (one.clone(), Vec::new()),
            _ => (String::new(), filters),
        };
        pull::Config {
            durable_name: Some(self.durable_name()),
            name: Some(self.durable_name()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            // The server's own limit leaves a message behind without a word; we count ourselves.
            max_deliver: -1,
            filter_subject,
            filter_subjects,
            replay_policy: ReplayPolicy::Instant,
            max_ack_pending: i64::try_from(held.max(UNSETTLED)).unwrap_or(i64::MAX),
            metadata: self.ownership(wanted.database),
            ..pull::Config::default()
        }
    }

    /// Makes the durable consumer where it is missing, and changes it to what this version needs.
    ///
    /// # Errors
    /// [`Kind::Conflict`] where it is not clear whose the consumer is: see `consumer/owner.rs`.
    pub(crate) async fn set_up(&self, nats: &Nats, wanted: Wanted<'_>) -> Result<ConsumerInfo> {
        let mut tries = 0;
        loop {
            tries += 1;
            let mut is_change = false;
            let made = match self.look(nats, wanted.take_over).await? {
                None => self.create(nats, "create", self.new_settings(wanted)?),
                Some(found) => {
                    self.check_database(&found, wanted.database)?;
                    let changed = self.changed(&found.config, wanted)?;
                    if changed == found.config {
                        return Ok(found);
                    }
                    is_change = true;
                    self.create(nats, "update", changed)
                }
            };
            match made.await {
                // Somebody else has made it, or deleted it, at the same moment.
                Err(error) if error.kind() == Kind::Conflict && tries < 5 => {}
                Err(error) if error.kind() == Kind::NotFound && is_change && tries < 5 => {
                    sleep(REMOVED_WITHIN).await;
                }
                Ok(_) if is_change && tries < 5 => sleep(UNDONE_WITHIN).await,
                made => return made,
            }
        }
    }

    /// What `setup` would do with a consumer, a line each.
    pub(crate) fn plan(
        &self,
        found: Option<&ConsumerInfo>,
        database: Option<&str>,
        begin: Option<Begin>,
    ) -> Result<Vec<String>> {
        let what = format!("consumer {} of {}", self.durable_name(), self.stream.name());
        let Some(found) = found else {
            let begins = self.begins(begin).map(|begins| format!(", and {begins}"));
            return Ok(vec![format!(
                "{what}: is made{}",
                begins.unwrap_or_default()
            )]);
        };
        if let Some(other) = found.database()
            && database != Some(other)
        {
            return Ok(vec![format!(
                "{what}: is recreated for this database; the one that it feeds (id {other}) gets nothing any more"
            )]);
        }
        let wanted = Wanted {
            database,
            ..Wanted::default()
        };
        let changes = differences(&found.config, &self.changed(&found.config, wanted)?);
        let first = if changes.is_empty() {
            "stays as it is"
        } else {
            "is changed"
        };
        Ok([format!("{what}: {first}")]
            .into_iter()
            .chain(changes)
            .chain(self.keeps_start(found))
            .collect())
    }

    /// What the consumer that is there has to be. Where it starts cannot be changed, and what this
    /// definition is silent on stays as an operator set it.
    fn changed(&self, live: &Settings, wanted: Wanted<'_>) -> Result<Settings> {
        let mut changed = live.clone();
        let mut own = settings(&self.config(wanted))?;
        for key in [
            "ack_wait",
            "max_deliver",
            "headers_only",
            "filter_subject",
            "filter_subjects",
        ] {
            changed.remove(key);
            changed.extend(own.remove_entry(key));
        }
        let number = |settings: &Settings| settings.get("max_ack_pending")?.as_i64();
        let limit = || live.get("metadata")?.get(LIMIT)?.as_str()?.parse().ok();
        let is_limited = number(live).is_some() && number(live) == limit();
        if !is_limited && number(live).is_none_or(|live| live > 0) {
            let most = number(live).max(number(&own));
            changed.insert("max_ack_pending".into(), most.into());
        }
        let mut metadata = live.get("metadata").cloned().unwrap_or_default();
        for (key, value) in self.ownership(wanted.database) {
            metadata[key] = value.into();
        }
        changed.insert("metadata".into(), metadata);
        Ok(changed)
    }

    /// Recreates the durable consumer where the service's own store lies behind it. Returns the
    /// consumer as it then is.
    pub(crate) async fn catch_up(
        &self,
        context: Option<Background>,
        stream: StreamId,
        consumer: ConsumerInfo,
    ) -> Result<ConsumerInfo> {
        let Some(context) = context else {
            return Ok(consumer);
        };
        let nats = context.client().nats().clone();
        let Some(stored) = self.behind(context, stream).await? else {
            return Ok(consumer);
        };
        let acknowledged = consumer.ack_floor.stream_seq;
        tracing::warn!(consumer = %self.name, stored, acknowledged, "the store lies behind the consumer: what is still in the stream is handled again");
        let again = self
            .restart_at(&nats, stored + 1, consumer.database())
            .await;
        // Another instance that missed the consumer may have recreated it first, from the
        // stream's beginning: that is more than enough.
        match consumer_info(&nats, self.stream.name(), &self.durable_name()).await {
            Ok(info) if info.created > consumer.created && info.ack_floor.stream_seq <= stored => {
                Ok(info)
            }
            _ => again,
        }
    }

    /// Recreates the durable consumer from `start`.
    async fn restart_at(
        &self,
        nats: &Nats,
        start: u64,
        database: Option<&str>,
    ) -> Result<ConsumerInfo> {
        let stream = self.stream.name();
        let delete = calls::delete_consumer(stream, &self.durable_name());
        let _: serde_json::Value = call(nats, &delete, &()).await?;
        let wanted = Wanted {
            begin: Some(Begin::Sequence(start)),
            database,
            take_over: false,
        };
        self.create(nats, "create", self.new_settings(wanted)?)
            .await
    }

    /// `action` is "create", which changes none that is there, or "update", which makes none.
    pub(super) async fn create(
        &self,
        nats: &Nats,
        action: &str,
        mut config: Settings,
    ) -> Result<ConsumerInfo> {
        let (stream, durable) = (self.stream.name(), self.durable_name());
        let filter = config.get("filter_subject").and_then(|it| it.as_str());
        let subject = calls::create_consumer(stream, &durable, filter);
        let ask = async |config: &Settings| -> Result<ConsumerInfo> {
            let body = json!({ "stream_name": stream, "config": config, "action": action });
            call(nats, &subject, &body).await
        };
        let mut made = ask(&config).await;
        // Of the server, the account and the stream, each has one; the strictest may be asked last.
        for _ in 0..3 {
            let Some(limit) = made.as_ref().err().and_then(limit_of) else {
                break;
            };
            tracing::warn!(
                stream,
                consumer = durable,
                limit,
                "the server lets the consumer have no more unsettled messages (max_ack_pending): while so many wait for a retry, no other comes in"
            );
            config.insert("max_ack_pending".into(), limit.into());
            config.entry("metadata").or_insert_with(|| json!({}))[LIMIT] = limit.to_string().into();
            made = ask(&config).await;
        }
        made.map_err(|error| {
            let what = format!("consumer {durable} of {stream}: {error}");
            Error::new(error.kind(), what)
        })
    }
}
