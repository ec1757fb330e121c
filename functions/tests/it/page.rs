//! Pages of a room: complete in both directions, whatever is stored already.

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::person::Person;
use crate::wait::GUARD;
use crate::world::{World, append, on_each};

/// Walks a room by pages and returns the sequences in the order of the room.
async fn walk(person: &Person, direction: &str, start: Value, limit: usize) -> Vec<u64> {
    let (mut walked, mut at) = (Vec::new(), start);
    loop {
        let question = json!({ direction: at, "limit": limit });
        let page = person.page("chat.history.general", question).await.unwrap();
        let seqs = page
            .messages
            .iter()
            .map(|message| message["seq"].as_u64().unwrap());
        let seqs: Vec<u64> = seqs.collect();
        assert!(
            seqs.len() == limit || !page.more,
            "{} of {limit}, and more",
            seqs.len()
        );
        let back = direction == "before";
        let next = if back {
            page.messages.first()
        } else {
            page.messages.last()
        };
        if let Some(next) = next {
            at = next.clone();
        }
        walked = if back {
            [seqs, walked].concat()
        } else {
            [walked, seqs].concat()
        };
        if !page.more {
            return walked;
        }
    }
}

/// Logs messages, every third of them in another room, and returns the sequences of the room.
async fn fill(world: &World, ids: std::ops::Range<usize>) -> Vec<u64> {
    let backend = world.backend().await;
    let appends = stream::iter(ids).map(|id| {
        let backend = &backend;
        async move {
            let room = if id % 3 == 0 { "other" } else { "general" };
            let id = format!("m{id}");
            let message = json!({ "user": "b", "text": &id, "timestamp": 1 }).to_string();
            let subject = format!("chat.{room}");
            (room, append(backend, &subject, Some(&id), message).await)
        }
    });
    let mut seqs: Vec<u64> = appends
        .buffer_unordered(200)
        .filter_map(async |(room, seq)| (room == "general").then_some(seq))
        .collect()
        .await;
    seqs.sort_unstable();
    seqs
}

#[tokio::test]
async fn pages_walk_a_room_without_gap_or_duplicate_in_both_directions() {
    on_each(async |world: World| {
        let persist = world.serve_only(&["persist"]).await;
        let stored = fill(&world, 0..900).await;
        world.settled().await;
        persist.stop(GUARD).await;
        let waiting = fill(&world, 900..1_500).await;
        let room = [stored, waiting].concat();
        assert_eq!((room.len(), world.rows().await.len()), (1_000, 900));
        let _running = world.serve_only(&["history"]).await;
        let charlie = world.person("charlie").await;
        let epoch = charlie
            .page("chat.history.general", Value::Null)
            .await
            .unwrap()
            .head
            .0;

        for limit in [37, 100, 200] {
            let end = json!({ "epoch": epoch, "seq": 1_000_000 });
            assert_eq!(walk(&charlie, "before", end, limit).await, room);
            let start = json!({ "epoch": 0, "seq": 0 });
            assert_eq!(walk(&charlie, "after", start, limit).await, room);
        }
    })
    .await;
}

#[tokio::test]
async fn page_says_whether_more_lies_in_its_direction_and_up_to_where_the_room_is_known() {
    on_each(async |world: World| {
        let persist = world.serve_only(&["persist"]).await;
        let stored = fill(&world, 0..90).await;
        world.settled().await;
        persist.stop(GUARD).await;
        let waiting = fill(&world, 90..120).await;
        let room = [stored.clone(), waiting].concat();
        let _running = world.serve_only(&["history"]).await;
        let charlie = world.person("charlie").await;
        let page = async |question| {
            charlie
                .page("chat.history.general", question)
                .await
                .unwrap()
        };

        let last = page(Value::Null).await;
        assert_eq!(
            (last.messages.len(), last.more),
            (50, true),
            "fifty unless told otherwise"
        );
        assert_eq!(last.head.1, *room.last().unwrap());
        let at = |seq: u64| json!({ "epoch": last.head.0, "seq": seq });

        // Exactly as many as there are is not more.
        let before = page(json!({ "before": at(room[10]), "limit": 10 })).await;
        assert_eq!((before.messages.len(), before.more), (10, false));
        let before = page(json!({ "before": at(room[10]), "limit": 9 })).await;
        assert_eq!((before.messages.len(), before.more), (9, true));
        assert_eq!(before.messages[0]["seq"], room[1]);

        // A page that ends in the middle knows the room up to its end, or as far as it is stored.
        let after = page(json!({ "after": at(room[69]), "limit": 9 })).await;
        assert_eq!((after.messages.len(), after.more), (9, true));
        assert_eq!(after.head.1, room[78]);
        let after = page(json!({ "after": at(room[69]), "limit": 10 })).await;
        assert_eq!((after.messages.len(), after.more), (10, false));
        assert_eq!(after.head.1, room[79]);
        let nothing = page(json!({ "after": at(room[79]) })).await;
        assert_eq!((nothing.messages.len(), nothing.more), (0, false));
        assert_eq!(nothing.head.1, room[79]);
    })
    .await;
}

#[tokio::test]
async fn page_that_would_not_fit_into_a_message_ends_early_on_its_far_side() {
    on_each(async |world: World| {
        let running = world.serve().await;
        let alice = world.person("alice").await;
        // 12 KB each: 256 KB hold about twenty.
        let long = "ы€".repeat(2_000);
        let mut seqs = Vec::new();
        for id in 0..60 {
            let id = id.to_string();
            seqs.push(
                alice
                    .send("chat.send.general", &id, &long)
                    .await
                    .unwrap()
                    .seq,
            );
            if id == "40" {
                world.settled().await;
            }
        }
        let page = alice
            .page("chat.history.general", Value::Null)
            .await
            .unwrap();
        assert!(
            (15..50).contains(&page.messages.len()),
            "{}",
            page.messages.len()
        );
        assert!(page.more);
        assert_eq!(page.messages.last().unwrap()["seq"], *seqs.last().unwrap());

        let start = json!({ "epoch": 0, "seq": 0 });
        let question = json!({ "after": start, "limit": 50 });
        let page = alice.page("chat.history.general", question).await.unwrap();
        assert!(page.more);
        assert_eq!(page.messages[0]["seq"], seqs[0]);
        let (mut walked, mut at) = (Vec::new(), start);
        loop {
            let question = json!({ "after": at, "limit": 50 });
            let page = alice.page("chat.history.general", question).await.unwrap();
            walked.extend(
                page.messages
                    .iter()
                    .map(|message| message["seq"].as_u64().unwrap()),
            );
            at = page.messages.last().unwrap().clone();
            if !page.more {
                break;
            }
        }
        assert_eq!(walked, seqs);
        running.stop(GUARD).await;
    })
    .await;
}
