//! The database schema of chat, for PostgreSQL and SQLite.
//!
//! Each migration spells its tables out and imports no entity: an entity is today's table, a
//! migration is the table as it was on the day that it was written.

#![expect(
    elided_lifetimes_in_paths,
    reason = "MigrationTrait elides them, and async_trait takes only what is written alike"
)]

/// What [`Migrator`] can do.
pub use sea_orm_migration::MigratorTrait;
use sea_orm_migration::prelude::*;

mod m0001_messages;
mod m0002_epochs;
mod m0003_rollbacks;

/// The migrations in the order in which they are applied.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_messages::Migration),
            Box::new(m0002_epochs::Migration),
            Box::new(m0003_rollbacks::Migration),
        ]
    }
}
