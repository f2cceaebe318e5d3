//! The hash of a secret: the only form in which a key is kept or looked up.

use std::fmt;

use aws_lc_rs::digest as sha;
use thiserror::Error;
use zeroize::Zeroizing;

use super::Secret;

/// How a digest was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestScheme {
    /// BLAKE3 of the secret; right for keys with at least 128 bits of chance in them.
    Blake3,
    /// BLAKE3 keyed with the installation's [`Pepper`]: a stolen file of digests is worth nothing without it.
    Blake3Keyed,
    /// SHA-256 of the secret, for keys that another system hashed.
    Sha256,
}

impl DigestScheme {
    /// Every scheme there is.
    pub const ALL: [Self; 3] = [Self::Blake3, Self::Blake3Keyed, Self::Sha256];

    /// The word before the colon in a file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Blake3Keyed => "blake3-keyed",
            Self::Sha256 => "sha256",
        }
    }

    /// A bit of its own for each scheme.
    pub(crate) fn bit(self) -> u8 {
        1 << (self as u8)
    }
}

/// The installation's own secret for `blake3-keyed` digests, 32 bytes.
pub struct Pepper(Zeroizing<[u8; 32]>);

impl Pepper {
    /// Takes the bytes of a pepper.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

/// Why a text is not a digest line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidDigest {
    /// No scheme stands before a colon.
    #[error("it names no scheme; write `blake3:`, `blake3-keyed:` or `sha256:` before 64 hex digits")]
    NoScheme,
    /// A scheme that is not understood.
    #[error("the scheme is not one of `blake3`, `blake3-keyed`, `sha256`")]
    UnknownScheme,
    /// Not 64 hex digits.
    #[error("after the scheme there must be exactly 64 hex digits")]
    NotHex,
}

/// The digest of one secret.
///
/// Compared in plain time on purpose: it is a table key, found by hash; whoever shows a secret cannot choose the bytes
/// of its digest, so that timing teaches nothing about the secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest {
    bytes: [u8; 32],
    scheme: DigestScheme,
}

// The digest is uniform already: its bytes are hash enough, and the scheme adds nothing.
impl std::hash::Hash for KeyDigest {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(&self.bytes);
    }
}

impl KeyDigest {
    /// The BLAKE3 digest of a secret.
    #[must_use]
    pub fn blake3(secret: &Secret) -> Self {
        Self { bytes: secret.blake3(), scheme: DigestScheme::Blake3 }
    }

    /// The keyed BLAKE3 digest of a secret.
    #[must_use]
    pub fn blake3_keyed(secret: &Secret, pepper: &Pepper) -> Self {
        let bytes = *blake3::keyed_hash(&pepper.0, secret.expose()).as_bytes();
        Self { bytes, scheme: DigestScheme::Blake3Keyed }
    }

    /// The SHA-256 digest of a secret.
    #[must_use]
    pub fn sha256(secret: &Secret) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(sha::digest(&sha::SHA256, secret.expose()).as_ref());
        Self { bytes, scheme: DigestScheme::Sha256 }
    }

    /// Reads a line such as `blake3:` and 64 hex digits.
    ///
    /// # Errors
    /// What keeps the text from being one. The text itself is never repeated: it might be a secret in the wrong place.
    pub fn parse(text: &str) -> Result<Self, InvalidDigest> {
        let (scheme, hex) = text.split_once(':').ok_or(InvalidDigest::NoScheme)?;
        let scheme =
            DigestScheme::ALL.into_iter().find(|known| known.as_str() == scheme).ok_or(InvalidDigest::UnknownScheme)?;
        let hex: &[u8; 64] = hex.as_bytes().try_into().map_err(|_| InvalidDigest::NotHex)?;
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            match (digit(pair[0]), digit(pair[1])) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(InvalidDigest::NotHex),
            }
        }
        Ok(Self { bytes, scheme })
    }

    /// A digest that was made before and kept as its bytes.
    #[must_use]
    pub fn from_bytes(scheme: DigestScheme, bytes: [u8; 32]) -> Self {
        Self { bytes, scheme }
    }

    /// How it was made.
    #[must_use]
    pub fn scheme(&self) -> DigestScheme {
        self.scheme
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl fmt::Display for KeyDigest {
    /// The line that [`KeyDigest::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme.as_str())?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:02x}{:02x}..", self.scheme.as_str(), self.bytes[0], self.bytes[1])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// The key of BLAKE3's published test vectors.
    fn pepper() -> Pepper {
        Pepper::new(*b"whats the Elvish word for friend")
    }

    #[test]
    fn digests_are_those_of_the_published_vectors() {
        type Make = fn(&Secret) -> KeyDigest;
        for (make, text, expected) in [
            (KeyDigest::blake3 as Make, "", "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (KeyDigest::blake3, "abc", "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            (
                |secret| KeyDigest::blake3_keyed(secret, &pepper()),
                "",
                "blake3-keyed:92b2b75604ed3c761f9d6f62392c8a9227ad0ea3f09573e783f1498a4ed60d26",
            ),
            (KeyDigest::sha256, "", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (KeyDigest::sha256, "abc", "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ] {
            assert_eq!(make(&Secret::borrowed(text.as_bytes())).to_string(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_a_digest_line_is_refused() {
        use InvalidDigest::{NoScheme, NotHex, UnknownScheme};
        let hex = "0123456789abcdef".repeat(4);
        for (text, why) in [
            (String::new(), NoScheme),
            (hex.clone(), NoScheme),
            (format!(":{hex}"), UnknownScheme),
            (format!("BLAKE3:{hex}"), UnknownScheme),
            (format!("blake2:{hex}"), UnknownScheme),
            (format!(" blake3:{hex}"), UnknownScheme),
            (format!("blake3 :{hex}"), UnknownScheme),
            ("blake3:".to_owned(), NotHex),
            (format!("blake3: {}", &hex[1..]), NotHex),
            (format!("blake3:{}", &hex[1..]), NotHex),
            (format!("blake3:{hex}0"), NotHex),
            (format!("blake3:{hex}\n"), NotHex),
            (format!("blake3:{}g", &hex[1..]), NotHex),
            (format!("blake3:+{}", &hex[1..]), NotHex),
            (format!("blake3:{}\u{e9}", &hex[2..]), NotHex),
            (format!("blake3:sha256:{}", &hex[7..]), NotHex),
        ] {
            assert_eq!(KeyDigest::parse(&text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn upper_case_hex_is_the_same_digest() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(
            KeyDigest::parse(&format!("sha256:{}", hex.to_uppercase())),
            KeyDigest::parse(&format!("sha256:{hex}"))
        );
    }

    #[test]
    fn the_same_bytes_by_another_scheme_are_another_digest() {
        let digests: HashSet<KeyDigest> = DigestScheme::ALL
            .into_iter()
            .map(|scheme| KeyDigest::parse(&format!("{}:{}", scheme.as_str(), "00".repeat(32))).unwrap())
            .collect();
        assert_eq!(digests.len(), 3);
        assert_eq!(DigestScheme::ALL.map(DigestScheme::bit), [1, 2, 4]);
    }

    #[test]
    fn debug_shows_two_bytes_and_a_pepper_shows_none() {
        let digest = KeyDigest::blake3(&Secret::borrowed(b"abc"));
        assert_eq!(format!("{digest:?}"), "blake3:6437..");
        assert_eq!(format!("{:?}", pepper()), "Pepper(..)");
    }

    proptest! {
        #[test]
        fn what_was_printed_reads_back_the_same(bytes: [u8; 32], scheme in 0usize..3) {
            let digest = KeyDigest { bytes, scheme: DigestScheme::ALL[scheme] };
            prop_assert_eq!(KeyDigest::parse(&digest.to_string()), Ok(digest));
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "(blake3:|sha256:)?[0-9a-fA-F\u{e9}]{0,70}") {
            if let Ok(digest) = KeyDigest::parse(&text) {
                prop_assert_eq!(digest.to_string(), text.to_lowercase());
            }
        }
    }
}
