//! The program of the README's function `store`: a stream whose every order is in the database
//! exactly once; and requests with state, a path and errors of their own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use natsfn::{
    Batch, Consumer, Endpoint, Error, IntoError, Json, Kind, Outcomes, Path, Result, Service,
    State, Stream, Tx,
};
use sea_orm::{ActiveValue::Set, EntityTrait};
use serde::{Deserialize, Serialize};

/// What the shop sells: shared by every call.
#[derive(Clone)]
struct Shop {
    prices: Arc<HashMap<String, u32>>,
}

#[derive(Serialize)]
struct Price {
    sku: String,
    cents: u32,
}

/// What the caller of `price` can do wrong.
#[derive(Debug, thiserror::Error)]
enum PriceError {
    #[error("there is no {0}")]
    Unknown(String),
}

impl IntoError for PriceError {
    fn kind(&self) -> Kind {
        Kind::NotFound
    }
}

async fn price(
    State(shop): State<Shop>,
    Path(sku): Path<String>,
) -> Result<Json<Price>, PriceError> {
    match shop.prices.get(&sku) {
        Some(&cents) => Ok(Json(Price { sku, cents })),
        None => Err(PriceError::Unknown(sku)),
    }
}

/// An order, as somebody publishes it to `orders.<customer>`.
#[derive(Deserialize)]
struct Order {
    sku: String,
    amount: i32,
}

/// Stores each order once. An order for nothing is named, and the others are stored.
async fn store(tx: Tx, orders: Batch<Order>) -> Result<Outcomes> {
    let mut outcomes = Outcomes::new();
    let mut rows = Vec::new();
    for item in &orders {
        if item.amount < 1 {
            outcomes.fail(
                item.message(),
                Error::bad_request("an amount is at least 1"),
            );
            continue;
        }
        rows.push(order::ActiveModel {
            subject: Set(item.subject().to_owned()),
            sku: Set(item.sku.clone()),
            amount: Set(item.amount),
            ..Default::default()
        });
    }
    if !rows.is_empty() {
        order::Entity::insert_many(rows)
            .exec_without_returning(&tx)
            .await?;
    }
    Ok(outcomes)
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    prices: HashMap<String, u32>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prices: HashMap::from([("tea".into(), 350), ("coffee".into(), 420)]),
        }
    }
}

async fn shop(config: Config) -> Result<Service<Shop>> {
    let price_of = Endpoint::new("price", "shop.price.{sku}").deadline(Duration::from_secs(2));
    let orders = Stream::new("ORDERS", ["orders.{customer}"]);
    Ok(Service::new("shop", "1.0.0")
        .state(Shop {
            prices: Arc::new(config.prices),
        })
        .database::<migrations::Migrator>()
        .entity::<order::Entity>()
        .endpoint(price_of, price)
        .consumer(Consumer::new("store", orders).max_batch(500), store))
}

fn main() -> natsfn::Exit {
    natsfn::main(shop)
}

/// The table of orders. Its key is the database's own: that each order is there once is natsfn's
/// doing, not the key's.
mod order {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub(crate) struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub subject: String,
        pub sku: String,
        pub amount: i32,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// What `setup` does to the database.
mod migrations {
    use sea_orm_migration::{prelude::*, schema::*};

    pub(crate) struct Migrator;

    impl MigratorTrait for Migrator {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(Orders)]
        }
    }

    #[derive(DeriveMigrationName)]
    struct Orders;

    #[async_trait::async_trait]
    impl MigrationTrait for Orders {
        async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
            let table = Table::create()
                .table("orders")
                .col(pk_auto("id").big_integer())
                .col(text("subject"))
                .col(text("sku"))
                .col(integer("amount"))
                .take();
            manager.create_table(table).await
        }
    }
}

#[cfg(test)]
mod tests {
    use natsfn::testing::{Outcome, local};
    use sea_orm::PaginatorTrait;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn a_price_is_answered_and_an_unknown_one_is_404() {
        let shop = local(shop(Config::default()).await.unwrap());
        let price: Value = shop.request("shop.price.tea", &()).await.unwrap();
        assert_eq!(price, json!({ "sku": "tea", "cents": 350 }));
        let error = shop
            .request::<Value>("shop.price.x", &())
            .await
            .unwrap_err();
        assert_eq!((error.code, &*error.message), (404, "there is no x"));
    }

    #[tokio::test]
    async fn a_bad_order_is_a_dead_letter_and_the_others_are_stored() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/shop.db?mode=rwc", directory.path().display());
        let shop = local(shop(Config::default()).await.unwrap())
            .database(&url)
            .await
            .unwrap();
        let good = json!({ "sku": "tea", "amount": 1 });
        let none = json!({ "sku": "tea", "amount": 0 });
        let bad = json!({ "sku": 7 });
        assert_eq!(
            shop.deliver("store", [good.clone(), none, bad, good]).await,
            [
                Outcome::Acked,
                Outcome::DeadLetter,
                Outcome::DeadLetter,
                Outcome::Acked
            ]
        );
        let db = sea_orm::Database::connect(&url).await.unwrap();
        assert_eq!(order::Entity::find().count(&db).await.unwrap(), 2);
    }
}
