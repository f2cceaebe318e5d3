//! A whole head, from bytes through the decision to what the upstream would get.
//!
//! The first byte says what connection the request came on, the first line is method and target, each line behind it a
//! field. Nothing is refused here that the types of the HTTP library let through: heads are tried that no wire guard would
//! let pass, since over HTTP/2 there is none.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, request::Parts};
use keygate::admission::{Admitted, Permit, RequestHead, admit, requested_host};
use keygate::body::Body;
use keygate::forward::{ForwardSettings, Forwarder, Outgoing};
use keygate::server::Peer;
use keygate::server::peer::{ForwardedBy, client_address};
use keygate::telemetry::health::Health;
use keygate::telemetry::metrics::Metrics;

use super::path::everybody_is_led_to;
use super::site::{Ask, KEYS, Key, PLANS, PREFIX, Plan, USUAL_PLACES, is_route, site, values};

/// What the identity headers are called, those first that are about a client and in the order of [`Key::told`].
const TOLD: [&str; 6] = [
    "x-client-id",
    "client-type",
    "x-client-tenant",
    "x-client-environment",
    "x-client-permissions",
    "x-client-groups",
];
const ABOUT_USERS: [&str; 3] = ["miauserid", "miausergroups", "miauserproperties"];
const NEVER_SET: [&str; 6] =
    ["mia-allowed", "mia-userid", "mia-groups", "mia-userproperties", "acl-rows", "acl-read-columns"];

/// What ends at every hop, and what asks a server to take a request for another one. Nobody lists any of it here.
const NEVER_PASSED: [&str; 18] = [
    "keep-alive",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "trailer",
    "expect",
    "forwarded",
    "x-original-url",
    "x-original-method",
    "x-rewrite-url",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-forwarded-uri",
    "x-forwarded-prefix",
];

/// The facts of a connection.
struct Connection {
    peer: Peer,
    is_proxy: bool,
    names_users: bool,
}

impl Connection {
    fn of(byte: u8) -> Self {
        let (is_proxy, names_users) = (byte & 1 != 0, byte & 2 != 0);
        let address = match (is_proxy, names_users) {
            (true, _) => IpAddr::from([192, 0, 2, 7]),
            (false, true) => IpAddr::from([198, 51, 100, 7]),
            (false, false) => IpAddr::from([203, 0, 113, 7]),
        };
        let local_address = (IpAddr::from([127, 0, 0, 1]), 8080).into();
        Self {
            peer: Peer {
                address: (address, 50_000).into(),
                local_address,
                listener: Arc::from("http"),
                is_backoffice: byte & 4 != 0,
                is_tls: byte & 8 != 0,
            },
            is_proxy,
            names_users: names_users && !is_proxy,
        }
    }
}

/// From bytes to a permit or a refusal; and whatever is permitted is what the tables permit, read by every server as the
/// same endpoint, without anything of the caller's that could be taken for ours, and without its key.
pub fn head(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let connection = Connection::of(first);
    let Some(parts) = parts_of(rest) else { return };
    let Ok((authority, host)) = requested_host(&parts.uri, &parts.headers) else { return };
    let (snapshot, keys) = (&site().snapshot, &site().keys);
    let peer = connection.peer.address.ip();
    let seen = client_address(peer, &parts.headers, &snapshot.trusted_proxies, ForwardedBy::XForwarded);
    assert_eq!(seen.is_trusted, connection.is_proxy);
    let head = RequestHead {
        method: &parts.method,
        path: parts.uri.path(),
        host: &host,
        headers: &parts.headers,
        listener: &connection.peer.listener,
        is_backoffice: connection.peer.is_backoffice,
        peer_address: peer,
        client_address: seen.client,
        is_secure: connection.peer.is_tls,
        gate: None,
    };
    match admit(&head, snapshot, keys, site().now, &mut ()) {
        Ok(Admitted::Forward(permit)) => {
            let (plan, index) = plan_of(permit.endpoint().name.as_ref());
            let judged = permit.changed_path().unwrap_or(parts.uri.path());
            let segments = (super::readers::READERS[1].read)(judged.as_bytes());
            let is_route = is_route(plan, &parts.method, &segments);
            everybody_is_led_to(index, is_route, &parts.method, &host, judged);
            let key = key_of(&permit);
            let is_backoffice = connection.peer.is_backoffice || permit.identified().is_backoffice;
            let ask = Ask { method: &parts.method, key, segments: &segments, is_route, is_backoffice };
            assert!((plan.may)(&ask), "`{}` took a caller it must not take", plan.name);
            shown_as_it_should_be(plan, key, &parts.headers);
            let outgoing = Outgoing {
                parts: &parts,
                peer: &connection.peer,
                is_secure: head.is_secure,
                request_id: b"01-fuzz",
                host: authority,
                trusts_peer: connection.is_proxy,
                now: tokio::time::Instant::now(),
            };
            passed_on(&permit, plan, key, &connection, &outgoing, judged);
        }
        Ok(Admitted::Preflight(preflight)) => {
            let (plan, _) = plan_of(preflight.endpoint().name.as_ref());
            assert!(plan.has_cors && parts.method == Method::OPTIONS && parts.headers.contains_key("origin"));
        }
        // No refusal is about us.
        Err(refused) => assert!(!matches!(refused.rejection.code(), "keys_not_loaded" | "too_many_failures")),
    }
}

/// Method and target from the first line, fields from the others. `None` if the library has no such request.
fn parts_of(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    let mut words = lines.next()?.splitn(2, |&byte| byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let uri = Uri::try_from(words.next()?.trim_ascii()).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let mut halves = line.splitn(2, |&byte| byte == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    Some(request.into_parts().0)
}

fn plan_of(name: &str) -> (&'static Plan, usize) {
    let index = PLANS.iter().position(|plan| plan.name == name).expect("an endpoint of the tables");
    (&PLANS[index], index)
}

/// The row of the key that a permit is for. All rows of a key say the same of it.
fn key_of(permit: &Permit) -> Option<&'static Key> {
    let id = permit.key()?.id.as_str();
    Some(KEYS.iter().find(|key| key.is_good && key.id == id).expect("a good key of the tables"))
}

fn key_with(text: &[u8]) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.text.as_bytes() == text)
}

fn begins_like_ours(text: &[u8]) -> bool {
    text.starts_with(PREFIX.as_bytes())
}

/// Looks at all places, in the order of what counts, and compares whom that makes of the caller.
fn shown_as_it_should_be(plan: &Plan, permitted: Option<&'static Key>, headers: &HeaderMap) {
    let id = permitted.map(|key| key.id);
    let is_the_one = |text: &[u8]| key_with(text).is_some_and(|key| key.is_good && Some(key.id) == id);
    let places: Vec<&str> = plan.place.map_or_else(|| USUAL_PLACES.to_vec(), |place| vec![place]);
    let own: Vec<&[u8]> = places.iter().flat_map(|place| values(headers, place)).collect();
    let bearers: Vec<&[u8]> = if plan.place.is_some() {
        Vec::new()
    } else {
        values(headers, "authorization").into_iter().filter_map(bearer).collect()
    };
    if !own.is_empty() {
        assert!(own.iter().all(|text| text == &own[0]) && is_the_one(own[0]), "a header's key is not the one judged");
        // Beside it nobody else's key may stand.
        for text in bearers {
            let is_ours = begins_like_ours(text) || key_with(text).is_some();
            assert!(!is_ours || key_with(text).is_some_and(|key| Some(key.id) == id), "a second key was not seen");
        }
        return;
    }
    if let Some(text) = bearers.iter().find(|text| begins_like_ours(text) || key_with(text).is_some()) {
        assert!(is_the_one(text), "a Bearer that is ours was not judged");
        return;
    }
    let cookies: Vec<Vec<u8>> = if plan.place.is_some() { Vec::new() } else { our_cookies(headers) };
    match cookies.first() {
        Some(first) => {
            assert!(
                cookies.iter().all(|text| text == first) && is_the_one(first),
                "the cookie's key is not the one judged"
            );
        }
        None => assert!(permitted.is_none(), "a key was taken from a place where none may stand"),
    }
}

/// The text behind `Bearer`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let scheme = value.get(..6)?;
    let text = &value[6..];
    (scheme.eq_ignore_ascii_case(b"bearer") && matches!(text.first(), Some(b' ' | b'\t'))).then(|| text.trim_ascii())
}

/// The values of the cookie that holds a key, in all fields; a name without a value counts as an empty one.
fn our_cookies(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let all = headers.get_all("cookie").iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b';'));
    all.filter_map(|piece| {
        let mut halves = piece.splitn(2, |&byte| byte == b'=');
        let (name, value) = (halves.next()?.trim_ascii(), halves.next().unwrap_or_default().trim_ascii());
        (name == b"mia_client_key").then(|| value.to_vec())
    })
    .collect()
}

/// A name as a server reads it that makes variables of names.
fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// Sends the request to the built-in echo, which is handed the very head that a server would get, and reads that.
fn passed_on(
    permit: &Permit,
    plan: &Plan,
    key: Option<&Key>,
    connection: &Connection,
    outgoing: &Outgoing<'_>,
    judged: &str,
) {
    let seen = echo(permit, outgoing);
    let text = |name: &str| seen.get(name).and_then(serde_json::Value::as_str);
    assert!(seen.get("unreadable").is_none(), "no server could read {:?}", text("unreadable"));
    assert_eq!(text("method"), Some(outgoing.parts.method.as_str()));
    let path = text("path").expect("a path");
    match plan.swap {
        None => assert_eq!(path, judged, "the path that is passed on is the one that was judged"),
        Some((count, with)) => {
            let rest: Vec<&str> = judged.split('/').skip(count + 1).collect();
            let rest = if rest.is_empty() { String::new() } else { format!("/{}", rest.join("/")) };
            assert_eq!(path, format!("{with}{rest}"));
        }
    }
    assert_eq!(text("query"), outgoing.parts.uri.query());

    let headers = seen["headers"].as_object().expect("headers");
    let of = |name: &str| -> Vec<String> {
        match headers.get(name) {
            None => Vec::new(),
            Some(serde_json::Value::Array(values)) => {
                values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
            }
            Some(value) => value.as_str().map(str::to_owned).into_iter().collect(),
        }
    };
    // Every name that could be taken for one of these is one of these, and says what we say.
    for (index, name) in TOLD.iter().enumerate() {
        let told = key.map(|key| key.told[index].to_owned()).filter(|told| !told.is_empty());
        assert_eq!(of(name), Vec::from_iter(told), "{name}");
    }
    assert_eq!(of("x-client-key-id"), Vec::from_iter(key.map(|key| key.id.to_owned())));
    for name in ABOUT_USERS {
        assert!(of(name).len() <= usize::from(connection.names_users), "{name} from nobody who may say so");
    }
    let is_backoffice = connection.peer.is_backoffice || permit.identified().is_backoffice;
    assert!(!is_backoffice || connection.peer.is_backoffice || connection.names_users);
    assert_eq!(of("isbackoffice"), Vec::from_iter(is_backoffice.then(|| "1".to_owned())));
    let ours = [&TOLD[..], &ABOUT_USERS, &["x-client-key-id", "isbackoffice", "host", "x-forwarded-for"]].concat();
    for name in headers.keys() {
        let as_read = folded(name);
        assert!(!NEVER_SET.contains(&as_read.as_str()), "{name} reaches the upstream");
        assert!(!NEVER_PASSED.contains(&as_read.as_str()), "{name} reaches the upstream");
        assert!(*name == as_read || !ours.contains(&as_read.as_str()), "{name} imitates one of ours");
        assert!(plan.forwards_credential || !USUAL_PLACES.contains(&as_read.as_str()), "{name} holds a key");
        assert!(as_read != "x-partner-key" || plan.place.is_none(), "{name} holds a key");
    }
    assert_eq!(of("host"), [outgoing.host]);
    if !connection.is_proxy {
        assert_eq!(of("x-forwarded-for"), [connection.peer.address.ip().to_string()]);
    }
    if !plan.forwards_credential {
        nothing_of_the_key(&of("authorization"), &of("cookie"));
    }
}

fn nothing_of_the_key(authorization: &[String], cookies: &[String]) {
    for value in authorization {
        let text = bearer(value.as_bytes()).unwrap_or(value.as_bytes());
        assert!(!begins_like_ours(text) && !key_with(text).is_some_and(|key| key.is_good), "a key is passed on");
    }
    for piece in cookies.iter().flat_map(|value| value.split(';')) {
        let name = piece.split('=').next().unwrap_or_default().trim();
        assert!(name != "mia_client_key", "the cookie with the key is passed on");
    }
}

/// What the built-in echo shows of a request. It opens nothing and waits for nothing.
fn echo(permit: &Permit, outgoing: &Outgoing<'_>) -> serde_json::Value {
    static FORWARDER: OnceLock<Forwarder> = OnceLock::new();
    let forwarder = FORWARDER.get_or_init(|| {
        let metrics = Metrics::new(Health::default());
        Forwarder::new(ForwardSettings::default(), metrics.worker())
    });
    let mut sending = pin!(forwarder.send(permit, *outgoing, http_body_util::Empty::new(), None));
    let Poll::Ready(answer) = sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("the echo waits for something");
    };
    let Body::Full(bytes) = answer.expect("the echo answers").into_body() else { panic!("the echo is one piece") };
    serde_json::from_slice(&bytes).expect("the echo is JSON")
}
