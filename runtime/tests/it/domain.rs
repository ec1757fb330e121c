//! The JetStream of a leaf node's hub, and one that another account exports.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::Config as StreamConfig;
use async_nats::jetstream::{self, kv};
use async_nats::{Client as Plain, HeaderMap};
use futures_util::StreamExt;
use futures_util::future::{LocalBoxFuture, join_all};
use natsfn::config::{Login, NatsConfig};
use natsfn::rights::{Right, Rights};
use natsfn::testing::{self, TestServer};
use natsfn::{
    Access, Bucket, Client, Connections, Consumer, Definition, Error, Json, Kind, KvValue, Nats,
    ObjectStore, Result, Retry, Running, Service, Stream, Work, connect_once, dead_letter, setup,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::world::{json as read, next, until, within};

/// Enough that most go as one batch.
const MANY: usize = 100;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Price(u32);

impl KvValue for Price {
    const BUCKET: &'static str = "prices";
}

/// A hub with the domain hub, and a leaf node of it.
struct Pair {
    hub: TestServer,
    leaf: TestServer,
}

impl Pair {
    /// `leaf` is what else its configuration says.
    async fn start(leaf: &str) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let hub = format!(
            "server_name: hub{port}
            host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
            jetstream {{ store_dir: $NATS_CONF_STORE_DIR, domain: hub }}
            leafnodes {{ host: 127.0.0.1, port: {port} }}"
        );
        let leaf = format!(
            "server_name: leaf{port}
            host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
            leafnodes {{ reconnect: 1, remotes: [{{ url: \"nats://127.0.0.1:{port}\" }}] }}
            {leaf}"
        );
        let hub = testing::nats_with(|config| config.text(hub)).await;
        let leaf = testing::nats_with(|config| config.text(leaf)).await;
        let pair = Self { hub, leaf };
        let client = connect_once(&pair.config("hub"), "test").await.unwrap();
        answers(&client, "$JS.hub.API.INFO").await;
        pair
    }

    fn config(&self, domain: &str) -> NatsConfig {
        NatsConfig {
            url: self.leaf.url().to_owned(),
            domain: Some(domain.to_owned()),
            ..NatsConfig::default()
        }
    }

    async fn at_the_hub(&self) -> Plain {
        async_nats::connect(self.hub.url()).await.unwrap()
    }
}

const OWN_JETSTREAM: &str = "jetstream { store_dir: $NATS_CONF_STORE_DIR, domain: leaf }";

async fn answers(nats: &Plain, subject: &str) {
    until("JetStream is there", async || {
        nats.request(subject.to_owned(), "".into()).await.ok()
    })
    .await;
}

/// What the function has stored, and whether it refuses poison.
#[derive(Clone)]
struct Orders {
    stored: UnboundedSender<String>,
    refuses: Arc<AtomicBool>,
    clients: UnboundedSender<Client>,
}

impl Orders {
    fn new() -> (Self, UnboundedReceiver<String>, UnboundedReceiver<Client>) {
        let (stored, told) = unbounded_channel();
        let (clients, client) = unbounded_channel();
        let refuses = Arc::new(AtomicBool::new(true));
        let orders = Self {
            stored,
            refuses,
            clients,
        };
        (orders, told, client)
    }
}

fn shop(orders: &Orders) -> Definition {
    let Orders {
        stored,
        refuses,
        clients,
    } = orders.clone();
    let failed = Arc::new(AtomicBool::new(false));
    let store = move |Json(order): Json<String>| {
        let outcome = match order.as_str() {
            "poison" if refuses.load(SeqCst) => Err(Error::bad_request("poison")),
            "again" if !failed.swap(true, SeqCst) => Err(Error::internal("not now")),
            _ => Ok(()),
        };
        if outcome.is_ok() {
            stored.send(order).unwrap();
        }
        async { outcome }
    };
    let log = Stream::new("ORDERS", ["orders.>"]).atomic_appends();
    let wait = Retry::fixed(Duration::from_millis(10));
    let work = Work::of("store")
        .publishes("orders.>")
        .uses(Access::bucket("prices"))
        .uses(Access::object_store("files"))
        .uses(Access::messages("ORDERS"))
        .uses(Access::ranges("ORDERS"))
        .uses(Access::stream_info("ORDERS"))
        .uses(Access::consumer_info("ORDERS", "shop-store"))
        .uses(Access::purge("ORDERS"));
    Service::new("shop", "1.0.0")
        .bucket(Bucket::of::<Price>())
        .object_store(ObjectStore::new("files"))
        .consumer(Consumer::new("store", log).retry(wait), store)
        .task(work, move |mut background, ()| {
            clients.send(background.client().clone()).unwrap();
            async move {
                background.stopped().await;
                Ok(())
            }
        })
        .build()
        .unwrap()
}

async fn serve(orders: &Orders, config: &NatsConfig) -> Running {
    let connections = Connections::open(config, "shop").await.unwrap();
    natsfn::start(shop(orders), connections, None)
        .await
        .unwrap()
}

async fn append(client: &Client, order: &str) -> Result<u64> {
    let payload = json!(order).to_string();
    let appended = client.append("orders.a", Some(order), HeaderMap::new(), payload.into());
    Ok(appended.await?.seq)
}

async fn count(nats: &Plain, api: &str, stream: &str) -> u64 {
    let info = nats.request(format!("{api}.STREAM.INFO.{stream}"), "".into());
    read(&info.await.unwrap())["state"]["messages"]
        .as_u64()
        .unwrap_or_default()
}

/// The logins of a service, of `setup` and of `dead`.
struct Logins {
    service: NatsConfig,
    setup: NatsConfig,
    dead: NatsConfig,
}

impl Logins {
    fn same(config: NatsConfig) -> Self {
        let (setup, dead) = (config.clone(), config.clone());
        Self {
            service: config,
            setup,
            dead,
        }
    }
}

/// All that natsfn does with JetStream; `hub` is a client of the server and account that it must happen at.
fn all_happens_there(logins: Logins, hub: Plain) -> LocalBoxFuture<'static, ()> {
    Box::pin(all(logins, hub))
}

async fn all(logins: Logins, hub: Plain) {
    let (orders, mut stored, mut clients) = Orders::new();
    let nats = connect_once(&logins.setup, "setup").await.unwrap();
    for _ in 0..2 {
        setup::setup(&shop(&orders), &nats, None).await.unwrap();
    }
    let running = serve(&orders, &logins.service).await;
    let client = next(&mut clients).await;

    append(&client, "first").await.unwrap();
    let orders_at_once: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
    let appended = join_all(orders_at_once.iter().map(|order| append(&client, order)));
    for seq in within(appended).await {
        seq.unwrap();
    }
    append(&client, "again").await.unwrap();
    let mut all = Vec::new();
    while all.len() < MANY + 2 {
        all.push(next(&mut stored).await);
    }
    for order in orders_at_once
        .iter()
        .map(String::as_str)
        .chain(["first", "again"])
    {
        assert!(all.iter().any(|stored| stored == order), "{order}");
    }
    assert_eq!(count(&hub, "$JS.API", "ORDERS").await, all.len() as u64);

    let poison = append(&client, "poison").await.unwrap();
    let dead = connect_once(&logins.dead, "dead").await.unwrap();
    let id = until("there is a dead letter", async || {
        let letters = dead_letter::list(&dead, "shop", 0, 10).await.unwrap();
        letters.first().map(|letter| letter.id)
    })
    .await;
    assert_eq!(count(&hub, "$JS.API", "DEAD_LETTERS").await, 1);
    let letter = dead_letter::show(&dead, "shop", id).await.unwrap();
    assert_eq!(
        (letter.sequence, &*letter.payload),
        (poison, &b"\"poison\""[..])
    );
    orders.refuses.store(false, SeqCst);
    dead_letter::replay(&dead, "shop", id).await.unwrap();
    assert_eq!(next(&mut stored).await, "poison");
    assert_eq!(count(&hub, "$JS.API", "DEAD_LETTERS").await, 0);

    let prices = client.kv::<Price>();
    let mut watch = prices.watch(">").await.unwrap();
    let revision = prices.create("tea", &Price(1)).await.unwrap();
    assert_eq!(within(watch.next()).await.unwrap().value, Some(Price(1)));
    prices.update("tea", &Price(2), revision).await.unwrap();
    assert_eq!(within(watch.next()).await.unwrap().value, Some(Price(2)));
    assert_eq!(prices.get("tea").await.unwrap(), Some(Price(2)));
    assert_eq!(prices.keys().await.unwrap(), ["tea"]);
    let theirs = client.jetstream().get_key_value("prices").await.unwrap();
    theirs.put("mint", "3".into()).await.unwrap();
    let at_the_hub = jetstream::new(hub.clone());
    let bucket = at_the_hub.get_key_value("prices").await.unwrap();
    assert_eq!(bucket.get("tea").await.unwrap().unwrap(), "2");
    assert_eq!(bucket.get("mint").await.unwrap().unwrap(), "3");

    let files = client.object_store("files").await.unwrap();
    let pdf = vec![7; 300_000];
    files.put("1", &mut pdf.as_slice()).await.unwrap();
    let theirs = at_the_hub.get_object_store("files").await.unwrap();
    for store in [files, theirs] {
        let mut found = Vec::new();
        let mut object = store.get("1").await.unwrap();
        within(object.read_to_end(&mut found)).await.unwrap();
        assert!(found == pdf);
    }

    running.stop(Duration::from_secs(10)).await;
    append(&client, "later").await.unwrap();
    let running = serve(&orders, &logins.service).await;
    assert_eq!(next(&mut stored).await, "later");
    let client = next(&mut clients).await;
    let info = client.stream_info("ORDERS").await.unwrap();
    assert_eq!(info.state.messages, MANY as u64 + 5);
    client.consumer_info("ORDERS", "shop-store").await.unwrap();
    let last = client.last("ORDERS", "orders.a").await.unwrap().unwrap();
    let range = client.range("ORDERS", "orders.a", 1, 1000, 1 << 20).await;
    assert_eq!(range.unwrap().messages.last().unwrap().seq(), last.seq());
    client.purge_below("ORDERS", last.seq()).await.unwrap();
    assert_eq!(count(&hub, "$JS.API", "ORDERS").await, 1);
    running.stop(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn all_of_jetstream_is_the_hub_s_at_a_leaf_node_without_its_own() {
    let pair = Pair::start("").await;
    all_happens_there(Logins::same(pair.config("hub")), pair.at_the_hub().await).await;
}

#[tokio::test]
async fn all_of_jetstream_is_the_hub_s_at_a_leaf_node_with_its_own() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let leaf = async_nats::connect(pair.leaf.url()).await.unwrap();
    let bucket = kv::Config {
        bucket: "prices".to_owned(),
        ..kv::Config::default()
    };
    let bucket = jetstream::new(leaf.clone()).create_key_value(bucket).await;

    // A domain by another name.
    let config = NatsConfig {
        domain: None,
        api_prefix: Some("$JS.hub.API".to_owned()),
        ..pair.config("hub")
    };
    all_happens_there(Logins::same(config), pair.at_the_hub().await).await;

    assert!(bucket.unwrap().get("tea").await.unwrap().is_none());
    let own = leaf.request("$JS.API.INFO", "".into()).await.unwrap();
    assert_eq!(read(&own)["streams"], 1);
}

#[tokio::test]
async fn service_at_the_hub_itself_may_name_its_domain() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let config = NatsConfig {
        url: pair.hub.url().to_owned(),
        ..pair.config("hub")
    };
    all_happens_there(Logins::same(config), pair.at_the_hub().await).await;
}

#[tokio::test]
async fn users_need_no_more_than_is_printed() {
    let (orders, ..) = Orders::new();
    let hub = NatsConfig {
        domain: Some("hub".to_owned()),
        ..NatsConfig::default()
    };
    let service = shop(&orders);
    let inbox = |user: &str| format!("_INBOX.s.{user}");
    let users = [
        ("shop", Rights::of_functions(&service, &inbox("shop"))),
        ("setup", Rights::of_setup(&service, &inbox("setup"))),
        ("dead", Rights::of_dead(&service, &inbox("dead"))),
    ];
    let users = users.map(|(user, rights)| {
        let Rights {
            subscribe, publish, ..
        } = rights.with_jetstream_of(&hub);
        let list = |rights: Vec<Right>| -> Value {
            let subjects = rights.into_iter().map(|right| right.subject);
            subjects.collect::<Vec<String>>().into()
        };
        let (subscribe, publish) = (list(subscribe), list(publish));
        format!(
            "{{ user: {user}, password: {user}, permissions: {{ subscribe: {subscribe}, publish: {publish} }} }}"
        )
    });
    let conf = format!(
        "{OWN_JETSTREAM}
        no_auth_user: all
        authorization {{ users: [
            {{ user: all, password: all }}
            {}
        ] }}",
        users.join("\n")
    );
    let pair = Pair::start(&conf).await;
    let login = |user: &str| {
        let config = pair.config("hub");
        config.login(&Login::new(user, user, inbox(user)))
    };
    let logins = Logins {
        service: login("shop"),
        setup: login("setup"),
        dead: login("dead"),
    };
    all_happens_there(logins, pair.at_the_hub().await).await;
}

/// As docs/operations.md has it, with this prefix; and a client of the account HUB.
async fn two_accounts(prefix: &str) -> (TestServer, Plain) {
    let page = include_str!("../../../docs/operations.md");
    let accounts = page.split("```conf\n").nth(1).unwrap();
    let (accounts, _) = accounts.split_once("```").unwrap();
    let accounts = accounts.replace("hubjs.API", prefix);
    let text = format!(
        "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
        jetstream {{ store_dir: $NATS_CONF_STORE_DIR }}
        {accounts}"
    );
    let server = testing::nats_with(|config| config.text(text)).await;
    let hub = async_nats::ConnectOptions::with_user_and_password("hub".into(), "hub".into());
    let hub = hub.connect(server.url()).await.unwrap();
    (server, hub)
}

#[tokio::test]
async fn all_of_jetstream_is_another_account_s_under_its_prefix() {
    let (server, hub) = two_accounts("hubjs.API").await;
    let config = NatsConfig {
        url: server.url().to_owned(),
        api_prefix: Some("hubjs.API".to_owned()),
        ..NatsConfig::default()
    };
    let config = config.login(&Login::new("shop", "shop", "_INBOX.s.shop"));
    all_happens_there(Logins::same(config), hub).await;
}

/// The prefix looks like a domain's, and the acknowledgements name none.
#[tokio::test]
async fn domain_may_be_the_name_of_an_import() {
    let (server, hub) = two_accounts("$JS.acc.API").await;
    let config = NatsConfig {
        url: server.url().to_owned(),
        domain: Some("acc".to_owned()),
        ..NatsConfig::default()
    };
    let config = config.login(&Login::new("shop", "shop", "_INBOX.s.shop"));
    all_happens_there(Logins::same(config), hub).await;
}

#[tokio::test]
async fn domain_that_nobody_answers_is_named() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let config = pair.config("nowhere");
    let (orders, ..) = Orders::new();
    let nats = connect_once(&config, "setup").await.unwrap();

    let refused = setup::setup(&shop(&orders), &nats, None).await.unwrap_err();

    assert!(refused.is_passing());
    let refused = refused.to_string();
    assert!(
        refused.starts_with(
            "the JetStream of the domain nowhere does not answer ($JS.nowhere.API.INFO)"
        ),
        "{refused}"
    );

    // A service starts all the same: the hub may be away for a while.
    let running = serve(&orders, &config).await;
    let readiness = running.readiness();
    until("the function says what it waits for", async || {
        let reasons = readiness.not_ready().await;
        let names_it = |reason: &str| reason.contains("$JS.nowhere.API.");
        reasons
            .iter()
            .any(|it| it.function == "store" && names_it(&it.reason))
            .then_some(())
    })
    .await;
    running.stop(Duration::from_secs(10)).await;
}

/// Makes a stream of the leaf node's own.
async fn make(nats: &Plain, name: &str, subject: &str) {
    let config = StreamConfig {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        ..StreamConfig::default()
    };
    let made = jetstream::new(nats.clone()).create_stream(config).await;
    made.unwrap();
}

#[tokio::test]
async fn setup_refuses_streams_of_the_leaf_node_that_would_acknowledge() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let leaf = async_nats::connect(pair.leaf.url()).await.unwrap();
    make(&leaf, "MINE", "orders.*").await;
    make(&leaf, "LETTERS", "dead.>").await;
    make(&leaf, "CHUNKS", "$O.files.C.>").await;
    make(&leaf, "OTHER", "other").await;
    let nats = connect_once(&pair.config("hub"), "setup").await.unwrap();
    let (orders, ..) = Orders::new();

    let refused = setup::setup(&shop(&orders), &nats, None).await.unwrap_err();

    let lines = refused.lines();
    let names =
        ["MINE", "LETTERS", "CHUNKS"].map(|it| format!("the stream {it} of the server's own"));
    assert!(
        names
            .iter()
            .all(|name| lines.iter().any(|line| line.starts_with(name))),
        "{refused}"
    );
    assert_eq!(lines.len(), 3, "{refused}");
    assert!(
        refused
            .to_string()
            .contains("for ORDERS of the JetStream of the domain hub"),
        "{refused}"
    );
}

/// A service that was set up at the hub, before the leaf node had streams.
async fn served(pair: &Pair) -> (Nats, Running, Client, Orders, UnboundedReceiver<String>) {
    let (orders, stored, mut clients) = Orders::new();
    let nats = connect_once(&pair.config("hub"), "setup").await.unwrap();
    setup::setup(&shop(&orders), &nats, None).await.unwrap();
    let running = serve(&orders, &pair.config("hub")).await;
    let client = next(&mut clients).await;
    (nats, running, client, orders, stored)
}

#[tokio::test]
async fn append_that_only_another_domain_acknowledges_fails() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let (nats, _running, client, ..) = served(&pair).await;
    append(&client, "first").await.unwrap();
    nats.jetstream().delete_stream("ORDERS").await.unwrap();
    let leaf = async_nats::connect(pair.leaf.url()).await.unwrap();
    make(&leaf, "MINE", "orders.>").await;
    let batches = json!({ "name": "MINE", "subjects": ["orders.>"], "allow_atomic": true });
    let updated = leaf.request("$JS.API.STREAM.UPDATE.MINE", batches.to_string().into());
    assert!(read(&updated.await.unwrap())["error"].is_null());

    let many: Vec<String> = (0..MANY).map(|n| n.to_string()).collect();
    let appended = within(join_all(many.iter().map(|order| append(&client, order)))).await;

    for refused in appended {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable);
        let refused = refused.to_string();
        assert!(
            refused.contains("by the stream MINE of the JetStream of the domain leaf, not by the stream for orders.a in the JetStream of the domain hub"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn message_is_not_ended_while_only_another_domain_has_its_dead_letter() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let (nats, _running, client, _orders, _stored) = served(&pair).await;
    let leaf = async_nats::connect(pair.leaf.url()).await.unwrap();
    nats.jetstream()
        .delete_stream("DEAD_LETTERS")
        .await
        .unwrap();
    make(&leaf, "DEAD_LETTERS", "dead.>").await;

    append(&client, "poison").await.unwrap();

    // Twice: the second one is refused as written already.
    let tries = async || (count(&leaf, "$JS.API", "DEAD_LETTERS").await == 1).then_some(());
    until("the leaf node has the letter", tries).await;
    let again = leaf.subscribe("dead.>").await.unwrap();
    within(again.take(2).collect::<Vec<_>>()).await;
    let info = client.consumer_info("ORDERS", "shop-store").await.unwrap();
    assert_eq!((info.ack_floor.stream_seq, info.num_ack_pending), (0, 1));

    make(&pair.at_the_hub().await, "DEAD_LETTERS", "dead.>").await;
    until("the message is ended", async || {
        let info = client.consumer_info("ORDERS", "shop-store").await.unwrap();
        (info.ack_floor.stream_seq == 1).then_some(())
    })
    .await;
    let letters = dead_letter::list(&nats, "shop", 0, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        count(&pair.at_the_hub().await, "$JS.API", "DEAD_LETTERS").await,
        1
    );
}

/// Makes a durable consumer of the service's name at the leaf node.
async fn consume_at(leaf: &Plain) {
    let stream = jetstream::new(leaf.clone()).get_stream("ORDERS").await;
    let config = pull::Config {
        durable_name: Some("shop-store".to_owned()),
        ..pull::Config::default()
    };
    stream.unwrap().create_consumer(config).await.unwrap();
}

#[tokio::test]
async fn consumer_of_the_leaf_node_that_would_take_acks_is_refused() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let leaf = async_nats::connect(pair.leaf.url()).await.unwrap();
    make(&leaf, "ORDERS", "other").await;
    // A stream of the same name takes none.
    let (nats, running, ..) = served(&pair).await;
    running.stop(Duration::from_secs(10)).await;
    consume_at(&leaf).await;
    let (orders, ..) = Orders::new();

    let connections = Connections::open(&pair.config("hub"), "shop").await;
    let refused = [
        setup::setup(&shop(&orders), &nats, None).await.err(),
        natsfn::start(shop(&orders), connections.unwrap(), None)
            .await
            .err(),
    ];

    for refused in refused {
        let refused = refused.unwrap();
        assert_eq!(refused.lines().len(), 1, "{refused}");
        let refused = refused.to_string();
        assert!(
            refused.starts_with(
                "the server's own JetStream has a consumer shop-store of a stream ORDERS too, beside that of the JetStream of the domain hub"
            ),
            "{refused}"
        );
    }
}

/// The leaf node refuses the batch in the hub's place, which has stored it: what is published again has the same ids.
#[tokio::test]
async fn batch_that_only_another_domain_refuses_is_stored_once() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let (_nats, _running, client, ..) = served(&pair).await;
    append(&client, "first").await.unwrap();
    let leaf = async_nats::connect(pair.leaf.url()).await.unwrap();
    make(&leaf, "MINE", "orders.>").await;

    // On a busy machine the hub's word may come first: then nothing is refused.
    let mut sent = 1;
    let refused = loop {
        let many: Vec<String> = (0..MANY).map(|n| format!("{sent}-{n}")).collect();
        let appended = within(join_all(many.iter().map(|order| append(&client, order)))).await;
        sent += MANY as u64;
        let refused: Vec<_> = appended.into_iter().filter_map(Result::err).collect();
        if !refused.is_empty() {
            break refused;
        }
    };

    for refused in refused {
        let refused = refused.to_string();
        assert!(refused.contains("by the stream MINE"), "{refused}");
    }
    let hub = pair.at_the_hub().await;
    let messages = until("the hub has them all", async || {
        let messages = count(&hub, "$JS.API", "ORDERS").await;
        (messages >= sent).then_some(messages)
    });
    assert_eq!(messages.await, sent);
}

#[tokio::test]
async fn append_that_another_domain_may_have_refused_says_that_it_may_be_stored() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let (nats, _running, client, ..) = served(&pair).await;
    let leaf = Plain::from(connect_once(&pair.config("hub"), "leaf").await.unwrap());
    let full = StreamConfig {
        name: "FULL".to_owned(),
        subjects: vec!["orders.>".to_owned()],
        max_message_size: 1,
        ..StreamConfig::default()
    };
    let made = jetstream::new(leaf).create_stream(full).await;
    made.unwrap();

    // On a busy machine the hub's word may come first.
    let mut sent = 0;
    let refused = loop {
        sent += 1;
        if let Err(refused) = append(&client, &sent.to_string()).await {
            break refused;
        }
    };

    assert_eq!(refused.kind(), Kind::TooLarge);
    let refused = refused.to_string();
    assert!(
        refused.ends_with(
            "it may be stored all the same, if a stream that is not of the JetStream of the domain hub has refused it"
        ),
        "{refused}"
    );
    until("the hub has it", async || {
        (count(&nats, "$JS.hub.API", "ORDERS").await == sent).then_some(())
    })
    .await;
}

/// Store and forward: the hub's stream captures nothing, it has what the leaf node's captures.
#[tokio::test]
async fn setup_takes_a_stream_that_has_the_messages_of_the_leaf_node_s() {
    let pair = Pair::start(OWN_JETSTREAM).await;
    let leaf = async_nats::connect(pair.leaf.url()).await.unwrap();
    make(&leaf, "ORDERS", "orders.>").await;
    let forwarded = json!({
        "name": "ORDERS",
        "sources": [{ "name": "ORDERS", "external": { "api": "$JS.leaf.API" } }],
    });
    let hub = pair.at_the_hub().await;
    let made = hub.request("$JS.API.STREAM.CREATE.ORDERS", forwarded.to_string().into());
    let made = read(&made.await.unwrap());
    assert!(made["error"].is_null(), "{made}");
    let (stored, mut told) = unbounded_channel();
    let store = move |Json(order): Json<String>| {
        stored.send(order).unwrap();
        async {}
    };
    let log = Stream::existing("ORDERS").template("orders.>");
    let service = Service::new("shop", "1.0.0")
        .consumer(Consumer::new("store", log), store)
        .build()
        .unwrap();
    let nats = connect_once(&pair.config("hub"), "setup").await.unwrap();

    setup::setup(&service, &nats, None).await.unwrap();

    let connections = Connections::open(&pair.config("hub"), "shop").await;
    let running = natsfn::start(service, connections.unwrap(), None);
    let running = running.await.unwrap();
    let leaf = jetstream::new(leaf);
    let stored = leaf.publish("orders.a", json!("tea").to_string().into());
    stored.await.unwrap().await.unwrap();
    assert_eq!(next(&mut told).await, "tea");
    running.stop(Duration::from_secs(10)).await;
}
