//! A connection that takes no more answers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Waker};

use async_nats::Message;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::turns::{MAX_REFUSALS, MAX_WAITING};
use crate::function::handler::Call;
use crate::nats::client::Client;
use crate::service::endpoint::{Endpoint, RequestTrigger};

/// Of the endpoint.
const MAX_IN_FLIGHT: usize = 4;

/// Large, so that the sockets' buffers are soon full.
static ANSWER: [u8; 1 << 16] = [b'.'; 1 << 16];

/// A connection whose other side reads nothing once it is open.
async fn clogged() -> (async_nats::Client, BufReader<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = listener.local_addr().unwrap().to_string();
    let accept = async {
        let mut stream = BufReader::new(listener.accept().await.unwrap().0);
        let info = r#"INFO {"max_payload":1048576,"headers":true}"#;
        stream
            .write_all(format!("{info}\r\n").as_bytes())
            .await
            .unwrap();
        let mut line = String::new();
        while line != "PING\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
        }
        stream.write_all(b"PONG\r\n").await.unwrap();
        stream
    };
    let (nats, stream) = tokio::join!(async_nats::connect(url), accept);
    (nats.unwrap(), stream)
}

fn request(subject: &str) -> Message {
    Message {
        subject: subject.into(),
        reply: Some("_INBOX.a".into()),
        payload: Bytes::new(),
        headers: None,
        status: None,
        description: None,
        length: 0,
    }
}

#[tokio::test]
async fn answers_that_the_connection_does_not_take_are_bounded() {
    let (nats, _stream) = clogged().await;
    let begun = Arc::<AtomicUsize>::default();
    let count = begun.clone();
    let big = move || {
        count.fetch_add(1, Relaxed);
        async { Bytes::from_static(&ANSWER) }
    };
    let trigger = RequestTrigger {
        endpoint: Endpoint::new("big", "big").max_in_flight(MAX_IN_FLIGHT),
        call: Call::new(big, ()),
    };
    let runtime = trigger
        .runtime(&"a".into(), Some(Client::new(nats)), None, None)
        .unwrap();
    let arrived = Instant::now();
    let mut requests: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
    for _ in 0..2 * (MAX_WAITING + MAX_REFUSALS) {
        requests.push(Box::pin(runtime.handle(request("big"), arrived)));
    }

    let mut answered = 0;
    let mut idle = 0;
    while idle < 100 {
        let before = requests.len();
        let mut nobody = Context::from_waker(Waker::noop());
        requests.retain_mut(|request| request.as_mut().poll(&mut nobody).is_pending());
        answered += before - requests.len();
        idle = if before == requests.len() {
            idle + 1
        } else {
            0
        };
        tokio::task::yield_now().await;
    }

    // Without the bounds nearly all of them: the functions are called, and their answers wait.
    assert!(begun.load(Relaxed) <= answered + MAX_IN_FLIGHT);
    assert!(requests.len() <= MAX_IN_FLIGHT + MAX_WAITING + MAX_REFUSALS);
}
