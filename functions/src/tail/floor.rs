//! The floor: up to here the database is complete, and the tail lies above.

use std::sync::Arc;
use std::time::{Duration, Instant};

use natsfn::jetstream::ConsumerInfo;
use natsfn::{Client, Db, Error, Kind, Result};
use parking_lot::Mutex;

use crate::store::epoch::{Life, life_of};
use crate::store::rollback::{self, unsettled};
use crate::store::rows::{Position, rows_at};
use crate::subjects::{CONSUMER, LOG};

/// How long a floor is cached. An old one is safe: it only makes the tail longer.
const FRESH: Duration = Duration::from_millis(250);

/// The cached floor.
#[derive(Clone, Default)]
pub(super) struct Floor(Arc<Mutex<Option<StoredFloor>>>);

/// A stream, and up to where it is in the database.
#[derive(Clone)]
pub(super) struct StoredFloor {
    pub(super) created_ns: i64,
    pub(super) life: Arc<Life>,
    pub(super) floor: u64,
    read: Instant,
}

/// Whether a reading is valid, checked after it.
pub(super) enum Look {
    Same,
    OtherLife,
    Doubtful,
}

impl StoredFloor {
    pub(super) fn position(&self, seq: u64) -> Position {
        self.life.position(seq.cast_signed())
    }

    /// Checks stream and database after the messages were read: they belong to this epoch only if
    /// the stream is still the same.
    pub(super) async fn look(&self, client: &Client, db: &Db, head: u64) -> Result<Look> {
        let stored = async {
            if head == 0 || head > self.floor {
                return Ok(true);
            }
            let rows = rows_at(db, [self.position(head)]).await?;
            Ok::<_, Error>(!rows.is_empty())
        };
        let (info, stored) = tokio::try_join!(client.stream_info(LOG), stored)?;
        if info.created_ns() != self.created_ns {
            return Ok(Look::OtherLife);
        }
        let noted = self.life.newest().floor.cast_unsigned();
        if info.state.last_seq < self.floor.max(noted) {
            return Err(unsettled());
        }
        // A head without a row is a dead letter or a repeat; or the floor is that of another
        // database or life, which reading the floor again tells. If the log was trimmed since the
        // floor was read, there are messages above the floor in the database alone.
        let trimmed = head == 0 && info.state.first_seq > self.floor + 1;
        Ok(if !stored || trimmed {
            Look::Doubtful
        } else {
            Look::Same
        })
    }
}

impl Floor {
    /// The cached floor if it is fresh, else the current one.
    pub(super) async fn read(&self, client: &Client, db: &Db) -> Result<StoredFloor> {
        let known = self.0.lock().clone();
        if let Some(known) = known.filter(|known| known.read.elapsed() < FRESH) {
            return Ok(known);
        }
        let read = Instant::now();
        let stream = client.stream_info(LOG).await.map_err(absent)?;
        let floor = match client.consumer_info(LOG, CONSUMER).await {
            // A consumer older than its stream belongs to a former life.
            Ok(consumer) if consumer.created >= stream.created => {
                check_database(db, &consumer).await?;
                consumer.ack_floor.stream_seq
            }
            Ok(_) => 0,
            Err(error) if error.kind() == Kind::NotFound => 0,
            Err(error) => return Err(error),
        };
        let life = life_of(db, LOG, stream.created_ns()).await?;
        if !rollback::agrees(client, db, &life).await? {
            return Err(unsettled());
        }
        let known = StoredFloor {
            created_ns: stream.created_ns(),
            life: Arc::new(life),
            floor,
            read,
        };
        *self.0.lock() = Some(known.clone());
        Ok(known)
    }

    /// Clears the cache.
    pub(super) fn forget(&self) {
        *self.0.lock() = None;
    }
}

/// Refuses a database that `persist` does not fill, since its gaps would go unnoticed.
async fn check_database(db: &Db, consumer: &ConsumerInfo) -> Result<()> {
    let (fed, read) = (consumer.database(), db.identity().await?);
    match (fed, read.as_deref()) {
        (Some(fed), Some(read)) if fed != read => Err(Error::unavailable(format!(
            "`persist` fills another database (id {fed}) than the one that history reads (id {read}): let database.url name that one"
        ))),
        _ => Ok(()),
    }
}

fn absent(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => Error::unavailable(format!("there is no stream {LOG}; run `chat setup`")),
        _ => error,
    }
}
