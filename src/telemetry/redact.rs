//! Keeping keys out of what is written.
//!
//! [`Headers`] shows a header map to a log: names as they are, values only of headers that cannot carry a key. [`Masks`]
//! finds what looks like one of our keys in a text that a caller chose (a path, a user agent) and leaves only its prefix.
//!
//! This is the second line. The first is that secrets have no `Display` and that records have no field for them. Masking
//! finds keys by their prefix; an imported key without a known prefix cannot be told from any other word.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use http::HeaderMap;

/// The shortest run of letters and digits behind a prefix that is taken for a key. Ours have more than 30; a mutilated one is
/// still nobody's business.
const SECRET_BYTES: usize = 8;

/// Headers whose values may be shown. A list of what is allowed: one that names what is forbidden is never complete.
const SHOWN: [&str; 18] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "host",
    "keep-alive",
    "retry-after",
    "server",
    "transfer-encoding",
    "upgrade",
    "vary",
    "x-request-id",
];

/// A header map as logs may show it.
pub struct Headers<'a>(pub &'a HeaderMap);

impl fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            if SHOWN.contains(&name.as_str()) {
                map.entry(&name.as_str(), &value);
            } else {
                map.entry(&name.as_str(), &format_args!("<{} bytes>", value.len()));
            }
        }
        map.finish()
    }
}

/// The prefixes by which keys are known. A clone sees the same prefixes, also those set later.
#[derive(Debug, Clone, Default)]
pub struct Masks(Arc<ArcSwap<Prefixes>>);

/// The prefixes of one moment.
#[derive(Debug, Default)]
pub(crate) struct Prefixes {
    prefixes: Vec<Box<str>>,
    /// Whether a prefix begins with the byte, as a bit for each: most bytes of most texts are passed over with one look.
    first: [u64; 4],
}

impl Masks {
    /// Replaces the prefixes: those configured for keys, such as `mb_live_`. Empty ones are passed over.
    pub fn set<'a>(&self, prefixes: impl IntoIterator<Item = &'a str>) {
        let mut prefixes: Vec<Box<str>> =
            prefixes.into_iter().filter(|prefix| !prefix.is_empty()).map(Box::from).collect();
        // The longest first: of `kg_` and `kg_live_`, the latter says more and masks less.
        prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.len()));
        let mut first = [0; 4];
        for byte in prefixes.iter().filter_map(|prefix| prefix.bytes().next()) {
            first[usize::from(byte) / 64] |= 1 << (byte % 64);
        }
        self.0.store(Arc::new(Prefixes { prefixes, first }));
    }

    /// The text with every key in it cut down to its prefix and `***`.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.current().mask(text)
    }

    /// The prefixes of this moment, for several texts in a row.
    pub(crate) fn current(&self) -> Guard<Arc<Prefixes>> {
        self.0.load()
    }
}

impl Prefixes {
    /// See [`Masks::mask`].
    pub(crate) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(&byte) = text.as_bytes().get(at) {
            if self.first[usize::from(byte) / 64] >> (byte % 64) & 1 == 0 {
                at += 1;
                continue;
            }
            // A prefix is UTF-8, so where its first byte stands a character begins.
            let rest = text.get(at..).unwrap_or_default();
            let found = self.prefixes.iter().find_map(|prefix| {
                // More than the letters and digits of a key is taken: percent-encoding, and a second key right behind.
                let behind = rest.strip_prefix(&**prefix)?;
                let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '%' | '_' | '-');
                let end = behind.find(|c| !is_part(c)).unwrap_or(behind.len());
                (end >= SECRET_BYTES).then_some((prefix.len(), end))
            });
            if let Some((prefix, secret)) = found {
                masked.push_str(&text[copied..at + prefix]);
                masked.push_str("***");
                at += prefix + secret;
                copied = at;
            } else {
                at += 1;
            }
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        masked.push_str(&text[copied..]);
        Cow::Owned(masked)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_cut_down_to_their_prefix() {
        let masks = Masks::default();
        masks.set(["kg_live_", "", "kg_", "pk-", "\u{e9}_"]);
        for (text, expected) in [
            ("/orders/1", "/orders/1"),
            ("kg_live_abcdefgh12345678", "kg_live_***"),
            ("/a/kg_live_abcdefgh12345678/b", "/a/kg_live_***/b"),
            ("kg_abcdefgh1 pk-ABCDEFGH.", "kg_*** pk-***."),
            ("kg_live_abcdefgh1kg_live_abcdefgh1", "kg_live_***"),
            ("kg_live_ab%63defgh", "kg_live_***"),
            ("kg_live_short", "kg_***"),
            ("pk-short", "pk-short"),
            ("\u{20ac}kg_abcdefgh\u{20ac}", "\u{20ac}kg_***\u{20ac}"),
            ("\u{e9}\u{e9}_abcdefgh\u{e9}", "\u{e9}\u{e9}_***\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(masks.mask(text), expected, "{text:?}");
        }
    }

    #[test]
    fn values_of_headers_are_shown_only_where_they_cannot_be_a_key() {
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "x-api-key", "client-key", "x-anything", "content-type"] {
            headers.insert(name, HeaderValue::from_static("sekret/123"));
        }
        let shown = format!("{:?}", Headers(&headers));
        assert_eq!(shown.matches("sekret").count(), 1, "{shown}");
        assert!(shown.contains(r#""content-type": "sekret/123""#), "{shown}");
        assert!(shown.contains(r#""authorization": <10 bytes>"#), "{shown}");
    }

    proptest! {
        #[test]
        fn no_key_survives_in_any_surroundings(before in ".{0,40}", key in "[0-9A-Za-z]{43}", after in ".{0,40}") {
            let masks = Masks::default();
            masks.set(["kg_live_"]);
            let text = format!("{before}kg_live_{key}{after}");
            prop_assert!(!masks.mask(&text).contains(&key));
        }
    }
}
