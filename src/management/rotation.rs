//! Rotation: another secret for the same key, while the old one goes on for a while.
//!
//! The key keeps its id, its name, its rights, its usage and its limits. With a grace the old secret is good until that is
//! over; a rotation that is *pending* lets the grace begin with the first use of the new secret, so that nothing ends before
//! the new one has arrived. It can be finished early, when nobody uses the old secret any more, and taken back, as long as
//! the old one is still good.

use std::time::Duration;

use super::issuing::{check_secret, later, warn_of_secret};
use super::keys::{Created, changeable};
use super::{Actor, Claim, Fault, Management, Refused, Role, Warning};
use crate::client::KeyType;
use crate::credential::{KeyText, Secret};
use crate::keys::{SecretTag, Timestamp};
use crate::store::{Change, KeyDetail, NewSecret, Rotation, SecretRow, SecretState, Writer};

/// The longest grace.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long an old secret stays good where nobody says anything.
pub const USUAL_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// The most secrets that one key has at a time.
const MAX_SECRETS: usize = 5;

/// What a rotation is to be like.
#[derive(Debug)]
pub struct RotateKey {
    /// How long the old secret stays good.
    pub grace: Duration,
    /// The grace begins with the first use of the new secret.
    pub is_pending: bool,
    /// The new secret, if it is not to be made at random.
    pub secret: Option<Secret<'static>>,
    /// Another end for the key.
    pub expires_at: Option<Option<Timestamp>>,
}

impl Management {
    /// Gives a key another secret.
    ///
    /// # Errors
    /// Why not; the old secret stays then.
    pub fn rotate_key(
        &self,
        actor: &Actor,
        id: &str,
        wanted: RotateKey,
        claim: Option<Claim>,
    ) -> Result<Created, Refused> {
        let issuing = self.issuing();
        let chosen = wanted.secret;
        let (warnings, secret) = self.change(actor, Role::Developer, |writer| {
            Claim::check(claim.as_ref(), writer)?;
            let before = changeable(writer, id)?;
            let mut faults = Vec::new();
            if wanted.grace > MAX_GRACE {
                faults.push(Fault::new("/grace", "grace_too_long", "an old secret may stay good for 30 days at most"));
            }
            if let Some(chosen) = &chosen {
                check_secret(chosen, &mut faults);
            }
            let mut key = before.key.clone();
            if let Some(expires_at) = wanted.expires_at {
                key.expires_at = issuing.expiry(expires_at, key.not_before, writer.now(), &mut faults);
            }
            if !faults.is_empty() {
                return Err(Refused::Invalid(faults));
            }
            if key.expires_at.is_some_and(|end| end <= writer.now()) {
                let detail = "the key has expired: give it another end with the rotation";
                return Err(Refused::conflict("key_expired", detail));
            }
            // A rotation that nobody has taken up is replaced by this one.
            let mut secrets = before.secrets.clone();
            for abandoned in secrets.extract_if(.., |secret| secret.state == SecretState::Pending) {
                writer.remove_secret(key.number, &abandoned)?;
            }
            let is_over = |secret: &SecretRow| secret.valid_until.is_some_and(|until| until <= writer.now());
            for ended in secrets.extract_if(.., |secret| is_over(secret)) {
                writer.remove_secret(key.number, &ended)?;
            }
            if secrets.len() >= MAX_SECRETS {
                let detail = "the key has as many secrets as it can have: finish its rotation first";
                return Err(Refused::conflict("too_many_secrets", detail));
            }
            let grace = i64::try_from(wanted.grace.as_millis()).unwrap_or(i64::MAX);
            if wanted.is_pending {
                key.rotation = Some(Rotation { grace_millis: grace });
            } else {
                key.rotation = None;
                supersede(writer, key.number, &secrets, later(writer.now(), wanted.grace))?;
            }
            let (secret, is_chosen) = match chosen {
                Some(chosen) => {
                    self.check_secret_is_free(&chosen, writer)?;
                    (chosen, true)
                }
                None => (issuing.new_secret(key.key_type, key.environment.as_ref())?, false),
            };
            let text = String::from_utf8_lossy(secret.expose());
            if issuing.policy.keep_publishable_visible && key.key_type == KeyType::Publishable {
                key.visible = Some(text.to_string());
            } else {
                key.visible = None;
            }
            let number = before.secrets.iter().map(|secret| secret.number).max().unwrap_or(0) + 1;
            let new = NewSecret {
                digest: self.inner.table.new_digest_of(&secret),
                mask: KeyText::mask(&text),
                state: if wanted.is_pending { SecretState::Pending } else { SecretState::Current },
                valid_until: None,
            };
            writer.add_secret(key.number, number, &new)?;
            writer.change_key(&key)?;
            writer.index_key(key.number)?;
            let after = writer.key(id)?.ok_or_else(|| Refused::no_key(id))?;
            let note = Some(format!(
                "grace {} s{}",
                wanted.grace.as_secs(),
                if wanted.is_pending { ", from the first use of the new secret" } else { "" }
            ));
            self.record_key(writer, actor, "key.rotated", Some(&before), &after, note)?;
            if let Some(claim) = &claim {
                writer.spend(&claim.key, &claim.request, id)?;
            }
            let mut warnings: Vec<Warning> = warn_of_secret(&secret).into_iter().collect();
            if wanted.grace.is_zero() && !wanted.is_pending {
                warnings.extend(super::keys::warn_of_use(&before, writer.now()));
            }
            Ok((warnings, (!is_chosen).then_some(secret)))
        })?;
        Ok(Created { detail: self.key(id)?, secret, warnings })
    }

    /// Ends the old secrets of a key now. Where nobody has used the new one yet, that must be said twice (`force`).
    ///
    /// # Errors
    /// Why not.
    pub fn finish_rotation(&self, actor: &Actor, id: &str, force: bool) -> Result<KeyDetail, Refused> {
        self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            let (new, old) = under_way(&before, writer.now())?;
            if new.last_use.is_none() && !force {
                let detail = "nobody has used the new secret yet: whoever has the old one would be refused";
                return Err(Refused::conflict("rotation_unused", detail));
            }
            writer.change_secret(before.key.number, new.number, SecretState::Current, None)?;
            supersede(writer, before.key.number, &old, writer.now())?;
            let mut key = before.key.clone();
            key.rotation = None;
            writer.change_key(&key)?;
            let after = writer.key(id)?.ok_or_else(|| Refused::no_key(id))?;
            self.record_key(writer, actor, "key.rotation_finished", Some(&before), &after, None)
        })?;
        self.key(id)
    }

    /// Takes a rotation back: the newest secret goes, the one before it is good again. Where the new one is in use, that
    /// must be said twice (`force`).
    ///
    /// # Errors
    /// Why not.
    pub fn undo_rotation(&self, actor: &Actor, id: &str, force: bool) -> Result<KeyDetail, Refused> {
        self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            let (new, old) = under_way(&before, writer.now())?;
            if new.last_use.is_some() && !force {
                let detail = "the new secret is in use: whoever has it would be refused";
                return Err(Refused::conflict("rotation_used", detail));
            }
            let restored = old.iter().max_by_key(|secret| secret.number);
            let restored = restored.ok_or_else(|| Refused::conflict("no_rotation", "no rotation is under way"))?;
            writer.remove_secret(before.key.number, &new)?;
            writer.change_secret(before.key.number, restored.number, SecretState::Current, None)?;
            let mut key = before.key.clone();
            key.rotation = None;
            key.visible = None;
            writer.change_key(&key)?;
            writer.index_key(key.number)?;
            let after = writer.key(id)?.ok_or_else(|| Refused::no_key(id))?;
            self.record_key(writer, actor, "key.rotation_undone", Some(&before), &after, None)
        })?;
        self.key(id)
    }

    /// The new secret of a pending rotation was used: the grace of the old ones begins. Nothing happens if it had begun.
    pub(super) fn take_up_rotation(&self, id: &str, tag: SecretTag, at: Timestamp) -> Result<(), Refused> {
        let actor = Actor::keygate();
        self.change(&actor, Role::Developer, |writer| {
            let Some(before) = writer.key(id)?.filter(|detail| detail.key.revoked_at.is_none()) else { return Ok(()) };
            let is_meant =
                |secret: &&SecretRow| secret.state == SecretState::Pending && SecretTag::of(&secret.digest) == tag;
            let (Some(new), Some(rotation)) = (before.secrets.iter().find(is_meant), before.key.rotation) else {
                return Ok(());
            };
            let end = Timestamp::from_millis(at.as_millis().saturating_add(rotation.grace_millis));
            let old: Vec<SecretRow> =
                before.secrets.iter().filter(|secret| secret.number != new.number).cloned().collect();
            writer.change_secret(before.key.number, new.number, SecretState::Current, None)?;
            supersede(writer, before.key.number, &old, end)?;
            let mut key = before.key.clone();
            key.rotation = None;
            writer.change_key(&key)?;
            let after = writer.key(id)?.ok_or_else(|| Refused::no_key(id))?;
            let note = Some("the new secret was used for the first time".to_owned());
            self.record_key(writer, &actor, "key.rotation_taken_up", Some(&before), &after, note)
        })
    }

    /// Takes secrets that ended before a moment out of the store.
    pub(super) fn forget_ended_secrets(&self, before: Timestamp) -> Result<(), Refused> {
        if !self.can_write() {
            return Ok(());
        }
        self.inner.store.write(super::now(), |writer| {
            for (key, secret) in writer.secrets_ended_before(before)? {
                writer.remove_secret(key, &secret)?;
                writer.note(Change::Keys { first: key, last: key })?;
            }
            Ok::<_, Refused>(())
        })?;
        self.enforce()
    }
}

/// The newest secret, and the others that are still good, of a rotation that is under way.
fn under_way(detail: &KeyDetail, now: Timestamp) -> Result<(SecretRow, Vec<SecretRow>), Refused> {
    let is_good = |secret: &&SecretRow| secret.valid_until.is_none_or(|until| until > now);
    let mut good: Vec<SecretRow> = detail.secrets.iter().filter(is_good).cloned().collect();
    if good.len() < 2 {
        return Err(Refused::conflict("no_rotation", "no rotation of this key is under way"));
    }
    good.sort_by_key(|secret| std::cmp::Reverse(secret.number));
    let new = good.remove(0);
    Ok((new, good))
}

/// Gives secrets an end, unless they have an earlier one.
fn supersede(writer: &Writer<'_>, key: i64, secrets: &[SecretRow], end: Timestamp) -> Result<(), Refused> {
    for secret in secrets {
        let end = secret.valid_until.map_or(end, |until| until.min(end));
        writer.change_secret(key, secret.number, SecretState::Superseded, Some(end))?;
    }
    Ok(())
}
