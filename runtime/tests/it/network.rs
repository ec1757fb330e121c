//! A place in front of a server from which the network to it can fail.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Carries bytes to a server and back.
pub(crate) struct Network {
    address: SocketAddr,
    new: watch::Sender<New>,
    /// How long new connections wait for the server.
    pause: watch::Sender<Duration>,
}

/// What becomes of new connections. A change of it is the end of those that there are.
#[derive(Clone, Copy, PartialEq)]
enum New {
    Live,
    Dead,
    /// They die at the first subscription.
    Dying,
}

impl Network {
    pub(crate) async fn before(url: &str) -> Self {
        let server = url.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (new, mut watched) = watch::channel(New::Live);
        let (pause, pauses) = watch::channel(Duration::ZERO);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (near_in, near_out) = near.into_split();
                if *watched.borrow_and_update() == New::Dead {
                    tokio::spawn(dead(near_in, near_out));
                    continue;
                }
                let (server, watched, pause) = (server.clone(), watched.clone(), *pauses.borrow());
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    let far = TcpStream::connect(&server).await.unwrap();
                    let (far_in, far_out) = far.into_split();
                    tokio::spawn(carry(near_in, far_out, watched.clone()));
                    tokio::spawn(carry(far_in, near_out, watched));
                });
            }
        });
        Self {
            address,
            new,
            pause,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// New connections hear of the server only after this time; those that there are go on.
    pub(crate) fn slow_down(&self, pause: Duration) {
        self.pause.send_replace(pause);
    }

    /// Lets nothing more pass on the connections that there are, and closes none of them, on
    /// neither side. New ones work.
    pub(crate) fn silence(&self) {
        self.new.send_replace(New::Live);
    }

    /// As [`Network::silence`], and new connections die once they are made and used.
    pub(crate) fn silence_soon(&self) {
        self.new.send_replace(New::Dying);
    }

    /// As [`Network::silence`], and new connections are accepted and dead.
    pub(crate) fn silence_all(&self) {
        self.new.send_replace(New::Dead);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut ends: watch::Receiver<New>) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = tokio::select! {
            biased;
            _ = ends.changed() => return dead(from, to).await,
            read = from.read(&mut buffer) => read.unwrap_or(0),
        };
        let is_first_use = buffer[..read].windows(4).any(|word| word == b"SUB ");
        if is_first_use && *ends.borrow() == New::Dying {
            return dead(from, to).await;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Holds both ends open, and reads nothing.
async fn dead(_from: OwnedReadHalf, _to: OwnedWriteHalf) {
    std::future::pending::<()>().await;
}
