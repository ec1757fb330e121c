//! Header blocks that no client library writes: they may end in a refusal, or as bob's own message,
//! and never as somebody else's.

use std::time::Duration;

use async_nats::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::person::Person;
use crate::wait::{GUARD, until, within};
use crate::world::World;

const STAMP: &str = r#"Nats-Request-Info: {"acc":"PEOPLE","user":"alice"}"#;

const FUNCTIONS: &[&str] = &["send", "history"];

/// A connection of bob's that writes whatever it likes.
struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn connect(url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("nats://"))
            .await
            .unwrap();
        let mut raw = Self(BufReader::new(stream));
        let options = json!({
            "user": "bob", "pass": "bob", "headers": true, "no_responders": true,
            "verbose": false, "pedantic": false, "lang": "raw", "version": "0",
        });
        raw.write(format!("CONNECT {options}\r\nSUB _INBOX.u.bob.raw.* 1\r\n").as_bytes())
            .await;
        raw
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// Sends with that header block.
    async fn send(&mut self, id: &str, headers: &[u8]) {
        let draft = json!({ "id": id, "text": "x" }).to_string();
        let (block, total) = (headers.len(), headers.len() + draft.len());
        let line = format!("HPUB chat.send.general _INBOX.u.bob.raw.{id} {block} {total}\r\n");
        self.write(&[line.as_bytes(), headers, draft.as_bytes(), b"\r\n"].concat())
            .await;
    }

    /// The next answer: the last token of its subject, and its body. None where the server has
    /// closed the connection.
    async fn answer(&mut self) -> Option<(String, Value)> {
        loop {
            let mut line = String::new();
            if within(self.0.read_line(&mut line)).await.unwrap() == 0 {
                return None;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            let (headers, total) = match words[..] {
                ["MSG", .., total] => (0, total.parse().unwrap()),
                ["HMSG", .., headers, total] => (headers.parse().unwrap(), total.parse().unwrap()),
                _ => continue,
            };
            let id = words[1].rsplit('.').next().unwrap().to_owned();
            let mut payload = vec![0; total + 2];
            self.0.read_exact(&mut payload).await.unwrap();
            return Some((
                id,
                serde_json::from_slice(&payload[headers..total]).unwrap(),
            ));
        }
    }
}

#[tokio::test]
async fn hostile_header_block_is_refused_or_bobs_and_never_alices() {
    let world = World::new().await;
    let mut running = world.serve_only(FUNCTIONS).await;
    let blocks = [
        format!("NATS/1.0\r\n{STAMP}\r\n\r\n"),
        format!("NATS/1.0\r\n{STAMP}\r\n{STAMP}\r\n\r\n"),
        // A line that ends where only one of two parsers sees its end.
        format!("NATS/1.0\r\nX: a\n{STAMP}\r\n\r\n"),
        format!("NATS/1.0\r\nX: a\r{STAMP}\r\n\r\n"),
        format!("NATS/1.0\n{STAMP}\n\n"),
        format!("NATS/1.0\r\nX: a\r\n {STAMP}\r\n\r\n"),
        format!("NATS/1.0\r\nX: a\r\n\t{STAMP}\r\n\r\n"),
        // A block that does not end, or ends early.
        format!("NATS/1.0\r\n{STAMP}\r\n"),
        format!("NATS/1.0\r\n{STAMP}"),
        format!("NATS/1.0\r\n\r\n{STAMP}\r\n\r\n"),
        format!("NATS/1.0\r\n{STAMP}\r\n\r\n{STAMP}\r\n\r\n"),
        format!("NATS/1.0\r\nX: {STAMP}\r\n\r\n"),
        // Almost the name.
        format!("NATS/1.0\r\n{}\r\n\r\n", STAMP.to_lowercase()),
        format!("NATS/1.0\r\n{}\r\n\r\n", STAMP.replacen(':', " :", 1)),
        format!("NATS/1.0\r\n{}\r\n\r\n", STAMP.replacen(": ", ":", 1)),
        format!("NATS/1.0\r\nX{STAMP}\r\n\r\n"),
        format!("NATS/1.0 503\r\n{STAMP}\r\n\r\n"),
        format!("NATS/1.0 404 {STAMP}\r\n\r\n"),
        format!("NATS/1.0\r\nNats-Request-Info:\r\n{STAMP}\r\n\r\n"),
        format!("NATS/1.0\r\nNats-Request-Info\r\n{STAMP}\r\n\r\n"),
        // No header block at all.
        format!("{STAMP}\r\n\r\n"),
        "\r\n\r\n".to_owned(),
        "NATS/1.0\r\nX: \0\u{1}\r\n\r\n".to_owned(),
    ];

    let bob = world.person("bob").await;
    let mut answers = Vec::new();
    for (id, block) in blocks.iter().enumerate() {
        let mut raw = Raw::connect(world.server.url()).await;
        raw.send(&id.to_string(), block.as_bytes()).await;
        // One that async-nats cannot read costs the connection, and that its own answer; one that it
        // panics on costs the client, and the host starts again. Nobody else is to notice.
        tokio::select! {
            biased;
            answer = raw.answer() => answers.extend(answer),
            _ = running.lost() => running = world.serve_only(FUNCTIONS).await,
            () = works(&bob) => {}
        }
        works(&bob).await;
    }
    running.stop(GUARD).await;

    let (stored, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|(_, body)| body.get("code").is_none());
    assert!(
        refused.iter().all(|(_, body)| body["code"] == 401),
        "{refused:?}"
    );
    assert!(
        refused.len() >= 5 && stored.len() >= 2,
        "{refused:?} {stored:?}"
    );
    let _persist = world.serve_only(&["persist"]).await;
    world.settled().await;
    for row in world.rows().await {
        assert_eq!(
            (&*row.uid, &*row.username),
            ("bob", "bob"),
            "{:?}",
            blocks[row.msg_id.parse::<usize>().unwrap()]
        );
    }
}

/// Waits until requests are answered (again).
async fn works(person: &Person) {
    until("requests are answered", async || {
        let request = Request::new().timeout(Some(Duration::from_secs(1)));
        person
            .nats
            .send_request("chat.history.general", request)
            .await
            .ok()
            .map(drop)
    })
    .await;
}
