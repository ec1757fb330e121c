//! An authority, and certificates that it has issued, as files.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// A directory with an authority, `ca.pem`.
pub(crate) struct Pki {
    directory: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut ca = CertificateParams::new([]).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap();
        let pki = Self { directory, ca };
        fs::write(pki.path("ca.pem"), pki.ca.pem()).unwrap();
        pki
    }

    /// One with the certificates of a `server` and of a `client`, both of this machine.
    pub(crate) fn of_server_and_client() -> Self {
        let pki = Self::new();
        for file in ["server", "client"] {
            pki.issue(file, &["localhost", "127.0.0.1"]);
        }
        pki
    }

    /// Writes a certificate for these names and addresses, and its key: `FILE.pem`, `FILE.key`.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(names).unwrap();
        let cert = cert.signed_by(&key, &self.ca).unwrap();
        fs::write(self.path(&format!("{file}.pem")), cert.pem()).unwrap();
        fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The section of a nats-server that shows the certificate in these files.
    pub(crate) fn section(&self, file: &str, more: &str) -> String {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, {more} }}",
            self.path(&format!("{file}.pem")),
            self.path(&format!("{file}.key")),
            self.path("ca.pem")
        )
    }
}
