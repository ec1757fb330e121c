//! Streams that somebody else made, and what `setup` leaves alone on those of its own.

use std::time::Duration;

use natsfn::setup::{Options, setup_with};
use natsfn::{Batch, Consumer, Item, Service, Stream};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::world::{World, next};

async fn store(_: Batch<Value>) {}

fn orders() -> Stream {
    Stream::new("ORDERS", ["orders.{customer}"])
}

fn existing() -> Stream {
    Stream::existing("ORDERS").template("orders.{customer}")
}

fn shop(stream: Stream) -> Service {
    Service::new("shop", "1.0.0").consumer(Consumer::new("store", stream), store)
}

/// A service that tells the subject of each message that it gets.
fn listening(stream: Stream, heard: UnboundedSender<String>) -> Service {
    let store = move |batch: Batch<Value>| {
        for subject in batch.iter().map(Item::subject) {
            heard.send(subject.to_owned()).unwrap();
        }
        async {}
    };
    Service::new("shop", "1.0.0").consumer(Consumer::new("store", stream), store)
}

type Told = Result<Vec<String>, (u8, String)>;

async fn set_up_with(world: &World, service: Service, options: Options) -> Told {
    setup_with(&service.build().unwrap(), &world.nats, None, &options)
        .await
        .map_err(|error| (error.exit_code(), error.to_string()))
}

async fn set_up(world: &World, service: Service) -> Told {
    set_up_with(world, service, Options::default()).await
}

async fn config(world: &World, stream: &str) -> Value {
    let name = format!("STREAM.INFO.{stream}");
    world.api(&name, &Value::Null).await["config"].clone()
}

async fn make(world: &World, config: Value) {
    let name = config["name"].as_str().unwrap();
    let made = world.api(&format!("STREAM.CREATE.{name}"), &config).await;
    assert!(made["error"].is_null(), "{made}");
}

fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

/// As another team made it: more subjects, more limits, and with discard old.
fn of_another(metadata: Value) -> Value {
    json!({
        "name": "ORDERS", "subjects": ["orders.*", "returns.*"], "max_bytes": 10_000_000,
        "max_msgs": 5000, "discard": "old", "num_replicas": 1, "metadata": metadata
    })
}

#[tokio::test]
async fn stream_of_somebody_else_is_refused_with_a_diff_and_left_as_it_is() {
    for (metadata, whose) in [
        (json!({}), "has no owner"),
        (json!({ "natsfn.service": "billing" }), "belongs to billing"),
    ] {
        let world = World::new().await;
        make(&world, of_another(metadata)).await;
        let before = config(&world, "ORDERS").await;

        let (code, refused) = set_up(&world, shop(orders())).await.unwrap_err();

        assert_eq!(code, 2);
        has(
            &refused,
            &[
                whose,
                "subjects: [\"orders.*\",\"returns.*\"] -> [\"orders.*\"]",
                "discard: \"old\" -> \"new\"",
                "Stream::existing(\"ORDERS\").template(\"orders.{customer}\")",
                "shop setup --take-over ORDERS",
            ],
        );
        assert_eq!(config(&world, "ORDERS").await, before);
        let streams = world.api("STREAM.NAMES", &Value::Null).await;
        assert_eq!(streams["streams"], json!(["ORDERS"]), "nothing was made");

        // Taken over, it loses nothing all the same.
        let taken = Options::default().take_over("ORDERS");
        set_up_with(&world, shop(orders()), taken).await.unwrap();
        let after = config(&world, "ORDERS").await;
        assert_eq!(after["subjects"], before["subjects"]);
        assert_eq!(after["max_bytes"], before["max_bytes"]);
        assert_eq!(after["discard"], "new");
        assert_eq!(after["metadata"]["natsfn.service"], "shop");
    }
}

#[tokio::test]
async fn existing_stream_is_used_and_not_changed() {
    let world = World::new().await;
    let mut made = of_another(json!({}));
    made["discard"] = "new".into();
    make(&world, made).await;
    let before = config(&world, "ORDERS").await;
    let (heard, mut sightings) = unbounded_channel();

    set_up(&world, shop(existing())).await.unwrap();
    let _running = world.serve(listening(existing(), heard)).await;
    world.store("returns.a", ["1".to_owned()]).await;
    world.store("orders.a", ["2".to_owned()]).await;

    assert_eq!(
        next(&mut sightings).await,
        "orders.a",
        "what nobody here names is not for it"
    );
    assert_eq!(config(&world, "ORDERS").await, before);
}

#[tokio::test]
async fn existing_stream_that_is_missing_or_loses_messages_or_captures_less_is_refused() {
    let world = World::new().await;
    let (code, missing) = set_up(&world, shop(existing())).await.unwrap_err();
    assert_eq!(code, 2);
    has(&missing, &["there is no stream ORDERS"]);

    make(&world, of_another(json!({}))).await;
    let (code, losing) = set_up(&world, shop(existing())).await.unwrap_err();
    assert_eq!(code, 2);
    has(&losing, &["discard `old`", ".may_discard()"]);
    set_up(&world, shop(existing().may_discard()))
        .await
        .unwrap();

    let wide = Stream::existing("ORDERS").template("orders.>");
    let (code, wide_refused) = set_up(&world, shop(wide.clone().may_discard()))
        .await
        .unwrap_err();
    assert_eq!(code, 2);
    has(
        &wide_refused,
        &["does not capture \"orders.>\"", "returns.*"],
    );
    // A running function finds that too.
    let nats = world.connect().await;
    let service = shop(wide.may_discard()).build().unwrap();
    let refused = natsfn::start(service, nats, None).await.err().unwrap();
    has(&refused.to_string(), &["does not capture"]);
}

#[tokio::test]
async fn setup_removes_no_subject_and_shortens_no_limit_unless_it_is_told_to() {
    let world = World::new().await;
    let large = Stream::new("ORDERS", ["orders.{customer}", "returns.{customer}"])
        .max_bytes(2 << 20)
        .max_message_size(2000)
        .duplicate_window(Duration::from_secs(60));
    set_up(&world, shop(large)).await.unwrap();
    let before = config(&world, "ORDERS").await;
    let small = || {
        orders()
            .max_bytes(1 << 20)
            .max_message_size(1000)
            .duplicate_window(Duration::from_secs(30))
    };

    let told = set_up(&world, shop(small())).await.unwrap().join("\n");

    assert_eq!(config(&world, "ORDERS").await, before);
    has(
        &told,
        &[
            "--shrink ORDERS",
            "max_bytes: 2097152 -> 1048576",
            "max_msg_size: 2000 -> 1000",
            "duplicate_window: 60 s -> 30 s",
            "returns.*",
        ],
    );
    let shrunk = Options::default().shrink("ORDERS");
    set_up_with(&world, shop(small()), shrunk).await.unwrap();
    let after = config(&world, "ORDERS").await;
    assert_eq!(after["subjects"], json!(["orders.*"]));
    assert_eq!(after["max_bytes"], 1 << 20);
}

#[tokio::test]
async fn setup_keeps_what_an_operator_has_set_where_the_definition_is_silent() {
    let world = World::new().await;
    set_up(&world, shop(orders())).await.unwrap();
    let mut by_hand = config(&world, "ORDERS").await;
    by_hand["max_bytes"] = 5_000_000.into();
    by_hand["deny_delete"] = true.into();
    by_hand["description"] = "ours".into();
    by_hand["republish"] = json!({ "src": ">", "dest": "seen.>" });
    let changed = world.api("STREAM.UPDATE.ORDERS", &by_hand).await;
    assert!(changed["error"].is_null(), "{changed}");
    let before = config(&world, "ORDERS").await;

    set_up(&world, shop(orders())).await.unwrap();

    assert_eq!(config(&world, "ORDERS").await, before);
}

#[tokio::test]
async fn plan_says_what_would_be_done_and_changes_nothing() {
    let world = World::new().await;
    let plan = async |service| {
        let told = set_up_with(&world, service, Options::default().only_plan()).await;
        told.unwrap().join("\n")
    };

    has(
        &plan(shop(orders())).await,
        &[
            "stream ORDERS: is made",
            "stream DEAD_LETTERS: is made",
            "consumer shop-store of ORDERS: is made",
        ],
    );
    let streams = world.api("STREAM.NAMES", &Value::Null).await;
    assert_eq!(streams["total"], 0);

    set_up(&world, shop(orders())).await.unwrap();
    let told = plan(shop(orders())).await;
    assert_eq!(told.matches("stays as it is").count(), 3, "{told}");

    let larger = Stream::new("ORDERS", ["orders.{customer}", "more.{customer}"]);
    let told = plan(shop(larger)).await;
    has(&told, &["ORDERS: is changed", "more.*"]);
    assert_eq!(
        config(&world, "ORDERS").await["subjects"],
        json!(["orders.*"])
    );
}

#[tokio::test]
async fn stream_of_an_earlier_version_is_adopted_where_it_does_not_differ() {
    let world = World::new().await;
    let forget_owner = async || {
        let mut earlier = config(&world, "ORDERS").await;
        earlier["metadata"] = json!({});
        world.api("STREAM.UPDATE.ORDERS", &earlier).await;
        let metadata = config(&world, "ORDERS").await["metadata"].clone();
        assert!(metadata["natsfn.service"].is_null(), "{metadata}");
    };
    set_up(&world, shop(orders())).await.unwrap();
    forget_owner().await;

    set_up(&world, shop(orders())).await.unwrap();

    assert_eq!(
        config(&world, "ORDERS").await["metadata"]["natsfn.service"],
        "shop"
    );
    // Another service that describes it alike may use it, and does not become its owner.
    let billing = Service::new("billing", "1.0.0").consumer(Consumer::new("bill", orders()), store);
    set_up(&world, billing).await.unwrap();
    assert_eq!(
        config(&world, "ORDERS").await["metadata"]["natsfn.service"],
        "shop"
    );

    forget_owner().await;
    let newer = orders().max_bytes(1 << 30).republish(">", "live.>");
    let (code, _) = set_up(&world, shop(newer)).await.unwrap_err();
    assert_eq!(code, 2, "whoever made it, it differs");
}

#[tokio::test]
async fn names_that_setup_does_not_know_are_refused() {
    let world = World::new().await;
    let typed = Options::default().take_over("ORDER").shrink("OTHER");
    let (code, refused) = set_up_with(&world, shop(orders()), typed)
        .await
        .unwrap_err();
    assert_eq!(code, 2);
    has(
        &refused,
        &["--take-over ORDER:", "--shrink OTHER:", "shop-store"],
    );
}

#[tokio::test]
async fn stream_that_the_disk_has_no_room_for_names_its_cure() {
    let conf = "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT
        jetstream { store_dir: $NATS_CONF_STORE_DIR, max_file_store: 1MB }";
    let world = World::with(|config| config.text(conf)).await;
    let (_, refused) = set_up(&world, shop(orders().max_bytes(4 << 20)))
        .await
        .unwrap_err();
    has(
        &refused,
        &["ORDERS", "max_bytes, 4194304", "max_file_store"],
    );
    set_up(&world, shop(orders().max_bytes(1 << 19)))
        .await
        .unwrap();
}

#[tokio::test]
async fn batches_are_allowed_where_the_owner_says_so_and_an_earlier_version_leaves_it_so() {
    let world = World::new().await;
    let takes_batches = async || config(&world, "ORDERS").await["allow_atomic"] == true;
    set_up(&world, shop(orders())).await.unwrap();
    assert!(!takes_batches().await);

    let billing = Service::new("billing", "1.0.0").stream(orders().atomic_appends());
    let (_, told) = set_up(&world, billing).await.unwrap_err();
    has(&told, &["belongs to shop", "allow_atomic"]);
    assert!(!takes_batches().await);

    let told = set_up(&world, shop(orders().atomic_appends())).await;
    has(&told.unwrap().join("\n"), &["allow_atomic"]);
    assert!(takes_batches().await);

    let told = set_up(&world, shop(orders())).await.unwrap();
    has(&told.join("\n"), &["stream ORDERS: stays as it is"]);
    assert!(takes_batches().await);
}

#[tokio::test]
async fn appends_to_an_existing_stream_are_not_gathered_where_it_soon_forgets_its_ids() {
    let world = World::new().await;
    make(
        &world,
        json!({"name": "ORDERS", "subjects": ["orders.*"], "duplicate_window": 4_000_000_000_u64}),
    )
    .await;
    set_up(&world, shop(existing())).await.unwrap();
    let (_, told) = set_up(&world, shop(existing().atomic_appends()))
        .await
        .unwrap_err();
    has(&told, &["ORDERS", "atomic_appends", "duplicate window"]);

    // It is read all the same.
    let (heard, mut subjects) = unbounded_channel();
    let reader = listening(existing().atomic_appends(), heard);
    let _running = world.serve(reader).await;
    world.store("orders.a", ["1".to_owned()]).await;
    assert_eq!(next(&mut subjects).await, "orders.a");
}

#[tokio::test]
async fn what_keeps_appends_from_a_batch_or_a_republished_one_from_a_stream_is_told() {
    let world = World::new().await;
    make(&world, json!({"name": "ORDERS", "subjects": ["orders.*"]})).await;
    let told = set_up(&world, shop(existing().atomic_appends())).await;
    has(&told.unwrap().join("\n"), &["ORDERS", "allow_atomic"]);
    let told = set_up(&world, shop(existing())).await.unwrap();
    assert!(!told.join("\n").contains("allow_atomic"));

    make(
        &world,
        json!({"name": "COPIES", "subjects": ["live.orders.>"]}),
    )
    .await;
    let log = || Stream::new("LOG", ["log.>"]).republish(">", "live.>");
    let told = |stream| async {
        let told = set_up(&world, Service::new("a", "1.0.0").stream(stream)).await;
        told.unwrap().join("\n")
    };
    assert!(!told(log()).await.contains("COPIES"));
    has(
        &told(log().atomic_appends()).await,
        &["stream LOG", "live.>", "COPIES", "atomic_appends"],
    );
}
