//! The keys that everybody knows.
//!
//! `gateway.yaml` as it is shipped, `keygate demo` and the documentation use them. They are published, so each of them is
//! worth nothing: a configuration that holds the digest of one is refused unless every listener is on loopback.
//!
//! This is the only place in the program where whole keys stand.

use std::sync::OnceLock;

use crate::credential::{KeyDigest, Secret};

/// A published key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoKey {
    /// The client it belongs to in `gateway.yaml`.
    pub client: &'static str,
    /// The key.
    pub key: &'static str,
}

/// All published keys. Each is made like a real one: a prefix, letters and digits, and six digits of checksum.
pub const DEMO_KEYS: [DemoKey; 4] = [
    DemoKey { client: "shop", key: "kg_demo_shop_PublishedForDemonstrationNeverUse0qiH73" },
    DemoKey { client: "warehouse", key: "kg_demo_warehouse_PublishedForDemonstrationNeverUse2m3AOB" },
    DemoKey { client: "acme", key: "kg_demo_acme_PublishedForDemonstrationNeverUse0eyNUb" },
    DemoKey { client: "website", key: "kg_demo_website_PublishedForDemonstrationNeverUse1m1q2m" },
];

/// The published key that a digest stands for, if it is one.
#[must_use]
pub fn published(digest: &KeyDigest) -> Option<DemoKey> {
    static DIGESTS: OnceLock<Vec<(KeyDigest, DemoKey)>> = OnceLock::new();
    let digests = DIGESTS.get_or_init(|| {
        let secret = |key: &DemoKey| Secret::borrowed(key.key.as_bytes());
        DEMO_KEYS
            .iter()
            .flat_map(|key| [(KeyDigest::blake3(&secret(key)), *key), (KeyDigest::sha256(&secret(key)), *key)])
            .collect()
    });
    digests.iter().find(|(known, _)| known == digest).map(|(_, key)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six base62 digits of the CRC32 of everything before them.
    fn checksum(text: &str) -> String {
        const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut rest = crc32fast::hash(text.as_bytes()) as usize;
        let mut digits = ['0'; 6];
        for digit in digits.iter_mut().rev() {
            *digit = char::from(DIGITS[rest % 62]);
            rest /= 62;
        }
        digits.iter().collect()
    }

    #[test]
    fn a_published_key_is_recognised_in_every_scheme_without_a_pepper() {
        for key in DEMO_KEYS {
            let secret = Secret::borrowed(key.key.as_bytes());
            for digest in [KeyDigest::blake3(&secret), KeyDigest::sha256(&secret)] {
                assert_eq!(published(&digest), Some(key));
            }
        }
        assert_eq!(published(&KeyDigest::blake3(&Secret::borrowed(b"another"))), None);
    }

    #[test]
    fn a_published_key_has_the_form_of_a_real_one() {
        for key in DEMO_KEYS {
            let (body, sum) = key.key.split_at(key.key.len() - 6);
            let random = body.rsplit('_').next().unwrap_or_default();
            assert!(random.len() >= 33, "{body}");
            assert_eq!(sum, checksum(body), "{body}");
        }
    }
}
