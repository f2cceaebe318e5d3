//! What the tests stand on: a running gateway, a recording upstream, a caller that controls every byte, test keys.

pub mod admin;
pub mod caller;
pub mod certificates;
pub mod gateway;
pub mod http2;
pub mod http2_origin;
pub mod keys;
pub mod origin;
pub mod table;
pub mod wait;

pub use admin::Admin;
pub use caller::{Caller, Response, exchange, get, request};
pub use gateway::Gateway;
pub use http2_origin::Http2Origin;
pub use origin::{Origin, Play, Recorded};
pub use table::Report;
