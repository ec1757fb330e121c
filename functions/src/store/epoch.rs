//! The epochs of the log: in each, a sequence stands for one message. Recreating or rolling back
//! the stream begins a new one, since it reuses sequences.

use std::ops::RangeInclusive;

use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder};

use super::entity::epochs::{ActiveModel, COLUMN, Column, Entity, Model};
use super::rows::Position;

/// The epochs of one life of the stream, from its creation to its deletion. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    first: Model,
    /// Those that followed, oldest first.
    later: Vec<Model>,
}

/// The life of the stream created at `stream_created` (ns since 1970); begins one if it is new.
pub async fn life_of(
    db: &impl ConnectionTrait,
    stream: &str,
    stream_created: i64,
) -> Result<Life, DbErr> {
    if let Some(life) = find_life(db, stream, stream_created).await? {
        return Ok(life);
    }
    begin(db, stream, stream_created, 0, 0, 0).await?;
    begun(db, stream, stream_created).await
}

/// The life of the stream that was created at `stream_created` (ns since 1970), if it has begun.
pub async fn find_life(
    db: &impl ConnectionTrait,
    stream: &str,
    stream_created: i64,
) -> Result<Option<Life>, DbErr> {
    let epochs = Entity::find()
        .filter(COLUMN.stream.eq(stream))
        .filter(COLUMN.stream_created.eq(stream_created))
        .order_by_asc(Column::Id)
        .all(db)
        .await?;
    let mut epochs = epochs.into_iter();
    Ok(epochs.next().map(|first| Life {
        first,
        later: epochs.collect(),
    }))
}

/// The stream's newest life, if any has begun.
pub async fn newest_life(db: &impl ConnectionTrait, stream: &str) -> Result<Option<Life>, DbErr> {
    let newest = Entity::find()
        .filter(COLUMN.stream.eq(stream))
        .order_by_desc(Column::Id);
    match newest.one(db).await? {
        Some(newest) => find_life(db, stream, newest.stream_created).await,
        None => Ok(None),
    }
}

/// Saves that everything up to `floor` is stored. A second instance's lower floor changes nothing.
pub async fn save_floor(db: &impl ConnectionTrait, epoch: i64, floor: i64) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Floor, floor.into())
        .filter(COLUMN.id.eq(epoch))
        .filter(COLUMN.floor.lt(floor))
        .exec(db)
        .await?;
    Ok(())
}

/// Lowers the floor, because rows above `floor` are missing. False if it has changed meanwhile.
pub async fn lower_floor(
    db: &impl ConnectionTrait,
    epoch: &Model,
    floor: i64,
) -> Result<bool, DbErr> {
    let lowered = Entity::update_many()
        .col_expr(Column::Floor, floor.into())
        .filter(COLUMN.id.eq(epoch.id))
        .filter(COLUMN.floor.eq(epoch.floor))
        .exec(db)
        .await?;
    Ok(lowered.rows_affected > 0)
}

impl Life {
    /// The newest epoch, which new messages belong to.
    pub fn newest(&self) -> &Model {
        self.later.last().unwrap_or(&self.first)
    }

    /// Every epoch, the newest first.
    pub fn epochs(&self) -> impl Iterator<Item = &Model> {
        self.later.iter().rev().chain([&self.first])
    }

    /// The position of a sequence: in the newest epoch that begins at or below it.
    pub fn position(&self, seq: i64) -> Position {
        let begun = |epoch: &&Model| epoch.first_seq <= seq;
        let epoch = self.epochs().find(begun).unwrap_or(&self.first).id;
        Position { epoch, seq }
    }

    /// The position directly before the sequence after `seq`. If an epoch begins there, all of the
    /// earlier epochs are below it.
    pub fn end(&self, seq: i64) -> Position {
        let epoch = self.position(seq + 1).epoch;
        Position { epoch, seq }
    }

    /// The highest sequence of the log at or below a position: `u64::MAX` if the position is above
    /// everything to come, 0 if it is below everything.
    pub fn seqs_upto(&self, at: Position) -> u64 {
        let later = self.epochs().filter(|epoch| epoch.id > at.epoch);
        let end = later.map(|epoch| epoch.first_seq - 1).min();
        let own = self.epochs().find(|epoch| epoch.id == at.epoch);
        // Below the beginning of its own epoch lie the former ones.
        let own = own.map(|epoch| at.seq.max(epoch.first_seq - 1));
        let seq = [end, own].into_iter().flatten().min();
        seq.map_or(u64::MAX, |seq| u64::try_from(seq).unwrap_or(0))
    }

    /// The highest sequence of the log below a position.
    pub fn seqs_below(&self, at: Position) -> u64 {
        let upto = self.seqs_upto(at);
        let is_at = i64::try_from(upto).is_ok_and(|seq| seq > 0 && self.position(seq) == at);
        if is_at { upto - 1 } else { upto }
    }

    /// A life of epochs with these ids and first sequences.
    #[cfg(test)]
    pub(crate) fn of_epochs(epochs: &[(i64, i64)]) -> Self {
        let mut epochs = epochs.iter().map(|(id, first_seq)| Model {
            id: *id,
            stream: "LOG".into(),
            stream_created: 1,
            floor: 0,
            first_seq: *first_seq,
            follows: 0,
        });
        Self {
            first: epochs.next().unwrap(),
            later: epochs.collect(),
        }
    }

    /// Begins the next epoch: from `first_seq` on, the stream's messages differ from the stored
    /// ones. If another instance has begun it at the same moment, that one's `first_seq` stands.
    ///
    /// The instance that begins it logs an error, for the operator.
    pub async fn follow(self, db: &impl ConnectionTrait, first_seq: i64) -> Result<Self, DbErr> {
        let newest = self.newest();
        let floor = newest.floor.min(first_seq - 1);
        let (stream, created) = (newest.stream.as_str(), newest.stream_created);
        let is_new = begin(db, stream, created, first_seq, newest.id, floor).await?;
        let life = begun(db, stream, created).await?;
        if is_new {
            tracing::error!(
                stream,
                first_seq,
                former_epoch = newest.id,
                epoch = life.newest().id,
                "the log was rolled back and reuses sequences: a new epoch begins. Stored messages stay, and those that the log holds now are stored beside them. Messages that were acknowledged after the log's older state and had not been stored are lost. Was an older copy of JetStream's store restored, or the power cut without `sync_interval: always`?"
            );
        }
        Ok(life)
    }

    /// Splits the sequences by epoch, the lowest first.
    pub fn parts(&self, seqs: RangeInclusive<i64>) -> Vec<(i64, RangeInclusive<i64>)> {
        let (start, mut end) = seqs.into_inner();
        let mut parts = Vec::new();
        for epoch in self.epochs() {
            let first = epoch.first_seq.max(start);
            if first <= end {
                parts.push((epoch.id, first..=end));
                end = first - 1;
            }
        }
        parts.reverse();
        parts
    }
}

/// Begins an epoch. False if another instance began it at the same moment.
async fn begin(
    db: &impl ConnectionTrait,
    stream: &str,
    stream_created: i64,
    first_seq: i64,
    follows: i64,
    floor: i64,
) -> Result<bool, DbErr> {
    let inserted = Entity::insert(ActiveModel {
        id: NotSet,
        stream: Set(stream.to_owned()),
        stream_created: Set(stream_created),
        floor: Set(floor),
        first_seq: Set(first_seq),
        follows: Set(follows),
    })
    .on_conflict(
        OnConflict::columns([Column::Stream, Column::StreamCreated, Column::Follows])
            .do_nothing()
            .to_owned(),
    )
    .exec_without_returning(db)
    .await?;
    Ok(inserted > 0)
}

async fn begun(
    db: &impl ConnectionTrait,
    stream: &str,
    stream_created: i64,
) -> Result<Life, DbErr> {
    let life = find_life(db, stream, stream_created).await?;
    life.ok_or_else(|| DbErr::RecordNotFound(format!("the epoch of {stream} that was just begun")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Database;

    async fn life(db: &impl ConnectionTrait, created: i64) -> Life {
        life_of(db, "LOG", created).await.unwrap()
    }

    #[tokio::test]
    async fn recreated_stream_has_a_new_life_with_a_higher_epoch() {
        for database in Database::each().await {
            let db = &database.pool;
            assert_eq!(find_life(db, "LOG", 1).await.unwrap(), None);
            let first = life(db, 1).await;
            assert_eq!(life(db, 1).await, first);
            let second = life(db, 2).await;
            assert!(second.newest().id > first.newest().id);
            let other = life_of(db, "OTHER", 1).await.unwrap();
            assert_ne!(other.newest().id, first.newest().id);
            assert_eq!(life(db, 1).await, first);
        }
    }

    #[tokio::test]
    async fn epoch_that_many_instances_begin_is_begun_once() {
        for database in Database::each().await {
            let begun = (0..8).map(|_| {
                let db = database.pool.clone();
                tokio::spawn(async move { life(&db, 1).await })
            });
            let mut lives = Vec::new();
            for one in begun.collect::<Vec<_>>() {
                lives.push(one.await.unwrap());
            }
            assert_eq!(Entity::find().all(&database.pool).await.unwrap().len(), 1);

            // Each has its own idea of where the log was rolled back to.
            let followed = (11..).zip(lives).map(|(first_seq, life)| {
                let db = database.pool.clone();
                tokio::spawn(async move { life.follow(&db, first_seq).await.unwrap() })
            });
            for one in followed.collect::<Vec<_>>() {
                assert_eq!(one.await.unwrap(), life(&database.pool, 1).await);
            }
            assert_eq!(Entity::find().all(&database.pool).await.unwrap().len(), 2);
        }
    }

    #[tokio::test]
    async fn sequence_belongs_to_the_newest_epoch_that_begins_at_or_below_it() {
        for database in Database::each().await {
            let db = &database.pool;
            let mut life = life(db, 1).await;
            // Rolled back to 40, then to 20, then to 60, then to 60 once more.
            for first_seq in [41, 21, 61, 61] {
                life = life.follow(db, first_seq).await.unwrap();
            }
            let ids: Vec<i64> = life.epochs().map(|epoch| epoch.id).collect();
            let nth = |n: usize| ids[ids.len() - n];
            for (seq, epoch) in [
                (20, nth(1)),
                (21, nth(3)),
                (45, nth(3)),
                (60, nth(3)),
                (61, nth(5)),
            ] {
                assert_eq!(life.position(seq), Position { epoch, seq });
            }
            assert_eq!(
                life.end(60),
                Position {
                    epoch: nth(5),
                    seq: 60
                }
            );
            assert_eq!(
                life.end(59),
                Position {
                    epoch: nth(3),
                    seq: 59
                }
            );
        }
    }

    #[tokio::test]
    async fn floor_never_moves_backwards() {
        for database in Database::each().await {
            let db = &database.pool;
            let epoch = life(db, 1).await.newest().id;
            life(db, 2).await;
            for (saved, expected) in [(5, 5), (3, 5), (5, 5), (9, 9)] {
                save_floor(db, epoch, saved).await.unwrap();
                assert_eq!(life(db, 1).await.newest().floor, expected);
            }
            let other = life(db, 2).await;
            assert_eq!(
                other.newest().floor,
                0,
                "another life has a floor of its own"
            );
        }
    }

    #[test]
    fn parts_give_each_sequence_its_position() {
        // Rolled back to 40, then to 20, then to 60, then to 60 once more.
        let life = Life::of_epochs(&[(1, 0), (2, 41), (3, 21), (4, 61), (5, 61)]);
        for (start, end) in [(1, 80), (20, 21), (21, 60), (61, 61), (5, 4)] {
            let parts = life.parts(start..=end).into_iter();
            let each: Vec<Position> = parts
                .flat_map(|(epoch, seqs)| seqs.map(move |seq| Position { epoch, seq }))
                .collect();
            let expected: Vec<Position> = (start..=end).map(|seq| life.position(seq)).collect();
            assert_eq!(each, expected);
        }
    }
}
