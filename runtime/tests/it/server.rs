//! The nats-server child of development and tests.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use natsfn::server::{Ports, Server, ServerConfig};

use crate::world::{World, within};

async fn refused(config: ServerConfig) -> String {
    match Server::start(config).await {
        Ok(server) => panic!("it runs: {}", server.url()),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let ports = Ports {
        websocket: port,
        ..Ports::default()
    };

    let reason = refused(ServerConfig::new(directory.path()).ports(ports)).await;

    assert_eq!(reason, format!("port {port} (NATS, WebSocket) is in use"));
}

#[tokio::test]
async fn killed_server_comes_back_on_its_ports_with_what_it_held() {
    let world = World::new().await;
    let jetstream = world.nats.jetstream();
    let config = async_nats::jetstream::stream::Config {
        name: "KEPT".to_owned(),
        subjects: vec!["kept".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(config).await.unwrap();
    jetstream
        .publish("kept", "x".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let (pid, addresses) = (world.server.pid(), world.server.addresses().clone());

    world.server.kill();
    within(world.server.ready()).await;

    assert_ne!(world.server.pid(), pid);
    assert_eq!(world.server.addresses(), &addresses);
    let again = async_nats::jetstream::new(world.connect().await);
    let mut kept = again.get_stream("KEPT").await.unwrap();
    assert_eq!(kept.info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn server_that_is_down_stays_down_until_it_is_wanted() {
    let world = World::new().await;

    within(world.server.down()).await;
    let away = async_nats::connect(world.server.url()).await;
    within(world.server.up()).await;

    assert!(away.is_err());
    world.connect().await;
}

#[tokio::test]
async fn paused_server_goes_on_where_it_stood() {
    let world = World::new().await;
    world.server.pause();
    let asked = world.nats.request("nobody", "".into());
    let stands = tokio::time::timeout(std::time::Duration::from_millis(50), asked).await;
    assert!(stands.is_err());

    world.server.resume();

    let answer = within(world.nats.request("nobody", "".into())).await;
    assert!(answer.is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders));
}

#[tokio::test]
async fn dropped_server_is_gone() {
    let world = World::new().await;
    let url = world.server.url().to_owned();

    drop(world);

    assert!(async_nats::connect(url).await.is_err());
}

#[tokio::test]
async fn stopped_server_can_be_started_on_its_data_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = ServerConfig::new(directory.path());

    let first = Server::start(config.clone()).await.unwrap();
    let url = first.url().to_owned();
    within(first.stop()).await;
    let second = Server::start(config).await.unwrap();

    assert_ne!(second.url(), url, "the port was free, so both chose one");
    async_nats::connect(second.url()).await.unwrap();
}

#[tokio::test]
async fn wrong_server_configuration_is_told_in_the_servers_words() {
    let directory = tempfile::tempdir().unwrap();

    let reason = refused(ServerConfig::new(directory.path()).text("port: $NOBODY_SETS_THIS")).await;

    assert!(reason.contains("NOBODY_SETS_THIS"), "{reason}");
}

#[tokio::test]
async fn text_of_a_variable_is_taken_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let password = r#"01 #"quoted\" $x"#;
    let text = "port: $NATS_CONF_PORT\nauthorization { user: a, password: $TEST_PASSWORD }";
    let config = ServerConfig::new(directory.path()).text(text);

    let server = Server::start(config.variable("TEST_PASSWORD", password))
        .await
        .unwrap();

    let options = async_nats::ConnectOptions::with_user_and_password("a".into(), password.into());
    options.connect(server.url()).await.unwrap();
}

#[tokio::test]
async fn program_that_is_no_server_is_refused_with_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    let other = std::env::current_exe().unwrap();

    let reason = refused(ServerConfig::new(directory.path()).binary(other)).await;

    assert!(
        reason.contains("is no nats-server") && reason.contains("install"),
        "{reason}"
    );
}

#[tokio::test]
async fn script_that_stays_before_the_server_is_refused_with_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let pid = world.server.pid().unwrap();
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let script = |line: &str| {
        let script = directory.path().join("nats-server");
        let text = format!("#!/bin/sh\n{line}\n");
        std::fs::write(&script, text.replace("SERVER", program.to_str().unwrap())).unwrap();
        std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        ServerConfig::new(directory.path().join("data")).binary(script)
    };

    let reason = within(refused(script("SERVER \"$@\"; exit $?"))).await;

    assert!(reason.contains("by `exec`"), "{reason}");
    // Nothing was left behind: the next has the directory.
    let server = within(Server::start(script("exec SERVER \"$@\""))).await;
    server.unwrap().stop().await;
}

#[tokio::test]
async fn program_may_have_another_name() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let pid = world.server.pid().unwrap();
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    let named = directory.path().join("nats_server-2.15_1");
    std::os::unix::fs::symlink(program, &named).unwrap();

    let config = ServerConfig::new(directory.path().join("data")).binary(named);
    let server = within(Server::start(config)).await.unwrap();

    async_nats::connect(server.url()).await.unwrap();
    server.stop().await;
}
