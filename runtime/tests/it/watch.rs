//! `dev --watch`: what is swapped in, and that no request is lost meanwhile. A script stands in for cargo, and a
//! program's source is the variables with which it makes one of the real program; the suite `cli` has the real cargo.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use async_nats::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::process::{Lasting, program};
use crate::world::{until, within};

const CARGO: &str = r#"#!/bin/sh
cd "${0%/*}"
if [ "$1" = metadata ]; then cat metadata.json; exit; fi
source=$(cat src/main.rs)
echo >> builds
while [ -e slow ]; do sleep 0.02; done
case $source in error*) echo "$source" >&2; exit 101; esac
printf '#!/bin/sh\n%s exec "$PROGRAM" "$@"\n' "$source" > new
chmod +x new
# Cargo writes no program again that is the same.
[ "$(cat new)" = "$(cat built 2>/dev/null)" ] || mv new built
# Later than the build began, also where the clock of the files is coarse.
case $source in *scribble*) sleep 0.05; echo >> src/scribbled;; esac
cat built.json
"#;

/// A package, and `dev --watch` of its program.
struct Watched {
    directory: TempDir,
    dev: Lasting,
}

impl Watched {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let mut command = program("swapped", &root, &["dev", "--port", "0", "--watch"]);
        let real = Path::new(command.as_std().get_program()).to_owned();
        let target =
            json!({ "name": "swapped", "kind": ["example"], "src_path": root.join("src/main.rs") });
        let manifest = root.join("Cargo.toml");
        let metadata = json!({
            "packages": [{ "manifest_path": manifest, "targets": [target] }],
            "workspace_root": root,
            "target_directory": real.ancestors().nth(3).unwrap(),
        });
        let built = json!({
            "reason": "compiler-artifact",
            "package_id": format!("path+file://{}#0.1.0", root.display()),
            "manifest_path": manifest,
            "target": target,
            "executable": root.join("built"),
        });
        fs::create_dir(root.join("src")).unwrap();
        for (file, text) in [
            ("Cargo.toml", String::new()),
            ("src/main.rs", String::new()),
            ("metadata.json", metadata.to_string()),
            ("built.json", built.to_string()),
            ("cargo", CARGO.to_owned()),
        ] {
            fs::write(root.join(file), text).unwrap();
        }
        let cargo = root.join("cargo");
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
        command
            .env("CARGO", cargo)
            .env("CARGO_MANIFEST_DIR", &root)
            .env("PROGRAM", real);
        // Its words and those of all that it starts, in their order.
        let (said, say) = std::io::pipe().unwrap();
        command.stdout(say.try_clone().unwrap()).stderr(say);
        let child = command.spawn().unwrap();
        drop(command);
        let said = Receiver::from_owned_fd(said.into()).unwrap();
        let mut dev = Lasting::of(said, child);
        dev.says("swapped 1.0.0 is ready and serves ask, door")
            .await;
        Self { directory, dev }
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.directory.path().join(file)
    }

    fn save(&self, source: &str) {
        // At once: a build must not read a half.
        let new = self.path("saved");
        fs::write(&new, source).unwrap();
        fs::rename(new, self.path("src/main.rs")).unwrap();
    }

    fn builds(&self) -> usize {
        fs::read_to_string(self.path("builds"))
            .unwrap()
            .lines()
            .count()
    }

    fn address(&self, of: &str) -> String {
        let text = fs::read(self.path(".natsfn/dev.json")).unwrap();
        let json: Value = serde_json::from_slice(&text).unwrap();
        json[of].as_str().unwrap().to_owned()
    }

    async fn client(&self) -> Client {
        async_nats::connect(self.address("nats")).await.unwrap()
    }

    async fn is_swapped(&mut self) {
        self.dev.says("is ready and serves").await;
    }
}

/// The answer, and the process that gave it.
async fn ask(client: &Client) -> (String, u32) {
    let answer = within(client.request("ask", "".into())).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn signal(signal: &str, pid: u32) {
    let mut kill = Command::new("kill");
    let status = kill.args([signal, &pid.to_string()]).status().await;
    assert!(status.unwrap().success());
}

async fn is_gone(pid: u32) {
    until("the process is gone", async || {
        let mut kill = Command::new("kill");
        let status = kill.args(["-0", &pid.to_string()]).status().await.unwrap();
        (!status.success()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn twenty_saves_lose_none_of_a_thousand_requests() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;
    let is_over = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));
    let mut asking = JoinSet::new();
    for _ in 0..8 {
        let (client, is_over, asked) = (client.clone(), is_over.clone(), asked.clone());
        asking.spawn(async move {
            while !is_over.load(Relaxed) || asked.load(Relaxed) < 1000 {
                let (answer, _) = ask(&client).await;
                assert!(answer == "first" || answer.starts_with("save "), "{answer}");
                asked.fetch_add(1, Relaxed);
            }
        });
    }

    for number in 1..=20 {
        watched.save(&format!("SWAPPED_ANSWER='save {number}'"));
        watched.is_swapped().await;
    }

    is_over.store(true, Relaxed);
    asking.join_all().await;
    assert_eq!(watched.builds(), 21, "one before the first, and one each");
    let answer = until("the one before is gone", async || {
        let (answer, _) = ask(&client).await;
        (answer == "save 20").then_some(answer)
    });
    answer.await;
    println!("{asked:?} requests were asked");
}

#[tokio::test]
async fn connection_to_a_task_s_listener_is_answered_by_one_or_the_other() {
    let mut watched = Watched::new().await;
    let address = watched
        .address("door")
        .replace("http://localhost", "127.0.0.1");
    let is_over = Arc::new(AtomicBool::new(false));
    let connecting = tokio::spawn({
        let is_over = is_over.clone();
        async move {
            let mut answer = String::new();
            while !is_over.load(Relaxed) {
                answer.clear();
                let mut stream = within(TcpStream::connect(&address)).await.unwrap();
                within(stream.read_to_string(&mut answer)).await.unwrap();
                assert!(answer == "first" || answer.starts_with("save "), "{answer}");
            }
            answer
        }
    });

    for number in 1..=3 {
        watched.save(&format!("SWAPPED_ANSWER='save {number}'"));
        watched.is_swapped().await;
    }

    is_over.store(true, Relaxed);
    let last = connecting.await.unwrap();
    assert!(last == "save 2" || last == "save 3", "{last}");
}

#[tokio::test]
async fn build_that_fails_shows_the_compiler_s_words_and_leaves_the_program() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;

    watched.save("error: expected one of `.`, `;`");

    watched.dev.says("error: expected one of").await;
    watched
        .dev
        .says("`cargo build` failed; the one before goes on")
        .await;
    assert_eq!(ask(&client).await.0, "first");
    watched.save("SWAPPED_ANSWER=second");
    watched.is_swapped().await;
    until("the new one answers alone", async || {
        (ask(&client).await.0 == "second").then_some(())
    })
    .await;
}

#[tokio::test]
async fn program_that_does_not_start_says_why_and_leaves_the_one_before() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;

    watched.save("SWAPPED_MISTAKE='the till is open'");

    watched.dev.says("swapped: the till is open").await;
    watched
        .dev
        .says("the new program ended before it was ready (exit status: 2); the one before goes on")
        .await;
    let (answer, pid) = ask(&client).await;
    assert_eq!(answer, "first");
    watched.save("SWAPPED_ANSWER=second");
    watched.is_swapped().await;
    is_gone(pid).await;
    assert_eq!(ask(&client).await.0, "second");
}

#[tokio::test]
async fn new_definition_is_set_up() {
    let mut watched = Watched::new().await;
    let stream = async_nats::jetstream::new(watched.client().await);
    assert!(stream.get_stream("SALES").await.is_err());

    watched.save("SWAPPED_STREAM=SALES");

    watched
        .dev
        .says("is ready and serves ask, take, door")
        .await;
    let sales = stream.get_stream("SALES").await.unwrap();
    let published = stream.publish("sales", "\"tea\"".into()).await.unwrap();
    within(published.into_future()).await.unwrap();
    until("it is handled", async || {
        let consumer = sales.consumer_info("swapped-take").await.unwrap();
        (consumer.ack_floor.stream_sequence == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn saves_while_it_builds_mean_one_more_build() {
    let watched = Watched::new().await;
    fs::write(watched.path("slow"), "").unwrap();
    watched.save("SWAPPED_ANSWER=second");
    until("it builds", async || (watched.builds() == 2).then_some(())).await;

    for answer in ["third", "fourth", "fifth"] {
        watched.save(&format!("SWAPPED_ANSWER={answer}"));
        fs::write(watched.path("src").join(answer), "").unwrap();
    }
    fs::remove_file(watched.path("slow")).unwrap();

    let client = watched.client().await;
    until("the last answers", async || {
        (ask(&client).await.0 == "fifth").then_some(())
    })
    .await;
    watched.save("SWAPPED_ANSWER=sixth");
    until("the next answers", async || {
        (ask(&client).await.0 == "sixth").then_some(())
    })
    .await;
    assert_eq!(watched.builds(), 4);
}

#[tokio::test]
async fn program_that_ends_is_started_again_and_by_the_next_change() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;

    for pause in ["1s", "2s"] {
        signal("-KILL", ask(&client).await.1).await;
        let words = "the program ended (signal: 9 (SIGKILL)); it starts again in ";
        watched.dev.says(&format!("{words}{pause}")).await;
        watched.is_swapped().await;
        assert_eq!(ask(&client).await.0, "first");
    }

    signal("-KILL", ask(&client).await.1).await;
    watched.dev.says("it starts again in 4s").await;
    watched.save("SWAPPED_ANSWER=second");
    until("the changed one answers", async || {
        let answer = client.request("ask", "".into()).await.ok()?;
        let (answer, pid): (String, u32) = serde_json::from_slice(&answer.payload).unwrap();
        (answer == "second").then_some(pid)
    })
    .await;
    signal("-KILL", ask(&client).await.1).await;
    watched.dev.says("it starts again in 1s").await;
}

#[tokio::test]
async fn program_that_does_not_stop_is_killed() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;
    let (_, first) = ask(&client).await;
    watched.save("SWAPPED_DRAIN=0.5");
    watched.is_swapped().await;
    is_gone(first).await;
    let (_, pid) = ask(&client).await;
    signal("-STOP", pid).await;

    watched.save("SWAPPED_ANSWER=second");

    watched.is_swapped().await;
    let words = format!("the program's process {pid} has not stopped within 10.5s; it is killed");
    watched.dev.says(&words).await;
    is_gone(pid).await;
}

#[tokio::test]
async fn changed_configuration_starts_the_same_program_anew() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;
    let file = watched.path("swapped.toml");

    fs::write(&file, "mistake = 'the till is open'").unwrap();
    watched.dev.says("swapped: the till is open").await;
    watched.dev.says("the one before goes on").await;
    assert_eq!(ask(&client).await.0, "first");

    fs::write(&file, "answer = 'second'").unwrap();
    watched.is_swapped().await;
    until("the new one answers", async || {
        (ask(&client).await.0 == "second").then_some(())
    })
    .await;
}

#[tokio::test]
async fn change_that_makes_the_same_program_starts_it_where_nothing_runs() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;
    let (_, pid) = ask(&client).await;
    // It takes long to start, and is gone when it fails.
    watched
        .save("echo > started; while [ ! -e go ]; do sleep 0.02; done; rm go; SWAPPED_MISTAKE='the till is open'");
    until("it is started", async || {
        watched.path("started").exists().then_some(())
    })
    .await;
    signal("-KILL", pid).await;
    watched
        .dev
        .says("the program ended (signal: 9 (SIGKILL))")
        .await;
    fs::write(watched.path("go"), "").unwrap();
    let words = "ended before it was ready (exit status: 2); the next change starts another";
    watched.dev.says(words).await;

    fs::write(watched.path("src/more"), "").unwrap();

    fs::write(watched.path("go"), "").unwrap();
    watched.dev.says("swapped: the till is open").await;
}

#[tokio::test]
async fn build_that_writes_among_the_sources_comes_to_rest() {
    let mut watched = Watched::new().await;
    watched.save("SWAPPED_ANSWER=scribble");
    watched.is_swapped().await;
    until("it is built again", async || {
        (watched.builds() == 3).then_some(())
    })
    .await;

    // A second, in which the next build would begin.
    signal("-KILL", ask(&watched.client().await).await.1).await;
    watched.is_swapped().await;
    assert_eq!(watched.builds(), 3);
}

#[tokio::test]
async fn ctrl_c_ends_all() {
    let mut watched = Watched::new().await;
    let client = watched.client().await;
    let url = watched.address("nats");
    let (_, pid) = ask(&client).await;

    watched.dev.signal("-INT").await;

    assert_eq!(watched.dev.exit_code().await, Some(0));
    is_gone(pid).await;
    assert!(async_nats::connect(url).await.is_err());
    assert!(!watched.path(".natsfn/dev.json").exists());
}

#[tokio::test]
async fn killed_dev_takes_the_program_with_it() {
    let mut watched = Watched::new().await;
    let (_, pid) = ask(&watched.client().await).await;

    watched.dev.child.kill().await.unwrap();

    is_gone(pid).await;
}

#[tokio::test]
async fn program_of_no_package_is_refused_with_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program(
        "hello",
        directory.path(),
        &["dev", "--port", "0", "--watch"],
    );
    command.env_remove("CARGO_MANIFEST_DIR");

    let output = crate::process::output(command).await;

    let (_, stderr) = crate::process::text(&output);
    assert!(stderr.contains("--watch needs a package"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}
