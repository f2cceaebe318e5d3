//! What tells a request of the console from one that another page made a browser send.
//!
//! A session's cookie goes wherever the browser sends a request to us, whichever page asked for it. `SameSite=Strict` keeps
//! other sites out, but a page on another port of the same machine is the same site. So whoever shows a session must also
//! show where it comes from:
//!
//! - [`CONSOLE_HEADER`], which no other origin can send without asking beforehand (a preflight), and we never allow that;
//! - `Sec-Fetch-Site: same-origin`, which a browser writes and a page cannot; where a browser writes none, an `Origin` that
//!   is our own; where there is neither, only looking is possible;
//! - a media type that no form can send, if there is a body.
//!
//! A file that the browser itself is to save is asked for without the header: there `Sec-Fetch-Site` alone does.

use http::header::{CONTENT_LENGTH, HOST, HeaderName, ORIGIN, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};

use super::body::media_type;
use super::problem::Problem;

/// The header of the console: `1`, or `background` for what it asks by itself while nobody does anything.
pub(super) const CONSOLE_HEADER: HeaderName = HeaderName::from_static("x-keygate-console");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Media types that a form can send to anybody.
const OF_FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Whether somebody sits there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activity {
    /// A person did something.
    Person,
    /// The page asked by itself.
    Background,
}

/// Sees to it that a request was made by the console.
pub(super) fn check(method: &Method, headers: &HeaderMap, is_tls: bool) -> Result<Activity, Problem> {
    let foreign = |detail: &str| Problem::new(StatusCode::FORBIDDEN, "cross_site", detail);
    let only_looks = matches!(*method, Method::GET | Method::HEAD);
    let is_own_site = match one(headers, &FETCH_SITE)? {
        Some(site) if site.eq_ignore_ascii_case("same-origin") => true,
        Some(_) => return Err(foreign("a session is good for requests of the console's own pages only")),
        None => match one(headers, &ORIGIN)? {
            Some(origin) if is_ours(origin, headers, is_tls) => true,
            Some(_) => return Err(foreign("a session is good for requests of the console's own pages only")),
            None => false,
        },
    };
    if !is_own_site && !only_looks {
        return Err(foreign("a session changes something only if the browser says where the request comes from"));
    }
    let activity = match one(headers, &CONSOLE_HEADER)? {
        Some("1") => Activity::Person,
        Some("background") => Activity::Background,
        None if only_looks && is_own_site => Activity::Person,
        _ => {
            let detail = format!("a session is good together with the header `{CONSOLE_HEADER}: 1` only");
            return Err(Problem::new(StatusCode::FORBIDDEN, "console_header_missing", detail));
        }
    };
    let has_body = headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if has_body && media_type(headers).is_none_or(|media_type| OF_FORMS.contains(&media_type.as_str())) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media_type_unsupported",
            "send the body as `Content-Type: application/json`",
        ));
    }
    Ok(activity)
}

/// Whether an origin is that of the page that this listener serves under the name it was asked by.
fn is_ours(origin: &str, headers: &HeaderMap, is_tls: bool) -> bool {
    let Ok(Some(host)) = one(headers, &HOST) else { return false };
    let scheme = if is_tls { "https" } else { "http" };
    let port = if is_tls { ":443" } else { ":80" };
    // A browser leaves the usual port out of both.
    let host = host.strip_suffix(port).unwrap_or(host);
    origin
        .strip_prefix(scheme)
        .and_then(|rest| rest.strip_prefix("://"))
        .is_some_and(|own| own.eq_ignore_ascii_case(host))
}

/// The only value of a header; several are refused.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if value.to_str().is_ok() => Ok(value.to_str().ok()),
        _ => {
            let detail = format!("the header `{name}` may stand there once, as text");
            Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers in the order of the columns: fetch site, origin, the console's own, media type (with a body).
    type Row = (Method, [Option<&'static str>; 4], bool, Result<Activity, &'static str>);

    #[test]
    fn only_the_consoles_own_pages_are_heard() {
        use Activity::{Background, Person};
        let json = Some("application/json");
        let (own, https) = (Some("http://127.0.0.1:9090"), Some("https://127.0.0.1:9090"));
        let same = Some("same-origin");
        let table: Vec<Row> = vec![
            // What the console sends, as each kind of browser tells of it.
            (Method::POST, [same, own, Some("1"), json], false, Ok(Person)),
            (Method::POST, [None, own, Some("1"), json], false, Ok(Person)),
            (Method::POST, [None, https, Some("1"), json], true, Ok(Person)),
            (Method::POST, [Some("Same-Origin"), None, Some("1"), json], false, Ok(Person)),
            (Method::DELETE, [same, own, Some("1"), None], false, Ok(Person)),
            (Method::POST, [same, own, Some("1"), Some("text/csv")], false, Ok(Person)),
            (Method::GET, [same, None, Some("1"), None], false, Ok(Person)),
            (Method::GET, [same, None, Some("background"), None], false, Ok(Background)),
            (Method::GET, [None, None, Some("1"), None], false, Ok(Person)),
            // A file to be saved.
            (Method::GET, [same, None, None, None], false, Ok(Person)),
            // A proxy before it that speaks TLS: the browser's word counts, not what the proxy made of the host.
            (Method::POST, [same, Some("https://keys.example"), Some("1"), json], false, Ok(Person)),
            // Another port of this machine, another site, an address that was typed.
            (Method::POST, [Some("same-site"), own, Some("1"), json], false, Err("cross_site")),
            (Method::POST, [Some("cross-site"), own, Some("1"), json], false, Err("cross_site")),
            (Method::GET, [Some("same-site"), None, Some("1"), None], false, Err("cross_site")),
            (Method::GET, [Some("none"), None, None, None], false, Err("cross_site")),
            (Method::POST, [None, Some("http://127.0.0.1:3000"), Some("1"), json], false, Err("cross_site")),
            (
                Method::POST,
                [None, Some("http://127.0.0.1:9090.evil.example"), Some("1"), json],
                false,
                Err("cross_site"),
            ),
            (Method::POST, [None, https, Some("1"), json], false, Err("cross_site")),
            (Method::POST, [None, own, Some("1"), json], true, Err("cross_site")),
            (Method::POST, [None, Some("null"), Some("1"), json], false, Err("cross_site")),
            (Method::POST, [Some(""), own, Some("1"), json], false, Err("cross_site")),
            // Nobody says where it comes from.
            (Method::POST, [None, None, Some("1"), json], false, Err("cross_site")),
            (Method::DELETE, [None, None, Some("1"), None], false, Err("cross_site")),
            // Without the header, or with another value.
            (Method::POST, [same, own, None, json], false, Err("console_header_missing")),
            (Method::GET, [None, None, None, None], false, Err("console_header_missing")),
            (Method::DELETE, [same, own, Some("yes"), None], false, Err("console_header_missing")),
            // What a form could send.
            (Method::POST, [same, own, Some("1"), Some("text/plain")], false, Err("media_type_unsupported")),
            (
                Method::POST,
                [same, own, Some("1"), Some("text/plain; x=application/json")],
                false,
                Err("media_type_unsupported"),
            ),
            (
                Method::POST,
                [same, own, Some("1"), Some("multipart/form-data; boundary=x")],
                false,
                Err("media_type_unsupported"),
            ),
            (
                Method::POST,
                [same, own, Some("1"), Some("application/x-www-form-urlencoded")],
                false,
                Err("media_type_unsupported"),
            ),
            (Method::POST, [same, own, Some("1"), Some("")], false, Err("media_type_unsupported")),
        ];
        for (method, [site, origin, console, media_type], is_tls, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:9090".parse().unwrap());
            let columns = [(FETCH_SITE, site), (ORIGIN, origin), (CONSOLE_HEADER, console)];
            for (name, value) in columns.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
                headers.insert(name, value.parse().unwrap());
            }
            if let Some(media_type) = media_type {
                headers.insert(CONTENT_LENGTH, "2".parse().unwrap());
                if !media_type.is_empty() {
                    headers.insert(http::header::CONTENT_TYPE, media_type.parse().unwrap());
                }
            }
            let found = check(&method, &headers, is_tls).map_err(|problem| problem.code);
            assert_eq!(found, expected.map_err(str::to_owned), "{method} {headers:?} {is_tls}");
        }
    }

    #[test]
    fn a_header_that_stands_there_twice_is_refused() {
        for name in [FETCH_SITE, ORIGIN, CONSOLE_HEADER] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:9090".parse().unwrap());
            headers.insert(CONSOLE_HEADER, "1".parse().unwrap());
            if name != CONSOLE_HEADER {
                headers.append(&name, "same-origin".parse().unwrap());
            }
            headers.append(&name, "1".parse().unwrap());
            let code = check(&Method::GET, &headers, false).unwrap_err().code;
            assert_eq!(code, "cross_site", "{name}");
        }
    }

    #[test]
    fn the_usual_port_is_left_out_by_browsers() {
        for (host, origin, is_tls, expected) in [
            ("keys.example:443", "https://keys.example", true, true),
            ("keys.example", "https://keys.example", true, true),
            ("keys.example:80", "http://keys.example", false, true),
            ("keys.example:443", "http://keys.example", false, false),
            ("KEYS.example", "https://keys.example", true, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            assert_eq!(is_ours(origin, &headers, is_tls), expected, "{host} {origin} {is_tls}");
        }
    }
}
