//! The page over HTTP with files of a test, and a client that asks it over TCP.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use chat::page::{Asset, Page, Settings, Site, serve};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::wait::within;

/// A page that is served until it is told to stop.
pub(crate) struct Http {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A file whose compressed forms only need to be told from it.
pub(crate) fn asset(path: &str, plain: &'static str) -> Asset {
    Asset {
        path: path.to_owned(),
        plain: plain.into(),
        brotli: Some(format!("brotli of {plain}").into()),
        gzip: Some(format!("gzip of {plain}").into()),
    }
}

/// A small page.
pub(crate) fn site() -> Site {
    let icon = Asset {
        brotli: None,
        gzip: None,
        ..asset("icon.svg", "<svg/>")
    };
    Site::new([
        asset("index.html", "<!doctype html>"),
        asset("assets/index-B1x.js", "export {}"),
        asset("assets/index-C2y.css", "a {}"),
        icon,
    ])
}

impl Http {
    /// Serves the small page.
    pub(crate) async fn new() -> Self {
        Self::with(site()).await
    }

    /// Serves these files, in a process that is well.
    pub(crate) async fn with(site: Site) -> Self {
        Self::serve(Page::new(site, &Settings::default())).await
    }

    pub(crate) async fn serve(page: Page) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, Arc::new(page), async {
            let _ = stopped.await;
        }));
        Self {
            address,
            stop,
            serving,
        }
    }

    /// GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    /// GET with headers.
    pub(crate) async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers).await
    }

    /// A request.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.address, method, path, headers).await.unwrap()
    }

    /// Sends bytes as they are, and reads what comes until the connection ends.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Gives the word to stop; what serves it ends when all is answered.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        self.stop.send(()).unwrap();
        self.serving
    }
}

/// One request on a connection of its own; an error where nobody listens.
pub(crate) async fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> std::io::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = within(sender.send_request(request)).await.unwrap();
    let (head, body) = response.into_parts();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: within(body.collect()).await.unwrap().to_bytes(),
    })
}

impl Answer {
    /// A header's value; nothing where there is none.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
