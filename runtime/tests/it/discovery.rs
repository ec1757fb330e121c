//! Discovery: which subjects are answered, by whom, and what never stops the answers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use futures_util::future::join_all;
use natsfn::{Bytes, Endpoint, Service};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::world::{World, code, function, json as body, until};

async fn echo(body: Bytes) -> Bytes {
    body
}

async fn panics() {
    panic!("on purpose");
}

async fn hangs() {
    std::future::pending::<()>().await;
}

fn service() -> Service {
    Service::new("Echo", "1.2.3").endpoint("echo", echo)
}

#[tokio::test]
async fn nine_subjects_are_answered_by_every_instance_for_itself() {
    let world = World::new().await;
    let (one, other) = (world.serve(service()).await, world.serve(service()).await);
    let ids = BTreeSet::from([one.id().to_owned(), other.id().to_owned()]);
    assert_eq!(ids.len(), 2, "each instance has an id of its own");

    for verb in ["PING", "INFO", "STATS"] {
        for subject in [format!("$SRV.{verb}"), format!("$SRV.{verb}.Echo")] {
            let answers = world.ask_all(&subject, 2).await;
            let answered = answers
                .iter()
                .map(|a| body(a)["id"].as_str().unwrap().to_owned());
            assert_eq!(answered.collect::<BTreeSet<_>>(), ids, "{subject}");
        }
        for id in &ids {
            let answer = world.ask_json(&format!("$SRV.{verb}.Echo.{id}"), "").await;
            assert_eq!(answer["id"], **id);
            let kind = format!("io.nats.micro.v1.{}_response", verb.to_lowercase());
            assert_eq!(answer["type"], kind);
        }
    }
}

#[tokio::test]
async fn the_case_of_name_and_id_is_kept() {
    let world = World::new().await;
    let running = world.serve(service()).await;
    world.ask("$SRV.PING.Echo", "").await;
    let id = running.id().to_owned();
    let swapped: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_uppercase() {
                c.to_ascii_lowercase()
            } else {
                c.to_ascii_uppercase()
            }
        })
        .collect();
    for subject in [
        "$SRV.PING.echo",
        "$SRV.PING.ECHO",
        &format!("$SRV.PING.Echo.{swapped}"),
    ] {
        let error = world
            .nats
            .request(subject.to_owned(), "".into())
            .await
            .unwrap_err();
        assert_eq!(
            error.kind(),
            async_nats::RequestErrorKind::NoResponders,
            "{subject}"
        );
    }
}

#[tokio::test]
async fn verbs_without_a_reply_are_ignored_and_verbs_count_in_no_statistics() {
    let world = World::new().await;
    let running = world.serve(service()).await;
    for verb in ["PING", "INFO", "STATS"] {
        for subject in [format!("$SRV.{verb}"), format!("$SRV.{verb}.Echo")] {
            world
                .nats
                .publish(subject.clone(), "".into())
                .await
                .unwrap();
            world.ask(&subject, "").await;
        }
    }
    assert_eq!(function(&running, 0)["num_requests"], 0);
    assert_eq!(function(&running, 0)["num_errors"], 0);
}

#[tokio::test]
async fn verbs_survive_panics_and_answers_that_cannot_be_sent() {
    let world = World::new().await;
    let _running = world
        .serve(Service::new("a", "1.0.0").endpoint("panics", panics))
        .await;

    for _ in 0..10 {
        assert_eq!(code(&world.ask("panics", "").await), Some(500));
    }
    // No server delivers to these.
    for reply in [">", "*", "a..b", ".", &"x".repeat(3000)] {
        for verb in ["PING", "INFO", "STATS"] {
            let subject = format!("$SRV.{verb}");
            world
                .nats
                .publish_with_reply(subject, reply.to_owned(), "".into())
                .await
                .unwrap();
        }
    }

    for verb in ["PING", "INFO", "STATS"] {
        assert_eq!(
            world.ask_json(&format!("$SRV.{verb}.a"), "").await["name"],
            "a"
        );
    }
}

#[tokio::test]
async fn verbs_do_not_wait_behind_handlers() {
    let world = World::new().await;
    let endpoint = Endpoint::new("hangs", "hangs")
        .max_in_flight(1)
        .deadline(Duration::from_secs(60));
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint(endpoint, hangs))
        .await;

    for _ in 0..100 {
        world.nats.publish("hangs", "".into()).await.unwrap();
    }
    until("all have arrived", async || {
        (function(&running, 0)["num_requests"] == 100).then_some(())
    })
    .await;

    for verb in ["PING", "INFO", "STATS"] {
        world.ask(&format!("$SRV.{verb}"), "").await;
    }
    assert_eq!(function(&running, 0)["data"]["in_flight"], 1);
}

#[tokio::test]
async fn several_services_share_a_connection_and_stop_alone() {
    let world = World::new().await;
    let nats = world.connect().await;
    let start = |name: &str| {
        let service = Service::new(name, "1.0.0")
            .endpoint(name, echo)
            .build()
            .unwrap();
        natsfn::start(service, nats.clone(), None)
    };
    let (one, other) = (start("one").await.unwrap(), start("other").await.unwrap());
    assert_eq!(world.ask_all("$SRV.PING", 2).await.len(), 2);

    one.stop(Duration::from_secs(5)).await;

    let error = world
        .nats
        .request("$SRV.PING.one", "".into())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), async_nats::RequestErrorKind::NoResponders);
    assert_eq!(world.ask("other", "x").await.payload, "x");
    assert_eq!(world.ask_json("$SRV.PING", "").await["id"], other.id());
}

#[tokio::test]
async fn all_of_200_requests_sent_right_after_the_start_find_the_service() {
    let world = World::new().await;
    for _ in 0..5 {
        let running = world.serve(service()).await;
        let asked = join_all((0..200).map(|_| world.nats.request("echo", "x".into()))).await;
        assert_eq!(asked.iter().filter(|answer| answer.is_ok()).count(), 200);
        running.stop(Duration::from_secs(5)).await;
    }
}

#[tokio::test]
async fn a_reply_subject_of_the_server_is_never_answered() {
    let world = World::new().await;
    world
        .api(
            "STREAM.CREATE.KEEP",
            &json!({"name": "KEEP", "subjects": ["keep"]}),
        )
        .await;
    async fn empty() {}
    let service = Service::new("a", "1.0.0")
        .endpoint("empty", empty)
        .endpoint("panics", panics);
    let running = world.serve(service).await;

    // An empty answer there deletes the stream.
    for subject in ["empty", "panics", "$SRV.PING", "$SRV.INFO.a", "$SRV.STATS"] {
        let reply = "$JS.API.STREAM.DELETE.KEEP";
        world
            .nats
            .publish_with_reply(subject, reply, "".into())
            .await
            .unwrap();
    }
    world.settle().await;
    running.stop(Duration::from_secs(5)).await;

    let info = world.api("STREAM.INFO.KEEP", &Value::Null).await;
    assert_eq!(info["config"]["name"], "KEEP");
}

#[tokio::test]
async fn the_state_says_draining_while_a_stop_waits() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    let wait = gate.clone();
    let waits = move |_: natsfn::Headers| {
        let gate = wait.clone();
        async move { gate.notified().await }
    };
    let running = world
        .serve(Service::new("a", "1.0.0").endpoint("waits", waits))
        .await;
    let asked = world.nats.clone();
    let request = tokio::spawn(async move {
        asked
            .request_with_headers("waits", HeaderMap::new(), "".into())
            .await
    });
    until("it runs", async || {
        (function(&running, 0)["data"]["in_flight"] == 1).then_some(())
    })
    .await;

    let stop = tokio::spawn(running.stop(Duration::from_secs(30)));
    until("it drains", async || {
        let stats = world.ask_json("$SRV.STATS.a", "").await;
        (stats["endpoints"][0]["data"]["state"] == "draining").then_some(())
    })
    .await;
    gate.notify_one();

    assert!(request.await.unwrap().is_ok());
    stop.await.unwrap();
}
