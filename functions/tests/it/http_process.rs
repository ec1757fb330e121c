//! The page as a function of the program: in `dev`, by itself, without its port, without NATS.

use std::net::{SocketAddr, TcpListener};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::child;
use crate::http::{Answer, ask};
use crate::program::Place;
use crate::wait::{until, within};
use crate::world::World;

/// A port that was free just now, as an address.
fn free() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap()
}

/// `chat serve page` as the user who may do nothing else, without a database. It says at `health` how it is.
fn serve_page(world: &World, listen: SocketAddr, health: SocketAddr) -> Child {
    let mut command = child::command(world, &["serve", "page"]);
    command
        .env("CHAT_NATS__USER", "page")
        .env("CHAT_NATS__PASSWORD", "page")
        .env("CHAT_NATS__INBOX_PREFIX", "_INBOX.s.page")
        .env("CHAT_PAGE__LISTEN", listen.to_string())
        .env("CHAT_HEALTH__LISTEN", health.to_string())
        .env_remove("CHAT_DATABASE__URL");
    command.spawn().unwrap()
}

/// Waits until a path is answered with this code.
async fn answers(address: SocketAddr, path: &str, status: u16) -> Answer {
    until("it answers that", async || {
        let answer = ask(address, "GET", path, &[]).await.ok()?;
        (answer.status == status).then_some(answer)
    })
    .await
}

/// Where a running `dev` says that its page is.
fn page_of(dev: &Value) -> SocketAddr {
    let port = dev["page"]
        .as_str()
        .unwrap()
        .strip_prefix("http://localhost:")
        .unwrap();
    format!("127.0.0.1:{port}").parse().unwrap()
}

#[tokio::test]
async fn dev_serves_the_page_where_it_says() {
    let place = Place::new();
    let _dev = place.dev(&[]).await;
    let dev = place.addresses();

    let config = ask(page_of(&dev), "GET", "/config.json", &[]).await;

    assert_eq!(config.unwrap().json()["websocket"], dev["websocket"]);
}

/// The first line with which the server answers a WebSocket's beginning from a page of an origin.
async fn handshake(websocket: &str, origin: &str) -> String {
    let host = websocket.strip_prefix("ws://").unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {host}\r\norigin: {origin}\r\nupgrade: websocket\r\n\
         connection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    within(stream.read_exact(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn page_of_dev_reaches_nats_and_another_site_does_not() {
    let place = Place::new();
    let _dev = place.dev(&[]).await;
    let dev = place.addresses();
    let websocket = dev["websocket"].as_str().unwrap();

    let own = handshake(websocket, dev["page"].as_str().unwrap()).await;
    let by_number = handshake(websocket, &format!("http://{}", page_of(&dev))).await;
    let other = handshake(websocket, "http://localhost:1").await;

    assert_eq!([own, by_number], ["HTTP/1.1 101"; 2]);
    assert_eq!(other, "HTTP/1.1 403");
}

#[tokio::test]
async fn port_of_the_page_in_use_is_named_before_anything_starts() {
    let place = Place::new();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    let said = place.run(&["dev", "--port", &port]).await;

    assert_eq!(said.code, Some(1));
    let named = format!("port {port} (the page) is in use");
    assert!(said.stderr.contains(&named), "{said:?}");
    assert!(said.stderr.contains("--port"), "{said:?}");
    let started = place.path().join(".chat/nats-server.log");
    assert!(!started.exists());
}

#[tokio::test]
async fn page_that_dev_leaves_out_is_served_by_hand_in_its_place() {
    let place = Place::new();
    let _dev = place.dev(&["--without", "page"]).await;
    let dev = place.addresses();
    let nobody = ask(page_of(&dev), "GET", "/config.json", &[]).await;

    let serve = ["--config", ".chat/chat.toml", "serve", "page"];
    let serving = place.start(&serve, "serves page").await;

    assert!(nobody.is_err());
    let config = answers(page_of(&dev), "/config.json", 200).await;
    assert_eq!(config.json()["websocket"], dev["websocket"]);
    assert_eq!(serving.interrupt().await, Some(0));
}

#[tokio::test]
async fn page_is_not_ready_while_nats_is_away_and_is_served_all_the_same() {
    let (world, listen, health) = (World::new().await, free(), free());
    let _page = serve_page(&world, listen, health);
    answers(health, "/readyz", 200).await;

    world.server.down().await;

    let said = answers(health, "/readyz", 503).await;
    let said = String::from_utf8_lossy(&said.body).into_owned();
    assert!(said.starts_with("page: NATS at "), "{said}");
    answers(listen, "/config.json", 200).await;
    world.server.up().await;
    answers(health, "/readyz", 200).await;
}

#[tokio::test]
async fn page_says_that_its_port_is_in_use_and_begins_once_it_is_free() {
    let (world, health) = (World::new().await, free());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap();
    let _page = serve_page(&world, listen, health);
    let why = format!("page: the page cannot listen on {listen}");
    until("it names the port", async || {
        let said = ask(health, "GET", "/readyz", &[]).await.ok()?;
        String::from_utf8_lossy(&said.body)
            .starts_with(&why)
            .then_some(())
    })
    .await;

    drop(taken);

    answers(listen, "/config.json", 200).await;
    answers(health, "/readyz", 200).await;
}
