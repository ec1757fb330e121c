//! SECURITY.md's attacks, by users who should not succeed.

use async_nats::HeaderMap;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::person::{Person, read};
use crate::server::{NATS_CONF, connect, server};
use crate::wait::{GUARD, until};
use crate::world::{World, append, on_each};

const PEOPLE: [&str; 3] = ["alice", "bob", "charlie"];

#[tokio::test]
async fn person_publishes_into_no_log_and_no_room() {
    let world = World::new().await;
    for name in PEOPLE {
        let person = world.person(name).await;
        for subject in [
            "chat.general",
            "admin.general",
            "$JS.API.STREAM.DELETE.CHAT_MESSAGES",
            "$JS.API.INFO",
            "$JS.ACK.CHAT_MESSAGES.chat-persist.1.1.1.1.0",
            "$SRV.PING",
            "fn.chat.persist",
            "dead.chat.persist.x",
            "_INBOX.u.alice.x",
            "_INBOX.s.send.x",
            "_R_.x",
            "$SYS.REQ.SERVER.PING",
            "chat.send.a.b",
        ] {
            person.may_not_publish(subject).await;
        }
        // What looks like the log's own voice is mapped away before it is refused.
        for subject in ["live.chat.general", "live.admin.general"] {
            let refused = format!("Publish to \"refused.{subject}\"");
            person.nats.publish(subject, "x".into()).await.unwrap();
            person.refused(&refused).await;
        }
    }
    assert_eq!(world.log().await["last_seq"], 0);
}

#[tokio::test]
async fn person_hears_nothing_but_rooms_and_the_own_inbox() {
    let world = World::new().await;
    for name in PEOPLE {
        let person = world.person(name).await;
        let other = if name == "bob" { "alice" } else { "bob" };
        for subject in [
            "_INBOX.>",
            "_INBOX.u.>",
            "_INBOX.u.*.>",
            "_INBOX.s.>",
            &format!("_INBOX.u.{other}.>"),
            "chat.*",
            "chat.>",
            "admin.*",
            "live.>",
            "live.*.*",
            "refused.>",
            ">",
            "*.*",
            "$SYS.>",
            "$SYS.ACCOUNT.PEOPLE.>",
            "$JS.>",
            "$JS.API.>",
            "_R_.>",
            "$SRV.>",
            "dead.>",
            "chat.history.*",
            "chat.send.*",
        ] {
            person.may_not_hear(subject).await;
        }
        person.hear("live.chat.*").await;
        person.hear("live.chat.general").await;
    }
}

#[tokio::test]
async fn process_that_strangers_reach_over_http_may_do_nothing_in_nats() {
    let world = World::new().await;
    let page = Person::connect(world.server.url(), "page", "_INBOX.s.page").await;
    for subject in [
        "chat.general",
        "chat.send.general",
        "chat.history.general",
        "$JS.API.INFO",
        "$JS.API.DIRECT.GET.CHAT_MESSAGES",
        "$SRV.PING",
        "live.chat.general",
    ] {
        page.may_not_publish(subject).await;
    }
    for subject in ["chat.>", "live.>", "_INBOX.>", "_INBOX.s.send.>", ">"] {
        page.may_not_hear(subject).await;
    }
}

#[tokio::test]
async fn forged_stamp_is_the_servers_own_word_all_the_same() {
    let world = World::new().await;
    let _running = world.serve_only(&["send", "history"]).await;
    let bob = world.person("bob").await;
    let stamp = r#"{"acc":"PEOPLE","user":"alice"}"#;
    for (id, name) in [
        "Nats-Request-Info",
        "nats-request-info",
        "NATS-REQUEST-INFO",
    ]
    .iter()
    .enumerate()
    {
        let mut headers = HeaderMap::new();
        headers.insert(*name, stamp);
        headers.append(*name, stamp);
        let draft = json!({ "id": id.to_string(), "text": "x" }).to_string();
        let answer = bob.ask_with("chat.send.general", headers, draft).await;
        if let Err(error) = read::<Value>(&answer) {
            assert_eq!(error.code, 401, "{name}: {}", error.message);
        }
    }
    let page = bob.page("chat.history.general", Value::Null).await.unwrap();
    assert!(
        page.messages.iter().all(|message| message["uid"] == "bob"),
        "{page:?}"
    );
    assert!(
        !page.messages.is_empty(),
        "a stamp of that very name is replaced"
    );
}

#[tokio::test]
async fn admin_rooms_are_closed_to_users() {
    let world = World::new().await;
    let _running = world.serve().await;
    let alice = world.person("alice").await;
    let mut heard = Vec::new();
    for name in ["bob", "charlie"] {
        let person = world.person(name).await;
        person.may_not_publish("admin.history.ops").await;
        person.may_not_publish("admin.send.ops").await;
        person.may_not_hear("live.admin.ops").await;
        person.may_not_hear("live.admin.*").await;
        heard.push((person.hear("live.chat.*").await, person));
    }

    alice.send("admin.send.ops", "1", "secret").await.unwrap();
    alice.send("chat.send.ops", "2", "open").await.unwrap();

    assert_eq!(alice.texts("admin.history.ops").await, ["secret"]);
    for (mut live, person) in heard {
        let first = crate::wait::within(live.next()).await.unwrap();
        assert_eq!(
            first.subject.as_str(),
            "live.chat.ops",
            "the first that is heard at all"
        );
        assert_eq!(person.texts("chat.history.ops").await, ["open"]);
    }
}

#[tokio::test]
async fn person_without_a_role_reads_and_may_not_send() {
    let world = World::new().await;
    let _running = world.serve().await;
    let (alice, charlie) = (world.person("alice").await, world.person("charlie").await);
    alice.send("chat.send.general", "1", "hello").await.unwrap();

    charlie.may_not_publish("chat.send.general").await;

    assert_eq!(charlie.texts("chat.history.general").await, ["hello"]);
}

#[tokio::test]
async fn function_asked_from_inside_chats_account_answers_401() {
    let insider = r#" users: [
      {
        user: insider, password: insider
        permissions: {
          subscribe: ["_INBOX.s.insider.>"]
          publish: ["chat.send.*", "chat.history.*", "admin.send.*", "admin.history.*"]
        }
      }"#;
    // The first list of users is CHAT's; `auth` decides about nobody in the second.
    let text = NATS_CONF.replacen(" users: [", insider, 1).replacen(
        "auth_users: [",
        "auth_users: [ insider,",
        1,
    );
    let world = World::on(server(&text).await).await;
    let _running = world.serve().await;
    let insider = connect(&world.server, "insider", "_INBOX.s.insider").await;

    for subject in [
        "chat.send.a",
        "chat.history.a",
        "admin.send.a",
        "admin.history.a",
    ] {
        let answer = insider
            .request(subject, r#"{"id":"1","text":"x"}"#.into())
            .await
            .unwrap();
        assert_eq!(read::<Value>(&answer).unwrap_err().code, 401, "{subject}");
    }

    assert_eq!(world.log().await["last_seq"], 0);
}

#[tokio::test]
async fn each_function_works_as_a_user_with_its_own_rights_only() {
    on_each(async |world: World| {
        let _send = world
            .start("send", world.service(), &["send", "admin-send"])
            .await
            .unwrap();
        let reading = &["history", "admin-history"];
        let _history = world
            .start("history", world.service(), reading)
            .await
            .unwrap();
        let persist = world
            .start("persist", world.service(), &["persist"])
            .await
            .unwrap();
        let (alice, backend) = (world.person("alice").await, world.backend().await);

        let first = alice.send("chat.send.general", "1", "hello").await.unwrap();
        let repeat = alice.send("chat.send.general", "1", "hello").await.unwrap();
        assert_eq!(repeat, first, "send may read the log");
        alice.send("admin.send.ops", "2", "secret").await.unwrap();
        append(&backend, "chat.general", None, "poison").await;
        world.settled().await;
        assert_eq!(
            world.dead_letters().await.len(),
            1,
            "persist may write dead letters"
        );
        assert_eq!(world.texts().await, ["hello", "secret"]);
        assert_eq!(alice.texts("chat.history.general").await, ["hello"]);
        assert_eq!(alice.texts("admin.history.ops").await, ["secret"]);

        // persist finds the log and recreates its consumer.
        world.api("STREAM.DELETE.CHAT_MESSAGES", &Value::Null).await;
        world.set_up().await.unwrap();
        world
            .api("CONSUMER.DELETE.CHAT_MESSAGES.chat-persist", &Value::Null)
            .await;
        alice.send("chat.send.general", "3", "again").await.unwrap();
        until("the new life is stored", async || {
            (world.rows().await.len() == 3).then_some(())
        })
        .await;
        assert_eq!(
            alice.texts("chat.history.general").await,
            ["hello", "again"]
        );
        persist.stop(GUARD).await;
    })
    .await;
}
