//! Joining a room at any moment: history and live together are one contiguous set (CHAT.md).

use std::cell::{Cell, RefCell};

use async_nats::Subscriber;
use futures_util::StreamExt;
use serde_json::json;

use crate::child;
use crate::person::{HistoryPage, Person};
use crate::wait::{until, within};
use crate::world::{World, append, on_each};

const JOINS: usize = 200;
const ROOM: &str = "chat.history.general";

/// A live message: its sequence, and that of the one before it in the room.
fn links(message: &async_nats::Message) -> (u64, u64) {
    let headers = message.headers.as_ref().unwrap();
    let number = |name| headers.get(name).unwrap().as_str().parse().unwrap();
    (number("Nats-Sequence"), number("Nats-Last-Sequence"))
}

fn seqs(page: &HistoryPage) -> impl Iterator<Item = u64> {
    page.messages
        .iter()
        .map(|message| message["seq"].as_u64().unwrap())
}

/// Joins, listens on for a while, and returns the sequences that are shown in the end.
async fn join(person: &Person, limit: usize, listen: usize) -> Vec<u64> {
    let mut live: Subscriber = person.hear("live.chat.general").await;
    let page = person.read_page(ROOM, json!({ "limit": limit })).await;
    let mut shown: Vec<u64> = seqs(&page).collect();
    let (epoch, mut head) = page.head;
    for _ in 0..listen {
        let (seq, before) = links(&within(live.next()).await.unwrap());
        if seq <= head {
            // In the answer already, or it is poison.
            continue;
        }
        // The chain is broken where the answer is behind what is heard: fetch what lies between.
        while before > head {
            let after = json!({ "after": { "epoch": epoch, "seq": head } });
            let page = person.read_page(ROOM, after).await;
            shown.extend(seqs(&page));
            assert!(
                page.head.1 > head || page.more,
                "history is behind what is heard live"
            );
            head = page.head.1;
        }
        if seq > head {
            shown.push(seq);
            head = seq;
        }
    }
    shown
}

#[tokio::test]
async fn joins_while_messages_flow_and_persist_is_killed_show_one_contiguous_set() {
    on_each(async |world: World| {
        world.notice_crashes_soon().await;
        let _serving = world.serve_only(&["history"]).await;
        let (backend, charlie) = (world.backend().await, world.person("charlie").await);
        let (sent, joined) = (RefCell::new(Vec::new()), Cell::new(0));
        let writing = async {
            while joined.get() < JOINS {
                let number = sent.borrow().len();
                let room = if number % 5 == 0 { "other" } else { "general" };
                let message = json!({ "user": "b", "text": number.to_string(), "timestamp": 1 });
                let subject = format!("chat.{room}");
                let seq = append(&backend, &subject, None, message.to_string()).await;
                sent.borrow_mut().push((room, seq));
            }
        };
        let killing = async {
            while joined.get() < JOINS {
                let mut persist = child::serve(&world, &["persist"]);
                let before = world.rows().await.len();
                until("persist has stored something", async || {
                    (world.rows().await.len() > before || joined.get() >= JOINS).then_some(())
                })
                .await;
                persist.kill().await.unwrap();
            }
        };
        let joining = async {
            let mut all = Vec::new();
            until("there is something to read", async || {
                (sent.borrow().len() > 20).then_some(())
            })
            .await;
            for number in 0..JOINS {
                all.push(join(&charlie, [1, 10, 50, 200][number % 4], number % 7).await);
                joined.set(number + 1);
            }
            all
        };

        let ((), (), joins) = futures_util::join!(writing, killing, joining);

        let general = sent
            .borrow()
            .iter()
            .filter(|(room, _)| *room == "general")
            .map(|(_, seq)| *seq)
            .collect::<Vec<_>>();
        for shown in &joins {
            let (first, last) = (shown[0], shown[shown.len() - 1]);
            let expected = general
                .iter()
                .copied()
                .filter(|seq| (first..=last).contains(seq));
            assert_eq!(*shown, expected.collect::<Vec<_>>(), "a gap or a duplicate");
        }
        let _persist = world.serve_only(&["persist"]).await;
        world.settled().await;
        let end = json!({ "limit": 1 });
        assert_eq!(
            seqs(&charlie.page(ROOM, end).await.unwrap()).next(),
            general.last().copied()
        );
        assert_eq!(world.rows().await.len(), sent.borrow().len());
    })
    .await;
}
