//! nats-server's memory: nobody fills it by reading nothing, and no function is cut off for what it asks.

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::ask;
use crate::wait::within;
use crate::world::{World, append};

/// A message of a back end, of nearly the size that `send` takes at most.
fn large() -> String {
    json!({ "user": "news", "text": "я".repeat(4_000), "timestamp": 1, "filler": "x".repeat(6_000) })
        .to_string()
}

/// What the server says of itself.
async fn varz(world: &World) -> Value {
    let monitor = world.server.addresses().monitor.clone().unwrap();
    let address = monitor.trim_start_matches("http://").parse().unwrap();
    ask(address, "GET", "/varz", &[]).await.unwrap().json()
}

/// Logs in and subscribes a room `subscriptions` times, and reads nothing more.
async fn deaf(url: &str, subscriptions: usize) -> TcpStream {
    let mut stream = TcpStream::connect(url.trim_start_matches("nats://"))
        .await
        .unwrap();
    let login = r#"{"user":"alice","pass":"alice","verbose":false}"#;
    let mut said = format!("CONNECT {login}\r\n");
    for sid in 0..subscriptions {
        said += &format!("SUB live.chat.general {sid}\r\n");
    }
    stream.write_all(said.as_bytes()).await.unwrap();
    stream.write_all(b"PING\r\n").await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"PONG\r\n") {
        let read = within(stream.read_buf(&mut heard)).await;
        assert!(read.unwrap() > 0, "it was thrown out");
    }
    stream
}

#[tokio::test]
async fn person_who_reads_nothing_does_not_fill_the_servers_memory() {
    const CONNECTIONS: usize = 10;
    let world = World::new().await;
    let _deaf = join_all((0..CONNECTIONS).map(|_| deaf(world.server.url(), 900))).await;
    let backend = world.backend().await;

    let mut most = 0;
    for _ in 0..50 {
        append(&backend, "chat.general", None, large()).await;
        most = most.max(varz(&world).await["mem"].as_u64().unwrap());
    }

    let megabytes = most >> 20;
    assert!(megabytes < 8 * CONNECTIONS as u64 + 100, "{megabytes} MB");
}

#[tokio::test]
async fn backlog_of_large_messages_is_read_and_stored_and_no_connection_is_cut_off() {
    const MESSAGES: u64 = 1_100;
    let world = World::new().await;
    let backend = world.backend().await;
    let write = async |_| append(&backend, "chat.general", None, large()).await;
    stream::iter(0..MESSAGES)
        .map(write)
        .buffer_unordered(50)
        .collect::<Vec<_>>()
        .await;
    let _history = world.serve_only(&["history"]).await;
    let alice = world.person("alice").await;

    let pages =
        join_all((0..8).map(|_| alice.page("chat.history.general", json!({ "limit": 5 })))).await;
    let _persist = world.serve_only(&["persist"]).await;
    world.settled().await;

    for page in pages {
        assert_eq!(page.unwrap().messages.len(), 5);
    }
    assert_eq!(world.rows().await.len() as u64, MESSAGES);
    assert_eq!(varz(&world).await["slow_consumers"], 0);
}
