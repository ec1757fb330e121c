use std::sync::Arc;

use sea_orm::{TransactionSession, TransactionTrait};

use super::*;
use crate::function::database::{Database, Transaction};
use crate::sql::scratch::{Network, Scratch, begin, entries, number, open};

pub(super) fn of(transaction: &dyn Transaction) -> Tx {
    Arc::unwrap_or_clone(transaction.handle().downcast::<Tx>().unwrap())
}

async fn insert(db: &impl ConnectionTrait, id: u64) -> Result<(), DbErr> {
    db.execute_unprepared(&format!("INSERT INTO effects (id) VALUES ({id})"))
        .await
        .map(drop)
}

pub(super) async fn stored(scratch: &Scratch) -> i64 {
    number(&scratch.connect().await, "SELECT count(*) FROM effects").await
}

#[tokio::test]
async fn effect_and_inbox_are_committed_together() {
    for scratch in Scratch::each().await {
        let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
        insert(&of(&*transaction), 1).await.unwrap();
        assert_eq!(stored(&scratch).await, 0);
        transaction.commit(&[]).await.unwrap();
        assert_eq!(stored(&scratch).await, 1);
    }
}

#[tokio::test]
async fn transaction_that_a_function_keeps_is_rolled_back_and_ended() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let kept = of(&*transaction);
        insert(&kept, 1).await.unwrap();
        let error = transaction.commit(&[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal);
        assert!(error.message().contains("still holds its Tx"), "{error}");
        assert!(
            insert(&kept, 2)
                .await
                .unwrap_err()
                .to_string()
                .contains("over")
        );
        assert!(kept.begin().await.is_err());
        // It has ended although something holds it: the next one does not wait for it.
        begin(&database, &entries(1, 0, [1]))
            .await
            .unwrap()
            .commit(&[])
            .await
            .unwrap();
        assert_eq!(stored(&scratch).await, 0);
    }
}

#[tokio::test]
async fn savepoint_that_a_function_keeps_cannot_commit() {
    for scratch in Scratch::each().await {
        let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
        let savepoint = of(&*transaction).begin().await.unwrap();
        insert(&savepoint, 1).await.unwrap();
        assert!(transaction.commit(&[]).await.is_err());
        assert!(insert(&savepoint, 2).await.is_err());
        assert!(savepoint.commit().await.is_err());
        assert_eq!(stored(&scratch).await, 0);
    }
}

#[tokio::test]
async fn transaction_dropped_by_the_runtime_ends_although_a_function_keeps_it() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let kept = of(&*transaction);
        insert(&kept, 1).await.unwrap();
        drop(transaction);
        begin(&database, &entries(1, 0, [1]))
            .await
            .unwrap()
            .commit(&[])
            .await
            .unwrap();
        assert!(insert(&kept, 2).await.is_err());
        assert_eq!(stored(&scratch).await, 0);
    }
}

#[tokio::test]
async fn failed_statement_that_is_passed_over_is_not_committed_as_a_success_on_postgres() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        insert(&tx, 1).await.unwrap();
        insert(&tx, 1).await.unwrap_err();
        drop(tx);
        let committed = transaction.commit(&[]).await;
        if scratch.is_postgres() {
            // PostgreSQL itself would answer COMMIT with a rollback that is no error.
            let error = committed.unwrap_err();
            assert_eq!(error.kind(), Kind::Internal);
            assert!(error.message().contains("savepoint"), "{error}");
            assert_eq!(stored(&scratch).await, 0);
        } else {
            committed.unwrap();
            assert_eq!(stored(&scratch).await, 1);
        }
    }
}

#[tokio::test]
async fn transaction_that_the_function_ended_by_itself_is_no_success() {
    let [_, postgres] = Scratch::each().await;
    let database = postgres.open();
    for end in ["ROLLBACK", "SELECT 1; rollback; SELECT 2"] {
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        insert(&tx, 1).await.unwrap();
        tx.execute_unprepared(end).await.unwrap();
        drop(tx);
        transaction.commit(&[]).await.unwrap_err();
        assert_eq!(stored(&postgres).await, 0);
    }
}

#[tokio::test]
async fn savepoint_that_was_done_and_is_rolled_back_after_all_is_no_success() {
    let [_, postgres] = Scratch::each().await;
    let transaction = begin(&postgres.open(), &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    let (outer, inner) = (tx.begin().await.unwrap(), tx.begin().await.unwrap());
    insert(&outer, 1).await.unwrap();
    outer.commit().await.unwrap();
    inner.rollback().await.unwrap();
    insert(&tx, 1).await.unwrap();
    insert(&tx, 1).await.unwrap_err();
    // sqlx rolls the innermost back, which is `outer`.
    tx.begin().await.err().unwrap();
    drop(tx);
    transaction.commit(&[]).await.unwrap_err();
    assert_eq!(stored(&postgres).await, 0);
}

#[tokio::test]
async fn savepoint_that_cannot_begin_is_no_success() {
    let [_, postgres] = Scratch::each().await;
    let database = postgres.open();
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    insert(&tx, 1).await.unwrap();
    insert(&tx, 1).await.unwrap_err();
    // sqlx rolls all of it back, and every later statement would be committed alone.
    tx.begin().await.err().unwrap();
    insert(&tx, 2).await.unwrap_err();
    drop(tx);
    transaction.commit(&[]).await.unwrap_err();
    assert_eq!(stored(&postgres).await, 0);

    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    insert(&tx, 1).await.unwrap();
    let part = tx.begin().await.unwrap();
    insert(&part, 2).await.unwrap();
    insert(&part, 2).await.unwrap_err();
    part.begin().await.err().unwrap();
    part.rollback().await.unwrap();
    drop(tx);
    transaction.commit(&[]).await.unwrap();
    assert_eq!(stored(&postgres).await, 1);
}

#[tokio::test]
async fn savepoint_whose_beginning_is_dropped_leaves_all_or_nothing() {
    for times in 0..8 {
        for scratch in Scratch::each().await {
            let transaction = begin(&scratch.open(), &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            insert(&tx, 1).await.unwrap();
            {
                let mut begun = std::pin::pin!(tx.begin());
                for _ in 0..times {
                    if futures_util::poll!(&mut begun).is_ready() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
            }
            let later = insert(&tx, 2).await;
            drop(tx);
            let committed = transaction.commit(&[]).await;
            assert!(later.is_ok() || committed.is_err(), "{times}");
            let rows = if committed.is_ok() { 2 } else { 0 };
            assert_eq!(stored(&scratch).await, rows, "{times}");
        }
    }
}

#[tokio::test]
async fn savepoints_side_by_side_end_each_for_itself() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let begun = async || {
            let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
            let tx = of(&*transaction);
            let outer = tx.begin().await.unwrap();
            insert(&outer, 1).await.unwrap();
            let inner = tx.begin().await.unwrap();
            insert(&inner, 2).await.unwrap();
            (transaction, outer, inner)
        };

        // What is rolled back takes what is open in it along.
        let (transaction, outer, inner) = begun().await;
        outer.rollback().await.unwrap();
        inner.commit().await.unwrap_err();
        drop(transaction.commit(&[]).await);
        assert_eq!(stored(&scratch).await, 0);

        let (transaction, outer, inner) = begun().await;
        outer.commit().await.unwrap();
        inner.rollback().await.unwrap();
        transaction.commit(&[]).await.unwrap();
        assert_eq!(stored(&scratch).await, 1);
        let connection = scratch.connect().await;
        connection
            .execute_unprepared("DELETE FROM effects")
            .await
            .unwrap();

        let transaction = begin(&database, &entries(1, 1, [2])).await.unwrap();
        let tx = of(&*transaction);
        let one = tx.transaction(|part| Box::pin(async move { insert(part, 1).await }));
        let two = tx.transaction(|part| Box::pin(async move { insert(part, 2).await }));
        futures_util::try_join!(one, two).unwrap();
        drop(tx);
        transaction.commit(&[]).await.unwrap();
        assert_eq!(stored(&scratch).await, 2);
        connection
            .execute_unprepared("DELETE FROM effects")
            .await
            .unwrap();

        let transaction = begin(&database, &entries(1, 2, [3])).await.unwrap();
        let tx = of(&*transaction);
        let outer = tx.begin().await.unwrap();
        insert(&outer, 1).await.unwrap();
        let inner = tx.begin().await.unwrap();
        insert(&inner, 2).await.unwrap();
        inner.commit().await.unwrap();
        outer.commit().await.unwrap();
        drop(tx);
        transaction.commit(&[]).await.unwrap();
        assert_eq!(stored(&scratch).await, 2);
    }
}

#[tokio::test]
async fn savepoint_that_a_task_keeps_holds_no_lock() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let kept = of(&*transaction).begin().await.unwrap();
        insert(&kept, 1).await.unwrap();
        transaction.commit(&[]).await.unwrap_err();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        insert(&of(&*transaction), 1).await.unwrap();
        transaction.commit(&[]).await.unwrap();
        insert(&kept, 2).await.unwrap_err();
        assert_eq!(stored(&scratch).await, 1);
    }
}

#[tokio::test]
async fn statement_beside_one_with_which_sqlite_rolls_back_is_not_committed_alone() {
    let [sqlite, _] = Scratch::each().await;
    let transaction = begin(&sqlite.open(), &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    insert(&tx, 1).await.unwrap();
    let (failed, alone) = futures_util::join!(tx.execute_unprepared(ROLLS_BACK), insert(&tx, 2));
    failed.unwrap_err();
    alone.unwrap_err();
    drop(tx);
    transaction.commit(&[]).await.unwrap_err();
    assert_eq!(stored(&sqlite).await, 0);
}

#[tokio::test]
async fn savepoint_after_a_dropped_statement_with_which_sqlite_rolls_back_stores_nothing() {
    for times in 0..8 {
        let [sqlite, _] = Scratch::each().await;
        let transaction = begin(&sqlite.open(), &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        insert(&tx, 1).await.unwrap();
        {
            let mut rolls_back = std::pin::pin!(tx.execute_unprepared(ROLLS_BACK));
            for _ in 0..times {
                if futures_util::poll!(&mut rolls_back).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        if let Ok(part) = tx.begin().await {
            drop(insert(&part, 2).await);
            drop(part.commit().await);
        }
        drop(tx);
        // Where the statement never began, the transaction is as it was.
        let rows = if transaction.commit(&[]).await.is_ok() {
            2
        } else {
            0
        };
        assert_eq!(stored(&sqlite).await, rows, "{times}");
    }
}

#[tokio::test]
async fn failed_statement_in_a_savepoint_leaves_the_rest() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        insert(&tx, 1).await.unwrap();
        let savepoint = tx.begin().await.unwrap();
        insert(&savepoint, 2).await.unwrap();
        insert(&savepoint, 1).await.unwrap_err();
        savepoint.rollback().await.unwrap();
        let dropped = tx.begin().await.unwrap();
        insert(&dropped, 3).await.unwrap();
        drop(dropped);
        let good = tx.begin().await.unwrap();
        insert(&good, 4).await.unwrap();
        good.commit().await.unwrap();
        let outcome = tx
            .transaction(|inner| Box::pin(async move { insert(inner, 5).await }))
            .await;
        outcome.unwrap();
        drop(tx);
        transaction.commit(&[]).await.unwrap();
        assert_eq!(
            number(
                &scratch.connect().await,
                "SELECT CAST(sum(id) AS bigint) FROM effects"
            )
            .await,
            10
        );
    }
}

#[tokio::test]
async fn writers_that_read_first_wait_for_each_other() {
    for scratch in Scratch::each().await {
        let database = Arc::new(scratch.open());
        let tasks: Vec<_> = (0..50)
            .map(|id| {
                let database = database.clone();
                tokio::spawn(async move {
                    let transaction = database.begin(None).await?;
                    let tx = of(&*transaction);
                    number(&tx, "SELECT count(*) FROM effects").await;
                    insert(&tx, id).await?;
                    drop(tx);
                    transaction.commit(&[]).await
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(stored(&scratch).await, 50);
    }
}

#[tokio::test]
async fn full_disk_ends_the_transaction_even_if_the_function_goes_on() {
    let [sqlite, _] = Scratch::each().await;
    let database = sqlite.open();
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    insert(&tx, 1).await.unwrap();
    tx.execute_unprepared("PRAGMA max_page_count = 1")
        .await
        .unwrap();
    let error = tx
        .execute_unprepared("INSERT INTO effects (id, note) VALUES (2, hex(zeroblob(100000)))")
        .await;
    assert_eq!(Error::from(error.unwrap_err()).kind(), Kind::Unavailable);
    assert!(insert(&tx, 3).await.is_err());
    drop(tx);
    assert_eq!(
        transaction.commit(&[]).await.unwrap_err().kind(),
        Kind::Unavailable
    );
    assert_eq!(stored(&sqlite).await, 0);
}

#[tokio::test]
async fn postgres_that_ends_the_connection_is_unavailable_and_the_next_transaction_works() {
    let [_, postgres] = Scratch::each().await;
    let database = postgres.open();
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    insert(&tx, 1).await.unwrap();
    let pid = number(&tx, "SELECT CAST(pg_backend_pid() AS bigint)").await;
    drop(tx);
    let other = postgres.connect().await;
    other
        .execute_unprepared(&format!("SELECT pg_terminate_backend({pid})"))
        .await
        .unwrap();
    assert_eq!(
        transaction.commit(&[]).await.unwrap_err().kind(),
        Kind::Unavailable
    );
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    assert!(!transaction.is_done(1));
    insert(&of(&*transaction), 1).await.unwrap();
    transaction.commit(&[]).await.unwrap();
    assert_eq!(stored(&postgres).await, 1);
}

#[tokio::test]
async fn database_that_stands_still_is_unavailable_within_ten_seconds() {
    let [_, postgres] = Scratch::each().await;
    let network = Network::before(&postgres).await;
    let database = open(&network.url);
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    network.stand_still();
    // From here only the clock moves: nothing comes from the network.
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = Error::from(insert(&tx, 1).await.unwrap_err());
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(
        start.elapsed() <= std::time::Duration::from_secs(11),
        "{:?}",
        start.elapsed()
    );
    drop(tx);
    assert_eq!(
        transaction.commit(&[]).await.unwrap_err().kind(),
        Kind::Unavailable
    );
    let start = tokio::time::Instant::now();
    let error = begin(&database, &entries(1, 0, [2])).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(
        start.elapsed() <= std::time::Duration::from_secs(11),
        "{:?}",
        start.elapsed()
    );
    tokio::time::resume();
    network.flow();
    begin(&database, &entries(1, 0, [1]))
        .await
        .unwrap()
        .commit(&[])
        .await
        .unwrap();
    assert_eq!(stored(&postgres).await, 0);
}

#[tokio::test]
async fn server_that_is_gone_is_unavailable_and_found_again() {
    let [_, postgres] = Scratch::each().await;
    let network = Network::before(&postgres).await;
    let database = open(&network.url);
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    network.cut();
    let error = Error::from(insert(&tx, 1).await.unwrap_err());
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    drop(tx);
    assert_eq!(
        transaction.commit(&[]).await.unwrap_err().kind(),
        Kind::Unavailable
    );
    let error = begin(&database, &entries(1, 0, [1])).await.err().unwrap();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    network.flow();
    begin(&database, &entries(1, 0, [1]))
        .await
        .unwrap()
        .commit(&[])
        .await
        .unwrap();
}

const ROLLS_BACK: &str = "INSERT OR ROLLBACK INTO effects (id) VALUES (1)";

#[tokio::test]
async fn statement_with_which_sqlite_rolls_back_ends_the_transaction() {
    let [sqlite, _] = Scratch::each().await;
    let transaction = begin(&sqlite.open(), &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    insert(&tx, 1).await.unwrap();
    tx.execute_unprepared(ROLLS_BACK).await.unwrap_err();
    // It would be committed alone, and stored again when the message is redelivered.
    insert(&tx, 2).await.unwrap_err();
    drop(tx);
    let error = transaction.commit(&[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(stored(&sqlite).await, 0);
}

#[tokio::test]
async fn dropped_statement_with_which_sqlite_rolls_back_ends_the_transaction() {
    for times in 0..8 {
        let [sqlite, _] = Scratch::each().await;
        let transaction = begin(&sqlite.open(), &entries(1, 0, [1])).await.unwrap();
        let tx = of(&*transaction);
        insert(&tx, 1).await.unwrap();
        let mut statement = Box::pin(tx.execute_unprepared(ROLLS_BACK));
        for _ in 0..times {
            if futures_util::poll!(statement.as_mut()).is_ready() {
                break;
            }
        }
        drop(statement);
        // Whether it was begun or not: all of the transaction or nothing.
        let second = insert(&tx, 2).await;
        drop(tx);
        let committed = transaction.commit(&[]).await;
        assert_eq!(second.is_ok(), committed.is_ok());
        let rows = if committed.is_ok() { 2 } else { 0 };
        assert_eq!(stored(&sqlite).await, rows, "{times} polls");
    }
}

#[tokio::test]
async fn role_and_search_path_of_a_function_are_not_the_runtimes() {
    let [_, postgres] = Scratch::each().await;
    let sets = [
        "SET LOCAL ROLE pg_monitor",
        "SET ROLE pg_monitor",
        "SET LOCAL search_path = pg_catalog",
        "SET search_path = pg_catalog",
    ];
    for (seq, set) in (1..).zip(sets) {
        for failed in [&[seq][..], &[]] {
            // Its first transaction deletes rows of the inbox too.
            let database = postgres.open();
            let transaction = begin(&database, &entries(1, 0, [seq])).await.unwrap();
            assert!(!transaction.is_done(seq), "{set}");
            of(&*transaction).execute_unprepared(set).await.unwrap();
            let committed = transaction.commit(failed).await;
            assert!(committed.is_ok(), "{set}: {committed:?}");
        }
        let again = begin(&postgres.open(), &entries(1, 0, [seq])).await;
        assert!(again.unwrap().is_done(seq), "{set}");
    }
}
