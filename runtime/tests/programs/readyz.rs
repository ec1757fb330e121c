//! The service of the tests of `/readyz`: a function of each kind, and what a test can make of it.

use std::net::SocketAddr;
use std::time::Duration;

use natsfn::{Background, Consumer, Db, Error, Json, Kind, Result, RunError, Service, Stream, Tx};
use sea_orm::{ConnectionTrait, Statement};
use serde::Deserialize;

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// The schema of a later version.
    is_newer: bool,
    /// A port that background work needs.
    port: Option<SocketAddr>,
}

async fn price() -> Json<u32> {
    Json(350)
}

async fn total(db: Db) -> Result<Json<i64>> {
    let count = Statement::from_string(db.get_database_backend(), "SELECT count(*) FROM orders");
    let row = db.query_one_raw(count).await?;
    let row = row.ok_or_else(|| Error::internal("count answers a row"))?;
    Ok(Json(row.try_get_by_index(0)?))
}

/// Does what the order says.
async fn store(tx: Tx, order: Json<String>) -> Result<()> {
    match order.0.as_str() {
        "halt" => return Err(Error::new(Kind::Halt, "the till is open")),
        "wait" => tokio::time::sleep(Duration::from_secs(4)).await,
        "later" => return Err(Error::unavailable("the warehouse is closed")),
        _ => {}
    }
    tx.execute_unprepared("INSERT INTO orders VALUES (1)")
        .await?;
    Ok(())
}

/// Listens on a port, where it is told to.
async fn till(mut background: Background, config: Config) -> Result<()> {
    let _listener = match config.port {
        Some(port) => Some(std::net::TcpListener::bind(port).map_err(|error| {
            Error::unavailable(format!("the till cannot listen on {port}: {error}"))
        })?),
        None => None,
    };
    background.stopped().await;
    Ok(())
}

async fn shop(config: Config) -> Result<Service<Config>, RunError> {
    let is_newer = config.is_newer;
    let shop = Service::new("shop", "1.0.0").state(config);
    let shop = if is_newer {
        shop.database::<migrations::Newer>()
    } else {
        shop.database::<migrations::Now>()
    };
    let orders = Stream::new("ORDERS", ["orders.*"]);
    Ok(shop
        .endpoint("price", price)
        .endpoint("total", total)
        .consumer(Consumer::new("store", orders), store)
        .task("till", till))
}

fn main() -> natsfn::Exit {
    natsfn::main(shop)
}

mod migrations {
    use sea_orm_migration::prelude::*;

    pub(crate) struct Now;
    pub(crate) struct Newer;

    impl MigratorTrait for Now {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(Orders)]
        }
    }

    impl MigratorTrait for Newer {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(Orders), Box::new(Refunds)]
        }
    }

    struct Orders;
    struct Refunds;

    impl MigrationName for Orders {
        fn name(&self) -> &str {
            "m0001_orders"
        }
    }

    impl MigrationName for Refunds {
        fn name(&self) -> &str {
            "m0002_refunds"
        }
    }

    #[async_trait::async_trait]
    impl MigrationTrait for Orders {
        async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
            let connection = manager.get_connection();
            let table = "CREATE TABLE orders (amount integer NOT NULL)";
            connection.execute_unprepared(table).await.map(drop)
        }
    }

    #[async_trait::async_trait]
    impl MigrationTrait for Refunds {
        async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
            let connection = manager.get_connection();
            let table = "CREATE TABLE refunds (amount integer NOT NULL)";
            connection.execute_unprepared(table).await.map(drop)
        }
    }
}
