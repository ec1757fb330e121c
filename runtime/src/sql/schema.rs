//! The schema that this program knows: the runtime's own tables and the service's.

pub(crate) mod fitness;
mod identity;
pub(crate) mod migrate;

use std::collections::{BTreeSet, HashSet};

use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, DynIden};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};

use super::db::Db;
use crate::error::database::{CANNOT_OPEN, is_missing_table, is_sqlite};
use identity::create_identity;

/// The runtime's own migrations.
pub(super) struct RuntimeMigrations;

impl MigratorTrait for RuntimeMigrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(Step("m0001_inbox", create_inbox)),
            Box::new(Step("m0002_identity", create_identity)),
            Box::new(Step("m0003_inbox_times", add_times)),
            Box::new(Step("m0004_settled_filters", add_filters)),
        ]
    }

    fn migration_table_name() -> DynIden {
        "natsfn_migrations".into()
    }
}

/// A migration: its name, which is for good, since it stands in databases, and its statements.
struct Step(&'static str, fn(DbBackend) -> Vec<String>);

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.0
    }
}

#[sea_orm::prelude::async_trait::async_trait]
#[expect(
    elided_lifetimes_in_paths,
    reason = "the trait elides them, and async_trait takes only what is written alike"
)]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in self.1(manager.get_database_backend()) {
            let connection = manager.get_connection();
            connection.execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

fn create_inbox(backend: DbBackend) -> Vec<String> {
    let id = match backend {
        DbBackend::Postgres => "integer GENERATED ALWAYS AS IDENTITY",
        _ => "integer",
    };
    let lives = format!(
        "CREATE TABLE natsfn_life (\
         id {id} PRIMARY KEY, service text NOT NULL, function text NOT NULL, stream text NOT NULL, \
         stream_created_ns bigint NOT NULL, UNIQUE (service, function, stream, stream_created_ns))"
    );
    let inbox = format!(
        "CREATE TABLE natsfn_inbox (\
         life integer NOT NULL, seq bigint NOT NULL, PRIMARY KEY (life, seq)) {}",
        without_rowid(backend)
    );
    vec![lives, inbox]
}

/// The inbox's rows are nothing but their key; SQLite would otherwise store it twice.
fn without_rowid(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Postgres => "",
        _ => "WITHOUT ROWID",
    }
}

/// A sequence alone names no message for good: a log that was rolled back uses it again.
fn add_times(backend: DbBackend) -> Vec<String> {
    let inbox = format!(
        "CREATE TABLE natsfn_inbox (life integer NOT NULL, seq bigint NOT NULL, \
         time_ns bigint NOT NULL, PRIMARY KEY (life, seq, time_ns)) {}",
        without_rowid(backend)
    );
    [
        "ALTER TABLE natsfn_life ADD COLUMN settled_seq bigint NOT NULL DEFAULT 0",
        "ALTER TABLE natsfn_life ADD COLUMN settled_ns bigint NOT NULL DEFAULT 0",
        "ALTER TABLE natsfn_inbox RENAME TO natsfn_inbox_1",
        &inbox,
        // Their times are not known: 0 stands for any.
        "INSERT INTO natsfn_inbox (life, seq, time_ns) SELECT life, seq, 0 FROM natsfn_inbox_1",
        "DROP TABLE natsfn_inbox_1",
    ]
    .map(str::to_owned)
    .into()
}

/// An ack floor passes over what a consumer's filter does not let through.
fn add_filters(_: DbBackend) -> Vec<String> {
    let add = "ALTER TABLE natsfn_life ADD COLUMN settled_filters text NOT NULL DEFAULT ''";
    vec![add.to_owned()]
}

/// Names of migrations, by the tables in which a database keeps those that it has.
#[derive(Clone)]
pub(super) struct ExpectedMigrations(Vec<(DynIden, Vec<String>)>);

impl ExpectedMigrations {
    pub(super) fn of<M: MigratorTrait>() -> Self {
        Self(vec![names::<RuntimeMigrations>(), names::<M>()])
    }

    /// What is wrong with the database's schema, and the cure; None where nothing is.
    pub(super) async fn problem(&self, db: &Db, service: &str) -> Result<Option<String>, DbErr> {
        let difference = match self.difference(&**db).await {
            Err(error) if is_sqlite(&error, CANNOT_OPEN) => {
                return Ok(Some(format!(
                    "the database's file cannot be opened; where there is none, `{service} setup` makes it"
                )));
            }
            difference => difference?,
        };
        if let Some(newer) = difference.newer() {
            return Ok(Some(newer));
        }
        let missing = difference.missing;
        Ok((!missing.is_empty()).then(|| {
            let (n, names) = (missing.len(), missing.join(", "));
            let migrations = if n == 1 { "1 migration is" } else { &format!("{n} migrations are") };
            format!(
                "the database's schema is older than this program: {migrations} missing ({names}); run `{service} setup`"
            )
        }))
    }

    /// Compares with what a database has.
    pub(super) async fn difference(&self, db: &impl ConnectionTrait) -> Result<Difference, DbErr> {
        let mut difference = Difference::default();
        for (table, known) in &self.0 {
            let applied = applied(db, table.clone()).await?;
            difference.missing.extend(
                known
                    .iter()
                    .filter(|name| !applied.contains(*name))
                    .cloned(),
            );
            difference
                .unknown
                .extend(applied.into_iter().filter(|name| !known.contains(name)));
        }
        difference.unknown.sort();
        Ok(difference)
    }
}

/// How a database's schema differs from the one that this program knows.
#[derive(Default)]
pub(super) struct Difference {
    missing: Vec<String>,
    unknown: Vec<String>,
}

impl Difference {
    /// The sentence for a database that has more than this program knows.
    pub(super) fn newer(&self) -> Option<String> {
        (!self.unknown.is_empty()).then(|| {
            format!(
                "the database's schema is newer than this program: it has {} which this program does not know; \
                 start the newer program",
                self.unknown.join(", ")
            )
        })
    }
}

fn names<M: MigratorTrait>() -> (DynIden, Vec<String>) {
    let names = M::migrations()
        .iter()
        .map(|migration| migration.name().to_owned())
        .collect();
    (M::migration_table_name(), names)
}

/// The names that several migrations have. A database knows an applied migration by its name alone.
pub(super) fn repeated<M: MigratorTrait>() -> BTreeSet<String> {
    let (_, names) = names::<M>();
    let mut known = HashSet::new();
    let repeated = names.into_iter().filter(|name| !known.insert(name.clone()));
    repeated.collect()
}

/// It only reads: a function's user need not be allowed to make tables.
async fn applied(db: &impl ConnectionTrait, table: DynIden) -> Result<HashSet<String>, DbErr> {
    let versions = Query::select().column("version").from(table).take();
    match db.query_all(&versions).await {
        Ok(rows) => rows
            .iter()
            .map(|row| row.try_get_by_index(0))
            .collect::<Result<_, _>>(),
        Err(error) if is_missing_table(&error) => Ok(HashSet::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ConnectionTrait;
    use sea_orm_migration::{MigrationTrait, MigratorTrait};

    use super::ExpectedMigrations;
    use crate::config::PoolSizes;
    use crate::error::Kind;
    use crate::function::database::{Database, Schema};
    use crate::sql::SqlDatabase;
    use crate::sql::schema::migrate::migrate;
    use crate::sql::scratch::{Effects, Network, Scratch, Sql, open};

    /// The program after [`Effects`]'s.
    struct Next;

    impl MigratorTrait for Next {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            let mut all = Effects::migrations();
            all.push(Box::new(Sql(
                "m0002_more",
                &["CREATE TABLE more (id bigint)"],
            )));
            all
        }
    }

    #[tokio::test]
    async fn schema_that_this_program_knows_is_good_and_not_looked_at_again() {
        for scratch in Scratch::each().await {
            let database = scratch.open();
            assert_eq!(database.schema().await.unwrap(), Schema::Known);
            scratch
                .connect()
                .await
                .execute_unprepared("DROP TABLE natsfn_migrations")
                .await
                .unwrap();
            database.check().await.unwrap();
            assert!(scratch.open().check().await.is_err());
        }
    }

    #[tokio::test]
    async fn older_schema_is_told_with_its_cure_and_found_good_after_it() {
        for scratch in Scratch::each().await {
            let (known, sizes) = (ExpectedMigrations::of::<Next>(), PoolSizes::default());
            let database = SqlDatabase::open("shop", &scratch.url, known, &[], sizes).unwrap();
            let why = "the database's schema is older than this program: 1 migration is missing (m0002_more); run `shop setup`";
            assert_eq!(
                database.schema().await.unwrap(),
                Schema::Other(why.to_owned())
            );
            let error = database.check().await.unwrap_err();
            assert_eq!((error.kind(), error.message()), (Kind::Unavailable, why));
            migrate::<Next>(&scratch.url, &[]).await.unwrap();
            database.check().await.unwrap();
        }
    }

    #[tokio::test]
    async fn newer_schema_is_told_and_left_alone() {
        for scratch in Scratch::each().await {
            migrate::<Next>(&scratch.url, &[]).await.unwrap();
            let why = "the database's schema is newer than this program: it has m0002_more which this program does not know; start the newer program";
            assert_eq!(
                scratch.open().schema().await.unwrap(),
                Schema::Other(why.to_owned())
            );
            let error = migrate::<Effects>(&scratch.url, &[])
                .await
                .unwrap_err()
                .to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[tokio::test]
    async fn empty_database_is_an_older_one_and_a_missing_file_is_not_made() {
        for scratch in Scratch::each_empty().await {
            let why = if scratch.is_postgres() {
                "the database's schema is older than this program: 5 migrations are missing \
                 (m0001_inbox, m0002_identity, m0003_inbox_times, m0004_settled_filters, m0001_effects); \
                 run `shop setup`"
            } else {
                "the database's file cannot be opened; where there is none, `shop setup` makes it"
            };
            let schema = scratch.open().schema().await.unwrap();
            assert_eq!(schema, Schema::Other(why.to_owned()));
            assert!(
                scratch.directory().is_none_or(|directory| directory
                    .read_dir()
                    .unwrap()
                    .next()
                    .is_none())
            );
        }
    }

    #[tokio::test]
    async fn database_that_is_down_is_no_other_schema() {
        let [_, postgres] = Scratch::each().await;
        let network = Network::before(&postgres).await;
        network.cut();
        let database = open(&network.url);
        let error = database.schema().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(
            error
                .message()
                .starts_with("the database cannot be reached: "),
            "{error}"
        );
        network.flow();
        database.check().await.unwrap();
    }
}
