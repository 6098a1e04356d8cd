//! Bearer tokens: those of the settings, resolved when one is shown, so that a rotated one holds at once.
//!
//! What is compared are keyed digests (HMAC-SHA256 under a key of this process), all of them every time: neither the
//! time that takes nor the answer says how much of a token was right, or which.

use oneiric_domains::{Secret, SecretError, SecretRef};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};

use super::entrance::Caller;
use crate::{
    runtime::Runtime,
    settings::{Settings, TokenSettings},
};

/// The shortest token that is let in: shorter ones can be guessed.
pub(super) const MIN_TOKEN_BYTES: usize = 16;

/// What tokens are compared with.
#[derive(Debug)]
pub(super) struct Tokens {
    key: Option<hmac::Key>,
}

impl Default for Tokens {
    fn default() -> Self {
        let mut bytes = [0u8; 32];
        // Without randomness of the system there is no safe comparison, so nobody is let in.
        let filled = SystemRandom::new().fill(&mut bytes);
        Self {
            key: filled
                .is_ok()
                .then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes)),
        }
    }
}

impl Tokens {
    /// Whose token this is.
    pub(super) async fn holder(&self, runtime: &Runtime, shown: &[u8]) -> Option<Caller> {
        let key = self.key.as_ref()?;
        let shown = hmac::sign(key, shown);
        let settings = runtime.settings();
        let mut holder = None;
        for token in &settings.admin.tokens {
            let Ok(held) = held(runtime, token).await else {
                continue;
            };
            let is_it = hmac::verify(key, held.expose().as_bytes(), shown.as_ref()).is_ok();
            if is_it && held.expose().len() >= MIN_TOKEN_BYTES && holder.is_none() {
                holder = Some(Caller::new(format!("token:{}", token.name), token.role));
            }
        }
        holder
    }
}

/// The token that the settings refer to.
async fn held(runtime: &Runtime, token: &TokenSettings) -> Result<Secret, String> {
    let reference: SecretRef = token
        .token
        .parse()
        .map_err(|error: SecretError| error.to_string())?;
    let held = runtime.secret(&reference).await;
    held.map_err(|error| error.to_string())
}

/// The tokens that let nobody in, and why.
pub(super) async fn unusable(runtime: &Runtime, settings: &Settings) -> Vec<(String, String)> {
    let mut unusable = Vec::new();
    for token in &settings.admin.tokens {
        let reason = match held(runtime, token).await {
            Ok(secret) if secret.expose().len() >= MIN_TOKEN_BYTES => continue,
            Ok(_) => format!("it is shorter than {MIN_TOKEN_BYTES} bytes"),
            Err(reason) => reason,
        };
        unusable.push((token.name.clone(), reason));
    }
    unusable
}
