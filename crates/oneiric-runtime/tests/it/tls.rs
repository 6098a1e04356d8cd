//! A runtime that serves TCP, with certificates and tokens made for it.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use oneiric_core::BoxFuture;
use oneiric_domains::{Secret, SecretError, SecretProvider};
use oneiric_runtime::{
    Client, ClientBuilder, ClientError, Runtime, RuntimeBuilder, Settings, api::ReloadOutcome,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{Scene, Stage, soon};

pub(crate) const OPERATE: &str = "operate-0123456789abcdef";
pub(crate) const READ: &str = "read-0123456789abcdef";

/// An authority that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Signed {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        Self(issuer.unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn sign(&self, common_name: &str) -> Signed {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let address = std::net::IpAddr::from([127, 0, 0, 1]);
        params.subject_alt_names.push(SanType::IpAddress(address));
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Signed {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn private(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Keeps secrets in a directory, which is all that these tests ask of files.
pub(crate) struct Files(pub(crate) PathBuf);

impl SecretProvider for Files {
    fn name(&self) -> &str {
        "file"
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let read = fs::read_to_string(self.0.join(name));
        let secret = read.map(|text| Secret::new(text.trim_end().to_owned()));
        let secret = secret.map_err(|error| SecretError::Unavailable {
            name: name.to_owned(),
            message: error.to_string(),
        });
        Box::pin(std::future::ready(secret))
    }
}

/// A runtime with these settings and secrets, in `dir`.
pub(crate) fn with_secrets(stage: &Stage, text: &str, dir: &Path) -> Runtime {
    let mut settings = Settings::parse(text, "oneiric.toml").unwrap();
    settings.state_dir = dir.join("state");
    RuntimeBuilder::new(settings)
        .factories(stage.factories())
        .secret_provider(Files(dir.join("state/secrets")))
        .build()
        .unwrap()
}

/// A runtime that serves TCP.
pub(crate) struct Tcp {
    pub(crate) scene: Scene,
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    pub(crate) text: String,
}

/// The settings of `admin.tcp`, with the files they name, for a runtime in `dir`.
pub(crate) fn tcp_settings(dir: &Path, authority: &Authority) -> String {
    let server = authority.sign("oneiric");
    private(&dir.join("server.pem"), &server.certificate);
    private(&dir.join("server.key"), &server.key);
    private(&dir.join("clients.pem"), &authority.pem());
    let secrets = dir.join("state/secrets");
    private(&secrets.join("operate"), OPERATE);
    private(&secrets.join("read"), &format!("{READ}\n"));
    private(&secrets.join("short"), "short");
    fs::set_permissions(dir.join("state"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&secrets, fs::Permissions::from_mode(0o700)).unwrap();
    let dir = dir.display();
    format!(
        r#"
[admin.tcp]
listen = "127.0.0.1:0"
certificate = "{dir}/server.pem"
key = "{dir}/server.key"
client_ca = "{dir}/clients.pem"

[[admin.tokens]]
name = "operator"
role = "operate"
token = "secret://file/operate"

[[admin.tokens]]
name = "viewer"
role = "read"
token = "secret://file/read"

[[admin.tokens]]
name = "short"
role = "operate"
token = "secret://file/short"

[admin.client_roles]
deploy = "operate"
monitor = "read"
"#
    )
}

impl Tcp {
    pub(crate) async fn start(text: &str) -> Self {
        Self::start_with("", text).await
    }

    /// With settings that stand before all tables.
    pub(crate) async fn start_with(first: &str, text: &str) -> Self {
        let (stage, dir) = (Stage::new(), tempfile::tempdir().unwrap());
        let authority = Authority::new();
        let settings = tcp_settings(dir.path(), &authority);
        let text = format!("{first}\n{settings}\n{text}");
        let runtime = with_secrets(&stage, &text, dir.path());
        let scene = Scene::run(stage, runtime, dir).await;
        let address = scene.address.unwrap();
        Self {
            scene,
            authority,
            address,
            text,
        }
    }

    /// Has the settings reloaded with something in them replaced.
    pub(crate) async fn reload(&self, from: &str, to: &str) {
        assert!(self.text.contains(from), "{from}");
        let text = self.text.replace(from, to);
        let mut settings = Settings::parse(&text, "oneiric.toml").unwrap();
        settings.state_dir = self.scene.dir.path().join("state");
        let done = soon(self.scene.runtime.reload_to(settings, "test")).await;
        assert_eq!(done.unwrap().outcome, ReloadOutcome::Applied);
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        ClientBuilder::url(format!("https://{}", self.address)).authorities(self.authority.pem())
    }

    pub(crate) async fn with_token(&self, token: &str) -> Result<Client, ClientError> {
        let token = Secret::new(token.to_owned());
        soon(self.builder().token(token).connect()).await
    }

    /// An operator's client.
    pub(crate) async fn client(&self) -> Client {
        self.with_token(OPERATE).await.unwrap()
    }

    /// A connection with TLS and nothing else.
    pub(crate) async fn stream(&self) -> TlsStream<TcpStream> {
        self.stream_from(Ipv4Addr::LOCALHOST).await
    }

    /// A connection with TLS from an address of this machine.
    pub(crate) async fn stream_from(&self, from: Ipv4Addr) -> TlsStream<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = soon(socket.connect(self.address)).await.unwrap();
        let connector = TlsConnector::from(Arc::new(config(&self.authority, None)));
        let name = ServerName::try_from("localhost").unwrap();
        soon(connector.connect(name, stream)).await.unwrap()
    }

    /// Sends bytes as they are over TLS and returns what comes back until the connection ends.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.stream().await;
        drop(soon(stream.write_all(bytes)).await);
        drop(soon(stream.flush()).await);
        let mut answer = Vec::new();
        drop(soon(stream.read_to_end(&mut answer)).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// A request with these lines in its head, and JSON.
    pub(crate) async fn ask(&self, line: &str, head: &str, body: &str) -> String {
        let head = format!("content-type: application/json\r\n{head}");
        self.ask_plainly(line, &head, body).await
    }

    /// A request with these lines in its head.
    pub(crate) async fn ask_plainly(&self, line: &str, head: &str, body: &str) -> String {
        let length = body.len();
        let text = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}content-length: {length}\r\n\r\n{body}"
        );
        self.raw(text.as_bytes()).await
    }
}

/// TLS as a client speaks it, with a certificate of its own or without.
pub(crate) fn config(authority: &Authority, identity: Option<&Signed>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let pem = authority.pem();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(signed) => {
            let chain = CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![chain], key).unwrap()
        }
    }
}
