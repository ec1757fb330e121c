//! Files of certificates and keys (PEM), and what is wrong with one. The words show nothing that stands in it: it may be
//! a key.

use std::path::Path;

use async_nats::rustls::pki_types::pem::{self, PemObject};
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The certificates of a file, of which there is at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(in_words)?;
    if found.is_empty() {
        return Err("it holds no certificate (PEM)".to_owned());
    }
    Ok(found)
}

/// The first private key of a file.
pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file).map_err(in_words)
}

fn in_words(error: pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "it holds no private key (PEM)".to_owned(),
        // Others show what stands in the file.
        _ => "it is no PEM: are its line breaks there?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_shows_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        let wrong = |text: &str| {
            fs::write(&file, text).unwrap();
            let [key, certificate] = [private_key(&file).err(), certificates(&file).err()];
            [key.unwrap(), certificate.unwrap()]
        };
        // As a variable has it whose line breaks were lost.
        for text in [
            "-----BEGIN PRIVATE KEY----- aHVzaA== -----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\\naHVzaA==\\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\naHVzaA==\n",
        ] {
            let told = wrong(text);
            assert_eq!(told, ["it is no PEM: are its line breaks there?"; 2]);
        }
        assert_eq!(
            wrong("aHVzaA=="),
            [
                "it holds no private key (PEM)",
                "it holds no certificate (PEM)"
            ]
        );
        let missing = private_key(&directory.path().join("no")).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
    }
}
