//! (being written)
pub mod peer;
pub use peer::Peer;
