//! Keys for tests, and the only form of them that a configuration holds.

use std::fmt::Write as _;

/// The line that stands in a configuration for a plain key.
pub fn blake3(plain: &str) -> String {
    format!("blake3:{}", blake3::hash(plain.as_bytes()).to_hex())
}

/// The same for keys that another system hashed.
pub fn sha256(plain: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, plain.as_bytes());
    hex(digest.as_ref(), "sha256:")
}

/// Keyed with the installation's pepper.
pub fn blake3_keyed(plain: &str, pepper: &[u8; 32]) -> String {
    format!("blake3-keyed:{}", blake3::keyed_hash(pepper, plain.as_bytes()).to_hex())
}

fn hex(bytes: &[u8], scheme: &str) -> String {
    bytes.iter().fold(String::from(scheme), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Fills `{{digest:PLAIN}}` and `{{sha256:PLAIN}}` in a text.
pub fn fill_digests(text: &str) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        filled.push_str(&rest[..start]);
        let end = rest[start..].find("}}").map(|end| start + end).expect("a placeholder ends with }}");
        let inner = &rest[start + 2..end];
        match inner.split_once(':') {
            Some(("digest", plain)) => filled.push_str(&blake3(plain)),
            Some(("sha256", plain)) => filled.push_str(&sha256(plain)),
            _ => panic!("nobody filled the placeholder {{{{{inner}}}}}"),
        }
        rest = &rest[end + 2..];
    }
    filled.push_str(rest);
    filled
}

mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_published_test_vectors() {
        assert_eq!(blake3(""), "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
        assert_eq!(sha256("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn placeholders_are_filled_and_unknown_ones_are_an_error() {
        assert_eq!(fill_digests("a {{sha256:abc}} b"), format!("a {} b", sha256("abc")));
        assert!(std::panic::catch_unwind(|| fill_digests("{{who}}")).is_err());
    }
}
