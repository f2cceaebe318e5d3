//! One configured entry: where it is found, who may use it, where it leads. Plain data, compiled by `config`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::PathPattern;
use crate::credential::Extractor;
use crate::limit::Policies;
use crate::policy::Policy;
use crate::upstream::Upstream;

/// Where something was written, for people: `gateway.yaml:12`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Counted from 1; 0 where it is not known.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.line == 0 { f.write_str(&self.file) } else { write!(f, "{}:{}", self.file, self.line) }
    }
}

/// An endpoint: a route, a policy and an upstream, with a name.
#[derive(Debug)]
pub struct Endpoint {
    /// Unique; what logs, metrics and answers call it.
    pub name: Arc<str>,
    /// Where it was written.
    pub place: Place,
    /// Host names it is for, in lower case, `*.` in front for any one label or more; any host if empty.
    pub hosts: Box<[Box<str>]>,
    /// The path at and below which it governs.
    pub pattern: PathPattern,
    /// Names of the listeners it is reachable on; all if empty.
    pub listeners: Box<[Arc<str>]>,
    /// The rules for everything no route overrides.
    pub base: Rule,
    /// Overrides for one verb and one exact path each, with what they inherit filled in.
    pub routes: Box<[Route]>,
    /// Constructs in a path that are refused unless an endpoint admits them.
    pub admits: PathAdmissions,
    /// Paths that differ only by letter case are different things here: do not refuse them.
    pub case_distinct: bool,
    /// Where requests go.
    pub upstream: Arc<Upstream>,
    /// The only change of a path, made after the verdict.
    pub prefix_swap: Option<PrefixSwap>,
    /// Where callers show their key.
    pub extractor: Arc<Extractor>,
    /// Leave the credential in the request.
    pub forwards_credential: bool,
    /// Rewriting headers (`X-Original-URL`, ..) that may pass to this upstream.
    pub passes_headers: Box<[HeaderName]>,
    /// Pass the request's trailers on.
    pub passes_request_trailers: bool,
    /// Protocols a connection may be upgraded to, in lower case.
    pub upgrades: Box<[Box<str>]>,
    /// Answers to browsers that ask from another origin.
    pub cors: Option<Cors>,
    /// The largest request body, in bytes.
    pub max_body: Option<u64>,
    /// Overrides the upstream's response timeout.
    pub response_timeout: Option<Duration>,
    /// The shape of refusals.
    pub errors: ErrorStyle,
}

/// A policy with what decides which methods it is asked for.
#[derive(Debug)]
pub struct Rule {
    /// Where it was written.
    pub place: Place,
    /// Methods that are admitted, `HEAD` with `GET`; 405 for others.
    pub methods: Box<[Method]>,
    /// Who may.
    pub policy: Policy,
    /// How much.
    pub limits: RuleLimits,
}

/// The limits of a rule, beside those of the caller.
#[derive(Debug, Clone)]
pub struct RuleLimits {
    /// Those that hold here.
    pub policies: Policies,
    /// What a request takes out of each limit that concerns it.
    pub cost: u32,
}

impl Default for RuleLimits {
    /// None, and each request counts as one.
    fn default() -> Self {
        Self { policies: Box::default(), cost: 1 }
    }
}

/// An override below an endpoint: `VERB /exact/path`.
#[derive(Debug)]
pub struct Route {
    /// As written, for people.
    pub text: Box<str>,
    /// The verb; `None` for `ALL`.
    pub method: Option<Method>,
    /// The whole path, the endpoint's own included.
    pub pattern: PathPattern,
    /// Its rules.
    pub rule: Rule,
}

/// Constructs in a path that two readers might take differently, admitted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathAdmissions {
    /// `%2F` as data within a segment.
    pub encoded_slash: bool,
    /// `;` as data within a segment.
    pub semicolon: bool,
    /// Percent-encoded unreserved characters such as `%61`.
    pub encoded_unreserved: bool,
}

/// Swaps the endpoint's own prefix for another towards the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixSwap {
    /// Number of path segments that are replaced.
    pub segments: usize,
    /// What stands there instead, without a trailing slash; empty for the root.
    pub with: Box<str>,
}

/// Cross-origin answers (the Fetch standard, section 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Origins that may ask, in lower case; `None` means any.
    pub origins: Option<Box<[Box<str>]>>,
    /// Methods a preflight allows.
    pub methods: Box<[Method]>,
    /// Headers a preflight allows; `None` means those asked for.
    pub headers: Option<Box<[HeaderName]>>,
    /// Response headers that scripts may read.
    pub expose: Option<HeaderValue>,
    /// Whether cookies may be sent.
    pub credentials: bool,
    /// How long a browser may remember.
    pub max_age: Duration,
}

/// The body of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ErrorFormat {
    /// RFC 9457 problem details.
    #[default]
    Problem,
    /// `{"error":{"code","message","required"}}`.
    Envelope,
    /// `{"statusCode","error","message"}`.
    Bkend,
    /// `[]` for 401, `{"errors":{..}}` for others.
    Billabear,
}

/// How refusals look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorStyle {
    /// The shape.
    pub format: ErrorFormat,
    /// Tell the caller the exact reason of a 401, not only that the credential was rejected.
    pub full_detail: bool,
}
