//! What OpenTelemetry's own variables say: where to send what, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use super::variables::{Variables, shown};
use crate::config::variable;
use crate::error::run_error::RunError;

/// What is to be sent where.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The service's name where its own is not to be used.
    pub service_name: Option<String>,
    /// More about this process: `deployment.environment.name`, say.
    pub attributes: Vec<(String, String)>,
    /// Where traces go.
    pub traces: Option<Exporter>,
    /// Where metrics go.
    pub metrics: Option<Exporter>,
    /// Whether [`Telemetry::prometheus`](crate::telemetry::Telemetry::prometheus) writes them too, for a
    /// Prometheus that asks this process itself. No variable says so.
    pub prometheus: bool,
    /// The share of the traces that is recorded, 0 to 1, chosen by their ids.
    pub ratio: f64,
    /// What waits to be sent.
    pub queue: SpanQueue,
    /// How often metrics are sent.
    pub metric_interval: Duration,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exporter {
    /// Its address for this signal; with HTTP, the whole path. `https://` needs the feature `otel-tls`.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// With `https`, a file with the certificates (PEM) of those who may vouch for the collector, instead of the
    /// system's. This file and the others are read at each connect; one that cannot be used is a warning.
    pub ca: Option<PathBuf>,
    /// With `https`, a file with this process's own certificate (PEM), for a collector that verifies its clients; `key`
    /// belongs to it.
    pub cert: Option<PathBuf>,
    /// A file with the private key (PEM) of `cert`.
    pub key: Option<PathBuf>,
}

impl Exporter {
    pub(super) fn is_tls(&self) -> bool {
        is_tls(&self.endpoint)
    }

    /// Its address without what may be a secret in it: a login, a query.
    pub(super) fn shown(&self) -> String {
        shown(&self.endpoint)
    }

    /// Files for TLS are named, but the address is of plain HTTP.
    pub(super) fn ignores_files(&self) -> bool {
        !self.is_tls() && (self.ca.is_some() || self.cert.is_some())
    }
}

fn is_tls(endpoint: &str) -> bool {
    let scheme = endpoint.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// A way to speak OTLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`, port 4317. It needs the feature `otel-grpc`.
    Grpc,
    /// `http/protobuf`, port 4318.
    HttpProtobuf,
}

/// Spans that wait to be sent. What does not fit is dropped and counted: a collector that is slow or
/// away costs a function nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanQueue {
    /// How many may wait.
    pub size: usize,
    /// How many are sent at once.
    pub batch: usize,
    /// How long one waits for others.
    pub delay: Duration,
}

impl Default for SpanQueue {
    /// OpenTelemetry's own defaults, but for the size: a batch from a stream ends 1,000 spans at once.
    fn default() -> Self {
        Self {
            size: 8_192,
            batch: 512,
            delay: Duration::from_secs(5),
        }
    }
}

impl Settings {
    /// Reads the `OTEL_*` variables of the environment. None while they name no collector: then
    /// nothing is traced or measured, and nothing costs anything.
    ///
    /// # Errors
    /// Every variable whose value is wrong, a sentence each.
    pub fn from_environment() -> Result<Option<Self>, RunError> {
        Ok(Self::of_environment()?.filter(Self::is_used))
    }

    /// The same, also while they name no collector; none where everything is switched off.
    pub(crate) fn of_environment() -> Result<Option<Self>, RunError> {
        Self::read_all(|name| variable(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads variables by name, as [`from_environment`](Self::from_environment) does.
    ///
    /// # Errors
    /// Every variable whose value is wrong, a sentence each.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, RunError> {
        Ok(Self::read_all(variable)?.filter(Self::is_used))
    }

    /// Whether anybody asks for traces or metrics.
    pub(crate) fn is_used(&self) -> bool {
        self.traces.is_some() || self.metrics.is_some() || self.prometheus
    }

    fn read_all(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, RunError> {
        let mut variables = Variables::new(&variable);
        let disabled = variables.one_of(
            "OTEL_SDK_DISABLED",
            &[("true", true), ("false", false)],
            false,
        );
        if disabled {
            return Ok(None);
        }
        let traces = exporter(&mut variables, "TRACES", "traces");
        let metrics = exporter(&mut variables, "METRICS", "metrics");
        let usual = SpanQueue::default();
        let settings = Self {
            service_name: variables.text("OTEL_SERVICE_NAME"),
            attributes: variables.pairs("OTEL_RESOURCE_ATTRIBUTES"),
            ratio: ratio(&mut variables),
            queue: SpanQueue {
                size: variables.count("OTEL_BSP_MAX_QUEUE_SIZE", usual.size),
                batch: variables.count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", usual.batch),
                delay: variables.milliseconds("OTEL_BSP_SCHEDULE_DELAY", usual.delay),
            },
            metric_interval: variables
                .milliseconds("OTEL_METRIC_EXPORT_INTERVAL", Duration::from_secs(60)),
            traces,
            metrics,
            prometheus: false,
        };
        variables.finish()?;
        Ok(Some(settings))
    }
}

/// Where a signal goes: nowhere, unless somebody names a collector or asks for one by `otlp`.
fn exporter(variables: &mut Variables<'_>, signal: &str, path: &str) -> Option<Exporter> {
    let own = |what: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{what}");
    let wanted = variables.one_of(
        &format!("OTEL_{signal}_EXPORTER"),
        &[("otlp", Some(true)), ("none", Some(false))],
        None,
    );
    let protocols = [
        ("grpc", Protocol::Grpc),
        ("http/protobuf", Protocol::HttpProtobuf),
    ];
    let common = variables.one_of(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        &protocols,
        Protocol::HttpProtobuf,
    );
    let protocol = variables.one_of(&own("PROTOCOL"), &protocols, common);
    let usual = Duration::from_secs(10);
    let timeout = variables.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT", usual);
    let timeout = variables.milliseconds(&own("TIMEOUT"), timeout);
    let base = variables.address("OTEL_EXPORTER_OTLP_ENDPOINT");
    let whole = variables.address(&own("ENDPOINT"));
    if wanted == Some(false) || (wanted.is_none() && base.is_none() && whole.is_none()) {
        return None;
    }
    if protocol == Protocol::Grpc {
        variables.asks_for_grpc(&[&own("PROTOCOL"), "OTEL_EXPORTER_OTLP_PROTOCOL"]);
    }
    let endpoint = whole.unwrap_or_else(|| match (protocol, base) {
        (Protocol::Grpc, base) => base.unwrap_or_else(|| "http://localhost:4317".to_owned()),
        (Protocol::HttpProtobuf, base) => {
            let base = base.unwrap_or_else(|| "http://localhost:4318".to_owned());
            format!("{}/v1/{path}", base.trim_end_matches('/'))
        }
    });
    let file = |what: &str| {
        let common = || variables.text(&format!("OTEL_EXPORTER_OTLP_{what}"));
        variables
            .text(&own(what))
            .or_else(common)
            .map(PathBuf::from)
    };
    let [ca, cert, key] = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"].map(file);
    if is_tls(&endpoint) && cert.is_some() != key.is_some() {
        let why = "without OTEL_EXPORTER_OTLP_CLIENT_KEY (or a signal's own), or that without this: they belong together";
        variables.wrong("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", why.to_owned());
    }
    Some(Exporter {
        endpoint,
        protocol,
        timeout,
        ca,
        cert,
        key,
    })
}

/// The share that the sampler takes. `parentbased_...` means the same as without it: children have
/// their parent's trace id, and a flag from outside decides nothing.
fn ratio(variables: &mut Variables<'_>) -> f64 {
    let given = variables.share("OTEL_TRACES_SAMPLER_ARG", 1.0);
    let samplers = [
        ("always_on", 1.0),
        ("always_off", 0.0),
        ("traceidratio", given),
        ("parentbased_always_on", 1.0),
        ("parentbased_always_off", 0.0),
        ("parentbased_traceidratio", given),
    ];
    variables.one_of("OTEL_TRACES_SAMPLER", &samplers, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, RunError> {
        Settings::read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn traces(variables: &[(&str, &str)]) -> Option<Exporter> {
        read(variables)
            .unwrap()
            .and_then(|settings| settings.traces)
    }

    #[test]
    fn nothing_is_sent_until_a_collector_is_named() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("OTEL_SERVICE_NAME", "a")]).unwrap(), None);
        let named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
        assert_eq!(read(&[named, ("OTEL_SDK_DISABLED", "true")]).unwrap(), None);
        assert_eq!(traces(&[named, ("OTEL_TRACES_EXPORTER", "none")]), None);
        assert!(traces(&[("OTEL_TRACES_EXPORTER", "otlp")]).is_some());
    }

    #[test]
    fn the_signals_own_variable_wins_and_http_has_a_path() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318/");
        assert_eq!(traces(&[base]).unwrap().endpoint, "http://a:4318/v1/traces");
        let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        assert_eq!(traces(&[base, grpc]).unwrap().endpoint, "http://a:4318/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b:1/x");
        let http = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf");
        let exporter = traces(&[base, grpc, own, http]).unwrap();
        assert_eq!(exporter.endpoint, "http://b:1/x");
        assert_eq!(exporter.protocol, Protocol::HttpProtobuf);
    }

    #[test]
    fn a_login_and_a_query_of_an_address_are_not_shown() {
        let shown = |endpoint: &str| {
            let named = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint);
            traces(&[named]).unwrap().shown()
        };
        assert_eq!(shown("http://a:b@c:1/v1/x?key=d"), "http://c:1/v1/x");
        assert_eq!(shown("http://[::1]:4318"), "http://[::1]:4318");
    }

    #[test]
    fn a_flag_from_outside_never_decides() {
        let ratio = |sampler, arg| {
            let named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a");
            let variables = [
                named,
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", arg),
            ];
            read(&variables).unwrap().unwrap().ratio
        };
        assert_eq!(ratio("parentbased_traceidratio", "0.01"), 0.01);
        assert_eq!(ratio("traceidratio", "0.01"), 0.01);
        assert_eq!(ratio("parentbased_always_off", ""), 0.0);
    }

    #[test]
    fn every_wrong_variable_is_named_at_once() {
        let error = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
            ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a"),
        ])
        .unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(error.lines().len(), 8, "{error}");
        assert!(
            error.to_string().contains("OTEL_EXPORTER_OTLP_ENDPOINT"),
            "{error}"
        );
    }

    #[test]
    fn the_signals_own_certificate_wins_and_a_client_has_both_files() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318");
        let common = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "a.pem");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "b.pem");
        let cert = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "c.pem");
        let key = ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "c.key");
        assert_eq!(traces(&[base]).unwrap().ca, None);
        assert_eq!(traces(&[base, common]).unwrap().ca, Some("a.pem".into()));
        let metrics_off = ("OTEL_METRICS_EXPORTER", "none");
        let exporter = traces(&[base, common, own, cert, key, metrics_off]).unwrap();
        assert_eq!(exporter.ca, Some("b.pem".into()));
        assert_eq!(exporter.cert, Some("c.pem".into()));
        assert_eq!(exporter.key, Some("c.key".into()));
        // Without TLS none of them is used.
        assert!(traces(&[base, cert]).unwrap().ignores_files());
        #[cfg(feature = "otel-tls")]
        {
            let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://a:4318");
            let error = read(&[base, cert]).unwrap_err();
            assert!(error.to_string().contains("CLIENT_KEY"), "{error}");
        }
    }
}
