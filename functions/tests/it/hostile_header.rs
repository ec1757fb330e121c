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

/// A connection that writes whatever it likes.
struct Raw(BufReader<TcpStream>);

impl Raw {
    async fn connect(url: &str, user: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("nats://"))
            .await
            .unwrap();
        let mut raw = Self(BufReader::new(stream));
        let options = json!({
            "user": user, "pass": user, "headers": true, "no_responders": true,
            "verbose": false, "pedantic": false, "lang": "raw", "version": "0",
        });
        raw.write(format!("CONNECT {options}\r\n").as_bytes()).await;
        raw
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// Appends to the log with that header block, and waits until the server has it.
    async fn append(&mut self, subject: &[u8], headers: &[u8], payload: &str) {
        let (block, total) = (headers.len(), headers.len() + payload.len());
        let sizes = format!(" {block} {total}\r\n");
        self.write(&[b"HPUB ", subject, sizes.as_bytes()].concat())
            .await;
        self.write(&[headers, payload.as_bytes(), b"\r\nPING\r\n"].concat())
            .await;
        let mut line = String::new();
        while !line.starts_with("PONG") {
            line.clear();
            within(self.0.read_line(&mut line)).await.unwrap();
            assert!(!line.is_empty() && !line.starts_with("-ERR"), "{line}");
        }
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
        let mut raw = Raw::connect(world.server.url(), "bob").await;
        raw.write(b"SUB _INBOX.u.bob.raw.* 1\r\n").await;
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
        ask(person).await.map(drop)
    })
    .await;
}

/// The texts of the room, once they are answered.
async fn reads(person: &Person) -> Vec<String> {
    until("the room is read", async || {
        let answer = ask(person).await?;
        let messages: Vec<Value> = serde_json::from_slice(&answer.payload).ok()?;
        let texts = messages.iter().map(|message| message["text"].as_str());
        texts.map(|text| text.map(str::to_owned)).collect()
    })
    .await
}

async fn ask(person: &Person) -> Option<async_nats::Message> {
    let request = Request::new().timeout(Some(Duration::from_secs(5)));
    let subject = "chat.history.general";
    person.nats.send_request(subject, request).await.ok()
}

#[tokio::test]
async fn stored_message_that_no_client_can_read_is_a_dead_letter_and_its_room_stays_whole() {
    let world = World::new().await;
    let mut backend = Raw::connect(world.server.url(), "backend").await;
    let message = |text: &str| json!({ "user": "b", "text": text, "timestamp": 1 }).to_string();
    let unreadable: [(&[u8], &[u8]); 3] = [
        (b"chat.general", b"NATS/1.0\r\nX: a\rb\r\n\r\n"),
        (b"chat.general", b"NATS/1.0\r\nX: \xff\r\n\r\n"),
        (b"chat.\xff", b"NATS/1.0\r\nX: a\r\n\r\n"),
    ];
    for (subject, block) in unreadable {
        backend.append(subject, block, &message("bad")).await;
        let good = b"NATS/1.0\r\nX: a\r\n\r\n";
        backend
            .append(b"chat.general", good, &message("good"))
            .await;
    }
    world.notice_crashes_soon().await;

    // Also while they are not dead letters yet, and reading them costs a connection.
    let bob = world.person("bob").await;
    let mut running = world.serve_only(FUNCTIONS).await;
    let mut read = std::pin::pin!(reads(&bob));
    let texts = loop {
        tokio::select! {
            texts = &mut read => break texts,
            _ = running.lost() => running = world.serve_only(FUNCTIONS).await,
        }
    };
    assert_eq!(texts, ["good", "good", "good"]);
    running.stop(GUARD).await;

    let mut running = world.serve().await;
    let settled = world.settled();
    let mut settled = std::pin::pin!(settled);
    loop {
        tokio::select! {
            () = &mut settled => break,
            _ = running.lost() => running = world.serve().await,
        }
    }
    let letters = world.dead_letters().await;
    let sequences: Vec<u64> = letters.iter().map(|letter| letter.sequence).collect();
    assert_eq!(sequences, [1, 3, 5], "{letters:?}");
    assert_eq!(world.texts().await, ["good", "good", "good"]);
    assert_eq!(bob.texts("chat.history.general").await, texts);
}
