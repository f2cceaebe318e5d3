//! Bringing keys in: many at once, from other systems, with plain keys or with their digests.
//!
//! A batch of lines is written in one transaction, or in a few if somebody else waits for the store; a line that cannot be
//! taken is reported and left out, the others come in. A dry run does the same and keeps nothing.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use ipnet::IpNet;
use serde_json::json;

use super::clients::{ClientChoice, check_client, put_client};
use super::issuing::{Issuing, check_description, check_name, check_secret, new_key_id};
use super::keys::secret_taken;
use super::{Actor, Fault, Management, Refused, Role};
use crate::client::{Environment, Grants, KeyType, Plan, Tenant};
use crate::credential::{KeyDigest, KeyText, Secret};
use crate::keys::{KeyId, KeyOrigin, Timestamp};
use crate::store::{
    AuditEntry, Change, ClientRow, Disabled, NewKey, NewSecret, SecretState, StoreError, Unique, Writer,
};

/// After so many lines it is asked whether somebody waits.
const STEP: usize = 500;
/// So many keys are found by their words at once; the words of more are indexed afterwards.
const INDEXED_AT_ONCE: usize = 200;

/// One key to be brought in.
#[derive(Debug)]
pub struct ImportLine {
    /// Where it stands.
    pub line: usize,
    /// Its id, if it has one; a new one otherwise.
    pub id: Option<KeyId>,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Whose it is.
    pub client: ClientChoice,
    /// Secret or publishable.
    pub key_type: KeyType,
    /// Where it is good.
    pub environment: Option<Environment>,
    /// It is switched off.
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
    /// The plan whose limits hold for it.
    pub plan: Option<Plan>,
    /// The key itself, or its digest.
    pub secret: ImportSecret,
}

/// How a key is known to whoever brings it in.
#[derive(Debug)]
pub enum ImportSecret {
    /// As it is.
    Plain(Secret<'static>),
    /// By its digest, with what may be shown of it.
    Digest(KeyDigest, Option<String>),
}

/// A line that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLine {
    /// Where it stands.
    pub line: usize,
    /// Why.
    pub faults: Vec<Fault>,
}

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Keys that came in.
    pub imported: usize,
    /// Clients that were made for them.
    pub clients_created: usize,
    /// Lines that were left out.
    pub refused: Vec<RefusedLine>,
}

impl Management {
    /// Brings keys in. `source` is what the audit log calls where they came from.
    ///
    /// # Errors
    /// The store cannot be written; what came in before that stays, and the report of it is lost.
    pub fn import(
        &self,
        actor: &Actor,
        lines: Vec<Result<ImportLine, RefusedLine>>,
        source: &str,
        is_dry_run: bool,
    ) -> Result<ImportReport, Refused> {
        actor.require(Role::Developer)?;
        if !self.can_write() {
            return Err(Refused::NoStore);
        }
        let issuing = self.issuing();
        let is_small = lines.len() <= INDEXED_AT_ONCE;
        if !is_small {
            self.inner.store.make_room()?;
        }
        let mut report = ImportReport::default();
        let mut lines = lines.into_iter().peekable();
        while lines.peek().is_some() {
            self.inner.imported_at.store(super::now().as_millis(), Ordering::Relaxed);
            let step = |writer: &Writer<'_>| -> Result<ImportReport, Refused> {
                let mut batch = Batch::new(self, writer, actor, &issuing);
                for (count, line) in lines.by_ref().enumerate() {
                    match line {
                        Ok(line) => batch.take(line)?,
                        Err(refused) => batch.report.refused.push(refused),
                    }
                    if count % STEP == STEP - 1 && writer.is_waited_for() && !is_dry_run {
                        break;
                    }
                }
                batch.finish(source, is_small)
            };
            let part = if is_dry_run {
                self.inner.store.try_out(super::now(), step)?
            } else {
                let part = self.inner.store.write(super::now(), step)?;
                self.enforce()?;
                part
            };
            self.inner.imported_at.store(super::now().as_millis(), Ordering::Relaxed);
            report.imported += part.imported;
            report.clients_created += part.clients_created;
            report.refused.extend(part.refused);
        }
        Ok(report)
    }
}

/// Lines that are written together.
struct Batch<'b> {
    management: &'b Management,
    writer: &'b Writer<'b>,
    actor: &'b Actor,
    issuing: &'b Issuing,
    clients: HashMap<String, ClientRow>,
    /// Keys of a tenant, where they are bounded.
    held: HashMap<Option<String>, i64>,
    numbers: Option<(i64, i64)>,
    report: ImportReport,
}

impl<'b> Batch<'b> {
    fn new(management: &'b Management, writer: &'b Writer<'b>, actor: &'b Actor, issuing: &'b Issuing) -> Self {
        Self {
            management,
            writer,
            actor,
            issuing,
            clients: HashMap::new(),
            held: HashMap::new(),
            numbers: None,
            report: ImportReport::default(),
        }
    }

    /// Takes a line in, or reports why not.
    fn take(&mut self, line: ImportLine) -> Result<(), Refused> {
        let number = line.line;
        let mut faults = Vec::new();
        match self.put(line, &mut faults) {
            Ok(()) if faults.is_empty() => {
                self.report.imported += 1;
                return Ok(());
            }
            Ok(()) => {}
            Err(Refused::Conflict { code, detail }) => faults.push(Fault::new("", code, detail)),
            Err(error) => return Err(error),
        }
        self.report.refused.push(RefusedLine { line: number, faults });
        Ok(())
    }

    fn put(&mut self, line: ImportLine, faults: &mut Vec<Fault>) -> Result<(), Refused> {
        let writer = self.writer;
        check_name(&line.name, "/name", faults);
        check_description(line.description.as_deref(), faults);
        let expires_at = self.issuing.expiry(line.expires_at, line.not_before, writer.now(), faults);
        self.issuing.check_grants(&line.grants, faults);
        self.issuing.check_plan(line.plan.as_ref(), "/plan", faults);
        if line.key_type == KeyType::Secret && !line.origins.is_empty() {
            faults.push(Fault::new("/origins", "origins_of_secret_key", "only publishable keys have origins"));
        }
        if let ImportSecret::Plain(secret) = &line.secret {
            check_secret(secret, faults);
        }
        if !faults.is_empty() {
            return Ok(());
        }
        let Some(client) = self.client(&line.client, faults)? else { return Ok(()) };
        let tenant = client.client.tenant.as_ref().map(Tenant::to_string);
        self.check_room(tenant.as_deref())?;

        let (digest, mask, visible) = match &line.secret {
            ImportSecret::Digest(digest, mask) => (*digest, mask.clone().unwrap_or_else(|| "…".to_owned()), None),
            ImportSecret::Plain(secret) => {
                // The same key may be there by a digest of another scheme.
                for digest in self.management.inner.table.digests_of(secret) {
                    if let Some(other) = writer.key_by_digest(&digest)? {
                        return Err(secret_taken(&other));
                    }
                }
                let text = String::from_utf8_lossy(secret.expose());
                let is_visible = self.issuing.policy.keep_publishable_visible && line.key_type == KeyType::Publishable;
                let digest = self.management.inner.table.new_digest_of(secret);
                (digest, KeyText::mask(&text), is_visible.then(|| text.to_string()))
            }
        };
        if let Some(other) = self.management.inner.table.find(&digest)
            && other.key.origin == KeyOrigin::File
        {
            let detail = format!("the key `{}` of the configuration's files is the same", other.key.id);
            return Err(Refused::conflict("secret_taken", detail));
        }
        let id = match line.id {
            Some(id) => id,
            None => new_key_id(writer.now())?,
        };
        let new = NewKey {
            id,
            client: client.number,
            tenant,
            origin: KeyOrigin::Store,
            name: line.name,
            description: line.description,
            key_type: line.key_type,
            environment: line.environment.or_else(|| self.issuing.environment.clone()),
            disabled: line.is_disabled.then(|| Disabled { at: writer.now(), reason: None }),
            not_before: line.not_before,
            expires_at,
            grants: line.grants,
            networks: line.networks,
            origins: line.origins,
            plan: line.plan,
            created_by: self.actor.name.clone(),
            visible,
        };
        let secret = NewSecret { digest, mask, state: SecretState::Current, valid_until: None };
        match writer.add_key(&new, std::slice::from_ref(&secret)) {
            Ok(number) => {
                let first = self.numbers.map_or(number, |(first, _)| first);
                self.numbers = Some((first, number));
                *self.held.entry(new.tenant).or_default() += 1;
                Ok(())
            }
            Err(StoreError::NotUnique(unique)) => {
                let conflict = self.conflict(unique, &new, &secret.digest)?;
                if unique == Unique::Digest {
                    writer.withdraw_key(new.id.as_str())?;
                }
                Err(conflict)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Says whose a thing is that must be there only once.
    fn conflict(&self, unique: Unique, new: &NewKey, digest: &KeyDigest) -> Result<Refused, Refused> {
        let writer = self.writer;
        Ok(match unique {
            Unique::Digest => match writer.key_by_digest(digest)? {
                Some(other) => secret_taken(&other),
                None => Refused::conflict("secret_taken", "another key is the same"),
            },
            Unique::KeyName => {
                let other = writer.key_by_name(&new.name, new.tenant.as_deref())?;
                let other = other.map_or_else(String::new, |other| format!(" `{}`", other.key.id));
                Refused::conflict("name_taken", format!("the key{other} of the same tenant has this name"))
            }
            _ => Refused::conflict("id_taken", format!("there is, or was, another key `{}`", new.id)),
        })
    }

    fn client(&mut self, choice: &ClientChoice, faults: &mut Vec<Fault>) -> Result<Option<ClientRow>, Refused> {
        let id = choice.id();
        let there = match self.clients.get(id.as_str()) {
            Some(known) => Some(known.clone()),
            None => self.writer.client(id.as_str())?,
        };
        let row = match (choice, there) {
            (ClientChoice::Existing(id), None) => {
                faults.push(Fault::new("/client", "client_unknown", format!("there is no client `{id}`")));
                return Ok(None);
            }
            (ClientChoice::Ensured(wanted), Some(there)) if there.client.client_type != wanted.client_type => {
                let detail = format!("the client `{id}` is of the type `{}`", there.client.client_type);
                faults.push(Fault::new("/client_type", "client_differs", detail));
                return Ok(None);
            }
            (_, Some(there)) => there,
            (ClientChoice::Ensured(wanted), None) => {
                check_client(wanted, "/client", faults);
                if !faults.is_empty() {
                    return Ok(None);
                }
                self.report.clients_created += 1;
                put_client(self.writer, wanted)?
            }
        };
        self.clients.insert(id.to_string(), row.clone());
        Ok(Some(row))
    }

    fn check_room(&mut self, tenant: Option<&str>) -> Result<(), Refused> {
        let Some(most) = self.issuing.policy.max_keys else { return Ok(()) };
        let known = tenant.map(str::to_owned);
        let held = match self.held.get(&known) {
            Some(held) => *held,
            None => {
                let held = self.writer.keys_of_tenant(tenant)?;
                self.held.insert(known, held);
                held
            }
        };
        if held >= i64::try_from(most).unwrap_or(i64::MAX) {
            return Err(Refused::conflict("max_keys_reached", format!("the tenant has {held} keys of {most}")));
        }
        Ok(())
    }

    /// Writes down what was done, once for all lines.
    fn finish(self, source: &str, is_small: bool) -> Result<ImportReport, Refused> {
        let Some((first, last)) = self.numbers else { return Ok(self.report) };
        self.writer.note(Change::Keys { first, last })?;
        if is_small {
            for number in first..=last {
                self.writer.index_key(number)?;
            }
        }
        let summary = json!({
            "imported": self.report.imported,
            "refused": self.report.refused.len(),
            "clients_created": self.report.clients_created,
        });
        self.writer.add_audit(&AuditEntry {
            kind: "import",
            target: source.to_owned(),
            after: Some(summary.clone()),
            ..self.actor.entry("import.done")
        })?;
        self.management.tell(
            self.writer,
            "import.done",
            json!({ "import": summary, "source": source, "actor": self.actor.name }),
        )?;
        Ok(self.report)
    }
}
