//! A NATS server for one connection, in this process: a function's `Client` is the real one, and so are its bytes.

mod streams;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

use crate::error::Result;
use crate::function::event::Message;
use crate::function::reply::Response;
use crate::function::template::overlap;
use crate::run::ready::round_trip;
use crate::service::stream::Stream;
use streams::Streams;
use wire::Incoming;

/// Answers a request, where somebody listens on its subject.
type Answer =
    dyn Fn(String, HeaderMap, Bytes) -> BoxFuture<'static, Option<Result<Response>>> + Send + Sync;

/// It ends when this is dropped.
pub(super) struct Broker {
    pub(super) nats: async_nats::Client,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

struct State {
    answer: Box<Answer>,
    streams: Mutex<Streams>,
    sent: Mutex<Vec<Message>>,
}

impl Broker {
    /// Starts it with these streams, and connects.
    pub(super) async fn start<'a>(
        streams: impl Iterator<Item = &'a Stream>,
        answer: Box<Answer>,
    ) -> Result<Self> {
        let state = Arc::new(State {
            answer,
            streams: Mutex::new(Streams::of(streams)),
            sent: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (serving, mut tasks) = (state.clone(), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(Connection::serve(serving.clone(), socket));
            }
        });
        Ok(Self {
            nats: async_nats::connect(format!("nats://{address}")).await?,
            state,
            _tasks: tasks,
        })
    }

    /// What was sent until now, in order.
    pub(super) async fn sent(&self) -> Result<Vec<Message>> {
        round_trip(&self.nats).await?;
        Ok(self.state.sent.lock().clone())
    }
}

/// What the client subscribes, by the number it gives; and the way to it.
#[derive(Clone)]
struct Connection {
    state: Arc<State>,
    subscriptions: Arc<Mutex<HashMap<String, String>>>,
    writer: UnboundedSender<Vec<u8>>,
}

impl Connection {
    async fn serve(state: Arc<State>, socket: TcpStream) {
        let (writer, outgoing) = unbounded_channel();
        let connection = Self {
            state,
            subscriptions: Arc::default(),
            writer,
        };
        connection.write(wire::INFO.into());
        let mut answers = JoinSet::new();
        let each = |incoming| connection.handle(incoming, &mut answers);
        wire::run(socket, outgoing, each).await;
    }

    fn handle(&self, incoming: Incoming, answers: &mut JoinSet<()>) {
        match incoming {
            Incoming::Ping => self.write(b"PONG\r\n".into()),
            Incoming::Subscribe { subject, sid } => {
                self.subscriptions.lock().insert(sid, subject);
            }
            Incoming::Unsubscribe { sid } => {
                self.subscriptions.lock().remove(&sid);
            }
            Incoming::Publish(message, reply) => self.publish(message, reply, answers),
        }
    }

    fn publish(&self, mut message: Message, reply: Option<String>, answers: &mut JoinSet<()>) {
        let subject = message.subject().to_owned();
        let stored = self.state.streams.lock().handle(&mut message);
        let is_listened_to = self.deliver(&subject, None, message.headers(), message.payload());
        // A function does not say what it asks JetStream in its stead, and an inbox is its client's own.
        let is_told = ["$JS.", "_INBOX."]
            .iter()
            .all(|own| !subject.starts_with(own));
        if is_told {
            self.state.sent.lock().push(message.clone());
        }
        let Some(reply) = reply else { return };
        if let Some(answer) = stored {
            self.deliver(
                &reply,
                None,
                &HeaderMap::new(),
                answer.to_string().as_bytes(),
            );
            return;
        }
        if is_listened_to {
            return;
        }
        let connection = self.clone();
        answers.spawn(async move {
            let Message {
                headers, payload, ..
            } = message;
            match (connection.state.answer)(subject, headers, payload).await {
                Some(Ok(response)) => {
                    connection.deliver(&reply, None, &response.headers, &response.payload);
                }
                Some(Err(error)) => {
                    let response = Response::error(&error, None);
                    connection.deliver(&reply, None, &response.headers, &response.payload);
                }
                None => {
                    connection.deliver(&reply, Some(503), &HeaderMap::new(), &[]);
                }
            }
        });
    }

    /// Whether the client listens on this subject.
    fn deliver(
        &self,
        subject: &str,
        status: Option<u16>,
        headers: &HeaderMap,
        payload: &[u8],
    ) -> bool {
        let subscriptions = self.subscriptions.lock();
        let of_subject = subscriptions
            .iter()
            .filter(|(_, pattern)| overlap(pattern, subject));
        let mut found = false;
        for (sid, _) in of_subject {
            found = true;
            self.write(wire::message(subject, sid, status, headers, payload));
        }
        found
    }

    /// To a client that is gone, nothing.
    fn write(&self, bytes: Vec<u8>) {
        let _ = self.writer.send(bytes);
    }
}
