//! What the errors of real databases mean.

use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, IsolationLevel,
    SqlxSqliteConnector, Statement, TransactionTrait, sqlx,
};

use super::scratch::{Scratch, number};
use super::*;
use crate::error::database::*;
use crate::error::{Error, Kind};

const BAD: Option<Kind> = Some(Kind::BadRequest);
const HOLD: Option<Kind> = Some(Kind::Unavailable);
const LATE: Option<Kind> = Some(Kind::Timeout);

async fn failure(db: &impl ConnectionTrait, sql: &str) -> DbErr {
    db.execute_unprepared(sql).await.expect_err(sql)
}

/// One connection to a SQLite file that does not wait for locks.
async fn impatient(scratch: &Scratch) -> DatabaseConnection {
    let options: SqliteConnectOptions = scratch.url.parse().unwrap();
    let options = options.busy_timeout(Duration::ZERO);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap();
    SqlxSqliteConnector::from_sqlx_sqlite_pool(pool)
}

#[tokio::test]
async fn data_that_a_database_refuses_are_a_bad_request() {
    for scratch in Scratch::each().await {
        let db = scratch.connect().await;
        db.execute_unprepared("INSERT INTO effects (id) VALUES (1)")
            .await
            .unwrap();
        for sql in [
            "INSERT INTO effects (id) VALUES (1)",
            "INSERT INTO effects (id) VALUES (NULL)",
        ] {
            assert_eq!(kind_of(&failure(&db, sql).await), BAD, "{sql}");
        }
    }
}

/// Statements of PostgreSQL that fail, and the kind of their error. Each is one transaction, so nothing of it stays.
const OF_POSTGRES: &[(Option<Kind>, &str)] = &[
    // The values: a key too long for its index, of each kind of index.
    (
        BAD,
        "CREATE TABLE t (a text UNIQUE); INSERT INTO t SELECT string_agg(md5(i::text), '') FROM generate_series(1, 160) i",
    ),
    (
        BAD,
        "CREATE TABLE t (a text UNIQUE); INSERT INTO t SELECT string_agg(md5(i::text), '') FROM generate_series(1, 999) i",
    ),
    (
        BAD,
        "CREATE TABLE t (a text); CREATE INDEX ON t USING brin (a); \
           INSERT INTO t SELECT string_agg(md5(i::text), '') FROM generate_series(1, 999) i",
    ),
    (
        BAD,
        "CREATE TABLE t (a text[]); CREATE INDEX ON t USING gin (a); \
           INSERT INTO t SELECT ARRAY[string_agg(md5(i::text), '')] FROM generate_series(1, 160) i",
    ),
    (BAD, r#"SELECT '{"a": "\u0000"}'::jsonb"#),
    (
        BAD,
        "CREATE DOMAIN positive AS int CHECK (value > 0); SELECT (-1)::positive",
    ),
    (BAD, "SELECT 1/0"),
    (BAD, "SELECT 99999999999::int4"),
    // An operator's.
    (
        HOLD,
        "CREATE SEQUENCE s MAXVALUE 2; SELECT nextval('s') FROM generate_series(1, 3)",
    ),
    (
        HOLD,
        "CREATE MATERIALIZED VIEW v AS SELECT 1 WITH NO DATA; SELECT * FROM v",
    ),
    (HOLD, "SET LOCAL ROLE pg_monitor; SELECT * FROM effects"),
    (HOLD, "SET TRANSACTION READ ONLY; DELETE FROM effects"),
    // Nobody knows: the message's, or everybody's.
    (
        None,
        "CREATE TABLE t (a int) PARTITION BY RANGE (a); INSERT INTO t VALUES (1)",
    ),
    (
        None,
        "INSERT INTO effects (id) VALUES (7), (7) ON CONFLICT (id) DO UPDATE SET note = 'x'",
    ),
    (
        None,
        "DO $$ BEGIN RAISE EXCEPTION 'a trigger says so'; END $$",
    ),
    (
        None,
        "DO $$ DECLARE x bigint; BEGIN SELECT id INTO STRICT x FROM effects; END $$",
    ),
    (None, "DO $$ BEGIN ASSERT false; END $$"),
    (
        None,
        "CREATE VIEW v AS SELECT * FROM effects WHERE id < 10 WITH CHECK OPTION; INSERT INTO v VALUES (20)",
    ),
    (
        None,
        "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (a < 10); \
            GRANT ALL ON t TO pg_monitor; SET LOCAL ROLE pg_monitor; INSERT INTO t VALUES (20)",
    ),
    (
        None,
        "SELECT (repeat('[', 20000) || repeat(']', 20000))::jsonb",
    ),
    (
        None,
        "SELECT to_tsvector(string_agg(md5(i::text), ' ')) FROM generate_series(1, 60000) i",
    ),
    (
        None,
        "SET LOCAL temp_file_limit = '100kB'; SET LOCAL work_mem = '64kB'; \
            SELECT count(*) FROM (SELECT md5(i::text) AS a FROM generate_series(1, 99999) i ORDER BY a) t",
    ),
    (
        None,
        "DO $$ BEGIN RAISE EXCEPTION 'invalid geometry' USING ERRCODE = 'XX000'; END $$",
    ),
    (
        None,
        "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'ZZ999'; END $$",
    ),
    // Of the statement, or of a slow database.
    (LATE, "SET LOCAL statement_timeout = 20; SELECT pg_sleep(5)"),
];

/// The same of SQLite.
const OF_SQLITE: &[(Option<Kind>, &str)] = &[
    (BAD, "SELECT zeroblob(99999999999)"),
    (
        BAD,
        "CREATE TRIGGER refuses BEFORE INSERT ON effects BEGIN SELECT RAISE(ABORT, 'no'); END; INSERT INTO effects VALUES (1, 'x')",
    ),
    (
        HOLD,
        "INSERT INTO effects (id, note) VALUES (1, 'x') ON CONFLICT (note) DO NOTHING",
    ),
    (HOLD, "INSERT INTO effects VALUES (1)"),
    (None, "SELECT json('{')"),
    (None, "SELECT json_extract('{}', 'a')"),
    (None, "SELECT abs(-9223372036854775808)"),
    (None, "SELECT 'a' LIKE 'b' ESCAPE 'xx'"),
];

#[tokio::test]
async fn errors_of_real_databases_are_of_their_kind() {
    let [sqlite, postgres] = Scratch::each().await;
    let mut wrong = Vec::new();
    for (scratch, rows) in [(sqlite, OF_SQLITE), (postgres, OF_POSTGRES)] {
        let db = scratch.connect().await;
        for (kind, sql) in rows {
            let error = failure(&db, sql).await;
            if kind_of(&error) != *kind {
                wrong.push(format!("{:?}, not {kind:?}: {error}", kind_of(&error)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// More parameters than the protocol has room for: half of the batch would do.
#[tokio::test]
async fn too_many_parameters_are_no_outage() {
    for scratch in Scratch::each().await {
        let db = scratch.connect().await;
        let parameters: Vec<_> = (1..=70_000).map(|n| format!("(${n})")).collect();
        let sql = format!("INSERT INTO effects (id) VALUES {}", parameters.join(","));
        let values = (1..=70_000_i64).map(sea_orm::Value::from);
        let insert = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
        let error = db.execute_raw(insert).await.unwrap_err();
        assert_eq!(kind_of(&error), None, "{error}");
    }
}

#[tokio::test]
async fn row_without_a_value_is_no_fault_of_the_schema() {
    let [_, postgres] = Scratch::each().await;
    let db = postgres.connect().await;
    let pool = db.get_postgres_connection_pool();
    let null = sqlx::query_scalar::<_, i64>("SELECT CAST(NULL AS bigint)");
    let error = null.fetch_one(pool).await.unwrap_err();
    assert_eq!(kind_of(&error), None, "{error}");
    let text = sqlx::query_scalar::<_, i64>("SELECT 'x'");
    let error = text.fetch_one(pool).await.unwrap_err();
    assert_eq!(kind_of(&error), HOLD, "{error}");
}

#[tokio::test]
async fn transaction_that_rested_for_too_long_is_late() {
    let [_, postgres] = Scratch::each().await;
    let db = postgres.connect().await;
    let transaction = db.begin().await.unwrap();
    let pid = number(&transaction, "SELECT pg_backend_pid()::bigint").await;
    let limit = "SET LOCAL idle_in_transaction_session_timeout = 20";
    transaction.execute_unprepared(limit).await.unwrap();
    let lives = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
    let other = postgres.connect().await;
    while number(&other, &lives).await > 0 {}
    let error = failure(&transaction, "SELECT 1").await;
    assert_eq!(kind_of(&error), LATE, "{error}");
}

#[tokio::test]
async fn text_with_a_nul_is_a_bad_request_where_postgres_refuses_it() {
    let [_, postgres] = Scratch::each().await;
    let db = postgres.connect().await;
    let insert = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "INSERT INTO effects (id, note) VALUES (1, $1)",
        ["a\0b".into()],
    );
    let error = db.execute_raw(insert).await.unwrap_err();
    assert!(error.to_string().contains("0x00"), "{error}");
    assert_eq!(kind_of(&error), BAD);
}

#[tokio::test]
async fn schema_that_is_not_there_yet_is_waited_for() {
    for scratch in Scratch::each().await {
        let db = scratch.connect().await;
        for sql in [
            "INSERT INTO missing (id) VALUES (1)",
            "INSERT INTO effects (missing) VALUES (1)",
            "SELECT missing FROM effects",
        ] {
            let error = failure(&db, sql).await;
            assert_eq!(kind_of(&error), HOLD, "{sql}: {error}");
        }
    }
}

#[tokio::test]
async fn what_no_values_can_cure_is_held_and_says_so() {
    let cases: [(&str, Option<&str>, &str); 3] = [
        ("SELEKT 1", None, "schema"),
        ("SELECT no_such_function(1)", None, "schema"),
        (
            "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = 'XX001'; END $$",
            Some("postgres"),
            "an operator must look",
        ),
    ];
    for scratch in Scratch::each().await {
        let db = scratch.connect().await;
        for (sql, only, sentence) in cases {
            if only.is_some() && !scratch.is_postgres() {
                continue;
            }
            let error = failure(&db, sql).await;
            let meaning = meaning_of(&error).expect(sql);
            assert_eq!(meaning.kind, Kind::Unavailable, "{sql}: {error}");
            assert!(meaning.sentence.contains(sentence), "{sql}: {meaning:?}");
        }
    }
}

#[tokio::test]
async fn plan_of_an_earlier_schema_is_made_again_at_once() {
    let [_, postgres] = Scratch::each().await;
    let look = postgres.connect().await;
    let database = postgres.open();
    let all = "SELECT * FROM effects WHERE id > $1";
    let all = Statement::from_sql_and_values(DbBackend::Postgres, all, [0_i64.into()]);
    look.execute_unprepared("INSERT INTO effects (id) VALUES (1)")
        .await
        .unwrap();
    for change in [
        "ALTER TABLE effects ALTER COLUMN note TYPE varchar(9)",
        "ALTER TABLE effects ADD COLUMN more text",
    ] {
        // Planned on this connection.
        database.db.query_all_raw(all.clone()).await.unwrap();
        look.execute_unprepared(change).await.unwrap();
        let rows = database.db.query_all_raw(all.clone()).await.unwrap();
        assert_eq!(rows.len(), 1, "{change}");
        // A prepared statement that the connection has lost.
        let forget = "DEALLOCATE ALL";
        database.db.execute_unprepared(forget).await.unwrap();
        database.db.query_all_raw(all.clone()).await.unwrap();
    }
}

#[tokio::test]
async fn locks_of_postgres_are_waited_for() {
    let [_, postgres] = Scratch::each().await;
    let db = postgres.connect().await;
    db.execute_unprepared("INSERT INTO effects (id) VALUES (1)")
        .await
        .unwrap();
    let holder = db.begin().await.unwrap();
    holder
        .execute_unprepared("UPDATE effects SET note = 'mine'")
        .await
        .unwrap();
    let other = db.begin().await.unwrap();
    other
        .execute_unprepared("SET LOCAL lock_timeout = 20")
        .await
        .unwrap();
    let error = failure(&other, "UPDATE effects SET note = 'also mine'").await;
    assert!(error.to_string().contains("lock timeout"), "{error}");
    assert_eq!(kind_of(&error), HOLD);
    other.rollback().await.unwrap();

    let late = db
        .begin_with_config(Some(IsolationLevel::RepeatableRead), None)
        .await
        .unwrap();
    late.query_one_raw(Statement::from_string(
        DbBackend::Postgres,
        "SELECT 1 FROM effects",
    ))
    .await
    .unwrap();
    holder.commit().await.unwrap();
    let error = failure(&late, "UPDATE effects SET note = 'too late'").await;
    assert!(error.to_string().contains("serialize"), "{error}");
    assert_eq!(kind_of(&error), HOLD);
}

#[tokio::test]
async fn connection_that_postgres_ends_is_waited_for() {
    let [_, postgres] = Scratch::each().await;
    let db = postgres.connect().await;
    let error = failure(&db, "SELECT pg_terminate_backend(pg_backend_pid())").await;
    assert_eq!(kind_of(&error), HOLD, "{error}");
}

#[tokio::test]
async fn lock_full_disk_and_read_only_file_of_sqlite_are_waited_for() {
    let [sqlite, _] = Scratch::each().await;
    let holder = sqlite.connect().await;
    let db = impatient(&sqlite).await;

    let writing = holder.begin().await.unwrap();
    writing
        .execute_unprepared("INSERT INTO effects (id) VALUES (1)")
        .await
        .unwrap();
    let error = failure(&db, "INSERT INTO effects (id) VALUES (2)").await;
    assert!(error.to_string().contains("locked"), "{error}");
    assert_eq!(kind_of(&error), HOLD);
    writing.commit().await.unwrap();

    db.execute_unprepared("PRAGMA max_page_count = 1")
        .await
        .unwrap();
    let error = failure(
        &db,
        "INSERT INTO effects (id, note) VALUES (3, hex(zeroblob(100000)))",
    )
    .await;
    assert!(error.to_string().contains("full"), "{error}");
    assert_eq!(kind_of(&error), HOLD);

    db.execute_unprepared("PRAGMA query_only = 1")
        .await
        .unwrap();
    let error = failure(&db, "INSERT INTO effects (id) VALUES (4)").await;
    assert!(error.to_string().contains("readonly"), "{error}");
    assert_eq!(kind_of(&error), HOLD);
}

#[tokio::test]
async fn database_error_is_known_inside_other_errors() {
    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("while storing")]
        Storing(#[source] DbErr),
        #[error(transparent)]
        Hidden(DbErr),
    }

    for scratch in Scratch::each().await {
        let db = scratch.connect().await;
        let error = failure(&db, "INSERT INTO effects (id) VALUES (NULL)").await;
        assert_eq!(kind_of(&Outer::Storing(error.clone())), BAD);
        assert_eq!(kind_of(&Outer::Hidden(error.clone())), BAD);
        assert_eq!(Error::from(Outer::Hidden(error)).kind(), Kind::BadRequest);
    }
    let late = timeout::io_error(std::io::ErrorKind::TimedOut, "late");
    assert_eq!(kind_of(&Outer::Hidden(late)), HOLD);
    assert_eq!(
        kind_of(&Outer::Hidden(DbErr::ConnectionAcquire(
            ConnAcquireErr::Timeout
        ))),
        HOLD
    );
    assert_eq!(kind_of(&std::fmt::Error), None);
}
