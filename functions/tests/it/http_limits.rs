//! What a client may not do to the page: send too much, wait too long, hold a connection for ever.

use std::time::Duration;

use chat::page::{Asset, Page, Settings, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::{Http, ask, site};
use crate::wait::within;

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

/// A file that no buffer between server and client holds.
const LARGE: usize = 64 << 20;

async fn large() -> Http {
    Http::with(Site::new([Asset {
        path: "index.html".to_owned(),
        plain: vec![b'x'; LARGE].into(),
        brotli: None,
        gzip: None,
    }]))
    .await
}

/// Reads all that comes; an error ends it as the end does.
async fn rest(stream: &mut TcpStream) -> usize {
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    read.len()
}

#[tokio::test]
async fn too_long_a_request_is_refused() {
    let http = Http::new().await;
    let long = "x".repeat(20_000);
    let many: String = (0..100).map(|n| format!("x{n}: 1\r\n")).collect();
    for (what, request, status) in [
        (
            "address",
            format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
            431,
        ),
        (
            "header",
            format!("GET / HTTP/1.1\r\nx: {long}\r\n\r\n"),
            431,
        ),
        ("headers", format!("GET / HTTP/1.1\r\n{many}\r\n"), 431),
        ("no HTTP", "hello\r\n\r\n".to_owned(), 400),
    ] {
        let answer = http.raw(request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{what}: {answer}"
        );
    }
}

#[tokio::test]
async fn body_that_nobody_asked_for_is_not_read() {
    let http = Http::new().await;
    let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000000\r\n\r\n";

    let answer = http.raw(head).await;

    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_finish_its_request_is_cut_off() {
    let http = Http::new().await;
    for beginning in ["", "GET / HTTP/1.1\r\nho"] {
        let mut stream = TcpStream::connect(http.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        within(rest(&mut stream)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_does_not_read_is_cut_off() {
    let http = large().await;
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();

    tokio::time::sleep(Duration::from_secs(600)).await;

    let read = rest(&mut stream).await;
    assert!(read < LARGE, "{read} bytes came all the same");
}

#[tokio::test]
async fn connections_without_a_request_end_at_once_when_it_stops() {
    let http = Http::new().await;
    let address = http.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    let mut first = [0; 12];
    within(stream.read_exact(&mut first)).await.unwrap();
    let idle = TcpStream::connect(address).await.unwrap();

    within(http.stop()).await.unwrap();

    assert_eq!(&first, b"HTTP/1.1 200");
    assert!(ask(address, "GET", "/", &[]).await.is_err());
    drop((stream, idle));
}

#[tokio::test]
async fn what_is_being_answered_is_finished_when_it_stops() {
    let http = large().await;
    let mut stream = TcpStream::connect(http.address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    stream.read_exact(&mut [0; 1]).await.unwrap();

    let stopping = http.stop();
    let read = within(rest(&mut stream)).await;

    assert!(read > LARGE, "{read} bytes of {LARGE} and the headers");
    within(stopping).await.unwrap();
}

#[tokio::test]
async fn one_address_that_opens_connections_without_end_shuts_nobody_else_out() {
    let settings = Settings {
        max_connections: 20,
        ..Settings::default()
    };
    let http = Http::serve(Page::new(site(), &settings)).await;
    let connect = async || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(http.address).await.unwrap()
    };
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(connect().await);
    }

    for _ in 0..30 {
        assert_eq!(within(http.get("/")).await.status, 200);
    }

    // Nor itself: it is its oldest that end.
    within(rest(&mut idle[0])).await;
    let mut last = connect().await;
    last.write_all(REQUEST).await.unwrap();
    let mut first = [0; 12];
    within(last.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
}
