//! The one form of a path.

use http::Method;
use keygate::routing::CanonicalPath;

use super::readers::{READERS, decode};
use super::site::{PLANS, governing, is_route, site};

/// A path that is taken has one form only, and nothing in it decodes to a way up, a separator or a control byte; and every
/// server that reads it, however carelessly, is led to the endpoint and the rule that were judged.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(canonical) = CanonicalPath::parse(text) else { return };
    let judged = canonical.as_str();
    let again = CanonicalPath::parse(judged).expect("what was judged can be judged again");
    assert_eq!(again.as_str(), judged, "the canonical form is canonical");
    assert!(judged.starts_with('/') && !judged.contains("//") && !judged.contains('\\'));
    nothing_is_hidden(&canonical);
    for host in ["example.com", "admin.example.com"] {
        for method in [Method::GET, Method::DELETE] {
            let Ok(rule) = site().snapshot.router.find("http", host, &canonical, &method) else { continue };
            everybody_is_led_to(rule.endpoint, rule.route.is_some(), &method, host, judged);
        }
    }
}

/// Reads it as the most obliging upstream would: decode again and again.
fn nothing_is_hidden(canonical: &CanonicalPath<'_>) {
    let judged = canonical.as_str();
    let admits = canonical.constructs();
    let mut decoded = judged.as_bytes().to_vec();
    for _ in 0..8 {
        let next = decode(&decoded);
        for segment in next.split(|&byte| byte == b'/') {
            assert!(segment != b"." && segment != b"..", "{judged:?} hides a way up");
        }
        assert!(
            !next.iter().any(|&byte| byte < 0x20 || byte == 0x7f || byte == b'\\'),
            "{judged:?} hides a control byte"
        );
        let slashes = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'/').count();
        assert!(admits.encoded_slash || slashes(&next) == slashes(judged.as_bytes()), "{judged:?} hides a slash");
        if next == decoded {
            break;
        }
        decoded = next;
    }
}

/// Whatever a server makes of a path, it is the path of the plan that was judged, and of the same route.
pub fn everybody_is_led_to(endpoint: usize, has_route: bool, method: &Method, host: &str, path: &str) {
    let plan = &PLANS[endpoint];
    for reader in READERS {
        let segments = (reader.read)(path.as_bytes());
        // A pattern is written decoded in the tables, which a server that decodes nothing never sees.
        if reader.name == "literal" && path.contains('%') {
            continue;
        }
        let found = governing(host, &segments, reader.folds_case);
        // Where the operator says that case matters, nobody behind it folds; neither does who is behind all the others.
        let all_distinct = !found.is_empty() && found.iter().all(|&other| PLANS[other].is_distinct);
        let is_led = found.contains(&endpoint) || reader.folds_case && (plan.is_distinct || all_distinct);
        let names: Vec<_> = found.iter().map(|&found| PLANS[found].name).collect();
        assert!(is_led, "{path:?} was judged for `{}`; {} is led to {names:?}", plan.name, reader.name);
        if found == [endpoint] {
            assert_eq!(
                is_route(plan, method, &segments),
                has_route,
                "{method} {path:?} of `{}` as {} reads it",
                plan.name,
                reader.name
            );
        }
    }
}
