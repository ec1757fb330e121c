//! Local users: their passwords, their file, their session tokens.

use std::time::Duration;

use async_nats::ConnectOptions;
use chat::auth::Session;
use chat::auth::users::file::RoleName;
use serde_json::{Value, json};

use crate::doorway::{Doorway, REFUSED};
use crate::issuer::seconds;
use crate::person::read;
use crate::wait::within;

/// Asks for a session token as somebody who logged in with a password.
async fn session(doorway: &Doorway, name: &str) -> Session {
    let options = ConnectOptions::with_user_and_password(name.to_owned(), name.to_owned());
    let client = doorway.client(options, name).await;
    let answer = within(client.request("auth.session", "".into()))
        .await
        .unwrap();
    read(&answer).unwrap()
}

#[tokio::test]
async fn who_has_the_password_is_let_in_and_nobody_else() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;

    for name in ["alice", "bob", "charlie"] {
        assert_eq!(doorway.password(name, name).await.answer, "PONG", "{name}");
    }
    for (name, password) in [
        ("alice", "bob"),
        ("alice", ""),
        ("ALICE", "alice"),
        ("nobody", "nobody"),
        ("alice.send", "alice"),
        ("*", "alice"),
        (">", ">"),
        ("o-alice", "alice"),
        ("alice~Bob", "alice"),
    ] {
        let visitor = doorway.password(name, password).await;
        assert_eq!(visitor.answer, REFUSED, "{name} {password}");
    }
    doorway.logs("wrong user name or password").await;

    assert_eq!(doorway.knock(&json!({})).await.answer, REFUSED);
    doorway.logs("no user name and no token").await;
    assert_eq!(doorway.token("x.y.z").await.answer, REFUSED);
    assert_eq!(doorway.token("alice").await.answer, REFUSED);
    // Nobody who has no password in nats.conf gets in past `auth`, with its name or another's.
    for user in ["send", "chat", "auth", "kick", "sys"] {
        assert_eq!(
            doorway.password(user, "wrong").await.answer,
            REFUSED,
            "{user}"
        );
    }
}

#[tokio::test]
async fn changes_of_the_file_count_at_once_and_a_broken_file_harms_nobody() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    assert_eq!(doorway.password("dave", "dave").await.answer, REFUSED);

    doorway.set_user("dave", "dave", &[RoleName::User]);
    assert_eq!(doorway.password("dave", "dave").await.answer, "PONG");
    doorway.set_user("dave", "other", &[RoleName::User]);
    assert_eq!(doorway.password("dave", "dave").await.answer, REFUSED);
    assert_eq!(doorway.password("dave", "other").await.answer, "PONG");

    std::fs::write(doorway.users(), "{ broken").unwrap();
    assert_eq!(doorway.password("dave", "other").await.answer, "PONG");
    assert_eq!(doorway.password("alice", "alice").await.answer, "PONG");

    std::fs::remove_file(doorway.users()).unwrap();
    assert_eq!(doorway.password("alice", "alice").await.answer, "PONG");
    doorway.set_user("alice", "alice", &[]);
    assert_eq!(doorway.password("alice", "alice").await.answer, "PONG");
    assert_eq!(doorway.password("dave", "other").await.answer, REFUSED);
}

#[tokio::test]
async fn without_auth_nobody_is_refused_and_nobody_let_in() {
    let doorway = Doorway::new().await;
    let alice = json!({ "user": "alice", "pass": "alice" });
    doorway.leaves_undecided(&alice).await;

    let _auth = doorway.serve().await;
    assert_eq!(doorway.password("alice", "alice").await.answer, "PONG");
}

#[tokio::test]
async fn session_token_stands_for_the_password_and_prolongs_nothing() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;

    let Session { token, expires } = session(&doorway, "bob").await;

    let left = expires / 1_000 - seconds();
    assert!((12 * 3_600 - 60..=12 * 3_600).contains(&left), "{left}");
    assert_eq!(doorway.token(&token).await.answer, "PONG");
    // As a client whose library knows no tokens.
    let visitor = doorway.password("", &token).await;
    assert_eq!(visitor.answer, "PONG");

    let client = doorway
        .client(ConnectOptions::with_token(token.clone()), "bob")
        .await;
    let info = within(client.request("$SYS.REQ.USER.INFO", "".into()))
        .await
        .unwrap();
    let info: Value = serde_json::from_slice(&info.payload).unwrap();
    assert_eq!(info["data"]["user"], "bob");
    assert_eq!(info["data"]["account"], "PEOPLE");
    let may = info["data"]["permissions"]["publish"]["allow"]
        .as_array()
        .unwrap();
    assert!(may.contains(&json!("chat.send.*")), "{info}");
    assert!(!may.contains(&json!("auth.session")), "{info}");

    for changed in [
        format!("{token}x"),
        token.replacen('.', "", 1),
        token[..token.len() - 2].to_owned(),
    ] {
        assert_eq!(doorway.token(&changed).await.answer, REFUSED);
    }
}

#[tokio::test]
async fn new_password_and_removal_end_a_session_and_roles_are_read_anew() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    let (alice, bob) = (
        session(&doorway, "alice").await,
        session(&doorway, "bob").await,
    );

    doorway.change(|users| users.get_mut("alice").unwrap().roles.clear());
    let options = ConnectOptions::with_token(alice.token.clone());
    let client = doorway.client(options, "alice").await;
    let info = within(client.request("$SYS.REQ.USER.INFO", "".into()))
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&info.payload).contains("admin.send"));

    doorway.set_user("alice", "alice", &[RoleName::Admin]);
    assert_eq!(doorway.token(&alice.token).await.answer, REFUSED);
    doorway.logs("the session has ended").await;
    assert_eq!(doorway.token(&bob.token).await.answer, "PONG");
    doorway.change(|users| {
        users.remove("bob");
    });
    assert_eq!(doorway.token(&bob.token).await.answer, REFUSED);
}

#[tokio::test]
async fn connection_by_a_former_password_gets_no_session_token() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    let options = ConnectOptions::with_user_and_password("alice".into(), "alice".into());
    let thief = doorway.client(options, "alice").await;

    doorway.set_user("alice", "another", &[RoleName::Admin]);
    let answer = within(thief.request("auth.session", "".into()))
        .await
        .unwrap();

    let refused = read::<Session>(&answer).unwrap_err();
    assert_eq!(refused.code, 403, "{refused:?}");
    assert!(
        refused.message.contains("the password has changed"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn session_ends_for_good_when_its_hours_are_over() {
    let mut doorway = Doorway::new().await;
    // 4 s.
    doorway.config.session_hours = 4.0 / 3_600.0;
    let _auth = doorway.serve().await;
    let mut first = doorway.password("bob", "bob").await;
    assert_eq!(first.answer, "PONG");
    let Session { token, .. } = session(&doorway, "bob").await;
    let mut resumed = doorway.token(&token).await;
    assert_eq!(resumed.answer, "PONG");

    first.ends_with("-ERR 'User Authentication Expired'").await;
    resumed
        .ends_with("-ERR 'User Authentication Expired'")
        .await;

    assert_eq!(doorway.token(&token).await.answer, REFUSED);
    assert_eq!(doorway.password("bob", "bob").await.answer, "PONG");
}

#[tokio::test]
async fn who_guesses_is_slowed_down_and_the_server_says_so() {
    let doorway = Doorway::new().await;
    let _auth = doorway.serve().await;
    for _ in 0..10 {
        assert_eq!(doorway.password("alice", "guess").await.answer, REFUSED);
    }
    assert_eq!(doorway.password("alice", "alice").await.answer, REFUSED);
    doorway.logs("too many wrong passwords").await;
    assert_eq!(doorway.password("bob", "bob").await.answer, "PONG");

    // Six seconds for one more.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
    assert_eq!(doorway.password("alice", "alice").await.answer, "PONG");
}
