//! What an operator asks of keys that are issued.

use std::time::Duration;

/// What must be true of a key when it is made or changed. Keys that were made before stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Every key has an end.
    pub require_expiry: bool,
    /// No key ends later than so long after it is made or changed; one that states no end gets this one.
    pub max_age: Option<Duration>,
    /// Every key states its permissions.
    pub require_permissions: bool,
    /// So many keys a tenant may have, and as many those without a tenant together.
    pub max_keys: Option<usize>,
    /// Publishable keys are kept as they are, for their operator to see again.
    pub keep_publishable_visible: bool,
    /// Keys that were not used for so long are switched off.
    pub disable_unused_after: Option<Duration>,
    /// So long before its end a key's operator is told, longest first.
    pub notify_before_expiry: Vec<Duration>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Default for KeyPolicy {
    fn default() -> Self {
        Self {
            require_expiry: false,
            max_age: None,
            require_permissions: false,
            max_keys: None,
            keep_publishable_visible: false,
            disable_unused_after: None,
            notify_before_expiry: vec![30 * DAY, 7 * DAY, DAY],
        }
    }
}
