//! The command line as a person meets it: the README's hello as a process.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use async_nats::{Client, Message, Request};
use futures_util::StreamExt;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, Command};

use crate::caller::Raw;
use crate::network::Network;
use crate::world::{World, until, within};

/// The program, in a directory of its own and with nothing of our environment that it might read.
pub(crate) fn hello(directory: &Path, arguments: &[&str]) -> Command {
    program("hello", directory, arguments)
}

/// The same of any example.
pub(crate) fn program(example: &str, directory: &Path, arguments: &[&str]) -> Command {
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples")
        .join(example);
    assert!(
        program.is_file(),
        "build it: cargo build --package natsfn --all-features --example {example}"
    );
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for name in ["NATS_URL", "NATS_CREDS", "DATABASE_URL", "RUST_LOG"] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command
}

/// A program that goes on until it is told to stop.
pub(crate) struct Lasting {
    pub(crate) child: Child,
    lines: Lines<BufReader<Box<dyn AsyncRead + Send + Unpin>>>,
}

impl Lasting {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Self::of(stdout, child)
    }

    /// A program that runs, and what it says.
    pub(crate) fn of(said: impl AsyncRead + Send + Unpin + 'static, child: Child) -> Self {
        let said: Box<dyn AsyncRead + Send + Unpin> = Box::new(said);
        let lines = BufReader::new(said).lines();
        Self { child, lines }
    }

    /// Reads on until a line holds the words.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        within(async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                if line.contains(words) {
                    return line;
                }
            }
            panic!("it ended and never said {words:?}")
        })
        .await
    }

    pub(crate) async fn signal(&self, signal: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
    }

    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        within(self.child.wait()).await.unwrap().code()
    }
}

pub(crate) async fn dev(directory: &Path) -> Lasting {
    let mut dev = Lasting::spawn(hello(directory, &["dev", "--port", "0"]));
    dev.says("is ready").await;
    dev
}

fn addresses(directory: &Path) -> Value {
    let text = std::fs::read(directory.join(".natsfn/dev.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Asks with little patience: what reaches a server or a connection that dies gets no answer.
async fn ask(client: &Client, subject: &str, payload: &str) -> Option<Message> {
    let request = Request::new()
        .payload(payload.to_owned().into())
        .timeout(Some(Duration::from_millis(500)));
    client.send_request(subject.to_owned(), request).await.ok()
}

pub(crate) fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

pub(crate) async fn output(mut command: Command) -> Output {
    within(command.output()).await.unwrap()
}

#[tokio::test]
async fn wrong_configuration_names_every_mistake_and_exits_2() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("hello.toml"),
        "nats.url = 4222\nnats.ping_interval = '3s'\ngreeting = 'hi'",
    )
    .unwrap();
    let mut command = hello(directory.path(), &["dev"]);
    command
        .env("HELLO_LOG__FORMAT", "xml")
        .env("HELLO_FOO__BAR", "1")
        .env("HELLO_CREDENTIALS__SETUP__TOKEN_FILE", "no/token")
        .env("HELLO_CREDENTIALS__DEAD__TOKEN__FILE", "")
        .env("HELLO_X__", "1");

    let output = output(command).await;

    let (_, stderr) = text(&output);
    let wrong = [
        "nats.url: is a whole number, must be a text (in hello.toml)",
        "nats.ping_interval: is a text, must be a number of seconds, such as 3 (in hello.toml)",
        "greeting: is no configuration key; there are: nats, database, credentials, health, invoke, log, drain (in hello.toml)",
        "log.format: must be one of: text, json (variable HELLO_LOG__FORMAT)",
        "foo.bar: is no configuration key; there are: nats, database, credentials, health, invoke, log, drain (variable HELLO_FOO__BAR)",
        "credentials.setup.token: no/token cannot be read: No such file or directory (os error 2) (variable HELLO_CREDENTIALS__SETUP__TOKEN_FILE)",
        "credentials.dead.token: has no file's name (variable HELLO_CREDENTIALS__DEAD__TOKEN__FILE)",
        "variable HELLO_X__: is no configuration key",
    ];
    for sentence in wrong {
        assert!(stderr.contains(sentence), "{sentence} in\n{stderr}");
    }
    assert_eq!(stderr.lines().count(), wrong.len(), "{stderr}");
    assert_eq!(output.status.code(), Some(2));
    assert!(
        !directory.path().join(".natsfn").exists(),
        "something was started"
    );
}

#[tokio::test]
async fn configuration_that_is_a_folder_or_a_link_to_nowhere_is_not_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hello.toml");
    // As Docker makes it where the file to be mounted is missing.
    std::fs::create_dir(&file).unwrap();
    for why in ["Is a directory", "No such file or directory"] {
        let output = output(hello(directory.path(), &["permissions"])).await;
        let (_, stderr) = text(&output);
        let told = format!("the configuration file hello.toml cannot be read: {why}");
        assert!(stderr.contains(&told), "{stderr}");
        assert_eq!(output.status.code(), Some(2));
        let _ = std::fs::remove_dir(&file);
        let _ = std::os::unix::fs::symlink("nowhere", &file);
    }
}

#[tokio::test]
async fn wrong_command_line_exits_2() {
    let directory = tempfile::tempdir().unwrap();
    let nats = "nats://127.0.0.1:1";
    for arguments in [
        &["serve", "nothing"][..],
        &["dev", "--without", "nothing"],
        &["dance"],
        &[],
    ] {
        let mut command = hello(directory.path(), arguments);
        command.env("HELLO_NATS__URL", nats);
        let output = output(command).await;
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {:?}",
            text(&output)
        );
    }
}

#[tokio::test]
async fn data_directory_is_used_by_one_dev_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = dev(directory.path()).await;

    let second = output(hello(directory.path(), &["dev", "--port", "0"])).await;

    let (_, stderr) = text(&second);
    let process = first.child.id().unwrap().to_string();
    assert!(
        stderr.contains("another dev uses .natsfn") && stderr.contains(&process),
        "{stderr}"
    );
    assert_eq!(second.status.code(), Some(1));
    let ignored = std::fs::read_to_string(directory.path().join(".natsfn/.gitignore"));
    assert_eq!(ignored.unwrap(), "*\n", "git sees none of its secrets");
}

#[tokio::test]
async fn data_directory_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();

    let output = output(hello(
        directory.path(),
        &["dev", "--port", "0", "--data", "file/data"],
    ))
    .await;

    let (_, stderr) = text(&output);
    assert!(
        stderr.contains("file/data cannot be written") && stderr.contains("--data"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn port_that_no_task_would_listen_on_is_refused() {
    let directory = tempfile::tempdir().unwrap();

    let output = output(hello(directory.path(), &["dev", "--port", "3333"])).await;

    let (_, stderr) = text(&output);
    assert!(
        stderr.contains("--port 3333") && stderr.contains("no task"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn usual_port_in_use_is_named_with_the_cure() {
    let directory = tempfile::tempdir().unwrap();
    // Where somebody else has it, it is in use as well.
    let _taken = std::net::TcpListener::bind(("127.0.0.1", 4222));

    let output = output(hello(directory.path(), &["dev"])).await;

    let (_, stderr) = text(&output);
    assert!(
        stderr.contains("port 4222") && stderr.contains("--port 0"),
        "{stderr}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[tokio::test]
async fn ctrl_c_stops_dev_with_exit_0() {
    let directory = tempfile::tempdir().unwrap();
    let mut dev = dev(directory.path()).await;
    let url = addresses(directory.path())["nats"]
        .as_str()
        .unwrap()
        .to_owned();

    dev.signal("-INT").await;

    assert_eq!(dev.exit_code().await, Some(0));
    assert!(
        async_nats::connect(url).await.is_err(),
        "nats-server is still there"
    );
    assert!(!directory.path().join(".natsfn/dev.json").exists());
}

#[tokio::test]
async fn killed_dev_takes_nats_server_with_it_and_starts_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut first = dev(directory.path()).await;
    let url = addresses(directory.path())["nats"]
        .as_str()
        .unwrap()
        .to_owned();
    let client = async_nats::connect(&url).await.unwrap();

    first.child.kill().await.unwrap();

    until("nats-server is gone", async || {
        async_nats::connect(&url).await.err()
    })
    .await;
    drop(client);
    dev(directory.path()).await;
}

#[tokio::test]
async fn dev_answers_while_its_nats_server_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let _dev = dev(directory.path()).await;
    let url = addresses(directory.path())["nats"]
        .as_str()
        .unwrap()
        .to_owned();
    let client = async_nats::connect(&url).await.unwrap();
    let pid = std::fs::read_to_string(directory.path().join(".natsfn/nats-server.pid")).unwrap();

    assert!(
        Command::new("kill")
            .args(["-KILL", pid.trim()])
            .status()
            .await
            .unwrap()
            .success()
    );

    let answer = until("it answers again", async || {
        ask(&client, "hello", "\"World\"").await
    })
    .await;
    assert_eq!(answer.payload, "\"Hello, World!\"");
}

#[tokio::test]
async fn addresses_and_configuration_are_the_owners_and_another_process_joins_with_them() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let _dev = dev(directory.path()).await;
    let data = directory.path().join(".natsfn");
    for file in ["dev.json", "hello.toml"] {
        let mode = std::fs::metadata(data.join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    let elsewhere = tempfile::tempdir().unwrap();
    let file = data.join("hello.toml").display().to_string();
    let mut serve = Lasting::spawn(hello(
        elsewhere.path(),
        &["--config", &file, "serve", "hello"],
    ));
    serve.says("serves hello").await;
    let answer = output(hello(
        elsewhere.path(),
        &["--config", &file, "invoke", "hello", "\"World\""],
    ))
    .await;

    assert_eq!(text(&answer).0, "\"Hello, World!\"\n");
    serve.signal("-TERM").await;
    assert_eq!(serve.exit_code().await, Some(0));
}

#[tokio::test]
async fn dev_stops_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = hello(directory.path(), &["dev", "--port", "0"]);
    command.stderr(Stdio::piped());
    let mut dev = Lasting::spawn(command);
    dev.says("is ready").await;
    let mut stderr = dev.child.stderr.take().unwrap();

    dev.signal("-TERM").await;

    assert_eq!(dev.exit_code().await, Some(0));
    let mut log = String::new();
    stderr.read_to_string(&mut log).await.unwrap();
    assert!(!log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn serve_waits_for_a_server_that_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    within(world.server.down()).await;
    let mut command = hello(directory.path(), &["serve"]);
    command
        .env("HELLO_NATS__URL", world.server.url())
        .stderr(Stdio::piped());
    let mut serve = Lasting::spawn(command);
    let mut complaints = BufReader::new(serve.child.stderr.take().unwrap()).lines();
    let complaint = within(complaints.next_line()).await.unwrap().unwrap();
    assert!(complaint.contains("cannot be reached"), "{complaint}");

    within(world.server.up()).await;

    serve.says("serves hello").await;
}

#[tokio::test]
async fn invoke_exits_1_with_the_error_reply() {
    let directory = tempfile::tempdir().unwrap();
    let _dev = dev(directory.path()).await;

    let refused = output(hello(directory.path(), &["invoke", "hello", "no JSON"])).await;
    let nobody = output(hello(directory.path(), &["invoke", "nobody"])).await;

    let (stdout, stderr) = text(&refused);
    let body: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (refused.status.code(), &body["code"]),
        (Some(1), &Value::from(400))
    );
    assert!(stderr.contains("400"), "{stderr}");
    assert_eq!(nobody.status.code(), Some(1));
    let (_, stderr) = text(&nobody);
    assert!(
        stderr.contains("nobody is no function of hello")
            && stderr.contains("functions are: hello"),
        "{stderr}"
    );
}

#[tokio::test]
async fn dev_outlives_a_storm_of_requests_that_no_client_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut dev = dev(directory.path()).await;
    let url = addresses(directory.path())["nats"]
        .as_str()
        .unwrap()
        .to_owned();
    let client = async_nats::connect(&url).await.unwrap();
    let instance = async || {
        let ping = ask(&client, "$SRV.PING.hello", "").await?;
        let ping: Value = serde_json::from_slice(&ping.payload).unwrap();
        Some(ping["id"].clone())
    };
    let first = instance().await.unwrap();
    let mut raw = Raw::connect(&url, "anybody");

    // async-nats panics on a bare carriage return in a header's value.
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    for n in 0..200 {
        pace.tick().await;
        let subject = ["hello", "$SRV.PING"][n % 2];
        raw.publish(subject, "nowhere", b"NATS/1.0\r\nX: a\rb\r\n\r\n");
    }

    let after = until("it answers", async || instance().await).await;
    assert_eq!(after, first, "it has not even started again");
    let answer = until("it answers", async || {
        ask(&client, "hello", "\"World\"").await
    })
    .await;
    assert_eq!(answer.payload, "\"Hello, World!\"");
    dev.signal("-TERM").await;
    assert_eq!(dev.exit_code().await, Some(0));
}

/// `dev` as a terminal starts it, also where these tests run under `nohup`: a program that finds the
/// signal ignored leaves it so.
fn dev_of_a_terminal(directory: &Path) -> Command {
    let dev = hello(directory, &["dev", "--port", "0"]);
    let mut command = Command::new("env");
    command
        .arg("--default-signal=HUP,QUIT")
        .arg(dev.as_std().get_program())
        .args(dev.as_std().get_args())
        .current_dir(directory)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, value) in dev.as_std().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

#[tokio::test]
async fn hangup_and_quit_stop_as_a_termination_does() {
    let run = async |signal: &str| {
        let directory = tempfile::tempdir().unwrap();
        let mut dev = Lasting::spawn(dev_of_a_terminal(directory.path()));
        dev.says("is ready").await;
        let url = addresses(directory.path())["nats"]
            .as_str()
            .unwrap()
            .to_owned();

        dev.signal(signal).await;

        dev.says("stopping").await;
        assert_eq!(dev.exit_code().await, Some(0), "{signal}");
        assert!(
            async_nats::connect(url).await.is_err(),
            "{signal}: nats-server is still there"
        );
    };
    futures_util::join!(run("-HUP"), run("-QUIT"));
}

#[tokio::test]
async fn closed_terminal_takes_its_output_along_and_dev_stops_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = dev_of_a_terminal(directory.path());
    command.env("RUST_LOG", "debug").stderr(Stdio::piped());
    let mut dev = Lasting::spawn(command);
    dev.says("is ready").await;
    let url = addresses(directory.path())["nats"]
        .as_str()
        .unwrap()
        .to_owned();

    let Lasting { mut child, lines } = dev;
    drop((lines, child.stderr.take()));
    // A shell that ends and the kernel may both say it.
    let pid = child.id().unwrap().to_string();
    for _ in 0..2 {
        let killed = Command::new("kill").args(["-HUP", &pid]).status().await;
        assert!(killed.unwrap().success());
    }

    assert_eq!(within(child.wait()).await.unwrap().code(), Some(0));
    assert!(async_nats::connect(url).await.is_err());
}

#[tokio::test]
async fn program_that_is_to_outlive_its_terminal_does() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let hello = hello(directory.path(), &["serve"]);
    let mut nohup = Command::new("sh");
    nohup
        .args(["-c", "trap '' HUP; exec \"$0\" serve"])
        .arg(hello.as_std().get_program())
        .env("HELLO_NATS__URL", world.server.url())
        .current_dir(directory.path())
        .kill_on_drop(true);
    let mut serve = Lasting::spawn(nohup);
    serve.says("serves hello").await;

    serve.signal("-HUP").await;

    let answer = ask(&world.nats, "hello", "\"World\"").await.unwrap();
    assert_eq!(answer.payload, "\"Hello, World!\"");
    serve.signal("-TERM").await;
    assert_eq!(serve.exit_code().await, Some(0));
}

#[tokio::test]
async fn command_ends_with_an_error_where_the_network_is_dead() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let network = Network::before(world.server.url()).await;
    network.silence_all();
    let dying = Network::before(world.server.url()).await;
    dying.silence_soon();
    let run = async |network: &Network, arguments: &[&str], complaint: &str| {
        let mut command = hello(directory.path(), arguments);
        command.env("HELLO_NATS__URL", network.url());
        let output = output(command).await;
        let (_, stderr) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(complaint), "{stderr}");
    };

    let started = tokio::time::Instant::now();
    futures_util::join!(
        run(&network, &["dead", "list"], "cannot be reached"),
        run(&network, &["invoke", "hello", "1"], "cannot be reached"),
        run(&dying, &["dead", "list"], "does not answer"),
        run(&dying, &["invoke", "hello", "1"], "timed out"),
    );
    // The longest is a request's own patience, 10 s.
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn setup_tries_to_reach_its_server_for_as_long_as_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let silent = Network::before(world.server.url()).await;
    silent.silence_all();
    let run = async |url: &str, arguments: &[&str]| {
        let mut command = hello(directory.path(), arguments);
        command.env("HELLO_NATS__URL", url);
        let output = output(command).await;
        let (_, stderr) = text(&output);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(
            stderr.contains(url.trim_start_matches("nats://")),
            "{stderr}"
        );
        assert!(stderr.contains("is nats.url right?"), "{stderr}");
        stderr
    };

    let nobody = "nats://127.0.0.1:1";
    let once = run(nobody, &["setup", "--wait", "0"]).await;
    assert!(!once.contains("trying again"), "{once}");
    for command in [
        &["setup", "--wait", "1"][..],
        &["setup", "--plan", "--wait", "1"],
    ] {
        let tried = run(nobody, command).await;
        let warning = "trying again: NATS at nats://127.0.0.1:1 cannot be reached";
        assert!(tried.contains(warning), "{tried}");
        assert!(
            tried.contains("hello: it was tried for 1 s; `--wait"),
            "{tried}"
        );
    }
    let tried = run(&silent.url(), &["setup", "--wait", "1"]).await;
    assert!(tried.contains("has not answered yet"), "{tried}");
}

#[tokio::test]
async fn setup_waits_for_a_server_that_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    within(world.server.down()).await;
    let mut command = hello(directory.path(), &["setup", "--wait", "600"]);
    command
        .env("HELLO_NATS__URL", world.server.url())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut setup = Lasting::of(child.stderr.take().unwrap(), child);
    setup.says("cannot be reached").await;

    within(world.server.up()).await;

    assert_eq!(setup.exit_code().await, Some(0));
}

#[tokio::test]
async fn invoke_sends_the_headers_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let run = async |arguments: &[&str]| {
        let mut command = hello(directory.path(), arguments);
        command.env("HELLO_NATS__URL", world.server.url());
        output(command).await
    };
    let mut asked = world.nats.subscribe("greet").await.unwrap();
    world.nats.flush().await.unwrap();
    let answer = async {
        let request = asked.next().await.unwrap();
        let values = request.headers.unwrap();
        let values = values.get_all("Tenant").map(ToString::to_string);
        let values: Vec<String> = values.collect();
        let reply = request.reply.unwrap();
        world.nats.publish(reply, "\"good\"".into()).await.unwrap();
        values
    };
    let arguments = [
        "invoke",
        "-H",
        "Tenant: blue",
        "--header",
        "Tenant:a:b",
        "greet",
        "1",
    ];

    let (answered, tenants) = within(async { futures_util::join!(run(&arguments), answer) }).await;

    assert_eq!(text(&answered), ("\"good\"\n".to_owned(), String::new()));
    assert_eq!(tenants, ["blue", "a:b"]);
    for (wrong, complaint) in [
        ("Tenant", "a header is NAME:VALUE"),
        (":blue", "a header is NAME:VALUE"),
        ("The tenant:blue", "is no name of a header"),
    ] {
        let refused = run(&["invoke", "-H", wrong, "greet"]).await;
        let (_, stderr) = text(&refused);
        assert_eq!(refused.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(complaint), "{stderr}");
    }
}

#[tokio::test]
async fn command_that_passes_over_the_server_of_dev_names_its_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let _dev = dev(directory.path()).await;
    let invoke = ["invoke", "hello", "\"World\""];
    let answered = output(hello(directory.path(), &invoke)).await;
    assert_eq!(answered.status.code(), Some(0), "{:?}", text(&answered));
    let own = directory.path().join("hello.toml");
    std::fs::write(own, "nats.url = 'nats://127.0.0.1:1'").unwrap();
    let cure = "--config .natsfn/hello.toml";

    for command in [&invoke[..], &["dead", "list"]] {
        let failed = output(hello(directory.path(), command)).await;
        let (_, stderr) = text(&failed);
        assert_eq!(failed.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("cannot be reached"), "{stderr}");
        assert!(stderr.contains(cure), "{stderr}");
    }
    let [option, file] = ["--config", ".natsfn/hello.toml"];
    let mut cured = vec![option, file];
    cured.extend(invoke);
    let answered = output(hello(directory.path(), &cured)).await;
    assert_eq!(text(&answered).0, "\"Hello, World!\"\n");
    // Who names a file has chosen.
    let chosen = ["--config", "hello.toml", "dead", "list"];
    let failed = output(hello(directory.path(), &chosen)).await;
    assert!(!text(&failed).1.contains(cure), "{:?}", text(&failed));
}

#[tokio::test]
async fn login_in_the_address_is_taken() {
    let server = natsfn::testing::nats_with(|config| config.text(USERS)).await;
    let server = server.url().trim_start_matches("nats://");
    let invoke = async |url: String, user: Option<&str>| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = hello(directory.path(), &["invoke", "nobody"]);
        command.env("HELLO_NATS__URL", &url);
        if let Some(user) = user {
            command
                .env("HELLO_NATS__USER", user)
                .env("HELLO_NATS__PASSWORD", user);
        }
        let output = output(command).await;
        let (_, stderr) = text(&output);
        assert!(!stderr.contains("p#"), "{stderr}");
        (output.status.code(), stderr)
    };

    // Who is in is told that nobody answers there.
    let (_, said) = invoke(format!("nats://user:p%23@{server}"), None).await;
    assert!(said.contains("does somebody serve it?"), "{said}");
    let several = format!("nats://user:p%23@127.0.0.1:1,{server}");
    let (_, said) = invoke(several, None).await;
    assert!(said.contains("does somebody serve it?"), "{said}");

    let (code, said) = invoke(format!("nats://user:no@{server}"), None).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("refuses the login in nats.url"), "{said}");
    let (code, said) = invoke(format!("nats://user:p%23@{server}"), Some("user")).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("nats.url: holds a login, and"), "{said}");
    let (code, said) = invoke(format!("nats://user:p#@{server}"), None).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("%23"), "{said}");
}

const USERS: &str = r##"
host: $NATS_CONF_HOST
port: $NATS_CONF_PORT
authorization { users: [{ user: user, password: "p#" }] }
"##;

#[tokio::test]
async fn serve_starts_amid_a_storm_of_requests_that_no_client_can_read() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let url = world.server.url().to_owned();
    let over = Arc::new(AtomicBool::new(false));
    let storm = tokio::task::spawn_blocking({
        let (url, over) = (url.clone(), over.clone());
        move || {
            let mut raw = Raw::connect(&url, "anybody");
            for n in 0.. {
                if over.load(Relaxed) {
                    return;
                }
                let subject = ["hello", "$SRV.PING"][n % 2];
                raw.publish(subject, "nowhere", b"NATS/1.0\r\nX: a\rb\r\n\r\n");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let mut command = hello(directory.path(), &["serve"]);
    command.env("HELLO_NATS__URL", &url);

    let mut serve = Lasting::spawn(command);
    serve.says("serves hello").await;
    let answer = until("it answers", async || {
        ask(&world.nats, "hello", "\"World\"").await
    })
    .await;
    over.store(true, Relaxed);
    storm.await.unwrap();

    assert_eq!(answer.payload, "\"Hello, World!\"");
    serve.signal("-TERM").await;
    assert_eq!(serve.exit_code().await, Some(0));
}
