//! How a message becomes a dead letter.

use std::time::Duration;

use async_nats::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    ATTEMPTS, BLOCK, FUNCTION, HEADERS, KIND, ORIGINAL, REASON, SEQUENCE, SERVICE, SOURCE, SUBJECT,
    TIME, parts, safety::write_once, subject,
};
use crate::error::reply::one_line;
use crate::error::run_error::RunError;
use crate::error::{Error, Kind, Result};
use crate::function::event::Entry;
use crate::nats::jetstream::{Nats, format_time};
use crate::service::stream::{Stream, StreamPlan, Wish};
use crate::telemetry::trace_context::TraceContext;

/// For how long a letter waits to hear whether its stream keeps it, and for how long that is remembered.
const LOOK: Duration = Duration::from_secs(1);

/// What `setup` does with the stream that all services share: it is natsfn's own, and as safe as
/// the safest of the streams whose messages it keeps.
pub(crate) async fn plan(nats: &Nats, replicas: usize) -> Result<StreamPlan, RunError> {
    let wish = Wish {
        owner: "natsfn",
        take_over: false,
        adopt: true,
        shrink: false,
    };
    // Silent where one is enough: an operator may have more.
    let stream = match replicas {
        0 | 1 => Stream::dead_letters(),
        more => Stream::dead_letters().replicas(more),
    };
    stream.plan(nats, wish).await
}

/// The stream of the dead letters as it is. An error of the kind Halt says that it would lose them.
pub(crate) async fn check(nats: &Nats) -> Result<()> {
    Stream::dead_letters().check(nats).await.map(|_| ())
}

/// Whether the stream of the dead letters keeps them, or why not. The answer is reused for a moment, so
/// that many letters at once ask once.
#[derive(Default)]
pub(crate) struct Checked(Mutex<Option<(Instant, Option<String>)>>);

impl Checked {
    /// Refuses if somebody has changed the stream so that it would discard letters. If it cannot be asked,
    /// the server's answer to the letter tells what is wrong.
    async fn look(&self, nats: &Nats) -> Result<()> {
        let mut last = self.0.lock().await;
        if last.as_ref().is_none_or(|(at, _)| at.elapsed() >= LOOK) {
            let wrong = match timeout(LOOK, check(nats)).await {
                Ok(Err(error)) if error.kind() == Kind::Halt => Some(error.to_string()),
                _ => None,
            };
            *last = Some((Instant::now(), wrong));
        }
        match last.as_ref().and_then(|(_, wrong)| wrong.clone()) {
            Some(wrong) => Err(Error::new(Kind::Halt, wrong)),
            None => Ok(()),
        }
    }
}

/// Writes a message as a dead letter. A letter that exists already is a success: a crash between this and
/// the term repeats it. Headers that do not fit beside those of the dead letter are left out; the payload
/// never is, but is split into parts if it does not fit.
pub(crate) async fn write(
    nats: &Nats,
    checked: &Checked,
    service: &str,
    function: &str,
    entry: &Entry,
    error: &Error,
    attempts: u32,
) -> Result<()> {
    checked.look(nats).await?;
    let stream = &entry.stream().name;
    let subject = subject(service, function, stream, entry);
    let mut headers = HeaderMap::new();
    TraceContext::of(entry.headers()).write(&mut headers);
    headers.insert(SUBJECT, entry.subject());
    headers.insert(SOURCE, stream.as_str());
    headers.insert(SEQUENCE, entry.seq().to_string());
    headers.insert(TIME, format_time(entry.time()));
    headers.insert(SERVICE, service);
    headers.insert(FUNCTION, function);
    headers.insert(KIND, format!("{:?}", error.kind()));
    headers.insert(REASON, one_line(&error.to_string()));
    headers.insert(ATTEMPTS, attempts.to_string());
    headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    let payload = entry.payload();
    let mut whole = with_original(headers.clone(), entry.headers());
    if let Some(unreadable) = &entry.unreadable {
        whole.insert(BLOCK, STANDARD.encode(&unreadable.block));
    }
    let is_too_large = |written: &Result<()>| {
        let error = written.as_ref().err();
        error.is_some_and(|error| error.kind() == Kind::TooLarge)
    };
    let mut written = write_once(nats, &subject, whole.clone(), payload.clone()).await;
    if is_too_large(&written) {
        headers.insert(HEADERS, "omitted");
        written = write_once(nats, &subject, headers.clone(), payload.clone()).await;
    }
    if is_too_large(&written) {
        written = parts::write(nats, &subject, whole, payload).await;
    }
    if is_too_large(&written) {
        written = parts::write(nats, &subject, headers, payload).await;
    }
    written
}

fn with_original(mut headers: HeaderMap, original: &HeaderMap) -> HeaderMap {
    for (name, values) in original.iter() {
        for value in values {
            headers.append(
                format!("{ORIGINAL}{name}").as_str(),
                one_line_exact(value.as_str()),
            );
        }
    }
    headers
}

/// A header's value from the wire has no line breaks; this only guards async-nats' panic.
pub(super) fn one_line_exact(value: &str) -> String {
    value.replace(['\r', '\n'], " ")
}
