//! Key-value buckets and object stores: what setup makes of them, what a function does with them, and what its user
//! must be allowed.

use std::time::Duration;

use async_nats::jetstream::{self, kv, object_store};
use natsfn::config::{Login, NatsConfig};
use natsfn::rights::Rights;
use natsfn::setup::{Options, setup_with};
use natsfn::{
    Access, Bucket, Bytes, Client, Connections, Consumer, Definition, Endpoint, HeaderMap, Json,
    Kind, Kv, KvValue, ObjectStore, Path, Result, Service, Stream,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::world::{World, code, state, until, within};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    cents: u32,
    note: String,
}

impl KvValue for Price {
    const BUCKET: &'static str = "prices";
}

/// A bucket that nobody declares.
#[derive(Serialize, Deserialize)]
struct Other(u32);

impl KvValue for Other {
    const BUCKET: &'static str = "others";
}

fn cents(cents: u32) -> Price {
    let note = String::new();
    Price { cents, note }
}

fn bucket() -> Bucket {
    Bucket::of::<Price>().history(5)
}

fn shop() -> Service {
    Service::new("shop", "1.0.0")
        .bucket(bucket())
        .endpoint(Endpoint::new("price", "price.{sku}"), price)
}

async fn price(prices: Kv<Price>, Path(sku): Path<String>) -> Result<Json<Option<Price>>> {
    Ok(Json(prices.get(&sku).await?))
}

async fn prices(world: &World) -> Kv<Price> {
    world.set_up(shop()).await;
    Client::new(world.nats.clone()).kv()
}

async fn config(world: &World, stream: &str) -> Value {
    let info = world
        .api(&format!("STREAM.INFO.{stream}"), &Value::Null)
        .await;
    info["config"].clone()
}

async fn plan(world: &World, definition: &Definition) -> Result<Vec<String>, String> {
    let options = Options::default().only_plan();
    let lines = setup_with(definition, &world.nats, None, &options).await;
    lines.map_err(|error| error.to_string())
}

#[tokio::test]
async fn setup_makes_what_other_clients_make() {
    let world = World::new().await;
    let context = world.nats.jetstream();
    let minute = Duration::from_secs(60);
    let of_kv = kv::Config {
        bucket: "theirs".to_owned(),
        history: 5,
        max_age: minute,
        max_bytes: 1 << 20,
        max_value_size: 1000,
        ..kv::Config::default()
    };
    context.create_key_value(of_kv).await.unwrap();
    let of_objects = object_store::Config {
        bucket: "theirs".to_owned(),
        max_bytes: 1 << 20,
        ..object_store::Config::default()
    };
    context.create_object_store(of_objects).await.unwrap();
    let ours = Bucket::new("ours").history(5).ttl(minute);
    let ours = ours.max_bytes(1 << 20).max_value_size(1000);
    let service = Service::new("shop", "1.0.0")
        .bucket(ours)
        .object_store(ObjectStore::new("ours").max_bytes(1 << 20));
    world.set_up(service).await;

    for kind in ["KV", "OBJ"] {
        let theirs = config(&world, &format!("{kind}_theirs")).await;
        let ours = config(&world, &format!("{kind}_ours")).await;
        let ours: Value =
            serde_json::from_str(&ours.to_string().replace("ours", "theirs")).unwrap();
        for (key, theirs) in theirs.as_object().unwrap() {
            // Theirs is an empty description, and a smaller window where nothing else is said.
            if !["description", "metadata"].contains(&key.as_str()) {
                assert_eq!(&ours[key], theirs, "{kind} {key}");
            }
        }
    }
}

#[tokio::test]
async fn setup_shows_what_differs_and_whose_it_is() {
    let world = World::new().await;
    world.set_up(shop()).await;
    let hour = Duration::from_secs(3600);

    let longer = shop_with(bucket().history(9).ttl(hour));
    let told = plan(&world, &longer).await.unwrap();
    let same = plan(&world, &shop().build().unwrap()).await.unwrap();
    let other = Service::new("other", "1.0.0").bucket(bucket().history(9));
    let foreign = plan(&world, &other.build().unwrap()).await.unwrap_err();
    let missing = Service::new("other", "1.0.0").bucket(Bucket::existing("none"));
    let missing = plan(&world, &missing.build().unwrap()).await.unwrap_err();
    let shared = Service::new("other", "1.0.0").bucket(Bucket::existing("prices"));
    let shared = plan(&world, &shared.build().unwrap()).await.unwrap();

    assert_eq!(
        told[..2],
        [
            "bucket prices: is changed",
            "  max_msgs_per_subject: 5 -> 9"
        ]
    );
    assert!(
        told.contains(&"  max_age: 0 s -> 3600 s".to_owned()),
        "{told:?}"
    );
    assert!(told[2].contains("--shrink KV_prices"), "{told:?}");
    assert_eq!(same, ["bucket prices: stays as it is"]);
    assert!(
        foreign.contains("the bucket prices belongs to shop"),
        "{foreign}"
    );
    assert!(
        foreign.contains("Bucket::existing(\"prices\")"),
        "{foreign}"
    );
    assert!(missing.contains("there is no bucket none"), "{missing}");
    assert_eq!(shared, ["bucket prices: is used as it is"]);
}

#[tokio::test]
async fn what_the_definition_limits_no_more_is_limited_no_more() {
    let world = World::new().await;
    let limited = bucket().ttl(Duration::from_secs(3600)).max_bytes(1 << 20);
    let limited = limited.max_value_size(1000);
    let photos = |store| Service::new("photos", "1.0.0").object_store(store);
    world
        .set_up(Service::new("shop", "1.0.0").bucket(limited))
        .await;
    world
        .set_up(photos(ObjectStore::new("photos").max_bytes(1 << 20)))
        .await;

    let told = plan(&world, &shop_with(bucket())).await.unwrap();
    world
        .set_up(Service::new("shop", "1.0.0").bucket(bucket()))
        .await;
    world.set_up(photos(ObjectStore::new("photos"))).await;

    let expected = [
        "bucket prices: is changed",
        "  max_age: 3600 s -> 0 s",
        "  max_bytes: 1048576 -> -1",
        "  max_msg_size: 1000 -> -1",
    ];
    assert_eq!(told, expected);
    let prices = config(&world, "KV_prices").await;
    assert_eq!(
        (&prices["max_age"], &prices["max_bytes"]),
        (&json!(0), &json!(-1))
    );
    assert_eq!(config(&world, "OBJ_photos").await["max_bytes"], -1);
    let same = plan(&world, &shop_with(bucket())).await.unwrap();
    assert_eq!(same, ["bucket prices: stays as it is"]);
}

#[tokio::test]
async fn a_bucket_in_memory_is_refused_unless_it_is_meant() {
    let world = World::new().await;
    let in_memory = |bucket: Bucket| {
        bucket.configure(|stream| stream.storage = jetstream::stream::StorageType::Memory)
    };
    world
        .set_up(Service::new("shop", "1.0.0").bucket(in_memory(bucket())))
        .await;

    for wanted in [bucket(), Bucket::existing("prices")] {
        let refused = plan(&world, &shop_with(wanted.clone())).await.unwrap_err();
        assert!(
            refused.contains("bucket prices: storage `memory`"),
            "{refused}"
        );
        let meant = plan(&world, &shop_with(in_memory(wanted))).await;
        assert_eq!(meant.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn setup_owns_a_bucket_of_nobody_only_where_it_is_what_it_wants() {
    let world = World::new().await;
    let context = world.nats.jetstream();
    let theirs = kv::Config {
        bucket: "prices".to_owned(),
        history: 10,
        ..kv::Config::default()
    };
    context.create_key_value(theirs).await.unwrap();
    let photos = object_store::Config {
        bucket: "photos".to_owned(),
        ..object_store::Config::default()
    };
    context.create_object_store(photos).await.unwrap();
    let before = config(&world, "KV_prices").await;

    let refused = plan(&world, &shop_with(bucket())).await.unwrap_err();
    let wanted = shop_with(bucket());
    let applied = natsfn::setup::setup(&wanted, &world.nats, None).await;

    for part in [
        "the bucket prices has no owner",
        "max_msgs_per_subject: 10 -> 5",
        "Bucket::existing(\"prices\")",
        "--take-over KV_prices",
    ] {
        assert!(refused.contains(part), "{refused}");
    }
    assert!(applied.is_err());
    assert_eq!(config(&world, "KV_prices").await, before);

    let same = Service::new("shop", "1.0.0")
        .bucket(bucket().history(10))
        .object_store(ObjectStore::new("photos"));
    world.set_up(same).await;
    for stream in ["KV_prices", "OBJ_photos"] {
        let config = config(&world, stream).await;
        assert_eq!(config["metadata"]["natsfn.service"], "shop");
    }
}

fn shop_with(bucket: Bucket) -> Definition {
    Service::new("shop", "1.0.0")
        .bucket(bucket)
        .build()
        .unwrap()
}

#[tokio::test]
async fn values_are_written_read_and_compared() {
    let world = World::new().await;
    let prices = prices(&world).await;

    let first = prices.create("tea.green", &cents(350)).await.unwrap();
    let second = prices
        .update("tea.green", &cents(360), first)
        .await
        .unwrap();
    let third = prices.put("tea.green", &cents(370)).await.unwrap();
    let entry = prices.entry("tea.green").await.unwrap().unwrap();
    assert_eq!((entry.value, entry.revision), (cents(370), third));
    assert_eq!(entry.key, "tea.green");
    assert!(first < second && second < third);

    let exists = prices.create("tea.green", &cents(1)).await.unwrap_err();
    let changed = prices
        .update("tea.green", &cents(1), first)
        .await
        .unwrap_err();
    assert_eq!(exists.kind(), Kind::Conflict);
    assert_eq!(exists.public_message(), "\"tea.green\" exists already");
    assert_eq!(changed.kind(), Kind::Conflict);
    assert_eq!(
        changed.public_message(),
        "\"tea.green\" was changed by somebody else"
    );
    assert_eq!(prices.get("coffee").await.unwrap(), None);

    prices.delete("tea.green").await.unwrap();
    assert_eq!(prices.get("tea.green").await.unwrap(), None);
    prices.create("tea.green", &cents(380)).await.unwrap();
    let history = prices.history("tea.green").await.unwrap();
    let values: Vec<_> = history
        .iter()
        .map(|entry| entry.value.as_ref().map(|it| it.cents))
        .collect();
    assert_eq!(values, [Some(350), Some(360), Some(370), None, Some(380)]);

    prices.put("coffee", &cents(420)).await.unwrap();
    prices.put("milk", &cents(99)).await.unwrap();
    prices.purge("coffee").await.unwrap();
    assert_eq!(prices.history("coffee").await.unwrap().len(), 1);
    assert_eq!(prices.keys().await.unwrap(), ["tea.green", "milk"]);
    prices.create("coffee", &cents(430)).await.unwrap();
}

#[tokio::test]
async fn what_is_no_key_and_what_is_no_value_is_told() {
    let world = World::new().await;
    let prices = prices(&world).await;

    for key in [
        "", ".", "a.", ".a", "a..b", "a b", "*", ">", "a.>", "ä", "a\r\nb",
    ] {
        let refused = prices.put(key, &cents(1)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::BadRequest, "{key:?}");
        assert_eq!(prices.get(key).await.unwrap_err().kind(), Kind::BadRequest);
    }
    for payload in ["\"text\"", "", "{"] {
        world.store("$KV.prices.tea", [payload.to_owned()]).await;
        let strange = prices.get("tea").await.unwrap_err();
        assert_eq!(strange.kind(), Kind::Internal);
        assert!(strange.to_string().contains("bucket prices"), "{strange}");
    }
    assert!(prices.keys().await.unwrap().contains(&"tea".to_owned()));
}

#[tokio::test]
async fn watch_has_the_values_and_then_every_change() {
    let world = World::new().await;
    let prices = prices(&world).await;
    prices.put("tea.green", &cents(1)).await.unwrap();
    prices.put("tea.green", &cents(2)).await.unwrap();
    prices.put("coffee", &cents(3)).await.unwrap();

    let mut watch = prices.watch("tea.*").await.unwrap();
    let mut next = async || {
        let entry = within(watch.next()).await?;
        Ok::<_, natsfn::Error>((entry.key, entry.value.map(|it| it.cents)))
    };
    assert_eq!(next().await.unwrap(), ("tea.green".to_owned(), Some(2)));
    prices.put("tea.black", &cents(4)).await.unwrap();
    world.store("$KV.prices.tea.black", ["?".to_owned()]).await;
    prices.delete("tea.black").await.unwrap();

    assert_eq!(next().await.unwrap(), ("tea.black".to_owned(), Some(4)));
    assert_eq!(next().await.unwrap_err().kind(), Kind::Internal);
    assert_eq!(next().await.unwrap(), ("tea.black".to_owned(), None));
}

#[tokio::test]
async fn without_jetstream_everything_may_be_tried_again() {
    let text = "host: $NATS_CONF_HOST\nport: $NATS_CONF_PORT\n";
    let world = World::with(|config| config.text(text.to_owned())).await;
    let prices: Kv<Price> = Client::new(world.nats.clone()).kv();

    let failed = [
        prices.get("tea").await.map(drop),
        prices.put("tea", &cents(1)).await.map(drop),
        prices.create("tea", &cents(1)).await.map(drop),
        prices.delete("tea").await,
        prices.history("tea").await.map(drop),
        prices.keys().await.map(drop),
        prices.watch("tea").await.map(drop),
    ];
    let kinds: Vec<Kind> = failed.map(|failed| failed.unwrap_err().kind()).into();
    assert_eq!(kinds, [Kind::Unavailable; 7]);
}

#[tokio::test]
async fn a_bucket_that_nobody_has_made_is_told_and_waited_for() {
    let world = World::new().await;
    let store =
        async |prices: Kv<Price>, Json(n): Json<u32>| prices.put("tea", &cents(n)).await.map(drop);
    let log = Stream::new("LOG", ["log"]);
    let consumer = || Consumer::new("store", log.clone());
    world
        .set_up(Service::new("shop", "1.0.0").consumer(consumer(), async || {}))
        .await;
    let service = || shop().consumer(consumer(), store);
    let running = world.serve(service()).await;

    let not_ready = running.readiness().not_ready().await;
    let reasons: Vec<_> = not_ready
        .iter()
        .map(|it| (&*it.function, &*it.reason))
        .collect();
    let reason = "there is no bucket prices: run `shop setup`";
    assert_eq!(reasons, [("price", reason), ("store", reason)]);
    assert_eq!(code(&world.ask("price.tea", "").await), Some(503));
    world.store("log", ["350".to_owned()]).await;
    until("it holds", async || {
        (state(&running, 1) == "holding").then_some(())
    })
    .await;

    world.set_up(service()).await;
    until("the message is stored", async || {
        let price = world.ask_json("price.tea", "").await;
        (price["cents"] == 350).then_some(())
    })
    .await;
    assert!(running.readiness().not_ready().await.is_empty());
}

#[tokio::test]
async fn a_mirror_in_which_nothing_would_be_found_is_refused() {
    let world = World::new().await;
    world.set_up(shop()).await;
    let copy = jetstream::stream::Config {
        name: "KV_others".to_owned(),
        mirror: Some(jetstream::stream::Source {
            name: "KV_prices".to_owned(),
            ..jetstream::stream::Source::default()
        }),
        ..jetstream::stream::Config::default()
    };
    let context = world.nats.jetstream();
    context.create_stream(copy).await.unwrap();
    let reader = || {
        Service::new("reader", "1.0.0")
            .bucket(Bucket::existing("others"))
            .endpoint(Endpoint::new("read", "read"), async |_: Kv<Other>| {})
    };

    let refused = plan(&world, &reader().build().unwrap()).await.unwrap_err();
    let running = world.serve(reader()).await;
    let not_ready = running.readiness().not_ready().await;
    context.delete_stream("KV_others").await.unwrap();
    let missing = running.readiness().not_ready().await;

    let expected = "bucket others: mirrors the stream KV_prices, ";
    assert!(refused.contains(expected), "{refused}");
    assert!(not_ready[0].reason.starts_with(expected), "{not_ready:?}");
    let reason = &missing[0].reason;
    assert!(reason.contains("Bucket::existing says"), "{reason}");
}

#[test]
fn a_bucket_that_the_service_does_not_declare_is_a_mistake() {
    let takes = |_: Kv<Other>| async {};
    let uses = Endpoint::new("uses", "uses").uses(Access::object_store("photos"));
    let service = shop().endpoint("takes", takes).endpoint(uses, async || {});
    let error = service.build().err().unwrap();
    assert_eq!(
        error.lines(),
        [
            "function \"takes\" uses the bucket others, and the service has none of that name; add .bucket(Bucket::new(\"others\"))",
            "function \"uses\" uses the object store photos, and the service has none of that name; add .object_store(ObjectStore::new(\"photos\"))",
        ]
    );
    let wrong = Service::new("shop", "1.0.0").bucket(Bucket::new("a.b").history(65));
    let error = wrong.build().err().unwrap().to_string();
    assert!(
        error.contains("its history is 65, and must be 1 to 64"),
        "{error}"
    );
    assert!(error.contains("\"KV_a.b\""), "{error}");
}

/// Does everything that a bucket and an object store offer; enough that the server controls the flow.
async fn everything(client: Client, prices: Kv<Price>) -> Result<Json<usize>> {
    let note = "x".repeat(10_000);
    for n in 0..200 {
        let note = note.clone();
        prices
            .put(&format!("k.{n}"), &Price { cents: n, note })
            .await?;
    }
    let revision = prices.create("tea", &cents(1)).await?;
    prices.update("tea", &cents(2), revision).await?;
    prices.history("tea").await?;
    prices.delete("tea").await?;
    prices.purge("tea").await?;
    let mut watch = prices.watch("k.*").await?;
    for _ in 0..200 {
        watch.next().await?;
    }
    let invoices = client.object_store("invoices").await?;
    let pdf = vec![7; 2_000_000];
    for _ in 0..2 {
        invoices.put("1", &mut pdf.as_slice()).await?;
    }
    let mut read = Vec::new();
    invoices.get("1").await?.read_to_end(&mut read).await?;
    invoices.info("1").await?;
    invoices.delete("1").await?;
    Ok(Json(prices.keys().await?.len() + read.len()))
}

/// What another bucket's user may, and this one may not.
async fn others(client: Client) -> Json<Vec<bool>> {
    let others = client.kv::<Other>();
    let (get, put, history, keys, watch, objects) = tokio::join!(
        others.get("1"),
        others.put("1", &Other(1)),
        others.history("1"),
        others.keys(),
        others.watch("1"),
        client.object_store("others"),
    );
    let denied = [
        get.is_err(),
        put.is_err(),
        history.is_err(),
        keys.is_err(),
        watch.is_err(),
        objects.is_err(),
    ];
    Json(denied.into())
}

/// A server on which the service's user may do what is computed for it, and where there is what others use.
struct Limited {
    world: World,
    config: NatsConfig,
}

impl Limited {
    async fn new(service: &Definition, second_form: bool) -> Self {
        let rights = Rights::of_functions(service, "_INBOX.shop");
        let [subscribe, publish] = [rights.subscribe, rights.publish].map(|rights| {
            let subjects: Vec<_> = rights.into_iter().map(|right| right.subject).collect();
            json!(subjects)
        });
        let text = format!(
            r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
jetstream {{ store_dir: $NATS_CONF_STORE_DIR }}
feature_flags {{ js_ack_fc_v2: {second_form} }}
no_auth_user: anybody
authorization {{ users: [
  {{ user: anybody, password: anybody }}
  {{ user: shop, password: shop, permissions: {{ subscribe: {subscribe}, publish: {publish} }} }}
] }}
"#
        );
        let world = World::with(|config| config.text(text)).await;
        let other = Service::new("other", "1.0.0")
            .bucket(Bucket::of::<Other>())
            .object_store(ObjectStore::new("others"));
        world.set_up(other).await;
        let set_up = natsfn::setup::setup(service, &world.nats, None);
        set_up.await.unwrap();
        let config = NatsConfig {
            url: world.server.url().to_owned(),
            ..NatsConfig::default()
        };
        let config = config.login(&Login::new("shop", "shop", "_INBOX.shop"));
        Self { world, config }
    }

    /// What the server has refused.
    fn refusals(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.world.server.log()).unwrap();
        let refused = log.lines().filter(|line| line.contains("Violation"));
        refused.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn what_permissions_prints_is_enough_and_reaches_no_other_bucket() {
    for second_form in [false, true] {
        let long = Duration::from_secs(100);
        let all = Endpoint::new("all", "all").uses(Access::object_store("invoices"));
        let service = shop()
            .object_store(ObjectStore::new("invoices"))
            .endpoint(all.deadline(long), everything)
            .endpoint(Endpoint::new("others", "others").deadline(long), others)
            .build()
            .unwrap();
        let limited = Limited::new(&service, second_form).await;
        let world = &limited.world;
        let connections = Connections::open(&limited.config, "shop").await.unwrap();
        let running = natsfn::start(service, connections, None).await.unwrap();

        assert!(running.readiness().not_ready().await.is_empty());
        let done = world.ask_json("all", Bytes::new()).await;
        assert_eq!((done, limited.refusals()), (json!(2_000_200), Vec::new()));
        assert_eq!(world.ask_json("others", "").await, json!(vec![true; 6]));
        assert!(limited.refusals().len() >= 6);
        let others: Kv<Other> = Client::new(world.nats.clone()).kv();
        assert!(others.keys().await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn watch_tells_that_the_bucket_is_gone_and_begins_again_with_a_new_one() {
    let world = World::new().await;
    let prices = prices(&world).await;
    let context = world.nats.jetstream();
    for n in 1..=3 {
        prices.put("tea", &cents(n)).await.unwrap();
    }
    let mut watch = prices.watch("*").await.unwrap();
    assert_eq!(within(watch.next()).await.unwrap().value, Some(cents(3)));

    context.delete_key_value("prices").await.unwrap();
    let gone = within(watch.next()).await.unwrap_err();
    world.set_up(shop()).await;
    prices.put("tea", &cents(4)).await.unwrap();
    let again = within(watch.next()).await.unwrap();

    assert_eq!(gone.kind(), Kind::Unavailable);
    assert_eq!((again.value, again.revision), (Some(cents(4)), 1));
    for keys in ["", "a b", "a..b", ">.a", "a.", "a>"] {
        let refused = prices.watch(keys).await.err().unwrap();
        assert_eq!(refused.kind(), Kind::BadRequest, "{keys:?}");
    }
}

#[tokio::test]
async fn watch_goes_on_after_the_server_was_restarted() {
    let service = shop().build().unwrap();
    let limited = Limited::new(&service, false).await;
    let nats = natsfn::connect_once(&limited.config, "shop").await.unwrap();
    let prices: Kv<Price> = Client::new(nats).kv();
    prices.put("tea", &cents(1)).await.unwrap();
    let mut watch = prices.watch(">").await.unwrap();
    let first = within(watch.next()).await.unwrap();
    assert_eq!(first.value, Some(cents(1)));

    within(limited.world.server.restart()).await;
    until("it takes values again", async || {
        prices.put("tea", &cents(2)).await.ok()
    })
    .await;

    // A write whose acknowledgement was lost may have been repeated.
    let next = within(watch.next()).await.unwrap();
    assert_eq!(next.value, Some(cents(2)));
    assert_eq!(limited.refusals(), Vec::<String>::new());
}

#[tokio::test]
async fn a_key_or_subject_over_which_the_server_would_end_the_connection_is_refused() {
    let world = World::new().await;
    let prices = prices(&world).await;
    let client = Client::new(world.nats.clone());
    let long = "k".repeat(4060);

    let put = prices.put(&long, &cents(1)).await.map(drop);
    let published = client.publish(&long, HeaderMap::new(), Bytes::new()).await;
    let asked = client.request::<Value>(&long, &()).await.map(drop);
    prices.put(&"k".repeat(3800), &cents(1)).await.unwrap();

    for refused in [put, published, asked] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), Kind::BadRequest);
        assert!(refused.to_string().len() < 300, "{refused}");
    }
    let connects = &world.nats.statistics().connects;
    assert_eq!(connects.load(std::sync::atomic::Ordering::Relaxed), 1);
}
