use std::cmp::Ordering::{Equal, Greater, Less};

use super::*;

fn pattern(text: &str) -> PathPattern {
    PathPattern::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

#[test]
fn patterns_are_read_and_written() {
    for text in [
        "/",
        "/orders",
        "/orders/:id/lines/:line_2",
        "/v1/items:batch",
        "/a.b/c-d_e~f",
        "/@me",
        "/caf%C3%A9",
        "/a%20b",
        "/Orders",
        "/.well-known",
    ] {
        assert_eq!(pattern(text).as_str(), text);
    }
    let segments = [Segment::Literal("orders"), Segment::Parameter("id"), Segment::Literal("x:y")];
    assert!(pattern("/orders/:id/x:y").segments().eq(segments));
    assert_eq!(pattern("/").segments().count(), 0);
}

#[test]
fn what_is_no_pattern_is_refused_with_the_way_out() {
    let many = "/a".repeat(MAX_SEGMENTS + 1);
    let long = format!("/{}", "a".repeat(MAX_LITERAL_BYTES + 1));
    for (text, says) in [
        ("", "it does not start with `/`"),
        ("orders", "it does not start with `/`"),
        ("/orders/", "it ends with `/`; a path without it governs the one with it too"),
        ("//", "it holds `//`; runs of slashes are one slash before a path is judged"),
        ("/a//b", "it holds `//`; runs of slashes are one slash before a path is judged"),
        ("/orders/{id}", "`{` and `}` have no meaning here; write a parameter as `:id`"),
        ("/orders/{id}.json", "`{` and `}` have no meaning here; write a parameter as `:name`"),
        (
            "/orders/*",
            "`*` has no meaning here; an endpoint's path governs everything below it, and `:name` stands for one segment",
        ),
        ("/orders/:", "a parameter has no name; write `:name`"),
        ("/orders/:a-b", "the parameter `:a-b` may hold only letters, digits and `_`, and takes its whole segment"),
        (
            "/orders/:a.json",
            "the parameter `:a.json` may hold only letters, digits and `_`, and takes its whole segment",
        ),
        ("/:id/:id", "the parameter `:id` is named twice"),
        ("/orders?x=1", "it holds a `?`; the query never takes part in finding an endpoint"),
        ("/caf\u{e9}", "write the segment `caf\u{e9}` as `caf%C3%A9`"),
        ("/caf%c3%a9", "write the segment `caf%c3%a9` as `caf%C3%A9`"),
        ("/a b", "write the segment `a b` as `a%20b`"),
        ("/a|b", "write the segment `a|b` as `a%7Cb`"),
        ("/%61dmin", "write the segment `%61dmin` as `admin`"),
        ("/%40me", "write the segment `%40me` as `@me`"),
        ("/a;b", "it holds a `;`, which some servers take for the start of parameters; no literal can rely on it"),
        ("/a%3Bb", "it holds a `;`, which some servers take for the start of parameters; no literal can rely on it"),
        ("/a%2Fb", "it holds an encoded slash, which some servers take for a slash; no literal can rely on it"),
        (
            "/a%3Fb",
            "it holds an encoded `%`, `?` or `#`, which some servers read in another way; no literal can rely on it",
        ),
        (
            "/100%25",
            "it holds an encoded `%`, `?` or `#`, which some servers read in another way; no literal can rely on it",
        ),
        ("/a.", "the segment `a.` ends in a dot or a blank, which some servers do not see; no literal can rely on it"),
        (
            "/a%20",
            "the segment `a%20` ends in a dot or a blank, which some servers do not see; no literal can rely on it",
        ),
        (
            "/a/../b",
            "a request for it would always be refused: a segment of the path is nothing but dots, plain or encoded",
        ),
        ("/a%2", "a request for it would always be refused: a `%` in the path is not followed by two hex digits"),
        ("/a#b", "a request for it would always be refused: the path holds a `#`"),
        ("/a%00", "a request for it would always be refused: the path holds a control character, plain or encoded"),
        (&many, "it has more than 32 segments"),
        (&long, "one of its segments is longer than 128 bytes"),
    ] {
        assert_eq!(PathPattern::parse(text).map_err(|error| error.to_string()), Err(says.to_owned()), "{text:?}");
    }
}

#[test]
fn an_endpoint_governs_at_segment_boundaries_only() {
    for (text, path, prefix, exact) in [
        ("/foo", "/foo", true, true),
        ("/foo", "/foo/", true, true),
        ("/foo", "/foo/x", true, false),
        ("/foo", "/foo/x/", true, false),
        ("/foo", "/foo-bar", false, false),
        ("/foo", "/foobar", false, false),
        ("/foo", "/fo", false, false),
        ("/foo", "/", false, false),
        ("/foo", "/Foo", false, false),
        ("/", "/", true, true),
        ("/", "/x", true, false),
        ("/a/:id", "/a/1", true, true),
        ("/a/:id", "/a/1/", true, true),
        ("/a/:id", "/a/", false, false),
        ("/a/:id", "/a", false, false),
        ("/a/:id/b", "/a/1/b/c", true, false),
        ("/a/:id/b", "/a/1/c", false, false),
    ] {
        assert_eq!(pattern(text).matches_prefix(path), prefix, "{text} {path}");
        assert_eq!(pattern(text).matches_exact(path), exact, "{text} {path}");
    }
}

#[test]
fn a_parameter_is_what_stands_in_its_segment() {
    for (text, name, path, value) in [
        ("/t/:tenant/o/:id", "tenant", "/t/acme/o/7", Some("acme")),
        ("/t/:tenant/o/:id", "id", "/t/acme/o/7/lines", Some("7")),
        ("/t/:tenant/o/:id", "id", "/t/acme/o/7/", Some("7")),
        ("/t/:tenant/o/:id", "other", "/t/acme/o/7", None),
        ("/t/:tenant/o/:id", "tenant", "/t/acme/x/7", None),
        ("/t/:tenant/o/:id", "tenant", "/t/acme", None),
        ("/t/:tenant", "tenant", "/t/a%20b", Some("a%20b")),
        ("/t", "t", "/t", None),
    ] {
        assert_eq!(pattern(text).parameter(name, path), value, "{text} {name} {path}");
    }
}

#[test]
fn the_first_segment_that_differs_decides_which_is_more_specific() {
    for (one, other, order) in [
        ("/a", "/", Greater),
        ("/a/b", "/a", Greater),
        ("/a/b", "/a/:x", Greater),
        ("/a/b", "/a/:x/c", Greater),
        ("/:x", "/", Greater),
        ("/:x/b/c/d", "/a", Less),
        ("/a/:x", "/a/:y", Equal),
        ("/", "/", Equal),
    ] {
        assert_eq!(pattern(one).specificity(&pattern(other)), order, "{one} {other}");
        assert_eq!(pattern(other).specificity(&pattern(one)), order.reverse(), "{other} {one}");
    }
}

#[test]
fn patterns_overlap_if_some_path_is_below_both() {
    for (one, other, overlap) in [
        ("/a", "/a/b", true),
        ("/", "/a", true),
        ("/a/:x", "/a/b", true),
        ("/a/:x/c", "/a/b/:y", true),
        ("/a/b", "/a/c", false),
        ("/a/:x/c", "/a/b/d", false),
        ("/a", "/b", false),
    ] {
        assert_eq!(pattern(one).overlaps(&pattern(other)), overlap, "{one} {other}");
        assert_eq!(pattern(other).overlaps(&pattern(one)), overlap, "{other} {one}");
    }
}
