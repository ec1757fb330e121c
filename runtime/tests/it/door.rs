//! The example `door` as a process, at a nats-server that asks it.

use std::path::PathBuf;
use std::process::Stdio;

use async_nats::client::RequestErrorKind;
use natsfn::auth_callout::AuthKeys;
use natsfn::testing;
use tokio::process::Command;

use crate::world::until;

const CONF: &str = r#"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
accounts {
  AUTH { users: [{ user: door, password: door }] }
  CUSTOMERS {}
}
authorization { auth_callout { account: AUTH, auth_users: [door], issuer: $ISSUER, xkey: $XKEY } }
"#;

#[tokio::test]
async fn the_door_opens_for_a_token_of_its_list_alone() {
    let keys = AuthKeys::generate();
    let server = testing::nats_with(|config| {
        let config = config.text(CONF).variable("ISSUER", &keys.issuer);
        config.variable("XKEY", &keys.xkey)
    })
    .await;
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test.ancestors().nth(2).unwrap().join("examples/door");
    assert!(
        program.is_file(),
        "build it: cargo build --all-features --example door"
    );
    let _door = Command::new(program)
        .arg("serve")
        .env("NATS_URL", server.url().replace("//", "//door:door@"))
        .env("DOOR_ISSUER", keys.issuer_seed.expose())
        .env("DOOR_XKEY", keys.xkey_seed.expose())
        .env("DOOR_TOKENS__ALI", "open-sesame")
        .env("DOOR_TOKENS__KASIM", "open-barley")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let login = async |token: &str| {
        let options = async_nats::ConnectOptions::with_token(token.to_owned());
        options
            .custom_inbox_prefix("_INBOX.ali")
            .connect(server.url())
            .await
    };
    let ali = until("the door is there", async || {
        login("open-sesame").await.ok()
    })
    .await;

    assert!(login("open-barle").await.is_err());
    // Nobody answers, which it hears: it may publish there, and subscribe its inbox.
    let error = ali.request("orders.a", "".into()).await.unwrap_err();
    assert_eq!(error.kind(), RequestErrorKind::NoResponders);
}
