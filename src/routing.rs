//! From host, path and method to one endpoint, or to the reason there is none.
//!
//! [`Router::build`] takes every endpoint of a configuration and refuses two that could both claim a path with the same
//! right. [`Router::find`] is called once for each request with a [`CanonicalPath`]: the only form of a path that is
//! judged, and the same bytes that are forwarded.
//!
//! Order in the file never matters: the most specific pattern wins. The query never takes part.

mod endpoint;
mod path;
mod pattern;
mod tree;

pub use endpoint::{
    Cors, Endpoint, ErrorFormat, ErrorStyle, PathAdmissions, Place, PrefixSwap, Route, Rule,
};
pub use path::{AmbiguousPath, CanonicalPath};
pub use pattern::{InvalidPattern, PathPattern};
pub use tree::{NoMatch, RouteClash, Router, RuleRef};
