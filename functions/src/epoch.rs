//! The lives of the log: sequences count from one again when a stream is made again.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DbErr, EntityTrait, QueryFilter,
    sea_query::OnConflict,
};

use crate::entity::epochs::{ActiveModel, COLUMN, Column, Entity, Model};

/// The epoch of the stream made at `stream_created` (ns since 1970), begun if it is new.
pub async fn epoch_of(
    db: &impl ConnectionTrait,
    stream: &str,
    stream_created: i64,
) -> Result<i64, DbErr> {
    if let Some(epoch) = find_epoch(db, stream, stream_created).await? {
        return Ok(epoch.id);
    }
    // Somebody else may begin it at the same moment: who comes second adds nothing and reads.
    Entity::insert(ActiveModel {
        id: NotSet,
        stream: Set(stream.to_owned()),
        stream_created: Set(stream_created),
        floor: Set(0),
    })
    .on_conflict(
        OnConflict::columns([Column::Stream, Column::StreamCreated])
            .do_nothing()
            .to_owned(),
    )
    .exec_without_returning(db)
    .await?;
    match find_epoch(db, stream, stream_created).await? {
        Some(epoch) => Ok(epoch.id),
        None => Err(DbErr::RecordNotFound(format!(
            "the epoch of {stream} that was just begun"
        ))),
    }
}

/// The epoch of the stream made at `stream_created` (ns since 1970), with its floor, if it has begun.
pub async fn find_epoch(
    db: &impl ConnectionTrait,
    stream: &str,
    stream_created: i64,
) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(COLUMN.stream.eq(stream))
        .filter(COLUMN.stream_created.eq(stream_created))
        .one(db)
        .await
}

/// Notes that everything up to `floor` is stored. An older floor, as a second instance may bring
/// it, changes nothing.
pub async fn save_floor(db: &impl ConnectionTrait, epoch: i64, floor: i64) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Floor, floor.into())
        .filter(COLUMN.id.eq(epoch))
        .filter(COLUMN.floor.lt(floor))
        .exec(db)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

    #[tokio::test]
    async fn life_of_a_stream_is_one_epoch_and_the_next_life_a_higher_one() {
        for database in Database::each().await {
            let db = &database.pool;
            assert_eq!(find_epoch(db, "LOG", 1).await.unwrap(), None);
            let first = epoch_of(db, "LOG", 1).await.unwrap();
            assert_eq!(epoch_of(db, "LOG", 1).await.unwrap(), first);
            let second = epoch_of(db, "LOG", 2).await.unwrap();
            assert!(second > first, "{second} > {first}");
            assert_ne!(epoch_of(db, "OTHER", 1).await.unwrap(), first);
            assert_eq!(epoch_of(db, "LOG", 1).await.unwrap(), first);
        }
    }

    #[tokio::test]
    async fn epoch_that_many_begin_at_once_begins_once() {
        for database in Database::each().await {
            let begun = (0..8).map(|_| {
                let db = database.pool.clone();
                tokio::spawn(async move { epoch_of(&db, "LOG", 1).await.unwrap() })
            });
            for epoch in begun.collect::<Vec<_>>() {
                assert_eq!(
                    epoch.await.unwrap(),
                    epoch_of(&database.pool, "LOG", 1).await.unwrap()
                );
            }
            assert_eq!(Entity::find().all(&database.pool).await.unwrap().len(), 1);
        }
    }

    #[tokio::test]
    async fn floor_never_moves_backwards() {
        for database in Database::each().await {
            let db = &database.pool;
            let epoch = epoch_of(db, "LOG", 1).await.unwrap();
            let other = epoch_of(db, "LOG", 2).await.unwrap();
            for (saved, expected) in [(5, 5), (3, 5), (5, 5), (9, 9)] {
                save_floor(db, epoch, saved).await.unwrap();
                assert_eq!(
                    find_epoch(db, "LOG", 1).await.unwrap().unwrap().floor,
                    expected
                );
            }
            let other = Entity::find_by_id(other).one(db).await.unwrap().unwrap();
            assert_eq!(other.floor, 0, "another life has a floor of its own");
        }
    }
}
