//! Making, changing, switching off and revoking keys.

use std::time::Duration;

use ipnet::IpNet;

use super::clients::ClientChoice;
use super::issuing::{check_description, check_name, check_secret, new_id, new_key_id, warn_of_secret};
use super::refused::Unmet;
use super::{Actor, Claim, Fault, Management, Refused, Role, Warning, view};
use crate::client::{Environment, Grants, KeyType, OwnerKind, Plan, Tenant};
use crate::credential::{KeyText, Secret};
use crate::keys::{KeyId, KeyOrigin, Timestamp};
use crate::store::{
    AuditEntry, Change, ClientRow, Disabled, KeyDetail, NewDelivery, NewKey, NewSecret, Reader, SecretState, Writer,
};

/// A key that was used more recently than this is revoked with a warning.
const RECENTLY: Duration = Duration::from_secs(24 * 60 * 60);

/// A key to be made.
#[derive(Debug)]
pub struct CreateKey {
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whose it is.
    pub client: ClientChoice,
    /// Secret or publishable.
    pub key_type: KeyType,
    /// Where it is good; where this gateway serves, if nothing is said.
    pub environment: Option<Environment>,
    /// It is switched off to begin with.
    pub is_disabled: bool,
    /// Refused before.
    pub not_before: Option<Timestamp>,
    /// Refused from then on.
    pub expires_at: Option<Timestamp>,
    /// What it may do at most.
    pub grants: Grants,
    /// From where.
    pub networks: Vec<IpNet>,
    /// From which web pages.
    pub origins: Vec<Box<str>>,
    /// The plan whose limits hold for it; its client's, if nothing is said.
    pub plan: Option<Plan>,
    /// The key itself, if it is not to be made at random.
    pub secret: Option<Secret<'static>>,
}

/// A key that was made, or has a new secret.
#[derive(Debug)]
pub struct Created {
    /// The key.
    pub detail: KeyDetail,
    /// The secret: shown once. None if its operator chose it.
    pub secret: Option<Secret<'static>>,
    /// What should be looked at.
    pub warnings: Vec<Warning>,
}

/// What is to be changed about a key; what is none stays.
#[derive(Debug, Clone, Default)]
pub struct EditKey {
    /// What people call it.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<Option<String>>,
    /// Where it is good.
    pub environment: Option<Option<Environment>>,
    /// Refused before.
    pub not_before: Option<Option<Timestamp>>,
    /// Refused from then on.
    pub expires_at: Option<Option<Timestamp>>,
    /// What it may do at most.
    pub grants: Option<Grants>,
    /// From where.
    pub networks: Option<Vec<IpNet>>,
    /// From which web pages.
    pub origins: Option<Vec<Box<str>>>,
    /// The plan whose limits hold for it.
    pub plan: Option<Option<Plan>>,
}

/// A key that is gone.
#[derive(Debug)]
pub struct Revoked {
    /// As it was.
    pub detail: KeyDetail,
    /// The client went with it: it belonged to a machine, and this was its last key.
    pub client_went: bool,
    /// What should be looked at.
    pub warnings: Vec<Warning>,
}

impl Management {
    /// Makes a key.
    ///
    /// # Errors
    /// Why not; nothing was made then.
    pub fn create_key(&self, actor: &Actor, wanted: CreateKey, claim: Option<Claim>) -> Result<Created, Refused> {
        let issuing = self.issuing();
        let chosen = wanted.secret;
        let (id, warnings, secret) = self.change(actor, Role::Developer, |writer| {
            Claim::check(claim.as_ref(), writer)?;
            let mut faults = Vec::new();
            check_name(&wanted.name, "/name", &mut faults);
            check_description(wanted.description.as_deref(), &mut faults);
            let expires_at = issuing.expiry(wanted.expires_at, wanted.not_before, writer.now(), &mut faults);
            issuing.check_grants(&wanted.grants, &mut faults);
            issuing.check_plan(wanted.plan.as_ref(), "/plan", &mut faults);
            if let Some(chosen) = &chosen {
                check_secret(chosen, &mut faults);
            }
            if wanted.key_type == KeyType::Secret && !wanted.origins.is_empty() {
                faults.push(Fault::new("/origins", "origins_of_secret_key", "only publishable keys have origins"));
            }
            let client = self.client_for_key(actor, &wanted.client, writer, &mut faults)?;
            if !faults.is_empty() {
                return Err(Refused::Invalid(faults));
            }
            let client = client.ok_or_else(|| Refused::no_client(wanted.client.id().as_str()))?;
            self.check_room(&client, 1, writer)?;
            let tenant = client.client.tenant.as_ref();
            check_name_is_free(&wanted.name, tenant, None, writer)?;

            let environment = wanted.environment.or_else(|| issuing.environment.clone());
            let secret = match chosen {
                Some(chosen) => {
                    self.check_secret_is_free(&chosen, writer)?;
                    (chosen, true)
                }
                None => (issuing.new_secret(wanted.key_type, environment.as_ref())?, false),
            };
            let text = String::from_utf8_lossy(secret.0.expose());
            let is_visible = issuing.policy.keep_publishable_visible && wanted.key_type == KeyType::Publishable;
            let new = NewKey {
                id: new_key_id(writer.now())?,
                client: client.number,
                tenant: tenant.map(Tenant::to_string),
                origin: KeyOrigin::Store,
                name: wanted.name,
                description: wanted.description,
                key_type: wanted.key_type,
                environment,
                disabled: wanted.is_disabled.then(|| Disabled { at: writer.now(), reason: None }),
                not_before: wanted.not_before,
                expires_at,
                grants: wanted.grants,
                networks: wanted.networks,
                origins: wanted.origins,
                plan: wanted.plan,
                created_by: actor.name.clone(),
                visible: is_visible.then(|| text.to_string()),
            };
            let new_secret = NewSecret {
                digest: self.inner.table.new_digest_of(&secret.0),
                mask: KeyText::mask(&text),
                state: SecretState::Current,
                valid_until: None,
            };
            let mut warnings = issuing.warn(&client.client.client_type, &client.client.grants, &new.grants);
            warnings.extend(warn_of_secret(&secret.0));
            let number = writer.add_key(&new, &[new_secret])?;
            writer.note(Change::Keys { first: number, last: number })?;
            writer.index_key(number)?;
            let detail = writer.key_by_number(number)?.ok_or_else(|| Refused::no_key(new.id.as_str()))?;
            self.record_key(writer, actor, "key.created", None, &detail, None)?;
            if let Some(claim) = &claim {
                writer.spend(&claim.key, &claim.request, new.id.as_str())?;
            }
            let (secret, is_chosen) = secret;
            Ok((new.id, warnings, (!is_chosen).then_some(secret)))
        })?;
        Ok(Created { detail: self.key(id.as_str())?, secret, warnings })
    }

    /// Makes the first key of a store that has none, for whoever starts keygate for the first time.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn first_key(&self) -> Result<Option<Secret<'static>>, Refused> {
        if !self.can_write() || self.read(|reader| Ok(reader.has_own()?))? {
            return Ok(None);
        }
        let word = |why| Refused::Invalid(vec![Fault::new("/client", "word", format!("{why}"))]);
        let client = super::CreateClient {
            id: crate::client::ClientId::parse("first-client").map_err(word)?,
            name: None,
            client_type: crate::client::ClientType::parse("client").map_err(word)?,
            tenant: None,
            owner: None,
            groups: Vec::new(),
            grants: Grants::Unrestricted,
            plan: None,
            metadata: Default::default(),
        };
        let wanted = CreateKey {
            name: "first key".to_owned(),
            description: None,
            client: ClientChoice::Ensured(Box::new(client)),
            key_type: KeyType::Secret,
            environment: None,
            is_disabled: false,
            not_before: None,
            expires_at: None,
            grants: Grants::Unrestricted,
            networks: Vec::new(),
            origins: Vec::new(),
            plan: None,
            secret: None,
        };
        Ok(self.create_key(&Actor::keygate(), wanted, None)?.secret)
    }

    /// A key, revoked or not.
    ///
    /// # Errors
    /// There is none.
    pub fn key(&self, id: &str) -> Result<KeyDetail, Refused> {
        self.read(|reader| reader.key(id)?.ok_or_else(|| Refused::no_key(id)))
    }

    /// The key that a plain key stands for, revoked or not. What was asked about is not kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn find_key(&self, secret: &Secret<'_>) -> Result<Option<KeyDetail>, Refused> {
        let digests = self.inner.table.digests_of(secret);
        self.read(|reader| {
            for digest in &digests {
                if let Some(found) = reader.key_by_digest(digest)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        })
    }

    /// Changes what is said of a key; its secrets stay.
    ///
    /// # Errors
    /// Why not; nothing was changed then.
    pub fn edit_key(
        &self,
        actor: &Actor,
        id: &str,
        edit: EditKey,
        unmet: Unmet,
    ) -> Result<(KeyDetail, Vec<Warning>), Refused> {
        let issuing = self.issuing();
        let warnings = self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            unmet.check(before.key.version)?;
            let mut key = before.key.clone();
            let mut faults = Vec::new();
            if let Some(name) = edit.name {
                check_name(&name, "/name", &mut faults);
                key.name = name;
            }
            if let Some(description) = edit.description {
                check_description(description.as_deref(), &mut faults);
                key.description = description;
            }
            if let Some(environment) = edit.environment {
                key.environment = environment;
            }
            if let Some(not_before) = edit.not_before {
                key.not_before = not_before;
            }
            if let Some(expires_at) = edit.expires_at {
                key.expires_at = issuing.expiry(expires_at, key.not_before, writer.now(), &mut faults);
            } else if let (Some(from), Some(until)) = (key.not_before, key.expires_at)
                && from >= until
            {
                faults.push(Fault::new("/not_before", "expiry_before_start", "the key would end before it begins"));
            }
            if let Some(grants) = edit.grants {
                issuing.check_grants(&grants, &mut faults);
                key.grants = grants;
            }
            if let Some(plan) = edit.plan {
                issuing.check_plan(plan.as_ref(), "/plan", &mut faults);
                key.plan = plan;
            }
            if let Some(networks) = edit.networks {
                key.networks = networks;
            }
            if let Some(origins) = edit.origins {
                if key.key_type == KeyType::Secret && !origins.is_empty() {
                    faults.push(Fault::new("/origins", "origins_of_secret_key", "only publishable keys have origins"));
                }
                key.origins = origins;
            }
            if !faults.is_empty() {
                return Err(Refused::Invalid(faults));
            }
            if key.name != before.key.name {
                check_name_is_free(&key.name, before.client.client.tenant.as_ref(), Some(&key.id), writer)?;
            }
            if key == before.key {
                return Ok(Vec::new());
            }
            writer.change_key(&key)?;
            writer.index_key(key.number)?;
            let after = writer.key(id)?.ok_or_else(|| Refused::no_key(id))?;
            self.record_key(writer, actor, "key.changed", Some(&before), &after, None)?;
            Ok(issuing.warn(&after.client.client.client_type, &after.client.client.grants, &after.key.grants))
        })?;
        Ok((self.key(id)?, warnings))
    }

    /// Switches a key off.
    ///
    /// # Errors
    /// Why not.
    pub fn disable_key(&self, actor: &Actor, id: &str, reason: Option<String>) -> Result<KeyDetail, Refused> {
        check_reason(reason.as_deref())?;
        self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            if before.key.disabled.is_some() {
                return Ok(());
            }
            self.switch_off(writer, actor, &before, reason)
        })?;
        self.key(id)
    }

    /// Switches keys off, all in one transaction, each with an audit record of its own. What becomes of each is told in the
    /// order in which they were named: `true` if it was switched off now, `false` if it was before.
    ///
    /// # Errors
    /// Why none was. A key that cannot be switched off keeps none of the others on.
    pub fn disable_keys(
        &self,
        actor: &Actor,
        ids: &[String],
        reason: Option<&str>,
    ) -> Result<Vec<Result<bool, Refused>>, Refused> {
        check_reason(reason)?;
        self.change(actor, Role::Developer, |writer| {
            let mut outcomes = Vec::with_capacity(ids.len());
            for id in ids {
                outcomes.push(match changeable(writer, id) {
                    Ok(before) if before.key.disabled.is_some() => Ok(false),
                    Ok(before) => {
                        self.switch_off(writer, actor, &before, reason.map(str::to_owned))?;
                        Ok(true)
                    }
                    // The store itself: then nothing is done.
                    Err(Refused::Store(error)) => return Err(error.into()),
                    Err(refused) => Err(refused),
                });
            }
            Ok(outcomes)
        })
    }

    pub(super) fn switch_off(
        &self,
        writer: &Writer<'_>,
        actor: &Actor,
        before: &KeyDetail,
        reason: Option<String>,
    ) -> Result<(), Refused> {
        let mut key = before.key.clone();
        key.disabled = Some(Disabled { at: writer.now(), reason: reason.clone() });
        writer.change_key(&key)?;
        let after = KeyDetail { key, ..before.clone() };
        self.record_key(writer, actor, "key.disabled", Some(before), &after, reason)
    }

    /// Switches a key on again.
    ///
    /// # Errors
    /// Why not.
    pub fn enable_key(&self, actor: &Actor, id: &str) -> Result<KeyDetail, Refused> {
        self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            if before.key.disabled.is_none() {
                return Ok(());
            }
            let mut key = before.key.clone();
            key.disabled = None;
            writer.change_key(&key)?;
            let after = KeyDetail { key, ..before.clone() };
            self.record_key(writer, actor, "key.enabled", Some(&before), &after, None)
        })?;
        self.key(id)
    }

    /// Takes a key out of force for good. A machine owner goes with its last key.
    ///
    /// # Errors
    /// Why not.
    pub fn revoke_key(
        &self,
        actor: &Actor,
        id: &str,
        reason: Option<String>,
        unmet: Unmet,
    ) -> Result<Revoked, Refused> {
        check_reason(reason.as_deref())?;
        self.change(actor, Role::Developer, |writer| {
            let before = changeable(writer, id)?;
            unmet.check(before.key.version)?;
            let client_went = self.revoke(writer, actor, &before, reason)?;
            Ok(Revoked { warnings: warn_of_use(&before, writer.now()), detail: before, client_went })
        })
    }

    /// Revokes a key within a change; says whether its client went with it.
    pub(super) fn revoke(
        &self,
        writer: &Writer<'_>,
        actor: &Actor,
        before: &KeyDetail,
        reason: Option<String>,
    ) -> Result<bool, Refused> {
        writer.revoke_key(before)?;
        writer.index_key(before.key.number)?;
        let mut after = before.clone();
        after.key.revoked_at = Some(writer.now());
        self.record_key(writer, actor, "key.revoked", Some(before), &after, reason)?;
        let client = &before.client;
        let is_machines = client.client.owner.as_ref().is_some_and(|owner| owner.kind == OwnerKind::Machine);
        if is_machines && client.origin == KeyOrigin::Store && writer.keys_of_client(client.number)? == 0 {
            let note = Some(format!("its last key, {}, was revoked", before.key.id));
            self.remove_client(writer, actor, client, note)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether a tenant has room for so many more keys.
    pub(super) fn check_room(&self, client: &ClientRow, more: i64, reader: &Reader<'_>) -> Result<(), Refused> {
        let Some(most) = self.issuing().policy.max_keys else { return Ok(()) };
        let tenant = client.client.tenant.as_ref();
        let held = reader.keys_of_tenant(tenant.map(Tenant::as_str))?;
        if held.saturating_add(more) > i64::try_from(most).unwrap_or(i64::MAX) {
            let whose = tenant.map_or_else(
                || "clients without a tenant have".to_owned(),
                |tenant| format!("the tenant `{tenant}` has"),
            );
            let detail = format!("{whose} {held} keys of {most}: revoke one that is not used any more");
            return Err(Refused::conflict("max_keys_reached", detail));
        }
        Ok(())
    }

    /// Refuses a key that somebody has, in whatever form its digest is kept.
    pub(super) fn check_secret_is_free(&self, secret: &Secret<'_>, reader: &Reader<'_>) -> Result<(), Refused> {
        for digest in self.inner.table.digests_of(secret) {
            if let Some(other) = reader.key_by_digest(&digest)? {
                return Err(secret_taken(&other));
            }
            // Keys of files may not be listed in the store yet.
            if let Some(other) = self.inner.table.find(&digest) {
                let (id, client) = (&other.key.id, &other.key.client.id);
                let detail =
                    format!("the key `{id}` of client `{client}` is the same: each key must be a different one");
                return Err(Refused::conflict("secret_taken", detail));
            }
        }
        Ok(())
    }

    /// Writes down what was done to a key, and what is to be told of it.
    pub(super) fn record_key(
        &self,
        writer: &Writer<'_>,
        actor: &Actor,
        action: &'static str,
        before: Option<&KeyDetail>,
        after: &KeyDetail,
        note: Option<String>,
    ) -> Result<(), Refused> {
        let is = view::key(after);
        let (was, changed) = match before {
            None => (None, Some(is.clone())),
            Some(before) => view::difference(&view::key(before), &is),
        };
        writer.add_audit(&AuditEntry {
            kind: "key",
            target: after.key.id.to_string(),
            name: Some(after.key.name.clone()),
            before: was,
            after: changed,
            note,
            ..actor.entry(action)
        })?;
        self.tell(writer, action, serde_json::json!({ "key": is, "actor": actor.name }))
    }

    /// Puts something into the outbox of the webhook, if there is one.
    pub(super) fn tell(
        &self,
        writer: &Writer<'_>,
        event: &'static str,
        body: serde_json::Value,
    ) -> Result<(), Refused> {
        if self.issuing().has_webhook {
            writer.add_delivery(&new_id("evt_", writer.now())?, &NewDelivery { event, body })?;
        }
        Ok(())
    }
}

impl Actor {
    /// The beginning of an audit record.
    pub(super) fn entry(&self, action: &'static str) -> AuditEntry {
        AuditEntry {
            actor: self.name.clone(),
            role: self.role.as_str(),
            via: self.via.as_str(),
            address: self.address.clone(),
            action,
            ..AuditEntry::default()
        }
    }
}

/// A key that may be changed here: it is there, not revoked, and not of a file.
pub(super) fn changeable(reader: &Reader<'_>, id: &str) -> Result<KeyDetail, Refused> {
    let detail = reader.key(id)?.filter(|detail| detail.key.revoked_at.is_none()).ok_or_else(|| Refused::no_key(id))?;
    if detail.key.origin == KeyOrigin::File {
        return Err(Refused::key_of_file(id));
    }
    Ok(detail)
}

pub(super) fn check_name_is_free(
    name: &str,
    tenant: Option<&Tenant>,
    own: Option<&KeyId>,
    reader: &Reader<'_>,
) -> Result<(), Refused> {
    match reader.key_by_name(name, tenant.map(Tenant::as_str))? {
        Some(other) if own != Some(&other.key.id) => {
            let of = tenant.map_or_else(String::new, |tenant| format!(" of the tenant `{tenant}`"));
            let detail = format!("the key `{}`{of} has this name: say in the name what each is for", other.key.id);
            Err(Refused::conflict("name_taken", detail))
        }
        _ => Ok(()),
    }
}

pub(super) fn secret_taken(other: &KeyDetail) -> Refused {
    let (id, client) = (&other.key.id, &other.client.client.id);
    let was = if other.key.revoked_at.is_some() { "was revoked, and " } else { "" };
    let detail = format!("the key `{id}` of client `{client}` {was}is the same: each key must be a different one");
    Refused::conflict("secret_taken", detail)
}

pub(super) fn check_reason(reason: Option<&str>) -> Result<(), Refused> {
    let mut faults = Vec::new();
    if reason.is_some_and(|reason| reason.chars().count() > 200 || reason.chars().any(char::is_control)) {
        faults.push(Fault::new(
            "/reason",
            "reason_invalid",
            "it is longer than 200 characters, or holds one that cannot be printed",
        ));
    }
    if faults.is_empty() { Ok(()) } else { Err(Refused::Invalid(faults)) }
}

/// A key that somebody still uses.
pub(super) fn warn_of_use(detail: &KeyDetail, now: Timestamp) -> Vec<Warning> {
    let recently = super::issuing::earlier(now, RECENTLY);
    let used = detail.key.last_used_at.filter(|used| *used > recently);
    used.map(|used| Warning { code: "recently_used", detail: format!("the key was last used at {used}") })
        .into_iter()
        .collect()
}
