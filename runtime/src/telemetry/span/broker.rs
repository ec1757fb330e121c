//! The server's name in spans, and the subjects that spans may name.

use std::sync::Arc;

use async_nats::Client;

use super::details::Attribute;
use crate::function::template::{Template, overlap};

/// What every span about NATS shows.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    address: String,
    port: u16,
    /// The subject templates of the service's functions and streams.
    templates: Vec<Template>,
}

impl Broker {
    pub(crate) fn of(nats: &Client, templates: Vec<Template>) -> Arc<Self> {
        let server = nats.server_info();
        // A server that listens on all addresses does not know its own host name; its server name must
        // do.
        let everywhere = matches!(server.host.as_str(), "0.0.0.0" | "::" | "");
        Arc::new(Self {
            address: if everywhere {
                server.server_name
            } else {
                server.host
            },
            port: server.port,
            templates,
        })
    }

    pub(crate) fn attributes(&self, operation: &'static str, kind: &'static str) -> Vec<Attribute> {
        vec![
            ("messaging.system", "nats".into()),
            ("messaging.operation.name", operation.into()),
            ("messaging.operation.type", kind.into()),
            ("server.address", self.address.clone().into()),
            ("server.port", usize::from(self.port).into()),
        ]
    }

    /// The template that matches a subject.
    pub(crate) fn template(&self, subject: &str) -> Option<&str> {
        self.templates
            .iter()
            .find(|template| overlap(template.subject(), subject))
            .map(Template::text)
    }
}
