//! The tables as chat's statements need them; each start checks them. `migrations` creates them and
//! does not import this file.

/// A stored message.
pub mod messages {
    use sea_orm::entity::prelude::*;

    use crate::message::room::{Realm, Room};

    /// One message, once: `(uid, msg_id)` is unique.
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "messages")]
    pub struct Model {
        /// The epoch of the log that the message came from.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The message's sequence in that epoch.
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        /// `chat` or `admin`: who may read it.
        pub realm: Realm,
        /// The room within the realm.
        pub room: Room,
        /// Who sent it; empty for a trusted back end.
        #[sea_orm(column_type = "Text", unique_key = "uid_msg_id")]
        pub uid: String,
        /// The sender's name as shown to people.
        #[sea_orm(column_type = "Text")]
        pub username: String,
        /// The sender's own id of the message.
        #[sea_orm(column_type = "Text", unique_key = "uid_msg_id")]
        pub msg_id: String,
        /// What was said.
        #[sea_orm(column_type = "Text")]
        pub text: String,
        /// When it was sent, in ms since 1970.
        pub timestamp: i64,
        /// When the row was written, in ms since 1970.
        pub created_at: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The epochs of the log: in each, a sequence stands for one message. Recreating or rolling back
/// the stream begins a new one.
pub mod epochs {
    use sea_orm::entity::prelude::*;

    /// One epoch: `(stream, stream_created, follows)` is unique.
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "epochs")]
    pub struct Model {
        /// Grows with each epoch, so positions `(epoch, seq)` are in order of time.
        #[sea_orm(primary_key)]
        pub id: i64,
        /// The stream's name.
        #[sea_orm(column_type = "Text", unique_key = "follows")]
        pub stream: String,
        /// When the stream was created, in ns since 1970.
        #[sea_orm(unique_key = "follows")]
        pub stream_created: i64,
        /// Everything of the stream's life up to this sequence is stored: reading may begin behind it.
        pub floor: i64,
        /// From this sequence on the stream's messages belong to this epoch, until another follows.
        pub first_seq: i64,
        /// The epoch of the same life of the stream before this one, 0 for the first. An epoch has
        /// one follower, so instances that begin one at the same moment agree on it.
        #[sea_orm(unique_key = "follows")]
        pub follows: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

#[cfg(test)]
mod tests {
    use migrations::{Migrator, MigratorTrait};
    use sea_orm::EntityTrait;

    use super::{epochs, messages};
    use crate::database::Database;

    #[tokio::test]
    async fn migrations_run_up_down_and_up_again() {
        for database in Database::each().await {
            let db = &database.pool;
            Migrator::up(db, None)
                .await
                .expect("a second time changes nothing");
            Migrator::down(db, None).await.unwrap();
            assert!(messages::Entity::find().all(db).await.is_err());
            assert!(epochs::Entity::find().all(db).await.is_err());
            Migrator::up(db, None).await.unwrap();
            assert_eq!(messages::Entity::find().all(db).await.unwrap().len(), 0);
            assert_eq!(epochs::Entity::find().all(db).await.unwrap().len(), 0);
        }
    }
}
