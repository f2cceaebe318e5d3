//! Keys files with one key a line, for very many keys.
//!
//! Each line is a JSON object that names a key and repeats what is needed of its client. The file is read as a stream: one
//! line is in memory at a time, texts are borrowed from it, and clients, environments and permissions that come again are
//! shared. All lines of one client must say the same about it.
//!
//! No record is kept, or a million keys would take 300 MB: what a verdict asks for goes into the table, and whoever needs
//! the records later has the file read again ([`LinesFile::records`]). What comes is what was read the first time, or
//! nothing: a digest of each block is kept, and the block is compared with it before a line of it is looked at.
//!
//! No line is ever shown in a report.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, Read};
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
use crate::keys::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTerms, Rewritten, SecretRecord, Timestamp};

/// The longest line. A key with a hundred permissions has a tenth of it.
const MAX_LINE_BYTES: usize = 64 << 10;
/// So much of a file is read, and compared, at once.
const BLOCK_BYTES: usize = 256 << 10;
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

/// A file of lines that was read, and can be read again.
#[derive(Debug)]
pub(crate) struct LinesFile {
    name: Arc<str>,
    source: u16,
    /// The very file that was read, whatever stands under its name by now.
    file: File,
    /// What was read, block by block.
    blocks: Vec<[u8; 32]>,
    /// How many lines were read.
    lines: u32,
    /// Those that are no keys.
    bad: Vec<u32>,
}

/// Reads a file of lines, source number `source`, into the set; its bytes go into the digest of the load.
pub(crate) fn read_lines(file: File, name: Arc<str>, source: u16, keys: &mut KeySet, compiler: &mut Compiler<'_>) {
    let mut reader = Blocks::new(&file, None);
    let mut line = Vec::new();
    let mut shared = Shared::default();
    let mut bad = Vec::new();
    let mut length = 0_u64;
    let mut lines = 0;
    for number in 1_u32.. {
        let mut at = Position { source, line: number, column: 0 };
        match next_line(&mut reader, &mut line) {
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
        lines = number;
        length += line.len() as u64;
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let outcome = match serde_json::from_slice::<Line<'_>>(text) {
            Ok(line) => client_of(&line, at, keys, &mut shared, compiler)
                .and_then(|client| record(&line, client, &mut shared, &mut |plan| keys.note_plan(plan, at))),
            Err(error) => {
                at.column = u32::try_from(error.column()).unwrap_or(0);
                let message = error.to_string();
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
                Err((format!("the line is not a key: {}", mask(message)), None))
            }
        };
        match outcome {
            Ok(record) => keys.note(&record, at, compiler),
            Err((message, hint)) => {
                compiler.report.error(at, message).maybe_hint(hint);
                bad.push(number);
                if bad.len() >= MAX_BAD_LINES {
                    compiler.report.error(at, "too many lines are bad; the rest of the file is not read");
                    break;
                }
            }
        }
    }
    let blocks = reader.digests;
    blocks.iter().for_each(|digest| compiler.files.note_bytes(digest));
    // Where this file ends and the next begins is part of the digest.
    compiler.files.note_bytes(&length.to_le_bytes());
    keys.put_lines(LinesFile { name, source, file, blocks, lines, bad });
}

/// Reads one line, or more of it than a line may have. Nothing is the end of the file.
fn next_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    reader.take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', line)
}

impl LinesFile {
    /// Takes what the file says into a digest.
    pub fn note(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&(self.blocks.len() as u64).to_le_bytes());
        self.blocks.iter().for_each(|digest| {
            hasher.update(digest);
        });
    }

    /// Its keys and where they stand, read again. Ends with an error if the file is not what it was, and gives nothing that
    /// was not in it then.
    pub fn records<'f>(
        &'f self,
        client: impl Fn(&str) -> Option<Arc<Client>> + 'f,
    ) -> impl Iterator<Item = Again> + 'f {
        let mut reader = Blocks::new(FromStart { file: &self.file, at: 0 }, Some(&self.blocks));
        let mut line = Vec::new();
        let mut shared = Shared::default();
        let mut number = 0;
        std::iter::from_fn(move || {
            while number < self.lines {
                number += 1;
                let is_whole = next_line(&mut reader, &mut line).is_ok_and(|length| length > 0);
                if is_whole && (line.trim_ascii().is_empty() || self.bad.contains(&number)) {
                    continue;
                }
                let record = is_whole.then(|| again(&line, &client, &mut shared)).flatten();
                let at = Position { source: self.source, line: number, column: 0 };
                return Some(record.map(|record| (at, record)).ok_or_else(|| {
                    number = self.lines;
                    Rewritten { file: Arc::clone(&self.name) }
                }));
            }
            None
        })
    }
}

/// See [`LinesFile::records`].
type Again = Result<(Position, KeyRecord), Rewritten>;

/// A line that was good before.
fn again(line: &[u8], client: &impl Fn(&str) -> Option<Arc<Client>>, shared: &mut Shared) -> Option<KeyRecord> {
    let line: Line<'_> = serde_json::from_slice(line.trim_ascii()).ok()?;
    record(&line, client(&line.client.0)?, shared, &mut |_| ()).ok()
}

/// Reads from the beginning of a file, wherever others read in it.
struct FromStart<'f> {
    file: &'f File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt as _;
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A file that is read in blocks. Each is compared with what it was the time before, if there was one, before anybody sees
/// it.
struct Blocks<'e, R> {
    source: R,
    block: Vec<u8>,
    used: usize,
    is_over: bool,
    digests: Vec<[u8; 32]>,
    expected: Option<&'e [[u8; 32]]>,
}

impl<'e, R: Read> Blocks<'e, R> {
    fn new(source: R, expected: Option<&'e [[u8; 32]]>) -> Self {
        Self { source, block: Vec::with_capacity(BLOCK_BYTES), used: 0, is_over: false, digests: Vec::new(), expected }
    }

    fn next_block(&mut self) -> io::Result<()> {
        self.block.clear();
        self.used = 0;
        let read = (&mut self.source).take(BLOCK_BYTES as u64).read_to_end(&mut self.block);
        self.is_over = self.block.len() < BLOCK_BYTES;
        let digest = blake3::hash(&self.block).into();
        let is_as_expected = self.expected.is_none_or(|expected| expected.get(self.digests.len()) == Some(&digest));
        if read.is_err() || !is_as_expected {
            self.block.clear();
            self.is_over = true;
        }
        read?;
        if !is_as_expected {
            return Err(io::Error::other("the file was changed"));
        }
        self.digests.push(digest);
        Ok(())
    }
}

impl<R: Read> Read for Blocks<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl<R: Read> BufRead for Blocks<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.block.len() && !self.is_over {
            self.next_block()?;
        }
        Ok(&self.block[self.used..])
    }

    fn consume(&mut self, amount: usize) {
        self.used += amount;
    }
}

/// What is wrong with a line, and how to mend it.
type Bad = (String, Option<String>);

/// The client of a line, which must say what the first line of that client says.
fn client_of(
    line: &Line<'_>,
    at: Position,
    keys: &mut KeySet,
    shared: &mut Shared,
    compiler: &Compiler<'_>,
) -> Result<Arc<Client>, Bad> {
    let client_grants =
        shared.grants(line.client_permissions.as_ref()).map_err(|why| plain("client_permissions", why.to_string()))?;
    let Some((client, first)) = keys.client(&line.client.0) else {
        return Ok(keys.put_client(new_client(line, client_grants)?, at));
    };
    if let Some(field) = disagreement(line, client, &client_grants) {
        let first = compiler.report.name(first);
        let message = format!("`{field}` is not what the first line of client `{}` says ({first})", client.id);
        return Err((message, Some("all lines of one client must agree on it".to_owned())));
    }
    Ok(Arc::clone(client))
}

fn plain(field: &str, why: String) -> Bad {
    (format!("`{field}`: {why}"), None)
}

/// The key of a line. Plans are noted as they are met, also where the rest of the line is bad.
fn record(
    line: &Line<'_>,
    client: Arc<Client>,
    shared: &mut Shared,
    note_plan: &mut dyn FnMut(Option<&Plan>),
) -> Result<KeyRecord, Bad> {
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
    note_plan(plan.as_ref());
    note_plan(client.plan.as_ref());
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
    let key = ApiKey { id, not_before, expires_at, terms: Arc::new(terms) };
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
