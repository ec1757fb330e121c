//! The tables as they are today. `migrations` makes them and does not import this file.

/// A stored message.
pub mod messages {
    use sea_orm::entity::prelude::*;

    use crate::room::{Realm, Room};

    /// One message, once: `(uid, msg_id)` is unique.
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "messages")]
    pub struct Model {
        /// The life of the log that the message came from.
        #[sea_orm(primary_key, auto_increment = false)]
        pub epoch: i64,
        /// The message's sequence in that life.
        #[sea_orm(primary_key, auto_increment = false)]
        pub seq: i64,
        /// `chat` or `admin`: who may read it.
        pub realm: Realm,
        /// The room within the realm.
        pub room: Room,
        /// Who sent it; empty where a trusted back end did.
        pub uid: String,
        /// The sender's name as shown to people.
        pub username: String,
        /// The sender's own id of the message.
        pub msg_id: String,
        /// What was said.
        pub text: String,
        /// When it was sent, in ms since 1970.
        pub timestamp: i64,
        /// When the row was written, in ms since 1970.
        pub created_at: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// The lives of the log: a stream that is made again counts its sequences from one again.
pub mod epochs {
    use sea_orm::entity::prelude::*;

    /// One life: `(stream, stream_created)` is unique.
    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "epochs")]
    pub struct Model {
        /// Grows with each life, so positions `(epoch, seq)` are in order of time.
        #[sea_orm(primary_key)]
        pub id: i64,
        /// The stream's name.
        pub stream: String,
        /// When the stream was made, in ns since 1970.
        pub stream_created: i64,
        /// Everything up to this sequence is stored: reading may begin behind it.
        pub floor: i64,
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
    async fn schema_goes_up_down_and_up_again() {
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
