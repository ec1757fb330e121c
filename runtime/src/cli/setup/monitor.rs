//! What only nats-server's monitoring tells: whether an acknowledged message survives a power cut.

use std::time::Duration;

use serde::Deserialize;

use crate::error::run_error::RunError;
use crate::server::monitoring;

/// How long the server may take; it is asked once, by `setup`.
const MONITORING_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Varz {
    #[serde(default)]
    jetstream: JetStream,
}

#[derive(Default, Deserialize)]
struct JetStream {
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    sync_always: bool,
    /// In nanoseconds.
    #[serde(default)]
    sync_interval: u64,
}

/// Asks the monitoring at `http://host:port` how often JetStream writes through to the disk. None
/// when every acknowledged message is on it, else a sentence that says what may be lost.
///
/// # Errors
/// The URL is none, or nobody answers there as nats-server does.
pub(crate) async fn risk_of_power_cut(url: &str) -> Result<Option<String>, RunError> {
    let failed = |why: String| RunError::new(format!("nats.monitor {url:?}: {why}"));
    let body = tokio::time::timeout(MONITORING_TIMEOUT, monitoring::get(url, "/varz"))
        .await
        .map_err(|_| failed("does not answer".into()))?
        .map_err(|error| failed(error.to_string()))?;
    let varz: Varz = serde_json::from_slice(&body)
        .map_err(|error| failed(format!("is not the monitoring of a nats-server: {error}")))?;
    let Some(config) = varz.jetstream.config else {
        return Err(failed("that server runs without JetStream".into()));
    };
    if config.sync_always {
        return Ok(None);
    }
    let seconds = config.sync_interval / 1_000_000_000;
    Ok(Some(format!(
        "nats-server writes through to the disk every {seconds} s only: a power cut can take acknowledged messages. Set jetstream {{ sync_interval: always }}"
    )))
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn a_server_that_syncs_always_has_no_risk_and_another_has() {
        let server = testing::nats().await;
        let monitor = server.addresses().monitor.clone().unwrap();
        assert_eq!(risk_of_power_cut(&monitor).await.unwrap(), None);

        // The default of nats-server.
        let text = "host: $NATS_CONF_HOST\nport: $NATS_CONF_PORT\nhttp_port: $NATS_CONF_MONITOR_PORT\n\
                    jetstream { store_dir: $NATS_CONF_STORE_DIR }\n";
        let server = testing::nats_with(|config| config.text(text)).await;
        let monitor = server.addresses().monitor.clone().unwrap();
        let risk = risk_of_power_cut(&monitor).await.unwrap().unwrap();
        assert!(risk.contains("every 120 s"), "{risk}");
    }

    #[tokio::test]
    async fn what_is_no_monitoring_is_told_by_its_url() {
        let server = testing::nats().await;
        let client_port = server.url().replace("nats://", "http://");
        for url in [client_port.as_str(), "http://127.0.0.1:1", "127.0.0.1:8222"] {
            let error = risk_of_power_cut(url).await.unwrap_err().to_string();
            assert!(error.contains(url), "{error}");
        }
    }
}
