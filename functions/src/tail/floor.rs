//! The floor: up to here the database is complete, and the tail lies above.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use natsfn::jetstream::ConsumerInfo;
use natsfn::{Client, Db, Error, Kind, Result};
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::store::epoch::{Life, life_of};
use crate::store::rollback::{self, unsettled};
use crate::store::rows::{Position, rows_at};
use crate::subjects::{CONSUMER, LOG};

/// How long a floor is cached. An old one is safe: it only makes the tail longer.
const FRESH: Duration = Duration::from_millis(250);

/// How old the floor may be where messages above it would have to be read.
const RAISED: Duration = Duration::from_millis(5);

/// How long a request waits while another one reads the floor, whose answer may be lost.
const PATIENCE: Duration = Duration::from_millis(500);

/// The cached floor.
#[derive(Clone, Default)]
pub(super) struct Floor {
    known: Arc<Mutex<Option<StoredFloor>>>,
    /// Requests that need it at once read it once.
    reading: Arc<tokio::sync::Mutex<()>>,
    /// When the last reading began.
    began: Arc<Mutex<Option<Instant>>>,
    /// When the last one began that failed, and why.
    failed: Arc<Mutex<Option<(Instant, Error)>>>,
}

/// A stream, and up to where it is in the database.
#[derive(Clone)]
pub(super) struct StoredFloor {
    pub(super) created_ns: i64,
    pub(super) life: Arc<Life>,
    pub(super) floor: u64,
    pub(super) read: Instant,
    raised: Instant,
    /// When the consumer was made, if it counts.
    consumer: Option<SystemTime>,
}

/// Whether a reading is valid, checked after it.
pub(super) enum Look {
    /// What was trimmed from the log ends before this sequence.
    Same {
        first: u64,
    },
    OtherLife,
    /// The room's last message is below the floor and has no row.
    Doubtful,
}

impl StoredFloor {
    pub(super) fn position(&self, seq: u64) -> Position {
        self.life.position(seq.cast_signed())
    }

    /// Up to here the database is known to hold the newest epoch.
    pub(super) fn noted(&self) -> u64 {
        self.life.newest().floor.cast_unsigned()
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
        if info.state.last_seq < self.floor.max(self.noted()) {
            return Err(unsettled());
        }
        // A head without a row is a dead letter or a repeat; or the floor is that of another
        // database or life, which reading the floor again tells.
        let first = info.state.first_seq;
        Ok(if stored {
            Look::Same { first }
        } else {
            Look::Doubtful
        })
    }
}

impl Floor {
    /// The cached floor if it is fresh.
    pub(super) fn at_hand(&self) -> Option<StoredFloor> {
        let known = self.known.lock().clone();
        known.filter(|known| known.read.elapsed() < FRESH)
    }

    /// The cached floor if it is fresh, else the current one. What was read before `in_doubt` is read
    /// again, unless somebody has done so since.
    pub(super) async fn read(
        &self,
        client: &Client,
        db: &Db,
        in_doubt: Option<Instant>,
    ) -> Result<StoredFloor> {
        let asked = Instant::now();
        let fresh = || {
            // A slow reading that began after the question is as good as one of its own.
            let known = self.known.lock().clone().filter(|known| {
                let is_later = in_doubt.is_none_or(|doubt| known.read > doubt);
                is_later && (known.read.elapsed() < FRESH || known.read >= asked)
            });
            let failed = || {
                let failed = self.failed.lock();
                let (_, error) = failed.as_ref().filter(|it| it.0 >= asked)?;
                Some(Err(Error::new(error.kind(), error.to_string())))
            };
            known.map(Ok).or_else(failed)
        };
        let _turn = loop {
            if let Some(known) = fresh() {
                return known;
            }
            match timeout(PATIENCE, self.reading.lock()).await {
                Ok(turn) => break Some(turn),
                Err(_) if self.overtakes() => break None,
                // Another one reads since: one for each who waits would be too much for what is slow.
                Err(_) => {}
            }
        };
        if let Some(known) = fresh() {
            return known;
        }
        let began = Instant::now();
        *self.began.lock() = Some(began);
        let read = read(client, db, began).await;
        match &read {
            Ok(read) => {
                let mut known = self.known.lock();
                // Another one may have begun later and ended before.
                if known.as_ref().is_none_or(|known| known.read < began) {
                    *known = Some(read.clone());
                }
            }
            Err(error) => {
                let error = Error::new(error.kind(), error.to_string());
                let mut failed = self.failed.lock();
                if failed.as_ref().is_none_or(|(before, _)| *before < began) {
                    *failed = Some((began, error));
                }
            }
        }
        read
    }

    /// The floor as it is by now, if the consumer is still the one that was compared with stream and database;
    /// else the one that is known, which does as well.
    pub(super) async fn raise(&self, client: &Client, known: StoredFloor) -> StoredFloor {
        let newest = || {
            let newest = self.known.lock().clone();
            newest
                .filter(|newest| newest.read == known.read)
                .unwrap_or_else(|| known.clone())
        };
        let is_raised = |known: &StoredFloor| known.raised.elapsed() < RAISED;
        if known.consumer.is_none() || is_raised(&newest()) {
            return newest();
        }
        let Ok(_turn) = timeout(PATIENCE, self.reading.lock()).await else {
            return newest();
        };
        let mut raised = newest();
        if is_raised(&raised) {
            return raised;
        }
        let consumer = client.consumer_info(LOG, CONSUMER).await;
        if let Ok(consumer) = consumer
            && Some(consumer.created) == raised.consumer
        {
            raised.floor = raised.floor.max(consumer.ack_floor.stream_seq);
        }
        // Whatever the answer and however late, or those who wait for a turn would ask one after the other.
        raised.raised = Instant::now();
        let mut known = self.known.lock();
        if let Some(known) = known.as_mut().filter(|known| known.read == raised.read) {
            known.clone_from(&raised);
        }
        raised
    }

    /// Whether no reading has begun for long; then the one who asks begins one.
    fn overtakes(&self) -> bool {
        let mut began = self.began.lock();
        let is_long_ago = began.is_none_or(|began| began.elapsed() >= PATIENCE);
        if is_long_ago {
            *began = Some(Instant::now());
        }
        is_long_ago
    }
}

/// Reads the floor, and checks that stream and database belong together.
async fn read(client: &Client, db: &Db, began: Instant) -> Result<StoredFloor> {
    let stream = client.stream_info(LOG).await.map_err(absent)?;
    let (floor, consumer) = match client.consumer_info(LOG, CONSUMER).await {
        // A consumer older than its stream belongs to a former life.
        Ok(consumer) if consumer.created >= stream.created => {
            check_database(db, &consumer).await?;
            (consumer.ack_floor.stream_seq, Some(consumer.created))
        }
        Ok(_) => (0, None),
        Err(error) if error.kind() == Kind::NotFound => (0, None),
        Err(error) => return Err(error),
    };
    let life = life_of(db, LOG, stream.created_ns()).await?;
    if !rollback::agrees(client, db, &life).await? {
        return Err(unsettled());
    }
    Ok(StoredFloor {
        created_ns: stream.created_ns(),
        life: Arc::new(life),
        floor,
        read: began,
        raised: began,
        consumer,
    })
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
