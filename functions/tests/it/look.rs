//! What a test looks at: the log, its consumer, the table, the dead letters.

use async_nats::RequestErrorKind;
use chat::store::entity::messages;
use natsfn::Nats;
use natsfn::dead_letter::{self, DeadLetter};
use sea_orm::{EntityTrait, QueryOrder};
use serde_json::Value;

use crate::server::connect;
use crate::wait::until;
use crate::world::World;

impl World {
    /// Calls the JetStream API.
    pub(crate) async fn api(&self, call: &str, body: &Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self
            .operator
            .request(format!("$JS.API.{call}"), body.into())
            .await
            .unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    /// The log's state.
    pub(crate) async fn log(&self) -> Value {
        self.api("STREAM.INFO.CHAT_MESSAGES", &Value::Null).await["state"].clone()
    }

    /// One message of the log, as direct get answers it.
    pub(crate) async fn logged(&self, seq: u64) -> async_nats::Message {
        let question = serde_json::json!({ "seq": seq }).to_string();
        let subject = "$JS.API.DIRECT.GET.CHAT_MESSAGES";
        self.operator
            .request(subject, question.into())
            .await
            .unwrap()
    }

    /// What the server says of persist's consumer.
    pub(crate) async fn consumer(&self) -> Value {
        self.api("CONSUMER.INFO.CHAT_MESSAGES.chat-persist", &Value::Null)
            .await
    }

    /// Lets the server notice a dead instance after a second instead of half a minute.
    pub(crate) async fn notice_crashes_soon(&self) {
        let mut config = self.consumer().await["config"].clone();
        config["ack_wait"] = 1_000_000_000.into();
        let body = serde_json::json!({ "stream_name": "CHAT_MESSAGES", "config": config });
        let updated = self
            .api("CONSUMER.CREATE.CHAT_MESSAGES.chat-persist", &body)
            .await;
        assert_eq!(updated["config"]["ack_wait"], 1_000_000_000, "{updated}");
    }

    /// What persist's own endpoint says of its state; null where none runs.
    pub(crate) async fn state_of_persist(&self) -> Value {
        match self.operator.request("fn.chat.persist", "".into()).await {
            Ok(answer) => serde_json::from_slice(&answer.payload).unwrap(),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => Value::Null,
            Err(error) => panic!("persist's state: {error}"),
        }
    }

    /// Waits until everything in the log is settled: stored or a dead letter.
    pub(crate) async fn settled(&self) {
        until("everything in the log is settled", async || {
            let (log, consumer) = (self.log().await, self.consumer().await);
            let floor = &consumer["ack_floor"]["stream_seq"];
            (*floor == log["last_seq"] && consumer["num_ack_pending"] == 0).then_some(())
        })
        .await;
    }

    /// Every row, in the order of positions.
    pub(crate) async fn rows(&self) -> Vec<messages::Model> {
        let find = messages::Entity::find()
            .order_by_asc(messages::Column::Epoch)
            .order_by_asc(messages::Column::Seq);
        find.all(&self.database.pool).await.unwrap()
    }

    /// The texts of every row, in the order of positions.
    pub(crate) async fn texts(&self) -> Vec<String> {
        self.rows().await.into_iter().map(|row| row.text).collect()
    }

    /// A connection for [`dead_letter`]'s functions.
    pub(crate) async fn dead(&self) -> Nats {
        connect(&self.server, "dead", "_INBOX.s.dead").await
    }

    /// Every dead letter of chat, in the order in which the log had them.
    pub(crate) async fn dead_letters(&self) -> Vec<DeadLetter> {
        let mut letters = dead_letter::list(&self.dead().await, "chat", 0, 10_000)
            .await
            .unwrap();
        letters.sort_by_key(|letter| letter.sequence);
        letters
    }
}
