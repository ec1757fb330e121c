//! The suite `compose`: the shipped `Dockerfile` and `docker-compose.yml` with a real Docker engine, and people in a
//! real browser who use what runs.

mod engine;
mod stand_in;

use std::process;
use std::time::Instant;

use crate::Result;
use crate::bench::Bench;
use crate::node::Node;
use crate::suite::run;
use crate::web;

use engine::Engine;

const NOT_PROVED: &str = "\
Stand-ins took the place of every image but chat's, so this says nothing about the real images: whether their tags
exist, their users and folders, the wget, bash and pg_isready that the health checks call, PostgreSQL 17 (Debian's 15
ran), the collector's other parts, Jaeger's pages. Prometheus and Grafana did not run, only their configuration was
read. Nothing was pulled, and nothing ran on Docker Desktop.";

/// Runs the suite.
///
/// # Errors
/// There is no engine and none can be had, or something fails.
pub(crate) fn test(bench: &Bench) -> Result<()> {
    let node = Node::find()?;
    web::install(&node)?;
    let start = Instant::now();
    let engine = Engine::find()?;
    // The network that everything runs in with an engine of our own.
    let namespace = format!("chat-test-{}", process::id());
    for arguments in [
        &["config", "--quiet"][..],
        &["--profile", "*", "config", "--quiet"],
    ] {
        run(engine.compose().args(arguments))?;
    }
    let mut running = engine.start(None)?;
    if engine.is_ours() {
        stand_in::build(&engine)?;
        run(engine.compose().args(["--progress", "plain", "build"]))?;
        // It is waited for: both have the same files.
        drop(running);
        running = engine.start(Some(&namespace))?;
    } else {
        run(engine.compose().args(["pull", "--ignore-buildable"]))?;
        run(engine.compose().arg("build"))?;
    }
    eprintln!("images: {:.0} s", start.elapsed().as_secs_f32());

    let mut story = engine.within(&namespace, &node.npm(["run", "e2e:compose"]));
    let outcome = run(bench.equip(&mut story));
    drop(running);
    outcome?;
    if engine.is_ours() {
        eprintln!("{NOT_PROVED}");
    }
    Ok(())
}
