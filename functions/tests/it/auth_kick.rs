//! `chat kick`: a person's connections end now.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use async_nats::Client;
use chat::auth::kick::kick;
use futures_util::StreamExt;
use futures_util::future::join;
use natsfn::testing;
use serde_json::json;

use crate::doorway::Doorway;
use crate::server::{NATS_CONF, connect, login, server};
use crate::wait::{until, within};

#[tokio::test]
async fn kick_ends_the_connections_of_one_person_alone() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    let mut bobs = vec![
        doorway.password("bob", "bob").await,
        doorway.password("bob", "bob").await,
    ];
    doorway.set_user("bob-2", "x", &[]);
    let (mut alice, mut other) = (
        doorway.password("alice", "alice").await,
        doorway.password("bob-2", "x").await,
    );
    let admin = connect(&doorway.server, "kick", "_INBOX.o.kick").await;

    assert_eq!(kick(&admin, "nobody").await.unwrap(), 0);
    let began = Instant::now();
    assert_eq!(kick(&admin, "bob").await.unwrap(), 2);
    for bob in &mut bobs {
        bob.ends_with("").await;
    }
    println!("kicked after {:?}", began.elapsed());

    for other in [&mut alice, &mut other] {
        other.say("PING\r\n").await;
        assert_eq!(other.line().await, "PONG");
    }
    assert_eq!(kick(&admin, "bob").await.unwrap(), 0);
}

/// A server tells of its connections in pages, and who leaves moves the others from one to another.
#[tokio::test]
async fn kick_misses_nobody_while_others_leave() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    let others = futures_util::stream::iter(0..300).map(|_| doorway.password("charlie", "charlie"));
    let mut others: Vec<_> = others.buffered(8).collect().await;
    let mut bobs = Vec::new();
    for _ in 0..10 {
        bobs.push(doorway.password("bob", "bob").await);
    }
    let admin = connect(&doorway.server, "kick", "_INBOX.o.kick").await;

    let leaving = async {
        let mut pace = tokio::time::interval(Duration::from_millis(5));
        while others.len() > 100 {
            pace.tick().await;
            others.remove(0);
        }
    };
    let (ended, ()) = join(kick(&admin, "bob"), leaving).await;

    assert_eq!(ended.unwrap(), 10);
    for bob in &mut bobs {
        bob.ends_with("").await;
    }
}

#[tokio::test]
async fn kick_reaches_every_server_of_a_cluster() {
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let ports = free.map(|listener| listener.local_addr().unwrap().port());
    let [one, other] = ports.map(|port| {
        let routes = ports.map(|port| format!("nats://127.0.0.1:{port}"));
        let cluster = format!(
            "cluster {{ name: two, host: 127.0.0.1, port: {port}, routes: [{}] }}",
            routes.join(", ")
        );
        NATS_CONF.replace(
            "server_name: chat",
            &format!("server_name: s{port}\n{cluster}"),
        )
    });
    let (one, other) = join(server(&one), server(&other)).await;
    let doorway = Doorway::at(one);
    let _auth = doorway.serve().await;
    let mut bobs = vec![doorway.password("bob", "bob").await];
    // `auth` is at the one server, which the other has to reach.
    bobs.push(
        until("they are let in by the other server", async || {
            let bob = json!({ "user": "bob", "pass": "bob" });
            let bob = doorway.knock_at(other.url(), &bob).await;
            (bob.answer == "PONG").then_some(bob)
        })
        .await,
    );
    let admin = login(other.url(), "kick", "_INBOX.o.kick").await;

    assert_eq!(kick(&admin, "bob").await.unwrap(), 2);
    for bob in &mut bobs {
        bob.ends_with("").await;
    }
}

/// A server with these accounts, and an administrator of it.
async fn plain(accounts: &str) -> (testing::TestServer, Client) {
    let text = format!(
        "host: $NATS_CONF_HOST, port: $NATS_CONF_PORT, system_account: SYS
        accounts {{ SYS {{ users: [{{ user: admin, password: admin }}] }}, {accounts} }}"
    );
    let server = testing::nats_with(|config| config.text(text)).await;
    let admin = user(server.url(), "admin").await;
    (server, admin)
}

async fn user(url: &str, name: &str) -> Client {
    let options = async_nats::ConnectOptions::with_user_and_password(name.into(), name.into());
    within(options.connect(url)).await.unwrap()
}

#[tokio::test]
async fn account_without_connections_has_none_to_end() {
    for accounts in ["OTHER {}", "PEOPLE {}"] {
        let (_server, admin) = plain(accounts).await;
        assert_eq!(kick(&admin, "bob").await.unwrap(), 0, "{accounts}");
    }
}

#[tokio::test]
async fn kick_goes_on_where_one_server_fails_and_says_so() {
    let (server, admin) = plain("PEOPLE { users: [{ user: bob, password: bob }] }").await;
    let _bob = user(server.url(), "bob").await;
    // What other servers may say; they see the questions of the administrator.
    let odd = user(server.url(), "admin").await;
    let mut questions = odd.subscribe("$SYS.REQ.SERVER.*.*").await.unwrap();
    // Answered once the server knows of the subscription.
    let _ = odd.request("nobody", "".into()).await;
    let playing = tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let answers = match question.subject.split('.').collect::<Vec<_>>()[3..] {
                ["PING", "CONNZ"] => vec![
                    json!({ "server": { "id": "EMPTY" }, "data": { "total": 0, "connections": null } }),
                    json!({ "server": { "id": "BROKEN" }, "error": { "code": 500 } }),
                    json!({ "server": { "id": "STUBBORN" }, "data": { "total": 1, "connections": [
                        { "cid": 7, "authorized_user": "bob" },
                    ] } }),
                ],
                ["STUBBORN", "KICK"] => vec![json!({ "error": { "description": "not now" } })],
                _ => Vec::new(),
            };
            let Some(reply) = question.reply else {
                continue;
            };
            for answer in answers {
                let answer = answer.to_string().into();
                odd.publish(reply.clone(), answer).await.unwrap();
            }
        }
    });

    let said = within(kick(&admin, "bob")).await.unwrap_err().to_string();

    assert!(said.starts_with("1 ended, but perhaps not all: "), "{said}");
    for words in [
        "(BROKEN) says",
        "(STUBBORN) did not end connection 7",
        "not now",
    ] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!said.contains("EMPTY"), "{said}");
    playing.abort();
}
