//! A backlog is moved into the database: chat's `persist` beside workers written by hand, and the rows alone.

use std::time::{Duration, Instant};

use async_nats::Client;
use async_nats::jetstream;
use async_nats::jetstream::consumer::PullConsumer;
use chat::app::App;
use chat::chat_service;
use chat::config::Config;
use chat::message::Message;
use chat::message::logged::Logged;
use chat::store::entity::messages::{ActiveModel, Entity};
use chat::subjects::{CONSUMER, LOG};
use futures_util::{StreamExt, TryStreamExt};
use sea_orm::ActiveValue::Set;
use sea_orm::sqlx::{self, PgPool, QueryBuilder, Sqlite, SqlitePool};
use sea_orm::{Database, EntityTrait, PaginatorTrait};

use crate::backlog::{both, drained, durable, empty};
use crate::process::ProcessorTime;
use crate::rounds::{Contestant, Figures, Rounds, number};
use crate::{Failure, Outcome};

/// Messages in one batch of a worker written by hand, as many as `persist` takes at once.
const BATCH: usize = 1_000;

/// The log and the database of a round.
struct World {
    nats: Client,
    url: String,
    messages: usize,
    singly: usize,
}

pub(crate) async fn measure() -> Outcome {
    let data = tempfile::tempdir()?;
    let server = durable(data.path()).await?;
    let nats = async_nats::connect(server.url()).await?;
    let messages = number("BENCH_MESSAGES", 100_000);
    let singly = number("BENCH_SINGLY", 5_000).min(messages);
    let mut rounds = Rounds::new("persist");
    let mut is_filled = false;
    for (name, url) in both(data.path())? {
        let world = World {
            nats: nats.clone(),
            url,
            messages,
            singly,
        };
        world.reset().await?;
        if !is_filled {
            eprintln!("filling the log with {messages} messages");
            fill(&nats, messages).await?;
            is_filled = true;
        }
        let world = &world;
        let contestants = vec![
            Contestant::new("one INSERT and one ack a message", || world.singly()),
            Contestant::new("persist", || world.persist()),
            Contestant::new("pull, insert once, ack, by hand", || world.by_hand()),
            Contestant::new("the rows alone", || world.rows_alone()),
        ];
        let title = format!("{messages} messages, {name}");
        rounds.scene(&title, contestants).await?;
    }
    Ok(())
}

impl World {
    /// An empty database, and a consumer that begins at the log's first message.
    async fn reset(&self) -> Outcome {
        empty(&self.url).await?;
        let jetstream = jetstream::new(self.nats.clone());
        if let Ok(log) = jetstream.get_stream(LOG).await {
            log.delete_consumer(CONSUMER).await?;
        }
        let service = chat_service(App::new(Config::default())).build()?;
        natsfn::setup::setup(&service, &self.nats.clone().into(), Some(&self.url)).await?;
        Ok(())
    }

    /// What a round's figures are, once its rows are there.
    async fn figures(
        &self,
        messages: usize,
        started: Instant,
        before: Duration,
    ) -> Outcome<Figures> {
        let took = started.elapsed();
        let processor = ProcessorTime::of_this()?.total() - before;
        let database = Database::connect(&self.url).await?;
        let stored = Entity::find().count(&database).await?;
        database.close().await?;
        if stored != messages as u64 {
            return Err(format!("{stored} rows of {messages}").into());
        }
        Ok(vec![
            ("messages/s", messages as f64 / took.as_secs_f64()),
            (
                "processor us",
                processor.as_secs_f64() * 1e6 / messages as f64,
            ),
        ])
    }

    async fn persist(&self) -> Outcome<Figures> {
        self.reset().await?;
        let service = chat_service(App::new(Config::default())).build()?;
        let service = service.only(&["persist".into()])?;
        let (started, before) = (Instant::now(), ProcessorTime::of_this()?.total());
        let running = natsfn::start(service, self.nats.clone(), Some(&*self.url)).await?;
        drained(&self.nats, LOG, CONSUMER).await?;
        let figures = self.figures(self.messages, started, before).await;
        running.stop(Duration::from_secs(10)).await;
        figures
    }

    /// What people write first.
    async fn singly(&self) -> Outcome<Figures> {
        self.reset().await?;
        let (started, before) = (Instant::now(), ProcessorTime::of_this()?.total());
        let database = Database::connect(&self.url).await?;
        let mut deliveries = self.consumer().await?.messages().await?.take(self.singly);
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery?;
            let Row { seq, message } = decoded(&delivery)?;
            let row = ActiveModel {
                epoch: Set(1),
                seq: Set(seq),
                realm: Set(message.realm),
                room: Set(message.room),
                uid: Set(message.uid),
                username: Set(message.user),
                msg_id: Set(message.id),
                text: Set(message.text),
                timestamp: Set(message.timestamp),
                created_at: Set(0),
            };
            Entity::insert(row)
                .exec_without_returning(&database)
                .await?;
            delivery.ack().await?;
        }
        // The acknowledgements have reached the server.
        self.nats.flush().await?;
        database.close().await?;
        self.figures(self.singly, started, before).await
    }

    /// What somebody writes who knows both well: one statement for a batch, then its acknowledgements.
    /// There are no dead letters, epochs, traces and outcomes, and a repeat of a position is dropped.
    async fn by_hand(&self) -> Outcome<Figures> {
        self.reset().await?;
        let (started, before) = (Instant::now(), ProcessorTime::of_this()?.total());
        let database = Plain::connect(&self.url).await?;
        let consumer = self.consumer().await?;
        let mut stored = 0;
        while stored < self.messages {
            let fetch = consumer.fetch().max_messages(BATCH).messages().await?;
            let batch: Vec<_> = fetch.try_collect().await?;
            let rows: Vec<Row> = batch.iter().map(decoded).collect::<Outcome<_>>()?;
            database.insert(&rows).await?;
            for delivery in &batch {
                delivery.ack().await?;
            }
            stored += batch.len();
        }
        drained(&self.nats, LOG, CONSUMER).await?;
        self.figures(self.messages, started, before).await
    }

    /// The rows from memory: by COPY, or by INSERTs in one transaction.
    async fn rows_alone(&self) -> Outcome<Figures> {
        self.reset().await?;
        let rows = (0..self.messages).map(|n| {
            let (subject, payload) = said(n);
            row(&subject, &payload, n as u64 + 1)
        });
        let rows: Vec<Row> = rows.collect::<Outcome<_>>()?;
        let (started, before) = (Instant::now(), ProcessorTime::of_this()?.total());
        Plain::connect(&self.url).await?.load(&rows).await?;
        self.figures(self.messages, started, before).await
    }

    async fn consumer(&self) -> Outcome<PullConsumer> {
        let jetstream = jetstream::new(self.nats.clone());
        Ok(jetstream.get_consumer_from_stream(CONSUMER, LOG).await?)
    }
}

/// A row, before it has an epoch.
struct Row {
    seq: i64,
    message: Message,
}

fn decoded(delivery: &jetstream::Message) -> Outcome<Row> {
    let seq = delivery.info()?.stream_sequence;
    row(&delivery.subject, &delivery.payload, seq)
}

fn row(subject: &str, payload: &[u8], seq: u64) -> Outcome<Row> {
    let logged = Logged {
        unreadable: None,
        subject,
        message_id: None,
        origin: (seq, 0),
        time_ns: i64::MAX / 2,
        payload,
    };
    Ok(Row {
        seq: seq.cast_signed(),
        message: logged.message()?,
    })
}

/// A database without natsfn and sea-orm.
enum Plain {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

impl Plain {
    async fn connect(url: &str) -> Outcome<Self> {
        Ok(if url.starts_with("sqlite") {
            Self::Sqlite(SqlitePool::connect(url).await?)
        } else {
            Self::Postgres(PgPool::connect(url).await?)
        })
    }

    /// Inserts the rows that are not there.
    async fn insert(&self, rows: &[Row]) -> Outcome {
        match self {
            Self::Postgres(pool) => {
                let text = |of: fn(&Message) -> &str| -> Vec<&str> {
                    rows.iter().map(|row| of(&row.message)).collect()
                };
                let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
                let times: Vec<i64> = rows.iter().map(|row| row.message.timestamp).collect();
                sqlx::query(
                    "INSERT INTO messages (epoch, seq, realm, room, uid, username, msg_id, text, timestamp, created_at) \
                     SELECT 1, seq, realm, room, uid, username, msg_id, text, timestamp, 0 FROM UNNEST( \
                     $1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[]) \
                     AS row (seq, realm, room, uid, username, msg_id, text, timestamp) ON CONFLICT DO NOTHING",
                )
                .bind(seqs)
                .bind(text(|said| said.realm.as_str()))
                .bind(text(|said| said.room.as_str()))
                .bind(text(|said| &said.uid))
                .bind(text(|said| &said.user))
                .bind(text(|said| &said.id))
                .bind(text(|said| &said.text))
                .bind(times)
                .execute(pool)
                .await?;
            }
            Self::Sqlite(pool) => {
                many(rows).build().execute(pool).await?;
            }
        }
        Ok(())
    }

    /// Loads rows into an empty table, by the fastest way that the database has.
    async fn load(&self, rows: &[Row]) -> Outcome {
        match self {
            Self::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                let mut copy = connection
                    .copy_in_raw("COPY messages (epoch, seq, realm, room, uid, username, msg_id, text, timestamp, created_at) FROM STDIN")
                    .await?;
                for rows in rows.chunks(BATCH) {
                    let mut lines = String::new();
                    for Row { seq, message } in rows {
                        let Message {
                            uid,
                            user,
                            id,
                            text,
                            timestamp,
                            ..
                        } = message;
                        let (realm, room) = (message.realm.as_str(), message.room.as_str());
                        lines += &format!(
                            "1\t{seq}\t{realm}\t{room}\t{uid}\t{user}\t{id}\t{text}\t{timestamp}\t0\n"
                        );
                    }
                    copy.send(lines.into_bytes()).await?;
                }
                copy.finish().await?;
            }
            Self::Sqlite(pool) => {
                let mut transaction = pool.begin().await?;
                for rows in rows.chunks(BATCH) {
                    many(rows).build().execute(&mut *transaction).await?;
                }
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

/// An INSERT of many rows.
fn many(rows: &[Row]) -> QueryBuilder<Sqlite> {
    let mut insert = QueryBuilder::new(
        "INSERT INTO messages (epoch, seq, realm, room, uid, username, msg_id, text, timestamp, created_at) ",
    );
    insert.push_values(rows, |mut values, Row { seq, message }| {
        values
            .push_bind(1)
            .push_bind(*seq)
            .push_bind(message.realm.as_str())
            .push_bind(message.room.as_str().to_owned())
            .push_bind(message.uid.clone())
            .push_bind(message.user.clone())
            .push_bind(message.id.clone())
            .push_bind(message.text.clone())
            .push_bind(message.timestamp)
            .push_bind(0);
    });
    insert.push(" ON CONFLICT DO NOTHING");
    insert
}

/// The subject and the payload of a message, as `send` writes it.
fn said(n: usize) -> (String, Vec<u8>) {
    let room = ["general", "random", "help"][n % 3];
    let payload = serde_json::json!({
        "id": format!("message-{n}"), "user": "Bench", "uid": "bench", "room": room,
        "text": format!("message {n}: what somebody says in a room, about so long"),
        "timestamp": 1_700_000_000_000_i64 + n as i64,
    });
    (format!("chat.{room}"), payload.to_string().into_bytes())
}

async fn fill(nats: &Client, messages: usize) -> Outcome {
    let jetstream = &jetstream::new(nats.clone());
    // In order, many at once.
    futures_util::stream::iter(0..messages)
        .map(|n| async move {
            let (subject, payload) = said(n);
            jetstream.publish(subject, payload.into()).await?.await?;
            Ok::<_, Failure>(())
        })
        .buffered(256)
        .try_collect()
        .await
}
