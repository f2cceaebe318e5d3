//! The keys and endpoints that all proxies of a comparison have in common.
//!
//! Keys are counted, not kept: the text of each follows from its number, so that a million of them cost the load generator
//! no memory and no two runs differ.

use std::fmt::Write as _;

/// Clients that the keys are dealt out to.
const CLIENTS: usize = 1_000;
/// Types that clients have.
const TYPES: [&str; 4] = ["service", "partner", "internal", "mobile"];
/// Unknown texts that callers try, again and again. With very many different ones keygate takes them for guessing and
/// answers 429, which costs it less than the look-up that is to be measured.
pub const UNKNOWN: usize = 4;
/// Length of the text of a key.
pub const KEY_LENGTH: usize = 40;

/// How many keys and endpoints there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Keys, all of them good.
    pub keys: usize,
    /// Endpoints beside the one for all other paths. The peers know no endpoints: with some, only keygate takes part.
    pub endpoints: usize,
}

impl Site {
    /// The client of a key.
    pub fn client(number: usize) -> String {
        format!("client-{:04}", number % CLIENTS)
    }

    /// The type of the client of a key.
    pub fn client_type(number: usize) -> &'static str {
        TYPES[number % CLIENTS % TYPES.len()]
    }
}

/// The text of a key: a prefix as issued keys have it, and 32 hex digits.
pub fn key(number: usize) -> [u8; KEY_LENGTH] {
    text(b"kg_live_", number)
}

/// A text of the same form that is nobody's key.
pub fn unknown_key(number: usize) -> [u8; KEY_LENGTH] {
    text(b"kg_none_", number % UNKNOWN)
}

fn text(prefix: &[u8; 8], number: usize) -> [u8; KEY_LENGTH] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; KEY_LENGTH];
    text[..8].copy_from_slice(prefix);
    let digest = blake3::hash(&number.to_le_bytes());
    for (pair, byte) in text[8..].chunks_exact_mut(2).zip(digest.as_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

/// The path of an endpoint, as callers ask for it.
pub fn path(endpoint: usize) -> String {
    format!("/service-{endpoint}/orders")
}

/// One line for each key, made by a closure from its text, its client and the client's type.
pub fn lines(site: Site, line: impl Fn(&mut String, usize, &str, &str, &str)) -> String {
    let mut text = String::with_capacity(site.keys * 160);
    for number in 0..site.keys {
        let key = key(number);
        let key = std::str::from_utf8(&key).expect("hex digits are text");
        line(&mut text, number, key, &Site::client(number), Site::client_type(number));
    }
    text
}

/// The keys as keygate reads them.
pub fn json_lines(site: Site) -> String {
    lines(site, |text, number, key, client, client_type| {
        let digest = blake3::hash(key.as_bytes()).to_hex();
        let _ = writeln!(
            text,
            r#"{{"client":"{client}","client_type":"{client_type}","id":"key_{number}","digest":"blake3:{digest}"}}"#
        );
    })
}

/// A small generator of chance with a fixed seed: each run asks for the same.
#[derive(Debug)]
pub struct Chance(u64);

impl Default for Chance {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Chance {
    /// A number below a bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound.max(1)
    }
}
