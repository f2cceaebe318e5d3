//! Keys and clients of the configuration's files, beside those of the store.
//!
//! Files are read by `config`, and what they say is in force from there. Here they are checked against the store, which
//! must not hold the same key, id or name ([`Management::conflicts`]), and copied into it, so that they are found, listed
//! and counted with the others ([`Management::take_files`]). They cannot be changed here.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Management, Refused};
use crate::client::{Client, Tenant};
use crate::credential::{KeyDigest, KeyText};
use crate::keys::{KeyOrigin, KeyRecord, KeyRecords, Rewritten};
use crate::store::{
    ClientRow, Disabled, KeyDetail, KeyRow, NewClient, NewKey, NewSecret, SecretState, StateCounts, StoreError, Writer,
};

/// Where the store says which files it has copied.
const COPIED: &str = "files_copied";
/// So many keys are written before somebody who waits is let through.
const STEP: usize = 20;
/// So many copies are looked through at once.
const PAGE: usize = 1_000;
/// So long one who looks waits for files to be copied; then the look is at what there is.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the files hold.
#[derive(Debug, Clone, Copy)]
pub struct FileKeys<'f> {
    /// Clients, those without a key too.
    pub clients: &'f [Arc<Client>],
    /// Keys.
    pub keys: &'f dyn KeyRecords,
}

/// What came of copying files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copied {
    /// All that they hold is in the store.
    Whole,
    /// A file has changed since it was loaded, so that what it holds by now is not what is in force. The copy is not
    /// complete; that of the next load will be.
    GivenUp(Rewritten),
}

/// How somebody who looks asks for the copy: it has been made, or cannot be made, when what is sent is let go.
pub type AskForCopy = Sender<Sender<()>>;

/// Files that are not copied yet.
pub(super) struct WaitingFiles {
    counts: StateCounts,
    ask: AskForCopy,
}

/// A key or a client of a file that the store holds too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileConflict {
    /// The key, by its place in the list; none for a client.
    pub key: Option<usize>,
    /// What stands in the way.
    pub message: String,
    /// How to mend it.
    pub hint: &'static str,
}

impl Management {
    /// What of the files cannot be in force beside what is in the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn conflicts(&self, files: FileKeys<'_>) -> Result<Vec<FileConflict>, StoreError> {
        if self.inner.store.is_temporary() {
            return Ok(Vec::new());
        }
        self.inner.store.read(|reader| {
            let mut conflicts = Vec::new();
            if !reader.has_own()? {
                return Ok(conflicts);
            }
            for client in files.clients {
                let is_stores = reader.client(client.id.as_str())?.is_some_and(|row| row.origin == KeyOrigin::Store);
                if is_stores {
                    conflicts.push(FileConflict {
                        key: None,
                        message: format!("the client `{}` is in the store too", client.id),
                        hint: "keep it in one place: `keygate clients delete` removes it from the store",
                    });
                }
            }
            for (index, record) in files.keys.records().enumerate() {
                let record = match record {
                    Ok(record) => record,
                    Err(rewritten) => {
                        let hint = "write another file and rename it over this one: it is whole then at any moment";
                        conflicts.push(FileConflict { key: None, message: rewritten.to_string(), hint });
                        return Ok(conflicts);
                    }
                };
                let id = &record.key.id;
                let mut conflict = |message: String, hint| {
                    conflicts.push(FileConflict { key: Some(index), message, hint });
                };
                if reader.key(id.as_str())?.is_some_and(|other| other.key.origin == KeyOrigin::Store) {
                    conflict(format!("a key of the store has the id `{id}` too"), "give one of them another id");
                    continue;
                }
                for secret in &record.secrets {
                    let other = reader.key_by_digest(&secret.digest)?;
                    if let Some(other) = other.filter(|other| other.key.origin == KeyOrigin::Store) {
                        let of = if other.key.revoked_at.is_some() { "revoked key" } else { "key" };
                        conflict(
                            format!(
                                "the key `{id}` of client `{}` has the same digest as the {of} `{}` of client `{}` in the store",
                                record.key.client.id, other.key.id, other.client.client.id
                            ),
                            "each key must be a different one: make another for one of them",
                        );
                    }
                }
                let tenant = record.key.client.tenant.as_ref().map(Tenant::as_str);
                let other = reader.key_by_name(&record.name, tenant)?;
                if let Some(other) = other.filter(|other| other.key.origin == KeyOrigin::Store) {
                    conflict(
                        format!("the key `{id}` has the name of the key `{}` in the store", other.key.id),
                        "say in the name what each is for",
                    );
                }
            }
            Ok(conflicts)
        })
    }

    /// Says that files wait to be copied: their keys are counted meanwhile, and whoever looks asks for the copy.
    pub fn files_wait(&self, counts: StateCounts, ask: AskForCopy) {
        *self.waiting_files() = Some(WaitingFiles { counts, ask });
    }

    /// Says that no files wait any more.
    pub fn files_wait_no_more(&self) {
        *self.waiting_files() = None;
        self.inner.is_counted.store(false, Ordering::Relaxed);
    }

    /// Whether files wait to be copied, so that a look would miss their keys.
    #[must_use]
    pub fn do_files_wait(&self) -> bool {
        self.waiting_files().is_some()
    }

    /// Has files copied that wait for it, because somebody will look. A million keys take longer than one waits.
    pub fn copy_waiting_files(&self) {
        let (copied, wait) = mpsc::channel();
        let is_asked = self.waiting_files().as_ref().is_some_and(|waiting| waiting.ask.send(copied).is_ok());
        if is_asked {
            let _ = wait.recv_timeout(PATIENCE);
        }
    }

    /// How many keys of files that wait there are.
    pub(super) fn counts_of_waiting_files(&self) -> StateCounts {
        self.waiting_files().as_ref().map(|waiting| waiting.counts).unwrap_or_default()
    }

    fn waiting_files(&self) -> MutexGuard<'_, Option<WaitingFiles>> {
        self.inner.waiting_files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies what the files hold, so that it can be listed. Takes a while if it is much and was not copied before.
    ///
    /// # Errors
    /// The store cannot be written; the copy is not complete then.
    pub fn take_files(&self, files: FileKeys<'_>) -> Result<Copied, Refused> {
        let fingerprint = fingerprint(files);
        let copied = self.read(|reader| Ok(reader.meta(COPIED)?))?;
        if copied.as_deref() == Some(fingerprint.as_str()) {
            return Ok(Copied::Whole);
        }
        self.copy_clients(files)?;
        let has_copies = self.read(|reader| Ok(reader.has_keys_of_files()?))?;
        let mut same = Numbers::default();
        if has_copies {
            match self.set_others_aside(files)? {
                Ok(places) => same = places,
                Err(rewritten) => return Ok(Copied::GivenUp(rewritten)),
            }
        }
        let mut left = files.keys.records().enumerate().filter(|(place, _)| !same.contain(*place)).peekable();
        while left.peek().is_some() {
            let rewritten = self.inner.store.write(super::now(), |writer| {
                for (count, (_, record)) in left.by_ref().enumerate() {
                    match record {
                        Ok(record) => put_key(writer, &record, has_copies)?,
                        Err(rewritten) => return Ok(Some(rewritten)),
                    }
                    if count % STEP == STEP - 1 && writer.is_waited_for() {
                        break;
                    }
                }
                Ok::<_, Refused>(None)
            })?;
            if let Some(rewritten) = rewritten {
                return Ok(Copied::GivenUp(rewritten));
            }
        }
        drop(left);
        self.remove_clients_gone(files)?;
        self.inner.store.write(super::now(), |writer| Ok::<_, Refused>(writer.set_meta(COPIED, &fingerprint)?))?;
        self.inner.is_counted.store(false, Ordering::Relaxed);
        Ok(Copied::Whole)
    }

    fn copy_clients(&self, files: FileKeys<'_>) -> Result<(), Refused> {
        self.inner.store.write(super::now(), |writer| {
            for client in files.clients {
                let disabled = (!client.active).then(|| Disabled { at: writer.now(), reason: None });
                match writer.client(client.id.as_str())? {
                    None => {
                        let new = NewClient { client: Client::clone(client), origin: KeyOrigin::File, disabled };
                        writer.add_client(&new)?;
                    }
                    Some(row) if row.origin == KeyOrigin::File && row.client != *client => {
                        writer.change_client(row.number, client, KeyOrigin::File, disabled.as_ref())?;
                        if row.client.tenant != client.tenant {
                            writer.move_keys(row.number, client.tenant.as_ref().map(Tenant::as_str))?;
                        }
                        writer.index_client(row.number)?;
                    }
                    Some(_) => {}
                }
            }
            Ok::<_, Refused>(())
        })
    }

    /// Which copies are what the files say, and takes names and digests from the others: they may be another's now.
    fn set_others_aside(&self, files: FileKeys<'_>) -> Result<Result<Numbers, Rewritten>, Refused> {
        let (mut places, mut copies) = (Numbers::default(), Numbers::default());
        let mut records = files.keys.records().enumerate().peekable();
        while records.peek().is_some() {
            let rewritten = self.read(|reader| {
                for (place, record) in records.by_ref().take(PAGE) {
                    let record = match record {
                        Ok(record) => record,
                        Err(rewritten) => return Ok(Some(rewritten)),
                    };
                    let copy = reader.key(record.key.id.as_str())?;
                    if let Some(copy) = copy.filter(|copy| is_copy(copy, &record)) {
                        places.insert(place);
                        copies.insert(usize::try_from(copy.key.number).unwrap_or(0));
                    }
                }
                Ok::<_, Refused>(None)
            })?;
            if let Some(rewritten) = rewritten {
                return Ok(Err(rewritten));
            }
        }
        self.inner.store.write(super::now(), |writer| {
            let mut last = 0;
            loop {
                let numbers = writer.keys_of_files_after(last, PAGE)?;
                let Some(end) = numbers.last() else { return Ok::<_, Refused>(()) };
                last = *end;
                for number in numbers {
                    if !usize::try_from(number).is_ok_and(|number| copies.contain(number)) {
                        writer.set_key_of_file_aside(number)?;
                    }
                }
            }
        })?;
        Ok(Ok(places))
    }

    /// Removes the copies of clients that are gone. One that has keys in the store stays, and is good for nothing.
    fn remove_clients_gone(&self, files: FileKeys<'_>) -> Result<(), Refused> {
        let ids: HashSet<&str> = files.clients.iter().map(|client| client.id.as_str()).collect();
        let left = self.inner.store.write(super::now(), |writer| {
            let mut left = Vec::new();
            for row in writer.clients_of_files()? {
                if ids.contains(row.client.id.as_str()) {
                    continue;
                }
                if writer.keys_of_client(row.number)? == 0 {
                    writer.remove_client(row.number)?;
                    continue;
                }
                let client = Client { active: false, ..Client::clone(&row.client) };
                let reason = Some("the client is gone from the configuration's files".to_owned());
                let disabled = Disabled { at: writer.now(), reason };
                writer.change_client(row.number, &client, KeyOrigin::File, Some(&disabled))?;
                left.push(ClientRow { client: Arc::new(client), ..row });
            }
            Ok::<_, Refused>(left)
        })?;
        for row in &left {
            tracing::warn!(client.id = %row.client.id, "the client is gone from the files; its keys in the store are refused");
            self.inner.table.set_client(&row.client);
        }
        Ok(())
    }
}

/// Small numbers without gaps, or nearly, a bit for each.
#[derive(Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn insert(&mut self, number: usize) {
        let word = number / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (number % 64);
    }

    fn contain(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }
}

/// Whether a copy is in force and says what the record says.
fn is_copy(copy: &KeyDetail, record: &KeyRecord) -> bool {
    let digests = |secrets: &mut dyn Iterator<Item = (KeyDigest, Option<_>)>| -> HashSet<_> { secrets.collect() };
    copy.key.revoked_at.is_none()
        && copy.client.client.id == record.key.client.id
        && says_the_same(&copy.key, record)
        && digests(&mut copy.secrets.iter().map(|secret| (secret.digest, secret.valid_until)))
            == digests(&mut record.secrets.iter().map(|secret| (secret.digest, secret.valid_until)))
}

fn says_the_same(copy: &KeyRow, record: &KeyRecord) -> bool {
    let key = &record.key;
    *copy.name == *record.name
        && copy.description.as_deref() == record.description.as_deref()
        && copy.key_type == key.key_type
        && copy.environment == key.environment
        && copy.disabled.is_none() == key.active
        && copy.not_before == key.not_before
        && copy.expires_at == key.expires_at
        && copy.plan == key.plan
        && copy.grants == key.grants
        && *copy.networks == *key.networks
        && *copy.origins == *key.origins
}

/// Writes the copy of a key, in place of its former one if there is any copy at all.
fn put_key(writer: &Writer<'_>, record: &KeyRecord, has_copies: bool) -> Result<(), Refused> {
    let key = &record.key;
    let Some(client) = writer.client(key.client.id.as_str())? else { return Ok(()) };
    let tenant = key.client.tenant.as_ref().map(Tenant::to_string);
    let secrets: Vec<NewSecret> = record
        .secrets
        .iter()
        .map(|secret| NewSecret {
            digest: secret.digest,
            mask: KeyText::mask(""),
            state: if secret.valid_until.is_some() { SecretState::Superseded } else { SecretState::Current },
            valid_until: secret.valid_until,
        })
        .collect();
    let disabled = (!key.active).then(|| Disabled { at: writer.now(), reason: None });
    let copy = if has_copies { writer.key(key.id.as_str())? } else { None };
    let number = match copy {
        None => {
            let new = NewKey {
                id: key.id.clone(),
                client: client.number,
                tenant,
                origin: KeyOrigin::File,
                name: record.name.to_string(),
                description: record.description.as_deref().map(str::to_owned),
                key_type: key.key_type,
                environment: key.environment.clone(),
                disabled,
                not_before: key.not_before,
                expires_at: key.expires_at,
                grants: key.grants.clone(),
                networks: key.networks.to_vec(),
                origins: key.origins.to_vec(),
                plan: key.plan.clone(),
                created_by: "file".to_owned(),
                visible: None,
            };
            writer.add_key(&new, &secrets)?
        }
        Some(copy) => {
            let row = KeyRow {
                origin: KeyOrigin::File,
                name: record.name.to_string(),
                description: record.description.as_deref().map(str::to_owned),
                key_type: key.key_type,
                environment: key.environment.clone(),
                disabled,
                not_before: key.not_before,
                expires_at: key.expires_at,
                grants: key.grants.clone(),
                networks: key.networks.to_vec(),
                origins: key.origins.to_vec(),
                plan: key.plan.clone(),
                revoked_at: None,
                visible: None,
                rotation: None,
                ..copy.key
            };
            writer.give_key_to(row.number, client.number, tenant.as_deref())?;
            writer.change_key(&row)?;
            for (index, secret) in secrets.iter().enumerate() {
                writer.add_secret(row.number, i64::try_from(index).unwrap_or(0) + 1, secret)?;
            }
            row.number
        }
    };
    writer.index_key(number)?;
    Ok(())
}

/// What the files hold, in a few digits. Another program may read them otherwise.
fn fingerprint(files: FileKeys<'_>) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(concat!(env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    for client in files.clients {
        let client = format!("{client:?}");
        hasher.update(&(client.len() as u64).to_le_bytes());
        hasher.update(client.as_bytes());
    }
    hasher.update(&files.keys.digest());
    hasher.finalize().to_hex().to_string()
}
