//! TCP and TLS to a process: ring's provider, the authorities that were named and no others.

use std::{io, sync::Arc, time::Duration};

use hyper::header::HeaderValue;
use oneiric_domains::Secret;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{ClientError, tls_words};

/// For a connection to be opened, where nobody said how long to wait.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What a client trusts and shows, as PEM.
#[derive(Debug, Clone, Default)]
pub(super) struct Pem {
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// How a process is reached over TCP.
#[derive(Clone)]
pub(super) struct Tls {
    host: String,
    /// `host:port`, as it stands in the URL.
    authority: String,
    port: u16,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    token: Option<Secret>,
}

impl Tls {
    pub(super) fn new(url: &str, token: Option<Secret>, pem: &Pem) -> Result<Self, ClientError> {
        let authority = authority(url).ok_or_else(|| {
            misconfigured(format!("{url:?} is no URL of the form https://host:port"))
        })?;
        let (host, port) = authority;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            misconfigured(format!("{host:?} is neither a host name nor an address"))
        })?;
        let authority = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        if let Some(token) = &token
            && HeaderValue::from_str(token.expose().trim()).is_err()
        {
            return Err(misconfigured("the token holds what no header can carry"));
        }
        Ok(Self {
            host: host.to_owned(),
            authority,
            port,
            name,
            config: Arc::new(config(pem)?),
            token,
        })
    }

    pub(super) const fn host(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let token = self.token.as_ref()?.expose().trim();
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(super) async fn connect(&self) -> Result<TlsStream<TcpStream>, ClientError> {
        let connect = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port))
                .await
                .map_err(|error| self.unreachable(error))?;
            // Requests are small and their answers awaited.
            drop(stream.set_nodelay(true));
            let connector = TlsConnector::from(Arc::clone(&self.config));
            let shaken = connector.connect(self.name.clone(), stream).await;
            shaken.map_err(|error| self.refused(error))
        };
        tokio::time::timeout(CONNECT_LIMIT, connect)
            .await
            .unwrap_or(Err(ClientError::TimedOut {
                limit: CONNECT_LIMIT,
            }))
    }

    fn unreachable(&self, source: io::Error) -> ClientError {
        let address = self.authority.clone();
        ClientError::Unreachable { address, source }
    }

    fn refused(&self, error: io::Error) -> ClientError {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(error) = tls {
            return ClientError::TlsFailed {
                address: self.authority.clone(),
                message: tls_words::of(error, &self.host),
            };
        }
        ClientError::Broken {
            doing: "connecting",
            message: error.to_string(),
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

fn config(pem: &Pem) -> Result<ClientConfig, ClientError> {
    let Some(authorities) = &pem.authorities else {
        let message = "TLS needs the authorities that the process' certificate comes from";
        return Err(misconfigured(message));
    };
    let mut roots = RootCertStore::empty();
    for authority in certificates(authorities, "the authorities")? {
        roots
            .add(authority)
            .map_err(|error| misconfigured(format!("the authorities: {error}")))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| misconfigured(error.to_string()))?
        .with_root_certificates(roots);
    let mut config = match &pem.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate, "the client certificate")?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|error| misconfigured(format!("the key: {error}")))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| misconfigured(format!("the client certificate: {error}")))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(misconfigured(format!("{what}: no certificate in PEM form"))),
        Err(error) => Err(misconfigured(format!("{what}: {error}"))),
    }
}

/// Host and port of `https://host:port`, with nothing behind it but a slash.
fn authority(url: &str) -> Option<(&str, u16)> {
    let authority = url.strip_prefix("https://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':')?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .filter(|host| host.contains(':'));
    let host = bare.unwrap_or(host);
    let fits = bare.is_some() || !host.contains([':', '/', '@', '?', '#', '[', ']']);
    (fits && !host.is_empty()).then_some((host, port.parse().ok()?))
}

fn misconfigured(message: impl Into<String>) -> ClientError {
    ClientError::Misconfigured {
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        assert_eq!(
            authority("https://a.example:8443"),
            Some(("a.example", 8443))
        );
        assert_eq!(authority("https://[::1]:8443/"), Some(("::1", 8443)));
        for wrong in [
            "http://a:1",
            "https://a",
            "https://:1",
            "https://a:b",
            "https://a:1/v1",
            "https://user@a:1",
            "https://::1:1",
            "https://a:70000",
        ] {
            assert_eq!(authority(wrong), None, "{wrong}");
        }
    }
}
