//! What people see who use the real `nats` CLI, and who have no nats-server. The suite `cargo xtask test cli` brings
//! the one, and the network for the other.

use std::process::Output;

use natsfn::{Endpoint, Json, Service};
use serde_json::Value;
use tokio::process::Command;

use crate::process::{Lasting, hello, output};

/// Runs the CLI against a server, and returns what it prints.
async fn nats(url: &str, arguments: &[&str]) -> Output {
    let cli = std::env::var("NATS_CLI").expect("NATS_CLI is set by `cargo xtask test cli`");
    let mut command = Command::new(cli);
    command
        .args(["--server", url])
        .args(arguments)
        .env("HOME", "/nonexistent");
    command.output().await.expect("the nats CLI runs")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn double(Json(n): Json<i64>) -> Json<i64> {
    Json(n * 2)
}

#[tokio::test]
async fn the_cli_lists_pings_describes_and_calls_a_service() {
    let server = natsfn::testing::nats().await;
    let service = Service::new("math", "1.2.3")
        .description("doubles")
        .endpoint(
            Endpoint::new("double", "math.double").metadata("unit", "none"),
            double,
        );
    let client = async_nats::connect(server.url()).await.unwrap();
    let running = natsfn::start(service.build().unwrap(), client, None)
        .await
        .unwrap();

    let list: Value =
        serde_json::from_str(&text(&nats(server.url(), &["micro", "ls", "--json"]).await)).unwrap();
    let found = list
        .as_array()
        .unwrap()
        .iter()
        .find(|found| found["name"] == "math")
        .unwrap();
    assert_eq!(found["version"], "1.2.3");
    assert_eq!(found["id"], running.id());

    assert!(text(&nats(server.url(), &["micro", "ping", "math"]).await).contains(running.id()));

    let answer = text(&nats(server.url(), &["req", "math.double", "21", "--raw"]).await);
    assert_eq!(answer.trim(), "42");
    let refused = text(&nats(server.url(), &["req", "math.double", "x", "--raw"]).await);
    assert!(refused.contains("\"code\":400"), "{refused}");

    let info = text(&nats(server.url(), &["micro", "info", "math"]).await);
    for word in [
        "doubles",
        "math.double",
        "unit: none",
        "Requests: 2",
        "Errors: 1",
    ] {
        assert!(info.contains(word), "{word} is in {info}");
    }
    let stats = text(&nats(server.url(), &["micro", "stats", "math"]).await);
    assert!(stats.contains("double"), "{stats}");
    running.stop(std::time::Duration::from_secs(5)).await;
}

/// The program on a machine without nats-server.
fn elsewhere(directory: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = hello(directory, arguments);
    let path = std::env::var_os("PATH").unwrap();
    let without = std::env::split_paths(&path).filter(|one| !one.join("nats-server").is_file());
    command
        .env_remove("NATS_SERVER")
        .env("XDG_CACHE_HOME", directory.join("cache"))
        .env("PATH", std::env::join_paths(without).unwrap());
    command
}

#[tokio::test]
async fn dev_fetches_nats_server_for_a_crate_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let refused = output(elsewhere(directory.path(), &["dev", "--port", "0"])).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("was not found") && said.contains("dev --yes"),
        "{said}"
    );

    for _ in 0..2 {
        // The second time it is there.
        let mut dev = Lasting::spawn(elsewhere(
            directory.path(),
            &["dev", "--yes", "--port", "0"],
        ));
        dev.says("is ready").await;
        dev.signal("-TERM").await;
        assert_eq!(dev.exit_code().await, Some(0));
        let cached: Vec<_> = std::fs::read_dir(directory.path().join("cache/natsfn"))
            .unwrap()
            .collect();
        assert_eq!(cached.len(), 1, "{cached:?}");
    }
}
