//! Up to where the database has everything of the log, checked against its rows.

mod compared;

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::future::try_join_all;
use natsfn::{Background, Client, Db, Error, Result, StreamId, dead_letter};
use parking_lot::{Mutex, MutexGuard};
use sea_orm::{ConnectionTrait, DbErr, TransactionSession, TransactionTrait};

use super::epoch::{Life, find_life, life_of, lower_floor, save_floor};
use super::rollback;
use super::rows::{count, rows_of, seqs_among};
use crate::message::logged::Logged;
use crate::subjects::LOG;
use compared::{Compared, Look};

/// Sequences in one statement.
const PART: i64 = 10_000;

/// How many messages of the log are read at once.
const READS: usize = 64;

/// Sequences known to need no row: their messages are not read again at each comparison.
#[derive(Clone, Debug, Default)]
pub struct Passed(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    epoch: i64,
    /// The saved floor at that time.
    floor: i64,
    seqs: BTreeSet<i64>,
}

/// Up to where the database has everything of a life of the log, without a gap. It is saved as the
/// life's floor, and compared with the consumer's ack floor: by `setup`, by `persist` on each
/// connection, and before the log is trimmed.
///
/// The ack floor alone proves nothing: the database may have been restored to an older state, even
/// while `persist` runs (from a backup, or by failover to a standby that lacks the last commits).
/// Nor does the saved floor: rows below it may have been deleted. So each sequence that the log
/// holds, and each above the saved floor, must have a row or need none.
///
/// It checks for a rollback first. After one, everything in the log behind the common part is new,
/// even if the consumer has acknowledged it.
///
/// # Errors
/// The log or the database is unavailable, or one of them changed meanwhile.
pub async fn stored_up_to(context: Background, stream: StreamId, passed: Passed) -> Result<u64> {
    let (db, client) = (context.db()?, context.client());
    let life = life_of(&db, &stream.name, stream.created_ns()).await?;
    let life = rollback::check(client, &db, life).await?;
    let log = client.stream_info(&stream.name).await?;
    if log.created_ns() != stream.created_ns() {
        return Err(Error::unavailable("the log was recreated just now"));
    }
    // It is 0 if the log never held anything.
    let first = log.state.first_seq.cast_signed().max(1);
    let floor = life.newest().floor;
    // The ack floor is above the log's end if an older log was restored under the consumer.
    let upto = stream.ack_floor.min(log.state.last_seq).cast_signed();
    let upto = upto.max(floor);
    let mut compared = Compared::new(first, floor);
    if passed
        .and_rows_are_all(&db, &life, compared.stored + 1..=floor)
        .await?
    {
        compared.stored = floor;
    }
    while compared.stored < upto {
        let part = compared.stored + 1..=upto.min(compared.stored + PART);
        let missing = missing(&db, &life, part.clone()).await?;
        let held = &missing[compared.held_from(&missing)..];
        let look = look(client, &db, &passed.unknown(&life, held)).await?;
        if !compared.add(*part.end(), &missing, look) {
            break;
        }
    }
    let Compared {
        stored,
        without_row,
        seen,
        lost,
        ..
    } = compared;
    if stored > floor {
        let with_row = (stored - floor).cast_unsigned() - without_row as u64;
        note(&db, &life, stored, with_row).await?;
    }
    if stored < floor && lower_floor(&db, life.newest(), stored).await? {
        tracing::error!(
            first_missing = stored + 1,
            floor,
            "the database has lost rows below its floor, up to which everything had been stored: what the log still holds is stored again. Were rows deleted?"
        );
    }
    passed.add(&life, first, seen);
    if lost.count > 0 {
        tracing::error!(
            lost = lost.count,
            from = lost.from,
            to = lost.to,
            floor,
            first,
            "the database has no row for these sequences above its floor, and the log does not hold them any more: except for dead letters and repeats they are lost. Is there a newer backup?"
        );
    }
    Ok(stored.cast_unsigned())
}

impl Passed {
    /// Whether each of the sequences has a row, or is known to need none. If not, forgets what is
    /// known, so that it is checked again.
    async fn and_rows_are_all(
        &self,
        db: &impl ConnectionTrait,
        life: &Life,
        seqs: RangeInclusive<i64>,
    ) -> Result<bool, DbErr> {
        if seqs.is_empty() {
            return Ok(true);
        }
        let all = (seqs.end() - seqs.start() + 1).cast_unsigned();
        let passed = self.of(life).seqs.range(seqs.clone()).count() as u64;
        let are_all = passed + rows(db, life, seqs).await? == all;
        if !are_all {
            self.of(life).seqs.clear();
        }
        Ok(are_all)
    }

    /// The sequences that are not known yet.
    fn unknown(&self, life: &Life, seqs: &[i64]) -> Vec<i64> {
        let passed = self.of(life);
        let unknown = seqs.iter().filter(|seq| !passed.seqs.contains(seq));
        unknown.copied().collect()
    }

    fn add(&self, life: &Life, first: i64, seqs: Vec<i64>) {
        let mut passed = self.of(life);
        passed.seqs.extend(seqs);
        passed.seqs = passed.seqs.split_off(&first);
    }

    /// Forgets what was seen in another epoch, or before the database was restored.
    fn of(&self, life: &Life) -> MutexGuard<'_, Seen> {
        let mut passed = self.0.lock();
        let newest = life.newest();
        if passed.epoch != newest.id || passed.floor > newest.floor {
            passed.seqs.clear();
        }
        (passed.epoch, passed.floor) = (newest.id, newest.floor);
        passed
    }
}

/// How many of the sequences have a row at their position.
async fn rows(
    db: &impl ConnectionTrait,
    life: &Life,
    seqs: RangeInclusive<i64>,
) -> Result<u64, DbErr> {
    let mut rows = 0;
    for (epoch, part) in life.parts(seqs) {
        rows += count(db, epoch, part).await?;
    }
    Ok(rows)
}

/// The sequences without a row at their position, ascending.
async fn missing(
    db: &impl ConnectionTrait,
    life: &Life,
    seqs: RangeInclusive<i64>,
) -> Result<Vec<i64>, DbErr> {
    let mut missing = Vec::new();
    for (epoch, part) in life.parts(seqs) {
        let all = (part.end() - part.start() + 1).cast_unsigned();
        if count(db, epoch, part.clone()).await? < all {
            let there: HashSet<i64> = seqs_among(db, epoch, part.clone()).await?;
            missing.extend(part.filter(|seq| !there.contains(seq)));
        }
    }
    Ok(missing)
}

/// Finds the first message that must still be stored. A repeat needs no row, since it has one
/// elsewhere, nor does a message that is, or can only become, a dead letter.
async fn look(client: &Client, db: &Db, seqs: &[i64]) -> Result<Look> {
    let mut look = Look::default();
    for seqs in seqs.chunks(READS) {
        let read = seqs
            .iter()
            .map(|seq| client.message(LOG, seq.cast_unsigned()));
        let logged = try_join_all(read).await?;
        let storable: Vec<_> = logged
            .iter()
            .flatten()
            .filter_map(|logged| Some((logged, Logged::from(logged).message().ok()?)))
            .collect();
        let known = rows_of(db, storable.iter().map(|(_, message)| message)).await?;
        for (logged, message) in storable {
            if !known.contains_key(&(message.uid, message.id))
                && !dead_letter::is_kept(client, "chat", "persist", LOG, logged).await?
            {
                look.needed = Some(logged.seq().cast_signed());
                break;
            }
        }
        let vanished = seqs.iter().zip(&logged).filter(|(_, is)| is.is_none());
        let below = look.needed.unwrap_or(i64::MAX);
        let vanished = vanished.map(|(seq, _)| *seq).filter(|seq| *seq < below);
        look.vanished.extend(vanished);
        if look.needed.is_some() {
            break;
        }
    }
    Ok(look)
}

/// Saves the floor if the database, which may have been restored, still has as many rows as seen.
async fn note(db: &impl TransactionTrait, life: &Life, stored: i64, seen: u64) -> Result<()> {
    let newest = life.newest();
    let transaction = db.begin().await?;
    let now = find_life(&transaction, &newest.stream, newest.stream_created).await?;
    let mut is_same =
        now.is_some_and(|now| now.newest().id == newest.id && now.newest().floor >= newest.floor);
    if is_same {
        is_same = rows(&transaction, life, newest.floor + 1..=stored).await? == seen;
    }
    if !is_same {
        return Err(Error::unavailable(
            "the database was changed while it was compared with the log",
        ));
    }
    save_floor(&transaction, newest.id, stored).await?;
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use natsfn::Kind;
    use sea_orm::DatabaseConnection;

    use super::*;
    use crate::database::Database;
    use crate::message::Message;
    use crate::message::room::Realm;
    use crate::store::insert::insert_once;
    use crate::store::rows::{Position, Row};

    async fn store(db: &DatabaseConnection, epoch: i64, seqs: impl IntoIterator<Item = i64>) {
        let rows = seqs.into_iter().map(|seq| Row {
            at: Position { epoch, seq },
            message: Message {
                id: format!("{epoch}-{seq}"),
                user: "Alice".to_owned(),
                uid: "alice".to_owned(),
                text: "hello".to_owned(),
                timestamp: seq,
                room: "general".parse().unwrap(),
                realm: Realm::Chat,
            },
        });
        insert_once(db, &rows.collect::<Vec<_>>()).await.unwrap();
    }

    #[tokio::test]
    async fn row_of_an_old_epoch_is_none_of_the_epoch_that_uses_its_sequence_again() {
        for database in Database::each().await {
            let db = &database.pool;
            // Rolled back behind 3: what follows belongs to the second epoch.
            let life = Life::of_epochs(&[(1, 1), (2, 4)]);
            store(db, 1, 1..=6).await;
            store(db, 2, [4, 6, 9]).await;

            assert_eq!(missing(db, &life, 1..=7).await.unwrap(), [5, 7]);
            assert_eq!(rows(db, &life, 1..=7).await.unwrap(), 5);
            assert!(missing(db, &life, 1..=3).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn empty_range_lacks_nothing() {
        for database in Database::each().await {
            let (db, life) = (&database.pool, Life::of_epochs(&[(1, 1)]));
            let empty = RangeInclusive::new(5, 4);
            assert!(missing(db, &life, empty.clone()).await.unwrap().is_empty());
            assert_eq!(rows(db, &life, empty.clone()).await.unwrap(), 0);
            let passed = Passed::default();
            assert!(passed.and_rows_are_all(db, &life, empty).await.unwrap());
        }
    }

    #[tokio::test]
    async fn what_was_seen_stands_for_rows_until_one_is_missing() {
        for database in Database::each().await {
            let (db, life) = (&database.pool, Life::of_epochs(&[(1, 1)]));
            store(db, 1, [1, 2, 4]).await;
            let passed = Passed::default();
            passed.add(&life, 1, vec![3, 5]);
            assert_eq!(passed.unknown(&life, &[3, 5, 6]), [6]);

            assert!(passed.and_rows_are_all(db, &life, 1..=5).await.unwrap());
            assert!(!passed.and_rows_are_all(db, &life, 1..=6).await.unwrap());
            assert_eq!(passed.unknown(&life, &[3, 5, 6]), [3, 5, 6]);
        }
    }

    #[test]
    fn what_was_seen_is_forgotten_below_the_log_and_with_its_epoch() {
        let life = Life::of_epochs(&[(1, 1)]);
        let passed = Passed::default();
        passed.add(&life, 1, vec![3, 5]);
        passed.add(&life, 4, vec![6]);
        assert_eq!(passed.unknown(&life, &[3, 5, 6]), [3]);

        let rolled_back = Life::of_epochs(&[(1, 1), (2, 6)]);
        assert_eq!(passed.unknown(&rolled_back, &[3, 5, 6]), [3, 5, 6]);
    }

    #[tokio::test]
    async fn floor_is_saved_only_where_the_rows_are_still_there() {
        for database in Database::each().await {
            let db = &database.pool;
            let life = life_of(db, "LOG", 1).await.unwrap();
            store(db, life.newest().id, [1, 3]).await;

            let error = note(db, &life, 3, 3).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Unavailable);
            note(db, &life, 3, 2).await.unwrap();

            let noted = life_of(db, "LOG", 1).await.unwrap();
            assert_eq!(noted.newest().floor, 3);
            // What was seen in the newer database does not hold in an older one.
            let passed = Passed::default();
            passed.add(&noted, 1, vec![2]);
            assert!(passed.unknown(&noted, &[2]).is_empty());
            assert_eq!(passed.unknown(&life, &[2]), [2]);
        }
    }
}
