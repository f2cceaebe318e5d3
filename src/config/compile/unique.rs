//! Ids, names and digests that stand for more than one key.
//!
//! Nearly always there are none, and with a million keys that must be found out in little memory: of each id and each name
//! that was given there is a hash, eight bytes, kept in parts by its first byte so that growing moves little. Where two are
//! the same, or where the table found a digest that it held, [`Suspicions`] says which keys to look at again, and those
//! alone are compared by what they say.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};

use crate::client::Tenant;
use crate::config::keys::Placed;
use crate::config::problem::{Report, quote};
use crate::config::tree::Position;
use crate::credential::KeyDigest;
use crate::keys::{Held, KeyRecord};

/// What was given to keys so far.
#[derive(Default)]
pub(super) struct Given {
    state: RandomState,
    ids: Hashes,
    /// Names that are not the id of their key, in their tenants.
    names: Hashes,
    /// The same ones as if they were ids: a key without a name of its own is called by its id.
    names_as_ids: Hashes,
    /// Digests that the table held already.
    digests: HashSet<Held>,
}

/// Which keys may have something in common with others.
pub(super) struct Suspicions {
    state: RandomState,
    ids: HashSet<u64>,
    names: HashSet<u64>,
    digests: HashSet<Held>,
}

impl Given {
    /// Notes a key, and those of its digests that were there before.
    pub fn note(&mut self, record: &KeyRecord, digests: Vec<Held>) {
        self.digests.extend(digests);
        self.ids.note(id_hash(&self.state, record.key.id.as_str()));
        if has_own_name(record) {
            self.names.note(name_hash(&self.state, record));
            self.names_as_ids.note(id_hash(&self.state, &record.name));
        }
    }

    /// What is to be looked at again, if anything is.
    pub fn suspicions(mut self) -> Option<Suspicions> {
        self.ids.sort();
        self.names.sort();
        let mut ids: HashSet<u64> = self.ids.twice().collect();
        ids.extend(self.names_as_ids.iter().filter(|hash| self.ids.contains(*hash)));
        let names: HashSet<u64> = self.names.twice().collect();
        let is_clear = ids.is_empty() && names.is_empty() && self.digests.is_empty();
        (!is_clear).then_some(Suspicions { state: self.state, ids, names, digests: self.digests })
    }
}

fn has_own_name(record: &KeyRecord) -> bool {
    *record.name != *record.key.id.as_str()
}

fn tenant_of(record: &KeyRecord) -> Option<&str> {
    record.key.client.tenant.as_ref().map(Tenant::as_str)
}

fn id_hash(state: &RandomState, id: &str) -> u64 {
    state.hash_one(id)
}

fn name_hash(state: &RandomState, record: &KeyRecord) -> u64 {
    state.hash_one((tenant_of(record), &*record.name))
}

/// Hashes by their first byte.
struct Hashes(Vec<Vec<u64>>);

impl Default for Hashes {
    fn default() -> Self {
        Self(vec![Vec::new(); 256])
    }
}

impl Hashes {
    fn note(&mut self, hash: u64) {
        self.0[usize::from(hash.to_be_bytes()[0])].push(hash);
    }

    fn sort(&mut self) {
        self.0.iter_mut().for_each(|part| part.sort_unstable());
    }

    /// Those that were noted more than once, of sorted ones.
    fn twice(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|part| part.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]))
    }

    /// Whether one was noted, of sorted ones.
    fn contains(&self, hash: u64) -> bool {
        self.0[usize::from(hash.to_be_bytes()[0])].binary_search(&hash).is_ok()
    }

    fn iter(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flatten().copied()
    }
}

impl Suspicions {
    fn are_of(&self, record: &KeyRecord) -> bool {
        let has_name = || {
            has_own_name(record)
                && (self.names.contains(&name_hash(&self.state, record))
                    || self.ids.contains(&id_hash(&self.state, &record.name)))
        };
        self.ids.contains(&id_hash(&self.state, record.key.id.as_str()))
            || has_name()
            || record.secrets.iter().any(|secret| self.digests.contains(&Held::of(&secret.digest)))
    }

    /// Looks at all keys again and reports what stands for more than one.
    pub fn look<'k>(&self, keys: impl Iterator<Item = Placed<'k>>, report: &mut Report) {
        let mut suspects = Vec::new();
        for placed in keys {
            match placed {
                Ok((at, record)) if self.are_of(&record) => suspects.push((at, record)),
                Ok(_) => {}
                Err(rewritten) => {
                    report
                        .error(Position::default(), rewritten.to_string())
                        .hint("write another file and rename it over this one: it is whole then at any moment");
                    return;
                }
            }
        }
        compare(suspects.iter().map(|(at, record)| (*at, &**record)), report);
    }
}

/// Reports ids, names and digests that stand for more than one of these keys.
fn compare<'k>(keys: impl Iterator<Item = (Position, &'k KeyRecord)>, report: &mut Report) {
    let mut ids: HashMap<&str, Position> = HashMap::new();
    let mut names: HashMap<(Option<&str>, &str), (Position, &KeyRecord)> = HashMap::new();
    let mut digests: HashMap<&KeyDigest, (Position, &KeyRecord)> = HashMap::new();
    for (at, record) in keys {
        let key = &record.key;
        if let Some(first) = ids.insert(key.id.as_str(), at) {
            let first = report.name(first);
            report.error(at, format!("another key has the id `{}` ({first})", key.id));
            // It is most likely the same key, and everything else about it the same too.
            continue;
        }
        let tenant = tenant_of(record);
        if let Some((first, other)) = names.insert((tenant, &record.name), (at, record)) {
            let (id, first) = (&other.key.id, report.name(first));
            let of = tenant.map_or_else(|| "without a tenant".to_owned(), |tenant| format!("of the tenant `{tenant}`"));
            let shown = quote(&record.name);
            report
                .error(at, format!("two keys {of} are called {shown}: `{id}` ({first}) and `{}`", key.id))
                .hint("say in the name what each is for");
        }
        for secret in &record.secrets {
            if let Some((first, other)) = digests.insert(&secret.digest, (at, record)) {
                let (other, first) = (&other.key, report.name(first));
                report
                    .error(
                        at,
                        format!(
                            "the key `{}` of client `{}` has the same digest as the key `{}` of client `{}` ({first})",
                            key.id, key.client.id, other.id, other.client.id
                        ),
                    )
                    .hint("each key must be a different one: make another for one of them");
            }
        }
    }
}
