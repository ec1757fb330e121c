//! NATS's protocol, as much of it as a client needs.

use async_nats::HeaderMap;
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::function::event::Message;

/// What a server says first.
pub(super) const INFO: &str = "INFO {\"server_id\":\"LOCAL\",\"server_name\":\"local\",\"version\":\"2.14.0\",\"proto\":1,\"headers\":true,\"jetstream\":true,\"max_payload\":1048576,\"host\":\"127.0.0.1\",\"port\":4222}\r\n";

/// What a client says, and a server has to do something about.
pub(super) enum Incoming {
    Ping,
    Subscribe { subject: String, sid: String },
    Unsubscribe { sid: String },
    Publish(Message, Option<String>),
}

/// Reads and writes until the client is gone.
pub(super) async fn run(
    socket: TcpStream,
    mut outgoing: UnboundedReceiver<Vec<u8>>,
    mut each: impl FnMut(Incoming),
) {
    let (reader, mut writer) = socket.into_split();
    let write = async {
        while let Some(bytes) = outgoing.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let read = async {
        let mut reader = BufReader::new(reader);
        let mut line = String::new();
        while let Ok(1..) = reader.read_line(&mut line).await {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            match words.as_slice() {
                ["PING"] => each(Incoming::Ping),
                ["SUB", subject, .., sid] => each(Incoming::Subscribe {
                    subject: (*subject).to_owned(),
                    sid: (*sid).to_owned(),
                }),
                // With a number it is for later, and a client that has enough does not listen.
                ["UNSUB", sid] => each(Incoming::Unsubscribe {
                    sid: (*sid).to_owned(),
                }),
                ["PUB", subject, reply @ .., length] => {
                    let reply = reply.first().map(|reply| (*reply).to_owned());
                    let Some(payload) = take(&mut reader, length).await else {
                        return;
                    };
                    each(Incoming::Publish(of(subject, 0, payload), reply));
                }
                ["HPUB", subject, reply @ .., head, length] => {
                    let reply = reply.first().map(|reply| (*reply).to_owned());
                    let (head, payload) = (head.parse(), take(&mut reader, length).await);
                    let (Ok(head), Some(payload)) = (head, payload) else {
                        return;
                    };
                    each(Incoming::Publish(of(subject, head, payload), reply));
                }
                _ => {}
            }
            line.clear();
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

/// What follows a line, without the line's end behind it.
async fn take(reader: &mut (impl AsyncReadExt + Unpin), length: &str) -> Option<Bytes> {
    let mut bytes = vec![0; length.parse::<usize>().ok()? + 2];
    reader.read_exact(&mut bytes).await.ok()?;
    let bytes = Bytes::from(bytes);
    Some(bytes.slice(..bytes.len() - 2))
}

/// A message whose first `head` bytes are headers.
fn of(subject: &str, head: usize, bytes: Bytes) -> Message {
    let mut headers = HeaderMap::new();
    let lines = String::from_utf8_lossy(&bytes[..head]);
    for (name, value) in lines
        .split("\r\n")
        .skip(1)
        .filter_map(|it| it.split_once(':'))
    {
        if let Ok(name) = name.parse::<async_nats::HeaderName>() {
            headers.append(name, value.trim());
        }
    }
    Message {
        subject: subject.into(),
        headers,
        payload: bytes.slice(head..),
        seq: 0,
        time_ns: 0,
        unreadable: None,
    }
}

/// The headers as they are sent and stored.
pub(super) fn block(status: Option<u16>, headers: &HeaderMap) -> String {
    let status = status.map_or_else(String::new, |status| format!(" {status}"));
    let mut block = format!("NATS/1.0{status}\r\n");
    for (name, values) in headers.iter() {
        for value in values {
            block += &format!("{name}: {value}\r\n");
        }
    }
    block + "\r\n"
}

/// A message to the client.
pub(super) fn message(
    subject: &str,
    sid: &str,
    status: Option<u16>,
    headers: &HeaderMap,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = if status.is_none() && headers.is_empty() {
        format!("MSG {subject} {sid} {}\r\n", payload.len())
    } else {
        let block = block(status, headers);
        let (head, all) = (block.len(), block.len() + payload.len());
        format!("HMSG {subject} {sid} {head} {all}\r\n{block}")
    }
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
    bytes
}
