//! A disk that is full under JetStream (FAULTS 6), and a stream that acknowledges nothing.
#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use natsfn::server::{Server, ServerConfig};
use natsfn::{Client, Endpoint, Error, HeaderMap, Service};
use serde_json::json;
use tempfile::TempDir;

use crate::world::{World, code, json as body, until, within};

/// A disk of 24 MB.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(directory.path())
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a tmpfs cannot be mounted here, which takes root or a user namespace"
        );
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }

    /// Takes all but so many bytes.
    fn fill(&self, left: usize) {
        std::fs::write(self.filler(), vec![0; (24 << 20) - left]).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// Runs the rest of a test where it may mount: as root, or else as the root of a namespace of its own, in another
/// process. True in the process that is to go on.
async fn may_mount(test: &str) -> bool {
    if is_root() {
        return true;
    }
    let mut command = tokio::process::Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"]);
    let status = within(command.status()).await.unwrap();
    assert!(status.success(), "{test} failed in its namespace");
    false
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// A server on the disk, and a stream of it.
async fn small_log(disk: &SmallDisk) -> (Server, Client, async_nats::jetstream::stream::Stream) {
    let server = Server::start(ServerConfig::new(disk.path().join("nats")))
        .await
        .unwrap();
    let nats = async_nats::connect(server.url()).await.unwrap();
    let config = async_nats::jetstream::stream::Config {
        name: "LOG".to_owned(),
        subjects: vec!["log.>".to_owned()],
        ..Default::default()
    };
    let jetstream = async_nats::jetstream::new(nats.clone());
    let stream = jetstream.create_stream(config).await.unwrap();
    (server, Client::new(nats), stream)
}

async fn append(client: &Client) -> natsfn::Result<()> {
    let payload = bytes::Bytes::from(vec![b'x'; 15_000]);
    let appended = client.append("log.a", None, HeaderMap::new(), payload);
    appended.await.map(drop)
}

/// Appends until an error comes, and returns it and how many were acknowledged before.
async fn append_until_refused(client: &Client) -> (u64, Error) {
    let mut acknowledged = 0;
    loop {
        match append(client).await {
            Ok(()) => acknowledged += 1,
            Err(error) => return (acknowledged, error),
        }
    }
}

/// Waits for another process than `before`, and goes on appending meanwhile.
async fn started_again(server: &Server, before: Option<u32>, client: &Client) {
    until("it is started again", async || {
        let _ = append(client).await;
        let pid = server.pid()?;
        (Some(pid) != before).then_some(())
    })
    .await;
    server.ready().await;
}

/// The disk has room for several times as much.
async fn append_five_megabytes(client: &Client) {
    until("it acknowledges again", async || append(client).await.ok()).await;
    for n in 0..350 {
        let appended = append(client).await;
        assert!(appended.is_ok(), "message {n}: {appended:?}");
    }
}

#[tokio::test]
async fn server_whose_disk_was_full_is_started_again_and_has_all_that_it_acknowledged() {
    let test =
        "full_disk::server_whose_disk_was_full_is_started_again_and_has_all_that_it_acknowledged";
    if !may_mount(test).await {
        return;
    }
    let disk = SmallDisk::new();
    let (server, client, mut stream) = small_log(&disk).await;
    // Not before: what is free at its start is what the server lets all streams take.
    disk.fill(6 << 20);
    let append = async || {
        let started = Instant::now();
        (append(&client).await, started.elapsed())
    };

    let mut acknowledged = 0;
    let (error, took) = loop {
        match append().await {
            (Ok(_), _) => acknowledged += 1,
            (Err(error), took) => break (error, took),
        }
    };
    assert!(acknowledged > 100, "{acknowledged}");
    assert_eq!(error.kind().code(), 503, "{error}");
    assert!(took < Duration::from_secs(5), "before a deadline: {took:?}");

    std::fs::remove_file(disk.filler()).unwrap();
    let lifted = Instant::now();
    until("it acknowledges again", async || append().await.0.ok()).await;

    let healed = lifted.elapsed();
    assert!(healed < Duration::from_secs(10), "{healed:?}");
    let kept = stream.info().await.unwrap().state.messages;
    assert!(kept > acknowledged, "{kept} of {acknowledged} and one more");
    server.stop().await;
}

#[tokio::test]
async fn server_first_started_on_a_nearly_full_disk_uses_the_room_that_it_gets() {
    let test = "full_disk::server_first_started_on_a_nearly_full_disk_uses_the_room_that_it_gets";
    if !may_mount(test).await {
        return;
    }
    let disk = SmallDisk::new();
    disk.fill(4 << 20);
    let (server, client, mut stream) = small_log(&disk).await;
    let (acknowledged, error) = append_until_refused(&client).await;
    assert_eq!(error.kind().code(), 503, "{error}");
    for word in [
        "insufficient resources",
        "start nats-server again",
        "max_file_store",
    ] {
        assert!(error.to_string().contains(word), "{word} is in {error}");
    }

    let first = server.pid();
    std::fs::remove_file(disk.filler()).unwrap();

    started_again(&server, first, &client).await;
    append_five_megabytes(&client).await;
    let kept = stream.info().await.unwrap().state.messages;
    assert!(
        kept > acknowledged + 350,
        "{kept} of {acknowledged} and 351 more"
    );
    server.stop().await;
}

#[tokio::test]
async fn server_started_again_on_little_room_uses_the_room_that_it_gets_later() {
    let test = "full_disk::server_started_again_on_little_room_uses_the_room_that_it_gets_later";
    if !may_mount(test).await {
        return;
    }
    let disk = SmallDisk::new();
    let (server, client, _) = small_log(&disk).await;
    let other = disk.path().join("other");
    std::fs::write(&other, vec![0; 3 << 20]).unwrap();
    disk.fill(5 << 20);
    append_until_refused(&client).await;
    let first = server.pid();
    std::fs::remove_file(other).unwrap();
    started_again(&server, first, &client).await;
    let second = server.pid();

    std::fs::remove_file(disk.filler()).unwrap();

    started_again(&server, second, &client).await;
    append_five_megabytes(&client).await;
    server.stop().await;
}

#[tokio::test]
async fn stream_that_acknowledges_nothing_is_an_error_before_the_deadline_and_then_at_once() {
    let world = World::new().await;
    let send = |client: Client| async move {
        client
            .append("log.a", Some("1"), HeaderMap::new(), "x".into())
            .await
            .map(|appended| appended.seq.to_string())
    };
    let service = Service::new("a", "1.0.0").endpoint(Endpoint::new("send", "send"), send);
    let _running = world.serve(service).await;
    // It hears everything and says nothing, as a stream whose disk was full.
    let mut silent = world.nats.subscribe("log.a").await.unwrap();
    world.settle().await;
    let ask = async || {
        let started = Instant::now();
        let answer = world.ask("send", "").await;
        (answer, started.elapsed())
    };

    let (answer, took_by_one) = ask().await;
    assert_eq!(code(&answer), Some(503), "{}", body(&answer));
    assert!(
        took_by_one < Duration::from_secs(5),
        "its deadline: {took_by_one:?}"
    );

    // One finds out, the others need not wait for it.
    let answers = futures_util::future::join_all((0..6).map(|_| ask())).await;
    let waited = answers.iter().filter(|(_, took)| *took >= took_by_one / 2);
    assert!(waited.count() <= 1, "{answers:?}");
    for (answer, _) in &answers {
        assert_eq!(code(answer), Some(503), "{}", body(answer));
    }

    // The stream is well again: the next one that finds out tells.
    let answers = tokio::spawn({
        let nats = world.nats.clone();
        async move {
            while let Some(message) = silent.next().await {
                if let Some(reply) = message.reply {
                    let ack = json!({ "stream": "LOG", "seq": 7 }).to_string();
                    nats.publish(reply, ack.into()).await.unwrap();
                }
            }
        }
    });
    until("it is acknowledged again", async || {
        let (answer, _) = ask().await;
        (code(&answer).is_none()).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert_eq!(ask().await.0.payload, "7");
    }
    answers.abort();
}

#[tokio::test]
async fn one_acknowledgement_that_is_lost_among_others_refuses_nobody() {
    let world = World::new().await;
    let client = Client::new(world.connect().await);
    let append = async |subject: &'static str| {
        client
            .append(subject, None, HeaderMap::new(), "x".into())
            .await
    };
    let mut heard = world.nats.subscribe("log.>").await.unwrap();
    world.settle().await;
    let nats = world.nats.clone();
    let _answers = tokio::spawn(async move {
        while let Some(message) = heard.next().await {
            if let (Some(reply), "log.kept") = (message.reply, message.subject.as_str()) {
                let ack = json!({ "stream": "LOG", "seq": 1 }).to_string();
                nats.publish(reply, ack.into()).await.unwrap();
            }
        }
    });

    let lost = async { append("log.lost").await };
    let mut lost = Box::pin(lost);
    let others = async {
        loop {
            append("log.kept").await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        #[expect(unreachable_code, reason = "it names the type of the error")]
        Ok::<(), Error>(())
    };
    let error = tokio::select! {
        lost = &mut lost => lost.unwrap_err(),
        other = others => panic!("refused: {other:?}"),
    };

    assert_eq!(error.kind().code(), 503);
    append("log.kept").await.unwrap();
}
