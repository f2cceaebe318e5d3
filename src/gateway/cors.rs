//! Answers to browsers that ask from another origin (the Fetch standard, section 3.2).
//!
//! Only for endpoints that configure it. Our own refusals carry the same headers, or a script could not read why it was
//! refused.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};

use crate::routing::Cors;

/// Lets scripts of an allowed origin read a response. What the upstream said on the matter is replaced: two answers to
/// one question would be read differently by different browsers.
pub(super) fn allow(cors: &Cors, request: &HeaderMap, response: &mut HeaderMap) {
    for name in [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS] {
        response.remove(name);
    }
    let depends_on_origin = cors.origins.is_some() || cors.credentials;
    if depends_on_origin {
        response.append(VARY, HeaderValue::from_static("origin"));
    }
    let Some(origin) = allowed_origin(cors, request) else { return };
    response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if cors.credentials {
        response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    if let Some(expose) = &cors.expose {
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
    }
}

/// Says what may be asked. An origin that may not ask gets an answer without permission, as the standard wants it.
pub(super) fn answer_preflight(cors: &Cors, request: &HeaderMap, response: &mut HeaderMap) {
    if allowed_origin(cors, request).is_none() {
        return;
    }
    let methods = cors.methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", ");
    if let Ok(value) = HeaderValue::from_str(&methods) {
        response.insert(ACCESS_CONTROL_ALLOW_METHODS, value);
    }
    let headers = match &cors.headers {
        Some(names) => {
            let names = names.iter().map(http::HeaderName::as_str).collect::<Vec<_>>().join(", ");
            HeaderValue::from_str(&names).ok()
        }
        None => request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned(),
    };
    if let Some(value) = headers.filter(|value| !value.is_empty()) {
        response.insert(ACCESS_CONTROL_ALLOW_HEADERS, value);
    }
    response.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(cors.max_age.as_secs()));
}

/// The value for `Access-Control-Allow-Origin`, if the request's one origin may ask.
fn allowed_origin(cors: &Cors, request: &HeaderMap) -> Option<HeaderValue> {
    let mut origins = request.get_all(ORIGIN).iter();
    let origin = origins.next().filter(|_| origins.next().is_none())?;
    match &cors.origins {
        None if !cors.credentials => Some(HeaderValue::from_static("*")),
        None => Some(origin.clone()),
        Some(listed) => {
            let text = origin.to_str().ok()?;
            listed.iter().any(|known| known.eq_ignore_ascii_case(text)).then(|| origin.clone())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;

    fn cors(origins: Option<&[&str]>, credentials: bool) -> Cors {
        Cors {
            origins: origins.map(|list| list.iter().map(|&origin| origin.into()).collect()),
            methods: [Method::GET, Method::POST].into(),
            headers: None,
            expose: Some(HeaderValue::from_static("x-total")),
            credentials,
            max_age: Duration::from_secs(600),
        }
    }

    fn from(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().expect("a header value"));
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-api-key"));
        headers
    }

    #[test]
    fn an_origin_is_allowed_only_if_listed() {
        for (listed, credentials, origin, expected) in [
            (None, false, "https://a.example", Some("*")),
            (None, true, "https://a.example", Some("https://a.example")),
            (Some(&["https://a.example"][..]), false, "https://a.example", Some("https://a.example")),
            (Some(&["https://a.example"][..]), false, "https://a.example.evil", None),
            (Some(&["https://a.example"][..]), false, "http://a.example", None),
            (Some(&["https://a.example"][..]), false, "null", None),
        ] {
            let mut response = HeaderMap::new();
            response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("https://upstream.example"));
            allow(&cors(listed, credentials), &from(origin), &mut response);
            let value = response.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().expect("text"));
            assert_eq!(value, expected, "{listed:?} {origin}");
        }
    }

    #[test]
    fn a_preflight_names_what_may_be_asked() {
        let mut response = HeaderMap::new();
        answer_preflight(&cors(None, false), &from("https://a.example"), &mut response);
        assert_eq!(response[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert_eq!(response[ACCESS_CONTROL_ALLOW_HEADERS], "x-api-key");
        assert_eq!(response[ACCESS_CONTROL_MAX_AGE], "600");

        let mut response = HeaderMap::new();
        answer_preflight(&cors(Some(&["https://b.example"]), false), &from("https://a.example"), &mut response);
        assert!(response.is_empty());
    }
}
