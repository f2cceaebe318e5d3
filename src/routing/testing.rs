//! Endpoints for tests, made in one line: `testing::endpoint("orders", "/orders")`.
//!
//! They are open to everybody, on every host and listener, and lead to the built-in echo. A test changes the fields it is
//! about.

use std::sync::Arc;

use http::Method;

use super::{Endpoint, ErrorStyle, PathAdmissions, PathPattern, Place, Route, Rule};
use crate::client::KeyType;
use crate::credential::{CredentialSource, Extractor, Prefixes};
use crate::policy::{PermissionRule, Policy};
use crate::upstream::{Upstream, UpstreamKind};

/// An endpoint that anybody may use. Keys are looked for in `X-Api-Key` and `Authorization`.
pub(crate) fn endpoint(name: &str, path: &str) -> Endpoint {
    let api_key = CredentialSource::Header { name: http::HeaderName::from_static("x-api-key"), deprecated: false };
    Endpoint {
        name: Arc::from(name),
        place: place(),
        hosts: Box::default(),
        pattern: pattern(path),
        listeners: Box::default(),
        base: rule(public_policy()),
        routes: Box::default(),
        admits: PathAdmissions::default(),
        case_distinct: false,
        upstream: echo_upstream(),
        prefix_swap: None,
        extractor: Arc::new(Extractor::new(vec![api_key, CredentialSource::Bearer], Prefixes::default())),
        forwards_credential: false,
        passes_headers: Box::default(),
        passes_request_trailers: false,
        upgrades: Box::default(),
        cors: None,
        max_body: None,
        response_timeout: None,
        errors: ErrorStyle::default(),
    }
}

/// A route as it is written: `GET /orders/:id`, or `ALL` for every verb. Anybody may use it.
pub(crate) fn route(text: &str) -> Route {
    let (verb, path) = text.split_once(' ').expect("a test writes a verb, a blank and a path");
    let method = (verb != "ALL").then(|| verb.parse().expect("a test writes a verb"));
    Route { text: text.into(), method, pattern: pattern(path), rule: rule(public_policy()) }
}

/// A rule with a policy, for the seven methods that `ALL` stands for.
pub(crate) fn rule(policy: Policy) -> Rule {
    let methods =
        [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
    Rule { place: place(), methods: methods.into(), policy, limits: Default::default() }
}

/// A policy without any condition.
pub(crate) fn public_policy() -> Policy {
    Policy {
        public: true,
        client_types: None,
        permissions: PermissionRule::None,
        key_types: [KeyType::Secret, KeyType::Publishable].into(),
        tenant: None,
        networks: Box::default(),
        https_only: false,
        require_user: false,
        allow: None,
        allow_backoffice: None,
        require_permissions: false,
    }
}

/// The built-in echo.
pub(crate) fn echo_upstream() -> Arc<Upstream> {
    Arc::new(Upstream::new("echo", UpstreamKind::Echo))
}

/// A pattern that is known to be one.
pub(crate) fn pattern(text: &str) -> PathPattern {
    PathPattern::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn place() -> Place {
    Place { file: Arc::from("gateway.yaml"), line: 1 }
}
