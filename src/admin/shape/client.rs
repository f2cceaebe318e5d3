//! Clients as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key::Source;
use super::{Permissions, Warning, each, nullable, time, word};
use crate::client::{self, ClientId, ClientType, Grants, Group, OwnerKind, Plan, Tenant};
use crate::management::{self, ClientChoice, Fault};
use crate::store::ClientRow;

/// Somebody who calls: the one rules, logs and upstreams speak of.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct Client {
    /// Stable and unique.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The class of client that rules name.
    pub client_type: String,
    /// The customer or project it belongs to.
    pub tenant: Option<String>,
    /// Who answers for it.
    pub owner: Option<Owner>,
    /// Whether it is switched on. A client that is not refuses all its keys.
    pub active: bool,
    /// Why it was switched off.
    pub disabled_reason: Option<String>,
    /// When it was switched off.
    #[schema(format = DateTime)]
    pub disabled_at: Option<String>,
    /// Its groups, as expressions see them.
    pub groups: Vec<String>,
    /// What it may do.
    pub permissions: Permissions,
    /// The plan whose limits hold for its keys, those with a plan of their own excepted.
    pub plan: Option<String>,
    /// Notes for people.
    pub metadata: BTreeMap<String, String>,
    /// How many keys it has, revoked ones excepted.
    pub keys: i64,
    /// Where it stands.
    pub source: Source,
    /// When it was made.
    #[schema(format = DateTime)]
    pub created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    pub updated_at: String,
    /// Counts its changes; also its `ETag`.
    pub version: i64,
    /// What should be looked at, in the answer to a change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// Who answers for a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct Owner {
    /// Person or program.
    pub kind: Kind,
    /// The owner's id in your own records.
    #[schema(min_length = 1, max_length = 200)]
    pub id: String,
}

/// Whether an owner is a person or a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::admin) enum Kind {
    /// A person.
    User,
    /// A program. It goes with its last key, and its keys go with it.
    Machine,
}

impl From<Kind> for OwnerKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::User,
            Kind::Machine => Self::Machine,
        }
    }
}

impl Owner {
    fn of(owner: &client::Owner) -> Self {
        let kind = match owner.kind {
            OwnerKind::User => Kind::User,
            OwnerKind::Machine => Kind::Machine,
        };
        Self { kind, id: owner.id.to_string() }
    }

    fn read(self, pointer: &str, faults: &mut Vec<Fault>) -> client::Owner {
        let is_good = !self.id.is_empty() && self.id.chars().count() <= 200 && !self.id.chars().any(char::is_control);
        if !is_good {
            let detail = "write 1 to 200 characters that can be printed";
            faults.push(Fault::new(format!("{pointer}/id"), "word_invalid", detail));
        }
        client::Owner { kind: self.kind.into(), id: self.id.into() }
    }
}

impl Client {
    pub(in crate::admin) fn of(row: &ClientRow, warnings: Vec<management::Warning>) -> Self {
        let client = &row.client;
        Self {
            id: client.id.to_string(),
            name: client.name.to_string(),
            client_type: client.client_type.to_string(),
            tenant: client.tenant.as_ref().map(ToString::to_string),
            owner: client.owner.as_ref().map(Owner::of),
            active: client.active,
            disabled_reason: row.disabled.as_ref().and_then(|disabled| disabled.reason.clone()),
            disabled_at: row.disabled.as_ref().map(|disabled| time(disabled.at)),
            groups: client.groups.iter().map(ToString::to_string).collect(),
            permissions: Permissions::of(&client.grants),
            plan: client.plan.as_ref().map(ToString::to_string),
            metadata: client.metadata.clone(),
            keys: row.keys.unwrap_or(0),
            source: row.origin.into(),
            created_at: time(row.created_at),
            updated_at: time(row.updated_at),
            version: row.version,
            warnings: Warning::all(warnings),
        }
    }
}

/// A part of the list of clients.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct ClientPage {
    /// Clients.
    pub items: Vec<Client>,
    /// What to ask for as `cursor` to get the next part; null on the last one.
    pub next_cursor: Option<String>,
}

/// A client to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::admin) struct CreateClient {
    /// Stable and unique: visible ASCII without blanks and commas.
    #[schema(min_length = 1, max_length = 128)]
    pub id: String,
    /// What people call it. Default: the id.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// The class of client that rules name.
    #[schema(min_length = 1, max_length = 128)]
    pub client_type: String,
    /// The customer or project it belongs to.
    pub tenant: Option<String>,
    /// Who answers for it.
    pub owner: Option<Owner>,
    /// Its groups, as expressions see them.
    #[schema(max_items = 100)]
    pub groups: Option<Vec<String>>,
    /// What it may do. Default: all that its type may.
    pub permissions: Option<Permissions>,
    /// The plan whose limits hold for its keys, by its name in the configuration. Default: the default plan.
    pub plan: Option<String>,
    /// Notes for people.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl CreateClient {
    pub(in crate::admin) fn read(self, at: &str, faults: &mut Vec<Fault>) -> Option<management::CreateClient> {
        let pointer = |field: &str| format!("{at}/{field}");
        let id = word(&self.id, &pointer("id"), faults, ClientId::parse);
        let client_type = word(&self.client_type, &pointer("client_type"), faults, ClientType::parse);
        let tenant = self.tenant.and_then(|text| word(&text, &pointer("tenant"), faults, Tenant::parse));
        let owner = self.owner.map(|owner| owner.read(&pointer("owner"), faults));
        let groups = each(&self.groups.unwrap_or_default(), &pointer("groups"), faults, Group::parse);
        let grants = self
            .permissions
            .map_or(Grants::Unrestricted, |permissions| permissions.read(&pointer("permissions"), faults));
        let plan = self.plan.and_then(|text| word(&text, &pointer("plan"), faults, Plan::parse));
        Some(management::CreateClient {
            id: id?,
            name: self.name,
            client_type: client_type?,
            tenant,
            owner,
            groups,
            grants,
            plan,
            metadata: self.metadata.unwrap_or_default(),
        })
    }
}

/// The id of a client, or a client that is made if there is none of its id.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged)]
pub(in crate::admin) enum ClientReference {
    /// One that is there.
    Id(String),
    /// One that is made if it is not there.
    New(Box<CreateClient>),
}

impl ClientReference {
    pub(in crate::admin) fn read(self, at: &str, faults: &mut Vec<Fault>) -> Option<ClientChoice> {
        match self {
            Self::Id(text) => word(&text, at, faults, ClientId::parse).map(ClientChoice::Existing),
            Self::New(client) => client.read(at, faults).map(|client| ClientChoice::Ensured(Box::new(client))),
        }
    }
}

/// What is to be changed about a client. What is absent stays; null takes away what was there.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::admin) struct EditClient {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// The class of client that rules name.
    #[schema(min_length = 1, max_length = 128)]
    pub client_type: Option<String>,
    /// The customer or project it belongs to.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<Option<String>>,
    /// Who answers for it.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<Owner>)]
    pub owner: Option<Option<Owner>>,
    /// Its groups.
    #[schema(max_items = 100)]
    pub groups: Option<Vec<String>>,
    /// What it may do.
    pub permissions: Option<Permissions>,
    /// The plan whose limits hold for its keys, by its name in the configuration.
    #[serde(deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    pub plan: Option<Option<String>>,
    /// Notes for people; those that were there are replaced.
    pub metadata: Option<BTreeMap<String, String>>,
}

impl EditClient {
    pub(in crate::admin) fn read(self, faults: &mut Vec<Fault>) -> management::EditClient {
        management::EditClient {
            name: self.name,
            client_type: self.client_type.and_then(|text| word(&text, "/client_type", faults, ClientType::parse)),
            tenant: self.tenant.map(|text| text.and_then(|text| word(&text, "/tenant", faults, Tenant::parse))),
            owner: self.owner.map(|owner| owner.map(|owner| owner.read("/owner", faults))),
            groups: self.groups.map(|list| each(&list, "/groups", faults, Group::parse)),
            grants: self.permissions.map(|permissions| permissions.read("/permissions", faults)),
            plan: self.plan.map(|text| text.and_then(|text| word(&text, "/plan", faults, Plan::parse))),
            metadata: self.metadata,
        }
    }
}

/// A client that is gone.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct DeletedClient {
    /// Its id.
    pub id: String,
    /// How many keys were revoked with it.
    pub keys_revoked: usize,
}

/// Owners of clients.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct OwnerList {
    /// By kind and id; a thousand at most.
    pub items: Vec<OwnerSummary>,
}

/// An owner, and how much it owns.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct OwnerSummary {
    /// `user` or `machine`.
    pub kind: String,
    /// The owner's id in your own records.
    pub id: String,
    /// Clients it answers for.
    pub clients: i64,
    /// Their keys.
    pub keys: i64,
}

/// What went with an owner.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::admin) struct RemovedOwner {
    /// Clients that are gone.
    pub clients_removed: usize,
    /// Keys that were revoked.
    pub keys_revoked: usize,
    /// Keys that were switched off.
    pub keys_disabled: usize,
}
