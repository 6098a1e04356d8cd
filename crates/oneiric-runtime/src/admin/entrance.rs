//! Who is at the other end. Over the Unix socket that is whom the system names, and those who get that far operate;
//! over TCP it is whoever shows a client certificate or a bearer token that the settings know.

use std::sync::Arc;

#[cfg(feature = "tls")]
use hyper::header;
use hyper::header::HeaderMap;

#[cfg(feature = "tls")]
use super::certificate::Certificate;
use super::{
    answer::Admin,
    places::{Place, Places},
    problem::Problem,
};
use crate::{conceal::Audience, settings::Role};

/// Someone who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// As it stands in records: `uid:1000`, `token:ci`, `cert:deploy.example`.
    pub(super) who: Arc<str>,
    pub(super) role: Role,
}

/// How a connection came in.
#[derive(Debug, Clone)]
pub(super) enum Entrance {
    /// Over the Unix socket, from a user that may operate.
    Socket(Caller),
    /// Over TCP.
    #[cfg(feature = "tls")]
    Tcp {
        address: std::net::IpAddr,
        /// What was shown, if anything was.
        certificate: Option<Certificate>,
    },
}

impl Caller {
    pub(super) fn new(who: impl Into<Arc<str>>, role: Role) -> Self {
        Self {
            who: who.into(),
            role,
        }
    }
}

impl Entrance {
    /// What a log calls whoever has not said who they are.
    pub(super) fn stranger(&self) -> Arc<str> {
        match self {
            Self::Socket(caller) => Arc::clone(&caller.who),
            #[cfg(feature = "tls")]
            Self::Tcp { address, .. } => format!("address:{address}").into(),
        }
    }

    /// Whom the answers are for.
    pub(super) const fn audience(&self) -> Audience {
        match self {
            Self::Socket(_) => Audience::Owner,
            #[cfg(feature = "tls")]
            Self::Tcp { .. } => Audience::Client,
        }
    }

    /// The places that its connections take.
    pub(super) const fn places<'a>(&self, admin: &'a Admin) -> &'a Arc<Places> {
        match self {
            Self::Socket(_) => &admin.places,
            #[cfg(feature = "tls")]
            Self::Tcp { .. } => &admin.tcp_places,
        }
    }

    /// Who asks. One answer for everything that does not fit; after a wrong token it comes late, and the connection
    /// ends with it.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "on the socket it is known already")
    )]
    pub(super) async fn caller(
        &self,
        admin: &Admin,
        headers: &HeaderMap,
        place: &Place,
    ) -> Result<Caller, Problem> {
        let known = self.known(admin, headers).await;
        #[cfg(feature = "tls")]
        if let Self::Tcp { address, .. } = self {
            let showed_token = headers.contains_key(header::AUTHORIZATION);
            match &known {
                Some(_) => admin.failures.forgive(*address),
                None if showed_token => admin.failures.refuse_late(*address, place).await,
                None => {}
            }
            return known.ok_or_else(|| unknown(showed_token));
        }
        known.ok_or_else(|| unknown(false))
    }

    /// Whom the system names, or who shows a token, or else a certificate, that the settings know as they are now.
    #[cfg_attr(
        not(feature = "tls"),
        expect(
            unused_variables,
            clippy::unused_async,
            reason = "on the socket it is known already"
        )
    )]
    pub(super) async fn known(&self, admin: &Admin, headers: &HeaderMap) -> Option<Caller> {
        match self {
            Self::Socket(caller) => Some(caller.clone()),
            #[cfg(feature = "tls")]
            Self::Tcp { certificate, .. } => {
                let mut shown = headers.get_all(header::AUTHORIZATION).iter();
                match (shown.next(), shown.next()) {
                    (None, _) => certificate.as_ref()?.caller(&admin.runtime),
                    (Some(one), None) => {
                        let token = bearer(one.as_bytes())?;
                        admin.tokens.holder(&admin.runtime, token).await
                    }
                    _ => None,
                }
            }
        }
    }
}

fn unknown(close: bool) -> Problem {
    let message = "this needs a bearer token or a client certificate that is known here";
    let code = "runtime.unauthenticated";
    Problem {
        authenticate: true,
        close,
        ..Problem::new(401, code, oneiric_core::ErrorKind::Denied, message)
    }
}

/// The token of an `Authorization` header.
#[cfg(feature = "tls")]
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    let fits = scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty();
    fits.then_some(token.trim_ascii())
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_what_follows_the_word() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        for none in [&b"Bearer"[..], b"Bearer ", b"Basic abc", b"", b"abc"] {
            assert_eq!(bearer(none), None, "{none:?}");
        }
    }
}
