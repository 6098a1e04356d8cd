//! The admin API on TCP: never without TLS, and never without somebody who could come in.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    connection::serve,
    entrance::Entrance,
    handshake::shake,
    listen::{Door, Reception, accept},
    tls, tokens,
};
use crate::{error::RuntimeError, runtime::Runtime, settings::Settings};

/// A port that is listened on.
pub(super) struct Tcp {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub(super) address: SocketAddr,
}

impl Tcp {
    /// Opens the port, if the settings name one.
    ///
    /// # Errors
    /// `runtime.tcp_unguarded`, `runtime.tls_unusable`, `runtime.listen_failed`.
    pub(super) async fn open(
        runtime: &Runtime,
        settings: &Settings,
    ) -> Result<Option<Self>, RuntimeError> {
        let Some(tcp) = &settings.admin.tcp else {
            return Ok(None);
        };
        let unusable = tokens::unusable(runtime, settings).await;
        for (name, reason) in &unusable {
            tracing::error!(token = name, reason, "this token lets nobody in");
        }
        let some_token = unusable.len() < settings.admin.tokens.len();
        let some_certificate = tcp.client_ca.is_some() && !settings.admin.client_roles.is_empty();
        if !some_token && !some_certificate {
            let reasons = unusable.into_iter();
            let reasons = reasons.map(|(name, reason)| format!("{name}: {reason}"));
            return Err(RuntimeError::TcpUnguarded {
                reasons: reasons.collect(),
            });
        }
        let files = tcp.clone();
        let acceptor = tokio::task::spawn_blocking(move || tls::acceptor(&files));
        let acceptor = acceptor.await.map_err(|error| RuntimeError::Internal {
            message: error.to_string(),
        })??;
        let failed = |source| RuntimeError::ListenFailed {
            address: tcp.listen,
            source,
        };
        let listener = TcpListener::bind(tcp.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "admin API over TCP");
        Ok(Some(Self {
            listener,
            acceptor,
            address,
        }))
    }

    pub(super) async fn accept(self, reception: Reception) {
        accept(&self, &reception).await;
    }
}

impl Door for Tcp {
    type Connection = (TcpStream, SocketAddr);

    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }

    async fn admit(&self, reception: &Reception, (stream, peer): (TcpStream, SocketAddr)) {
        // Answers are small and wanted now.
        drop(stream.set_nodelay(true));
        let address = peer.ip().to_canonical();
        let (place, _) = reception.admin.tcp_places.enter(Some(address)).await;
        let (admin, stop) = (Arc::clone(&reception.admin), reception.stop.clone());
        let acceptor = self.acceptor.clone();
        reception.connections.spawn(async move {
            let shaken = shake(&admin, &acceptor, stream, address, &place, &stop).await;
            if let Some((stream, certificate)) = shaken {
                let entrance = Entrance::Tcp {
                    address,
                    certificate,
                };
                serve(stream, entrance, place, admin, stop).await;
            }
        });
    }
}
