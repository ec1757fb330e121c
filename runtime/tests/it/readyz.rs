//! What `/readyz` says: each state is made to happen to a real process, which says so within 2 s.

use std::time::Duration;

use natsfn::check_reply;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

use crate::database::Database;
use crate::health::{Answer, free, get};
use crate::process::{Lasting, output, program, text};
use crate::world::{World, code, until};

/// How soon it must be told.
const SOON: Duration = Duration::from_secs(2);

/// What the service's user may do, besides what a test takes from it.
const SUBSCRIBE: [&str; 5] = ["price", "total", "fn.shop.store", "$SRV.>", "_INBOX.shop.>"];

fn conf(password: &str, subscribe: &[&str], deny: &str) -> String {
    format!(
        r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream {{ store_dir: $NATS_CONF_STORE_DIR }}
no_auth_user: anybody
authorization {{ users: [
  {{ user: anybody, password: anybody }}
  {{ user: shop, password: {password}, permissions: {{
    publish: {{ allow: ">", deny: "{deny}" }}, subscribe: {} }} }}
] }}
"#,
        json!(subscribe)
    )
}

fn usual() -> String {
    conf("shop", &SUBSCRIBE, "none")
}

/// A server, a database and a place for the program `readyz`, whose service is called `shop` there.
struct Shop {
    world: World,
    database: Database,
    directory: TempDir,
    /// Where it says how it is.
    health: String,
    variables: Vec<(&'static str, String)>,
}

impl Shop {
    async fn new() -> Self {
        let world = World::with(|config| config.text(usual())).await;
        let database = Database::postgres().await;
        let health = free();
        let variables = [
            ("READYZ_NATS__URL", world.server.url().to_owned()),
            ("READYZ_NATS__USER", "shop".to_owned()),
            ("READYZ_NATS__PASSWORD", "shop".to_owned()),
            ("READYZ_NATS__INBOX_PREFIX", "_INBOX.shop".to_owned()),
            ("READYZ_DATABASE__URL", database.url.clone()),
            ("READYZ_HEALTH__LISTEN", health.clone()),
        ];
        Self {
            world,
            database,
            directory: tempfile::tempdir().unwrap(),
            health,
            variables: variables.into(),
        }
    }

    /// The same with another value.
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.into()));
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program("readyz", self.directory.path(), arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    async fn set_up(self) -> Self {
        let set_up = output(self.command(&["setup"])).await;
        assert!(set_up.status.success(), "{:?}", text(&set_up));
        self
    }

    /// Serves, and says nothing of whether it is ready.
    fn start(&self) -> Lasting {
        Lasting::spawn(self.command(&["serve"]))
    }

    /// Serves, and is ready.
    async fn serve(&self) -> Lasting {
        let serving = self.start();
        self.is_ready().await;
        serving
    }

    async fn ask(&self) -> Option<Answer> {
        get(&self.health, "/readyz").await.ok()
    }

    async fn is_ready(&self) {
        until("it is ready", async || {
            let answer = self.ask().await?;
            (answer.status == 200 && answer.text == "ready\n").then_some(())
        })
        .await;
    }

    /// Now is the state: waits until it is told, a line for each reason, not longer than it may take.
    async fn says(&self, lines: &[&str]) {
        let (since, mut last) = (Instant::now(), None);
        loop {
            let asked = since.elapsed();
            let answer = self.ask().await;
            if let Some(answer) = &answer
                && answer.status == 503
                && answer.text.lines().count() == lines.len()
                && lines.iter().all(|line| answer.text.contains(line))
            {
                assert_eq!(get(&self.health, "/livez").await.unwrap().status, 200);
                return;
            }
            assert!(asked < SOON, "{lines:?}, and not {last:?}, {answer:?}");
            last = answer.or(last);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether a request of this service is answered.
    async fn answers(&self, subject: &str) -> bool {
        let request = async_nats::Request::new().timeout(Some(Duration::from_secs(1)));
        let answer = self.world.nats.send_request(subject.to_owned(), request);
        answer.await.is_ok_and(|answer| code(&answer).is_none())
    }

    async fn order(&self, what: &str) {
        let order = format!("{what:?}");
        self.world.store("orders.a", [order]).await;
    }

    /// Lets nobody connect to the database, and ends the connections that there are; or lets them again.
    async fn allow_connections(&self, allowed: bool) {
        self.database.allow_connections(allowed).await;
    }
}

#[tokio::test]
async fn says_that_it_starts_while_nats_is_away_from_the_beginning() {
    let shop = Shop::new().await.set_up().await;
    shop.world.server.down().await;

    let _serving = shop.start();
    until("it listens", async || shop.ask().await).await;

    shop.says(&["price, total, store, till: starting: NATS at nats://127.0.0.1:"])
        .await;
    shop.world.server.up().await;
    shop.is_ready().await;
    assert!(shop.answers("price").await);
}

#[tokio::test]
async fn says_that_the_login_is_refused() {
    let shop = Shop::new().await.set_up().await;
    let shop = shop.with("READYZ_NATS__PASSWORD", "wrong");

    let _serving = shop.start();
    until("it listens", async || shop.ask().await).await;

    let refused = "store, till: starting: NATS at nats://127.0.0.1:";
    let cure = "refuses the user \"shop\"; are nats.user and nats.password right?";
    until("it was refused", async || {
        shop.ask().await.filter(|answer| answer.text.contains(cure))
    })
    .await;
    shop.says(&[refused]).await;
    let wrong = conf("wrong", &SUBSCRIBE, "none");
    shop.world.server.reload(&wrong).unwrap();
    shop.is_ready().await;
}

#[tokio::test]
async fn says_that_the_login_is_refused_from_now_on() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;

    let other = conf("other", &SUBSCRIBE, "none");
    shop.world.server.reload(&other).unwrap();

    shop.says(&["price, total, store, till: NATS at nats://127.0.0.1:"])
        .await;
    shop.world.server.reload(&usual()).unwrap();
    shop.is_ready().await;
}

#[tokio::test]
async fn says_that_nats_has_stopped_and_is_ready_once_it_is_back() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;

    shop.world.server.down().await;

    shop.says(&["price, total, store, till: NATS at nats://127.0.0.1:"])
        .await;
    shop.world.server.up().await;
    shop.is_ready().await;
    assert!(shop.answers("price").await);
    shop.order("tea").await;
    shop.world.settled("ORDERS", "store", 1).await;
}

#[tokio::test]
async fn says_that_nats_does_not_answer() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;

    shop.world.server.pause();

    shop.says(&["price, total, store, till: NATS does not answer"])
        .await;
    shop.world.server.resume();
    shop.is_ready().await;
}

#[tokio::test]
async fn says_which_functions_lack_the_database() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;

    shop.allow_connections(false).await;

    shop.says(&["total, store: the database "]).await;
    assert!(shop.answers("price").await);
    shop.allow_connections(true).await;
    shop.is_ready().await;
    // One that was lent before it was cut costs a request.
    until("it answers", async || {
        shop.answers("total").await.then_some(())
    })
    .await;
}

#[tokio::test]
async fn says_that_requests_keep_the_database_busy() {
    let shop = Shop::new().await.set_up().await;
    let shop = shop.with("READYZ_DATABASE__REQUEST_CONNECTIONS", "1");
    let _serving = Lasting::spawn(shop.command(&["serve", "price", "total"]));
    shop.is_ready().await;

    let lock = shop.database.lock("orders").await;
    let nats = shop.world.nats.clone();
    let waiting = tokio::spawn(async move { nats.request("total", "".into()).await });

    shop.says(&["total: the database answers, but requests keep every connection to it busy (database.request_connections: 1)"])
        .await;
    lock.rollback().await.unwrap();
    shop.is_ready().await;
    check_reply(&waiting.await.unwrap().unwrap()).unwrap();
}

#[tokio::test]
async fn says_that_the_schema_is_older_than_the_program() {
    let shop = Shop::new().await.set_up().await;
    let shop = shop.with("READYZ_IS_NEWER", "true");

    // Where it can be seen at the start, there is no process to ask.
    let refused = output(shop.command(&["serve"])).await;
    assert_eq!(refused.status.code(), Some(1), "{:?}", text(&refused));
    assert!(text(&refused).1.contains("older than this program"));
    shop.allow_connections(false).await;
    let mut serving = shop.start();
    serving.says("serves").await;
    shop.says(&["total, store: "]).await;
    shop.allow_connections(true).await;

    shop.says(&["total, store: the database's schema is older than this program: 1 migration is missing (m0002_refunds); run `shop setup`"])
        .await;
    let shop = shop.set_up().await;
    shop.is_ready().await;
    assert!(shop.answers("total").await);
}

#[tokio::test]
async fn says_that_setup_has_never_run() {
    let shop = Shop::new().await;
    // The schema, by a service on another server; nothing is on this one.
    let elsewhere = World::new().await;
    let here = shop.world.server.url().to_owned();
    let there = shop.with("READYZ_NATS__URL", elsewhere.server.url());
    let shop = there.set_up().await.with("READYZ_NATS__URL", here);

    let mut serving = shop.start();
    serving.says("serves").await;

    shop.says(&["store: holding: there is no stream ORDERS; run `setup`"])
        .await;
    let shop = shop.set_up().await;
    shop.is_ready().await;
    shop.order("tea").await;
}

#[tokio::test]
async fn says_that_the_stream_is_gone() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;

    shop.world.api("STREAM.DELETE.ORDERS", &Value::Null).await;

    shop.says(&["store: holding: there is no stream ORDERS; run `setup`"])
        .await;
    assert!(shop.answers("price").await);
    let shop = shop.set_up().await;
    shop.is_ready().await;
    shop.order("tea").await;
}

#[tokio::test]
async fn says_that_the_consumer_is_gone_where_it_may_not_be_made_again() {
    let shop = Shop::new().await.set_up().await;
    let denied = conf("shop", &SUBSCRIBE, "$JS.API.CONSUMER.CREATE.>");
    shop.world.server.reload(&denied).unwrap();
    let _serving = shop.serve().await;

    let delete = "CONSUMER.DELETE.ORDERS.shop-store";
    shop.world.api(delete, &Value::Null).await;

    // Until the server says nothing to the wish for another one.
    shop.says(&["store: its consumer is being looked for"])
        .await;
    until("it holds", async || {
        let answer = shop.ask().await?;
        answer.text.starts_with("store: holding: ").then_some(())
    })
    .await;
    shop.world.server.reload(&usual()).unwrap();
    shop.is_ready().await;
    shop.order("tea").await;
}

#[tokio::test]
async fn says_that_the_consumer_is_paused() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;
    let pause = "CONSUMER.PAUSE.ORDERS.shop-store";

    let until = json!({ "pause_until": "2100-01-01T00:00:00Z" });
    shop.world.api(pause, &until).await;

    shop.says(&["store: holding: the consumer is paused; `nats consumer resume ORDERS shop-store` lets it go on"])
        .await;
    shop.world.api(pause, &json!({})).await;
    shop.is_ready().await;
}

#[tokio::test]
async fn says_that_a_function_has_halted_until_the_process_is_started_again() {
    let shop = Shop::new().await.set_up().await;
    let mut serving = shop.serve().await;

    shop.order("halt").await;

    shop.says(&["store: halted: the till is open"]).await;
    serving.signal("-TERM").await;
    assert_eq!(serving.exit_code().await, Some(0));
}

#[tokio::test]
async fn says_that_a_function_holds() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;

    shop.order("later").await;

    shop.says(&["store: holding: the warehouse is closed"])
        .await;
    let purge = json!({ "keep": 0 });
    shop.world.api("STREAM.PURGE.ORDERS", &purge).await;
}

#[tokio::test]
async fn says_that_a_subscription_is_refused() {
    let shop = Shop::new().await.set_up().await;
    let _serving = shop.serve().await;

    let left = conf("shop", &SUBSCRIBE[1..], "none");
    shop.world.server.reload(&left).unwrap();

    shop.says(&["price: holding: price is not subscribed: the server says "])
        .await;
    shop.world.server.reload(&usual()).unwrap();
    shop.is_ready().await;
    assert!(shop.answers("price").await);
}

#[tokio::test]
async fn says_that_background_work_fails() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let shop = Shop::new().await.set_up().await.with("READYZ_PORT", &port);
    let mut serving = shop.start();
    serving.says("serves").await;

    let failed = format!("till: the till cannot listen on {port}: ");
    shop.says(&[&failed]).await;

    drop(taken);
    shop.is_ready().await;
}

#[tokio::test]
async fn says_that_it_drains_and_is_alive_until_its_end() {
    let shop = Shop::new().await.set_up().await;
    let mut serving = shop.serve().await;
    shop.order("wait").await;
    until("the order is in the function", async || {
        let info = shop.world.consumer("ORDERS", "store").await;
        (info["num_ack_pending"] == 1).then_some(())
    })
    .await;

    serving.signal("-TERM").await;

    shop.says(&["draining"]).await;
    assert_eq!(serving.exit_code().await, Some(0));
    shop.world.settled("ORDERS", "store", 1).await;
    assert!(shop.ask().await.is_none());
}
