use std::any::Any;
use std::sync::Arc;

use sea_orm::ConnectionTrait;

use crate::error::Kind;
use crate::function::database::{Database, Inbox};
use crate::function::event::{Entry, Message};
use crate::nats::replay;
use crate::sql::scratch::{Scratch, begin, begin_of, entries, entries_nth, number};
use crate::sql::{SqlDatabase, Tx};

/// A function's effect for each message.
async fn effect(tx: Arc<dyn Any + Send + Sync>, seqs: &[u64]) {
    let tx = tx.downcast::<Tx>().unwrap();
    for seq in seqs {
        tx.execute_unprepared(&format!("INSERT INTO effects (id) VALUES ({seq})"))
            .await
            .unwrap();
    }
}

/// Runs a batch as a consumer does; returns what the function sees.
async fn deliver(database: &SqlDatabase, seqs: &[u64], failed: &[u64]) -> Vec<u64> {
    deliver_nth(database, 1, seqs, failed).await
}

/// The same, as the stream's `nth` delivery.
async fn deliver_nth(database: &SqlDatabase, nth: u64, seqs: &[u64], failed: &[u64]) -> Vec<u64> {
    let batch = entries_nth(nth, 1, 0, seqs.iter().copied());
    let transaction = loop {
        match begin(database, &batch).await {
            Ok(transaction) => break transaction,
            // On a busy machine others may keep all connections for a while.
            Err(error) if error.kind() == Kind::Unavailable => {}
            Err(error) => panic!("{error}"),
        }
    };
    let fresh: Vec<u64> = seqs
        .iter()
        .copied()
        .filter(|seq| !transaction.is_done(*seq))
        .collect();
    let good: Vec<u64> = fresh
        .iter()
        .copied()
        .filter(|seq| !failed.contains(seq))
        .collect();
    effect(transaction.handle(), &good).await;
    transaction.commit(failed).await.unwrap();
    fresh
}

#[tokio::test]
async fn redelivered_message_is_done_already() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        assert_eq!(deliver(&database, &[1, 2, 3], &[]).await, [1, 2, 3]);
        // The delivery count does not matter: a recreated consumer counts from 1.
        assert_eq!(deliver(&database, &[4, 3, 2, 5], &[]).await, [4, 5]);
        assert_eq!(deliver_nth(&database, 2, &[4, 6], &[]).await, [6]);
        let all = deliver_nth(&scratch.open(), 3, &[1, 2, 3, 4, 5, 6], &[]).await;
        assert_eq!(all, [0u64; 0]);
        let look = scratch.connect().await;
        assert_eq!(number(&look, "SELECT count(*) FROM effects").await, 6);
    }
}

#[tokio::test]
async fn first_delivery_that_is_known_as_a_second_one_is_done_once() {
    for scratch in Scratch::each().await {
        assert_eq!(deliver_nth(&scratch.open(), 2, &[1], &[]).await, [1]);
        assert_eq!(deliver(&scratch.open(), &[1, 2], &[]).await, [2]);
    }
}

#[tokio::test]
async fn batch_that_has_a_message_twice_is_an_attempt_that_failed() {
    for scratch in Scratch::each().await {
        let twice = entries(1, 0, [5, 6, 5]);
        let error = begin(&scratch.open(), &twice).await.err().unwrap();
        assert_eq!(
            error.kind(),
            Kind::Internal,
            "a batch that fails like this is halved"
        );
    }
}

#[tokio::test]
async fn failed_message_is_not_done() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        deliver(&database, &[1, 2, 3], &[2]).await;
        assert_eq!(deliver(&database, &[1, 2, 3], &[]).await, [2]);
    }
}

#[tokio::test]
async fn message_of_a_transaction_that_was_not_committed_is_not_done() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let rolled_back = begin(&database, &entries(1, 0, [1])).await.unwrap();
        effect(rolled_back.handle(), &[1]).await;
        rolled_back.rollback().await;
        let dropped = begin(&database, &entries(1, 0, [1])).await.unwrap();
        effect(dropped.handle(), &[1]).await;
        drop(dropped);
        assert_eq!(deliver(&database, &[1], &[]).await, [1]);
    }
}

#[tokio::test]
async fn two_processes_with_the_same_message_have_one_effect() {
    for scratch in Scratch::each().await {
        for (seq, commits) in [(1, true), (2, false)] {
            let (first, second) = (scratch.open(), scratch.open());
            let holder = begin(&first, &entries(1, 0, [seq])).await.unwrap();
            effect(holder.handle(), &[seq]).await;
            let waiter = tokio::spawn(async move {
                let transaction = begin(&second, &entries(1, 0, [seq])).await.unwrap();
                let done = transaction.is_done(seq);
                transaction.rollback().await;
                done
            });
            // A round trip, in which the other may begin; the result is right either way.
            number(&scratch.connect().await, "SELECT count(*) FROM effects").await;
            if commits {
                holder.commit(&[]).await.unwrap();
            } else {
                holder.rollback().await;
            }
            assert_eq!(waiter.await.unwrap(), commits);
        }
    }
}

#[tokio::test]
async fn many_processes_with_overlapping_batches_have_each_effect_once() {
    for scratch in Scratch::each().await {
        let databases: Vec<_> = (0..4).map(|_| Arc::new(scratch.open())).collect();
        let tasks: Vec<_> = (0..40u64)
            .map(|n| {
                let database = databases[n as usize % 4].clone();
                tokio::spawn(async move {
                    let seqs: Vec<u64> = (n * 5 + 1..n * 5 + 21).collect();
                    deliver(&database, &seqs, &[]).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(
            number(&scratch.connect().await, "SELECT count(*) FROM effects").await,
            39 * 5 + 20
        );
    }
}

#[tokio::test]
async fn first_batches_of_many_processes_have_each_effect_once() {
    for scratch in Scratch::each().await {
        let databases: Vec<_> = (0..4).map(|_| Arc::new(scratch.open())).collect();
        for life in 1..40u64 {
            let tasks: Vec<_> = (0..8usize)
                .map(|n| {
                    let database = databases[n % 4].clone();
                    // Half of them as redeliveries, which use the other statement.
                    let nth = 1 + n as u64 / 4;
                    tokio::spawn(async move {
                        let seqs = [life * 10 + n as u64 % 3, life * 10 + 3];
                        let batch = entries_nth(nth, life, 0, seqs);
                        let transaction = begin(&database, &batch).await.unwrap();
                        let fresh: Vec<u64> = seqs
                            .into_iter()
                            .filter(|seq| !transaction.is_done(*seq))
                            .collect();
                        effect(transaction.handle(), &fresh).await;
                        transaction.commit(&[]).await.unwrap();
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        }
        assert_eq!(
            number(&scratch.connect().await, "SELECT count(*) FROM effects").await,
            39 * 4
        );
    }
}

#[tokio::test]
async fn recreated_stream_is_not_hidden_by_its_earlier_life() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        deliver(&database, &[1, 2], &[]).await;
        let again = begin(&database, &entries(2, 0, [1, 2])).await.unwrap();
        assert!(!again.is_done(1) && !again.is_done(2));
        again.commit(&[]).await.unwrap();
        // The earlier life's rows are deleted with it.
        assert_eq!(
            number(
                &scratch.connect().await,
                "SELECT count(*) FROM natsfn_inbox"
            )
            .await,
            2
        );
    }
}

#[tokio::test]
async fn functions_do_not_hide_messages_from_each_other() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        deliver(&database, &[1], &[]).await;
        for (service, function) in [("shop", "bill"), ("other", "store")] {
            let inbox = Inbox {
                service,
                function,
                entries: &entries(1, 0, [1]),
                filter: &[],
            };
            let transaction = database.begin(Some(inbox)).await.unwrap();
            assert!(!transaction.is_done(1));
            transaction.commit(&[]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn batch_from_two_lives_of_a_stream_is_an_attempt_that_failed() {
    for scratch in Scratch::each().await {
        let mut both = entries(1, 0, [5]);
        both.extend(entries(2, 0, [5]));
        let error = begin(&scratch.open(), &both).await.err().unwrap();
        assert_eq!(
            error.kind(),
            Kind::Internal,
            "a batch that fails like this is halved"
        );
    }
}

#[tokio::test]
async fn rows_below_the_ack_floor_are_pruned_now_and_then() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let look = scratch.connect().await;
        for (floor, seqs, rows) in [
            (0, 1..501, 500),
            (500, 501..1_001, 1_000),
            (999, 1_001..1_501, 1_500),
            (1_000, 1_501..2_001, 1_000),
            (1_999, 2_001..2_002, 1_001),
            (2_000, 2_002..2_003, 2),
        ] {
            begin(&database, &entries(1, floor, seqs))
                .await
                .unwrap()
                .commit(&[])
                .await
                .unwrap();
            assert_eq!(
                number(&look, "SELECT count(*) FROM natsfn_inbox").await,
                rows,
                "floor {floor}"
            );
        }
    }
}

#[tokio::test]
async fn batch_keeps_its_own_rows_whatever_the_floor_says() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        begin(&database, &entries(1, 5_000, [7, 4_000]))
            .await
            .unwrap()
            .commit(&[])
            .await
            .unwrap();
        assert_eq!(
            number(
                &scratch.connect().await,
                "SELECT count(*) FROM natsfn_inbox"
            )
            .await,
            2
        );
    }
}

#[tokio::test]
async fn batch_of_fifty_thousand_is_within_the_databases_limits() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let batch = entries(1, 0, 1..50_001);
        let failed: Vec<u64> = (1..40_001).collect();
        begin(&database, &batch)
            .await
            .unwrap()
            .commit(&failed)
            .await
            .unwrap();
        let again = begin(&database, &batch).await.unwrap();
        assert!(!again.is_done(40_000) && again.is_done(40_001));
    }
}

#[tokio::test]
async fn empty_batch_is_nothing() {
    for scratch in Scratch::each().await {
        begin(&scratch.open(), &[])
            .await
            .unwrap()
            .commit(&[])
            .await
            .unwrap();
    }
}

/// One message of the stream that was stored at this time, in ns.
fn stored_at(seq: u64, time_ns: i64, floor: u64) -> Vec<Arc<Entry>> {
    changed(entries(1, floor, [seq]), |message| {
        message.time_ns = time_ns;
    })
}

fn changed(batch: Vec<Arc<Entry>>, change: impl Fn(&mut Message)) -> Vec<Arc<Entry>> {
    let entries = batch.into_iter().map(|entry| {
        let mut entry = Arc::into_inner(entry).unwrap();
        change(&mut entry.message);
        Arc::new(entry)
    });
    entries.collect()
}

/// Whether the function would not see the only message; then the transaction is committed.
async fn is_done(database: &SqlDatabase, batch: &[Arc<Entry>]) -> bool {
    is_done_of("orders.>", database, batch).await
}

/// The same, where the consumer has this filter.
async fn is_done_of(filter: &str, database: &SqlDatabase, batch: &[Arc<Entry>]) -> bool {
    let transaction = begin_of(filter, database, batch).await.unwrap();
    let done = transaction.is_done(batch[0].seq());
    transaction.commit(&[]).await.unwrap();
    done
}

#[tokio::test]
async fn sequence_that_a_log_uses_again_is_another_message() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        assert!(!is_done(&database, &stored_at(7, 100, 0)).await);
        assert!(
            !is_done(&database, &stored_at(7, 200, 0)).await,
            "rolled back"
        );
        for time_ns in [100, 200] {
            assert!(is_done(&database, &stored_at(7, time_ns, 0)).await);
        }
    }
}

#[tokio::test]
async fn message_that_was_settled_long_ago_is_done_though_its_row_is_gone() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        for (seq, floor) in [(1, 0), (2, 1), (5_001, 5_000)] {
            assert!(!is_done(&database, &stored_at(seq, seq.cast_signed(), floor)).await);
        }
        let look = scratch.connect().await;
        assert_eq!(number(&look, "SELECT count(*) FROM natsfn_inbox").await, 1);
        // An instance that hung with it, a recreated consumer, a new process.
        for database in [database, scratch.open()] {
            assert!(is_done(&database, &stored_at(2, 2, 1)).await);
            let again = entries_nth(3, 1, 0, [1, 2, 5_001, 5_002]);
            let again = changed(again, |message| message.time_ns = message.seq.cast_signed());
            let transaction = begin(&database, &again).await.unwrap();
            let fresh: Vec<u64> = [1, 2, 5_001, 5_002]
                .into_iter()
                .filter(|seq| !transaction.is_done(*seq))
                .collect();
            assert_eq!(fresh, [5_002]);
            transaction.rollback().await;
        }
    }
}

#[tokio::test]
async fn messages_of_a_log_that_was_rolled_back_far_are_not_hidden_by_what_was_settled_before() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        assert!(!is_done(&database, &stored_at(5_001, 100, 5_000)).await);
        // The log starts again at 3,000, and soon its floor is due for pruning again.
        for (seq, floor) in [(3_001, 3_000), (3_002, 3_000), (4_200, 3_001)] {
            assert!(
                !is_done(&database, &stored_at(seq, 200, floor)).await,
                "{seq}"
            );
        }
        assert!(
            !is_done(&database, &stored_at(3_500, 200, 3_001)).await,
            "it failed until now"
        );
        assert!(is_done(&database, &stored_at(3_500, 200, 3_001)).await);
        assert!(!is_done(&scratch.open(), &stored_at(6_001, 300, 6_000)).await);
        assert!(is_done(&database, &stored_at(3_001, 200, 3_000)).await);
    }
}

/// Message 9 as the replay of a dead letter that was message 4.
fn replay_of_4(nth: u64, seq: u64) -> Vec<Arc<Entry>> {
    changed(entries_nth(nth, 1, 0, [seq]), |message| {
        message.headers.insert(replay::FOR, "shop.store");
        message.headers.insert(replay::OF, "ORDERS.4-0");
    })
}

#[tokio::test]
async fn replayed_message_is_done_once_however_often_it_is_replayed_or_comes_again() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        deliver(&database, &[4, 5], &[4]).await;
        assert!(!is_done(&database, &replay_of_4(1, 9)).await);
        assert!(is_done(&database, &replay_of_4(2, 9)).await, "redelivered");
        assert!(
            is_done(&database, &replay_of_4(1, 10)).await,
            "replayed again"
        );
        // Pruning deletes neither.
        assert!(!is_done(&database, &stored_at(5_001, 1, 5_000)).await);
        assert!(!is_done(&scratch.open(), &stored_at(7_001, 1, 7_000)).await);
        assert!(is_done(&database, &replay_of_4(1, 7_002)).await);
    }
}

#[tokio::test]
async fn replay_of_a_message_that_was_stored_after_all_changes_nothing() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        deliver(&database, &[4], &[]).await;
        assert!(is_done(&database, &replay_of_4(1, 9)).await);
    }
}

#[tokio::test]
async fn replayed_message_that_fails_is_not_done() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        // Below the settled sequence, as every dead letter is soon.
        assert!(!is_done(&database, &stored_at(5_001, 1, 5_000)).await);
        let transaction = begin(&database, &replay_of_4(1, 5_002)).await.unwrap();
        assert!(!transaction.is_done(5_002));
        transaction.commit(&[5_002]).await.unwrap();
        assert!(!is_done(&database, &replay_of_4(1, 5_003)).await);
    }
}

#[tokio::test]
async fn rows_from_before_the_inbox_knew_times_still_hide_what_comes_again() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let look = scratch.connect().await;
        for sql in [
            "INSERT INTO natsfn_life (service, function, stream, stream_created_ns) \
             VALUES ('shop', 'store', 'ORDERS', 1000000000)",
            "INSERT INTO natsfn_inbox (life, seq, time_ns) VALUES (1, 7, 0)",
        ] {
            look.execute_unprepared(sql).await.unwrap();
        }
        let again = changed(entries_nth(2, 1, 0, [7]), |message| message.time_ns = 5);
        assert!(is_done(&database, &again).await);
    }
}

#[tokio::test]
async fn rows_from_before_the_inbox_knew_times_hide_what_comes_to_a_new_consumer() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let look = scratch.connect().await;
        for sql in [
            "INSERT INTO natsfn_life (service, function, stream, stream_created_ns) \
             VALUES ('shop', 'store', 'ORDERS', 1000000000)",
            "INSERT INTO natsfn_inbox (life, seq, time_ns) VALUES (1, 7, 0), (1, 9, 0)",
        ] {
            look.execute_unprepared(sql).await.unwrap();
        }
        // A recreated consumer counts its deliveries from 1.
        for (seq, done) in [(7, true), (8, false), (9, true), (10, false)] {
            assert_eq!(
                is_done(&database, &stored_at(seq, 5, 0)).await,
                done,
                "{seq}"
            );
        }
    }
}

#[tokio::test]
async fn messages_that_a_wider_filter_brings_are_not_hidden_by_what_was_settled_before() {
    let of = |subject: &'static str, seq: u64, floor| {
        changed(stored_at(seq, seq.cast_signed(), floor), |message| {
            message.subject = subject.into();
        })
    };
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let (narrow, wide) = ("orders.eu", "orders.>");
        for (seq, floor) in [(1, 0), (3, 1), (5_001, 5_000)] {
            assert!(!is_done_of(narrow, &database, &of("orders.eu", seq, floor)).await);
        }
        // The filter is widened and the consumer recreated; in one process and in another.
        for (seq, database) in [(2, &database), (4, &scratch.open())] {
            assert!(
                !is_done_of(wide, database, &of("orders.us", seq, 1)).await,
                "{seq}"
            );
            assert!(
                is_done_of(wide, database, &of("orders.us", seq, 1)).await,
                "{seq}"
            );
            assert!(is_done_of(wide, database, &of("orders.eu", 3, 1)).await);
        }
        // More is settled, then the filter is narrowed: what the consumer skips then is not settled.
        let database = scratch.open();
        assert!(!is_done_of(wide, &database, &of("orders.us", 6_001, 6_000)).await);
        let database = scratch.open();
        assert!(!is_done_of("orders.us", &database, &of("orders.us", 8_001, 8_000)).await);
        let database = scratch.open();
        assert!(!is_done_of(wide, &database, &of("orders.eu", 7_000, 0)).await);
    }
}

#[tokio::test]
async fn what_a_consumer_without_filter_has_settled_stays_settled() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        for (seq, floor) in [(1, 0), (3, 1), (5_001, 5_000)] {
            assert!(!is_done_of("", &database, &stored_at(seq, seq.cast_signed(), floor)).await);
        }
        for database in [&database, &scratch.open()] {
            assert!(is_done_of("", database, &stored_at(3, 3, 1)).await);
        }
    }
}
