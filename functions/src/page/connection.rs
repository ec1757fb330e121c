//! Connections of browsers: how many, how long, how they end.

use std::convert::Infallible;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Page;
use super::permits::Permits;

/// Limit of a request's line and headers; browsers send less than 1 KiB.
const LONGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// How long a client may take over a request's head, and how long a connection is kept without one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest life of a connection, so that a slow reader cannot hold it forever. The compressed page
/// loads in seconds, and browsers reconnect by themselves.
const LIFE: Duration = Duration::from_secs(120);
/// How long a response in progress may take once the connection is to end.
const GRACE: Duration = Duration::from_secs(3);
/// The pause after a failed accept, as with too many open files.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves connections until `stop`, then finishes the responses in progress.
pub async fn serve(listener: TcpListener, page: Arc<Page>, stop: impl Future<Output = ()>) {
    let permits = Permits::new(page.max_connections);
    let (clients, stopping) = (TaskTracker::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, from)) => {
                let permit = permits.take(from.ip());
                let (page, stopping) = (page.clone(), stopping.clone());
                clients.spawn(async move {
                    tokio::select! {
                        () = attend(stream, page, stopping) => {}
                        () = permit.lost() => {}
                    }
                });
            }
            Err(error) => {
                permits.make_room();
                tracing::warn!(%error, "the page cannot accept a connection, and closes another one");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.cancel();
    clients.close();
    clients.wait().await;
}

/// Serves one connection.
async fn attend(stream: TcpStream, page: Arc<Page>, stopping: CancellationToken) {
    // A response is written whole; Nagle's algorithm would only delay it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(page.answer(&request))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // An error here is the client's: it sent no HTTP, or went away.
        _ = &mut connection => return,
        () = stopping.cancelled() => {}
        () = sleep(LIFE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}
