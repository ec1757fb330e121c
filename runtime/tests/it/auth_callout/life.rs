//! A callout as a function: discovery, instances, stopping, traces.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use natsfn::auth_callout::{Allow, AuthRequest, SUBJECT};
use natsfn::{Endpoint, Running, Service, State};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Door, twice};
use crate::world::{function, until};

/// Nobody passes while a test holds this.
type Gate = Arc<Semaphore>;

const PATIENCE: Duration = Duration::from_secs(30);

/// Lets everybody in; "slow" waits for the gate.
async fn gated(State(gate): State<Gate>, request: AuthRequest) -> Allow {
    if request.connect.user == "slow" {
        gate.acquire().await.unwrap().forget();
    }
    Allow::new("PEOPLE", request.connect.user)
}

impl Door {
    async fn decide_at(&self, gate: &Gate) -> Running {
        let endpoint = Endpoint::auth_callout("decide", self.keys());
        let service = Service::new("auth", "1.0.0").state(gate.clone());
        self.serve(service.endpoint(endpoint, gated)).await
    }
}

#[tokio::test]
async fn discovery_shows_the_endpoint_and_counts_logins() {
    let door = Door::new().await;
    let running = door.decide(twice).await;
    door.password("alice", "alicealice").await;
    let operator = door.user("operator").await;

    let ask = async |verb: &str| -> Value {
        let subject = format!("$SRV.{verb}.auth.{}", running.id());
        let answer = operator.request(subject, "".into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    };

    assert_eq!(ask("PING").await["name"], "auth");
    let endpoint = ask("INFO").await["endpoints"][0].clone();
    assert_eq!(
        (&endpoint["name"], &endpoint["subject"]),
        (&json!("decide"), &json!(SUBJECT))
    );
    assert_eq!(endpoint["queue_group"], "q");
    assert_eq!(ask("STATS").await["endpoints"][0]["num_requests"], 1);
}

#[tokio::test]
async fn a_slow_login_does_not_hold_up_others() {
    let door = Door::new().await;
    let gate = Gate::new(Semaphore::new(0));
    let _running = door.decide_at(&gate).await;

    let slow = door.password("slow", "a");
    let others = async {
        let logins = (0..20).map(|n| door.password(if n == 0 { "first" } else { "fast" }, "a"));
        for login in join_all(logins).await {
            assert_eq!(login.answer, "PONG");
        }
        gate.add_permits(1);
    };

    assert_eq!(join(slow, others).await.0.answer, "PONG");
}

#[tokio::test]
async fn a_login_in_flight_at_a_stop_is_answered() {
    let door = Door::new().await;
    let gate = Gate::new(Semaphore::new(0));
    let running = door.decide_at(&gate).await;
    let operator = door.user("operator").await;

    let slow = door.password("slow", "a");
    let stop = async {
        until("the login is in the function", async || {
            (function(&running, 0)["data"]["in_flight"] == 1).then_some(())
        })
        .await;
        let release = async {
            until("it drains", async || {
                let stats = operator
                    .request("$SRV.STATS.auth", "".into())
                    .await
                    .unwrap();
                let stats: Value = serde_json::from_slice(&stats.payload).unwrap();
                (stats["endpoints"][0]["data"]["state"] == "draining").then_some(())
            })
            .await;
            gate.add_permits(1);
        };
        join(running.stop(PATIENCE), release).await;
    };

    assert_eq!(join(slow, stop).await.0.answer, "PONG");
}

#[tokio::test]
async fn two_instances_share_the_logins() {
    let door = Door::new().await;
    let (one, other) = (door.decide(twice).await, door.decide(twice).await);

    for login in join_all((0..40).map(|_| door.password("a", "aa"))).await {
        assert_eq!(login.answer, "PONG");
    }

    let count = |running| function(running, 0)["num_requests"].as_u64().unwrap();
    assert_eq!(count(&one) + count(&other), 40);
    assert!(count(&one) > 0 && count(&other) > 0);
}

#[cfg(feature = "otel")]
#[tokio::test]
async fn a_login_is_one_span_with_its_outcome_and_no_secret() {
    let traced = crate::traced::Traced::begin().await;
    let door = Door::new().await;
    let running = door.decide(twice).await;

    door.password("alice", "alicealice").await;
    door.password("bob", "hush-hush").await;
    running.stop(PATIENCE).await;

    let spans = traced.end().await;
    let logins: Vec<_> = spans.named("process $SYS.REQ.USER.AUTH").collect();
    assert_eq!(logins.len(), 2, "{:#?}", spans.tree());
    for login in &logins {
        assert_eq!((&*login.parent, login.kind), ("", "SERVER"));
        login.has(&json!({ "messaging.operation.type": "process" }));
    }
    logins[0].has(&json!({ "outcome": "allowed", "reason": null, "error.type": null }));
    let refused = json!({ "outcome": "refused", "reason": "wrong user name or password" });
    logins[1].has(&refused);
    assert!(!format!("{:?}", spans.0).contains("hush-hush"));
}
