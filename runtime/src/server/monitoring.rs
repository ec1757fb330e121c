//! nats-server's monitoring over HTTP.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The largest answer that is accepted.
const LIMIT: u64 = 1 << 20;

/// Requests a path from the monitoring at `http://host:port` and returns the body, whatever the status.
/// With HTTP/1.0 the answer ends with the connection and is not chunked.
pub(crate) async fn get(url: &str, path: &str) -> Result<Vec<u8>> {
    let wrong = |why| Error::new(ErrorKind::InvalidInput, why);
    let host = url
        .strip_prefix("http://")
        .ok_or_else(|| wrong("must be http://host:port"))?
        .trim_end_matches('/');
    let mut stream = TcpStream::connect(host).await?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    stream.take(LIMIT).read_to_end(&mut answer).await?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let head = head.ok_or_else(|| wrong("does not speak HTTP"))?;
    Ok(answer.split_off(head + 4))
}
