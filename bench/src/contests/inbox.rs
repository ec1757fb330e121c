//! A batch of orders is stored exactly once: with the inbox, beside a function with a key of its own, without one.

use std::time::Instant;

use async_nats::{Client, jetstream};
use futures_util::{StreamExt, TryStreamExt};
use natsfn::{Batch, Consumer, Service, Stream, Tx};
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, Database, EntityTrait, PaginatorTrait};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use serde::Deserialize;

use crate::backlog::{both, drained, durable, empty};
use crate::process::ProcessorTime;
use crate::rounds::{Contestant, Figures, Rounds, number};
use crate::{Failure, Outcome};

#[derive(Deserialize)]
struct Order {
    sku: String,
    amount: i32,
}

/// As in natsfn's example `shop`.
async fn store(tx: Tx, orders: Batch<Order>) -> natsfn::Result<()> {
    let rows = orders.iter().map(|item| order::ActiveModel {
        subject: Set(item.subject().to_owned()),
        sku: Set(item.sku.clone()),
        amount: Set(item.amount),
        ..Default::default()
    });
    order::Entity::insert_many(rows)
        .exec_without_returning(&tx)
        .await?;
    Ok(())
}

mod order {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub(super) struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub subject: String,
        pub sku: String,
        pub amount: i32,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The table is made by hand.
struct NoMigrations;

impl MigratorTrait for NoMigrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        Vec::new()
    }
}

pub(crate) async fn measure() -> Outcome {
    let data = tempfile::tempdir()?;
    let server = durable(data.path()).await?;
    let nats = &async_nats::connect(server.url()).await?;
    let messages = number("BENCH_MESSAGES", 50_000);
    let mut rounds = Rounds::new("inbox");
    for (name, url) in both(data.path())? {
        let url = &*url;
        let contestants = [("without the inbox", true), ("with the inbox", false)];
        let contestants = contestants.map(|(name, natural_key)| {
            Contestant::new(name, move || round(nats, url, messages, natural_key))
        });
        let title = format!("{messages} orders, {name}");
        rounds.scene(&title, contestants.into()).await?;
    }
    Ok(())
}

async fn round(nats: &Client, url: &str, messages: usize, natural_key: bool) -> Outcome<Figures> {
    empty(url).await?;
    let jetstream = jetstream::new(nats.clone());
    if let Ok(stream) = jetstream.get_stream("ORDERS").await {
        // It may not be there yet. It knows the database of the former round.
        let _ = stream.delete_consumer("shop-store").await;
    }
    let service = || {
        let mut consumer = Consumer::new("store", Stream::new("ORDERS", ["orders.{customer}"]));
        if natural_key {
            consumer = consumer.natural_key();
        }
        Service::new("shop", "1.0.0")
            .database::<NoMigrations>()
            .consumer(consumer.max_batch(500), store)
            .build()
    };
    natsfn::setup::setup(&service()?, &nats.clone().into(), Some(url)).await?;
    if jetstream
        .get_stream("ORDERS")
        .await?
        .cached_info()
        .state
        .messages
        == 0
    {
        fill(nats, messages).await?;
    }
    let database = Database::connect(url).await?;
    let key = if url.starts_with("sqlite") {
        "INTEGER PRIMARY KEY"
    } else {
        "BIGSERIAL PRIMARY KEY"
    };
    let table = format!("CREATE TABLE orders (id {key}, subject TEXT, sku TEXT, amount INTEGER)");
    database.execute_unprepared(&table).await?;

    let (started, before) = (Instant::now(), ProcessorTime::of_this()?.total());
    let running = natsfn::start(service()?, nats.clone(), Some(url)).await?;
    drained(nats, "ORDERS", "shop-store").await?;
    let (took, after) = (started.elapsed(), ProcessorTime::of_this()?.total());
    running.stop(std::time::Duration::from_secs(10)).await;

    let stored = order::Entity::find().count(&database).await?;
    database.close().await?;
    if stored != messages as u64 {
        return Err(format!("{stored} rows of {messages}").into());
    }
    let each = |seconds: f64| seconds * 1e6 / messages as f64;
    Ok(vec![
        ("us", each(took.as_secs_f64())),
        ("processor us", each((after - before).as_secs_f64())),
    ])
}

async fn fill(nats: &Client, messages: usize) -> Outcome {
    let jetstream = &jetstream::new(nats.clone());
    futures_util::stream::iter(0..messages)
        .map(|n| async move {
            let order = format!(r#"{{"sku":"tea","amount":{}}}"#, n % 9 + 1);
            let subject = format!("orders.c{}", n % 100);
            jetstream.publish(subject, order.into()).await?.await?;
            Ok::<_, Failure>(())
        })
        .buffered(256)
        .try_collect()
        .await
}
