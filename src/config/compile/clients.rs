//! Clients and keys, from YAML and from lines.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Compiler;
use super::lines::LinesFile;
use super::unique::Given;
use crate::client::{Client, Grants, KeyType, Owner, OwnerKind, Permission, Plan};
use crate::config::demo;
use crate::config::document::{ClientShape, GrantsShape, KeyShape, OwnerShape};
use crate::config::keys::{LoadedKeys, Part, placed};
use crate::config::problem::Report;
use crate::config::read::At;
use crate::config::settings::ListenerSettings;
use crate::config::tree::Position;
use crate::credential::{DigestScheme, InvalidDigest, KeyDigest};
use crate::keys::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTable, KeyTerms, SecretRecord, StateCounts};

/// All clients and keys of a load.
#[derive(Default)]
pub(crate) struct KeySet {
    parts: Vec<Part>,
    count: usize,
    /// Where the first key was written.
    first: Option<Position>,
    /// All keys as they will be looked up.
    table: KeyTable,
    given: Given,
    counts: StateCounts,
    /// The first key with a digest that needs the pepper.
    keyed: Option<(Position, KeyId)>,
    /// Keys that everybody knows.
    published: Vec<(Position, KeyId)>,
    clients: HashMap<Box<str>, (Arc<Client>, Position)>,
    /// The plans that are carried, and where each was met first.
    plans: HashMap<Plan, Position>,
    /// Expired keys that were warned of, so that a million of them makes one report readable.
    expired: usize,
}

/// What clients have, for comparison with what rules ask for.
pub(crate) struct Held<'k> {
    pub client_types: HashSet<&'k str>,
    pub permissions: BTreeSet<&'k str>,
    granted: HashSet<&'k Permission>,
    some_unrestricted: bool,
    some_read_only: bool,
}

impl Held<'_> {
    /// Whether anybody could satisfy a rule that asks for this.
    pub fn cover(&self, required: &Permission) -> bool {
        self.some_unrestricted
            || (self.some_read_only && Grants::ReadOnly.cover(required))
            || self.granted.iter().any(|held| held.covers(required))
    }
}

/// How many expired keys are named one by one.
const EXPIRED_SHOWN: usize = 20;

impl KeySet {
    /// Whether no client and no key was given.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.count == 0
    }

    /// The plans that are carried, and where each was met first.
    pub fn plans(&self) -> &HashMap<Plan, Position> {
        &self.plans
    }

    /// Notes a plan that a key or a client carries.
    pub fn note_plan(&mut self, plan: Option<&Plan>, at: Position) {
        if let Some(plan) = plan
            && !self.plans.contains_key(plan)
        {
            self.plans.insert(plan.clone(), at);
        }
    }

    /// A client that was added before.
    pub fn client(&self, id: &str) -> Option<(&Arc<Client>, Position)> {
        self.clients.get(id).map(|(client, at)| (client, *at))
    }

    /// Adds a client that keys will refer to.
    pub fn put_client(&mut self, client: Client, at: Position) -> Arc<Client> {
        let client = Arc::new(client);
        self.clients.insert(client.id.as_str().into(), (Arc::clone(&client), at));
        client
    }

    /// Adds a key of a YAML file.
    fn put(&mut self, record: KeyRecord, at: Position, compiler: &mut Compiler<'_>) {
        self.note(&record, at, compiler);
        match self.parts.last_mut() {
            Some(Part::Written(records)) => records.push((at, record)),
            _ => self.parts.push(Part::Written(vec![(at, record)])),
        }
    }

    /// Adds a file of lines whose keys were noted.
    pub fn put_lines(&mut self, file: LinesFile) {
        self.parts.push(Part::Lines(file));
    }

    /// Notes all that is to be known of a key, which itself need not be kept.
    pub fn note(&mut self, record: &KeyRecord, at: Position, compiler: &mut Compiler<'_>) {
        let (now, id) = (compiler.now, &record.key.id);
        self.count += 1;
        self.first.get_or_insert(at);
        self.counts.note(&record.key, now);
        self.given.note(record, self.table.add(record));
        for secret in &record.secrets {
            if self.keyed.is_none() && secret.digest.scheme() == DigestScheme::Blake3Keyed {
                self.keyed = Some((at, id.clone()));
            }
            if demo::published(&secret.digest).is_some() {
                self.published.push((at, id.clone()));
            }
        }
        if let Some(expires_at) = record.key.expires_at.filter(|expires_at| *expires_at <= now) {
            self.expired += 1;
            if self.expired <= EXPIRED_SHOWN {
                compiler
                    .report
                    .warning(at, format!("the key `{id}` expired at {expires_at}"))
                    .hint("remove it, or give it another `expires_at`");
            }
        }
        check_name(&record.name, format_args!("the name of the key `{id}`"), at, compiler.report);
    }

    /// Adds a client of a YAML file with its keys.
    pub fn add_client(&mut self, shape: &ClientShape, compiler: &mut Compiler<'_>) {
        let client = client(shape, compiler);
        if let Some((_, first)) = self.clients.get(client.id.as_str()) {
            let first = compiler.report.name(*first);
            compiler
                .report
                .error(shape.id.at, format!("another client has the id `{}` ({first})", client.id))
                .hint("write all keys of a client below it");
            return;
        }
        let client = self.put_client(client, shape.id.at);
        let keys = shape.keys.iter().flatten().filter_map(|key| key.0.plan.as_ref());
        for plan in shape.plan.iter().chain(keys) {
            self.note_plan(Some(&plan.value), plan.at);
        }
        for key in shape.keys.iter().flatten() {
            if let Some(record) = key_record(&key.0, &client, compiler) {
                self.put(record, key.0.id.at, compiler);
            }
        }
    }

    /// Reports ids, names and digests that stand for more than one key.
    pub fn check_unique(&mut self, report: &mut Report) {
        for (client, at) in self.clients.values() {
            check_name(&client.name, format_args!("the name of the client `{}`", client.id), *at, report);
        }
        if let Some(suspicions) = std::mem::take(&mut self.given).suspicions() {
            let client = |id: &str| self.clients.get(id).map(|(client, _)| Arc::clone(client));
            suspicions.look(placed(&self.parts, &client), report);
        }
        if self.expired > EXPIRED_SHOWN {
            let at = self.first.map_or(Position::default(), |at| Report::whole(at.source));
            report.warning(at, format!("{} more keys have expired", self.expired - EXPIRED_SHOWN));
        }
    }

    /// Keyed digests without a pepper could never match.
    pub fn check_schemes(&self, has_pepper: bool, pepper_file: Option<&At<String>>, report: &mut Report) {
        if let Some((at, id)) = &self.keyed
            && !has_pepper
            && pepper_file.is_none()
        {
            report
                .error(*at, format!("the key `{id}` has a `blake3-keyed` digest, and there is no pepper"))
                .hint("write `keys: { pepper_file: .. }` with the pepper it was made with");
        }
    }

    /// Keys that everybody knows are good on loopback only.
    pub fn check_published(&self, listeners: &[ListenerSettings], report: &mut Report) {
        let Some(open) = listeners.iter().find(|listener| !listener.address.ip().to_canonical().is_loopback()) else {
            return;
        };
        let mut reported = None;
        for (at, id) in &self.published {
            // Once for a key, however many of its secrets are known.
            if reported.replace(at) == Some(at) {
                continue;
            }
            report
                .error(
                    *at,
                    format!(
                        "the key `{id}` is published in the documentation, and other machines can reach `{}`",
                        open.name
                    ),
                )
                .hint("make a key of your own (`keygate hash`), or listen on 127.0.0.1");
        }
    }

    /// What clients have.
    pub fn held(&self) -> Held<'_> {
        let mut held = Held {
            client_types: HashSet::new(),
            permissions: BTreeSet::new(),
            granted: HashSet::new(),
            some_unrestricted: false,
            some_read_only: false,
        };
        for (client, _) in self.clients.values() {
            held.client_types.insert(client.client_type.as_str());
            match &client.grants {
                Grants::Unrestricted => held.some_unrestricted = true,
                Grants::ReadOnly => held.some_read_only = true,
                Grants::Listed(list) => {
                    held.granted.extend(list.iter());
                    held.permissions.extend(list.iter().map(Permission::as_str));
                }
            }
        }
        held
    }

    /// The keys and clients, and the table of the keys.
    pub fn into_parts(self) -> (LoadedKeys, KeyTable) {
        let mut clients: Vec<_> = self.clients.into_values().map(|(client, _)| client).collect();
        clients.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        (LoadedKeys { parts: self.parts, clients, count: self.count, counts: self.counts }, self.table)
    }
}

/// A name is what people are shown: one that is blank, or moves the cursor of their terminal, names nothing. The admin API
/// takes none of these either.
fn check_name(name: &str, what: std::fmt::Arguments<'_>, at: Position, report: &mut Report) {
    if name.trim().is_empty() {
        report.error(at, format!("{what} is blank"));
    } else if name.contains(char::is_control) {
        report.error(at, format!("{what} holds a control character"));
    }
}

fn client(shape: &ClientShape, compiler: &mut Compiler<'_>) -> Client {
    let id = shape.id.value.clone();
    Client {
        name: shape.name.as_deref().unwrap_or(id.as_str()).into(),
        id,
        client_type: shape.client_type.value.clone(),
        tenant: shape.tenant.clone(),
        owner: shape.owner.as_ref().and_then(|owner| owner_of(owner, compiler)),
        active: shape.active.unwrap_or(true),
        groups: shape.groups.iter().flatten().cloned().collect(),
        grants: grants(shape.permissions.as_ref()),
        plan: shape.plan.as_ref().map(|plan| plan.value.clone()),
        metadata: shape
            .metadata
            .iter()
            .flat_map(|map| &map.0)
            .filter_map(|(key, value)| Some((key.value.clone(), value.clone()?)))
            .collect(),
    }
}

fn owner_of(shape: &OwnerShape, compiler: &mut Compiler<'_>) -> Option<Owner> {
    match (&shape.user, &shape.machine) {
        (Some(id), None) => Some(Owner { kind: OwnerKind::User, id: id.value.as_str().into() }),
        (None, Some(id)) => Some(Owner { kind: OwnerKind::Machine, id: id.value.as_str().into() }),
        _ => {
            if !shape.is_broken {
                compiler.report.error(shape.at, "expected exactly one of `user` and `machine`");
            }
            None
        }
    }
}

fn grants(shape: Option<&GrantsShape>) -> Grants {
    match shape {
        None | Some(GrantsShape::All) => Grants::Unrestricted,
        Some(GrantsShape::ReadOnly) => Grants::ReadOnly,
        Some(GrantsShape::Listed(list)) => {
            Grants::listed(list.iter().map(|permission| permission.value.clone()).collect())
        }
    }
}

fn key_record(shape: &KeyShape, client: &Arc<Client>, compiler: &mut Compiler<'_>) -> Option<KeyRecord> {
    let own = grants(shape.permissions.as_ref().map(|permissions| &permissions.value));
    if let Some(GrantsShape::Listed(list)) = shape.permissions.as_ref().map(|permissions| &permissions.value) {
        for permission in list.iter().filter(|permission| !client.grants.cover(&permission.value)) {
            compiler
                .report
                .warning(
                    permission.at,
                    format!(
                        "the client `{}` does not hold `{}`, so this key does not either",
                        client.id, permission.value
                    ),
                )
                .hint("a key can cut the client's permissions down, never add to them");
        }
    }
    if let (Some(from), Some(until)) = (&shape.not_before, &shape.expires_at)
        && from.value.0 >= until.value.0
    {
        compiler.report.error(until.at, "the key expires before it is valid");
    }
    let origins: Vec<_> = shape.origins.iter().flatten().filter_map(|origin| compiler.origin(origin)).collect();
    let secrets = secrets(shape, compiler);
    let terms = KeyTerms {
        client: Arc::clone(client),
        key_type: shape.r#type.map_or(KeyType::Secret, KeyType::from),
        environment: shape.environment.clone(),
        active: shape.active.unwrap_or(true),
        grants: own,
        networks: shape.networks.iter().flatten().map(|network| network.0).collect(),
        origins: origins.into(),
        plan: shape.plan.as_ref().map(|plan| plan.value.clone()),
        origin: KeyOrigin::File,
    };
    let key = ApiKey {
        id: shape.id.value.clone(),
        not_before: shape.not_before.as_ref().map(|at| at.value.0),
        expires_at: shape.expires_at.as_ref().map(|at| at.value.0),
        terms: Arc::new(terms),
    };
    Some(KeyRecord {
        key,
        name: shape.name.value.as_str().into(),
        description: shape.description.as_deref().map(Into::into),
        secrets,
    })
}

fn secrets(shape: &KeyShape, compiler: &mut Compiler<'_>) -> Vec<SecretRecord> {
    match (&shape.digest, &shape.secrets) {
        (Some(digest), None) => digest_at(digest, compiler).map(SecretRecord::new).into_iter().collect(),
        (None, Some(list)) => list
            .value
            .iter()
            .filter_map(|secret| {
                let valid_until = secret.valid_until.map(|moment| moment.0);
                Some(SecretRecord { valid_until, ..SecretRecord::new(digest_at(&secret.digest, compiler)?) })
            })
            .collect(),
        (Some(_), Some(list)) => {
            compiler
                .report
                .error(list.at, "`digest` and `secrets` cannot stand together")
                .hint("put the digest into the list");
            Vec::new()
        }
        (None, None) => {
            if !shape.is_broken && shape.active != Some(false) {
                compiler
                    .report
                    .error(shape.id.at, format!("the key `{}` has no digest", shape.id.value))
                    .hint("run `keygate hash` and write what it prints as `digest`");
            }
            Vec::new()
        }
    }
}

fn digest_at(written: &At<String>, compiler: &mut Compiler<'_>) -> Option<KeyDigest> {
    match KeyDigest::parse(&written.value) {
        Ok(digest) => Some(digest),
        Err(why) => {
            let (message, hint) = explain_digest(why);
            compiler.report.error(written.at, message).hint(hint);
            None
        }
    }
}

/// What to say of a text that is not a digest. The text itself may be a key, and is not repeated.
pub(super) fn explain_digest(why: InvalidDigest) -> (String, &'static str) {
    let hint = match why {
        InvalidDigest::NoScheme => {
            "if this is a key: run `keygate hash`, write what it prints, and replace the key, since it has been in a file"
        }
        InvalidDigest::UnknownScheme | InvalidDigest::NotHex => "run `keygate hash` and write what it prints",
    };
    (format!("this is not a digest: {why}"), hint)
}
