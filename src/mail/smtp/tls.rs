//! Whom to trust behind the mail server's name.

#![forbid(unsafe_code)]

use crate::error::Error;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// What makes sessions with one server.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl Tls {
    /// With a file of certificates these are trusted, and the public ones are not.
    ///
    /// # Errors
    ///
    /// The file cannot be taken, or no certificate can be for such a server.
    pub(super) fn new(server: &str, ca_file: Option<&Path>) -> Result<Tls, Error> {
        let failed = |answer: String| Error::start("cannot prepare TLS", answer, "");
        let trusted = match ca_file {
            Some(path) => certificates(path)?,
            None => RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        };
        let name = ServerName::try_from(server.to_owned())
            .map_err(|error| failed(format!("mail server {server}: {error}")))?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failed(error.to_string()))?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        Ok(Tls {
            config: Arc::new(config),
            server: name,
        })
    }

    /// A session that is to begin.
    ///
    /// # Errors
    ///
    /// None is known; it is rustls that makes it.
    pub(super) fn session(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.config), self.server.clone())
    }
}

fn certificates(path: &Path) -> Result<RootCertStore, Error> {
    let tried = format!("cannot take certificates from {}", path.display());
    let refused = |answer: String| Error::start(&tried, answer, "");
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|one| trusted.add(one).map_err(|error| error.to_string()));
        added.map_err(refused)?;
    }
    match trusted.is_empty() {
        true => Err(refused("no certificate in PEM form is in it".to_owned())),
        false => Ok(trusted),
    }
}
