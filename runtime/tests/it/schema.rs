//! A schema that was changed under a service: what cannot work is refused at start, and held later.

use natsfn::{
    Batch, Consumer, Db, Definition, Error, Outcomes, Result, RunError, Running, Service, Stream,
    Tx, setup,
};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, TransactionSession, TransactionTrait,
};
use sea_orm_migration::{MigrationName, MigrationTrait, MigratorTrait, SchemaManager};

use crate::database::Database;
use crate::world::{World, function, until};

mod orders {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        #[sea_orm(unique)]
        pub number: i64,
        #[sea_orm(column_type = "Text")]
        pub note: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateOrders)]
    }
}

struct CreateOrders;

impl MigrationName for CreateOrders {
    fn name(&self) -> &str {
        "m0001_orders"
    }
}

#[sea_orm::prelude::async_trait::async_trait]
#[expect(
    elided_lifetimes_in_paths,
    reason = "async_trait takes only what is written alike"
)]
impl MigrationTrait for CreateOrders {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let id = match connection.get_database_backend() {
            sea_orm::DbBackend::Postgres => "bigint GENERATED ALWAYS AS IDENTITY",
            _ => "integer",
        };
        let table = format!(
            "CREATE TABLE orders (id {id} PRIMARY KEY, number bigint NOT NULL, note text NOT NULL)"
        );
        connection.execute_unprepared(&table).await?;
        connection.execute_unprepared(KEY).await?;
        Ok(())
    }
}

const KEY: &str = "CREATE UNIQUE INDEX orders_number ON orders (number)";

async fn store(tx: Tx, numbers: Batch<i64>) -> Result<()> {
    let orders = numbers.iter().map(|number| orders::ActiveModel {
        number: Set(**number),
        note: Set("a note that is not short".to_owned()),
        ..Default::default()
    });
    let once = OnConflict::column(orders::Column::Number)
        .do_nothing()
        .to_owned();
    orders::Entity::insert_many(orders)
        .on_conflict(once)
        .exec_without_returning(&tx)
        .await?;
    Ok(())
}

/// Stores each on its own, and names those that are refused.
async fn store_each(tx: Tx, numbers: Batch<i64>) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    for number in &numbers {
        let order = orders::ActiveModel {
            number: Set(**number),
            note: Set("a note that is not short".to_owned()),
            ..Default::default()
        };
        let part = tx.begin().await?;
        let inserted = orders::Entity::insert(order);
        match inserted.exec_without_returning(&part).await {
            Ok(_) => part.commit().await?,
            Err(error) => {
                part.rollback().await?;
                outcomes.fail(number.message(), Error::from(error));
            }
        }
    }
    Ok(outcomes)
}

fn orders() -> Consumer {
    Consumer::new("store", Stream::new("ORDERS", ["orders.{number}"]))
}

fn shop() -> Service {
    Service::new("shop", "1.0.0")
        .database::<Migrator>()
        .entity::<orders::Entity>()
}

fn service() -> Definition {
    shop().consumer(orders(), store).build().unwrap()
}

async fn serve(world: &World, database: &Database) -> Result<Running, RunError> {
    natsfn::start(service(), world.connect().await, Some(&database.url)).await
}

/// Waits until the function holds, and returns the reason that it tells.
async fn holds(running: &Running) -> String {
    until("it holds", async || {
        let data = function(running, 0)["data"].clone();
        let reason = data["reason"].as_str()?.to_owned();
        (data["state"] == "holding").then_some(reason)
    })
    .await
}

/// What is done to a table by hand, how it is mended, and what is said meanwhile.
struct Change {
    sql: &'static str,
    cure: &'static str,
    said: &'static str,
    /// SQLite has no such statement.
    only_postgres: bool,
}

const CHANGES: [Change; 4] = [
    Change {
        sql: "DROP INDEX orders_number",
        cure: KEY,
        said: KEY,
        only_postgres: false,
    },
    Change {
        sql: "ALTER TABLE orders RENAME COLUMN note TO remark",
        cure: "ALTER TABLE orders RENAME COLUMN remark TO note",
        said: "the table orders has no column note",
        only_postgres: false,
    },
    // The database says of each message that it is at fault.
    Change {
        sql: "ALTER TABLE orders ALTER COLUMN note TYPE varchar(9) USING left(note, 9)",
        cure: "ALTER TABLE orders ALTER COLUMN note TYPE text",
        said: "the column note of the table orders is character varying(9)",
        only_postgres: true,
    },
    Change {
        sql: "ALTER TABLE orders ADD COLUMN more bigint NOT NULL DEFAULT 1; ALTER TABLE orders ALTER more DROP DEFAULT",
        cure: "ALTER TABLE orders ALTER COLUMN more DROP NOT NULL",
        said: "the column more of the table orders is NOT NULL",
        only_postgres: true,
    },
];

struct Twice;

impl MigratorTrait for Twice {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateOrders), Box::new(CreateOrders)]
    }
}

#[test]
fn two_migrations_of_one_name_are_refused() {
    let service = Service::new("orders", "1.0.0").database::<Twice>();
    let error = service.build().map(drop).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let [mistake] = error.lines() else {
        panic!("{error}")
    };
    let words = "two migrations are named \"m0001_orders\", so the second would";
    assert!(mistake.starts_with(words), "{mistake}");
}

#[tokio::test]
async fn schema_that_was_changed_under_a_service_buries_nothing_and_keeps_it_from_starting() {
    for database in Database::each().await {
        let world = World::new().await;
        let set_up = async || setup::setup(&service(), &world.nats, Some(&database.url)).await;
        set_up().await.unwrap();
        let running = serve(&world, &database).await.unwrap();
        let mut sent = 0;
        for change in CHANGES {
            if change.only_postgres && !database.url.starts_with("postgres") {
                continue;
            }
            database.execute(change.sql).await;
            let numbers = (sent..sent + 20).map(|n| n.to_string());
            world.store("orders.a", numbers).await;
            sent += 20;

            let reason = holds(&running).await;
            assert!(reason.contains(change.said), "{reason}");
            for refused in [set_up().await.err(), serve(&world, &database).await.err()] {
                let why = refused.expect(change.sql).to_string();
                assert!(why.contains(change.said), "{why}");
            }

            database.execute(change.cure).await;
            world.settled("ORDERS", "store", sent).await;
            let rows = database.number("SELECT count(*) FROM orders").await;
            assert_eq!(rows, sent.cast_signed(), "{}", change.sql);
        }
        let buried = function(&running, 0)["data"]["dead_lettered"].clone();
        assert_eq!(buried, 0);
        set_up().await.unwrap();
    }
}

#[tokio::test]
async fn messages_that_a_function_names_are_not_at_fault_where_the_schema_is() {
    let [_, database] = Database::each().await;
    let world = World::new().await;
    let definition = || shop().consumer(orders(), store_each).build().unwrap();
    setup::setup(&definition(), &world.nats, Some(&database.url))
        .await
        .unwrap();
    let running = natsfn::start(definition(), world.connect().await, Some(&database.url));
    let running = running.await.unwrap();
    let [.., narrowed, _] = CHANGES;
    database.execute(narrowed.sql).await;
    world
        .store("orders.a", (0..20).map(|n| n.to_string()))
        .await;

    let reason = holds(&running).await;

    assert!(reason.contains(narrowed.said), "{reason}");
    database.execute(narrowed.cure).await;
    world.settled("ORDERS", "store", 20).await;
    assert_eq!(database.number("SELECT count(*) FROM orders").await, 20);
    assert_eq!(function(&running, 0)["data"]["dead_lettered"], 0);
}

/// As [`store_each`], and mends the schema once messages are refused.
async fn store_each_and_mend(db: Db, tx: Tx, numbers: Batch<i64>) -> Result<Outcomes> {
    let outcomes = store_each(tx, numbers).await?;
    if outcomes.failures() > 0 {
        db.execute_unprepared(CHANGES[2].cure).await?;
    }
    Ok(outcomes)
}

/// The same without naming them.
async fn store_all_and_mend(db: Db, tx: Tx, numbers: Batch<i64>) -> Result<()> {
    for number in &numbers {
        let order = orders::ActiveModel {
            number: Set(**number),
            note: Set("a note that is not short".to_owned()),
            ..Default::default()
        };
        let part = tx.begin().await?;
        if let Err(error) = orders::Entity::insert(order)
            .exec_without_returning(&part)
            .await
        {
            part.rollback().await?;
            db.execute_unprepared(CHANGES[2].cure).await?;
            return Err(error.into());
        }
        part.commit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn schema_that_is_mended_while_messages_fail_buries_nothing() {
    let named = || shop().consumer(orders(), store_each_and_mend);
    let unnamed = || shop().consumer(orders(), store_all_and_mend);
    for (count, definition) in [(20, named()), (20, unnamed()), (1, named()), (1, unnamed())] {
        let [_, database] = Database::each().await;
        let (world, definition) = (World::new().await, definition.build().unwrap());
        setup::setup(&definition, &world.nats, Some(&database.url))
            .await
            .unwrap();
        let running = natsfn::start(definition, world.connect().await, Some(&database.url));
        let running = running.await.unwrap();
        database.execute(CHANGES[2].sql).await;
        world
            .store("orders.a", (0..count).map(|n| n.to_string()))
            .await;
        world.settled("ORDERS", "store", count).await;
        let rows = database.number("SELECT count(*) FROM orders").await;
        assert_eq!(rows, count.cast_signed());
        assert_eq!(function(&running, 0)["data"]["dead_lettered"], 0);
    }
}
