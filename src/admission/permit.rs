//! The proof that a request was admitted.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderName;

use crate::client::User;
use crate::credential::CredentialSource;
use crate::identity::Identified;
use crate::keys::{ApiKey, TableEntry, Timestamp};
use crate::limit::Places;
use crate::policy::TenantBinding;
use crate::routing::{Endpoint, Rule, RuleRef};
use crate::snapshot::Snapshot;

/// What is to be done with `Authorization` when the request is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialUse {
    /// It carried a key of ours: it ends here.
    AuthorizationIsOurs,
    /// It is somebody else's (an end user's token, say): it passes byte for byte.
    AuthorizationIsNotOurs,
}

impl CredentialUse {
    pub(super) fn of_ours(is_ours: bool) -> Self {
        if is_ours { Self::AuthorizationIsOurs } else { Self::AuthorizationIsNotOurs }
    }
}

/// An endpoint, and who may use it now. Made by [`admit`](super::admit) alone; holds all that forwarding needs, and keeps
/// the rules that admitted the request alive until it is done.
#[derive(Debug)]
pub struct Permit {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) rule: RuleRef,
    /// The canonical path, if it differs from the one that was sent.
    pub(super) changed_path: Option<Box<str>>,
    pub(super) shown: Option<TableEntry>,
    pub(super) user: Option<User>,
    pub(super) is_backoffice: bool,
    pub(super) credential_use: CredentialUse,
    /// Where the key stood, for log and metric.
    pub(super) credential_source: Option<usize>,
    pub(super) client_address: IpAddr,
    /// Room among requests at once.
    pub(super) places: Option<Arc<Places>>,
}

impl Permit {
    /// The rules under which the request was admitted.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The endpoint it was admitted to.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.snapshot.router.endpoints()[self.rule.endpoint]
    }

    /// The rule that admitted it.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        self.snapshot.router.rule(self.rule)
    }

    /// The route that admitted it, as it was written; none if the endpoint's own rule did.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.rule.route.map(|route| &*self.endpoint().routes[route].text)
    }

    /// Keeps room among requests at once for as long as the permit lasts.
    pub fn hold(&mut self, places: Places) {
        self.places = Some(Arc::new(places));
    }

    /// Room among requests at once, for what the request opens and outlives it.
    #[must_use]
    pub fn places(&self) -> Option<Arc<Places>> {
        self.places.clone()
    }

    /// The path that was judged, if it is not the one that was sent: this one is to be forwarded.
    #[must_use]
    pub fn changed_path(&self) -> Option<&str> {
        self.changed_path.as_deref()
    }

    /// The key that was shown; nobody's on an open endpoint.
    #[must_use]
    pub fn key(&self) -> Option<&ApiKey> {
        self.shown.as_ref().map(|shown| &shown.key)
    }

    /// The key with the secret that was shown.
    #[must_use]
    pub fn shown(&self) -> Option<&TableEntry> {
        self.shown.as_ref()
    }

    /// How long the key and the secret that was shown are still good, if they have an end: what they opened must not
    /// outlive them.
    #[must_use]
    pub fn key_lifetime(&self, now: SystemTime) -> Option<Duration> {
        let shown = self.shown()?;
        let end = [shown.key.expires_at, shown.valid_until].into_iter().flatten().min()?;
        let left = end.as_millis().saturating_sub(Timestamp::from(now).as_millis());
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }

    /// Where the key stood.
    #[must_use]
    pub fn credential_source(&self) -> Option<&str> {
        self.shown_in().map(CredentialSource::label)
    }

    /// The place where the key stood.
    #[must_use]
    pub fn shown_in(&self) -> Option<&CredentialSource> {
        self.endpoint().extractor.sources().get(self.credential_source?)
    }

    /// Where the key stood, if that place is deprecated.
    #[must_use]
    pub fn deprecated_source(&self) -> Option<&str> {
        let source = self.shown_in()?;
        matches!(source, CredentialSource::Header { deprecated: true, .. }).then(|| source.label())
    }

    /// What is to be done with `Authorization`.
    #[must_use]
    pub fn credential_use(&self) -> CredentialUse {
        self.credential_use
    }

    /// The header whose value was judged, if the rule has one: the upstream must read the same value in it, and no other.
    #[must_use]
    pub fn judged_header(&self) -> Option<&HeaderName> {
        match self.rule().policy.tenant.as_ref()? {
            TenantBinding::Header(name) => Some(name),
            TenantBinding::PathParameter(_) | TenantBinding::HostLabel => None,
        }
    }

    /// The client's address, behind trusted proxies.
    #[must_use]
    pub fn client_address(&self) -> IpAddr {
        self.client_address
    }

    /// Who is calling, as the upstream is to be told.
    #[must_use]
    pub fn identified(&self) -> Identified<'_> {
        Identified { key: self.key(), user: self.user.as_ref(), is_backoffice: self.is_backoffice }
    }
}

#[cfg(test)]
impl Permit {
    /// A permit for an endpoint of a snapshot, for tests of what comes after admission. Anonymous, from 192.0.2.7.
    pub(crate) fn for_test(snapshot: Arc<Snapshot>, endpoint: usize) -> Self {
        Self {
            snapshot,
            rule: RuleRef { endpoint, route: None },
            changed_path: None,
            shown: None,
            user: None,
            is_backoffice: false,
            credential_use: CredentialUse::AuthorizationIsNotOurs,
            credential_source: None,
            client_address: IpAddr::from([192, 0, 2, 7]),
            places: None,
        }
    }

    /// The same with a key, shown in `Authorization` or elsewhere.
    pub(crate) fn with_key(self, key: ApiKey, credential_use: CredentialUse) -> Self {
        let secret = crate::keys::SecretTag::of(&crate::credential::KeyDigest::blake3(
            &crate::credential::Secret::borrowed(b"kg_test"),
        ));
        let shown = TableEntry { key, secret, valid_until: None, is_pending: false };
        Self { shown: Some(shown), credential_use, ..self }
    }

    /// The same with a path that differs from the one that was sent.
    pub(crate) fn with_path(self, path: &str) -> Self {
        Self { changed_path: Some(path.into()), ..self }
    }
}
