//! Accepting connections: everybody who may come in gets a place at once, whoever may not is hung up on.

use std::{io, sync::Arc, time::Duration};

use tokio::net::{UnixListener, UnixStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    answer::Admin,
    breath::Breath,
    connection::serve,
    entrance::{Caller, Entrance},
    seldom::Turn,
};
use crate::settings::Role;

/// What both loops need.
#[derive(Clone)]
pub(super) struct Reception {
    pub(super) admin: Arc<Admin>,
    pub(super) stop: CancellationToken,
    pub(super) connections: TaskTracker,
}

/// Somewhere connections come from.
pub(super) trait Door {
    type Connection;
    async fn next(&self) -> io::Result<Self::Connection>;
    /// Seats a connection, or hangs up.
    async fn admit(&self, reception: &Reception, connection: Self::Connection);
}

pub(super) struct Socket {
    pub(super) listener: UnixListener,
    /// The user it belongs to.
    pub(super) owner: u32,
}

impl Socket {
    pub(super) async fn accept(self, reception: Reception) {
        accept(&self, &reception).await;
    }
}

impl Door for Socket {
    type Connection = UnixStream;

    async fn next(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }

    async fn admit(&self, reception: &Reception, stream: UnixStream) {
        let caller = match admitted(&stream, self.owner) {
            Ok(uid) => Caller::new(format!("uid:{uid}"), Role::Operate),
            Err(peer) => {
                reception.admin.refused("other_user");
                if let Turn::Write { left_out } = reception.admin.seldom.turn("other_user") {
                    tracing::warn!(peer, left_out, "connection of another user refused");
                }
                return;
            }
        };
        let (place, _) = reception.admin.places.enter(None).await;
        let (admin, stop) = (Arc::clone(&reception.admin), reception.stop.clone());
        let entrance = Entrance::Socket(caller);
        reception
            .connections
            .spawn(serve(stream, entrance, place, admin, stop));
    }
}

pub(super) async fn accept(door: &impl Door, reception: &Reception) {
    let mut breath = Breath::default();
    loop {
        let next = tokio::select! {
            () = reception.stop.cancelled() => return,
            next = door.next() => next,
        };
        match next {
            Ok(connection) => {
                let failures = breath.succeeded();
                if failures > 0 {
                    tracing::info!(failures, "connections are accepted again");
                }
                tokio::select! {
                    () = reception.stop.cancelled() => return,
                    () = door.admit(reception, connection) => {}
                }
            }
            Err(error) => {
                let (wait, first) = breath.failed();
                if first {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                }
                pause(reception, wait).await;
            }
        }
    }
}

async fn pause(reception: &Reception, wait: Duration) {
    tokio::select! {
        () = reception.stop.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

/// The user at the other end, if it is one that may operate.
fn admitted(stream: &UnixStream, owner: u32) -> Result<u32, String> {
    match stream.peer_cred() {
        Ok(peer) if may_operate(peer.uid(), owner) => Ok(peer.uid()),
        Ok(peer) => Err(format!("uid:{}", peer.uid())),
        Err(error) => Err(error.to_string()),
    }
}

/// The owner and root may; root could anyway.
const fn may_operate(user: u32, owner: u32) -> bool {
    user == owner || user == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_operate() {
        assert!(may_operate(1000, 1000) && may_operate(0, 1000));
        assert!(!may_operate(1001, 1000) && !may_operate(1000, 0));
    }

    #[tokio::test]
    async fn the_other_end_is_who_the_system_says() {
        let (one, _other) = UnixStream::pair().unwrap();
        let me = one.peer_cred().unwrap().uid();
        assert_eq!(admitted(&one, me), Ok(me));
        let stranger = me.wrapping_add(1);
        assert_eq!(admitted(&one, stranger).is_ok(), me == 0);
    }
}
