//! Images under the names of the real ones, which no registry of packages has: each from its folder in
//! `xtask/compose`, and from the tools that other suites use too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::suite::run;
use crate::tool::Tool;
use crate::toolbox::{COLLECTOR, JAEGER, KEYCLOAK, NATS_CLI, NATS_SERVER, NODE};
use crate::{Result, workspace};

use super::engine::Engine;

/// What all of them begin with, and chat's image too.
const BASE: &str = "debian:bookworm-slim";

/// An image, its folder, and the directories of this machine that it copies from.
struct StandIn {
    image: &'static str,
    folder: &'static str,
    contexts: fn() -> Result<Vec<(&'static str, PathBuf)>>,
}

const STAND_INS: [StandIn; 8] = [
    StandIn {
        image: "node:24-bookworm-slim",
        folder: "node",
        contexts: node,
    },
    StandIn {
        image: "rust:1.95-bookworm",
        folder: "rust",
        contexts: || Ok(vec![("sysroot", sysroot()?)]),
    },
    StandIn {
        image: "nats:2.14-alpine",
        folder: "nats",
        contexts: || bin(&NATS_SERVER),
    },
    StandIn {
        image: "natsio/nats-box:0.18.0",
        folder: "nats-box",
        contexts: || bin(&NATS_CLI),
    },
    StandIn {
        image: "postgres:17-bookworm",
        folder: "postgres",
        contexts: || Ok(Vec::new()),
    },
    StandIn {
        image: "quay.io/keycloak/keycloak:26.7",
        folder: "keycloak",
        contexts: || {
            let bin = directory(&KEYCLOAK.provide()?)?;
            Ok(vec![("package", directory(&bin)?)])
        },
    },
    StandIn {
        image: "jaegertracing/all-in-one:1.76.0",
        folder: "jaeger",
        contexts: || bin(&JAEGER),
    },
    StandIn {
        image: "otel/opentelemetry-collector-contrib:0.155.0",
        folder: "collector",
        contexts: || bin(&COLLECTOR),
    },
];

/// Builds all of them. What has not changed is there at once.
pub(super) fn build(engine: &Engine) -> Result<()> {
    let is_there = engine.docker().args(["image", "inspect", BASE]).output()?;
    if let (Some(base), false) = (engine.base(), is_there.status.success()) {
        run(engine.docker().arg("import").arg(base).arg(BASE))?;
    }
    for stand_in in &STAND_INS {
        let mut build = engine.docker();
        build.args(["build", "--quiet", "--network=host", "--tag"]);
        build.arg(stand_in.image);
        for (name, path) in (stand_in.contexts)()? {
            build.arg("--build-context");
            build.arg(format!("{name}={}", path.display()));
        }
        build.arg(
            workspace::root()
                .join("xtask/compose")
                .join(stand_in.folder),
        );
        run(&mut build)?;
    }
    Ok(())
}

fn bin(tool: &Tool) -> Result<Vec<(&'static str, PathBuf)>> {
    Ok(vec![("bin", directory(&tool.provide()?)?)])
}

fn node() -> Result<Vec<(&'static str, PathBuf)>> {
    let bin = directory(&NODE.provide()?)?;
    // It is a link to `npm/bin/npm-cli.js`.
    let npm = directory(&directory(&bin.join("npm"))?)?;
    Ok(vec![("bin", bin), ("npm", npm)])
}

/// The directory that really holds a program.
fn directory(program: &Path) -> Result<PathBuf> {
    let program = fs::canonicalize(program)?;
    let parent = program.parent().ok_or("a program is in a directory")?;
    Ok(parent.to_owned())
}

fn sysroot() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::STAND_INS;
    use crate::workspace;

    #[test]
    fn stand_ins_have_the_names_of_the_images() {
        let read = |file| fs::read_to_string(workspace::root().join(file)).unwrap();
        let (build, compose) = (read("Dockerfile"), read("docker-compose.yml"));
        for stand_in in &STAND_INS {
            let image = stand_in.image;
            let is_used = build.contains(&format!("FROM {image} "))
                || compose.contains(&format!("image: {image}\n"));
            assert!(is_used, "{image}");
        }
    }

    #[test]
    fn image_has_the_version_of_the_workspace() {
        let read = |file| fs::read_to_string(workspace::root().join(file)).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(read("Dockerfile").contains(&format!("ARG VERSION={version}\n")));
        assert!(read("docker-compose.yml").contains(&format!("image: chat:{version}\n")));
    }
}
