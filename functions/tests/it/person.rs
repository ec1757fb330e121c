//! Somebody in the account PEOPLE, as a browser is: asks, listens, and hears refusals.

use async_nats::{
    Client, ConnectOptions, Event, HeaderMap, Message, Request, ServerError, Subscriber,
};
use bytes::Bytes;
use chat::send::Sent;
use natsfn::testing::ErrorReply;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::wait::{GUARD, until, within};

/// A connection of one user.
pub(crate) struct Person {
    pub(crate) nats: Client,
    refusals: Mutex<UnboundedReceiver<String>>,
}

/// A page of a room's history.
#[derive(Debug)]
pub(crate) struct HistoryPage {
    pub(crate) messages: Vec<Value>,
    pub(crate) more: bool,
    /// `History-Head`: epoch and sequence.
    pub(crate) head: (i64, u64),
}

impl Person {
    /// Tries again, as the page does: right after a start of nats-server `auth` is still away.
    pub(crate) async fn connect(url: &str, name: &str, inbox: &str) -> Self {
        let (heard, refusals) = unbounded_channel();
        let nats = until("they are let in", async || {
            let heard = heard.clone();
            ConnectOptions::new()
                .user_and_password(name.to_owned(), name.to_owned())
                .custom_inbox_prefix(inbox)
                .max_reconnects(None)
                .event_callback(move |event| {
                    if let Event::ServerError(ServerError::Other(what)) = event {
                        // The test may be over.
                        let _ = heard.send(what);
                    }
                    std::future::ready(())
                })
                .connect(url)
                .await
                .ok()
        })
        .await;
        Self {
            nats,
            refusals: Mutex::new(refusals),
        }
    }

    /// Asks and returns the answer as it is.
    pub(crate) async fn ask(&self, subject: &str, payload: impl Into<Bytes>) -> Message {
        self.ask_with(subject, HeaderMap::new(), payload).await
    }

    pub(crate) async fn ask_with(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: impl Into<Bytes>,
    ) -> Message {
        let request = Request::new()
            .headers(headers)
            .payload(payload.into())
            .timeout(Some(GUARD));
        self.nats
            .send_request(subject.to_owned(), request)
            .await
            .unwrap()
    }

    /// Sends `{id, text}` to a subject such as `chat.send.general`.
    pub(crate) async fn send(&self, to: &str, id: &str, text: &str) -> Result<Sent, ErrorReply> {
        let draft = json!({ "id": id, "text": text });
        read(&self.ask(to, draft.to_string()).await)
    }

    /// Asks for a page from a subject such as `chat.history.general`.
    pub(crate) async fn page(&self, of: &str, question: Value) -> Result<HistoryPage, ErrorReply> {
        let question = if question.is_null() {
            String::new()
        } else {
            question.to_string()
        };
        let answer = self.ask(of, question).await;
        let messages = read(&answer)?;
        let header = |name| answer.headers.as_ref().unwrap().get(name).unwrap().as_str();
        let (epoch, seq) = header("History-Head").split_once('.').unwrap();
        Ok(HistoryPage {
            messages,
            more: header("History-More").parse().unwrap(),
            head: (epoch.parse().unwrap(), seq.parse().unwrap()),
        })
    }

    /// As [`Self::page`]. Who is told to try again, on a machine that is busy, tries again.
    pub(crate) async fn read_page(&self, of: &str, question: Value) -> HistoryPage {
        until("history answers", async || {
            match self.page(of, question.clone()).await {
                Err(error) if matches!(error.code, 503 | 504) => None,
                page => Some(page.unwrap()),
            }
        })
        .await
    }

    /// The texts of the last messages of a room.
    pub(crate) async fn texts(&self, of: &str) -> Vec<String> {
        self.page(of, Value::Null).await.unwrap().texts()
    }

    /// Subscribes, and returns when the server has the subscription.
    pub(crate) async fn hear(&self, subject: &str) -> Subscriber {
        let heard = self.nats.subscribe(subject.to_owned()).await.unwrap();
        self.settle().await;
        heard
    }

    /// Returns when the server has handled everything that was sent before on this connection.
    pub(crate) async fn settle(&self) {
        self.ask("$SYS.REQ.USER.INFO", "").await;
    }

    /// Publishes, and requires that the server refuses it.
    pub(crate) async fn may_not_publish(&self, subject: &str) {
        self.nats
            .publish(subject.to_owned(), "x".into())
            .await
            .unwrap();
        self.refused(&format!("Publish to \"{subject}\"")).await;
    }

    /// Subscribes, and requires that the server refuses it.
    pub(crate) async fn may_not_hear(&self, subject: &str) {
        let _heard = self.nats.subscribe(subject.to_owned()).await.unwrap();
        self.refused(&format!("Subscription to \"{subject}\""))
            .await;
    }

    /// Requires that the next thing that the server refuses is this.
    pub(crate) async fn refused(&self, what: &str) {
        let refusal = within(async { self.refusals.lock().await.recv().await })
            .await
            .unwrap();
        assert!(
            refusal.to_lowercase().contains(&what.to_lowercase()),
            "the server should refuse {what}, and says {refusal}"
        );
    }
}

impl HistoryPage {
    pub(crate) fn texts(&self) -> Vec<String> {
        let texts = self.messages.iter().map(|message| message["text"].as_str());
        texts.map(|text| text.unwrap().to_owned()).collect()
    }
}

/// Reads an answer, or the error reply that it is. An error must say the same in its headers and in
/// its body.
pub(crate) fn read<T: serde::de::DeserializeOwned>(answer: &Message) -> Result<T, ErrorReply> {
    let body: Value = serde_json::from_slice(&answer.payload).expect("an answer is JSON");
    let header = |name| Some(answer.headers.as_ref()?.get(name)?.as_str());
    let Some(code) = header("Nats-Service-Error-Code") else {
        return Ok(serde_json::from_value(body).expect("a good answer"));
    };
    assert_eq!(body["code"].to_string(), code);
    assert_eq!(body["error"], header("Nats-Service-Error").unwrap());
    Err(ErrorReply {
        code: code.parse().unwrap(),
        message: body["error"].as_str().unwrap().to_owned(),
        details: body.get("details").cloned(),
    })
}
