//! From host, path and method to one rule, or to the reason there is none.
//!
//! [`Router::build`] takes every endpoint of a configuration and refuses two that could both claim a path with the same
//! right. [`Router::find`] is called once for each request with a [`CanonicalPath`]: the only form of a path that is
//! judged, and the same bytes that are forwarded.
//!
//! Order in the file never matters: the most specific pattern wins, and the work to find it is bounded when the router
//! is built. The query never takes part, nor does anything else a caller says about a request. Whether the rule admits
//! the method, and whether the caller may, is decided elsewhere.
//!
//! What goes wrong in gateways is that they and the upstream read one path in two ways. So a rule that was found must be
//! the rule that is found again for each other way the path could be read; if it is not, the request is refused.

mod endpoint;
mod path;
mod pattern;
mod reading;
mod router;
#[cfg(test)]
pub(crate) mod testing;
mod tree;

pub use endpoint::{
    Cors, Endpoint, ErrorFormat, ErrorStyle, PathAdmissions, Place, PrefixSwap, Route, Rule, RuleLimits,
};
pub use path::{AmbiguousPath, CanonicalPath};
pub use pattern::{InvalidPattern, PathPattern, Segment};
pub use router::{ClashKind, NoMatch, RouteClash, Router, RuleRef};
