//! Ends a person's connections now, as an administrator of the servers.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use natsfn::RunError;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout_at};

use crate::subjects::PEOPLE;

/// How long the first server may take to answer, and each further one after another.
const FIRST: Duration = Duration::from_secs(5);
const FURTHER: Duration = Duration::from_secs(3);

/// How many connections a server tells of at once.
const PAGE: usize = 256;

/// What a server says about its connections.
#[derive(Deserialize)]
struct Answer {
    server: Server,
    data: Option<Connections>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Server {
    id: String,
    #[serde(default)]
    name: String,
}

/// Some of the connections, the oldest first.
#[derive(Default, Deserialize)]
struct Connections {
    #[serde(default)]
    now: String,
    #[serde(default)]
    total: usize,
    /// Null where the account has never had one.
    connections: Option<Vec<Connection>>,
}

#[derive(Deserialize)]
struct Connection {
    cid: u64,
    #[serde(default)]
    start: String,
    #[serde(default)]
    authorized_user: String,
}

/// Ends every connection of a uid, on all servers, and returns how many there were. One that began
/// after this has begun stays: whoever may still log in comes back at once. `nats` is a user of the
/// system account who may ask for connections and end them.
///
/// # Errors
/// No server answers; or, once all others have done it, one refuses.
pub async fn kick(nats: &Client, uid: &str) -> Result<usize, RunError> {
    let mut kick = Kick {
        nats,
        uid,
        began: BTreeMap::new(),
        tried: HashSet::new(),
        ended: 0,
        failures: BTreeSet::new(),
    };
    // Again until nothing is found: somebody was let in just before, and is listed only now.
    while kick.pass().await? {}
    if kick.failures.is_empty() {
        return Ok(kick.ended);
    }
    let failures: Vec<String> = kick.failures.into_iter().collect();
    let ended = kick.ended;
    Err(RunError::while_doing(
        format!("{ended} ended, but perhaps not all"),
        failures.join("; "),
    ))
}

/// A kick at work.
struct Kick<'a> {
    nats: &'a Client,
    uid: &'a str,
    /// By a server's id: when it was asked first, by its own clock.
    began: BTreeMap<String, Option<OffsetDateTime>>,
    /// By server and connection.
    tried: HashSet<(String, u64)>,
    ended: usize,
    failures: BTreeSet<String>,
}

impl Kick<'_> {
    /// Looks at every connection, and ends the person's. Returns whether there was one.
    async fn pass(&mut self) -> Result<bool, RunError> {
        let tried = self.tried.len();
        let totals = self.ask(0, 1).await?;
        let total = totals.iter().map(|(_, data)| data.total).max();
        // From the end, and each connection twice: as others leave, the rest move towards the start.
        for offset in (0..total.unwrap_or(0)).step_by(PAGE / 2).rev() {
            for (server, data) in self.ask(offset, PAGE).await? {
                for connection in data.connections.unwrap_or_default() {
                    if self.is_meant(&server, &connection) {
                        self.end(&server, connection.cid).await;
                    }
                }
            }
        }
        Ok(self.tried.len() > tried)
    }

    fn is_meant(&self, server: &Server, connection: &Connection) -> bool {
        let began = self.began.get(&server.id).copied().flatten();
        let is_later = began.is_some_and(|began| time(&connection.start) > Some(began));
        let is_own = connection.authorized_user.split('~').next() == Some(self.uid);
        is_own && !is_later && !self.tried.contains(&(server.id.clone(), connection.cid))
    }

    /// Asks every server for a part of its connections; those that say nothing useful are noted.
    async fn ask(
        &mut self,
        offset: usize,
        limit: usize,
    ) -> Result<Vec<(Server, Connections)>, RunError> {
        let inbox = self.nats.new_inbox();
        let mut answers = self.nats.subscribe(inbox.clone()).await?;
        let question = json!({
            "acc": PEOPLE, "auth": true, "sort": "cid", "offset": offset, "limit": limit,
        });
        let subject = "$SYS.REQ.SERVER.PING.CONNZ";
        let question = question.to_string().into();
        self.nats
            .publish_with_reply(subject, inbox, question)
            .await?;
        let mut silent: BTreeSet<String> = self.began.keys().cloned().collect();
        let is_first = silent.is_empty();
        let mut told = Vec::new();
        let mut until = Instant::now() + FIRST;
        while (is_first || !silent.is_empty())
            && let Ok(Some(answer)) = timeout_at(until, answers.next()).await
            // A status: nobody hears the question.
            && answer.status.is_none()
        {
            let answer: Answer = match serde_json::from_slice(&answer.payload) {
                Ok(answer) => answer,
                Err(error) => {
                    self.failures
                        .insert(format!("an answer cannot be read: {error}"));
                    continue;
                }
            };
            let Answer {
                server,
                data,
                error,
            } = answer;
            let data = data.unwrap_or_default();
            silent.remove(&server.id);
            let began = self.began.entry(server.id.clone());
            began.or_insert_with(|| time(&data.now));
            if let Some(error) = error {
                self.failed(&server, format_args!("says {error}"));
            }
            told.push((server, data));
            if is_first {
                until = Instant::now() + FURTHER;
            }
        }
        if self.began.is_empty() {
            return Err(RunError::new(
                "no server tells of its connections: is this a user of the system account?",
            ));
        }
        for server in silent {
            self.failures
                .insert(format!("server {server} does not answer any more"));
        }
        Ok(told)
    }

    async fn end(&mut self, server: &Server, cid: u64) {
        #[derive(Deserialize)]
        struct Ended {
            error: Option<Value>,
        }
        self.tried.insert((server.id.clone(), cid));
        let subject = format!("$SYS.REQ.SERVER.{}.KICK", server.id);
        let question = json!({ "cid": cid }).to_string();
        let answer = match self.nats.request(subject, question.into()).await {
            Ok(answer) => answer,
            Err(error) => return self.failed(server, format_args!("ends none: {error}")),
        };
        match serde_json::from_slice(&answer.payload) {
            // It may have ended by itself.
            Ok(Ended { error: Some(error) }) if !error.to_string().contains("no such client") => {
                self.failed(
                    server,
                    format_args!("did not end connection {cid}: {error}"),
                );
            }
            Ok(_) => self.ended += 1,
            Err(error) => self.failed(server, error),
        }
    }

    fn failed(&mut self, server: &Server, what: impl std::fmt::Display) {
        let Server { id, name } = server;
        self.failures.insert(format!("server {name} ({id}) {what}"));
    }
}

fn time(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}
