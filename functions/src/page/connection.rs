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
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Page;

/// More wait in the system's queue: each costs a file and some memory.
const MOST: usize = 1_024;
/// A request's line and headers, which need less than one KiB.
const LONGEST_HEAD: usize = 16 << 10;
const MOST_HEADERS: usize = 64;
/// How long a client may take over a request's head, and how long a connection is kept without one.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a connection lives, so that one who reads a byte a minute does not hold it for ever. The
/// page compressed takes seconds; a browser connects again unseen.
const LIFE: Duration = Duration::from_secs(120);
/// What is being answered at the end may take this long.
const GRACE: Duration = Duration::from_secs(3);
/// The pause after an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(200);

/// Answers whoever connects, until `stop`; then ends what is being answered.
pub async fn serve(listener: TcpListener, page: Arc<Page>, stop: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MOST));
    let (clients, stopping) = (TaskTracker::new(), CancellationToken::new());
    let mut stop = pin!(stop);
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (page, stopping) = (page.clone(), stopping.clone());
                clients.spawn(async move {
                    attend(stream, page, stopping).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the page takes no connection");
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    stopping.cancel();
    clients.close();
    clients.wait().await;
}

/// One connection, from its beginning to its end.
async fn attend(stream: TcpStream, page: Arc<Page>, stopping: CancellationToken) {
    // An answer is written whole; waiting for more to send with it only delays it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(page.answer(&request))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
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
