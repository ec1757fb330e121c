//! The health listener as a client of HTTP meets it, and the command `health`.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::{Lasting, hello, output, text};
use crate::world::{World, until, within};

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

/// An address whose port was free just now.
pub(crate) fn free() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().to_string()
}

/// One request; an error where nobody answers.
pub(crate) async fn get(address: &str, path: &str) -> io::Result<Answer> {
    raw(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await
}

/// Sends bytes as they are, and reads what comes until the connection ends.
async fn raw(address: &str, request: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await?;
    let (head, text) = answer
        .split_once("\r\n\r\n")
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer {
        status,
        head: head.to_lowercase(),
        text: text.to_owned(),
    })
}

/// The README's hello with a health listener.
struct Hello {
    world: World,
    address: String,
    directory: TempDir,
}

impl Hello {
    async fn new() -> Self {
        Self {
            world: World::new().await,
            address: free(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = hello(self.directory.path(), arguments);
        command
            .env("HELLO_NATS__URL", self.world.server.url())
            .env("HELLO_HEALTH__LISTEN", &self.address);
        command
    }

    async fn serve(&self) -> Lasting {
        let mut serving = Lasting::spawn(self.command(&["serve"]));
        serving.says("serves hello").await;
        serving
    }
}

#[tokio::test]
async fn it_is_alive_ready_and_measured_and_nothing_else() {
    let hello = Hello::new().await;
    let _serving = hello.serve().await;
    for (path, status, text) in [
        ("/livez", 200, "alive\n"),
        ("/readyz", 200, "ready\n"),
        ("/", 404, "There are /livez, /readyz and /metrics.\n"),
    ] {
        let answer = get(&hello.address, path).await.unwrap();
        assert_eq!((answer.status, &*answer.text), (status, text), "{path}");
        assert!(answer.head.contains("cache-control: no-store"));
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
    let post = "POST /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";
    assert_eq!(raw(&hello.address, post).await.unwrap().status, 405);
    let head = "HEAD /livez HTTP/1.1\r\nhost: x\r\n\r\n";
    let answer = raw(&hello.address, head).await.unwrap();
    assert_eq!((answer.status, &*answer.text), (200, ""));
}

#[tokio::test]
async fn what_is_measured_can_be_read_without_a_collector() {
    let hello = Hello::new().await;
    let mut serving = hello.serve().await;
    hello.world.ask("hello", "\"World\"").await;

    let metrics = get(&hello.address, "/metrics").await.unwrap();

    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(metrics.head.contains(kind), "{}", metrics.head);
    for (name, value) in [
        ("messaging_process_duration_seconds_count", 1),
        ("natsfn_healthy", 1),
        ("natsfn_in_flight", 0),
        ("natsfn_shed_total", 0),
        ("target_info", 1),
    ] {
        let mut lines = metrics.text.lines();
        let is_it = |line: &&str| line.starts_with(&format!("{name}{{"));
        let line = lines
            .find(is_it)
            .unwrap_or_else(|| panic!("{name}: {}", metrics.text));
        assert!(line.ends_with(&format!("}} {value}")), "{line}");
    }
    serving.signal("-TERM").await;
    serving.exit_code().await;
    let mut command = hello.command(&["serve"]);
    command.env("OTEL_SDK_DISABLED", "true");
    let mut serving = Lasting::spawn(command);
    serving.says("serves hello").await;
    let off = get(&hello.address, "/metrics").await.unwrap();
    assert_eq!(off.status, 503);
    assert_eq!(off.text, "OTEL_SDK_DISABLED switches metrics off.\n");
}

#[tokio::test]
async fn health_asks_it_and_exits_with_0_or_1() {
    let hello = Hello::new().await;
    let mut serving = hello.serve().await;

    let ready = output(hello.command(&["health"])).await;
    hello.world.server.down().await;
    let not_ready = until("it notices", async || {
        let asked = output(hello.command(&["health"])).await;
        (asked.status.code() == Some(1)).then_some(asked)
    })
    .await;
    serving.signal("-TERM").await;
    serving.exit_code().await;
    let nobody = output(hello.command(&["health"])).await;

    assert_eq!(ready.status.code(), Some(0), "{:?}", text(&ready));
    assert_eq!(text(&ready), ("ready\n".to_owned(), String::new()));
    let said = text(&not_ready).0;
    assert!(said.starts_with("hello: NATS at nats://"), "{said}");
    assert_eq!(nobody.status.code(), Some(1));
    let said = text(&nobody).1;
    let at = format!(
        "nobody says at http://{}/readyz how this service is",
        hello.address
    );
    assert!(said.contains(&at), "{said}");
}

#[tokio::test]
async fn health_of_an_address_that_cannot_be_asked_is_a_mistake() {
    let hello = Hello::new().await;
    for (address, said) in [
        ("", "health.listen: is missing, so nobody can be asked"),
        (
            "127.0.0.1:0",
            "health.listen: is any free port, so nobody can be asked",
        ),
        (
            "8080",
            "health.listen: is \"8080\", must be an address and a port, like 0.0.0.0:8080",
        ),
    ] {
        let mut command = hello.command(&["health"]);
        command.env("HELLO_HEALTH__LISTEN", address);
        if address.is_empty() {
            command.env_remove("HELLO_HEALTH__LISTEN");
        }
        let refused = output(command).await;
        assert_eq!(refused.status.code(), Some(2), "{:?}", text(&refused));
        assert!(text(&refused).1.contains(said), "{:?}", text(&refused));
    }
}

#[tokio::test]
async fn port_in_use_names_the_key_and_the_cure() {
    let hello = Hello::new().await;
    let _taken = TcpListener::bind(&hello.address).unwrap();

    let refused = output(hello.command(&["serve"])).await;

    assert_eq!(refused.status.code(), Some(2), "{:?}", text(&refused));
    let said = format!(
        "hello: health.listen: {} is in use: stop what listens there, or name another address\n",
        hello.address
    );
    assert_eq!(text(&refused).1, said);
}

#[tokio::test]
async fn dev_listens_where_it_is_told_to() {
    let hello = Hello::new().await;
    let mut dev = Lasting::spawn(hello.command(&["dev", "--port", "0"]));
    dev.says("is ready").await;
    assert_eq!(get(&hello.address, "/readyz").await.unwrap().status, 200);
}

#[tokio::test]
async fn slow_clients_and_too_many_keep_nobody_out() {
    let hello = Hello::new().await;
    let _serving = hello.serve().await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&hello.address).await.unwrap();
        let _ = stream.write_all(b"GET /livez HTTP/1.1\r\n").await;
        idle.push(stream);
    }

    let answer = get(&hello.address, "/livez").await.unwrap();

    assert_eq!(answer.status, 200);
    // The first were closed to make room, the last is closed because it says nothing more.
    for stream in [&mut idle.remove(0), &mut idle.pop().unwrap()] {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut rest));
        let _ = ended.await.expect("it is closed");
    }
    let long = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(1 << 16)
    );
    let refused = raw(&hello.address, &long).await;
    assert!(refused.is_err() || refused.is_ok_and(|answer| answer.status == 431));
}
