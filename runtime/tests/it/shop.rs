//! The README's shop as a process that is killed while it works: each order is there once.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::database::Database;
use crate::process::{output, program, text};
use crate::world::until;

/// docs/security.md shows what the example prints.
#[tokio::test]
async fn permissions_of_the_shop_are_those_in_the_documents() {
    let directory = tempfile::tempdir().unwrap();
    let run = async |arguments: &[&str]| {
        let ran = output(program("shop", directory.path(), arguments)).await;
        let (said, complaint) = text(&ran);
        assert!(ran.status.success(), "{complaint}");
        said
    };
    let documents = include_str!("../../../docs/security.md");

    let printed = run(&["permissions"]).await;

    let shown = format!("```\n{printed}```\n");
    assert!(
        documents.contains(&shown),
        "docs/security.md does not show this:\n{shown}"
    );
    // A process that serves both is the union, under a name of the operator's own.
    let both = run(&["permissions", "price", "store", "--user", "all", "--json"]).await;
    let both: Value = serde_json::from_str(&both).unwrap();
    let all = &both["services"][0]["users"][0];
    assert_eq!(
        (&all["user"], &all["inbox_prefix"]),
        (&json!("all"), &json!("_INBOX.s.all"))
    );
    let subscribe = json!([
        "shop.price.* q",
        "fn.shop.store q",
        "$SRV.>",
        "_INBOX.s.all.>"
    ]);
    assert_eq!(all["permissions"]["subscribe"]["allow"], subscribe);
    assert_eq!(
        both["services"][0]["exports"],
        json!([{ "service": "shop.price.*" }])
    );
    let import = json!({ "service": { "account": "SHOP", "subject": "shop.price.*" } });
    assert_eq!(both["services"][0]["imports"], json!([import]));
}

/// Orders between two kills.
const ORDERS: usize = 150;

/// `shop dev` on a database, ready, and a connection to its server.
async fn shop(
    directory: &Path,
    database: &str,
    variables: &[(&str, &str)],
) -> (Child, async_nats::Client) {
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test.ancestors().nth(2).unwrap().join("examples/shop");
    assert!(
        program.is_file(),
        "build it: cargo build --package natsfn --all-features --example shop"
    );
    let addresses = directory.join(".natsfn/dev.json");
    let _ = std::fs::remove_file(&addresses);
    let shop = Command::new(program)
        .args(["dev", "--port", "0"])
        .current_dir(directory)
        .env("DATABASE_URL", database)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let found = until("dev.json", async || {
        let text = std::fs::read(&addresses).ok()?;
        serde_json::from_slice::<Value>(&text).ok()
    })
    .await;
    let nats = async_nats::connect(found["nats"].as_str().unwrap()).await;
    (shop, nats.unwrap())
}

#[tokio::test]
async fn orders_of_a_shop_that_is_killed_while_it_works_are_there_once() {
    for database in Database::each().await {
        let directory = tempfile::tempdir().unwrap();
        let mut sent = 0_i64;
        for _ in 0..4 {
            let (mut shop, nats) = shop(directory.path(), &database.url, &[]).await;
            let stream = async_nats::jetstream::new(nats);
            for _ in 0..ORDERS {
                let order = json!({ "sku": "tea", "amount": 1 }).to_string();
                let ack = stream
                    .publish(format!("orders.c{sent}"), order.into())
                    .await;
                ack.unwrap().await.unwrap();
                sent += 1;
            }
            shop.kill().await.unwrap();
        }
        let (_shop, _nats) = shop(directory.path(), &database.url, &[]).await;
        until("every order is there", async || {
            let rows = database.number("SELECT count(*) FROM orders").await;
            (rows >= sent).then_some(())
        })
        .await;
        let different = database
            .number("SELECT count(DISTINCT subject) FROM orders")
            .await;
        let rows = database.number("SELECT count(*) FROM orders").await;
        assert_eq!((rows, different), (sent, rows));
    }
}

#[tokio::test]
async fn invoke_stores_a_message_with_the_headers_that_it_is_given() {
    let [database, _] = Database::each().await;
    let directory = tempfile::tempdir().unwrap();
    let (_shop, nats) = shop(directory.path(), &database.url, &[]).await;
    let order = r#"{"sku":"tea","amount":1}"#;
    let arguments = ["invoke", "-H", "Tenant:blue", "orders.bob", order];

    let invoked = output(program("shop", directory.path(), &arguments)).await;

    let (said, complaint) = text(&invoked);
    assert_eq!(
        said, "stored in ORDERS, sequence 1\nstore: acknowledged\n",
        "{complaint}"
    );
    let stored = natsfn::Client::new(nats).message("ORDERS", 1).await;
    let stored = stored.unwrap().unwrap();
    let tenant = stored.headers().get("Tenant");
    assert_eq!(tenant.map(|it| it.as_str()), Some("blue"));
}

#[cfg(feature = "otel")]
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
#[cfg(feature = "otel")]
const ABOVE: &str = "b7ad6b7169203331";

/// The spans of a shop that has stored one order, and was told to stop.
#[cfg(feature = "otel")]
async fn spans_of_an_order(
    database: &Database,
    variables: &[(&str, &str)],
) -> crate::traced::Spans {
    let collector = crate::collector::Collector::start().await;
    let directory = tempfile::tempdir().unwrap();
    let url = collector.url();
    let variables = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", &*url)], variables].concat();
    let (mut shop, nats) = shop(directory.path(), &database.url, &variables).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("traceparent", format!("00-{TRACE}-{ABOVE}-01"));
    let order = json!({ "sku": "tea", "amount": 1 }).to_string();
    natsfn::Client::new(nats.clone())
        .append("orders.c1", None, headers, order.into())
        .await
        .unwrap();
    until("the order is there", async || {
        let rows = database.number("SELECT count(*) FROM orders").await;
        (rows == 1).then_some(())
    })
    .await;
    let pid = shop.id().unwrap().to_string();
    let told = Command::new("kill").args(["-TERM", &pid]).status().await;
    assert!(told.unwrap().success());
    assert!(shop.wait().await.unwrap().success());
    crate::traced::Spans(collector.spans())
}

#[cfg(feature = "otel")]
#[tokio::test]
async fn an_order_is_one_trace_though_the_shop_has_no_line_for_it() {
    let source = include_str!("../../examples/shop.rs").to_lowercase();
    let words = ["trace", "span", "otel", "telemetry"];
    assert!(!words.iter().any(|word| source.contains(word)));
    for database in Database::each().await {
        let spans = spans_of_an_order(&database, &[]).await;
        let batch = spans.one("process_batch orders.{customer}");
        assert_eq!((&*batch.trace, &*batch.parent), (TRACE, ABOVE));
        batch.has(&json!({ "outcome": "stored" }));
        for name in ["BEGIN", "INSERT orders", "COMMIT", "ack orders.{customer}"] {
            assert!(
                spans.one(name).is_below(batch),
                "{name}: {:#?}",
                spans.tree()
            );
        }
    }
}

#[cfg(feature = "otel")]
#[tokio::test]
async fn nothing_below_a_trace_that_is_not_sampled_is_recorded() {
    for database in Database::each().await {
        let share = [
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ];
        let spans = spans_of_an_order(&database, &share).await;
        assert!(spans.0.is_empty(), "{:#?}", spans.tree());
    }
}
