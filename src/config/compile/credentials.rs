//! Where keys may stand, how they begin, and the names of the headers that tell who is calling.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;

use super::Compiler;
use crate::client::KeyType;
use crate::config::KeyPrefix;
use crate::config::document::{CredentialShape, Document};
use crate::config::read::{Header, Nullable};
use crate::config::tree::Position;
use crate::credential::{CredentialSource, Extractor, Pepper, Prefixes};
use crate::identity::IdentityNames;

/// The names to set, and names that are removed only.
pub(crate) struct Names {
    pub names: IdentityNames,
    pub reserved: Vec<HeaderName>,
}

impl Names {
    /// Whether a name is one that upstreams believe.
    pub fn contains(&self, name: &HeaderName) -> bool {
        let names = &self.names;
        let set = [
            &names.client_type,
            &names.client_id,
            &names.client_key_id,
            &names.client_tenant,
            &names.client_environment,
            &names.client_permissions,
            &names.client_groups,
            &names.user_id,
            &names.user_groups,
            &names.user_properties,
            &names.is_backoffice,
        ];
        set.into_iter().flatten().chain(&self.reserved).any(|known| known == name)
    }
}

/// What extractors are made of.
pub(crate) struct Extraction {
    prefixes: Vec<String>,
    /// The same with what they are for.
    pub key_prefixes: Vec<KeyPrefix>,
    /// For endpoints that say nothing else.
    pub common: Arc<Extractor>,
}

/// Headers that frame or route a request: a key or an identity in one of them would break it, or be broken.
const STRUCTURAL: [&str; 14] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "expect",
    "proxy-authorization",
    "proxy-connection",
    "content-type",
    "cookie",
    "set-cookie",
];

impl Compiler<'_> {
    /// The names of identity headers.
    pub fn identity_names(&mut self, document: &Document) -> Names {
        let default = IdentityNames::default();
        let mut names = default.clone();
        let mut reserved = Vec::new();
        let Some(shape) = &document.identity_headers else { return Names { names, reserved } };
        let fields: [(&Option<Nullable<Header>>, &mut Option<HeaderName>); 11] = [
            (&shape.client_type, &mut names.client_type),
            (&shape.client_id, &mut names.client_id),
            (&shape.client_key_id, &mut names.client_key_id),
            (&shape.tenant, &mut names.client_tenant),
            (&shape.environment, &mut names.client_environment),
            (&shape.permissions, &mut names.client_permissions),
            (&shape.groups, &mut names.client_groups),
            (&shape.user_id, &mut names.user_id),
            (&shape.user_groups, &mut names.user_groups),
            (&shape.user_properties, &mut names.user_properties),
            (&shape.backoffice, &mut names.is_backoffice),
        ];
        let mut chosen = HashSet::new();
        for (written, name) in fields {
            if let Some(Nullable(written)) = written {
                let written = written.as_ref().map(|header| header.0.clone());
                // An upstream may go on believing the name that is not set any more.
                reserved.extend(name.take().filter(|usual| written.as_ref() != Some(usual)));
                *name = written;
            }
            let Some(name) = name else { continue };
            if !chosen.insert(name.clone()) {
                self.report.error(shape.at, format!("two identity headers are called `{name}`"));
            }
            if STRUCTURAL.contains(&name.as_str()) || name == "authorization" {
                self.report
                    .error(shape.at, format!("`{name}` cannot be an identity header: it has a meaning of its own"));
            }
        }
        for header in shape.reserved.iter().flatten() {
            if STRUCTURAL.contains(&header.0.as_str()) || header.0 == "authorization" {
                self.report.error(shape.at, format!("`{}` cannot be reserved: requests need it", header.0));
            }
            reserved.push(header.0.clone());
        }
        Names { names, reserved }
    }

    /// Prefixes and the places that most endpoints share.
    pub fn extraction(&mut self, document: &Document, identity: &Names) -> Extraction {
        let mut prefixes = Vec::new();
        let mut key_prefixes = Vec::new();
        for shape in document.key_prefixes.iter().flatten() {
            let prefix = &shape.prefix;
            let is_good = prefix.value.len() >= 3 && prefix.value.bytes().all(|b| b.is_ascii_graphic());
            if !is_good {
                self.report
                    .error(prefix.at, "a prefix has at least three visible ASCII characters")
                    .hint("a shorter one would take other people's tokens for keys");
            }
            if prefixes.contains(&prefix.value) {
                self.report.error(prefix.at, format!("the prefix `{}` stands twice", prefix.value));
            }
            prefixes.push(prefix.value.clone());
            key_prefixes.push(KeyPrefix {
                prefix: prefix.value.clone(),
                key_type: shape.r#type.map_or(KeyType::Secret, KeyType::from),
                environment: shape.environment.clone(),
            });
        }
        if document.key_prefixes.is_none() {
            prefixes.push("kg_".to_owned());
            key_prefixes.push(KeyPrefix { prefix: "kg_".to_owned(), key_type: KeyType::Secret, environment: None });
        }
        let sources = match &document.credentials {
            Some(list) => self.sources(&list.value, list.at, identity),
            None => usual_sources(),
        };
        let common = Arc::new(Extractor::new(sources, Prefixes::new(prefixes.clone())));
        Extraction { prefixes, key_prefixes, common }
    }

    /// The extractor of an endpoint that has places of its own.
    pub fn extractor(
        &mut self,
        list: &[CredentialShape],
        at: Position,
        extraction: &Extraction,
        identity: &Names,
    ) -> Arc<Extractor> {
        let sources = self.sources(list, at, identity);
        let own = Extractor::new(sources, Prefixes::new(extraction.prefixes.clone()));
        Arc::new(own.also_stripping(extraction.common.sources()))
    }

    fn sources(&mut self, list: &[CredentialShape], at: Position, identity: &Names) -> Vec<CredentialSource> {
        let mut sources: Vec<CredentialSource> = Vec::new();
        if list.is_empty() {
            self.report
                .error(at, "there is no place where a key could stand")
                .hint("leave the field out for the usual places");
        }
        for shape in list {
            let (source, at) = match shape {
                CredentialShape::Bearer(at) => (Some(CredentialSource::Bearer), *at),
                CredentialShape::Map(map) => {
                    let is_deprecated = map.deprecated.as_ref().is_some_and(|flag| flag.value);
                    let source = match (&map.header, &map.cookie) {
                        (Some(header), None) if header.value.0 == "authorization" => {
                            self.report
                                .error(header.at, "`Authorization` carries a scheme and a key")
                                .hint("write `bearer` in place of the map");
                            None
                        }
                        (Some(header), None)
                            if STRUCTURAL.contains(&header.value.0.as_str()) || identity.contains(&header.value.0) =>
                        {
                            let message = format!(
                                "a key cannot stand in `{}`: the header has a meaning of its own",
                                header.value.0
                            );
                            self.report.error(header.at, message);
                            None
                        }
                        (Some(header), None) => {
                            Some(CredentialSource::Header { name: header.value.0.clone(), deprecated: is_deprecated })
                        }
                        (None, Some(cookie)) => {
                            // RFC 6265 section 4.1.1: a cookie's name is a token.
                            let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
                            if !cookie.value.bytes().all(is_token) {
                                self.report.error(cookie.at, "a cookie's name has no blanks and no `=` `;` `,`");
                            }
                            if let Some(flag) = map.deprecated.as_ref().filter(|flag| flag.value) {
                                self.report.error(flag.at, "only headers can be marked as deprecated");
                            }
                            Some(CredentialSource::Cookie { name: cookie.value.as_str().into() })
                        }
                        _ => {
                            if !map.is_broken {
                                self.report.error(map.at, "expected exactly one of `header` and `cookie`");
                            }
                            None
                        }
                    };
                    (source, map.at)
                }
            };
            let Some(source) = source else { continue };
            if sources.iter().any(|other| same_place(other, &source)) {
                self.report.error(at, "this place stands twice");
            }
            sources.push(source);
        }
        sources
    }
}

fn same_place(one: &CredentialSource, other: &CredentialSource) -> bool {
    match (one, other) {
        (CredentialSource::Header { name, .. }, CredentialSource::Header { name: other, .. }) => name == other,
        _ => one == other,
    }
}

fn usual_sources() -> Vec<CredentialSource> {
    let header = |name, deprecated| CredentialSource::Header { name: HeaderName::from_static(name), deprecated };
    vec![
        header("client-key", false),
        header("secret", true),
        header("x-api-key", false),
        CredentialSource::Bearer,
        CredentialSource::Cookie { name: "mia_client_key".into() },
    ]
}

/// 32 bytes, raw, in hex or in base64 with or without padding.
pub(in crate::config) fn pepper_from(file: &[u8]) -> Option<Pepper> {
    if let Ok(raw) = <[u8; 32]>::try_from(file) {
        return Some(Pepper::new(raw));
    }
    let text = file.trim_ascii();
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    let (bits, digits): (u32, &[u8]) = match text.len() {
        64 => (4, text),
        44 if text.ends_with(b"=") => (6, &text[..43]),
        43 => (6, text),
        _ => return None,
    };
    let (mut pending, mut held, mut filled) = (0_u32, 0_u32, 0);
    for digit in digits {
        let value = match (bits, digit) {
            (4, _) => char::from(*digit).to_digit(16)?,
            (_, b'A'..=b'Z') => u32::from(digit - b'A'),
            (_, b'a'..=b'z') => u32::from(digit - b'a') + 26,
            (_, b'0'..=b'9') => u32::from(digit - b'0') + 52,
            (_, b'+' | b'-') => 62,
            (_, b'/' | b'_') => 63,
            _ => return None,
        };
        pending = (pending << bits | value) & 0xffff;
        held += bits;
        if held >= 8 {
            held -= 8;
            *bytes.get_mut(filled)? = u8::try_from(pending >> held & 0xff).ok()?;
            filled += 1;
        }
    }
    (filled == 32).then(|| Pepper::new(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::{KeyDigest, Secret};

    #[test]
    fn a_pepper_reads_the_same_in_each_form() {
        let raw: Vec<u8> = (0..32).map(|n| n * 7 + 1).collect();
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = |pepper: &Pepper| KeyDigest::blake3_keyed(&Secret::borrowed(b"key"), pepper);
        let expected = digest(&pepper_from(&raw).expect("raw"));
        for text in [
            format!("{hex}\n"),
            hex.to_uppercase(),
            "AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09o=\n".to_owned(),
            "AQgPFh0kKzI5QEdOVVxjanF4f4aNlJuiqbC3vsXM09o".to_owned(),
        ] {
            assert_eq!(digest(&pepper_from(text.as_bytes()).expect("a pepper")), expected, "{text}");
        }
        for bad in ["", "abc", &hex[..62], &format!("{hex}00"), "z".repeat(64).as_str()] {
            assert!(pepper_from(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
