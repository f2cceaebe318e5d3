//! Keys files with one key a line, for very many keys.
//!
//! Each line is a JSON object that names a key and repeats what is needed of its client. The file is read as a stream: one
//! line is in memory at a time, texts are borrowed from it, and clients, environments and permissions that come again are
//! shared. All lines of one client must say the same about it.
//!
//! No line is ever shown in a report.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::Compiler;
use super::clients::{KeySet, explain_digest};
use crate::client::{
    Client, ClientId, ClientType, Environment, Grants, Group, InvalidPermission, KeyType, Permission, Plan, Tenant,
    parse_origin,
};
use crate::config::problem::mask;
use crate::config::read::{FromText as _, Moment, Network};
use crate::config::tree::Position;
use crate::credential::KeyDigest;
use crate::keys::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTerms, SecretRecord, SharedTerms, Timestamp};

/// The longest line. A key with a hundred permissions has a tenth of it.
const MAX_LINE_BYTES: usize = 64 << 10;
/// After so many bad lines the file is not what it was meant to be.
const MAX_BAD_LINES: usize = 50;

/// A text that is borrowed from its line unless it has escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'l>(#[serde(borrow)] Cow<'l, str>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    #[serde(borrow)]
    client: Text<'l>,
    client_type: Text<'l>,
    id: Text<'l>,
    #[serde(default, deserialize_with = "present")]
    digest: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    name: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    description: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    client_name: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    tenant: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    groups: Option<Vec<Text<'l>>>,
    #[serde(default, deserialize_with = "present")]
    permissions: Option<LineGrants<'l>>,
    #[serde(default, deserialize_with = "present")]
    client_permissions: Option<LineGrants<'l>>,
    #[serde(default, deserialize_with = "present")]
    environment: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    plan: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    client_plan: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    r#type: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    active: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    client_active: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    expires_at: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    not_before: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    networks: Option<Vec<Text<'l>>>,
    #[serde(default, deserialize_with = "present")]
    origins: Option<Vec<Text<'l>>>,
    #[serde(default, deserialize_with = "present")]
    valid_until: Option<Text<'l>>,
    #[serde(default, deserialize_with = "present")]
    secrets: Option<Vec<LineSecret<'l>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineSecret<'l> {
    #[serde(borrow)]
    digest: Text<'l>,
    #[serde(default, deserialize_with = "present")]
    valid_until: Option<Text<'l>>,
}

/// A field that is there has a value: a `null` in place of permissions must not mean "all".
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

enum LineGrants<'l> {
    All,
    ReadOnly,
    Listed(Vec<Text<'l>>),
}

impl<'de: 'l, 'l> Deserialize<'de> for LineGrants<'l> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look<'l>(std::marker::PhantomData<LineGrants<'l>>);
        impl<'de: 'l, 'l> Visitor<'de> for Look<'l> {
            type Value = LineGrants<'l>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, `read_only` or a list of permissions")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Self::Value, E> {
                match word {
                    "all" => Ok(LineGrants::All),
                    "read_only" => Ok(LineGrants::ReadOnly),
                    _ => Err(E::custom("expected `all`, `read_only` or a list of permissions")),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(permission) = access.next_element()? {
                    list.push(permission);
                }
                Ok(LineGrants::Listed(list))
            }
        }
        deserializer.deserialize_any(Look(std::marker::PhantomData))
    }
}

/// What comes again and again, shared.
#[derive(Default)]
struct Shared {
    terms: SharedTerms,
    permissions: HashMap<Box<str>, Permission>,
    environments: HashMap<Box<str>, Environment>,
    plans: HashMap<Box<str>, Plan>,
}

impl Shared {
    fn grants(&mut self, written: Option<&LineGrants<'_>>) -> Result<Grants, InvalidPermission> {
        let list = match written {
            None | Some(LineGrants::All) => return Ok(Grants::Unrestricted),
            Some(LineGrants::ReadOnly) => return Ok(Grants::ReadOnly),
            Some(LineGrants::Listed(list)) => list,
        };
        let mut permissions = Vec::with_capacity(list.len());
        for text in list {
            let permission = match self.permissions.get(&*text.0) {
                Some(known) => known.clone(),
                None => {
                    let permission = Permission::parse(&text.0)?;
                    self.permissions.insert((&*text.0).into(), permission.clone());
                    permission
                }
            };
            permissions.push(permission);
        }
        Ok(Grants::listed(permissions))
    }

    fn plan(&mut self, text: &str) -> Result<Plan, String> {
        if let Some(known) = self.plans.get(text) {
            return Ok(known.clone());
        }
        let plan = Plan::parse(text).map_err(|why| why.to_string())?;
        self.plans.insert(text.into(), plan.clone());
        Ok(plan)
    }

    fn environment(&mut self, text: &str) -> Result<Environment, String> {
        if let Some(known) = self.environments.get(text) {
            return Ok(known.clone());
        }
        let environment = Environment::parse(text).map_err(|why| why.to_string())?;
        self.environments.insert(text.into(), environment.clone());
        Ok(environment)
    }
}

/// Reads a file of lines, source number `source`, into the set; its bytes go into the digest of the load.
pub(crate) fn read_lines(file: impl Read, source: u16, keys: &mut KeySet, compiler: &mut Compiler<'_>) {
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    let mut shared = Shared::default();
    let mut bad_lines = 0;
    let mut length = 0_u64;
    for number in 1_u32.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
        let mut at = Position { source, line: number, column: 0 };
        match read {
            Ok(0) => break,
            Ok(_) if line.len() > MAX_LINE_BYTES => {
                compiler.report.error(at, format!("the line is longer than {MAX_LINE_BYTES} bytes"));
                break;
            }
            Ok(_) => {}
            Err(error) => {
                compiler.report.error(at, format!("the file cannot be read on: {error}"));
                break;
            }
        }
        compiler.files.note_bytes(&line);
        length += line.len() as u64;
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let outcome = match serde_json::from_slice::<Line<'_>>(text) {
            Ok(line) => record(&line, at, keys, &mut shared, compiler),
            Err(error) => {
                at.column = u32::try_from(error.column()).unwrap_or(0);
                let message = error.to_string();
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
                Err((format!("the line is not a key: {}", mask(message)), None))
            }
        };
        match outcome {
            Ok(record) => keys.put(record, at, compiler),
            Err((message, hint)) => {
                compiler.report.error(at, message).maybe_hint(hint);
                bad_lines += 1;
                if bad_lines >= MAX_BAD_LINES {
                    compiler.report.error(at, "too many lines are bad; the rest of the file is not read");
                    break;
                }
            }
        }
    }
    // Where this file ends and the next begins is part of the digest.
    compiler.files.note_bytes(&length.to_le_bytes());
}

/// What is wrong with a line, and how to mend it.
type Bad = (String, Option<String>);

fn record(
    line: &Line<'_>,
    at: Position,
    keys: &mut KeySet,
    shared: &mut Shared,
    compiler: &mut Compiler<'_>,
) -> Result<KeyRecord, Bad> {
    let plain = |field: &str, why: String| (format!("`{field}`: {why}"), None);
    let client_grants =
        shared.grants(line.client_permissions.as_ref()).map_err(|why| plain("client_permissions", why.to_string()))?;
    let client = match keys.client(&line.client.0) {
        Some((client, first)) => {
            if let Some(field) = disagreement(line, client, &client_grants) {
                let first = compiler.report.name(first);
                let message = format!("`{field}` is not what the first line of client `{}` says ({first})", client.id);
                return Err((message, Some("all lines of one client must agree on it".to_owned())));
            }
            Arc::clone(client)
        }
        None => keys.put_client(new_client(line, client_grants)?, at),
    };
    let id = KeyId::parse(&line.id.0).map_err(|why| plain("id", why.to_string()))?;
    let moment = |field: &str, text: &Option<Text<'_>>| -> Result<Option<Timestamp>, Bad> {
        text.as_ref()
            .map(|text| Moment::from_text(&text.0).map(|moment| moment.0))
            .transpose()
            .map_err(|why| plain(field, why))
    };
    let expires_at = moment("expires_at", &line.expires_at)?;
    let not_before = moment("not_before", &line.not_before)?;
    let networks = line.networks.iter().flatten().map(|text| Network::from_text(&text.0).map(|network| network.0));
    let networks: Vec<_> = networks.collect::<Result<_, _>>().map_err(|why| plain("networks", why))?;
    let origins = line.origins.iter().flatten().map(|text| parse_origin(&text.0));
    let origins: Vec<_> = origins.collect::<Result<_, _>>().map_err(|why| plain("origins", why.to_owned()))?;
    let key_type = match line.r#type.as_ref().map(|text| &*text.0) {
        None | Some("secret") => KeyType::Secret,
        Some("publishable") => KeyType::Publishable,
        Some(_) => return Err(plain("type", "write `secret` or `publishable`".to_owned())),
    };
    let environment = line
        .environment
        .as_ref()
        .map(|text| shared.environment(&text.0))
        .transpose()
        .map_err(|why| plain("environment", why))?;
    let plan = line.plan.as_ref().map(|text| shared.plan(&text.0)).transpose().map_err(|why| plain("plan", why))?;
    keys.note_plan(plan.as_ref(), at);
    keys.note_plan(client.plan.as_ref(), at);
    let secrets = secrets(line, moment("valid_until", &line.valid_until)?)?;
    let active = line.active.unwrap_or(true);
    if secrets.is_empty() && active {
        return Err((format!("the key `{id}` has no digest"), Some("write `digest`".to_owned())));
    }
    let terms = KeyTerms {
        client,
        key_type,
        environment,
        active,
        grants: shared.grants(line.permissions.as_ref()).map_err(|why| plain("permissions", why.to_string()))?,
        networks: networks.into(),
        origins: origins.into(),
        plan,
        origin: KeyOrigin::File,
    };
    let name = line.name.as_ref().map_or(id.as_str(), |text| &*text.0).into();
    let description = line.description.as_ref().map(|text| (&*text.0).into());
    let key = ApiKey { id, not_before, expires_at, terms: shared.terms.share(terms) };
    Ok(KeyRecord { key, name, description, secrets })
}

fn secrets(line: &Line<'_>, valid_until: Option<Timestamp>) -> Result<Vec<SecretRecord>, Bad> {
    let digest_of = |text: &Text<'_>| {
        KeyDigest::parse(&text.0).map_err(|why| {
            let (message, hint) = explain_digest(why);
            (message, Some(hint.to_owned()))
        })
    };
    match (&line.digest, &line.secrets) {
        (Some(digest), None) => Ok(vec![SecretRecord { valid_until, ..SecretRecord::new(digest_of(digest)?) }]),
        (None, Some(list)) if valid_until.is_none() => list
            .iter()
            .map(|secret| {
                let valid_until = secret.valid_until.as_ref().map(|text| Moment::from_text(&text.0)).transpose();
                let valid_until = valid_until.map_err(|why| (format!("`valid_until`: {why}"), None))?;
                let valid_until = valid_until.map(|moment| moment.0);
                Ok(SecretRecord { valid_until, ..SecretRecord::new(digest_of(&secret.digest)?) })
            })
            .collect(),
        (None, None) => Ok(Vec::new()),
        _ => Err(("`secrets` stands in place of `digest` and `valid_until`, not beside them".to_owned(), None)),
    }
}

fn new_client(line: &Line<'_>, grants: Grants) -> Result<Client, Bad> {
    fn word<T>(field: &str, parsed: Result<T, crate::client::InvalidWord>) -> Result<T, Bad> {
        parsed.map_err(|why| (format!("`{field}`: {why}"), None))
    }
    let id = word("client", ClientId::parse(&line.client.0))?;
    Ok(Client {
        name: line.client_name.as_ref().map_or(id.as_str(), |text| &*text.0).into(),
        id,
        client_type: word("client_type", ClientType::parse(&line.client_type.0))?,
        tenant: line.tenant.as_ref().map(|text| word("tenant", Tenant::parse(&text.0))).transpose()?,
        owner: None,
        active: line.client_active.unwrap_or(true),
        groups: line
            .groups
            .iter()
            .flatten()
            .map(|text| word("groups", Group::parse(&text.0)))
            .collect::<Result<_, _>>()?,
        grants,
        plan: line.client_plan.as_ref().map(|text| word("client_plan", Plan::parse(&text.0))).transpose()?,
        metadata: Default::default(),
    })
}

/// The first field on which a line disagrees with what is known of its client.
fn disagreement(line: &Line<'_>, client: &Client, grants: &Grants) -> Option<&'static str> {
    let name = line.client_name.as_ref().map_or(client.id.as_str(), |text| &*text.0);
    let groups = line.groups.iter().flatten().map(|text| &*text.0);
    let differs = [
        ("client_type", *line.client_type.0 != *client.client_type.as_str()),
        ("tenant", line.tenant.as_ref().map(|text| &*text.0) != client.tenant.as_ref().map(Tenant::as_str)),
        ("client_name", *name != *client.name),
        ("client_active", line.client_active.unwrap_or(true) != client.active),
        ("client_permissions", *grants != client.grants),
        ("client_plan", line.client_plan.as_ref().map(|text| &*text.0) != client.plan.as_ref().map(Plan::as_str)),
        ("groups", !groups.eq(client.groups.iter().map(Group::as_str))),
    ];
    differs.into_iter().find(|(_, differs)| *differs).map(|(field, _)| field)
}
