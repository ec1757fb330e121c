//! A program's log and, with OpenTelemetry, its traces and metrics.

use crate::cli::host::listener::WriteMetrics;
use crate::config::LogFormat;
use crate::error::run_error::RunError;
use crate::telemetry;

/// What is started before the service and stopped after it.
pub(super) struct Traced {
    #[cfg(feature = "otel")]
    telemetry: Option<telemetry::Telemetry>,
}

/// The settings from the environment.
#[cfg(feature = "otel")]
pub(super) type Wanted = Option<telemetry::Settings>;
#[cfg(not(feature = "otel"))]
pub(super) type Wanted = ();

/// Reads the environment.
#[cfg(feature = "otel")]
pub(super) fn wanted() -> Result<Wanted, RunError> {
    telemetry::Settings::of_environment()
}

/// Without OpenTelemetry its variables are not read.
#[cfg(not(feature = "otel"))]
pub(super) fn wanted() -> Result<Wanted, RunError> {
    Ok(())
}

#[cfg(feature = "otel")]
impl Traced {
    /// `is_asked`: the metrics are read from this process too.
    pub(super) fn start(
        wanted: Wanted,
        name: &str,
        version: &str,
        log: LogFormat,
        is_asked: bool,
    ) -> Result<Self, RunError> {
        use tracing_subscriber::layer::Layer;

        // A program that is made from its configuration has no version yet.
        let version = Some(version).filter(|version| !version.starts_with('('));
        let wanted = wanted.map(|settings| telemetry::Settings {
            prometheus: is_asked,
            ..settings
        });
        let telemetry = wanted
            .filter(telemetry::Settings::is_used)
            .map(|settings| telemetry::Telemetry::start(&settings, name, version))
            .transpose()?;
        let traces = telemetry.as_ref().and_then(telemetry::Telemetry::layer);
        telemetry::init(log, traces.map(Layer::boxed))?;
        Ok(Self { telemetry })
    }

    /// Writes the metrics for Prometheus, or says why there are none.
    pub(super) fn metrics(&self) -> Box<WriteMetrics> {
        match self
            .telemetry
            .as_ref()
            .and_then(telemetry::Telemetry::prometheus)
        {
            Some(write) => Box::new(move || write().map_err(|error| error.to_string())),
            None => Box::new(|| Err("OTEL_SDK_DISABLED switches metrics off.".to_owned())),
        }
    }

    /// Sends what has not been sent yet.
    pub(super) async fn stop(self) {
        if let Some(telemetry) = self.telemetry {
            telemetry.stop().await;
        }
    }
}

#[cfg(not(feature = "otel"))]
impl Traced {
    pub(super) fn start(
        (): Wanted,
        _: &str,
        _: &str,
        log: LogFormat,
        _: bool,
    ) -> Result<Self, RunError> {
        telemetry::init(log, None)?;
        Ok(Self {})
    }

    pub(super) fn metrics(&self) -> Box<WriteMetrics> {
        Box::new(|| {
            Err("This program is built without metrics (natsfn's feature otel).".to_owned())
        })
    }

    pub(super) async fn stop(self) {}
}
