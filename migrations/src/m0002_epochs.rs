//! The table of epochs: a recreated stream begins a new one.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Epochs::Table)
                    .col(big_pk_auto(Epochs::Id))
                    .col(text(Epochs::Stream))
                    .col(big_integer(Epochs::StreamCreated))
                    .col(big_integer(Epochs::Floor).default(0))
                    .take(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("epochs_stream_stream_created")
                    .table(Epochs::Table)
                    .col(Epochs::Stream)
                    .col(Epochs::StreamCreated)
                    .unique()
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table(Epochs::Table).take())
            .await
    }

    /// SQLite would otherwise keep half of a migration that was killed, and refuse the next try.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Epochs {
    Table,
    Id,
    Stream,
    StreamCreated,
    Floor,
}
