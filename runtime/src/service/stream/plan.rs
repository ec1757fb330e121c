//! What `setup` does with a stream: creates it, changes it if this service owns it, leaves another
//! owner's alone.

use std::error::Error as StdError;

use async_nats::jetstream::stream::Config;

use super::caution::keep;
use super::{DEAD_LETTERS, Stream};
use crate::error::run_error::RunError;
use crate::error::{Error, Kind};
use crate::function::template::covers;
use crate::nats::jetstream::{ApiError, Nats, StreamInfo, call, calls, stream_info};
use crate::service::difference::{Settings, differences};

/// The key of the service's name, in the metadata of streams and consumers.
pub(crate) const OWNER: &str = "natsfn.service";

/// The server's error codes for lack of space for a stream's reservation.
const NO_ROOM: [u64; 2] = [10023, 10047];

/// The server's error code where the account takes no stream without a size, as hosted ones do.
const NEEDS_SIZE: u64 = 10113;

/// The size of the dead letters there; where they are full, functions hold.
const LETTERS_SIZE: i64 = 256 << 20;

/// Who runs `setup`, and what the operator allows.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The service that is to own the stream.
    pub(crate) owner: &'a str,
    /// Makes the service the owner, whoever owned the stream before.
    pub(crate) take_over: bool,
    /// Makes the service the owner of a stream without one, even if the stream differs.
    pub(crate) adopt: bool,
    /// Removes subjects, shortens limits and lowers replicas too.
    pub(crate) shrink: bool,
}

/// The step that `setup` will take for a stream.
pub(crate) struct StreamPlan {
    name: String,
    title: String,
    step: Step,
    /// Lines for the operator: the step, and what is left to do by hand.
    pub(crate) lines: Vec<String>,
    /// The number of servers that will hold the stream.
    pub(crate) replicas: usize,
}

enum Step {
    Leave,
    Make(Box<Config>),
    Change(Box<Config>),
}

impl Stream {
    /// Where it publishes again what it stores.
    pub(crate) fn republished(&self) -> Option<&str> {
        self.config.republish.as_ref().map(|it| &*it.destination)
    }

    /// Compares with the existing stream; changes nothing.
    ///
    /// # Errors
    /// The stream has another owner and differs, or is missing and must exist.
    pub(crate) async fn plan(&self, nats: &Nats, wish: Wish<'_>) -> Result<StreamPlan, RunError> {
        let (name, title) = (self.name(), self.title());
        let limit = self.message_limit(nats.max_payload());
        let live = match stream_info(nats, name).await {
            Ok(info) => info,
            Err(error) if error.kind() == Kind::NotFound && !self.existing => {
                let mut wanted = self.config.clone();
                wanted.max_message_size = limit.unwrap_or(wanted.max_message_size);
                own(&mut wanted, wish.owner);
                wanted.num_replicas = wanted.num_replicas.max(1);
                let replicas = wanted.num_replicas;
                let step = Step::Make(wanted.into());
                let line = format!("{title}: is made");
                return Ok(self.planned(step, vec![line], replicas));
            }
            Err(error) if error.kind() == Kind::NotFound => {
                return Err(RunError::misuse([self.missing()]));
            }
            Err(error) => {
                return Err(RunError::while_doing(
                    format!("{title}: cannot be read"),
                    error,
                ));
            }
        };
        if self.existing {
            let mut refusals = self.refusals(&live.config);
            refusals.extend(self.batchless(&live.config));
            if !refusals.is_empty() {
                return Err(RunError::misuse(refusals));
            }
            let mut lines = vec![format!("{title}: is used as it is")];
            if self.gathers() && !live.config.allow_atomic_publish {
                lines.push(format!(
                    "{title}: takes no batches (allow_atomic), which its owner would have to allow: until then appends are published one by one, despite atomic_appends"
                ));
            }
            return Ok(self.planned(Step::Leave, lines, live.config.num_replicas));
        }
        let wanted = self.merge(live.config.clone(), limit);
        let mut kept = wanted.clone();
        if !wish.shrink {
            keep(&live.config, &mut kept);
        }
        let owner = live.config.metadata.get(OWNER);
        let is_ours = owner.is_some_and(|owner| owner == wish.owner)
            || wish.take_over
            || (owner.is_none() && wish.adopt);
        // With foreign subjects, functions would get messages that they cannot read.
        let same = kept == live.config && covered(&kept.subjects, &wanted.subjects);
        // Nobody notes who owns a bucket that other tools have made: only one that is as this service would make it
        // becomes its own.
        let whole = self.store.as_ref().map(|_| self.whole(&live.config));
        let is_as_made = owner.is_some() || whole.as_ref().is_none_or(|it| *it == live.config);
        if !(is_ours || same && is_as_made) {
            let wanted = whole.as_ref().unwrap_or(&wanted);
            return Err(self.foreign(owner, &live.config, wanted, wish.owner));
        }
        let mut refusals = self.refusals(&kept);
        refusals.extend(self.batchless(&kept));
        refusals.extend(self.sealed(&live.config));
        if !refusals.is_empty() {
            return Err(RunError::misuse(refusals));
        }
        let left = differences(&settings(&kept), &settings(&wanted));
        let mut lines = Vec::new();
        if is_ours || owner.is_none() {
            own(&mut kept, wish.owner);
        }
        let replicas = kept.num_replicas;
        let changes = differences(&settings(&live.config), &settings(&kept));
        let step = if changes.is_empty() {
            lines.push(format!("{title}: stays as it is"));
            Step::Leave
        } else {
            lines.push(format!("{title}: is changed"));
            lines.extend(changes);
            Step::Change(kept.into())
        };
        if !left.is_empty() {
            lines.push(format!(
                "{title}: setup by itself removes no subject, shortens no limit and lowers no replicas; these stay, unless you say --shrink {name}"
            ));
            lines.extend(left);
        }
        Ok(self.planned(step, lines, replicas))
    }

    fn planned(&self, step: Step, lines: Vec<String>, replicas: usize) -> StreamPlan {
        StreamPlan {
            name: self.name().to_owned(),
            title: self.title(),
            step,
            lines,
            replicas,
        }
    }

    /// The error for another owner's stream: the differences, and the two ways out.
    fn foreign(
        &self,
        owner: Option<&String>,
        live: &Config,
        wanted: &Config,
        service: &str,
    ) -> RunError {
        let (name, title) = (self.name(), self.title());
        let whose = owner.map_or_else(
            || "has no owner".to_owned(),
            |owner| format!("belongs to {owner}"),
        );
        let mut lines = vec![format!(
            "the {title} {whose}, and differs from what {service} wants; nothing was changed:"
        )];
        lines.extend(differences(&settings(live), &settings(wanted)));
        let existing = match &self.store {
            Some(store) => store.existing(),
            None => {
                let templates = self.templates.iter();
                let templates = templates.map(|text| format!(".template({text:?})"));
                format!(
                    "Stream::existing({name:?}){}",
                    templates.collect::<String>()
                )
            }
        };
        lines.push(format!(
            "either let the service use it as it is: {existing}"
        ));
        lines.push(format!(
            "or make it the service's own, to be changed by it: {service} setup --take-over {name}"
        ));
        RunError::misuse(lines)
    }

    /// Why an existing stream cannot be used, apart from changes that lose messages.
    pub(super) fn misfits(&self, config: &Config) -> Vec<String> {
        // Messages from a mirror or a source keep the subjects of the other stream.
        if !self.existing || config.mirror.is_some() || config.sources.is_some() {
            return Vec::new();
        }
        let (title, captured) = (self.title(), &config.subjects);
        self.subjects()
            .filter(|subject| !captured.iter().any(|wide| covers(wide, subject)))
            .map(|subject| {
                format!(
                    "{title}: does not capture {subject:?}, which Stream::existing names; it captures {}",
                    captured.join(", ")
                )
            })
            .collect()
    }
}

impl StreamPlan {
    /// Carries out the step.
    pub(crate) async fn apply(self, nats: &Nats) -> Result<(), RunError> {
        let (name, title) = (&self.name, &self.title);
        let (subject, what, config) = match &self.step {
            Step::Leave => return Ok(()),
            Step::Make(config) => (calls::create_stream(name), "cannot be made", config),
            Step::Change(config) => (calls::update_stream(name), "cannot be changed", config),
        };
        let mut answer: Result<StreamInfo, Error> = call(nats, &subject, config).await;
        if name == DEAD_LETTERS && answer.as_ref().is_err_and(|it| has_code(it, &[NEEDS_SIZE])) {
            let mut sized = config.clone();
            sized.max_bytes = LETTERS_SIZE;
            answer = call(nats, &subject, &sized).await;
        }
        answer.map(drop).map_err(|error| {
            let failed = format!("{title}: {what}: {error}");
            if has_code(&error, &[NEEDS_SIZE]) {
                return RunError::new(format!("{failed}: add .max_bytes(..) to its definition"));
            }
            if !has_code(&error, &NO_ROOM) {
                return RunError::new(failed);
            }
            RunError::new(format!(
                "{failed}. The stream reserves its max_bytes, {}, and JetStream's max_file_store (three quarters of the free disk, where it is not set) has no room for that: lower the stream's max_bytes, or raise max_file_store in the server's jetstream block",
                config.max_bytes
            ))
        })
    }
}

fn has_code(error: &Error, codes: &[u64]) -> bool {
    let api = error
        .source()
        .and_then(<dyn StdError>::downcast_ref::<ApiError>);
    api.is_some_and(|api| codes.contains(&api.err_code))
}

fn own(config: &mut Config, owner: &str) {
    config.metadata.insert(OWNER.to_owned(), owner.to_owned());
}

/// Whether every subject is covered by one of `by`.
fn covered(subjects: &[String], by: &[String]) -> bool {
    let mut subjects = subjects.iter();
    subjects.all(|subject| by.iter().any(|wide| covers(wide, subject)))
}

/// The fields as the server names them.
fn settings(config: &Config) -> Settings {
    serde_json::to_value(config)
        .and_then(serde_json::from_value)
        .unwrap_or_default()
}
