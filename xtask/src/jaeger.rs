//! Jaeger beside `chat dev`, with the traces of everything that chat does.

use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use crate::toolbox::JAEGER;
use crate::{Result, companion, workspace};

/// Its listeners; all are on the loopback address.
const LISTENERS: [(&str, u16); 7] = [
    ("query.http-server.host-port", QUERY),
    ("query.grpc-server.host-port", 16685),
    ("collector.otlp.grpc.host-port", 4317),
    ("collector.otlp.http.host-port", 4318),
    ("collector.grpc-server.host-port", 14250),
    ("collector.http-server.host-port", 14268),
    ("admin.http.host-port", 14269),
];

const QUERY: u16 = 16686;

/// How long Jaeger may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where chat and its page send their traces. Jaeger accepts no metrics.
pub(crate) const VARIABLES: [(&str, &str); 3] = [
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
    ("OTEL_METRICS_EXPORTER", "none"),
    ("CHAT_PAGE__TELEMETRY__ENDPOINT", "http://localhost:4318"),
];

/// Starts Jaeger. It ends with this process, which will become `chat dev`.
///
/// # Errors
/// A port is in use, or Jaeger does not start.
pub(crate) fn begin() -> Result<()> {
    let program = JAEGER.provide()?;
    for (_, port) in LISTENERS {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|error| {
            format!(
                "Jaeger needs port {port} of this machine: {error}. Is a collector or another `dev --jaeger` running?"
            )
        })?;
    }
    let mut jaeger = Command::new(program);
    jaeger
        .arg("--config-file")
        .arg(workspace::root().join("otel/jaeger.yaml"))
        .args(LISTENERS.map(|(flag, port)| format!("--{flag}=127.0.0.1:{port}")));
    companion::begin("Jaeger", &jaeger, QUERY, START_TIMEOUT)?;
    eprintln!(
        "Jaeger: http://localhost:{QUERY}/api/traces?service=chat (this build has no user\n\
         interface; JAEGER may name a Jaeger that has one)"
    );
    Ok(())
}
