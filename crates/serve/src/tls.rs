//! TLS by rustls: a certificate chain and its key, in PEM files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum TlsError {
    /// A file that cannot be read, or holds no certificate or key.
    #[error("cannot read `{}`: {reason}", path.display())]
    Pem {
        path: PathBuf,
        reason: rustls::pki_types::pem::Error,
    },
    /// A file without certificates.
    #[error("`{}` holds no certificate", path.display())]
    Empty { path: PathBuf },
    /// A key that is not the certificate's, or of a kind that is not known.
    #[error("the certificate and the key cannot be used: {0}")]
    Config(#[from] rustls::Error),
}

/// Returns what accepts TLS connections, of HTTP/1.1 and HTTP/2.
///
/// # Errors
///
/// Returns what is wrong with the files.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let fail = |path: &Path| {
        let path = path.to_path_buf();
        move |reason| TlsError::Pem { path, reason }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(fail(certificate))?;
    if chain.is_empty() {
        return Err(TlsError::Empty {
            path: certificate.into(),
        });
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(fail(key))?;
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
