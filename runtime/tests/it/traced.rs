//! Traces of one test: whatever runs on its thread is traced, and sent to a collector of its own.

use natsfn::telemetry::{Settings, Telemetry};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::SubscriberExt;

use crate::collector::{Collector, Span};

/// Traces the thread for as long as it lives: tokio's tests run on one.
pub(crate) struct Traced {
    collector: Collector,
    telemetry: Telemetry,
    _here: DefaultGuard,
    _second: tracing::Dispatch,
}

impl Traced {
    pub(crate) async fn begin() -> Self {
        // With one subscriber alone, a span that another test's thread meets first, where there is
        // none, would be off for good.
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        let collector = Collector::start().await;
        let telemetry = telemetry(&[(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("{}/v1/traces", collector.url()),
        )]);
        let subscriber = tracing_subscriber::registry().with(telemetry.layer());
        Self {
            collector,
            telemetry,
            _here: tracing::subscriber::set_default(subscriber),
            _second: second,
        }
    }

    /// Every span, once all have ended. No test may lose anything of one.
    pub(crate) async fn end(self) -> Spans {
        self.telemetry.stop().await;
        let spans = self.collector.spans();
        for span in &spans {
            assert_eq!(span.dropped, 0, "{span:?}");
        }
        Spans(spans)
    }
}

/// OpenTelemetry with these variables.
pub(crate) fn telemetry(variables: &[(&str, &str)]) -> Telemetry {
    let settings = Settings::read(|name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    Telemetry::start(&settings.unwrap().unwrap(), "a", Some("1.0.0")).unwrap()
}

/// Spans of a test.
pub(crate) struct Spans(pub(crate) Vec<Span>);

impl Spans {
    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Span> {
        self.0.iter().filter(move |span| span.name == name)
    }

    /// The only one with this name.
    pub(crate) fn one<'a>(&'a self, name: &'a str) -> &'a Span {
        let found: Vec<&Span> = self.named(name).collect();
        match found.as_slice() {
            [one] => one,
            _ => panic!(
                "{} spans are called {name:?} among {:#?}",
                found.len(),
                self.tree()
            ),
        }
    }

    /// The names, each with its trace, its parent's name and its kind: to look at.
    pub(crate) fn tree(&self) -> Vec<String> {
        let name_of = |id: &str| {
            let found = self.0.iter().find(|span| span.id == id);
            found.map_or(id.to_owned(), |span| span.name.clone())
        };
        self.0
            .iter()
            .map(|span| {
                format!(
                    "{} {} ({}) below {:?}",
                    &span.trace[..6],
                    span.name,
                    span.kind,
                    name_of(&span.parent)
                )
            })
            .collect()
    }
}
