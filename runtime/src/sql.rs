//! A service's database, through sea-orm: a function's effect on it happens exactly once.

mod database;
mod db;
mod delegate;
mod inbox;
mod pool;
mod reuse;
mod schema;
mod statement_span;
mod table;
mod timeout;
mod transaction;
mod tx;

#[cfg(test)]
mod meanings;
#[cfg(test)]
mod scratch;

use std::marker::PhantomData;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sea_orm::EntityTrait;
use sea_orm_migration::MigratorTrait;

use crate::config::PoolSizes;
use crate::error::Result;
use crate::error::run_error::RunError;
use crate::function::database::{Database, DatabaseDefinition, Tables};
use crate::service::Service;
use database::SqlDatabase;
use schema::{ExpectedMigrations, migrate};

pub use db::Db;
pub(crate) use table::Table;
pub use tx::{Savepoint, SqlxConnection, Tx};

impl<S> Service<S> {
    /// Gives the service a database: its migrations, which `setup` runs, a pool from
    /// `database.url`, and the extractors [`Db`] and [`Tx`]. Requests share up to 10 connections (5 on
    /// SQLite); stream functions and background work have as many of their own, so that requests
    /// cannot keep a stream waiting ([`Service::database_connections`]). Services that share a database
    /// each need a migration table of their own (`M::migration_table_name`).
    ///
    /// ```
    /// use natsfn::Service;
    /// use sea_orm_migration::{prelude::*, schema::*};
    ///
    /// struct Migrator;
    ///
    /// impl MigratorTrait for Migrator {
    ///     fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    ///         vec![Box::new(Orders)]
    ///     }
    /// }
    ///
    /// #[derive(DeriveMigrationName)]
    /// struct Orders;
    ///
    /// #[async_trait::async_trait]
    /// impl MigrationTrait for Orders {
    ///     async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
    ///         let orders = Table::create().table("orders").col(pk_auto("id")).col(text("sku")).take();
    ///         manager.create_table(orders).await
    ///     }
    /// }
    ///
    /// let shop = Service::new("shop", "1.0.0").database::<Migrator>();
    /// ```
    pub fn database<M: MigratorTrait + Sync + 'static>(mut self) -> Self {
        let service = self.definition.name.clone();
        self.definition.database = Some(Arc::new(Migrations {
            service,
            of: PhantomData::<fn() -> M>,
        }));
        self
    }

    /// Names a table that the service's statements need, as its sea-orm entity describes it: columns,
    /// their types, the primary key, unique keys (`unique`, `unique_key = "..."`). `setup` and each
    /// start refuse a database whose table lacks one of them, with the cure. A function that meets
    /// such a table later holds, and goes on when it is mended.
    pub fn entity<E: EntityTrait>(mut self) -> Self {
        self.definition.tables.add(Table::of::<E>());
        self
    }
}

impl<S> Service<S> {
    /// How many connections to the database one process may take, in sum: those that its requests
    /// share, and those of its stream functions and background work. A stream function needs one for
    /// each batch in flight, and one for a message that runs alone. `database.request_connections` and
    /// `database.stream_connections` of the configuration come before this. Each is from 1 to 1000.
    pub fn database_connections(mut self, requests: u32, streams: u32) -> Self {
        self.definition.pool_sizes = PoolSizes {
            requests: Some(requests.clamp(1, 1000)),
            streams: Some(streams.clamp(1, 1000)),
        };
        self
    }
}

/// A service's type of migrations, and the service's name for what is said to its operator.
struct Migrations<M> {
    service: String,
    of: PhantomData<fn() -> M>,
}

impl<M: MigratorTrait + Sync + 'static> DatabaseDefinition for Migrations<M> {
    fn problems(&self) -> Vec<String> {
        let repeated = schema::repeated::<M>();
        repeated.iter().map(|name| format!(
            "two migrations are named {name:?}, so the second would be taken for applied and never run; \
             #[derive(DeriveMigrationName)] names them after their file, each mod.rs alike: put the second into a \
             file of another name, or implement MigrationName; the one that was applied keeps its name"
        )).collect()
    }

    fn open(
        &self,
        url: &str,
        tables: &Tables,
        sizes: PoolSizes,
    ) -> Result<Arc<dyn Database>, RunError> {
        let (known, tables) = (ExpectedMigrations::of::<M>(), tables.all());
        let database = SqlDatabase::open(&self.service, url, known, &tables, sizes)?;
        Ok(Arc::new(database))
    }

    fn migrate<'a>(
        &'a self,
        url: &'a str,
        tables: &'a Tables,
    ) -> BoxFuture<'a, Result<(), RunError>> {
        async move { migrate::migrate::<M>(url, &tables.all()).await }.boxed()
    }
}

/// What is wrong with a database's address, if anything is.
#[cfg(feature = "cli")]
pub(crate) fn check_address(url: &str) -> Result<(), String> {
    pool::Address::parse(url).map(|_| ())
}

fn address(url: &str) -> Result<pool::Address, RunError> {
    pool::Address::parse(url).map_err(|wrong| RunError::misuse([format!("database.url: {wrong}")]))
}
