//! The console: the pages of the admin API, as files that are part of the program.
//!
//! `ops` calls [`answer`] for whatever is below `/console/` on the admin address. The files stand in `src/console/` as they
//! are sent: there is no build of the front end. `build.rs` lists and compresses them, so that a new file is served by being
//! there. Nothing here knows a key or a token: the pages ask the admin API for all they show.
//!
//! Every answer has [`secure_page`] upon it: scripts and styles come from this address and from files alone, nothing is sent
//! elsewhere, nobody may put the page in a frame. [`secure_api`] is for everything else on the admin address: should a
//! browser ever take such an answer for a page, it is one that can do nothing.

use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, Method, Response, StatusCode};

/// Where the console is.
pub const PLACE: &str = "/console/";

/// The header that the pages send with all they ask of the admin API.
pub const HEADER: HeaderName = HeaderName::from_static("x-keygate-console");

/// What a page of the console may do, and who may have it: scripts, styles and calls of this very address and nothing
/// else. Images may be `data:`, for icons in the style sheet.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What all answers of the admin address have in common.
const COMMON_HEADERS: [(HeaderName, &str); 7] = [
    (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (http::header::REFERRER_POLICY, "no-referrer"),
    (http::header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("origin-agent-cluster"), "?1"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), clipboard-read=(), display-capture=(), geolocation=(), gyroscope=(), \
         magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), usb=()",
    ),
];

/// Headers of every answer of the console.
pub fn secure_page(headers: &mut HeaderMap) {
    secure(headers, PAGE_POLICY);
    headers.insert("cross-origin-embedder-policy", HeaderValue::from_static("require-corp"));
}

/// Headers of every other answer of the admin address.
pub fn secure_api(headers: &mut HeaderMap) {
    secure(headers, "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
}

fn secure(headers: &mut HeaderMap, policy: &'static str) {
    headers.insert(http::header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    for (name, value) in COMMON_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A file of the console.
#[derive(Debug)]
struct Asset {
    /// Its path below the console's.
    path: &'static str,
    media_type: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

impl Asset {
    /// The smallest form that whoever asks can read: the name of its coding, none if it goes as it is, and its bytes.
    fn form_for(&self, headers: &HeaderMap) -> (Option<&'static str>, &'static [u8]) {
        let codings = [("br", self.brotli), ("gzip", self.gzip)];
        let readable = codings.into_iter().filter(|(coding, _)| takes(headers, coding));
        let smallest =
            readable.min_by_key(|(_, bytes)| bytes.len()).filter(|(_, bytes)| bytes.len() < self.plain.len());
        smallest.map_or((None, self.plain), |(coding, bytes)| (Some(coding), bytes))
    }
}

/// All files, made by `build.rs`.
static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The tag of each file's content.
static TAGS: LazyLock<Vec<String>> =
    LazyLock::new(|| ASSETS.iter().map(|asset| blake3::hash(asset.plain).to_hex().as_str()[..24].to_owned()).collect());

/// The page that everything begins with.
const INDEX: &str = "index.html";

/// Answers for a path below the console's. A file is asked for again each time, and sent only if it has changed.
#[must_use]
pub fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Response<Bytes> {
    let mut response = find(method, path, headers);
    secure_page(response.headers_mut());
    if *method == Method::HEAD {
        let length = HeaderValue::from(response.body().len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        *response.body_mut() = Bytes::new();
    }
    response
}

fn find(method: &Method, path: &str, headers: &HeaderMap) -> Response<Bytes> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "the console's files are for GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if path == PLACE.trim_end_matches('/') {
        return moved();
    }
    let Some(name) = path.strip_prefix(PLACE) else { return text(StatusCode::NOT_FOUND, "there is no such file\n") };
    let name = if name.is_empty() { INDEX } else { name };
    let Some(index) = ASSETS.iter().position(|asset| asset.path == name) else {
        return text(StatusCode::NOT_FOUND, "there is no such file\n");
    };
    let asset = &ASSETS[index];
    let (coding, body) = asset.form_for(headers);
    // Each form of a file has a tag of its own (RFC 9110 section 8.8.3.3).
    let tag = format!("\"{}-{}\"", TAGS[index], coding.unwrap_or("plain"));
    let mut response = Response::new(Bytes::from_static(body));
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| names(known, &tag));
    let set = response.headers_mut();
    set.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    set.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        set.insert(ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Bytes::new();
        return response;
    }
    set.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    if let Some(coding) = coding {
        set.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}

/// Sends a browser to the console.
#[must_use]
pub fn moved() -> Response<Bytes> {
    let mut response = text(StatusCode::FOUND, "the console is at /console/\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(PLACE));
    secure_page(response.headers_mut());
    response
}

fn text(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Whether an `If-None-Match` names a tag (RFC 9110 section 13.1.2: weakly compared).
fn names(field: &HeaderValue, tag: &str) -> bool {
    let Ok(text) = field.to_str() else { return false };
    text.split(',').map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Whether `Accept-Encoding` admits a coding (RFC 9110 section 12.5.3).
fn takes(headers: &HeaderMap, wanted: &str) -> bool {
    let mut of_all = false;
    for field in headers.get_all(ACCEPT_ENCODING) {
        for part in field.to_str().unwrap_or_default().split(',') {
            let (coding, weight) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.trim().parse().ok());
            let is_wanted = weight.is_some_and(|weight: f32| weight > 0.0);
            match coding.trim() {
                coding if coding.eq_ignore_ascii_case(wanted) => return is_wanted,
                "*" => of_all = is_wanted,
                _ => {}
            }
        }
    }
    of_all
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn ask(method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Response<Bytes> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        answer(&method, path, &map)
    }

    fn text_of(asset: &Asset) -> &'static str {
        str::from_utf8(asset.plain).unwrap_or_default()
    }

    #[test]
    fn every_file_is_sent_with_its_type_in_each_form_and_only_once() {
        assert!(ASSETS.iter().any(|asset| asset.path == INDEX));
        for asset in ASSETS {
            let path = format!("{PLACE}{}", asset.path);
            let plain = ask(Method::GET, &path, &[]);
            assert_eq!((plain.status(), &plain.body()[..]), (StatusCode::OK, asset.plain), "{path}");
            assert!(!plain.headers().contains_key(CONTENT_ENCODING));
            let by_gzip = ask(Method::GET, &path, &[(ACCEPT_ENCODING, "gzip;q=0.8, deflate")]);
            let smallest = ask(Method::GET, &path, &[(ACCEPT_ENCODING, "gzip, br")]);
            for (answer, coding) in [(&by_gzip, "gzip"), (&smallest, "br")] {
                let Some(stated) = answer.headers().get(CONTENT_ENCODING) else { continue };
                let mut text = Vec::new();
                if stated == "gzip" {
                    flate2::read::GzDecoder::new(&answer.body()[..]).read_to_end(&mut text).unwrap();
                } else {
                    assert_eq!((stated.to_str().unwrap(), coding), ("br", "br"));
                    brotli::BrotliDecompress(&mut &answer.body()[..], &mut text).unwrap();
                }
                assert!(text == asset.plain, "{path} by {coding}");
                assert!(answer.body().len() < asset.plain.len());
                assert_ne!(plain.headers()[ETAG], answer.headers()[ETAG]);
            }
            for answer in [&plain, &by_gzip, &smallest] {
                assert_eq!(answer.headers()[CONTENT_TYPE], asset.media_type);
                assert_eq!(answer.headers()[CACHE_CONTROL], "private, no-cache");
                assert_eq!(answer.headers()[VARY], "accept-encoding");
            }
            let tag = plain.headers()[ETAG].to_str().unwrap().to_owned();
            for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
                let again = ask(Method::GET, &path, &[(IF_NONE_MATCH, &known)]);
                assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0), "{path} {known}");
            }
            assert_eq!(ask(Method::GET, &path, &[(IF_NONE_MATCH, "\"x\"")]).status(), StatusCode::OK);
            let head = ask(Method::HEAD, &path, &[]);
            assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
            assert_eq!(head.headers()[CONTENT_LENGTH], asset.plain.len().to_string());
        }
    }

    #[test]
    fn the_whole_console_is_small() {
        let size: usize =
            ASSETS.iter().map(|asset| asset.brotli.len().min(asset.gzip.len()).min(asset.plain.len())).sum();
        assert!(size <= 80 << 10, "{size} bytes compressed, more than 80 KiB");
    }

    /// Hosts that stand for something and are not asked: names of XML, the home of what is vendored, examples for people.
    fn is_a_mere_name(host: &str) -> bool {
        ["www.w3.org", "github.com", "your-gateway"].contains(&host) || host.ends_with(".example")
    }

    #[test]
    fn no_file_names_another_host_and_none_holds_a_script_of_its_own() {
        for asset in ASSETS {
            let text = text_of(asset);
            for (at, _) in text.match_indices("//") {
                let before = &text[..at];
                let is_address = before.ends_with("http:")
                    || before.ends_with("https:")
                    || before.ends_with("ws:")
                    || before.ends_with("wss:");
                let is_host = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-');
                let rest = &text[at + 2..];
                let host = &rest[..rest.find(|letter| !is_host(letter)).unwrap_or(rest.len())];
                assert!(!is_address || is_a_mere_name(host), "{}: {host}", asset.path);
            }
            if asset.path.ends_with(".html") {
                let lower = text.to_ascii_lowercase();
                for (at, _) in lower.match_indices("<script") {
                    let tag = &lower[at..at + lower[at..].find('>').unwrap()];
                    assert!(tag.contains("src="), "{}: a script within the page", asset.path);
                }
                for forbidden in ["<style", "style=", "javascript:", " onclick", " onload", "src=\"//", "href=\"//"] {
                    assert!(!lower.contains(forbidden), "{}: {forbidden}", asset.path);
                }
            }
        }
    }

    #[test]
    fn every_answer_has_the_headers_that_shut_the_page_in() {
        let mut answers = vec![
            ask(Method::GET, "/console", &[]),
            ask(Method::GET, "/console/nothing.js", &[]),
            ask(Method::POST, "/console/", &[]),
            moved(),
        ];
        for asset in ASSETS {
            let path = format!("{PLACE}{}", asset.path);
            let answer = ask(Method::GET, &path, &[]);
            let tag = answer.headers()[ETAG].to_str().unwrap().to_owned();
            answers.push(ask(Method::GET, &path, &[(IF_NONE_MATCH, &tag)]));
            answers.push(answer);
        }
        for answer in answers {
            let header = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap().to_owned();
            let policy = header("content-security-policy");
            for part in [
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                "connect-src 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ] {
                assert!(policy.contains(part), "{policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
            assert_eq!(header("x-content-type-options"), "nosniff");
            assert_eq!(header("referrer-policy"), "no-referrer");
            assert_eq!(header("cross-origin-opener-policy"), "same-origin");
            assert_eq!(header("cross-origin-resource-policy"), "same-origin");
            assert_eq!(header("x-frame-options"), "DENY");
            assert!(header("permissions-policy").contains("camera=()"));
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        for path in ["/console/nothing", "/console/../admin", "/console//index.html", "/console/INDEX.HTML", "/other"] {
            let answer = ask(Method::GET, path, &[]);
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
        }
        let answer = ask(Method::POST, "/console/", &[]);
        assert_eq!(
            (answer.status(), &answer.headers()[ALLOW]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
        );
        let answer = ask(Method::GET, "/console", &[]);
        assert_eq!((answer.status(), &answer.headers()[LOCATION]), (StatusCode::FOUND, &PLACE.parse().unwrap()));
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (field, expected) in [
            ("gzip", true),
            ("deflate, gzip", true),
            ("GZIP", true),
            ("*", true),
            ("gzip;q=0", false),
            ("gzip; q=0.001", true),
            ("*;q=0, gzip;q=1", true),
            ("*, gzip;q=0", false),
            ("gzip;q=x", false),
            ("br", false),
            ("identity", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, field.parse().unwrap())]);
            assert_eq!(takes(&headers, "gzip"), expected, "{field:?}");
        }
        assert!(!takes(&HeaderMap::new(), "gzip"));
    }
}
