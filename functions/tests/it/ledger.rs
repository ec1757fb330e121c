//! Writers that repeat what was not acknowledged, and the ledger of what was.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_nats::Request;
use chat::send::Sent;
use futures_util::future::join_all;
use serde_json::json;

use crate::person::{Person, read};
use crate::world::World;

/// What was acknowledged: the sequence of each `(uid, id)`.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<(String, String), u64>>);

impl Ledger {
    /// How many messages are acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Lets that many writers send that many messages each, one in flight.
    pub(crate) async fn write(&self, world: &World, writers: usize, each: usize) {
        let all = (0..writers).map(async |writer| {
            let name = ["alice", "bob"][writer % 2];
            let person = world.person(name).await;
            for number in 0..each {
                self.send(&person, name, &format!("{writer}-{number}"))
                    .await;
            }
        });
        join_all(all).await;
    }

    /// Sends until it is acknowledged, under the same id: that settles what is unknown.
    async fn send(&self, person: &Person, uid: &str, id: &str) {
        let draft = json!({ "id": id, "text": format!("text {id}") }).to_string();
        loop {
            let request = Request::new()
                .payload(draft.clone().into())
                .timeout(Some(Duration::from_secs(2)));
            let Ok(answer) = person.nats.send_request("chat.send.general", request).await else {
                tokio::task::yield_now().await;
                continue;
            };
            match read::<Sent>(&answer) {
                Ok(sent) => {
                    let key = (uid.to_owned(), id.to_owned());
                    let other = self.0.lock().unwrap().insert(key, sent.seq);
                    assert_eq!(other, None);
                    return;
                }
                Err(error) => assert!(matches!(error.code, 503 | 504), "{error:?}"),
            }
        }
    }

    /// Compares with the table: every acknowledged message once, at its sequence, nothing else, and
    /// each writer's in the order of writing.
    pub(crate) async fn check(&self, world: &World) {
        assert_eq!(world.dead_letters().await.len(), 0);
        let rows = world.rows().await;
        let stored: BTreeMap<(String, String), u64> = rows
            .iter()
            .map(|row| {
                (
                    (row.uid.clone(), row.msg_id.clone()),
                    row.seq.cast_unsigned(),
                )
            })
            .collect();
        assert_eq!(stored.len(), rows.len(), "a message is stored twice");
        let acknowledged = self.0.lock().unwrap();
        let lost: Vec<_> = acknowledged
            .keys()
            .filter(|key| !stored.contains_key(key))
            .collect();
        assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");
        assert_eq!(
            stored, *acknowledged,
            "stored and never sent, or at another sequence"
        );
        let mut last: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &rows {
            let (writer, number) = row.msg_id.split_once('-').unwrap();
            let number = number.parse().unwrap();
            let before = last.insert(writer, number);
            assert!(
                before.is_none_or(|before| before < number),
                "writer {writer}: {before:?} {number}"
            );
        }
    }
}
