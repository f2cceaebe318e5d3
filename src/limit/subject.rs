//! Whom a limit counts: from the facts of a request to the tag of a counter.
//!
//! A [`Subject`] is a list of [`Part`]s. `[key]` counts each key by itself, `[key, endpoint]` each key at each endpoint, and the
//! empty list everybody together. A request that lacks one of the parts (a key, where anybody may call) is not counted: a limit
//! for keys says nothing about callers without one.
//!
//! The parts are made into one tag of 64 bits with a secret of this installation, so that nobody can choose two names that
//! share a counter. A key is counted by its id, which a rotation leaves as it is; an IPv6 address by its /64, which one customer
//! has.

use std::net::IpAddr;

/// One thing that a limit tells callers apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The address of the client, behind trusted proxies.
    Address,
    /// The key, by its id.
    Key,
    /// The client of the key.
    Client,
    /// The type of that client.
    ClientType,
    /// Its tenant.
    Tenant,
    /// The endpoint.
    Endpoint,
    /// The route, or the endpoint where none governs.
    Route,
}

impl Part {
    /// The word in a configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
            Self::Client => "client",
            Self::ClientType => "client_type",
            Self::Tenant => "tenant",
            Self::Endpoint => "endpoint",
            Self::Route => "route",
        }
    }
}

/// The parts that make a subject, each once.
pub type Subject = Box<[Part]>;

/// Who asks, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The address of the client.
    pub address: IpAddr,
    /// The id of the key that was shown.
    pub key: Option<&'a str>,
    /// The id of its client.
    pub client: Option<&'a str>,
    /// The type of that client.
    pub client_type: Option<&'a str>,
    /// Its tenant, if it has one.
    pub tenant: Option<&'a str>,
    /// The name of the endpoint; empty before it is known.
    pub endpoint: &'a str,
    /// The route as it was written, if one governs.
    pub route: Option<&'a str>,
}

impl Who<'_> {
    /// Somebody of whom nothing is known yet but the address.
    #[must_use]
    pub fn at(address: IpAddr) -> Self {
        Self { address, key: None, client: None, client_type: None, tenant: None, endpoint: "", route: None }
    }
}

/// Makes tags.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tagger {
    secret: [u64; 2],
}

impl std::fmt::Debug for Tagger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tagger").finish_non_exhaustive()
    }
}

impl Tagger {
    /// With the secret of this installation.
    #[must_use]
    pub fn new(secret: [u64; 2]) -> Self {
        Self { secret }
    }

    /// The secret, to be kept beside counters that outlive the process.
    #[must_use]
    pub fn secret(&self) -> [u64; 2] {
        self.secret
    }

    /// The tag of a subject; `None` if the request lacks one of its parts.
    #[must_use]
    pub fn tag(&self, subject: &[Part], who: &Who<'_>) -> Option<u64> {
        let mut tag = Mixing { state: self.secret[0], secret: self.secret[1] };
        for part in subject {
            tag.word(*part as u64 + 1);
            match part {
                Part::Address => {
                    let network = network_of(who.address);
                    tag.word((network >> 64) as u64);
                    tag.word(network as u64);
                }
                Part::Key => tag.text(who.key?),
                Part::Client => tag.text(who.client?),
                Part::ClientType => tag.text(who.client_type?),
                Part::Tenant => tag.text(who.tenant?),
                Part::Endpoint => tag.text(who.endpoint),
                Part::Route => {
                    tag.text(who.endpoint);
                    tag.text(who.route.unwrap_or_default());
                }
            }
        }
        // What is left over of one part must not look like the beginning of another.
        tag.word(subject.len() as u64);
        Some(tag.state.max(1))
    }
}

/// A keyed hash of short words: the product of two secrets folded, for each eight bytes.
struct Mixing {
    state: u64,
    secret: u64,
}

impl Mixing {
    fn word(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.secret | 1);
        self.state = (product >> 64) as u64 ^ product as u64 ^ self.secret.rotate_left(23);
    }

    fn text(&mut self, text: &str) {
        let (words, rest) = text.as_bytes().as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.word(u64::from_le_bytes(last));
        self.word(text.len() as u64);
    }
}

/// Whoever has an IPv6 address has 2 to the 64th of them.
fn network_of(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const TAGGER: Tagger = Tagger { secret: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3211] };

    fn who() -> Who<'static> {
        Who {
            address: IpAddr::from([192, 0, 2, 1]),
            key: Some("key_1"),
            client: Some("shop"),
            client_type: Some("cms"),
            tenant: None,
            endpoint: "orders",
            route: None,
        }
    }

    #[test]
    fn a_request_without_a_part_is_not_counted() {
        for (part, is_counted) in [
            (Part::Address, true),
            (Part::Key, true),
            (Part::Tenant, false),
            (Part::Endpoint, true),
            (Part::Route, true),
        ] {
            assert_eq!(TAGGER.tag(&[part], &who()).is_some(), is_counted, "{part:?}");
        }
        assert!(TAGGER.tag(&[Part::Key, Part::Tenant], &who()).is_none());
        assert!(TAGGER.tag(&[], &who()).is_some(), "everybody together");
        assert!(TAGGER.tag(&[Part::Key], &Who::at(who().address)).is_none());
    }

    #[test]
    fn subjects_that_differ_have_tags_that_differ() {
        let mut tags = HashSet::new();
        let mut add =
            |subject: &[Part], who: Who<'_>| assert!(tags.insert(TAGGER.tag(subject, &who)), "{subject:?} {who:?}");
        add(&[Part::Key], who());
        add(&[Part::Client], Who { client: Some("key_1"), ..who() });
        add(&[Part::Key], Who { key: Some("key_2"), ..who() });
        add(&[Part::Key], Who { key: Some("key_1\0"), ..who() });
        add(&[Part::Key], Who { key: Some("key_1\0\0\0\0\0\0\0"), ..who() });
        add(&[Part::Key, Part::Client], Who { key: Some("ab"), client: Some("c"), ..who() });
        add(&[Part::Key, Part::Client], Who { key: Some("a"), client: Some("bc"), ..who() });
        add(&[Part::Route], who());
        add(&[Part::Route], Who { route: Some("GET /orders/:id"), ..who() });
        for number in 0..100_000_u32 {
            add(&[Part::Address], Who::at(IpAddr::from((0x0a00_0000 + number).to_be_bytes())));
            add(&[Part::Key], Who { key: Some(&format!("key_number_{number}")), ..who() });
        }
    }

    #[test]
    fn an_ipv6_network_is_one_subject_and_a_mapped_address_is_its_ipv4() {
        let tag = |text: &str| TAGGER.tag(&[Part::Address], &Who::at(text.parse().expect("an address")));
        assert_eq!(tag("2001:db8::1"), tag("2001:db8::ffff:0:0:9"));
        assert_ne!(tag("2001:db8::1"), tag("2001:db8:0:1::1"));
        assert_eq!(tag("::ffff:192.0.2.1"), tag("192.0.2.1"));
    }
}
