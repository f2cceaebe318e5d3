//! What keys did since somebody last asked.

use std::net::IpAddr;
use std::sync::Arc;

use super::{KeyId, SecretTag, Timestamp};

/// What one key did for one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageSample {
    /// The key.
    pub key: KeyId,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that were refused although the key is known.
    pub refused: u64,
    /// The last request that was admitted.
    pub last: Option<LastUse>,
}

/// The last request that was admitted with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUse {
    /// The secret that was shown.
    pub secret: SecretTag,
    /// When.
    pub at: Timestamp,
    /// From which address.
    pub address: IpAddr,
    /// The secret had waited for its first use.
    pub was_pending: bool,
}
