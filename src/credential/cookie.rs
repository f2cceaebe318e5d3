//! One cookie among others: finding it, and taking it out without touching the rest.
//!
//! [`find_cookie`] looks in every `Cookie` field, for HTTP/2 sends them in crumbs (RFC 9113 section 8.2.3);
//! [`without_cookie`] is called for each field that is passed on.
//!
//! A field is split at `;`, a piece at its first `=`, and blanks around name and value do not count. Names compare byte
//! for byte (RFC 6265 section 5.3). Quotes around a value belong to the value, as they do for browsers: only the exact key
//! is the key. A piece that is the name alone, without `=`, counts as the cookie with an empty value, for some servers
//! read it so.
//!
//! What people get wrong: another cookie whose value or name merely contains our name is none of our business, and must
//! leave as it came, to the byte.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::COOKIE;

use super::MalformedCredential;

/// The value of the one cookie of this name, without blanks around it.
///
/// # Errors
/// [`MalformedCredential::Ambiguous`] if it stands there more than once with different values: the upstream might take
/// another one than we do.
pub fn find_cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, MalformedCredential> {
    let mut found = None;
    for field in headers.get_all(COOKIE) {
        for value in pieces(field.as_bytes()).filter_map(|piece| value_of(piece, name.as_bytes())) {
            if found.is_some_and(|earlier| earlier != value) {
                return Err(MalformedCredential::Ambiguous);
            }
            found = Some(value);
        }
    }
    Ok(found)
}

/// One `Cookie` field's value without the named cookie, other cookies byte for byte; `None` if nothing is left.
///
/// A field that does not hold the cookie comes back as it is, borrowed.
#[must_use]
pub fn without_cookie<'v>(field: &'v [u8], name: &str) -> Option<Cow<'v, [u8]>> {
    let is_ours = |piece: &[u8]| value_of(piece, name.as_bytes()).is_some();
    if !pieces(field).any(is_ours) {
        return Some(Cow::Borrowed(field));
    }
    let mut kept = Vec::with_capacity(field.len());
    let mut anything = false;
    for (index, piece) in pieces(field).filter(|piece| !is_ours(piece)).enumerate() {
        anything |= !piece.trim_ascii().is_empty();
        if index > 0 {
            kept.push(b';');
            kept.extend_from_slice(piece);
        } else {
            // A field's value does not begin with blanks, and the blank after the `;` of a removed first piece would.
            kept.extend_from_slice(piece.trim_ascii_start());
        }
    }
    anything.then_some(Cow::Owned(kept))
}

fn pieces(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    field.split(|byte| *byte == b';')
}

/// The value in this piece, if it is the named cookie.
fn value_of<'v>(piece: &'v [u8], name: &[u8]) -> Option<&'v [u8]> {
    let piece = piece.trim_ascii();
    // Most pieces are other cookies, and most of those are told apart by their first bytes.
    let rest = piece.strip_prefix(name)?.trim_ascii_start();
    match rest.split_first() {
        None => Some(&[]),
        Some((b'=', value)) => Some(value.trim_ascii_start()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[&str]) -> HeaderMap {
        fields.iter().map(|field| (COOKIE, HeaderValue::from_bytes(field.as_bytes()).unwrap())).collect()
    }

    #[test]
    fn one_cookie_is_found_in_any_field_and_place() {
        use MalformedCredential::Ambiguous;
        for (fields, expected) in [
            (&[][..], Ok(None)),
            (&["k=v"], Ok(Some("v"))),
            (&["k=v; a=b"], Ok(Some("v"))),
            (&["a=b; k=v; c=d"], Ok(Some("v"))),
            (&["a=b; k=v"], Ok(Some("v"))),
            (&["a=b;k=v;c=d"], Ok(Some("v"))),
            (&["a=b", "k=v", "c=d"], Ok(Some("v"))),
            (&["  k \t=\t v  ;a"], Ok(Some("v"))),
            (&["k=a=b=="], Ok(Some("a=b=="))),
            (&["k=\"v\""], Ok(Some("\"v\""))),
            (&["k="], Ok(Some(""))),
            (&["k"], Ok(Some(""))),
            (&["k=v; k=v"], Ok(Some("v"))),
            (&["k=v", "k=v"], Ok(Some("v"))),
            (&["k=v; k=w"], Err(Ambiguous)),
            (&["k=v", "k=w"], Err(Ambiguous)),
            (&["k=v; k"], Err(Ambiguous)),
            (&["k=v; k=\"v\""], Err(Ambiguous)),
            (&["K=v"], Ok(None)),
            (&["kk=v; ak=v; k-k=v; k.k=v"], Ok(None)),
            (&["a=k=v"], Ok(None)),
            (&["=k=v"], Ok(None)),
            (&["", ";", "; ;;", "="], Ok(None)),
        ] {
            let headers = headers(fields);
            let found = find_cookie(&headers, "k");
            assert_eq!(found, expected.map(|value| value.map(str::as_bytes)), "{fields:?}");
        }
    }

    #[test]
    fn taking_a_cookie_out_leaves_the_others_as_they_were() {
        for (field, expected) in [
            ("k=v; a=1; b=2", Some("a=1; b=2")),
            ("a=1; k=v; b=2", Some("a=1; b=2")),
            ("a=1; b=2; k=v", Some("a=1; b=2")),
            ("a=1;k=v;b=2", Some("a=1;b=2")),
            ("k=v;a=1", Some("a=1")),
            ("k=v", None),
            ("k", None),
            ("k=v;", None),
            ("k=v; k=w ; ;", None),
            ("k=v; a=1; k=w; b=2; k=x", Some("a=1; b=2")),
            ("a=1 ;  k=v  ;   b = 2  ;c", Some("a=1 ;   b = 2  ;c")),
            ("kk=v; k=1; ak=v", Some("kk=v; ak=v")),
            ("a=k=v; k=1; b=\"k=v\"", Some("a=k=v; b=\"k=v\"")),
            ("a=1;; k=v; ;b=2;", Some("a=1;; ;b=2;")),
            ("a=\u{e9}; k=v", Some("a=\u{e9}")),
        ] {
            let left = without_cookie(field.as_bytes(), "k");
            assert_eq!(left.as_deref().map(|left| str::from_utf8(left).unwrap()), expected, "{field:?}");
        }
    }

    #[test]
    fn a_field_without_the_cookie_is_not_copied() {
        for field in ["", "a=1", "a=k", "kk=1; K=2", ";;", " a = b "] {
            assert!(
                matches!(without_cookie(field.as_bytes(), "k"), Some(Cow::Borrowed(same)) if same == field.as_bytes())
            );
        }
    }

    proptest! {
        #[test]
        fn taking_out_changes_no_other_piece_and_leaves_nothing_of_ours(field in "([ ak=\"\t;]|k=|; k=|; a){0,12}") {
            let ours = |piece: &&[u8]| value_of(piece, b"k").is_some();
            let others = |field: &[u8]| -> Vec<Vec<u8>> {
                let pieces = pieces(field).filter(|piece| !ours(piece) && !piece.trim_ascii().is_empty());
                pieces.map(|piece| piece.trim_ascii_start().to_vec()).collect()
            };
            match without_cookie(field.as_bytes(), "k") {
                Some(left) => {
                    prop_assert!(!pieces(&left).any(|piece| ours(&piece)));
                    prop_assert_eq!(others(&left), others(field.as_bytes()));
                    if let Ok(value) = HeaderValue::from_bytes(&left) {
                        let headers: HeaderMap = [(COOKIE, value)].into_iter().collect();
                        prop_assert_eq!(find_cookie(&headers, "k"), Ok(None));
                    }
                }
                None => prop_assert!(others(field.as_bytes()).is_empty()),
            }
        }
    }
}
