//! What is computed for each user is enough for all that a service and its commands do, and nothing of
//! it is needless: each subject is taken away in turn, and the server refuses something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use async_nats::Client;
use futures_util::{StreamExt, stream};
use natsfn::config::{Login, NatsConfig};
use natsfn::rights::{Right, Rights};
use natsfn::setup::{Options, setup_with};
use natsfn::testing::{self, TestServer};
use natsfn::{
    Access, Background, Caller, Connections, Consumer, Definition, Endpoint, Error, HeaderMap,
    Kind, Nats, Path, Running, Service, Stream, StreamId, Work, dead_letter,
};
use serde_json::json;

use crate::caller::Raw;
use crate::world::{until, within};

/// Up to where the store of `store` is complete, and whether `again` was refused once.
#[derive(Clone, Default)]
struct Store {
    upto: Arc<AtomicU64>,
    refused: [Arc<AtomicBool>; 2],
}

/// Does everything that a function can do with its connection.
async fn all(client: natsfn::Client, _: Caller, Path(x): Path<String>) -> natsfn::Result<()> {
    let subject = format!("log.{x}");
    let stored = client
        .append(&subject, None, HeaderMap::new(), "1".into())
        .await?;
    client.message("LOG", stored.seq).await?;
    client.range("LOG", &subject, 1, 10, 1 << 20).await?;
    client.stream_info("LOG").await?;
    client.consumer_info("LOG", "every-store").await?;
    Ok(())
}

/// A dead letter for `bad`, and a redelivery for `again`.
fn handle(refused: &AtomicBool, payload: &[u8]) -> natsfn::Result<()> {
    match payload {
        b"bad" => Err(Error::bad_request("bad")),
        b"again" if !refused.swap(true, Relaxed) => Err(Error::new(Kind::TooManyRequests, "later")),
        _ => Ok(()),
    }
}

async fn trim(mut background: Background) -> natsfn::Result<()> {
    let pause = Duration::from_millis(20);
    while tokio::time::timeout(pause, background.stopped())
        .await
        .is_err()
    {
        let settled = background.settled("store").await?;
        if settled.is_some_and(|settled| settled.upto > 0) {
            background.client().purge_below("LOG", 2).await?;
        }
    }
    Ok(())
}

impl Store {
    fn service(&self, max_bytes: i64) -> Definition {
        let log = Stream::new("LOG", ["log.{x}"]).max_bytes(max_bytes);
        let upto = self.upto.clone();
        let floor = move |context: Background, _: StreamId| {
            let upto = upto.load(Relaxed);
            async move {
                context.client().message("LOG", 1).await?;
                Ok(upto)
            }
        };
        let [store, one] = self.refused.clone();
        let everything = Endpoint::new("all", "every.all.{x}")
            .publishes("log.{x}")
            .uses(Access::messages("LOG"))
            .uses(Access::ranges("LOG"))
            .uses(Access::stream_info("LOG"))
            .uses(Access::consumer_info("LOG", "every-store"));
        let ack_wait = Duration::from_millis(500);
        let of_store = Consumer::new("store", log.clone())
            .ack_wait(ack_wait)
            .uses(Access::messages("LOG"))
            .uses(Access::purge("LOG"))
            .natural_key()
            .floor(floor);
        let of_one = Consumer::new("one", log)
            .ack_wait(ack_wait)
            .filter(["log.one"]);
        Service::new("every", "1.0.0")
            .endpoint(everything, all)
            .consumer(of_store, move |payload: natsfn::Bytes| {
                let handled = handle(&store, &payload);
                async { handled }
            })
            .consumer(of_one, move |payload: natsfn::Bytes| {
                let handled = handle(&one, &payload);
                async { handled }
            })
            .task(
                Work::of("store").uses(Access::purge("LOG")),
                |background, ()| trim(background),
            )
            .build()
            .unwrap()
    }
}

/// The users, with what is computed for them.
fn users() -> Vec<(&'static str, Rights)> {
    let service = Store::default().service(1 << 20);
    let mut users: Vec<_> = ["all", "store", "one"]
        .map(|name| {
            let alone = service.clone().only(&[name.to_owned()]).unwrap();
            (name, Rights::of_functions(&alone, &inbox(name)))
        })
        .into();
    users.push(("setup", Rights::of_setup(&service, &inbox("setup"))));
    users.push(("dead", Rights::of_dead(&service, &inbox("dead"))));
    users
}

fn inbox(user: &str) -> String {
    format!("_INBOX.s.{user}")
}

fn conf(users: &[(&str, Rights)], second_form: bool) -> String {
    let list = |rights: &[Right]| {
        let subjects: Vec<&str> = rights.iter().map(|right| &*right.subject).collect();
        json!(subjects)
    };
    let users: Vec<String> = users
        .iter()
        .map(|(name, Rights { subscribe, publish, .. })| {
            let (subscribe, publish) = (list(subscribe), list(publish));
            format!("{{ user: {name}, password: {name}, permissions: {{ subscribe: {subscribe}, publish: {publish} }} }}")
        })
        .collect();
    let users = users.join("\n");
    format!(
        r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream {{ store_dir: $NATS_CONF_STORE_DIR }}
feature_flags {{ js_ack_fc_v2: {second_form} }}
accounts {{
  EVERY {{
    jetstream: enabled
    users: [
      {{ user: operator, password: operator }}
      {users}
    ]
    exports: [{{ service: "every.all.*" }}]
  }}
  PEOPLE {{
    users: [{{ user: person, password: person }}]
    imports: [{{ service: {{ account: EVERY, subject: "every.all.*" }}, share: true }}]
  }}
}}
"#
    )
}

struct Place {
    server: TestServer,
    operator: Client,
}

impl Place {
    async fn login(&self, user: &str) -> Result<Nats, String> {
        natsfn::connect_once(&self.config(user), user)
            .await
            .map_err(|error| error.to_string())
    }

    fn config(&self, user: &str) -> NatsConfig {
        let config = NatsConfig {
            url: self.server.url().to_owned(),
            ..NatsConfig::default()
        };
        config.login(&Login::new(user, user, inbox(user)))
    }

    async fn set_up(&self, service: &Definition) -> Result<(), String> {
        let nats = self.login("setup").await?;
        let options = Options::default();
        let told = setup_with(service, &nats, None, &options).await;
        told.map(drop).map_err(|error| error.to_string())
    }

    async fn serve(&self, service: &Definition, name: &str) -> Result<Running, String> {
        let alone = service.clone().only(&[name.to_owned()]).unwrap();
        let connections = Connections::open(&self.config(name), name).await;
        let connections = connections.map_err(|error| error.to_string())?;
        let running = natsfn::start(alone, connections, None).await;
        running.map_err(|error| error.to_string())
    }

    async fn api(&self, call: &str, body: serde_json::Value) -> serde_json::Value {
        let subject = format!("$JS.API.{call}");
        let answer = self
            .operator
            .request(subject, body.to_string().into())
            .await;
        serde_json::from_slice(&answer.unwrap().payload).unwrap()
    }

    /// Up to where a consumer has acknowledged; none where it is not there.
    async fn acknowledged(&self, consumer: &str) -> Option<u64> {
        let info = self
            .api(&format!("CONSUMER.INFO.LOG.{consumer}"), json!({}))
            .await;
        info["ack_floor"]["stream_seq"].as_u64()
    }

    async fn is_settled(&self, consumer: &'static str, upto: u64) {
        until("everything is acknowledged", async || {
            self.acknowledged(consumer).await.filter(|seq| *seq >= upto)
        })
        .await;
    }

    /// All that the users do.
    async fn everything(&self) -> Result<(), String> {
        let store = Store::default();
        store.upto.store(u64::MAX, Relaxed);
        let service = store.service(1 << 20);
        self.set_up(&service).await?;
        // Somebody has forgotten whose the dead letters are.
        let mut letters = self.api("STREAM.INFO.DEAD_LETTERS", json!({})).await["config"].take();
        letters["metadata"] = json!({});
        self.api("STREAM.UPDATE.DEAD_LETTERS", letters).await;
        let service = store.service(2 << 20);
        self.set_up(&service).await?;

        let mut running = Vec::new();
        for name in ["all", "store", "one"] {
            running.push(self.serve(&service, name).await?);
        }
        for subject in ["$SRV.PING.every", "fn.every.store", "fn.every.one"] {
            let answer = self.operator.request(subject, "".into()).await;
            answer.map_err(|error| format!("{subject}: {error}"))?;
        }
        let person = self.login("person").await?;
        let answer = person.request("every.all.one", "".into()).await;
        let answer = answer.map_err(|error| error.to_string())?;
        natsfn::check_reply(&answer).map_err(|error| error.to_string())?;
        for payload in ["bad", "again", "good"] {
            self.operator
                .publish("log.one", payload.into())
                .await
                .unwrap();
        }
        self.operator.flush().await.unwrap();
        // A message that no client can read off the wire.
        let unreadable = b"NATS/1.0\r\nX: a\rb\r\n\r\n";
        Raw::connect(self.server.url(), "operator").append(b"log.one", unreadable, b"unreadable");
        self.is_settled("every-store", 5).await;
        self.is_settled("every-one", 5).await;

        // The store was put back: everything is handled again.
        store.upto.store(0, Relaxed);
        until("the consumer starts again", async || {
            let floor = self.acknowledged("every-store").await;
            (floor < Some(5)).then(|| store.upto.store(u64::MAX, Relaxed))
        })
        .await;
        self.is_settled("every-store", 5).await;
        for consumer in ["every-store", "every-one"] {
            self.api(&format!("CONSUMER.DELETE.LOG.{consumer}"), json!({}))
                .await;
            self.is_settled(consumer, 5).await;
        }

        let dead = self.login("dead").await?;
        let letters = dead_letter::list(&dead, "every", 0, 10).await;
        let letters = letters.map_err(|error| error.to_string())?;
        let [first, second, ..] = letters.as_slice() else {
            return Err(format!("there are {} dead letters", letters.len()));
        };
        let replayed = dead_letter::replay(&dead, "every", first.id).await;
        replayed.map_err(|error| error.to_string())?;
        let dropped = dead_letter::drop(&dead, "every", second.id).await;
        dropped.map_err(|error| error.to_string())?;

        for running in running {
            running.stop(Duration::from_secs(5)).await;
        }
        store.upto.store(0, Relaxed);
        self.set_up(&service).await
    }
}

/// Runs everything with these users, and returns what the server refuses.
async fn refused(users: &[(&str, Rights)], second_form: bool) -> Option<String> {
    let text = conf(users, second_form);
    let server = testing::nats_with(|config| config.text(text)).await;
    let options =
        async_nats::ConnectOptions::with_user_and_password("operator".into(), "operator".into());
    let operator = options.connect(server.url()).await.unwrap();
    let place = Place { server, operator };
    let violation = || {
        let log = std::fs::read_to_string(place.server.log()).unwrap_or_default();
        let mut lines = log.lines();
        lines
            .find(|line| line.contains("Violation"))
            .map(str::to_owned)
    };
    let failed = tokio::select! {
        done = within(Box::pin(place.everything())) => done.err(),
        line = until("a violation", async || violation()) => Some(line),
    };
    violation().or(failed)
}

#[tokio::test]
async fn what_is_computed_is_enough() {
    for second_form in [false, true] {
        assert_eq!(refused(&users(), second_form).await, None);
    }
}

#[tokio::test]
async fn nothing_of_what_is_computed_is_needless() {
    let users = users();
    // Else everything would be refused, whatever is taken away.
    assert_eq!(refused(&users, false).await, None);
    let mut variants = Vec::new();
    for (at, (name, rights)) in users.iter().enumerate() {
        for (is_publish, list) in [(false, &rights.subscribe), (true, &rights.publish)] {
            for (n, right) in list.iter().enumerate() {
                let mut without = users.clone();
                let rights = &mut without[at].1;
                let list = if is_publish {
                    &mut rights.publish
                } else {
                    &mut rights.subscribe
                };
                // An empty list would allow everything.
                list[n].subject = "nothing".to_owned();
                variants.push((*name, right.subject.clone(), without));
            }
        }
    }
    let tried = variants.len();
    let needless: Vec<String> = stream::iter(variants)
        .map(async |(user, subject, without)| {
            let second_form = subject.starts_with("$JS.ACK.*.*.");
            let refused = refused(&without, second_form).await;
            refused.is_none().then(|| format!("{user}: {subject}"))
        })
        .buffer_unordered(6)
        .filter_map(async |needless| needless)
        .collect()
        .await;
    assert!(needless.is_empty(), "of {tried}, needless: {needless:#?}");
    assert!(tried > 50, "{tried}");
}
