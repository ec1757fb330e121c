//! Ends a person's connections now, as an administrator of the servers.

use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use natsfn::RunError;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::subjects::PEOPLE;

/// How long the first server may take to answer, and each further one after another.
const FIRST: Duration = Duration::from_secs(5);
const FURTHER: Duration = Duration::from_millis(500);

/// How many connections a server tells of at once.
const PAGE: usize = 1_024;

/// What a server says about its connections.
#[derive(Deserialize)]
struct Answer {
    server: Server,
    data: Connections,
}

#[derive(Deserialize)]
struct Server {
    id: String,
}

#[derive(Deserialize)]
struct Connections {
    total: usize,
    offset: usize,
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    cid: u64,
    #[serde(default)]
    authorized_user: String,
}

/// Ends every connection of a uid, on all servers, and returns how many there were. `nats` is a user
/// of the system account who may ask for connections and end them.
///
/// # Errors
/// No server answers, or one refuses.
pub async fn kick(nats: &Client, uid: &str) -> Result<usize, RunError> {
    let mut own = Vec::new();
    let mut offset = 0;
    let mut is_more = true;
    while is_more {
        is_more = false;
        for Answer { server, data } in connections(nats, offset).await? {
            is_more |= data.offset + data.connections.len() < data.total;
            let cids = data.connections.iter().filter_map(|connection| {
                let own = connection.authorized_user.split('~').next() == Some(uid);
                own.then_some(connection.cid)
            });
            own.extend(cids.map(|cid| (server.id.clone(), cid)));
        }
        offset += PAGE;
    }
    for (server, cid) in &own {
        end(nats, server, *cid).await?;
    }
    Ok(own.len())
}

/// A page of the connections of each server.
async fn connections(nats: &Client, offset: usize) -> Result<Vec<Answer>, RunError> {
    let inbox = nats.new_inbox();
    let mut answers = nats.subscribe(inbox.clone()).await?;
    let question = json!({ "acc": PEOPLE, "auth": true, "limit": PAGE, "offset": offset });
    let subject = "$SYS.REQ.SERVER.PING.CONNZ";
    nats.publish_with_reply(subject, inbox, question.to_string().into())
        .await?;
    let mut found = Vec::new();
    let mut until = Instant::now() + FIRST;
    while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
        found.push(serde_json::from_slice(&answer.payload)?);
        until = Instant::now() + FURTHER;
    }
    if found.is_empty() {
        let said =
            "no server tells of its connections: does this user belong to the system account?";
        return Err(RunError::new(said));
    }
    Ok(found)
}

async fn end(nats: &Client, server: &str, cid: u64) -> Result<(), RunError> {
    #[derive(Deserialize)]
    struct Ended {
        error: Option<serde_json::Value>,
    }
    let subject = format!("$SYS.REQ.SERVER.{server}.KICK");
    let question = json!({ "cid": cid }).to_string();
    let answer = nats.request(subject, question.into()).await?;
    let ended: Ended = serde_json::from_slice(&answer.payload)?;
    match ended.error {
        // It may have ended by itself.
        Some(error) if !error.to_string().contains("no such client") => Err(RunError::while_doing(
            format!("connection {cid} was not ended"),
            error,
        )),
        _ => Ok(()),
    }
}
