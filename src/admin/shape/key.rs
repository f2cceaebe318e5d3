//! Keys as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::ClientReference;
use super::{DailyUsage, Permissions, Warning, each, nullable, time, word};
use crate::client::{Environment, Grants, KeyType, Plan, parse_network, parse_origin};
use crate::credential::Secret;
use crate::keys::{KeyOrigin, Timestamp};
use crate::management::{self, Fault};
use crate::store::{KeyDetail, SecretRow, SecretState};

/// An API key, without its secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct Key {
    /// Stable public id; it stays when the key is rotated.
    #[schema(example = "key_0Vfa9Kd3mPq2XyZ1")]
    pub id: String,
    /// What people call it; unique among the keys of one tenant.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The id of its client.
    pub client: String,
    /// The name of its client.
    pub client_name: String,
    /// The type of its client, which rules name.
    pub client_type: String,
    /// The customer or project of its client.
    pub tenant: Option<String>,
    /// Where it may be kept: `secret` on servers, `publishable` in browsers and apps.
    pub r#type: KeyKind,
    /// Where it is good; everywhere if null.
    pub environment: Option<String>,
    /// What it is good for now.
    pub status: Status,
    /// Whether it is switched on.
    pub active: bool,
    /// Why it was switched off.
    pub disabled_reason: Option<String>,
    /// When it was switched off.
    #[schema(format = DateTime)]
    pub disabled_at: Option<String>,
    /// Refused before this moment.
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// Refused from this moment on.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// What it may do at most; the permissions of its client are the other bound.
    pub permissions: Permissions,
    /// Networks it may be used from; any if empty.
    pub networks: Vec<String>,
    /// Web pages it may be used from; any if empty.
    pub origins: Vec<String>,
    /// The plan whose limits hold for it; that of its client if null.
    pub plan: Option<String>,
    /// What may be shown of the key: its prefix and its last four characters.
    #[schema(example = "mb_live_…a1B2")]
    pub masked: String,
    /// Where it stands: `store`, or `file` if it can be changed in the configuration's files alone.
    pub source: Source,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Who made it.
    pub created_by: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// When it was last used, a second or two behind.
    #[schema(format = DateTime)]
    pub last_used_at: Option<String>,
    /// Counts its changes; also its `ETag`.
    pub version: i64,
    /// Its secrets, the newest first. More than one while it is being rotated.
    pub secrets: Vec<KeySecret>,
    /// The rotation that is under way.
    pub rotation: Option<Rotation>,
    /// The key itself, if it is publishable and the configuration keeps such keys visible.
    pub visible_key: Option<String>,
    /// What it was used for by day; only in a list that was asked for with `usage_days`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub usage: Option<DailyUsage>,
}

/// Where a key may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyKind {
    /// On servers.
    #[default]
    Secret,
    /// In browsers and apps.
    Publishable,
}

impl KeyKind {
    pub(in crate::admin) fn as_str(self) -> &'static str {
        KeyType::from(self).as_str()
    }
}

impl From<KeyKind> for KeyType {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Secret => Self::Secret,
            KeyKind::Publishable => Self::Publishable,
        }
    }
}

impl From<KeyType> for KeyKind {
    fn from(key_type: KeyType) -> Self {
        match key_type {
            KeyType::Secret => Self::Secret,
            KeyType::Publishable => Self::Publishable,
        }
    }
}

/// What a key is good for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum Status {
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

impl Status {
    pub(in crate::admin) fn as_str(self) -> &'static str {
        crate::store::KeyStatus::from(self).as_str()
    }
}

impl From<crate::store::KeyStatus> for Status {
    fn from(status: crate::store::KeyStatus) -> Self {
        use crate::store::KeyStatus as Known;
        match status {
            Known::Active => Self::Active,
            Known::Disabled => Self::Disabled,
            Known::Expired => Self::Expired,
            Known::NotYetValid => Self::NotYetValid,
            Known::Revoked => Self::Revoked,
        }
    }
}

impl From<Status> for crate::store::KeyStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Disabled => Self::Disabled,
            Status::Expired => Self::Expired,
            Status::NotYetValid => Self::NotYetValid,
            Status::Revoked => Self::Revoked,
        }
    }
}

/// Where a key or a client stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum Source {
    /// In the store: it can be changed here.
    Store,
    /// In the configuration's files: it can be changed there.
    File,
}

impl Source {
    pub(in crate::admin) fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::File => "file",
        }
    }
}

impl From<KeyOrigin> for Source {
    fn from(origin: KeyOrigin) -> Self {
        match origin {
            KeyOrigin::Store => Self::Store,
            KeyOrigin::File => Self::File,
        }
    }
}

impl From<Source> for KeyOrigin {
    fn from(source: Source) -> Self {
        match source {
            Source::Store => Self::Store,
            Source::File => Self::File,
        }
    }
}

/// One secret of a key. The secret itself is never kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct KeySecret {
    /// What may be shown of it.
    pub masked: String,
    /// What it is in a rotation.
    pub state: SecretKind,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// Refused from this moment on.
    #[schema(format = DateTime)]
    pub valid_until: Option<String>,
    /// Where and when it was last used.
    pub last_use: Option<LastUse>,
}

/// What a secret is in a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum SecretKind {
    /// The one in use.
    Current,
    /// New, and not used yet.
    Pending,
    /// Replaced, and good until its end.
    Superseded,
}

/// Where and when a secret was last used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct LastUse {
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// For which endpoint.
    pub endpoint: String,
    /// From which address.
    pub address: String,
}

/// A rotation that is under way: an old secret is still good, or the new one waits to be used.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct Rotation {
    /// The new secret has not been used yet.
    pub is_pending: bool,
    /// When the last old secret ends; null while the new one waits to be used.
    #[schema(format = DateTime)]
    pub ends_at: Option<String>,
    /// Somebody has used an old secret after the new one was made.
    pub old_still_used: bool,
}

impl Key {
    pub(in crate::admin) fn of(detail: &KeyDetail, now: Timestamp) -> Self {
        let KeyDetail { key, client, secrets } = detail;
        let status = detail.status(now);
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            description: key.description.clone(),
            client: client.client.id.to_string(),
            client_name: client.client.name.to_string(),
            client_type: client.client.client_type.to_string(),
            tenant: client.client.tenant.as_ref().map(ToString::to_string),
            r#type: key.key_type.into(),
            environment: key.environment.as_ref().map(ToString::to_string),
            status: status.into(),
            active: key.disabled.is_none(),
            disabled_reason: key.disabled.as_ref().and_then(|disabled| disabled.reason.clone()),
            disabled_at: key.disabled.as_ref().map(|disabled| time(disabled.at)),
            not_before: key.not_before.map(time),
            expires_at: key.expires_at.map(time),
            permissions: Permissions::of(&key.grants),
            networks: key.networks.iter().map(ToString::to_string).collect(),
            origins: key.origins.iter().map(ToString::to_string).collect(),
            plan: key.plan.as_ref().map(ToString::to_string),
            masked: detail.current().map_or_else(|| "…".to_owned(), |secret| secret.mask.clone()),
            source: key.origin.into(),
            created_at: time(key.created_at),
            created_by: key.created_by.clone(),
            updated_at: time(key.updated_at),
            last_used_at: key.last_used_at.map(time),
            version: key.version,
            rotation: rotation(secrets, now),
            secrets: secrets.iter().map(KeySecret::of).collect(),
            visible_key: key.visible.clone(),
            usage: None,
        }
    }
}

fn rotation(secrets: &[SecretRow], now: Timestamp) -> Option<Rotation> {
    let newest = secrets.first()?;
    let is_good = |secret: &&SecretRow| secret.valid_until.is_none_or(|until| until > now);
    let old: Vec<&SecretRow> = secrets[1..].iter().filter(is_good).collect();
    if old.is_empty() {
        return None;
    }
    let was_used = |secret: &&SecretRow| secret.last_use.as_ref().is_some_and(|last| last.at > newest.created_at);
    Some(Rotation {
        is_pending: newest.state == SecretState::Pending,
        ends_at: old.iter().filter_map(|secret| secret.valid_until).max().map(time),
        old_still_used: old.iter().any(was_used),
    })
}

impl KeySecret {
    fn of(secret: &SecretRow) -> Self {
        Self {
            masked: secret.mask.clone(),
            state: match secret.state {
                SecretState::Current => SecretKind::Current,
                SecretState::Pending => SecretKind::Pending,
                SecretState::Superseded => SecretKind::Superseded,
            },
            created_at: time(secret.created_at),
            valid_until: secret.valid_until.map(time),
            last_use: secret.last_use.as_ref().map(|last| LastUse {
                at: time(last.at),
                endpoint: last.endpoint.clone(),
                address: last.address.clone(),
            }),
        }
    }
}

/// A part of the list of keys.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct KeyPage {
    /// Keys.
    pub items: Vec<Key>,
    /// What to ask for as `cursor` to get the next part; null on the last one.
    pub next_cursor: Option<String>,
}

/// A key to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct CreateKey {
    /// What it is for, in a few words; unique among the keys of one tenant.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// More about it.
    #[schema(max_length = 500)]
    pub description: Option<String>,
    /// Whose it is: the id of a client, or a client that is made if there is none of its id.
    pub client: ClientReference,
    /// Where it may be kept.
    #[serde(default)]
    pub r#type: KeyKind,
    /// Where it is good. Default: the environment that this gateway serves.
    pub environment: Option<String>,
    /// `false` makes a key that is switched off.
    pub active: Option<bool>,
    /// Refused before this moment.
    #[schema(format = DateTime)]
    pub not_before: Option<String>,
    /// Refused from this moment on. The policy may ask for it, or bound it.
    #[schema(format = DateTime)]
    pub expires_at: Option<String>,
    /// What it may do at most. Default: all that its client may.
    pub permissions: Option<Permissions>,
    /// Networks it may be used from, such as `10.0.0.0/8`. Default: any.
    #[schema(max_items = 100)]
    pub networks: Option<Vec<String>>,
    /// Web pages it may be used from, such as `https://shop.example`; publishable keys only. Default: any.
    #[schema(max_items = 100)]
    pub origins: Option<Vec<String>>,
    /// The plan whose limits hold for it, by its name in the configuration. Default: that of its client.
    pub plan: Option<String>,
    /// The key itself, if it is not to be made at random: visible ASCII without blanks.
    #[schema(min_length = 1, max_length = 512)]
    pub secret: Option<String>,
}

impl CreateKey {
    pub(in crate::admin) fn read(self, faults: &mut Vec<Fault>) -> Option<management::CreateKey> {
        let environment = environment(self.environment.as_deref(), faults);
        let not_before = moment(self.not_before.as_deref(), "/not_before", faults);
        let expires_at = moment(self.expires_at.as_deref(), "/expires_at", faults);
        let grants = grants(self.permissions.as_ref(), faults);
        let networks = each(&self.networks.unwrap_or_default(), "/networks", faults, parse_network);
        let origins = each(&self.origins.unwrap_or_default(), "/origins", faults, parse_origin);
        let plan = plan(self.plan.as_deref(), "/plan", faults);
        let client = self.client.read("/client", faults)?;
        Some(management::CreateKey {
            name: self.name,
            description: self.description,
            client,
            key_type: self.r#type.into(),
            environment,
            is_disabled: self.active == Some(false),
            not_before,
            expires_at,
            grants,
            networks,
            origins,
            plan,
            secret: self.secret.map(|text| Secret::owned(text.into_bytes())),
        })
    }
}

pub(super) fn plan(text: Option<&str>, pointer: &str, faults: &mut Vec<Fault>) -> Option<Plan> {
    text.and_then(|text| word(text, pointer, faults, Plan::parse))
}

pub(super) fn environment(text: Option<&str>, faults: &mut Vec<Fault>) -> Option<Environment> {
    text.and_then(|text| word(text, "/environment", faults, Environment::parse))
}

pub(in crate::admin) fn moment(text: Option<&str>, pointer: &str, faults: &mut Vec<Fault>) -> Option<Timestamp> {
    text.and_then(|text| word(text, pointer, faults, str::parse::<Timestamp>))
}

pub(super) fn grants(permissions: Option<&Permissions>, faults: &mut Vec<Fault>) -> Grants {
    permissions.map_or(Grants::Unrestricted, |permissions| permissions.read("/permissions", faults))
}

/// A key that was made, or has a new secret. The secret is shown this once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct CreatedKey {
    /// The key.
    pub key: Key,
    /// The whole key, to be given to whoever will use it. It is not kept, and cannot be shown again. Null if it was chosen
    /// by whoever asked.
    pub secret: Option<String>,
    /// What should be looked at.
    pub warnings: Vec<Warning>,
}

impl CreatedKey {
    pub(in crate::admin) fn of(created: management::Created, now: Timestamp) -> Self {
        Self {
            key: Key::of(&created.detail, now),
            secret: created.secret.map(|secret| String::from_utf8_lossy(secret.expose()).into_owned()),
            warnings: Warning::all(created.warnings),
        }
    }
}

/// What is to be changed about a key. What is absent stays; null takes away what was there.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::admin) struct EditKey {
    /// What it is for, in a few words.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// More about it.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 500)]
    pub description: Option<Option<String>>,
    /// Where it is good.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub environment: Option<Option<String>>,
    /// Refused before this moment.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Option<String>>,
    /// Refused from this moment on.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<String>>,
    /// What it may do at most.
    pub permissions: Option<Permissions>,
    /// Networks it may be used from; any if empty.
    #[schema(max_items = 100)]
    pub networks: Option<Vec<String>>,
    /// Web pages it may be used from; any if empty.
    #[schema(max_items = 100)]
    pub origins: Option<Vec<String>>,
    /// The plan whose limits hold for it, by its name in the configuration.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub plan: Option<Option<String>>,
}

impl EditKey {
    pub(in crate::admin) fn read(self, faults: &mut Vec<Fault>) -> management::EditKey {
        management::EditKey {
            name: self.name,
            description: self.description,
            environment: self.environment.map(|text| environment(text.as_deref(), faults)),
            not_before: self.not_before.map(|text| moment(text.as_deref(), "/not_before", faults)),
            expires_at: self.expires_at.map(|text| moment(text.as_deref(), "/expires_at", faults)),
            grants: self.permissions.map(|permissions| permissions.read("/permissions", faults)),
            networks: self.networks.map(|list| each(&list, "/networks", faults, parse_network)),
            origins: self.origins.map(|list| each(&list, "/origins", faults, parse_origin)),
            plan: self.plan.map(|text| plan(text.as_deref(), "/plan", faults)),
        }
    }
}

/// How a key is to be rotated.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::admin) struct RotateKey {
    /// How long the old secret stays good, in seconds: from 0, which ends it now, to 30 days. Default: a day.
    #[schema(minimum = 0, maximum = 2_592_000)]
    pub grace_seconds: Option<u64>,
    /// The grace begins with the first use of the new secret.
    pub pending: bool,
    /// The new secret, if it is not to be made at random.
    #[schema(min_length = 1, max_length = 512)]
    pub secret: Option<String>,
    /// Another end for the key; null for none.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Option<String>>,
}

impl RotateKey {
    pub(in crate::admin) fn read(self, faults: &mut Vec<Fault>) -> management::RotateKey {
        management::RotateKey {
            grace: self.grace_seconds.map_or(management::USUAL_GRACE, std::time::Duration::from_secs),
            is_pending: self.pending,
            secret: self.secret.map(|text| Secret::owned(text.into_bytes())),
            expires_at: self.expires_at.map(|text| moment(text.as_deref(), "/expires_at", faults)),
        }
    }
}

/// A key that is gone.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct RevokedKey {
    /// As it was.
    pub key: Key,
    /// Its client went with it: it belonged to a machine, and this was its last key.
    pub client_removed: bool,
    /// What should be looked at.
    pub warnings: Vec<Warning>,
}

/// Plain keys to be looked up. They are turned into digests at once, and kept nowhere.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct LookupRequest {
    /// The keys.
    #[schema(min_items = 1, max_items = 100)]
    pub secrets: Vec<String>,
}

/// What was found of them.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct LookupResult {
    /// Those that are known, revoked ones among them.
    pub found: Vec<FoundKey>,
}

/// A key that was looked up.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct FoundKey {
    /// Its place among those that were asked for, from 0.
    pub index: usize,
    /// The key.
    pub key: Key,
}
