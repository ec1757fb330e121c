//! `template/` as a stranger meets it: generated, tested, run with `dev --watch`, changed, by the real cargo. The first
//! time it compiles all that natsfn is made of, so it is a part of the suite `cli`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::process::Lasting;
use crate::world::until;

const NAME: &str = "warm-house";

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Does with the template what `cargo generate` does, which takes minutes to install.
fn generate(project: &Path) {
    let template = checkout().join("template");
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        fs::create_dir_all(project.join(&folder)).unwrap();
        for entry in fs::read_dir(template.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let file = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(file);
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let text = text
                .replace("{{project-name}}", NAME)
                .replace("{{project-name | shouty_snake_case}}", "WARM_HOUSE")
                .replace("{{natsfn}}", checkout().to_str().unwrap());
            assert!(!text.contains("{{"), "{} has more", file.display());
            fs::write(project.join(file), text).unwrap();
        }
    }
    fs::remove_file(project.join("cargo-generate.toml")).unwrap();
    // The versions that were fetched already.
    fs::copy(checkout().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();
}

/// The cargo of a person who is in the project.
fn cargo(project: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "OTEL_", "WARM_HOUSE_"];
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) || name == "DATABASE_URL" {
            cargo.env_remove(&*name);
        }
    }
    cargo.args(arguments).current_dir(project);
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    // What it shares with the workspace is compiled already.
    cargo.env("CARGO_TARGET_DIR", target).kill_on_drop(true);
    cargo.envs([("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0")]);
    cargo
}

#[tokio::test]
async fn template_is_tested_run_and_changed_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let project = directory.path();
    generate(project);
    // The second compiles it again, with what its tests need.
    for arguments in [&["build"][..], &["test"]] {
        let status = cargo(project, arguments).status().await.unwrap();
        assert!(status.success(), "{arguments:?}");
    }

    let mut dev = Lasting::spawn(cargo(
        project,
        &["run", "--", "dev", "--port", "0", "--watch"],
    ));
    dev.says("warm-house 0.1.0 is ready and serves latest, store")
        .await;

    let addresses = fs::read(project.join(".natsfn/dev.json")).unwrap();
    let addresses: Value = serde_json::from_slice(&addresses).unwrap();
    let nats = async_nats::connect(addresses["nats"].as_str().unwrap())
        .await
        .unwrap();
    nats.publish("readings.kitchen", "21.5".into())
        .await
        .unwrap();
    let latest = async |expected: &str| {
        until("it answers", async || {
            let answer = nats.request("warm-house.latest.kitchen", "".into()).await;
            (answer.unwrap().payload == expected.as_bytes()).then_some(())
        })
        .await;
    };
    latest("21.5").await;

    let main = project.join("src/main.rs");
    let source = fs::read_to_string(&main).unwrap();
    let changed = source.replace("(unknown)?.value", "(unknown)?.value * 2.0");
    assert_ne!(changed, source);
    fs::write(&main, changed).unwrap();

    dev.says("warm-house 0.1.0 is ready and serves latest, store")
        .await;
    latest("43.0").await;
    dev.signal("-INT").await;
    assert_eq!(dev.exit_code().await, Some(0));
    // The next run is in another folder, so it would use nothing of this.
    let status = cargo(project, &["clean", "--package", NAME]).status();
    assert!(status.await.unwrap().success());
}
