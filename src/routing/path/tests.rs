use proptest::prelude::*;

use super::AmbiguousPath::{
    Backslash, BadPercentEncoding, Control, DotSegment, DoubleEncoding, Fragment, IllegalCharacter, InvalidUtf8,
    NotAbsolute, NotAscii,
};
use super::*;

#[test]
fn a_path_that_can_be_read_in_two_ways_is_refused() {
    for (raw, why) in [
        // Not a path.
        ("", NotAbsolute),
        ("*", NotAbsolute),
        ("orders", NotAbsolute),
        ("http://a/b", NotAbsolute),
        ("%2Forders", NotAbsolute),
        // Dot segments, in every disguise.
        ("/.", DotSegment),
        ("/..", DotSegment),
        ("/./", DotSegment),
        ("/a/../b", DotSegment),
        ("/a/..", DotSegment),
        ("/public/../admin", DotSegment),
        ("/a/%2e", DotSegment),
        ("/a/%2E%2e/b", DotSegment),
        ("/a/.%2e/b", DotSegment),
        ("/a/%2e./b", DotSegment),
        ("/public/..;/admin", DotSegment),
        ("/public/..;a=b/admin", DotSegment),
        ("/public/.;/admin", DotSegment),
        ("/public/..%3B/admin", DotSegment),
        ("/public/%2e%2e;x/admin", DotSegment),
        ("/public/..%2Fadmin", DotSegment),
        ("/public/..%2fadmin", DotSegment),
        ("/public%2F..%2Fadmin", DotSegment),
        ("/public/..%3Fx/admin", DotSegment),
        ("/public/..%23/admin", DotSegment),
        ("/public/..%20/admin", DotSegment),
        ("/public/.%20./admin", DotSegment),
        ("/public/.../admin", DotSegment),
        ("/a//..//b", DotSegment),
        // Backslashes.
        ("/a\\b", Backslash),
        ("/a/..\\admin", Backslash),
        ("/a%5cb", Backslash),
        ("/a%5C..%5Cadmin", Backslash),
        // Control characters.
        ("/a\0", Control),
        ("/a\tb", Control),
        ("/a\r\nx: y", Control),
        ("/a\u{7f}", Control),
        ("/a%00", Control),
        ("/admin%00.png", Control),
        ("/a%0d%0aSet-Cookie:x", Control),
        ("/a%09", Control),
        ("/a%1F", Control),
        ("/a%7f", Control),
        // Bad percent encoding.
        ("/a%", BadPercentEncoding),
        ("/a%2", BadPercentEncoding),
        ("/a%/b", BadPercentEncoding),
        ("/a%zz", BadPercentEncoding),
        ("/a%2/b", BadPercentEncoding),
        ("/a%u002e", BadPercentEncoding),
        ("/a%%32e", BadPercentEncoding),
        ("/a%+1", BadPercentEncoding),
        // Not UTF-8: overlong dots and slashes, lone and cut bytes, surrogates.
        ("/%C0%AE%C0%AE/admin", InvalidUtf8),
        ("/a%C0%AFadmin", InvalidUtf8),
        ("/a%E0%80%AFadmin", InvalidUtf8),
        ("/a%F0%80%80%AFadmin", InvalidUtf8),
        ("/a%C1%9C", InvalidUtf8),
        ("/a%80", InvalidUtf8),
        ("/a%C3", InvalidUtf8),
        ("/a%C3/%A9", InvalidUtf8),
        ("/a%ED%A0%80", InvalidUtf8),
        ("/a%FF", InvalidUtf8),
        // Double encoding that hides one of these, to any depth.
        ("/a/%252e%252e/b", DoubleEncoding),
        ("/a/%252E", DoubleEncoding),
        ("/a/file%252ejson", DoubleEncoding),
        ("/a%252fb", DoubleEncoding),
        ("/a%255cb", DoubleEncoding),
        ("/a%2500", DoubleEncoding),
        ("/a%250a", DoubleEncoding),
        ("/a%257F", DoubleEncoding),
        ("/a%25%32%65", DoubleEncoding),
        ("/a%25%32f", DoubleEncoding),
        ("/a%252%66", DoubleEncoding),
        ("/a%25252e", DoubleEncoding),
        ("/a%2525252e", DoubleEncoding),
        ("/a%252525", DoubleEncoding),
        ("/a%2525%34%31", DoubleEncoding),
        ("/a%25C0%25AE", DoubleEncoding),
        ("/a%25FF", DoubleEncoding),
        ("/a%25u002e", DoubleEncoding),
        // Bytes that no path has.
        ("/caf\u{e9}", NotAscii),
        ("/\u{ff0e}\u{ff0e}/", NotAscii),
        ("/a#b", Fragment),
        ("/a b", IllegalCharacter),
        ("/a<b", IllegalCharacter),
        ("/a>b", IllegalCharacter),
        ("/a?b", IllegalCharacter),
    ] {
        assert_eq!(CanonicalPath::parse(raw).map(|path| path.as_str().to_owned()), Err(why), "{raw:?}");
    }
}

#[test]
fn a_path_that_reads_one_way_is_kept_byte_for_byte() {
    let plain = PathAdmissions::default();
    let slash = PathAdmissions { encoded_slash: true, ..plain };
    let semicolon = PathAdmissions { semicolon: true, ..plain };
    let unreserved = PathAdmissions { encoded_unreserved: true, ..plain };
    for (raw, constructs) in [
        ("/", plain),
        ("/orders", plain),
        ("/orders/", plain),
        ("/Orders/AbC/1-2_3~4", plain),
        ("/v1/items:batch", plain),
        ("/a!$&'()*+,=:@b", plain),
        ("/.well-known/openid", plain),
        ("/a.b/c..d/e.", plain),
        ("/..a/b..", plain),
        ("/v1...v2", plain),
        // What browsers send plain although no URI holds it.
        ("/a|b\"c[d]e^f`g{h}i", plain),
        // Encoded data.
        ("/caf%C3%A9", plain),
        ("/caf%c3%a9", plain),
        ("/a%20b", plain),
        ("/%F0%9F%94%91", plain),
        ("/%EF%BC%8E%EF%BC%8E/", plain),
        ("/a%3Fb%23c", plain),
        ("/user%40example.com", plain),
        ("/100%25", plain),
        ("/100%25/of", plain),
        ("/a%25zz", plain),
        ("/a%3Bb", plain),
        ("/a%2540b", plain),
        ("/a%2520b", plain),
        ("/caf%25C3%25A9", plain),
        // What an endpoint has to admit.
        ("/a%2Fb", slash),
        ("/a%2fb", slash),
        ("/a;b=c", semicolon),
        ("/a;/b", semicolon),
        ("/%61dmin", unreserved),
        ("/%41dmin", unreserved),
        ("/file%2Ejson", unreserved),
        ("/a%7Eb", unreserved),
        ("/%2561dmin", unreserved),
        ("/%25%36%31dmin", unreserved),
        ("/a%25%34%31%25%33%31", unreserved),
        ("/a;b%2F%61", PathAdmissions { encoded_slash: true, semicolon: true, encoded_unreserved: true }),
    ] {
        let path = CanonicalPath::parse(raw).unwrap_or_else(|error| panic!("{raw:?}: {error}"));
        assert_eq!((path.as_str(), path.is_changed(), path.constructs()), (raw, false, constructs), "{raw:?}");
    }
}

#[test]
fn runs_of_slashes_are_one_slash() {
    for (raw, text) in [
        ("//", "/"),
        ("///", "/"),
        ("//admin/x", "/admin/x"),
        ("/a//b///c", "/a/b/c"),
        ("/a//", "/a/"),
        ("/a//caf%C3%A9", "/a/caf%C3%A9"),
    ] {
        let path = CanonicalPath::parse(raw).unwrap();
        assert_eq!((path.as_str(), path.is_changed()), (text, true), "{raw:?}");
    }
}

#[test]
fn an_ordinary_path_borrows() {
    let raw = "/orders/4711/lines";
    assert!(std::ptr::eq(raw, CanonicalPath::parse(raw).unwrap().as_str()));
}

#[test]
fn every_single_byte_is_either_legal_or_refused() {
    for byte in 0..=0x7f_u8 {
        let plain = format!("/a{}b", char::from(byte));
        let is_legal = is_pchar(byte) || byte == b'/' || b"|\"[]^`{}".contains(&byte);
        assert_eq!(CanonicalPath::parse(&plain).is_ok(), is_legal, "{plain:?}");
        // The quick pass and the thorough one agree.
        let quick = CanonicalPath::parse(&plain).map(|path| (path.constructs(), path.traits()));
        let thorough = CanonicalPath::examine(&plain).map(|path| (path.constructs(), path.traits()));
        assert_eq!(quick, thorough, "{plain:?}");
    }
    for byte in 0..=0xff_u8 {
        let encoded = format!("/a%{byte:02X}b");
        let is_legal = (0x20..0x7f).contains(&byte) && byte != b'\\';
        assert_eq!(CanonicalPath::parse(&encoded).is_ok(), is_legal, "{encoded:?}");
    }
}

/// Paths made of the pieces that attacks are made of.
pub(crate) fn nasty_path() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "/",
        "/",
        "/",
        "/",
        "a",
        "b",
        "A",
        "admin",
        "Admin",
        "x",
        ".",
        "..",
        ";",
        ";v=1",
        "%",
        "%2",
        "%2F",
        "%2f",
        "%2e",
        "%61",
        "%41",
        "%40",
        "@",
        "%3B",
        "%3F",
        "%23",
        "%25",
        "%2561",
        "%2540",
        "%253F",
        "%253b",
        "25",
        "61",
        "%20",
        "%C3%A9",
        "%c3%a9",
        "%E2%84%AA",
        "k",
        "|",
        "%7C",
        "%C5%BF",
        "s",
        "%5C",
        "%00",
        "u0061",
    ]);
    prop::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_canonical_path_is_its_own_canonical_form(raw in nasty_path()) {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            let again = CanonicalPath::parse(path.as_str()).unwrap();
            prop_assert!(!again.is_changed());
            prop_assert_eq!(again.as_str(), path.as_str());
            prop_assert_eq!(again.constructs(), path.constructs());
            prop_assert_eq!(again.traits(), path.traits());
        }
    }

    #[test]
    fn the_quick_pass_agrees_with_the_thorough_one(raw in nasty_path()) {
        let quick = CanonicalPath::parse(&raw);
        prop_assert_eq!(quick, CanonicalPath::examine(&raw));
    }

    #[test]
    fn no_bytes_reach_a_panic(raw in any::<String>()) {
        let _ = CanonicalPath::parse(&raw);
        let _ = CanonicalPath::parse(&format!("/{raw}"));
    }

    /// Decoded as often as anybody likes, an accepted path never shows a dot segment, a backslash or a control character.
    #[test]
    fn nothing_refused_hides_in_an_accepted_path(raw in nasty_path()) {
        if let Ok(path) = CanonicalPath::parse(&raw) {
            let mut text = path.as_str().as_bytes().to_vec();
            for _ in 0..8 {
                prop_assert!(!text.iter().any(|byte| byte.is_ascii_control() || *byte == b'\\'), "{}", raw);
                for segment in text.split(|byte| *byte == b'/') {
                    prop_assert!(!matches!(segment, b"." | b".."), "{}", raw);
                }
                text = decode_leniently(&text);
            }
        }
    }
}

/// Percent decoding as a careless reader does it: what is no escape stays.
pub(crate) fn decode_leniently(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digit = |at: usize| text.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let byte =
            digit(at + 1).zip(digit(at + 2)).filter(|_| text[at] == b'%').map(|(high, low)| (16 * high + low) as u8);
        out.push(byte.unwrap_or(text[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    out
}
