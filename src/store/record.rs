//! What a store holds, as values.
//!
//! A key as an operator sees it is more than a verdict needs: what it is called, what it is for, who made it, when it was
//! used. [`KeyDetail::for_table`] is the part that the data path gets.

use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;

use crate::client::{Client, ClientId, Environment, Grants, KeyType, Plan};
use crate::credential::KeyDigest;
use crate::keys::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTerms, SecretRecord, Timestamp};

/// When and why something was switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disabled {
    /// When.
    pub at: Timestamp,
    /// Why, in somebody's words.
    pub reason: Option<String>,
}

/// A client to be added.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// The client; `active` says whether it is switched off.
    pub client: Client,
    /// Who may change it.
    pub origin: KeyOrigin,
    /// Why it is switched off, if it is.
    pub disabled: Option<Disabled>,
}

/// A client as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientRow {
    /// In the order of arrival.
    pub number: i64,
    /// What verdicts know of it.
    pub client: Arc<Client>,
    /// Who may change it.
    pub origin: KeyOrigin,
    /// Set if it is switched off.
    pub disabled: Option<Disabled>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
    /// Its keys, revoked ones excepted; counted only in lists.
    pub keys: Option<i64>,
}

/// A key to be added.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Public id.
    pub id: KeyId,
    /// Whose it is.
    pub client: i64,
    /// The client's tenant.
    pub tenant: Option<String>,
    /// Who may change it.
    pub origin: KeyOrigin,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Secret or publishable.
    pub key_type: KeyType,
    /// Where it is good.
    pub environment: Option<Environment>,
    /// Why it is switched off, if it is.
    pub disabled: Option<Disabled>,
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
    /// Who made it.
    pub created_by: String,
    /// The key itself, where its operator wants to see it again.
    pub visible: Option<String>,
}

/// A secret to be added.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// The only form in which it is kept.
    pub digest: KeyDigest,
    /// What may be shown of it.
    pub mask: String,
    /// What it is in a rotation.
    pub state: SecretState,
    /// When it ends.
    pub valid_until: Option<Timestamp>,
}

/// A key as it is kept, without its client and its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyRow {
    /// In the order of arrival.
    pub number: i64,
    /// Public id.
    pub id: KeyId,
    /// Whose it is.
    pub client: i64,
    /// Who may change it.
    pub origin: KeyOrigin,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Secret or publishable.
    pub key_type: KeyType,
    /// Where it is good.
    pub environment: Option<Environment>,
    /// Set if it is switched off.
    pub disabled: Option<Disabled>,
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
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
    /// Set once it is revoked; it is kept for the records alone.
    pub revoked_at: Option<Timestamp>,
    /// When any of its secrets was last used.
    pub last_used_at: Option<Timestamp>,
    /// The key itself, where its operator wants to see it again.
    pub visible: Option<String>,
    /// The rotation under way, if one is.
    pub rotation: Option<Rotation>,
}

/// A rotation that waits for the first use of the new secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How long the old secret stays good from then on, in milliseconds.
    pub grace_millis: i64,
}

/// What a secret is in a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// The one in use.
    Current,
    /// New, and not used yet.
    Pending,
    /// Replaced; good until its end.
    Superseded,
}

/// Where and when something was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// For which endpoint.
    pub endpoint: String,
    /// From which address.
    pub address: String,
}

/// A secret as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct SecretRow {
    /// From 1, in the order of rotations.
    pub number: i64,
    /// The only form in which it is kept.
    pub digest: KeyDigest,
    /// What may be shown of it.
    pub mask: String,
    /// What it is in a rotation.
    pub state: SecretState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub valid_until: Option<Timestamp>,
    /// When it was last used.
    pub last_use: Option<LastUse>,
}

/// A key with its client and its secrets, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyDetail {
    /// The key.
    pub key: KeyRow,
    /// Whose it is.
    pub client: ClientRow,
    /// Its secrets.
    pub secrets: Vec<SecretRow>,
}

impl KeyDetail {
    /// What the data path gets.
    #[must_use]
    pub fn for_table(&self) -> KeyRecord {
        let key = &self.key;
        let terms = KeyTerms {
            client: Arc::clone(&self.client.client),
            key_type: key.key_type,
            environment: key.environment.clone(),
            active: key.disabled.is_none(),
            grants: key.grants.clone(),
            networks: key.networks.clone().into(),
            origins: key.origins.clone().into(),
            plan: key.plan.clone(),
            origin: key.origin,
        };
        let secrets = self.secrets.iter().map(|secret| SecretRecord {
            digest: secret.digest,
            valid_until: secret.valid_until,
            is_pending: secret.state == SecretState::Pending,
        });
        KeyRecord {
            key: ApiKey {
                id: key.id.clone(),
                not_before: key.not_before,
                expires_at: key.expires_at,
                terms: Arc::new(terms),
            },
            name: key.name.as_str().into(),
            description: None,
            secrets: secrets.collect(),
        }
    }

    /// The secret that is in use, or will be.
    #[must_use]
    pub fn current(&self) -> Option<&SecretRow> {
        self.secrets.iter().find(|secret| secret.state == SecretState::Current).or(self.secrets.first())
    }
}

/// What a key is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    /// It is good.
    Active,
    /// It, or its client, is switched off.
    Disabled,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYetValid,
    /// It is gone for good.
    Revoked,
}

impl KeyStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Active, Self::Disabled, Self::Expired, Self::NotYetValid, Self::Revoked];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
        }
    }
}

impl KeyDetail {
    /// What it is good for at a moment.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        if self.key.revoked_at.is_some() {
            KeyStatus::Revoked
        } else if self.key.disabled.is_some() || !self.client.client.active {
            KeyStatus::Disabled
        } else if self.key.expires_at.is_some_and(|until| now >= until) {
            KeyStatus::Expired
        } else if self.key.not_before.is_some_and(|from| now < from) {
            KeyStatus::NotYetValid
        } else {
            KeyStatus::Active
        }
    }
}

/// Which keys are asked for. Everything that is set must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyFilter {
    /// Words, each of which must begin a word of the key's name, description, id, last four, or of its client.
    pub words: Vec<String>,
    /// A client's id.
    pub client: Option<ClientId>,
    /// The type of the client.
    pub client_type: Option<String>,
    /// The tenant of the client.
    pub tenant: Option<String>,
    /// Where it is good.
    pub environment: Option<String>,
    /// Secret or publishable.
    pub key_type: Option<KeyType>,
    /// What it is good for now. Revoked keys are shown only if they are asked for.
    pub status: Option<KeyStatus>,
    /// Where it stands.
    pub origin: Option<KeyOrigin>,
    /// Never used at all.
    pub never_used: bool,
    /// Not used since this moment, or made before it and never used.
    pub unused_since: Option<Timestamp>,
    /// Ends before this moment, and has not ended yet.
    pub expires_before: Option<Timestamp>,
    /// Made before this moment, rotations counted.
    pub secret_older_than: Option<Timestamp>,
    /// Neither it nor its client states a permission.
    pub unrestricted: bool,
    /// An old secret of it is still good.
    pub rotating: bool,
}

/// In which order keys are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyOrder {
    /// By the order of arrival.
    #[default]
    Created,
    /// By name.
    Name,
    /// By the end of their time; those without an end last.
    Expires,
    /// By the last use; those that were never used last.
    LastUsed,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; the last page has none.
    pub next: Option<String>,
}

/// Which clients are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientFilter {
    /// Words, as for keys.
    pub words: Vec<String>,
    /// Its type.
    pub client_type: Option<String>,
    /// Its tenant.
    pub tenant: Option<String>,
    /// Its owner, kind and id.
    pub owner: Option<(String, String)>,
}

/// Something that was done, to be kept.
#[derive(Debug, Clone, Default)]
pub struct AuditEntry {
    /// Who, such as `token:ops`.
    pub actor: String,
    /// The role it was done with.
    pub role: &'static str,
    /// How: over the API, the command line, with the key itself, by keygate.
    pub via: &'static str,
    /// From where, if it came over a network.
    pub address: Option<String>,
    /// What, such as `key.created`.
    pub action: &'static str,
    /// To what: `key`, `client`, `admin_token`, `import`.
    pub kind: &'static str,
    /// Its id.
    pub target: String,
    /// What it is called.
    pub name: Option<String>,
    /// What was there before, without secrets.
    pub before: Option<Value>,
    /// What is there now, without secrets.
    pub after: Option<Value>,
    /// Why, or how much.
    pub note: Option<String>,
}

/// An entry as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRecord {
    /// In the order of events.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// With which role.
    pub role: String,
    /// How.
    pub via: String,
    /// From where.
    pub address: Option<String>,
    /// What.
    pub action: String,
    /// To what.
    pub kind: String,
    /// Its id.
    pub target: String,
    /// What it was called.
    pub name: Option<String>,
    /// What was there before.
    pub before: Option<Value>,
    /// What was there then.
    pub after: Option<Value>,
    /// Why, or how much.
    pub note: Option<String>,
}

/// Which entries are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuditFilter {
    /// Of one target.
    pub target: Option<String>,
    /// Of one actor.
    pub actor: Option<String>,
    /// Of one kind of action, such as `key.created`, or `key` for all of them.
    pub action: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// What changed, for whoever holds keys in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Keys with these numbers, both included, were added or changed.
    Keys {
        /// The first.
        first: i64,
        /// The last.
        last: i64,
    },
    /// A secret is gone.
    SecretGone(KeyDigest),
    /// A client was added or changed.
    Client(i64),
}

/// A token for the admin API.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminToken {
    /// Public id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: String,
    /// The only form in which it is kept.
    pub digest: [u8; 32],
    /// What may be shown of it.
    pub mask: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Refused from then on.
    pub expires_at: Option<Timestamp>,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
}

/// A token to be added.
#[derive(Debug, Clone)]
pub struct NewAdminToken {
    /// Public id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub role: &'static str,
    /// The only form in which it is kept.
    pub digest: [u8; 32],
    /// What may be shown of it.
    pub mask: String,
    /// Who made it.
    pub created_by: String,
    /// Refused from then on.
    pub expires_at: Option<Timestamp>,
}

/// Something to be told to the webhook.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// What happened, such as `key.created`.
    pub event: &'static str,
    /// What is sent.
    pub body: Value,
}

/// Something that waits to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// In the order of events.
    pub number: i64,
    /// Its id, the same for each attempt.
    pub id: String,
    /// What happened.
    pub event: String,
    /// What is sent.
    pub body: String,
    /// How often it was tried.
    pub attempts: i64,
    /// When it happened.
    pub created_at: Timestamp,
}

/// What came of an idempotency key that was used before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// Digest of the request it was used for.
    pub request: [u8; 32],
    /// What was made.
    pub target: String,
}

/// What a key did on one day for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// Days since 1970-01-01, UTC.
    pub day: i64,
    /// The endpoint.
    pub endpoint: String,
    /// Requests that were admitted.
    pub admitted: i64,
    /// Requests that were refused.
    pub refused: i64,
}
