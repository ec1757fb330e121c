//! The subscriptions that the server refuses at the moment, and with them the health of a process.

use std::collections::BTreeMap;

use async_nats::Client;
use async_nats::connection::State;
use parking_lot::Mutex;

/// The subjects that are not subscribed although they should be.
#[derive(Default)]
pub(crate) struct Unheard(Mutex<BTreeMap<String, BTreeMap<usize, String>>>);

impl Unheard {
    /// Notes that a connection may not subscribe a subject. True where no other one was refused it.
    pub(crate) fn insert(&self, subject: &str, connection: usize, refusal: String) -> bool {
        let mut all = self.0.lock();
        let of_subject = all.entry(subject.to_owned()).or_default();
        let is_first = of_subject.is_empty();
        of_subject.insert(connection, refusal);
        is_first
    }

    /// Notes that a connection has subscribed it again. True where it was the last that was refused.
    pub(crate) fn remove(&self, subject: &str, connection: usize) -> bool {
        let mut all = self.0.lock();
        let Some(of_subject) = all.get_mut(subject) else {
            return false;
        };
        of_subject.remove(&connection);
        let is_last = of_subject.is_empty();
        if is_last {
            all.remove(subject);
        }
        is_last
    }

    /// Why a subject is not subscribed.
    pub(crate) fn reason(&self, subject: &str) -> Option<String> {
        let all = self.0.lock();
        let refusal = all.get(subject)?.values().next()?;
        Some(sentence(subject, refusal))
    }

    /// Why each of the subjects that are not subscribed is not.
    pub(crate) fn all(&self) -> Vec<String> {
        let all = self.0.lock();
        let refusals = all
            .iter()
            .filter_map(|(subject, refusals)| Some(sentence(subject, refusals.values().next()?)));
        refusals.collect()
    }
}

fn sentence(subject: &str, refusal: &str) -> String {
    format!("{subject} is not subscribed: the server says {refusal:?}")
}

/// Whether a process can do its work: what keeps it from that is the error.
pub(crate) fn health(nats: &Client, unheard: &Unheard) -> Result<(), String> {
    if nats.connection_state() != State::Connected {
        return Err("there is no connection to NATS".to_owned());
    }
    let unheard = unheard.all();
    if unheard.is_empty() {
        Ok(())
    } else {
        Err(unheard.join("; "))
    }
}
