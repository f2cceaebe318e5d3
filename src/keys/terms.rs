//! Terms that are the same are kept once.
//!
//! A client with ten thousand keys has mostly one or two kinds of them. [`SharedTerms::share`] gives back terms that are
//! equal to what it was given and are in use already, or takes the new ones. Keys are compared by their client's id, so a
//! client that has changed is told to [`KeyTable`](super::KeyTable), not found out here.

use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use ipnet::IpNet;

use super::{KeyOrigin, KeyTerms};
use crate::client::{ClientId, Environment, Grants, KeyType, Plan};

/// A set of terms.
#[derive(Debug, Default)]
pub struct SharedTerms(HashSet<ByValue>);

impl SharedTerms {
    /// Terms equal to these.
    pub fn share(&mut self, terms: KeyTerms) -> Arc<KeyTerms> {
        let terms = ByValue(Arc::new(terms));
        if let Some(known) = self.0.get(&terms) {
            return Arc::clone(&known.0);
        }
        let shared = Arc::clone(&terms.0);
        self.0.insert(terms);
        shared
    }
}

/// Terms that are compared by what they say, and by the id of their client.
#[derive(Debug, Clone)]
pub(super) struct ByValue(pub(super) Arc<KeyTerms>);

/// What terms say: every field, with the id for the client.
type Said<'t> = (
    &'t ClientId,
    KeyType,
    &'t Option<Environment>,
    bool,
    &'t Grants,
    &'t [IpNet],
    &'t [Box<str>],
    &'t Option<Plan>,
    KeyOrigin,
);

impl ByValue {
    fn says(&self) -> Said<'_> {
        // Taken apart in full, so that a new field cannot be forgotten here.
        let KeyTerms { client, key_type, environment, active, grants, networks, origins, plan, origin } = &*self.0;
        (&client.id, *key_type, environment, *active, grants, networks, origins, plan, *origin)
    }
}

impl PartialEq for ByValue {
    fn eq(&self, other: &Self) -> bool {
        self.says() == other.says()
    }
}

impl Eq for ByValue {}

impl Hash for ByValue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.says().hash(state);
    }
}
