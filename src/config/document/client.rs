//! The shape of clients and their keys, in `gateway.yaml` and in keys files.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::client::{ClientId, ClientType, Environment, Group, KeyType, Permission, Plan, Tenant};
use crate::config::document::PLAN;
use crate::config::problem::Report;
use crate::config::read::{At, Map, Moment, Network, Shape, shape, unexpected, words};
use crate::config::tree::{Kind, Node};
use crate::keys::KeyId;

shape! {
    /// A keys file.
    KeysFileShape {
        /// Clients and their keys.
        clients: At<Vec<ClientShape>>,
    }
}

shape! {
    /// Somebody who calls: the one rules, logs and upstreams speak of.
    ClientShape {
        /// Stable and unique. Required.
        id: At<ClientId>,
        /// What people call it. Default: the id.
        name: Option<String>,
        /// The class of client that endpoints name. Required.
        client_type: At<ClientType>,
        /// The customer or project it belongs to. Default: none.
        tenant: Option<Tenant>,
        /// Who answers for it.
        owner: Option<OwnerShape>,
        /// `false` refuses all its keys. Default: `true`.
        active: Option<bool>,
        /// Its groups, as expressions see them. Default: none.
        groups: Option<Vec<Group>>,
        /// What it may do: a list, `all` or `read_only`. Default: `all`, unless `require_permissions` is set. An empty list
        /// means nothing.
        permissions: Option<GrantsShape>,
        /// The plan whose limits hold for its keys, those with a plan of their own excepted. Default: `default_plan`.
        plan: Option<At<Plan>>,
        /// Notes for people; nothing reads them.
        metadata: Option<Map<String>>,
        /// Its keys.
        keys: Option<Vec<Private<KeyShape>>>,
    }
    gone {
        "type" => "write `client_type`",
        "limits" => PLAN,
        "rate_limit" => PLAN,
        "rate_limits" => PLAN,
        "scopes" => "write `permissions`",
    }
}

shape! {
    /// Who answers for a client: one of `user` and `machine`.
    OwnerShape {
        /// The id of a person.
        user: Option<At<String>>,
        /// The id of a program.
        machine: Option<At<String>>,
    }
}

shape! {
    /// A key. The key itself is never written, only its digest.
    KeyShape {
        /// Stable, unique and public. Required.
        id: At<KeyId>,
        /// What people call it; unique among the keys of one tenant. Required.
        name: At<String>,
        /// What it is for.
        description: Option<String>,
        /// `secret` for keys that stay on servers, `publishable` for keys in browsers and apps. Default: `secret`.
        r#type: Option<KeyTypeWord>,
        /// Where it is good. Default: everywhere.
        environment: Option<Environment>,
        /// `false` refuses it. Default: `true`.
        active: Option<bool>,
        /// Refused before this moment, such as `2030-01-31T00:00:00Z`.
        not_before: Option<At<Moment>>,
        /// Refused from this moment on. Default: never.
        expires_at: Option<At<Moment>>,
        /// What it may do, at most; the client's permissions are the other bound. A list, `all` or `read_only`. Default:
        /// all that the client may.
        permissions: Option<At<GrantsShape>>,
        /// Networks it may be used from. Default: any.
        networks: Option<Vec<Network>>,
        /// Web pages it may be used from, such as `https://shop.example`. Default: any.
        origins: Option<Vec<At<String>>>,
        /// The plan whose limits hold for it. Default: that of the client.
        plan: Option<At<Plan>>,
        /// The digest of the key: `blake3:`, `blake3-keyed:` or `sha256:` and 64 hex digits. `keygate hash` makes one.
        digest: Option<At<String>>,
        /// Several digests, while one key replaces another.
        secrets: Option<At<Vec<SecretShape>>>,
    }
    gone {
        "secret" => "a configuration never holds a key; run `keygate hash` and write what it prints as `digest`",
        "key" => "a configuration never holds a key; run `keygate hash` and write what it prints as `digest`",
        "value" => "a configuration never holds a key; run `keygate hash` and write what it prints as `digest`",
        "token" => "a configuration never holds a key; run `keygate hash` and write what it prints as `digest`",
        "hash" => "write `digest`",
        "limits" => PLAN,
        "rate_limit" => PLAN,
        "rate_limits" => PLAN,
        "scopes" => "write `permissions`",
        "expires" => "write `expires_at`",
    }
}

shape! {
    /// One digest of a key.
    SecretShape {
        /// `blake3:`, `blake3-keyed:` or `sha256:` and 64 hex digits. Required.
        digest: At<String>,
        /// From this moment on it is refused, since another has replaced it. Default: never.
        valid_until: Option<Moment>,
    }
}

words! {
    /// Where a key may be kept.
    KeyTypeWord {
        /// On servers.
        Secret = "secret",
        /// In browsers and apps.
        Publishable = "publishable",
    }
}

impl From<KeyTypeWord> for KeyType {
    fn from(word: KeyTypeWord) -> Self {
        match word {
            KeyTypeWord::Secret => Self::Secret,
            KeyTypeWord::Publishable => Self::Publishable,
        }
    }
}

/// What a client or key was granted.
#[derive(Debug, Clone)]
pub(crate) enum GrantsShape {
    All,
    ReadOnly,
    Listed(Vec<At<Permission>>),
}

impl Shape for GrantsShape {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.kind {
            Kind::Text { value, .. } if value == "all" => Some(Self::All),
            Kind::Text { value, .. } if value == "read_only" => Some(Self::ReadOnly),
            Kind::List(_) => Vec::read(node, report).map(Self::Listed),
            _ => {
                unexpected(node, "`all`, `read_only` or a list of permissions", report);
                None
            }
        }
    }
}

impl JsonSchema for GrantsShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Grants".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "enum": ["all", "read_only"] }, generator.subschema_for::<Vec<Permission>>()] })
    }
}

/// A part of the file no line of which is ever shown in a report.
#[derive(Debug, Clone)]
pub(crate) struct Private<T>(pub T);

impl<T: Shape> Shape for Private<T> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        report.keep_private(node);
        T::read(node, report).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Private<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
