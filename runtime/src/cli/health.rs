//! `health`: asks the health listener of this configuration whether its process is ready, for the health
//! check of a container that has no other client of HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Exit, say};
use crate::config::RuntimeConfig;
use crate::error::run_error::RunError;

/// How long the whole may take. An answer takes a little more than a second where NATS or the database
/// is silent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest answer that is read.
const LONGEST: usize = 1 << 20;

/// Prints the answer.
///
/// # Errors
/// There is no `health.listen`, or nobody answers there.
pub(super) async fn health(config: &RuntimeConfig) -> Result<Exit, RunError> {
    let at = match config.health.listen {
        Some(at) if at.port() == 0 => {
            Err("health.listen: is any free port, so nobody can be asked; name a port")
        }
        Some(at) => Ok(near(at)),
        None => Err(
            "health.listen: is missing, so nobody can be asked; name an address, like 0.0.0.0:8080",
        ),
    };
    let at = at.map_err(|wrong| RunError::misuse([wrong.to_owned()]))?;
    let asked = timeout(ANSWER_TIMEOUT, ask(at)).await;
    let asked = asked.unwrap_or_else(|_| Err("no answer within 3 s".into()));
    let (is_ready, answer) = asked.map_err(|error| {
        RunError::new(format!(
            "nobody says at http://{at}/readyz how this service is ({error}); does it run, with this health.listen?"
        ))
    })?;
    say(answer.trim_end());
    Ok(if is_ready {
        Exit::SUCCESS
    } else {
        Exit::FAILURE
    })
}

/// Where this machine reaches what listens there.
fn near(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, at.port())
}

/// Whether the process is ready, and its answer.
async fn ask(at: SocketAddr) -> Result<(bool, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(at).await?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header(header::HOST, at.to_string())
        .body(Empty::<Bytes>::new())?;
    let answer = client.send_request(request).await?;
    let is_ready = answer.status().is_success();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await?;
    connection.abort();
    let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok((is_ready, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_listens_everywhere_is_asked_on_the_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.1:8080", "10.0.0.1:8080"),
        ] {
            assert_eq!(near(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
