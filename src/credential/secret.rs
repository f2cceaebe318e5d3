//! The bytes that must never be printed, stored or compared.

use std::fmt;
use std::sync::OnceLock;

use zeroize::Zeroizing;

/// The longest secret that is looked up, in bytes. Longer ones are refused before any work is done on them.
pub const MAX_SECRET_BYTES: usize = 512;

/// A secret as it was shown, on its way to becoming a digest.
///
/// It borrows from the request, or owns a copy that is wiped when dropped. There is no `Display`, `Debug` says only that
/// there is one, and there is no equality: two secrets are the same if their digests are.
pub struct Secret<'a> {
    bytes: Bytes<'a>,
    /// Its BLAKE3 digest, once somebody has asked for that: it is asked for more than once.
    blake3: OnceLock<[u8; 32]>,
}

enum Bytes<'a> {
    Borrowed(&'a [u8]),
    Owned(Zeroizing<Vec<u8>>),
}

impl<'a> Secret<'a> {
    /// The secret that stands in a request.
    #[must_use]
    pub fn borrowed(bytes: &'a [u8]) -> Self {
        Self { bytes: Bytes::Borrowed(bytes), blake3: OnceLock::new() }
    }

    /// A secret of our own, wiped when dropped: one that was typed, or freshly made.
    #[must_use]
    pub fn owned(bytes: Vec<u8>) -> Secret<'static> {
        Secret { bytes: Bytes::Owned(Zeroizing::new(bytes)), blake3: OnceLock::new() }
    }

    /// The bytes, for making a digest and for showing a new key once. Whoever takes them must not keep them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Owned(bytes) => bytes,
        }
    }
}

impl Secret<'_> {
    /// The BLAKE3 digest.
    pub(super) fn blake3(&self) -> [u8; 32] {
        *self.blake3.get_or_init(|| *blake3::hash(self.expose()).as_bytes())
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_mute() {
        for secret in [Secret::borrowed(b"sk_marked"), Secret::owned(b"sk_marked".to_vec())] {
            assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
            assert_eq!(format!("{:?}", Some(&secret)), "Some(Secret(..))");
            assert_eq!(secret.expose(), b"sk_marked");
        }
    }
}
