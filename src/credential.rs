//! What a request shows: a secret, and the place it was found.
//!
//! [`Extractor`] looks at the configured places in order and gives one [`Credential`], none, or says what is wrong. The
//! secret inside leaves only as a [`KeyDigest`]: it cannot be printed, compared or cloned, and is wiped when dropped.
//!
//! Whether the secret is known, and to whom it belongs, is for `authentication`.

mod challenge;
mod cookie;
mod digest;
mod extract;
mod names;
mod secret;
mod text;

pub use challenge::{Challenge, Challenges};
pub use cookie::{find_cookie, without_cookie};
pub use digest::{DigestScheme, InvalidDigest, KeyDigest, Pepper};
pub use extract::{Credential, Extracted, Extractor, MalformedCredential, OtherAuthorization, Prefixes};
pub use names::{FoldedNames, folds_alike};
pub use secret::{MAX_SECRET_BYTES, Secret};
pub use text::{KeyText, NoRandomness};

use http::HeaderName;

/// A place where a key may stand in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CredentialSource {
    /// The whole value of a header of its own, such as `X-Api-Key`.
    Header {
        /// The header's name.
        name: HeaderName,
        /// A deprecated place still works; its use is counted, and logged once for each client type.
        deprecated: bool,
    },
    /// `Authorization: Bearer <key>`; the scheme name in any case (RFC 6750 section 2.1, RFC 9110 section 11.1).
    Bearer,
    /// One cookie's value.
    Cookie {
        /// The cookie's name, compared byte for byte.
        name: Box<str>,
    },
}

impl CredentialSource {
    /// The word for it in logs, metrics and answers: the header's name, `authorization` or `cookie`.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Header { name, .. } => name.as_str(),
            Self::Bearer => "authorization",
            Self::Cookie { .. } => "cookie",
        }
    }
}
