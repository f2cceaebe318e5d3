//! (being written)
use std::sync::Arc;
use http::Method;
use super::{CanonicalPath, Endpoint, Rule};

/// Names one rule of a router: an endpoint's own, or that of a route below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleRef { /// Index into [`Router::endpoints`].
    pub endpoint: usize, /// Index into the endpoint's routes; `None` for the endpoint's own rule.
    pub route: Option<usize> }
/// Why no rule governs a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoMatch {
    /// No endpoint for the host and path (404).
    NotFound,
    /// The path could be read as another endpoint's, or holds a construct that its endpoint does not admit (400).
    Ambiguous(&'static str),
}
/// Two entries that could claim the same path with the same right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteClash { /// Index of the later endpoint.
    pub endpoint: usize, /// Its route, if the clash is between routes.
    pub route: Option<usize>, /// Index of the earlier endpoint.
    pub with: usize }
/// All endpoints, found by listener, host and path.
#[derive(Debug)]
pub struct Router { endpoints: Box<[Arc<Endpoint>]> }
impl Router {
    /// Builds the tree.
    pub fn build(endpoints: Vec<Endpoint>) -> Result<Self, Vec<RouteClash>> { Ok(Self { endpoints: endpoints.into_iter().map(Arc::new).collect() }) }
    /// The endpoints in the order they were written.
    pub fn endpoints(&self) -> &[Arc<Endpoint>] { &self.endpoints }
    /// Finds the rule for a path on a host, as reached through a listener. The method picks a route's override; whether
    /// the rule admits the method is for the caller ([`Rule::methods`]).
    pub fn find(&self, _listener: &str, _host: &str, _path: &CanonicalPath<'_>, _method: &Method) -> Result<RuleRef, NoMatch> { Err(NoMatch::NotFound) }
    /// The rule a reference names.
    pub fn rule(&self, rule: RuleRef) -> &Rule { let e = &self.endpoints[rule.endpoint]; rule.route.map_or(&e.base, |r| &e.routes[r].rule) }
}
