//! A program and its collector over TLS: by which certificates, and what the log says where they are wrong.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::collector::Collector;
use crate::otlp::PROTOCOLS;
use crate::pki::Pki;
use crate::process::{Lasting, hello};
use crate::world::{World, within};

/// A collector that shows the certificate `server`, and demands one of the same authority where `verify`.
async fn collector(pki: &Pki, verify: bool) -> Collector {
    let ring = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(pki.path("ca.pem")).unwrap();
    roots.add(ca).unwrap();
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), ring.clone());
    let builder = ServerConfig::builder_with_provider(ring);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match verify {
        true => builder.with_client_cert_verifier(clients.build().unwrap()),
        false => builder.with_no_client_auth(),
    };
    let chain = CertificateDer::from_pem_file(pki.path("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(pki.path("server.key")).unwrap();
    let mut config = builder.with_single_cert(vec![chain], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Collector::speaking(listener, move |stream| {
        let accepting = tls.accept(stream);
        async { accepting.await.ok() }
    })
}

/// The README's hello as a process, which logs to a file and sends its spans at once.
struct Hello {
    world: World,
    process: Lasting,
    log: PathBuf,
    _directory: TempDir,
}

impl Hello {
    async fn serve(collector: &Collector, protocol: &str, variables: &[(&str, PathBuf)]) -> Self {
        let world = World::new().await;
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut command = hello(directory.path(), &["serve"]);
        let port = collector.address.port();
        command
            .env("NATS_URL", world.server.url())
            .env(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("https://localhost:{port}"),
            )
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            .env("OTEL_BSP_SCHEDULE_DELAY", "10")
            .env_remove("SSL_CERT_FILE")
            .env_remove("SSL_CERT_DIR")
            .envs(variables.iter().map(|(name, file)| (name, file)))
            .stderr(File::create(&log).unwrap());
        let mut process = Lasting::spawn(command);
        process.says("serves hello").await;
        Self {
            world,
            process,
            log,
            _directory: directory,
        }
    }

    async fn ask(&self) {
        let answer = self.world.ask("hello", "\"World\"").await;
        assert_eq!(answer.payload, "\"Hello, World!\"");
    }

    /// Asks until there is such a line in the log, and returns it.
    async fn logs(&self, words: &str) -> String {
        within(async {
            loop {
                self.ask().await;
                let log = fs::read_to_string(&self.log).unwrap();
                if let Some(line) = log.lines().find(|line| line.contains(words)) {
                    return line.to_owned();
                }
            }
        })
        .await
    }

    async fn stop(mut self) {
        self.process.signal("-TERM").await;
        assert_eq!(self.process.exit_code().await, Some(0));
    }
}

#[tokio::test]
async fn spans_and_metrics_are_sent_over_tls_by_either_protocol() {
    let pki = Pki::of_server_and_client();
    // What the system trusts, and what one variable each names; with a certificate of its own, and without.
    let system = [("SSL_CERT_FILE", pki.path("ca.pem"))];
    let own = [
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", pki.path("ca.pem")),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", pki.path("ca.pem")),
    ];
    let mutual = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.path("ca.pem")),
        (
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            pki.path("client.pem"),
        ),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", pki.path("client.key")),
    ];
    for protocol in PROTOCOLS {
        for (variables, verify) in [(&system[..], false), (&own, false), (&mutual, true)] {
            let collector = collector(&pki, verify).await;
            let hello = Hello::serve(&collector, protocol, variables).await;
            hello.ask().await;
            hello.stop().await;
            let spans = collector.spans();
            assert_eq!(spans.len(), 1, "{protocol}, {variables:?}: {spans:#?}");
            assert_eq!(spans[0].name, "process hello");
            assert!(
                !collector.measured().is_empty(),
                "{protocol}, {variables:?}"
            );
        }
    }
}

#[tokio::test]
async fn wrong_authority_is_a_warning_and_the_right_one_is_taken_without_a_restart() {
    let pki = Pki::of_server_and_client();
    let other = Pki::new();
    let certificate = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    for protocol in PROTOCOLS {
        let collector = collector(&pki, false).await;
        let file = other.path("now.pem");
        fs::copy(other.path("ca.pem"), &file).unwrap();
        let hello = Hello::serve(&collector, protocol, &[(certificate, file.clone())]).await;

        let warning = hello.logs("does not take traces").await;
        for word in ["invalid peer certificate", certificate] {
            assert!(warning.contains(word), "{protocol}: {warning}");
        }
        assert!(collector.spans().is_empty());

        fs::copy(pki.path("ca.pem"), &file).unwrap();
        hello.logs("takes traces again").await;
        assert!(!collector.spans().is_empty());
        hello.stop().await;
    }
}

#[tokio::test]
async fn file_that_cannot_be_used_is_named_in_a_warning_and_the_service_starts() {
    let pki = Pki::of_server_and_client();
    let right = || ("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.path("ca.pem"));
    let client = |file: &str| ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", pki.path(file));
    let key = |file: &str| ("OTEL_EXPORTER_OTLP_CLIENT_KEY", pki.path(file));
    // As a secret looks whose line breaks were lost.
    let line = fs::read_to_string(pki.path("client.key")).unwrap();
    let line = line.replace('\n', " ");
    fs::write(pki.path("line.key"), &line).unwrap();
    let cases = [
        (
            vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.path("no.pem"))],
            "no.pem (OTEL_EXPORTER_OTLP_CERTIFICATE, or the signal's own) cannot be used: No such file",
        ),
        (
            vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.path("client.key"))],
            "or the signal's own) cannot be used: it holds no certificate",
        ),
        (
            vec![right(), client("client.pem"), key("ca.pem")],
            "CLIENT_KEY, or the signal's own) cannot be used: it holds no private key",
        ),
        (
            vec![right(), client("client.pem"), key("server.key")],
            "CLIENT_CERTIFICATE, or ",
        ),
        (
            vec![right(), client("client.pem"), key("line.key")],
            "it is no PEM",
        ),
        // The collector's own certificate is for other names than this one.
        (vec![right()], "not valid for name"),
    ];
    for (n, (variables, words)) in cases.into_iter().enumerate() {
        if words == "not valid for name" {
            pki.issue("server", &["other.test"]);
        }
        let collector = collector(&pki, false).await;
        let hello = Hello::serve(&collector, PROTOCOLS[n % PROTOCOLS.len()], &variables).await;
        let warning = hello.logs("does not take traces").await;
        assert!(warning.contains(words), "{words} in {warning}");
        let shown = |secret: &str| warning.contains(secret);
        let bytes = format!("{:?}", &line.as_bytes()[30..40]);
        assert!(!shown(&line[30..40]) && !shown(bytes.trim_matches(['[', ']'])));
        hello.stop().await;
        assert!(collector.spans().is_empty());
    }
}

#[tokio::test]
async fn address_without_tls_beside_files_for_it_is_a_warning() {
    let pki = Pki::of_server_and_client();
    let collector = Collector::start().await;
    let address = PathBuf::from(format!("http://{}", collector.address));
    let variables = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.path("ca.pem")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address),
    ];
    let hello = Hello::serve(&collector, PROTOCOLS[0], &variables).await;
    let warning = hello.logs("unencrypted").await;
    assert!(
        warning.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"),
        "{warning}"
    );
    hello.stop().await;
}
