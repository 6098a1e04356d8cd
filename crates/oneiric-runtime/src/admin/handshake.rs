//! The TLS handshake of a connection: five seconds, and so many at one time. Who has been at it longest makes room,
//! so that connections that begin one and say nothing more keep nobody out.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{answer::Admin, certificate::Certificate, places::Place};

/// For a handshake to end.
const LIMIT: Duration = Duration::from_secs(5);

/// Completes a handshake; gives the certificate that was shown.
pub(super) async fn shake(
    admin: &Arc<Admin>,
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    address: IpAddr,
    place: &Place,
    stop: &CancellationToken,
) -> Option<(TlsStream<TcpStream>, Option<Certificate>)> {
    let (turn, _) = admin.handshakes.enter(Some(address)).await;
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(LIMIT, acceptor.accept(stream)) => shaken,
        () = turn.leave().cancelled() => return given_up(admin),
        () = place.leave().cancelled() => return given_up(admin),
        () = stop.cancelled() => return None,
    };
    match shaken {
        Ok(Ok(stream)) => {
            let (_, connection) = stream.get_ref();
            let shown = connection
                .peer_certificates()
                .and_then(|chain| chain.first());
            let certificate = shown.map(|shown| Certificate::read(shown));
            Some((stream, certificate))
        }
        Ok(Err(error)) => {
            admin.refused("handshake_failed");
            tracing::info!(%address, reason = error.to_string(), "TLS handshake failed");
            None
        }
        Err(_) => {
            admin.refused("handshake_late");
            tracing::info!(%address, "TLS handshake not done in time");
            None
        }
    }
}

fn given_up<T>(admin: &Admin) -> Option<T> {
    admin.refused("place_taken");
    None
}
