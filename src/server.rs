//! (being written)
pub mod guard;
pub mod peer;
pub mod violation;
pub use peer::Peer;
pub use violation::Violation;
