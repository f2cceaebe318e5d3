//! What the cells are made of. `tests/loom` puts its own in place of these and tries every order of events.

pub use std::hint::spin_loop as spin;
pub use std::sync::atomic::{AtomicU64, Ordering};
pub use std::sync::{Mutex, OnceLock, PoisonError};
