//! What it takes to measure a proxy: something behind it, something before it, and counters beside it.
//!
//! [`Upstream`] answers, [`Load`] asks, [`Proxy`] is what stands between them: keygate, nginx or HAProxy, each told by
//! [`peers`] to do the same job, and made to show by [`proof`] that it does it. What it costs is counted in three ways:
//! time on a core ([`Proxy::busy`]), user-land instructions ([`instructions`]) and system calls ([`syscalls`]).
//!
//! `benches/side_by_side` compares with it, `tests/cost.rs` guards with it. Nothing here knows what a good figure is.
//!
//! An answer that was not expected is an error everywhere: a proxy that refuses is fast, and must not win by it.

pub mod cores;
pub mod http1;
pub mod http2;
pub mod instructions;
pub mod load;
pub mod peers;
pub mod proof;
pub mod proxy;
pub mod scenario;
pub mod site;
pub mod syscalls;
pub mod upstream;
pub mod wire;

pub use cores::Cores;
pub use load::Load;
pub use peers::{Kind, Peer};
pub use proxy::Proxy;
pub use scenario::Scenario;
pub use site::Site;
pub use upstream::Upstream;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// An error is a sentence for whoever started the measurement.
pub type Result<T> = std::result::Result<T, String>;

/// Says what was being done when something failed.
pub trait During<T> {
    /// The value, or the failure after a word on what failed.
    ///
    /// # Errors
    /// As the value had it.
    fn during(self, what: &str) -> Result<T>;
}

impl<T, E: std::fmt::Display> During<T> for std::result::Result<T, E> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|error| format!("{what}: {error}"))
    }
}

/// Writes a file that nobody else can read, as keys should be kept.
///
/// # Errors
/// The folder cannot be written, or has a file of this name.
pub fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(name));
    file.and_then(|mut file| file.write_all(text.as_bytes())).during(name)
}
