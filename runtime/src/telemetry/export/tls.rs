//! TLS to a collector. The files are read at each connect: a certificate is replaced without a restart.

use std::error::Error;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::rustls::{self, ClientConfig, RootCertStore, crypto::ring};
use hyper::Uri;
use hyper::http::uri::Scheme;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
#[cfg(feature = "otel-grpc")]
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;

use super::failure::root;
use super::settings::{Exporter, Protocol};
use crate::config::pem::{certificates, private_key};

type BoxError = Box<dyn Error + Send + Sync>;

/// Connects to a collector, over TLS alone.
#[derive(Clone, Debug)]
pub(super) struct Connector(Exporter);

impl Connector {
    pub(super) fn new(to: &Exporter) -> Self {
        Self(to.clone())
    }

    /// What gRPC is spoken over, from the first export on.
    ///
    /// # Errors
    /// The address is none.
    #[cfg(feature = "otel-grpc")]
    pub(super) fn channel(self) -> Result<Channel, tonic::transport::Error> {
        let Exporter {
            endpoint, timeout, ..
        } = &self.0;
        let origin: Endpoint = endpoint.parse()?;
        let origin = origin.uri().clone();
        // Where the program has tonic's own TLS too, it would come on top for an https address.
        let endpoint: Endpoint = endpoint.replacen("https:", "http:", 1).parse()?;
        let endpoint = endpoint.origin(origin).timeout(*timeout);
        let endpoint = endpoint.connect_timeout(*timeout);
        Ok(endpoint.connect_with_connector_lazy(self))
    }

    async fn connect(&self, to: Uri) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, BoxError> {
        let mut to = to.into_parts();
        to.scheme = Some(Scheme::HTTPS);
        let to = Uri::from_parts(to)?;
        let exporter = self.0.clone();
        let tls = tokio::task::spawn_blocking(move || client_config(&exporter)).await??;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        HttpsConnector::from((tcp, tls)).call(to).await
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let connected = connector.connect(to).await;
            connected.map_err(|error| sentence(&*error).into())
        })
    }
}

/// What an exporter's files say.
///
/// # Errors
/// The variable and the file, and what is wrong with it, but nothing that stands in it.
fn client_config(to: &Exporter) -> Result<ClientConfig, BoxError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match &to.ca {
        Some(file) => {
            let mut roots = RootCertStore::empty();
            let authorities = certificates(file).map_err(|why| wrong("CERTIFICATE", file, &why))?;
            for authority in authorities {
                roots.add(authority).map_err(|error| wrong("CERTIFICATE", file, &error))?;
            }
            builder.with_root_certificates(roots)
        }
        None => builder.with_native_roots().map_err(|error| {
            format!("the system has no certificates ({error}); name them in OTEL_EXPORTER_OTLP_CERTIFICATE")
        })?,
    };
    let mut config = match (&to.cert, &to.key) {
        (Some(cert), Some(key)) => {
            let chain =
                certificates(cert).map_err(|why| wrong("CLIENT_CERTIFICATE", cert, &why))?;
            let secret = private_key(key).map_err(|why| wrong("CLIENT_KEY", key, &why))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| wrong("CLIENT_CERTIFICATE", cert, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    let spoken: &[u8] = match to.protocol {
        Protocol::Grpc => b"h2",
        Protocol::HttpProtobuf => b"http/1.1",
    };
    config.alpn_protocols = vec![spoken.to_vec()];
    Ok(config)
}

fn wrong(variable: &str, file: &Path, why: &dyn std::fmt::Display) -> BoxError {
    let file = file.display();
    format!("{file} (OTEL_EXPORTER_OTLP_{variable}, or the signal's own) cannot be used: {why}")
        .into()
}

/// The cause alone, and its cure where it is one of TLS.
fn sentence(error: &(dyn Error + 'static)) -> String {
    let cause = root(error);
    let cure = match of_tls(cause) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "; OTEL_EXPORTER_OTLP_CERTIFICATE has to be the authority of the collector's certificate, and that to be for \
             the address's name"
        }
        Some(rustls::Error::AlertReceived(_)) => {
            "; the collector refuses: does it ask for OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE?"
        }
        Some(rustls::Error::InvalidMessage(_)) => "; what answers at this port speaks no TLS",
        _ => "",
    };
    format!("{cause}{cure}")
}

/// An error of input and output shows the one that it holds, and hides it as its source.
fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let held = || error.downcast_ref::<io::Error>()?.get_ref();
    let held = || of_tls(held()?);
    error.downcast_ref().or_else(held)
}
