//! The TLS handshake of a connection: five seconds, and so many at one time. Who has been at it longest makes room,
//! so that connections that begin one and say nothing more keep nobody out.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{answer::Admin, certificate::Certificate, places::Place, seldom::Turn};

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
            refused(admin, "handshake_failed", address, &error.to_string());
            None
        }
        Err(_) => {
            refused(admin, "handshake_late", address, "not done in time");
            None
        }
    }
}

fn refused(admin: &Admin, kind: &'static str, address: IpAddr, reason: &str) {
    admin.refused(kind);
    if let Turn::Write { left_out } = admin.seldom.turn(kind) {
        tracing::info!(%address, reason, left_out, "TLS handshake failed");
    }
}

fn given_up<T>(admin: &Admin) -> Option<T> {
    admin.refused("place_taken");
    None
}
