//! The table of stored messages.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table(Messages::Table)
                    .col(big_integer(Messages::Epoch))
                    .col(big_integer(Messages::Seq))
                    .col(text(Messages::Realm))
                    .col(text(Messages::Room))
                    .col(text(Messages::Uid))
                    .col(text(Messages::Username))
                    .col(text(Messages::MsgId))
                    .col(text(Messages::Text))
                    .col(big_integer(Messages::Timestamp))
                    .col(big_integer(Messages::CreatedAt))
                    .primary_key(Index::create().col(Messages::Epoch).col(Messages::Seq))
                    .take(),
            )
            .await?;
        // With this key a redelivery or a retry adds no row.
        manager
            .create_index(
                Index::create()
                    .name("messages_uid_msg_id")
                    .table(Messages::Table)
                    .col(Messages::Uid)
                    .col(Messages::MsgId)
                    .unique()
                    .take(),
            )
            .await?;
        // For a page of a room's history.
        manager
            .create_index(
                Index::create()
                    .name("messages_room")
                    .table(Messages::Table)
                    .col(Messages::Realm)
                    .col(Messages::Room)
                    .col((Messages::Epoch, IndexOrder::Desc))
                    .col((Messages::Seq, IndexOrder::Desc))
                    .take(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table(Messages::Table).take())
            .await
    }

    /// SQLite would otherwise keep half of a migration that was killed, and refuse the next try.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Messages {
    Table,
    Epoch,
    Seq,
    Realm,
    Room,
    Uid,
    Username,
    MsgId,
    Text,
    Timestamp,
    CreatedAt,
}
