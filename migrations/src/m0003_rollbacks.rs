//! Several epochs in one life of the log: a restored older copy reuses sequences.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The unique key before this migration, and the one after it.
const OLD_KEY: &str = "epochs_stream_stream_created";
const NEW_KEY: &str = "epochs_stream_stream_created_follows";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite alters one column per statement.
        for column in [Epochs::FirstSeq, Epochs::Follows] {
            manager
                .alter_table(
                    Table::alter()
                        .table(Epochs::Table)
                        .add_column(big_integer(column).default(0))
                        .take(),
                )
                .await?;
        }
        manager.drop_index(drop_key(OLD_KEY)).await?;
        manager
            .create_index(
                Index::create()
                    .name(NEW_KEY)
                    .table(Epochs::Table)
                    .col(Epochs::Stream)
                    .col(Epochs::StreamCreated)
                    .col(Epochs::Follows)
                    .unique()
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(drop_key(NEW_KEY)).await?;
        // The former key has room for one epoch of each life. The messages of the others stay.
        let later = Query::delete()
            .from_table(Epochs::Table)
            .and_where(Expr::col(Epochs::Follows).ne(0))
            .to_owned();
        manager.get_connection().execute(&later).await?;
        for column in [Epochs::FirstSeq, Epochs::Follows] {
            manager
                .alter_table(
                    Table::alter()
                        .table(Epochs::Table)
                        .drop_column(column)
                        .take(),
                )
                .await?;
        }
        manager
            .create_index(
                Index::create()
                    .name(OLD_KEY)
                    .table(Epochs::Table)
                    .col(Epochs::Stream)
                    .col(Epochs::StreamCreated)
                    .unique()
                    .take(),
            )
            .await
    }

    /// SQLite would otherwise keep half of a migration that was killed, and refuse the next try.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

fn drop_key(name: &str) -> IndexDropStatement {
    Index::drop().name(name).table(Epochs::Table).to_owned()
}

#[derive(DeriveIden)]
enum Epochs {
    Table,
    Stream,
    StreamCreated,
    FirstSeq,
    Follows,
}
