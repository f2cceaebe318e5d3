//! The whole decision for one request: who is calling, what for, and whether they may.
//!
//! [`admit`] is called once for each request with what was sent ([`RequestHead`]), the rules and the keys in force, and
//! the time. It gives a [`Permit`] or a [`Rejection`], reads memory only and never waits.
//!
//! Nothing reaches an upstream without a permit, and only this module can make one.

mod head;
mod permit;
mod rejection;

pub use head::RequestHead;
pub use permit::{CredentialUse, Permit};
pub use rejection::Rejection;
