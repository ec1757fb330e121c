use sea_orm::TransactionTrait;

use super::*;
use crate::config::PoolSizes;
use crate::function::database::{Database, Schema as Found};
use crate::sql::SqlDatabase;
use crate::sql::schema::ExpectedMigrations;
use crate::sql::schema::migrate::migrate;
use crate::sql::scratch::{Effects, Scratch};

mod notes {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "notes")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[sea_orm(unique_key = "author_title")]
        pub author: String,
        #[sea_orm(unique_key = "author_title")]
        pub title: String,
        #[sea_orm(column_type = "Text")]
        pub text: String,
        pub written: i64,
        pub done: bool,
        pub remark: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

const NOTES: &str = "CREATE TABLE notes (id bigint PRIMARY KEY, author varchar(64) NOT NULL, title text NOT NULL, \
                     text text NOT NULL, written bigint NOT NULL, done boolean NOT NULL, remark text)";
const KEY: &str = "CREATE UNIQUE INDEX notes_author_title ON notes (author, title)";
/// Another table in the place of the runtime's own, with the same rows and without its key.
const KEYLESS_INBOX: &str =
    "ALTER TABLE natsfn_inbox RENAME TO former; CREATE TABLE natsfn_inbox AS SELECT * FROM former";

async fn execute(scratch: &Scratch, sql: &str) {
    let db = scratch.connect().await;
    db.execute_unprepared(sql).await.expect(sql);
}

/// What is said of the schema after such a change, which is taken back.
async fn after(scratch: &Scratch, change: &str) -> Option<String> {
    let db = scratch.connect().await;
    let transaction = db.begin().await.unwrap();
    transaction.execute_unprepared(change).await.expect(change);
    let lack = lack(&transaction, &[Table::of::<notes::Entity>()]).await;
    transaction.rollback().await.unwrap();
    lack.unwrap()
}

async fn each_with_notes() -> [Scratch; 2] {
    let each = Scratch::each().await;
    for scratch in &each {
        execute(scratch, NOTES).await;
        execute(scratch, KEY).await;
    }
    each
}

#[tokio::test]
async fn change_that_statements_cannot_work_with_is_told_with_its_cure() {
    const ON_BOTH: [(&str, &str); 7] = [
        ("DROP TABLE notes", "there is no table notes"),
        (
            "ALTER TABLE notes RENAME COLUMN text TO body",
            "the table notes has no column text: give it back its name, or add it",
        ),
        (
            "ALTER TABLE notes DROP COLUMN written",
            "the table notes has no column written",
        ),
        (
            "DROP INDEX notes_author_title",
            "the table notes has no unique key (author, title): \
             CREATE UNIQUE INDEX notes_author_title ON notes (author, title)",
        ),
        (
            "DROP INDEX notes_author_title; \
             CREATE UNIQUE INDEX notes_author_title ON notes (author, title) WHERE id > 5",
            "has no unique key (author, title)",
        ),
        (
            KEYLESS_INBOX,
            "the table natsfn_inbox has no unique key (life, seq, time_ns)",
        ),
        (
            "ALTER TABLE natsfn_life RENAME COLUMN settled_seq TO settled",
            "the table natsfn_life has no column settled_seq",
        ),
    ];
    const ON_POSTGRES: [(&str, &str); 6] = [
        (
            "ALTER TABLE notes ALTER COLUMN written TYPE integer",
            "the column written of the table notes is integer, and the program needs bigint: change its type back",
        ),
        (
            "ALTER TABLE notes ALTER COLUMN written TYPE text",
            "is text, and the program needs bigint",
        ),
        (
            "ALTER TABLE notes ALTER COLUMN text TYPE varchar(9)",
            "is character varying(9), and the program needs text without a limit",
        ),
        (
            "ALTER TABLE notes ALTER COLUMN remark SET NOT NULL",
            "the column remark of the table notes is NOT NULL, and the program leaves it empty: drop its NOT NULL",
        ),
        (
            "ALTER TABLE notes ADD COLUMN more bigint NOT NULL",
            "the column more of the table notes is NOT NULL, and the program does not know it",
        ),
        (
            "ALTER TABLE notes DROP CONSTRAINT notes_pkey",
            "has no unique key (id)",
        ),
    ];
    const ON_SQLITE: [(&str, &str); 2] = [
        (
            "DROP TABLE notes; CREATE TABLE notes (id integer PRIMARY KEY, author text, title text, text text, \
             written text, done boolean, remark text, UNIQUE (author, title))",
            "the column written of the table notes is TEXT, and the program needs integer",
        ),
        (
            "DROP TABLE notes; CREATE TABLE notes (id integer PRIMARY KEY, author text, title integer, text text, \
             written bigint, done boolean, remark text, UNIQUE (author, title))",
            "the column title of the table notes is INTEGER, and the program needs text",
        ),
    ];
    for scratch in each_with_notes().await {
        let own: &[_] = if scratch.is_postgres() {
            &ON_POSTGRES
        } else {
            &ON_SQLITE
        };
        for (change, expected) in ON_BOTH.iter().chain(own) {
            let said = after(&scratch, change).await.expect(change);
            assert!(said.contains(expected), "{change}: {said}");
        }
    }
}

#[tokio::test]
async fn change_that_no_statement_notices_is_none() {
    const ON_BOTH: [&str; 5] = [
        "SELECT 1",
        "ALTER TABLE notes ADD COLUMN more bigint",
        "ALTER TABLE notes ADD COLUMN more bigint NOT NULL DEFAULT 7",
        "DROP INDEX notes_author_title; CREATE UNIQUE INDEX other ON notes (title, author)",
        "ALTER TABLE notes RENAME TO former; CREATE VIEW notes AS SELECT * FROM former",
    ];
    const ON_POSTGRES: [&str; 4] = [
        "CREATE DOMAIN heading AS text; ALTER TABLE notes ALTER COLUMN title TYPE heading",
        "ALTER TABLE notes ALTER COLUMN text TYPE varchar",
        "ALTER TABLE notes ADD COLUMN more bigint GENERATED ALWAYS AS IDENTITY",
        "DROP INDEX notes_author_title; \
         CREATE UNIQUE INDEX other ON notes (author, title) INCLUDE (written)",
    ];
    for scratch in each_with_notes().await {
        let own: &[&str] = if scratch.is_postgres() {
            &ON_POSTGRES
        } else {
            &[]
        };
        for change in ON_BOTH.iter().chain(own) {
            assert_eq!(after(&scratch, change).await, None, "{change}");
        }
    }
}

#[tokio::test]
async fn setup_and_start_refuse_a_table_that_lacks_a_key_until_it_is_mended() {
    for scratch in each_with_notes().await {
        execute(&scratch, "DROP INDEX notes_author_title").await;
        let tables = [Table::of::<notes::Entity>()];
        let (known, sizes) = (ExpectedMigrations::of::<Effects>, PoolSizes::default());
        let open = || SqlDatabase::open("shop", &scratch.url, known(), &tables, sizes);

        let setup = migrate::<Effects>(&scratch.url, &tables).await.unwrap_err();
        let Found::Other(start) = open().unwrap().schema().await.unwrap() else {
            panic!("it starts")
        };

        for why in [setup.to_string(), start] {
            assert!(why.contains(KEY), "{why}");
        }
        execute(&scratch, KEY).await;
        migrate::<Effects>(&scratch.url, &tables).await.unwrap();
        assert_eq!(open().unwrap().schema().await.unwrap(), Found::Known);
    }
}

#[tokio::test]
async fn without_its_key_the_inbox_lets_nothing_be_done_again() {
    for scratch in Scratch::each().await {
        let database = scratch.open();
        let batch = |nth| crate::sql::scratch::entries_nth(nth, 1, 0, [1, 2]);
        let first = crate::sql::scratch::begin(&database, &batch(1)).await;
        first.unwrap().commit(&[]).await.unwrap();
        execute(&scratch, KEYLESS_INBOX).await;

        let again = crate::sql::scratch::begin(&database, &batch(2)).await;

        let error = again.err().expect("nobody knows what is done");
        assert_eq!(error.kind(), crate::error::Kind::Unavailable, "{error}");
        let why = database.fault(&error).await.unwrap().to_string();
        assert!(
            why.contains("the table natsfn_inbox has no unique key"),
            "{why}"
        );
    }
}
