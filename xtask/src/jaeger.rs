//! Jaeger beside `chat dev`: everything that chat does is found there.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::toolbox::JAEGER;
use crate::{Result, workspace};

/// What only this machine reaches.
const ARGUMENTS: [&str; 7] = [
    "--query.http-server.host-port=127.0.0.1:16686",
    "--query.grpc-server.host-port=127.0.0.1:16685",
    "--collector.otlp.grpc.host-port=127.0.0.1:4317",
    "--collector.otlp.http.host-port=127.0.0.1:4318",
    "--collector.grpc-server.host-port=127.0.0.1:14250",
    "--collector.http-server.host-port=127.0.0.1:14268",
    "--admin.http.host-port=127.0.0.1:14269",
];

/// Where chat and its page send their traces to. Jaeger takes no metrics.
pub(crate) const VARIABLES: [(&str, &str); 4] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ("OTEL_METRICS_EXPORTER", "none"),
    ("CHAT_PAGE__TELEMETRY__ENDPOINT", "http://localhost:4318"),
];

/// Starts Jaeger. It ends with this process, which is to become `chat dev`.
pub(crate) fn begin() -> Result<()> {
    let program = JAEGER.provide()?;
    // Ctrl-C is for chat, and Jaeger ends with it: this is the main thread, which becomes chat.
    Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--"])
        .arg(program)
        .arg("--config-file")
        .arg(workspace::root().join("otel/jaeger.yaml"))
        .args(ARGUMENTS)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("setpriv does not run (Debian: util-linux): {error}"))?;
    eprintln!(
        "Jaeger: http://localhost:16686/api/traces?service=chat (this build has no pages; for a look, put a\n\
         Jaeger with pages in JAEGER)"
    );
    Ok(())
}
