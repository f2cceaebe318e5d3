//! The rules in force, as they can be shown: what was written where.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Observatory;
use crate::client::Permission;
use crate::policy::{PermissionRule, Policy, TenantBinding};
use crate::routing::{Endpoint, Place, Rule};
use crate::upstream::{Upstream, UpstreamKind};

/// The rules in force.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EndpointList {
    /// Of the configuration they are from.
    pub generation: u64,
    /// The environment that the gateway serves; keys of others are refused.
    pub environment: Option<String>,
    /// Addresses that callers connect to.
    pub listeners: Vec<SeenListener>,
    /// The endpoints, in the order in which they were written.
    pub items: Vec<SeenEndpoint>,
}

/// An address that callers connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeenListener {
    /// Its name.
    pub name: String,
    /// Address and port.
    pub address: String,
    /// It speaks TLS.
    pub is_tls: bool,
    /// Requests that come in here count as made from the back office.
    pub is_backoffice: bool,
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeenPlace {
    /// The file.
    pub file: String,
    /// The line, counted from 1; null where it is not known.
    pub line: Option<usize>,
}

impl SeenPlace {
    pub(super) fn of(place: &Place) -> Self {
        Self { file: place.file.to_string(), line: Some(place.line).filter(|line| *line > 0) }
    }
}

/// An endpoint: a path, rules and an upstream, with a name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SeenEndpoint {
    /// Its name.
    pub name: String,
    /// Where it was written.
    pub place: SeenPlace,
    /// Host names it is for; any if empty.
    pub hosts: Vec<String>,
    /// The path at and below which it governs.
    pub path: String,
    /// Listeners it is reachable on; all if empty.
    pub listeners: Vec<String>,
    /// Where requests go.
    pub upstream: String,
    /// `http`, `echo`, or `self_service`.
    pub upstream_kind: String,
    /// The servers of that upstream.
    pub servers: Vec<SeenServer>,
    /// What stands in the place of the path towards the upstream; null if the path goes as it came.
    pub path_prefix: Option<String>,
    /// Where callers show their key, in order: a header's name, `authorization`, or `cookie`.
    pub credentials: Vec<String>,
    /// The largest body of a request, in bytes.
    pub max_body: Option<u64>,
    /// Browsers may ask from other origins.
    pub has_cors: bool,
    /// The rule for everything that no route overrides, and then those of the routes.
    pub rules: Vec<SeenRule>,
}

/// A server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeenServer {
    /// Host and port.
    pub authority: String,
    /// Requests are sent there over TLS.
    pub is_tls: bool,
}

/// Who may do what: the conditions of an endpoint, or of one route below it with what it inherits. All must hold.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SeenRule {
    /// The route as it was written, such as `GET /orders/:id`; null for the endpoint itself.
    pub route: Option<String>,
    /// The whole path it is for.
    pub path: String,
    /// Where it was written.
    pub place: SeenPlace,
    /// Methods that are admitted; `HEAD` goes with `GET`.
    pub methods: Vec<String>,
    /// Callers without a key may, as far as the other conditions allow.
    pub public: bool,
    /// The client must be of one of these types; null if any will do.
    pub client_types: Option<Vec<String>>,
    /// Types of key that are good here.
    pub key_types: Vec<String>,
    /// Permissions that are asked for.
    pub permissions: Vec<SeenPermission>,
    /// Whoever states no permissions is refused where some are asked for.
    pub require_permissions: bool,
    /// The condition in words.
    pub expression: Option<String>,
    /// The condition in words on listeners of the back office, where it is another.
    pub expression_backoffice: Option<String>,
    /// The address of the caller must be in one of these networks; any if empty.
    pub networks: Vec<String>,
    /// The request must come over TLS.
    pub https_only: bool,
    /// A trusted peer must name an end user.
    pub require_user: bool,
    /// Where the tenant of a request stands, which must be the client's.
    pub tenant: Option<String>,
}

/// Permissions that are asked for with some methods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeenPermission {
    /// With this method; null for all that are admitted.
    pub method: Option<String>,
    /// All of these.
    pub all_of: Vec<String>,
}

impl SeenRule {
    fn of(rule: &Rule, path: &str, route: Option<&str>) -> Self {
        let policy = &rule.policy;
        Self {
            route: route.map(str::to_owned),
            path: path.to_owned(),
            place: SeenPlace::of(&rule.place),
            methods: rule.methods.iter().map(ToString::to_string).collect(),
            public: policy.public,
            client_types: policy.client_types.as_ref().map(|types| types.iter().map(ToString::to_string).collect()),
            key_types: policy.admitted_key_types().iter().map(|key_type| key_type.as_str().to_owned()).collect(),
            permissions: permissions(policy),
            require_permissions: policy.require_permissions,
            expression: policy.allow.as_ref().map(ToString::to_string),
            expression_backoffice: policy.allow_backoffice.as_ref().map(ToString::to_string),
            networks: policy.networks.iter().map(ToString::to_string).collect(),
            https_only: policy.https_only,
            require_user: policy.require_user,
            tenant: policy.tenant.as_ref().map(|binding| match binding {
                TenantBinding::PathParameter(name) => format!("path parameter :{name}"),
                TenantBinding::Header(name) => format!("header {name}"),
                TenantBinding::HostLabel => "first label of the host".to_owned(),
            }),
        }
    }
}

fn permissions(policy: &Policy) -> Vec<SeenPermission> {
    let texts = |list: &[Permission]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    match &policy.permissions {
        PermissionRule::None => Vec::new(),
        PermissionRule::All(list) => vec![SeenPermission { method: None, all_of: texts(list) }],
        PermissionRule::ByMethod(entries) => entries
            .iter()
            .map(|(method, list)| SeenPermission { method: Some(method.to_string()), all_of: texts(list) })
            .collect(),
    }
}

/// The word for what an upstream is.
pub(super) fn kind_of(upstream: &Upstream) -> &'static str {
    match upstream.kind {
        UpstreamKind::Http(_) => "http",
        UpstreamKind::Echo => "echo",
        UpstreamKind::SelfService => "self_service",
    }
}

/// Each rule of an endpoint with its whole path and, for a route, how it was written.
pub(super) fn rules_of(endpoint: &Endpoint) -> impl Iterator<Item = (&Rule, &str, Option<&str>)> {
    let routes = endpoint.routes.iter().map(|route| (&route.rule, route.pattern.as_str(), Some(&*route.text)));
    std::iter::once((&endpoint.base, endpoint.pattern.as_str(), None)).chain(routes)
}

/// Permissions that the rules in force name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PermissionList {
    /// By what they are about, in the order of the alphabet.
    pub resources: Vec<Resource>,
}

/// What permissions are about.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Resource {
    /// The part before the last dot: `orders` of `orders.read`.
    pub name: String,
    /// The permissions.
    pub permissions: Vec<NamedPermission>,
}

/// A permission that rules name.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NamedPermission {
    /// The whole of it, such as `orders.read`.
    pub permission: String,
    /// What may be done: `read` of `orders.read`.
    pub operation: String,
    /// Endpoints whose rules name it.
    pub endpoints: Vec<String>,
}

impl Observatory {
    /// The rules in force.
    #[must_use]
    pub fn endpoints(&self) -> EndpointList {
        let snapshot = self.0.seen.snapshot.load();
        EndpointList {
            generation: snapshot.generation,
            environment: snapshot.environment.as_ref().map(ToString::to_string),
            listeners: self.listeners(),
            items: snapshot.router.endpoints().iter().map(|endpoint| shown(endpoint)).collect(),
        }
    }

    pub(super) fn listeners(&self) -> Vec<SeenListener> {
        let listeners = self.0.seen.settings.listeners.iter();
        listeners
            .map(|listener| SeenListener {
                name: listener.name.to_string(),
                address: listener.address.to_string(),
                is_tls: listener.is_tls,
                is_backoffice: listener.is_backoffice,
            })
            .collect()
    }

    /// Permissions that the rules in force name.
    #[must_use]
    pub fn permissions(&self) -> PermissionList {
        let snapshot = self.0.seen.snapshot.load();
        let mut named: BTreeMap<Permission, Vec<String>> = BTreeMap::new();
        for endpoint in snapshot.router.endpoints() {
            for (rule, ..) in rules_of(endpoint) {
                for permission in named_by(&rule.policy) {
                    let endpoints = named.entry(permission).or_default();
                    if endpoints.last().is_none_or(|last| **last != *endpoint.name) {
                        endpoints.push(endpoint.name.to_string());
                    }
                }
            }
        }
        let mut resources: Vec<Resource> = Vec::new();
        for (permission, endpoints) in named {
            let shown = NamedPermission {
                operation: permission.operation().to_owned(),
                permission: permission.to_string(),
                endpoints,
            };
            match resources.iter_mut().find(|resource| resource.name == permission.resource()) {
                Some(resource) => resource.permissions.push(shown),
                None => {
                    resources.push(Resource { name: permission.resource().to_owned(), permissions: vec![shown] });
                }
            }
        }
        resources.sort_by(|one, other| one.name.cmp(&other.name));
        PermissionList { resources }
    }
}

/// Every permission that a policy asks for or speaks of.
fn named_by(policy: &Policy) -> Vec<Permission> {
    let mut named: Vec<Permission> = match &policy.permissions {
        PermissionRule::None => Vec::new(),
        PermissionRule::All(list) => list.to_vec(),
        PermissionRule::ByMethod(entries) => entries.iter().flat_map(|(_, list)| list.iter().cloned()).collect(),
    };
    for expression in policy.allow.iter().chain(&policy.allow_backoffice) {
        named.extend(expression.permissions().into_iter().filter_map(|text| Permission::parse(text).ok()));
    }
    named
}

fn shown(endpoint: &Endpoint) -> SeenEndpoint {
    let texts = |list: &[Box<str>]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    SeenEndpoint {
        name: endpoint.name.to_string(),
        place: SeenPlace::of(&endpoint.place),
        hosts: texts(&endpoint.hosts),
        path: endpoint.pattern.as_str().to_owned(),
        listeners: endpoint.listeners.iter().map(ToString::to_string).collect(),
        upstream: endpoint.upstream.name.to_string(),
        upstream_kind: kind_of(&endpoint.upstream).to_owned(),
        servers: endpoint
            .upstream
            .servers()
            .iter()
            .map(|server| SeenServer { authority: server.authority.to_string(), is_tls: server.tls.is_some() })
            .collect(),
        path_prefix: endpoint.prefix_swap.as_ref().map(|swap| format!("{}/", swap.with)),
        credentials: endpoint.extractor.sources().iter().map(|source| source.label().to_owned()).collect(),
        max_body: endpoint.max_body,
        has_cors: endpoint.cors.is_some(),
        rules: rules_of(endpoint).map(|(rule, path, route)| SeenRule::of(rule, path, route)).collect(),
    }
}
