//! Every way to connect: TLS, and each kind of login, against a server that demands it.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::Request;
use async_nats::RequestErrorKind::{NoResponders, TimedOut};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures_util::future::join_all;
use natsfn::config::{NatsConfig, Secret};
use natsfn::testing::{self, TestServer};
use natsfn::{Connections, Running, Service, connect_once};
use nkeys::KeyPair;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::pki::Pki;
use crate::world::{until, within};

const TLS: &str = "
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
http_port: $NATS_CONF_MONITOR_PORT
jetstream { store_dir: $NATS_CONF_STORE_DIR }
";

async fn echo(body: Bytes) -> Bytes {
    body
}

fn service() -> Service {
    Service::new("a", "1.0.0").endpoint("echo", echo)
}

async fn server(more: &str) -> TestServer {
    let text = format!("{TLS}\n{more}");
    testing::nats_with(|config| config.text(text)).await
}

fn config(server: &TestServer) -> NatsConfig {
    NatsConfig {
        url: server.url().to_owned(),
        ..NatsConfig::default()
    }
}

async fn refused(config: &NatsConfig) -> String {
    let refused = connect_once(config, "a").await;
    refused.err().unwrap().to_string()
}

/// A service serves, with all of its connections.
async fn serves(config: &NatsConfig) {
    let connections = Connections::open(config, "a").await.unwrap();
    let definition = service().build().unwrap();
    let running = natsfn::start(definition, connections, None).await.unwrap();
    let client = connect_once(config, "asker").await.unwrap();
    let answer = within(client.request("echo", "hello".into())).await;
    assert_eq!(answer.unwrap().payload, "hello");
    running.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn server_is_trusted_by_its_authority() {
    let pki = Pki::of_server_and_client();
    let server = server(&pki.section("server", "")).await;
    let plain = config(&server);
    assert!(
        refused(&plain).await.contains("nats.ca"),
        "{}",
        refused(&plain).await
    );
    let right = NatsConfig {
        ca: Some(pki.path("ca.pem")),
        ..plain.clone()
    };
    serves(&right).await;
    let other = Pki::of_server_and_client();
    let wrong = NatsConfig {
        ca: Some(other.path("ca.pem")),
        ..plain.clone()
    };
    assert!(refused(&wrong).await.contains("nats.ca"));
    let missing = NatsConfig {
        ca: Some(pki.path("no.pem")),
        ..plain
    };
    let told = refused(&missing).await;
    assert!(
        told.contains("nats.ca: ") && told.contains("no.pem cannot be read"),
        "{told}"
    );
}

/// What a client sends to a server that does not speak TLS.
async fn sent_to_a_plain_server(configure: impl FnOnce(String) -> NatsConfig) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = async {
        let (mut client, _) = listener.accept().await.unwrap();
        let info = json!({ "server_id": "S", "version": "2.14.0", "headers": true, "proto": 1, "max_payload": 1024 });
        client
            .write_all(format!("INFO {info}\r\n").as_bytes())
            .await
            .unwrap();
        let mut sent = vec![0; 1024];
        let n = client.read(&mut sent).await.unwrap();
        sent.truncate(n);
        sent
    };
    let config = configure(address);
    let (sent, told) = within(async { tokio::join!(server, refused(&config)) }).await;
    assert!(told.contains("cannot be reached"), "{told}");
    sent
}

#[tokio::test]
async fn no_password_goes_to_a_server_without_tls_where_tls_is_asked_for() {
    let pki = Pki::of_server_and_client();
    let login = NatsConfig {
        user: Some("a".to_owned()),
        password: Some("hush".into()),
        ..NatsConfig::default()
    };
    let by_authority = |address| NatsConfig {
        url: format!("nats://{address}"),
        ca: Some(pki.path("ca.pem")),
        ..login.clone()
    };
    let by_address = |address| NatsConfig {
        url: format!("tls://{address}"),
        ..login.clone()
    };
    // One is enough: the cluster may tell of the others without their scheme.
    let by_another_address = |address| NatsConfig {
        url: format!("nats://{address},tls://127.0.0.1:1"),
        ..login.clone()
    };
    let sent = [
        sent_to_a_plain_server(by_authority).await,
        sent_to_a_plain_server(by_address).await,
        sent_to_a_plain_server(by_another_address).await,
    ];
    for sent in sent {
        // The hello of a handshake.
        assert_eq!(sent[0], 0x16, "{:?}", String::from_utf8_lossy(&sent));
    }
}

#[tokio::test]
async fn client_shows_its_certificate_and_the_handshake_may_come_first() {
    let pki = Pki::of_server_and_client();
    let server = server(&pki.section("server", "verify: true, handshake_first: true")).await;
    let without = NatsConfig {
        ca: Some(pki.path("ca.pem")),
        tls_first: true,
        ..config(&server)
    };
    refused(&without).await;
    let with = NatsConfig {
        cert: Some(pki.path("client.pem")),
        key: Some(pki.path("client.key")),
        ..without.clone()
    };
    serves(&with).await;
    let half = NatsConfig {
        cert: Some(pki.path("client.pem")),
        ..without
    };
    assert!(refused(&half).await.contains("nats.cert and nats.key"));
}

#[tokio::test]
async fn file_that_is_no_pem_is_named_and_not_shown() {
    let pki = Pki::of_server_and_client();
    let server = server(&pki.section("server", "verify: true")).await;
    let right = NatsConfig {
        ca: Some(pki.path("ca.pem")),
        cert: Some(pki.path("client.pem")),
        key: Some(pki.path("client.key")),
        ..config(&server)
    };
    serves(&right).await;
    // As a variable has it whose line breaks were lost.
    let key = fs::read_to_string(pki.path("client.key")).unwrap();
    fs::write(pki.path("client.key"), key.replace('\n', " ")).unwrap();
    let told = refused(&right).await;
    let secret = key.lines().nth(1).unwrap();
    let in_numbers = secret.bytes().map(|byte| byte.to_string());
    let in_numbers = in_numbers.collect::<Vec<_>>().join(", ");
    assert!(
        !told.contains(secret) && !told.contains(&in_numbers),
        "{told}"
    );
    assert!(
        told.contains("nats.key: ")
            && told.contains("client.key cannot be used: it is no PEM: are its line breaks there?"),
        "{told}"
    );
    let empty = NatsConfig {
        ca: Some(pki.path("empty")),
        ..config(&server)
    };
    fs::write(pki.path("empty"), "").unwrap();
    let told = refused(&empty).await;
    assert!(
        told.contains("empty cannot be used: it holds no certificate"),
        "{told}"
    );
}

#[tokio::test]
async fn inbox_prefix_that_is_no_subject_is_refused() {
    let server = testing::nats().await;
    for prefix in ["", "_INBOX.shop.>", "_INBOX.shop."] {
        let config = NatsConfig {
            inbox_prefix: Some(prefix.to_owned()),
            ..config(&server)
        };
        let told = refused(&config).await;
        assert!(
            told.contains("nats.inbox_prefix: is \"") && told.contains("without wildcards"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn nkey_and_token_log_in() {
    let directory = tempfile::tempdir().unwrap();
    let seed = directory.path().join("shop.nk");
    let key = KeyPair::new_user();
    fs::write(&seed, key.seed().unwrap()).unwrap();
    let server = server(&format!(
        "authorization {{ users: [{{ nkey: {} }}] }}",
        key.public_key()
    ))
    .await;
    let nkey = NatsConfig {
        nkey: Some(seed.clone()),
        ..config(&server)
    };
    serves(&nkey).await;
    fs::write(&seed, KeyPair::new_user().seed().unwrap()).unwrap();
    let told = refused(&nkey).await;
    assert!(told.contains("is nats.nkey the right file?"), "{told}");

    let server = crate::login::server("authorization { token: hush }").await;
    let token = |token: &str| NatsConfig {
        token: Some(token.into()),
        ..config(&server)
    };
    serves(&token("hush")).await;
    let told = refused(&token("other")).await;
    assert!(
        told.contains("is nats.token right?") && !told.contains("other"),
        "{told}"
    );
}

/// A JWT as NATS has them.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, nats: Value) -> String {
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let header = encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let claims = encode(json!({
        "jti": name,
        "iat": 1,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": name,
        "nats": nats,
    }));
    let signed = format!("{header}.{claims}");
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A user's credentials, as `nsc` writes them.
fn write_creds(file: &Path, account: &KeyPair, name: &str) {
    let user = KeyPair::new_user();
    let nats = json!({ "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1, "type": "user", "version": 2 });
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt(account, &user, name, nats),
        user.seed().unwrap()
    );
    fs::write(file, text).unwrap();
}

#[tokio::test]
async fn credentials_of_a_decentralised_account_log_in() {
    let operator = KeyPair::new_operator();
    let [account, system] = [KeyPair::new_account(), KeyPair::new_account()];
    let of = |account: &KeyPair, storage: i64| {
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "disk_storage": storage, "streams": storage, "consumer": storage,
        });
        let nats = json!({ "limits": limits, "type": "account", "version": 2 });
        let jwt = jwt(&operator, account, "a", nats);
        format!("{}: {jwt}", account.public_key())
    };
    let of_operator = json!({ "type": "operator", "version": 2 });
    let of_operator = jwt(&operator, &operator, "o", of_operator);
    let server = server(&format!(
        "operator: {of_operator}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}, {} }}",
        system.public_key(),
        of(&account, -1),
        of(&system, 0)
    ))
    .await;
    let directory = tempfile::tempdir().unwrap();
    let creds = directory.path().join("a.creds");
    write_creds(&creds, &account, "shop");
    let config = NatsConfig {
        creds: Some(creds.clone()),
        ..config(&server)
    };
    serves(&config).await;
    write_creds(&creds, &KeyPair::new_account(), "stranger");
    let told = refused(&config).await;
    assert!(told.contains("is nats.creds the right file?"), "{told}");
}

#[tokio::test]
async fn password_is_replaced_under_load_without_a_restart() {
    let conf = |password: &str| {
        format!(
            "{TLS}\nauthorization {{ users: [{{ user: a, password: {password} }}, {{ user: asker, password: asker }}] }}"
        )
    };
    let server = testing::nats_with(|config| config.text(conf("one"))).await;
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    fs::write(&password, "one\n").unwrap();
    let own = NatsConfig {
        user: Some("a".to_owned()),
        password: Some(Secret::from_file(&password).unwrap()),
        ..config(&server)
    };
    let instances: Vec<Running> = join_all((0..2).map(async |_| {
        let connections = Connections::open(&own, "a").await.unwrap();
        let definition = service().build().unwrap();
        natsfn::start(definition, connections, None).await.unwrap()
    }))
    .await;
    let asker = NatsConfig {
        user: Some("asker".to_owned()),
        password: Some("asker".into()),
        ..config(&server)
    };
    let asker = connect_once(&asker, "asker").await.unwrap();

    let asked = AtomicU64::new(0);
    let ask = async || {
        loop {
            let n = asked.fetch_add(1, Relaxed);
            if n >= 10_000 {
                return;
            }
            // While every instance connects anew nobody is there, and whoever asks is told so. What is on its way to
            // a connection that the server cuts is gone: NATS delivers a request at most once.
            let answer = loop {
                let request = Request::new().payload(n.to_string().into());
                let request = request.timeout(Some(Duration::from_secs(1)));
                match within(asker.send_request("echo", request)).await {
                    Err(error) if matches!(error.kind(), NoResponders | TimedOut) => {}
                    answer => break answer.unwrap(),
                }
            };
            assert_eq!(answer.payload, n.to_string());
        }
    };
    let rotate = async {
        for turn in ["two", "three"] {
            let before = asked.load(Relaxed);
            while asked.load(Relaxed) < before + 2_000 {
                tokio::task::yield_now().await;
            }
            // A file that is away for a moment ends nobody.
            fs::remove_file(&password).unwrap();
            server.reload(&conf(turn)).unwrap();
            until("the old password is refused", async || {
                instances[0].health().is_err().then_some(())
            })
            .await;
            fs::write(&password, format!("{turn}\n")).unwrap();
        }
    };
    within(async {
        tokio::join!(rotate, join_all((0..16).map(|_| ask())));
    })
    .await;
    for instance in instances {
        within(async {
            while instance.health().is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        instance.stop(Duration::from_secs(5)).await;
    }
}
