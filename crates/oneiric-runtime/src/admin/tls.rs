//! TLS for the admin API on TCP: ring's provider, handed over and not the process' default; TLS 1.2 and 1.3; client
//! certificates where the settings name an authority. Whoever shows none is not refused here but by the API, which
//! can say why.

use std::{
    fs::{File, Metadata},
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use rustix::process::geteuid;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoClientAuth, WebPkiClientVerifier},
};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use crate::{error::RuntimeError, settings::TcpSettings};

/// The longest file of certificates: 1 MiB.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Checks what a process that serves TCP reads when it starts: certificate, key and authorities. Blocks.
///
/// # Errors
/// `runtime.tls_unusable`, naming the file.
pub fn check_tls(settings: &TcpSettings) -> Result<(), RuntimeError> {
    acceptor(settings).map(drop)
}

/// Returns the last moment at which the first certificate of a file holds; `None` where that cannot be read. Blocks.
#[must_use]
pub fn certificate_end(path: &Path) -> Option<SystemTime> {
    let chain = certificates(path).ok()?;
    super::cert_names::not_after(chain.first()?)
}

/// Reads certificate, key and authorities. Blocks.
///
/// # Errors
/// `runtime.tls_unusable`, naming the file.
pub(super) fn acceptor(settings: &TcpSettings) -> Result<TlsAcceptor, RuntimeError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&settings.certificate)?;
    let key = key(&settings.key)?;
    let verifier = match &settings.client_ca {
        None => Arc::new(NoClientAuth) as _,
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(path)? {
                roots
                    .add(authority)
                    .map_err(|error| unusable(path, error.to_string()))?;
            }
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(path, error.to_string()))?
        }
    };
    let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| unusable(&settings.certificate, error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&settings.certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Nothing is kept of clients between connections.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, RuntimeError> {
    let (bytes, _) = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| unusable(path, error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(path, "it holds no certificate in PEM form"));
    }
    Ok(chain)
}

/// Reads the key; one that others can read or have written is refused, for it is no secret of this process.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>, RuntimeError> {
    let (bytes, about) = read(path)?;
    let bytes = Zeroizing::new(bytes);
    let (mode, owner) = (about.mode(), about.uid());
    let user = geteuid().as_raw();
    if owner != user && owner != 0 {
        let message =
            format!("it belongs to user {owner}, neither to this one ({user}) nor to root");
        return Err(unusable(path, message));
    }
    if mode & 0o077 != 0 {
        let message = format!(
            "it is open to other users (mode {:o}): chmod 600 {}",
            mode & 0o777,
            path.display()
        );
        return Err(unusable(path, message));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| unusable(path, error.to_string()))
}

/// A file and what is known of it, both of the same open file.
fn read(path: &Path) -> Result<(Vec<u8>, Metadata), RuntimeError> {
    let failed = |error: std::io::Error| unusable(path, error.to_string());
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    // As long as it is: what grows is moved, and leaves what was read behind.
    let length = about.len().min(MAX_FILE_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default() + 1);
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok((bytes, about))
}

fn unusable(path: &Path, message: impl Into<String>) -> RuntimeError {
    RuntimeError::TlsUnusable {
        path: path.to_owned(),
        message: message.into(),
    }
}
