//! The server that spans name, and the subjects that they may name.

use std::sync::Arc;

use async_nats::Client;

use super::details::Attribute;
use crate::function::template::{Template, overlap};

/// What every span that has to do with NATS says.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    address: String,
    port: u16,
    /// The subjects of the service's functions and streams, as they were written.
    templates: Vec<Template>,
}

impl Broker {
    pub(crate) fn of(nats: &Client, templates: Vec<Template>) -> Arc<Self> {
        let server = nats.server_info();
        // A server that listens everywhere does not know how it is called; its name is all it says.
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

    /// The template that a subject follows.
    pub(crate) fn template(&self, subject: &str) -> Option<&str> {
        self.templates
            .iter()
            .find(|template| overlap(template.subject(), subject))
            .map(Template::text)
    }
}
