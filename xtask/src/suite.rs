//! The suites of tests.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::bench::Bench;
use crate::node::Node;
use crate::tool::Tool;
use crate::toolbox::{
    COLLECTOR, JAEGER, KUBERNETES_SCHEMAS, NATS_CLI, NATS_SERVER, NODE, POSTGRES, PROMTOOL,
};
use crate::{Result, compose, feature, toolbox, web, workspace};

/// Tests that can be run on their own.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Needs tools that the others do not, so it runs only when it is named.
    pub(crate) further: bool,
    /// The programs that its tests start or talk to.
    pub(crate) needs: &'static [&'static Tool],
    pub(crate) run: fn(&Bench) -> Result<()>,
}

pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "format",
        about: "every file is formatted by rustfmt",
        further: false,
        needs: &[],
        run: |_| run(&mut workspace::cargo(["fmt", "--all", "--check"])),
    },
    Suite {
        name: "lints",
        about: "no warning of clippy or rustdoc; natsfn compiles with each of its features alone",
        further: false,
        needs: &[],
        run: |_| lints(),
    },
    Suite {
        name: "unit",
        about: "the tests beside the code and in its documentation",
        further: false,
        needs: &[&NATS_SERVER, &POSTGRES],
        run: |bench| {
            run(bench.equip(&mut cargo_test(&["--lib", "--bins", "--examples"])))?;
            run(bench.equip(&mut cargo_test(&["--doc"])))
        },
    },
    Suite {
        name: "integration",
        about: "the crates' public API, on nats-server, PostgreSQL and SQLite; the manifests for Kubernetes",
        further: false,
        needs: &[&NATS_SERVER, &POSTGRES, &KUBERNETES_SCHEMAS],
        run: |bench| {
            // Some of the tests run the examples as programs; `cargo test` alone builds them only as tests.
            run(&mut workspace::cargo([
                "build",
                "--workspace",
                "--all-features",
                "--examples",
            ]))?;
            run(bench.equip(&mut cargo_test(&[
                "--test",
                "*",
                "--",
                "--skip",
                NATS_CLI_TESTS,
                "--skip",
                TEMPLATE_TESTS,
                "--skip",
                JAEGER_TESTS,
                "--skip",
                OTEL_TESTS,
            ])))
        },
    },
    Suite {
        name: "web",
        about: "the page's code: format, lints, types and unit tests",
        further: false,
        needs: &[&NODE],
        run: |_| {
            let node = Node::find()?;
            web::install(&node)?;
            ["lint", "typecheck", "test"]
                .iter()
                .try_for_each(|script| run(&mut node.npm(["run", script])))
        },
    },
    Suite {
        name: BROWSER,
        about: "the page in a real Chromium, with the real chat and nats-server",
        further: false,
        needs: &[&NODE, &NATS_SERVER],
        run: |bench| browser(bench, "e2e"),
    },
    Suite {
        name: "cli",
        about: "chat as the real nats CLI shows it; template/ as the real cargo builds it",
        further: true,
        needs: &[&NATS_SERVER, &POSTGRES, &NATS_CLI],
        run: |bench| {
            alone(bench, NATS_CLI_TESTS)?;
            alone(bench, TEMPLATE_TESTS)
        },
    },
    Suite {
        name: "jaeger",
        about: "one message as the real Jaeger shows it",
        further: true,
        needs: &[&NATS_SERVER, &JAEGER],
        run: |bench| alone(bench, JAEGER_TESTS),
    },
    Suite {
        name: KEYCLOAK,
        about: "people sign in at the real Keycloak, in a real Chromium",
        further: true,
        needs: &[&NODE, &NATS_SERVER, &toolbox::KEYCLOAK],
        run: |bench| browser(bench, "e2e:keycloak"),
    },
    Suite {
        name: "compose",
        about: "docker-compose.yml and the Dockerfile in a real Docker engine, and the page it serves in a real Chromium",
        further: true,
        needs: &[&NODE],
        run: compose::test,
    },
    Suite {
        name: "otel",
        about: "the files in otel/ as the real collector and Prometheus's promtool read them",
        further: true,
        needs: &[&NATS_SERVER, &COLLECTOR, &PROMTOOL],
        run: |bench| alone(bench, OTEL_TESTS),
    },
];

/// The suites that need the built page, and the program that embeds it.
pub(crate) const WITH_PAGE: [&str; 2] = [BROWSER, KEYCLOAK];

const BROWSER: &str = "browser";
const KEYCLOAK: &str = "keycloak";

/// The modules with tests that run the nats CLI. Not `cli::`, which is a module of natsfn.
const NATS_CLI_TESTS: &str = "nats_cli::";

/// The module whose test generates, builds and runs `template/`.
const TEMPLATE_TESTS: &str = "template::";

/// The module whose tests run Jaeger.
const JAEGER_TESTS: &str = "jaeger::";

/// The module whose tests run a collector and promtool.
const OTEL_TESTS: &str = "otel::";

fn lints() -> Result<()> {
    let everything = ["--workspace", "--all-targets", "--all-features"];
    run(workspace::cargo(["clippy"])
        .args(everything)
        .args(["--", "--deny", "warnings"]))?;
    let mut doc = workspace::cargo(["doc", "--workspace", "--no-deps", "--all-features"]);
    run(doc.env("RUSTDOCFLAGS", "--deny warnings"))?;
    // With all features, a module that fails to enable one it needs still compiles; and who depends on this crate by
    // its path sees its warnings.
    let alone = feature::of("runtime")?;
    let default = "default".to_owned();
    for feature in alone.iter().chain([&default, &String::new()]) {
        run(
            workspace::cargo(["clippy", "--package", "natsfn", "--no-default-features"])
                .args(["--features", feature])
                .args(["--", "--deny", "warnings"]),
        )?;
    }
    Ok(())
}

/// Runs the tests of the modules with this name.
fn alone(bench: &Bench, tests: &str) -> Result<()> {
    let mut list = cargo_test(&["--test", "*", "--", tests, "--list"]);
    let output = bench.equip(&mut list).stderr(Stdio::inherit()).output()?;
    // A filter that matches no test passes, and would prove nothing.
    if output.status.success() && !String::from_utf8_lossy(&output.stdout).contains(": test") {
        return Err(format!("there is no test in a module `{tests}`").into());
    }
    run(bench.equip(&mut cargo_test(&["--test", "*", "--", tests])))
}

/// Runs the browser tests of this script of the page's package.
fn browser(bench: &Bench, script: &str) -> Result<()> {
    let node = Node::find()?;
    web::build(&node)?;
    // Built as in the suite `integration`, so that only one of the two compiles.
    run(&mut cargo_test(&["--test", "it", "--no-run"]))?;
    // chat is in the directory of this program: the same cargo has built both.
    let chat = env::current_exe()?.with_file_name("chat");
    let mut playwright = node.npm(["run", script]);
    run(bench.equip(&mut playwright).env("CHAT_BIN", chat))
}

/// Always the same features, so that all suites share one build.
fn cargo_test(arguments: &[&str]) -> Command {
    let mut test = workspace::cargo(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    test.args(arguments);
    test.env("RUST_TEST_THREADS", at_once().to_string());
    test
}

/// How many tests run at once. With one a core, a third of the time passes without work: they wait for servers and
/// disks.
pub(crate) fn at_once() -> usize {
    2 * thread::available_parallelism().map_or(1, usize::from)
}

/// Runs a command in the checkout, and shows it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .collect();
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    let line = format!("{} {}", program.display(), arguments.join(" "));
    eprintln!("-- {line}");
    let status = command
        .current_dir(workspace::root())
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(line.into())
    }
}
