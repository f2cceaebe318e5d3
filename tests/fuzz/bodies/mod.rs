//! What each fuzz target does with its bytes: feeds them to the code under test and checks what must always hold.
//!
//! The same bodies run in two ways: on any toolchain as an ordinary test, over the corpus and mutations of it, and
//! coverage-guided under libFuzzer where a nightly toolchain is present (`tests/fuzz/Cargo.toml`).

use http::{HeaderMap, HeaderName, HeaderValue};
use keygate::config;
use keygate::credential::{Extractor, MAX_SECRET_BYTES, OtherAuthorization, Prefixes, find_cookie, without_cookie};
use keygate::policy::expression::Expression;
use keygate::routing::CanonicalPath;
use keygate::server::guard::{Guard, GuardLimits};

/// A name and its body.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("path", path),
    ("credential", credential),
    ("expression", expression),
    ("document", document),
    ("framing", framing),
];

/// A path that is taken has one form only, and nothing in it decodes to a way up, a separator or a control byte.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(canonical) = CanonicalPath::parse(text) else { return };
    let judged = canonical.as_str();
    let again = CanonicalPath::parse(judged).expect("what was judged can be judged again");
    assert_eq!(again.as_str(), judged, "the canonical form is canonical");
    assert!(judged.starts_with('/') && !judged.contains("//") && !judged.contains('\\'));
    // Read it as the most obliging upstream would: decode again and again.
    let admits = canonical.constructs();
    let mut decoded = judged.as_bytes().to_vec();
    for _ in 0..8 {
        let next = decode(&decoded);
        for segment in next.split(|&byte| byte == b'/') {
            assert!(segment != b"." && segment != b"..", "{text:?} hides a way up");
        }
        assert!(
            !next.iter().any(|&byte| byte < 0x20 || byte == 0x7f || byte == b'\\'),
            "{text:?} hides a control byte"
        );
        let slashes = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'/').count();
        assert!(admits.encoded_slash || slashes(&next) == slashes(judged.as_bytes()), "{text:?} hides a slash");
        if next == decoded {
            break;
        }
        decoded = next;
    }
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes.get(at + 1).copied().and_then(digit), bytes.get(at + 2).copied().and_then(digit));
        if let (b'%', (Some(high), Some(low))) = (bytes[at], pair) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// Bytes of an HTTP/1 connection: the verdict does not depend on how they were cut into pieces, and what is taken for a
/// head is one for the parser behind as well.
pub fn framing(data: &[u8]) {
    let whole = Guard::new(GuardLimits::default()).feed(data).map_err(|refusal| refusal.violation);
    let mut guard = Guard::new(GuardLimits::default());
    let in_pieces = data.chunks(1).try_for_each(|piece| guard.feed(piece)).map_err(|refusal| refusal.violation);
    assert_eq!(whole, in_pieces);
    if whole.is_ok() && guard.heads() == 1 {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let start = data.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
        let parsed = httparse::Request::new(&mut fields).parse(&data[start..]);
        assert!(parsed.is_ok_and(|status| status.is_complete()), "the guard takes what the parser does not");
    }
}

/// Headers, one a line; a key that is found is one that could have been issued, and stripping leaves no cookie of ours.
pub fn credential(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|&byte| byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    let extractor =
        Extractor::new(Extractor::default_sources(), Prefixes::new(vec!["kg_live_".to_owned(), "pk_".to_owned()]));
    if let Ok(extracted) = extractor.extract(&headers) {
        if let Some(credential) = &extracted.credential {
            let bytes = credential.secret.expose();
            assert!(!bytes.is_empty() && bytes.len() <= MAX_SECRET_BYTES && bytes.is_ascii());
            assert!(credential.source < extractor.sources().len());
        }
        if let OtherAuthorization::Bearer { secret, .. } = &extracted.authorization {
            assert!(headers.contains_key("authorization") && !secret.expose().is_empty());
        }
    }
    for value in headers.get_all("cookie") {
        if let Some(rest) = without_cookie(value.as_bytes(), "mia_client_key") {
            let mut left = HeaderMap::new();
            left.insert("cookie", HeaderValue::from_bytes(&rest).expect("a part of a value is a value"));
            assert!(matches!(find_cookie(&left, "mia_client_key"), Ok(None)));
        }
    }
}

/// An expression that is taken prints in a form that means the same.
pub fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Expression::parse(text) {
        Ok(expression) => {
            let printed = expression.to_string();
            let again = Expression::parse(&printed).expect("what is printed can be read");
            assert_eq!(again.to_string(), printed);
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= text.len());
            assert!(text.is_char_boundary(error.span.start) && text.is_char_boundary(error.span.end));
        }
    }
}

/// A configuration is taken whole or refused with at least one problem.
pub fn document(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Names of hosts are looked up when a configuration is compiled; that belongs to no fuzz run.
    if text.contains("url") || text.contains("servers") || text.len() > 16 * 1024 {
        return;
    }
    let source = config::Source::Text {
        name: "fuzz.yaml".to_owned(),
        text: text.to_owned(),
        directory: std::path::PathBuf::new(),
    };
    if let Err(problems) = config::load(&source, 1) {
        assert!(!problems.to_string().is_empty());
    }
}
