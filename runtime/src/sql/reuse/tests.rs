use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::poll;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sea_orm::{AccessMode, ConnectionTrait, DbErr, SqlxSqliteConnector, TransactionTrait};

use crate::error::Kind;
use crate::function::database::Transaction;
use crate::sql::scratch::{Network, Scratch, begin, entries, number, open};
use crate::sql::{SqlDatabase, Tx, pool};

fn of(transaction: &dyn Transaction) -> Tx {
    Arc::unwrap_or_clone(transaction.handle().downcast::<Tx>().unwrap())
}

async fn insert(db: &impl ConnectionTrait, id: u64) -> Result<(), DbErr> {
    db.execute_unprepared(&format!("INSERT INTO effects (id) VALUES ({id})"))
        .await
        .map(drop)
}

const BIG: &str = "INSERT INTO effects (id, note) VALUES (0, hex(zeroblob(100000)))";

/// Waits until every connection is back in its pool.
async fn all_given_back(database: &SqlDatabase, scratch: &Scratch) {
    let busy = || {
        if scratch.is_postgres() {
            let pool = database.db.get_postgres_connection_pool();
            pool.size() as usize != pool.num_idle()
        } else {
            let pool = database.db.get_sqlite_connection_pool();
            pool.size() as usize != pool.num_idle()
        }
    };
    while busy() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Stores one row without a transaction and one with the inbox, and looks for both from outside.
async fn stored_rows_are_seen(database: &SqlDatabase, scratch: &Scratch, id: u64) {
    all_given_back(database, scratch).await;
    insert(&database.db, id).await.unwrap();
    let look = scratch.connect().await;
    let seen = format!(
        "SELECT count(*) FROM effects WHERE id IN ({id}, {})",
        id + 1
    );
    assert_eq!(number(&look, &seen).await, 1);
    let transaction = begin(database, &entries(1, 0, [id])).await.unwrap();
    let tx = of(&*transaction);
    insert(&tx, id + 1).await.unwrap();
    drop(tx);
    transaction.commit(&[]).await.unwrap();
    assert_eq!(number(&look, &seen).await, 2);
}

/// Polls a future `times` times, and drops it.
async fn polled(times: usize, future: impl Future) {
    let mut future = pin!(future);
    for _ in 0..times {
        if poll!(future.as_mut()).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn full_disk_does_not_hide_what_is_stored_after_it() {
    let [sqlite, _] = Scratch::each().await;
    let database = sqlite.open();
    for seq in 1..4 {
        let transaction = begin(&database, &entries(1, 0, [seq])).await.unwrap();
        let tx = of(&*transaction);
        tx.execute_unprepared("PRAGMA max_page_count = 1")
            .await
            .unwrap();
        // A function whose statement runs in a savepoint.
        let savepoint = tx.begin().await.unwrap();
        savepoint.execute_unprepared(BIG).await.unwrap_err();
        let _ = sea_orm::TransactionSession::rollback(savepoint).await;
        drop(tx);
        let error = transaction.commit(&[]).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        all_given_back(&database, &sqlite).await;
    }
    database
        .db
        .execute_unprepared("PRAGMA max_page_count = 4294967294")
        .await
        .unwrap();
    for id in [10, 20, 30] {
        // A function that fails is rolled back; that too must end the transaction.
        let failed = begin(&database, &entries(1, 0, [5])).await.unwrap();
        failed.rollback().await;
        stored_rows_are_seen(&database, &sqlite, id).await;
    }
}

#[tokio::test]
async fn transaction_begun_by_hand_is_not_lent_to_the_next() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        database.db.execute_unprepared("BEGIN").await.unwrap();
        stored_rows_are_seen(&database, &scratch, 10).await;
        if scratch.is_postgres() {
            // An aborted transaction of PostgreSQL refuses every further statement.
            let given_up = "BEGIN; SELECT 1/0";
            database.db.execute_unprepared(given_up).await.unwrap_err();
            stored_rows_are_seen(&database, &scratch, 20).await;
        }
    }
}

#[tokio::test]
async fn dropped_begin_commit_and_rollback_hide_nothing() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let mut id = 10;
        for times in 0..12 {
            polled(times, database.db.begin()).await;
            stored_rows_are_seen(&database, &scratch, id).await;
            let dropped = database.db.begin().await.unwrap();
            insert(&dropped, id + 2).await.unwrap();
            polled(times, dropped.commit()).await;
            stored_rows_are_seen(&database, &scratch, id + 3).await;
            let dropped = database.db.begin().await.unwrap();
            insert(&dropped, id + 5).await.unwrap();
            polled(times, dropped.rollback()).await;
            stored_rows_are_seen(&database, &scratch, id + 6).await;
            let transaction = begin(&database, &entries(1, 0, [id + 8])).await.unwrap();
            polled(times, transaction.commit(&[])).await;
            stored_rows_are_seen(&database, &scratch, id + 9).await;
            id += 20;
        }
    }
}

#[tokio::test]
async fn command_that_is_dropped_while_postgres_works_on_it_hides_nothing() {
    let [_, postgres] = Scratch::each().await;
    let network = Network::before(&postgres).await;
    let database = open(&network.url);
    stored_rows_are_seen(&database, &postgres, 10).await;
    // The network stalls, so each has been sent and not been answered when it is dropped.
    network.stand_still();
    polled(20, database.db.begin()).await;
    network.flow();
    stored_rows_are_seen(&database, &postgres, 20).await;
    for (id, commits) in [(30, true), (40, false)] {
        let dropped = database.db.begin().await.unwrap();
        insert(&dropped, id).await.unwrap();
        network.stand_still();
        if commits {
            polled(20, dropped.commit()).await;
        } else {
            polled(20, dropped.rollback()).await;
        }
        network.flow();
        stored_rows_are_seen(&database, &postgres, id + 1).await;
    }
}

#[tokio::test]
async fn connection_that_is_cut_in_begin_commit_or_rollback_hides_nothing() {
    let [_, postgres] = Scratch::each().await;
    let network = Network::before(&postgres).await;
    let database = open(&network.url);
    stored_rows_are_seen(&database, &postgres, 10).await;
    let cut = async |command: std::pin::Pin<Box<dyn Future<Output = Result<(), DbErr>> + '_>>| {
        network.cut();
        command.await.unwrap_err();
        network.flow();
        // Other connections of the pool are cut too; their next statement fails.
        for _ in 0..10 {
            let _ = database.db.execute_unprepared("SELECT 1").await;
        }
    };
    cut(Box::pin(async { database.db.begin().await.map(drop) })).await;
    stored_rows_are_seen(&database, &postgres, 20).await;
    let transaction = database.db.begin().await.unwrap();
    insert(&transaction, 29).await.unwrap();
    cut(Box::pin(transaction.commit())).await;
    stored_rows_are_seen(&database, &postgres, 30).await;
    let transaction = database.db.begin().await.unwrap();
    insert(&transaction, 39).await.unwrap();
    cut(Box::pin(transaction.rollback())).await;
    stored_rows_are_seen(&database, &postgres, 40).await;
    // The same under the runtime's own transaction.
    let transaction = begin(&database, &entries(1, 0, [50])).await.unwrap();
    insert(&of(&*transaction), 50).await.unwrap();
    network.cut();
    let error = transaction.commit(&[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    network.flow();
    assert!(
        !begin(&database, &entries(1, 0, [50]))
            .await
            .unwrap()
            .is_done(50)
    );
    stored_rows_are_seen(&database, &postgres, 50).await;
}

#[tokio::test]
async fn connection_whose_commit_found_the_file_locked_is_closed() {
    let [sqlite, _] = Scratch::each().await;
    // Without a write-ahead log, a reader blocks a commit.
    let options: SqliteConnectOptions = sqlite.url.parse().unwrap();
    let options = options.journal_mode(SqliteJournalMode::Delete);
    let pool = SqlitePoolOptions::new().connect_with(options).await;
    let other = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.unwrap());
    let database = sqlite.open();
    database
        .db
        .execute_unprepared("CREATE TEMP TABLE marker (id)")
        .await
        .unwrap();
    all_given_back(&database, &sqlite).await;
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    tx.execute_unprepared("PRAGMA busy_timeout = 0")
        .await
        .unwrap();
    insert(&tx, 1).await.unwrap();
    drop(tx);
    let reading = other.begin().await.unwrap();
    number(&reading, "SELECT count(*) FROM effects").await;
    let error = transaction.commit(&[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    reading.rollback().await.unwrap();
    stored_rows_are_seen(&database, &sqlite, 10).await;
    let marker = database.db.execute_unprepared("SELECT 1 FROM marker").await;
    assert!(marker.unwrap_err().to_string().contains("no such table"));
}

#[tokio::test]
async fn connection_of_a_time_when_the_database_was_read_only_is_not_kept() {
    let [_, postgres] = Scratch::each().await;
    let look = postgres.connect().await;
    // Hosting providers do this while a disk is full; a connection takes the setting when it begins.
    let all_read_only = |on: bool| {
        format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = {on}', \
             current_database()); END $$"
        )
    };
    look.execute_unprepared(&all_read_only(true)).await.unwrap();
    let database = postgres.open();
    let error = insert(&database.db, 1).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    let writing = Some(AccessMode::ReadWrite);
    let writing = look.begin_with_config(None, writing).await.unwrap();
    writing
        .execute_unprepared(&all_read_only(false))
        .await
        .unwrap();
    writing.commit().await.unwrap();

    let mut tries = 0;
    loop {
        all_given_back(&database, &postgres).await;
        let Err(error) = insert(&database.db, 1).await else {
            break;
        };
        tries += 1;
        assert!(tries < 40, "{error}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    stored_rows_are_seen(&database, &postgres, 10).await;
}

/// Opens every connection of the pool, and lets the database end them.
async fn all_cut(database: &SqlDatabase, postgres: &Scratch) {
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(database.db.begin().await.unwrap());
    }
    drop(held);
    all_given_back(database, postgres).await;
    let look = postgres.connect().await;
    let cut = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_eq!(number(&look, cut).await, 10);
}

#[tokio::test]
async fn connections_that_the_database_has_ended_cost_no_transaction() {
    let [_, postgres] = Scratch::each().await;
    let database = postgres.open();
    all_cut(&database, &postgres).await;
    for id in 1..=20 {
        let transaction = begin(&database, &entries(1, 0, [id])).await.unwrap();
        transaction.commit(&[]).await.unwrap();
    }
}

#[tokio::test]
async fn connections_that_the_database_has_ended_cost_one_statement_and_none_where_they_rested() {
    let [_, postgres] = Scratch::each().await;
    let database = postgres.open();
    for (rest, most) in [(Duration::ZERO, 1), (pool::RESTED, 0)] {
        all_cut(&database, &postgres).await;
        tokio::time::sleep(rest).await;
        let mut failed = 0;
        for _ in 0..20 {
            let counted = database.db.execute_unprepared("SELECT 1").await;
            failed += u32::from(counted.is_err());
            all_given_back(&database, &postgres).await;
        }
        assert!(failed <= most, "{failed}");
    }
}

#[tokio::test]
async fn what_a_function_sets_of_its_session_ends_with_its_loan() {
    const SETS: [&str; 9] = [
        "SET synchronous_commit = off",
        "SET search_path = pg_catalog",
        "SET app.tenant = 'blue'",
        "SELECT pg_advisory_lock(7)",
        "SET TimeZone = 'Europe/Berlin'",
        "LISTEN orders",
        "DECLARE page CURSOR WITH HOLD FOR SELECT 1",
        "CREATE TEMPORARY TABLE staging (n int)",
        "SET ROLE pg_monitor",
    ];
    const LEFT: &str = "SELECT (current_setting('synchronous_commit') <> 'on')::int::bigint \
        + (current_setting('search_path') = 'pg_catalog')::int \
        + (coalesce(current_setting('app.tenant', true), '') <> '')::int \
        + (current_setting('TimeZone') <> 'UTC')::int + (SELECT count(*) FROM pg_listening_channels()) \
        + (SELECT count(*) FROM pg_cursors WHERE is_holdable) \
        + (SELECT count(*) FROM pg_class WHERE relname = 'staging' AND relpersistence = 't') \
        + (current_user = 'pg_monitor')::int + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    const PROCESS: &str = "SELECT pg_backend_pid()::bigint";
    let [_, postgres] = Scratch::each().await;
    let database = postgres.open();
    let process = number(&database.db, PROCESS).await;
    for set in SETS {
        all_given_back(&database, &postgres).await;
        database.db.execute_unprepared(set).await.unwrap();
        all_given_back(&database, &postgres).await;
        assert_eq!(number(&database.db, LEFT).await, 0, "{set}");
        all_given_back(&database, &postgres).await;
        assert_eq!(number(&database.db, PROCESS).await, process, "{set}");
    }
    all_given_back(&database, &postgres).await;
    let transaction = begin(&database, &entries(1, 0, [1])).await.unwrap();
    let tx = of(&*transaction);
    for set in SETS {
        tx.execute_unprepared(set).await.unwrap();
    }
    // LISTEN begins with the commit.
    assert_eq!(number(&tx, LEFT).await, 8);
    drop(tx);
    transaction.commit(&[]).await.unwrap();
    all_given_back(&database, &postgres).await;
    assert_eq!(number(&database.db, LEFT).await, 0);
    all_given_back(&database, &postgres).await;
    assert_eq!(number(&database.db, PROCESS).await, process, "the same one");
}
