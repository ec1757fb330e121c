use async_nats::HeaderMap;
use tokio::time::timeout;

use super::*;
use crate::Json;
use crate::config::Login;
use crate::error::reply::check;
use crate::nats::client::Client;
use crate::run::setup::setup;
use crate::service::Service;
use crate::service::consumer::Consumer;
use crate::service::stream::Stream;
use crate::testing;

const CONF: &str = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
authorization { users: [
  { user: a, password: a, permissions: { publish: ">", subscribe: ["good", "$SRV.>", "_INBOX.>"] } }
] }
"#;

#[tokio::test]
async fn service_that_starts_again_serves_what_the_server_lets_it() {
    let server = testing::nats_with(|config| config.text(CONF)).await;
    let service = Service::new("a", "1.0.0")
        .endpoint("good", async || {})
        .endpoint("bad", async || {});
    let nats = NatsConfig {
        url: server.url().to_owned(),
        ..NatsConfig::default()
    };
    let host = Host {
        definition: service.build().unwrap(),
        nats: nats.login(&Login::new("a", "a", "_INBOX.a")),
        section: "nats".to_owned(),
        database_url: None,
        drain: Duration::ZERO,
        troubles: Default::default(),
    };

    let refused = host.start().await.err().unwrap().to_string();
    assert!(refused.contains("may not subscribe bad;"), "{refused}");
    let running = host.start_again().await.unwrap();

    let why = running.health().unwrap_err();
    assert!(why.starts_with("bad is not subscribed"), "{why}");
    let answer = running.nats().request("good", "".into()).await.unwrap();
    check(&answer).unwrap();
    running.stop(GIVE_UP).await;
}

#[tokio::test]
async fn services_beside_each_other_drain_together() {
    let server = testing::nats_with(|config| config).await;
    let (begun, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (go_on, wait) = tokio::sync::watch::channel(false);
    let slow = move || {
        let (begun, mut wait) = (begun.clone(), wait.clone());
        async move {
            begun.send(()).unwrap();
            wait.wait_for(|go_on| *go_on).await.map(drop).unwrap();
        }
    };
    let b = Service::new("b", "1.0.0").endpoint("b", slow.clone());
    let a = Service::new("a", "1.0.0").endpoint("a", slow).beside(b);
    let config = RuntimeConfig {
        nats: NatsConfig {
            url: server.url().to_owned(),
            ..NatsConfig::default()
        },
        ..RuntimeConfig::default()
    };
    let program = Program::new(a.build().unwrap(), &config);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let stopping = async { stopped.await.unwrap() };
    let board = Board::default();
    let served = serve(program, &config, &board, stopping, || {
        ready.send(()).unwrap();
        Ok(())
    });
    let asked = async {
        is_ready.await.unwrap();
        let nats = async_nats::connect(server.url()).await.unwrap();
        let answers = ["a", "b"].map(|subject| {
            let nats = nats.clone();
            tokio::spawn(async move { nats.request(subject, "".into()).await })
        });
        seen.recv().await.unwrap();
        seen.recv().await.unwrap();
        stop.send(()).unwrap();
        // Both are told at once: neither waits for the other to drain.
        for service in ["a", "b"] {
            while state(&nats, service).await.as_deref() != Some("draining") {
                tokio::task::yield_now().await;
            }
        }
        go_on.send_replace(true);
        for answer in answers {
            check(&answer.await.unwrap().unwrap()).unwrap();
        }
    };
    let (served, ()) = tokio::join!(served, asked);
    served.unwrap();
}

#[tokio::test]
async fn what_is_unfinished_at_the_end_of_the_drain_is_given_back() {
    let server = testing::nats_with(|config| config).await;
    let nats = async_nats::connect(server.url()).await.unwrap();
    let (begun, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let never = move |Json(n): Json<u64>| {
        begun.send(n).unwrap();
        std::future::pending::<()>()
    };
    let jobs = Consumer::new("jobs", Stream::new("JOBS", ["jobs"]));
    let service = Service::new("a", "1.0.0")
        .consumer(jobs, never)
        .build()
        .unwrap();
    setup(&service, &nats.clone().into(), None).await.unwrap();
    let config = RuntimeConfig {
        nats: NatsConfig {
            url: server.url().to_owned(),
            ..NatsConfig::default()
        },
        drain: Some(0.1),
        ..RuntimeConfig::default()
    };
    let program = Program::new(service.clone(), &config);
    let client = Client::new(nats.clone());
    client
        .append("jobs", None, HeaderMap::new(), "7".into())
        .await
        .unwrap();

    let stop = async { assert_eq!(seen.recv().await, Some(7)) };
    let board = Board::default();
    let served = serve(program, &config, &board, stop, || Ok(()));
    // Without the key it takes 8 s.
    timeout(Duration::from_secs(6), served)
        .await
        .unwrap()
        .unwrap();

    let info = client.consumer_info("JOBS", "a-jobs").await.unwrap();
    assert_eq!((info.num_pending, info.ack_floor.stream_seq), (0, 0));
    let again = start(service, nats, None).await.unwrap();
    assert_eq!(
        seen.recv().await,
        Some(7),
        "it begins anew, before its ack wait is over"
    );
    again.stop(Duration::ZERO).await;
}

async fn state(nats: &async_nats::Client, service: &str) -> Option<String> {
    let subject = format!("$SRV.STATS.{service}");
    let stats = nats.request(subject, "".into()).await.ok()?;
    let stats: serde_json::Value = serde_json::from_slice(&stats.payload).ok()?;
    let state = stats["endpoints"][0]["data"]["state"].as_str()?;
    Some(state.to_owned())
}

#[tokio::test]
async fn service_that_cannot_start_stops_those_beside_it() {
    let server = testing::nats_with(|config| config.text(CONF)).await;
    let bad = Service::new("b", "1.0.0").endpoint("bad", async || {});
    let good = Service::new("a", "1.0.0").endpoint("good", async || {});
    let nats = NatsConfig {
        url: server.url().to_owned(),
        ..NatsConfig::default()
    };
    let config = RuntimeConfig {
        nats: nats.login(&Login::new("a", "a", "_INBOX.a")),
        ..RuntimeConfig::default()
    };
    let program = Program::new(good.beside(bad).build().unwrap(), &config);

    let never = std::future::pending();
    let served = serve(program, &config, &Board::default(), never, || {
        panic!("it is not ready")
    })
    .await;

    let refused = served.unwrap_err().to_string();
    assert!(refused.contains("may not subscribe bad;"), "{refused}");
}
