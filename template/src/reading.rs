//! The table of readings, and the migrations that make it.

use sea_orm::entity::prelude::*;
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{double, pk_auto, text};

#[sea_orm::model]
#[derive(Clone, Debug, DeriveEntityModel)]
#[sea_orm(table_name = "readings")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub sensor: String,
    #[sea_orm(column_type = "Double")]
    pub value: f64,
}

impl ActiveModelBehavior for ActiveModel {}

/// What `setup` does to the database. A later change is one more migration, with a name of its own.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(Readings)]
    }
}

struct Readings;

impl MigrationName for Readings {
    /// It is for good: a database knows by it what was applied.
    fn name(&self) -> &str {
        "m0001_readings"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Readings {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("readings")
            .col(pk_auto("id").big_integer())
            .col(text("sensor"))
            .col(double("value"))
            .take();
        manager.create_table(table).await?;
        let index = Index::create()
            .name("readings_of_sensor")
            .table("readings")
            .col("sensor")
            .col("id")
            .take();
        manager.create_index(index).await
    }
}
