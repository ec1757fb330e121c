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
    let mut kicked = 0;
    let mut offset = 0;
    loop {
        let page = kick_page(nats, uid, offset).await?;
        kicked += page.kicked;
        if !page.is_more {
            return Ok(kicked);
        }
        // What has ended is not counted any more: the others have moved up.
        offset += PAGE - page.most_of_a_server;
    }
}

/// What became of a page of the connections of each server.
#[derive(Default)]
struct Page {
    kicked: usize,
    most_of_a_server: usize,
    is_more: bool,
}

/// Each server's connections are ended as soon as it has told of them.
async fn kick_page(nats: &Client, uid: &str, offset: usize) -> Result<Page, RunError> {
    let inbox = nats.new_inbox();
    let mut answers = nats.subscribe(inbox.clone()).await?;
    let question = json!({ "acc": PEOPLE, "auth": true, "limit": PAGE, "offset": offset });
    let subject = "$SYS.REQ.SERVER.PING.CONNZ";
    nats.publish_with_reply(subject, inbox, question.to_string().into())
        .await?;
    let mut page = None;
    let mut until = Instant::now() + FIRST;
    while let Ok(Some(answer)) = timeout_at(until, answers.next()).await {
        let page = page.get_or_insert_with(Page::default);
        let Answer { server, data } = serde_json::from_slice(&answer.payload)?;
        page.is_more |= data.offset + data.connections.len() < data.total;
        let is_own =
            |connection: &&Connection| connection.authorized_user.split('~').next() == Some(uid);
        let own: Vec<&Connection> = data.connections.iter().filter(is_own).collect();
        for connection in &own {
            end(nats, &server.id, connection.cid).await?;
        }
        page.kicked += own.len();
        page.most_of_a_server = page.most_of_a_server.max(own.len());
        until = Instant::now() + FURTHER;
    }
    page.ok_or_else(|| {
        RunError::new("no server tells of its connections: is this a user of the system account?")
    })
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
