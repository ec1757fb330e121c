//! Asks the issuer for JSON over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tracing::Instrument;

use crate::config::auth::is_safe;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How large an answer may be; Keycloak's keys are some 3 KB.
const MAX_ANSWER: usize = 256 * 1024;

/// A client that follows no redirects.
pub(super) struct Http(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Http {
    /// A client for an address; the system's certificates are needed for https alone.
    ///
    /// # Errors
    /// A sentence: the system has no certificates.
    pub(super) fn new(address: &str) -> Result<Self, String> {
        let builder = HttpsConnectorBuilder::new();
        let builder = if address.starts_with("https:") {
            builder
                .with_provider_and_native_roots(default_provider())
                .map_err(|error| format!("no certificates to check it by: {error}"))?
        } else {
            let config = ClientConfig::builder_with_provider(default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(RootCertStore::empty());
            builder.with_tls_config(config.with_no_client_auth())
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// The JSON at a URL.
    ///
    /// # Errors
    /// A sentence: nobody answers in time, or not with JSON of this kind.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        url: &str,
        what: &'static str,
    ) -> Result<T, String> {
        let span = tracing::info_span!(
            "http",
            otel.name = format!("GET {what}"),
            otel.kind = "client",
            http.request.method = "GET",
            url.full = url,
        );
        let answer = timeout(TIMEOUT, self.ask(url)).instrument(span).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")));
        answer.map_err(|error| format!("{url}: {error}"))
    }

    async fn ask<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let uri: Uri = url.parse().map_err(|_| "this is no URL".to_owned())?;
        if !is_safe(&uri) {
            return Err("plain HTTP is only for private hosts".to_owned());
        }
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        let answer = self.0.request(request).await.map_err(with_cause)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        serde_json::from_slice(&body).map_err(|error| format!("the answer is wrong: {error}"))
    }
}

/// hyper's own sentence is only "client error (Connect)".
fn with_cause(error: hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}
