//! What operators see of secrets, and fetching them anew.

use std::collections::BTreeMap;

use oneiric_core::{Coded, Slot};
use oneiric_domains::{Secret, SecretError, SecretRef};

use super::unix_ms;
use crate::{
    api::{
        ProcessEvent, RotateDoc, RotateRequest, RotatedDoc, SecretDoc, SecretErrorDoc,
        SecretToldDoc, SecretUseDoc, SecretsDoc, schema,
    },
    error::RuntimeError,
    runtime::Runtime,
    secrets::{How, Reached, Renewed, Told, named},
};

impl Runtime {
    /// Returns the secrets that settings name: who uses them and how old they are, never what they are.
    #[must_use]
    pub fn secrets(&self) -> SecretsDoc {
        let secrets = &self.inner.secrets;
        let docs = self.uses().into_iter().map(|(reference, used_by)| {
            let view = secrets.view(&reference);
            SecretDoc {
                reference: reference.to_string(),
                used_by,
                fetched_unix_ms: view.fetched.map(unix_ms),
                expires_unix_ms: view.expires.map(unix_ms),
                stale: view.stale,
                error: view.error.as_ref().map(|error| self.told(error)),
            }
        });
        SecretsDoc {
            schema: schema::SECRETS.into(),
            secrets: docs.collect(),
            keepers: secrets.providers().map(str::to_owned).collect(),
        }
    }

    /// Returns a secret's value, from the cache if it is not too old. Cancel-safe.
    ///
    /// # Errors
    /// `domains.secret_provider_unknown`, `domains.secret_not_found`, `domains.secret_unsafe`,
    /// `domains.secret_unusable`, `domains.secret_unavailable`.
    pub async fn secret(&self, reference: &SecretRef) -> Result<Secret, SecretError> {
        self.inner.secrets.get(reference).await
    }

    /// Fetches one secret, or every one that settings name, and gives what changed to whoever uses it: an instance that
    /// takes new settings is told, another is exchanged, without a failed call. That some cannot be fetched or do not
    /// reach everybody is in the document. Cancel-safe: what was begun goes on.
    ///
    /// # Errors
    /// `domains.secret_ref_invalid`, `runtime.secret_unused` when no setting names it.
    pub async fn rotate_secrets(
        &self,
        request: RotateRequest,
        who: &str,
    ) -> Result<RotateDoc, RuntimeError> {
        let uses = self.uses();
        let wanted = match &request.reference {
            None => uses.into_keys().collect(),
            Some(text) => {
                let reference: SecretRef = text.parse().map_err(RuntimeError::Secret)?;
                if !uses.contains_key(&reference) {
                    return Err(RuntimeError::SecretUnused { reference });
                }
                vec![reference]
            }
        };
        let reason = request.reason.as_deref().unwrap_or_default();
        tracing::info!(
            who,
            reason,
            secrets = wanted.len(),
            "secrets are fetched anew"
        );
        let (lifecycle, turns) = (self.lifecycle(), self.inner.revisions.turns());
        let rotated = self.inner.secrets.rotate(lifecycle, turns, wanted).await;
        let secrets = rotated.renewed.into_iter();
        let secrets: Vec<_> = secrets.map(|one| self.renewed(one)).collect();
        let slots = slot_docs(rotated.told, rotated.reached);
        self.say_rotated(who, request.reason, &secrets, &slots);
        Ok(RotateDoc {
            schema: schema::ROTATE.into(),
            complete: secrets.iter().all(|one| one.error.is_none())
                && slots.iter().all(|one| one.error.is_none()),
            secrets,
            slots,
        })
    }

    fn say_rotated(
        &self,
        who: &str,
        reason: Option<String>,
        secrets: &[RotatedDoc],
        slots: &[SecretToldDoc],
    ) {
        let count = |outcome: &str| {
            let such = secrets.iter().filter(|one| one.outcome == outcome);
            u64::try_from(such.count()).unwrap_or(u64::MAX)
        };
        let told = slots
            .iter()
            .filter(|one| one.error.is_none() && one.outcome != "inactive");
        let rotated = ProcessEvent::SecretsRotated {
            who: who.to_owned(),
            reason,
            secrets: secrets.iter().map(|one| one.reference.clone()).collect(),
            changed: count("changed"),
            failed: count("failed"),
            slots: told.map(|one| one.slot.clone()).collect(),
        };
        self.inner.events.say(None, rotated);
    }

    /// The secrets that settings name, and which settings.
    fn uses(&self) -> BTreeMap<SecretRef, Vec<SecretUseDoc>> {
        let mut uses: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for named in named(&self.settings()) {
            let (slot, provider) = named.of.unzip();
            uses.entry(named.reference).or_default().push(SecretUseDoc {
                setting: named.key,
                slot,
                provider,
            });
        }
        uses
    }

    fn renewed(&self, (reference, renewed): Renewed) -> RotatedDoc {
        let outcome = match renewed {
            Ok(true) => "changed",
            Ok(false) => "unchanged",
            Err(_) => "failed",
        };
        RotatedDoc {
            reference: reference.to_string(),
            outcome: outcome.to_owned(),
            error: renewed.err().map(|error| self.told(&error)),
        }
    }

    fn told(&self, error: &SecretError) -> SecretErrorDoc {
        SecretErrorDoc {
            code: error.code().into(),
            // A provider of somebody else's may say more than it should.
            message: self.inner.redactor.redact(&error.to_string()).into_owned(),
        }
    }
}

/// A document for each slot: what this rotation came to there, or else what others had done meanwhile.
fn slot_docs(told: Vec<Told>, reached: Vec<Reached>) -> Vec<SecretToldDoc> {
    let mut docs: BTreeMap<Slot, SecretToldDoc> = BTreeMap::new();
    for one in reached {
        let outcome = match one.how {
            How::Told => "told",
            How::Exchanged => "exchanged",
        };
        let doc = SecretToldDoc {
            slot: one.slot.clone(),
            provider: one.provider,
            outcome: outcome.to_owned(),
            error: None,
        };
        docs.insert(one.slot, doc);
    }
    for one in told {
        let doc = told_doc(one);
        // Nothing serves any more, but something did with the new value.
        if doc.outcome != "inactive" || !docs.contains_key(&doc.slot) {
            docs.insert(doc.slot.clone(), doc);
        }
    }
    docs.into_values().collect()
}

fn told_doc(told: Told) -> SecretToldDoc {
    let (outcome, error) = told.outcome();
    SecretToldDoc {
        outcome: outcome.to_owned(),
        error: error.map(|(code, message)| SecretErrorDoc {
            code: code.to_owned(),
            message,
        }),
        slot: told.slot,
        provider: told.provider,
    }
}
