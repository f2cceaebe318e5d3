//! What an upstream gets to read, row by row.

use std::net::IpAddr;

use super::*;
use crate::routing::PrefixSwap;

/// What is written of ourselves into every head.
const OURS: &str = "x-forwarded-for: 192.0.2.7\r\nx-forwarded-proto: http\r\nx-forwarded-host: api.example.com\r\n\
    x-request-id: req-1\r\n";

fn default_endpoint() -> Endpoint {
    endpoint(upstream(vec![server("127.0.0.1:1".parse().unwrap())]))
}

fn head_of(permit: &Permit, outgoing: &Outgoing<'_>, body: &impl http_body::Body, can_upgrade: bool) -> String {
    let plan = RequestPlan::new(permit.endpoint(), outgoing, body, can_upgrade);
    let mut out = Vec::new();
    let server_host = HeaderValue::from_static("origin.internal");
    write_head(&mut out, permit, outgoing, &plan, Some(&server_host));
    let head = String::from_utf8(out).unwrap();
    let mut http2 = http2::Http2Head::new(false);
    write_head(&mut http2, permit, outgoing, &plan, Some(&server_host));
    says_the_same(&head, &http2.into_request().expect("what HTTP/1.1 can say"));
    head
}

/// Every row of this file is one of HTTP/2 as well: the same fields, without what is about the connection.
fn says_the_same(head: &str, http2: &Request<()>) {
    let (line, fields) = head.trim_end().split_once("\r\n").unwrap();
    let mut fields: Vec<_> = fields.split("\r\n").map(|field| field.split_once(": ").unwrap_or((field, ""))).collect();
    let (_, host) = fields.remove(0);
    fields.retain(|(name, _)| !["connection", "upgrade", "transfer-encoding"].contains(name));
    let uri = http2.uri();
    let their_line = format!("{} {} HTTP/1.1", http2.method(), uri.path_and_query().unwrap());
    assert_eq!((their_line.as_str(), uri.authority().unwrap().as_str()), (line, host));
    let their_fields =
        http2.headers().iter().map(|(name, value)| (name.as_str(), str::from_utf8(value.as_bytes()).unwrap()));
    let mut their_fields: Vec<_> = their_fields.collect();
    fields.sort_unstable();
    their_fields.sort_unstable();
    assert_eq!(their_fields, fields);
}

/// The fields of a GET that pass, without what we write of ourselves.
fn passed(permit: &Permit, fields: &[(&str, &str)]) -> String {
    let (parts, peer) = (parts("GET /orders", fields), peer());
    let head = head_of(permit, &outgoing(&parts, &peer), &Empty::<Bytes>::new(), false);
    let fields = head.strip_prefix("GET /orders HTTP/1.1\r\nhost: api.example.com\r\n").expect("the line and Host");
    let (before, after) = fields.split_once(OURS).expect("what we say ourselves");
    format!("{before}{after}").trim_end_matches("\r\n").replace("\r\n", "; ")
}

fn check(change: impl Fn(&mut Endpoint), rows: &[(&[(&str, &str)], &str)]) {
    let mut endpoint = default_endpoint();
    change(&mut endpoint);
    let permit = permit(endpoint);
    for (sent, expected) in rows {
        assert_eq!(passed(&permit, sent), *expected, "{sent:?}");
    }
}

#[test]
fn ordinary_fields_pass_as_they_came() {
    check(
        |_| {},
        &[
            (&[], ""),
            (&[("accept", "*/*")], "accept: */*"),
            (&[("X-Custom", "a, b"), ("x-custom", "c")], "x-custom: a, b; x-custom: c"),
            (&[("x-custom_name", "1"), ("a.b", "2")], "x-custom_name: 1; a.b: 2"),
            (&[("upgrade-insecure-requests", "1")], "upgrade-insecure-requests: 1"),
            (&[("x-empty", "")], "x-empty: "),
        ],
    );
}

#[test]
fn what_is_about_the_connection_ends_here() {
    check(
        |_| {},
        &[
            (&[("connection", "keep-alive"), ("keep-alive", "timeout=5")], ""),
            (&[("connection", "close, X-Hop"), ("x-hop", "1"), ("x-stays", "2")], "x-stays: 2"),
            (&[("connection", "a"), ("connection", "b"), ("a", "1"), ("b", "2"), ("c", "3")], "c: 3"),
            (&[("proxy-connection", "keep-alive"), ("proxy-authorization", "Basic x"), ("proxy", "http://evil")], ""),
            (&[("transfer-encoding", "chunked"), ("transfer_encoding", "chunked"), ("trailer", "x")], ""),
            (&[("upgrade", "h2c"), ("http2-settings", "x"), ("connection", "upgrade, http2-settings")], ""),
            (&[("content-length", "0"), ("content_length", "5"), ("expect", "100-continue")], ""),
            (&[("host", "other"), ("x-host", "other")], ""),
            (&[("te", "trailers, deflate;q=0.5")], "te: trailers; connection: te"),
            (&[("te", "deflate")], ""),
            (&[("connection", "cookie"), ("cookie", "a=1")], ""),
        ],
    );
}

#[test]
fn connection_cannot_take_away_what_we_say() {
    let named = "x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-request-id, host, client-type, x-client-id";
    let permit = known(permit(default_endpoint()), CredentialUse::AuthorizationIsOurs);
    let (parts, peer) = (parts("GET /orders", &[("connection", named)]), peer());
    let head = head_of(&permit, &outgoing(&parts, &peer), &Empty::<Bytes>::new(), false);
    for field in [OURS, "host: api.example.com\r\n", "client-type: cms\r\n", "x-client-id: ann\r\n"] {
        assert!(head.contains(field), "{field} in {head}");
    }
    assert!(!head.contains("connection"), "{head}");
}

#[test]
fn nobody_but_us_says_who_is_calling() {
    check(
        |_| {},
        &[
            (&[("x-client-id", "admin"), ("X_Client_Id", "admin"), ("x.client.id", "admin")], ""),
            (&[("client-type", "a"), ("client_type", "b"), ("miauserid", "c"), ("isbackoffice", "1")], ""),
            (&[("acl_rows", "x"), ("acl-rows", "y"), ("x-client-idx", "stays")], "x-client-idx: stays"),
        ],
    );
}

#[test]
fn what_claims_a_place_or_another_request_ends_here() {
    let sent: &[(&str, &str)] = &[
        ("x-forwarded-for", "10.0.0.1"),
        ("x_forwarded_for", "10.0.0.1"),
        ("x-forwarded-user", "root"),
        ("x-forwarded-port", "1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-real-ip", "10.0.0.1"),
        ("x_real_ip", "10.0.0.1"),
        ("true-client-ip", "10.0.0.1"),
        ("x-request-id", "mine"),
        ("x-original-url", "/admin"),
        ("x_original_url", "/admin"),
        ("x-rewrite-url", "/admin"),
        ("x-http-method-override", "DELETE"),
        ("x.http.method.override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x-forwarded-uri", "/admin"),
        ("x-forwarded-prefix", "/admin"),
    ];
    check(|_| {}, &[(sent, "")]);
    let passes = [HeaderName::from_static("x-original-url"), HeaderName::from_static("x-forwarded-prefix")];
    check(
        move |endpoint| endpoint.passes_headers = passes.clone().into(),
        &[(sent, "x-original-url: /admin; x-forwarded-prefix: /admin")],
    );
}

#[test]
fn a_trusted_peer_is_believed() {
    let permit = permit(default_endpoint());
    let fields = [
        ("x-forwarded-for", "203.0.113.5"),
        ("x-forwarded-for", "10.1.1.1, 10.2.2.2"),
        ("x-forwarded-host", "shop.example.com"),
        ("x-real-ip", "203.0.113.5"),
        ("forwarded", "for=203.0.113.5"),
        ("x-original-url", "/admin"),
    ];
    let (parts, peer) = (parts("GET /orders", &fields), peer());
    let outgoing = Outgoing { trusts_peer: true, is_secure: true, ..outgoing(&parts, &peer) };
    assert_eq!(
        head_of(&permit, &outgoing, &Empty::<Bytes>::new(), false),
        "GET /orders HTTP/1.1\r\nhost: api.example.com\r\nx-real-ip: 203.0.113.5\r\n\
         x-forwarded-for: 203.0.113.5, 10.1.1.1, 10.2.2.2, 198.51.100.9\r\nx-forwarded-proto: https\r\n\
         x-forwarded-host: shop.example.com\r\nx-request-id: req-1\r\n\r\n"
    );
}

#[test]
fn the_credential_ends_here() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (&[("x-api-key", "k"), ("client-key", "k"), ("secret", "k"), ("x_api_key", "k"), ("client.key", "k")], ""),
        (&[("cookie", "a=1; mia_client_key=k; b=\"2\"")], "cookie: a=1; b=\"2\""),
        (&[("cookie", "mia_client_key=k")], ""),
        (&[("cookie", "a=1"), ("cookie", "mia_client_key=k"), ("cookie", "b=2")], "cookie: a=1; b=2"),
        (&[("cookie", "theme=dark;x=y")], "cookie: theme=dark;x=y"),
        (&[("authorization", "Bearer t")], "authorization: Bearer t"),
    ];
    check(|_| {}, rows);
    let ours = known(permit(default_endpoint()), CredentialUse::AuthorizationIsOurs);
    let (parts, peer) = (parts("GET /orders", &[("authorization", "Bearer k")]), peer());
    let head = head_of(&ours, &outgoing(&parts, &peer), &Empty::<Bytes>::new(), false);
    assert!(!head.contains("authorization"), "{head}");
}

#[test]
fn an_endpoint_may_ask_for_the_credential_but_not_for_its_twins() {
    check(
        |endpoint| endpoint.forwards_credential = true,
        &[
            (&[("x-api-key", "k"), ("x_api_key", "evil")], "x-api-key: k"),
            (&[("cookie", "a=1; mia_client_key=k")], "cookie: a=1; mia_client_key=k"),
            (&[("authorization", "Bearer k")], "authorization: Bearer k"),
        ],
    );
}

#[test]
fn a_trace_passes_if_it_is_one() {
    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let with_state = |parent| [("traceparent", parent), ("tracestate", "a=1")];
    let (later, later_more) = (GOOD.replacen("00", "01", 1), format!("{}-x", GOOD.replacen("00", "01", 1)));
    let permit = permit(default_endpoint());
    for good in [GOOD, &later, &later_more] {
        assert_eq!(passed(&permit, &with_state(good)), format!("traceparent: {good}; tracestate: a=1"));
    }
    let bad = [
        "",
        "00",
        &format!("{GOOD}-x"),
        &GOOD.replacen("00", "ff", 1),
        &GOOD.to_uppercase(),
        &GOOD.replace('-', "_"),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0\u{e9}",
    ];
    for bad in bad {
        assert_eq!(passed(&permit, &with_state(bad)), "", "{bad:?}");
    }
    assert_eq!(passed(&permit, &[("tracestate", "a=1")]), "");
    assert_eq!(passed(&permit, &[("traceparent", GOOD), ("traceparent", GOOD)]), "");
}

#[test]
fn the_path_is_the_one_that_was_judged_and_the_query_is_not_touched() {
    let swap = |segments, with: &str| Some(PrefixSwap { segments, with: with.into() });
    let rows = [
        ("/orders", None, None, "/orders"),
        ("/orders/a%20b/?q=%2f&&a=//b?c", None, None, "/orders/a%20b/?q=%2f&&a=//b?c"),
        ("http://api.example.com/orders?x", None, None, "/orders?x"),
        ("//orders///1?a=//", Some("/orders/1"), None, "/orders/1?a=//"),
        ("/orders/1/2?q", None, swap(1, "/v2"), "/v2/1/2?q"),
        ("/orders", None, swap(1, "/v2/sales"), "/v2/sales"),
        ("/orders/", None, swap(1, "/v2"), "/v2/"),
        ("/orders?q", None, swap(1, ""), "/?q"),
        ("/orders/1", None, swap(1, ""), "/1"),
        ("/a/b/c", None, swap(2, "/x"), "/x/c"),
        ("/orders/1", None, swap(0, "/api"), "/api/orders/1"),
        ("/", None, swap(0, "/api"), "/api/"),
        ("//a//b", Some("/a/b"), swap(1, "/x"), "/x/b"),
    ];
    for (sent, judged, prefix_swap, expected) in rows {
        let mut permit = permit(Endpoint { prefix_swap, ..default_endpoint() });
        if let Some(judged) = judged {
            permit = permit.with_path(judged);
        }
        let (parts, peer) = (parts(&format!("GET {sent}"), &[]), peer());
        let head = head_of(&permit, &outgoing(&parts, &peer), &Empty::<Bytes>::new(), false);
        assert_eq!(head.lines().next(), Some(&*format!("GET {expected} HTTP/1.1")), "{sent} {judged:?}");
    }
}

#[test]
fn host_follows_the_rule_of_the_upstream() {
    let rows = [
        (HostRule::Preserve, "api.example.com"),
        (HostRule::Server, "origin.internal"),
        (HostRule::Fixed(HeaderValue::from_static("fixed.example")), "fixed.example"),
    ];
    for (host, expected) in rows {
        let upstream = Upstream { host, ..upstream(vec![server("127.0.0.1:1".parse().unwrap())]) };
        let permit = permit(endpoint(upstream));
        let (parts, peer) = (parts("GET /", &[("host", "liar")]), peer());
        let head = head_of(&permit, &outgoing(&parts, &peer), &Empty::<Bytes>::new(), false);
        assert_eq!(head.lines().nth(1), Some(&*format!("host: {expected}")));
        assert_eq!(head.matches("\r\nhost:").count(), 1);
    }
}

#[test]
fn the_end_of_the_body_is_said_in_one_way() {
    let permit = permit(default_endpoint());
    let peer = peer();
    type Row = (&'static str, Option<u64>, &'static [(&'static str, &'static str)], &'static str);
    let rows: &[Row] = &[
        ("GET", Some(0), &[], ""),
        ("GET", Some(0), &[("content-length", "0")], ""),
        ("HEAD", Some(0), &[], ""),
        ("DELETE", Some(0), &[], ""),
        ("DELETE", Some(0), &[("content-length", "0")], "content-length: 0"),
        ("POST", Some(0), &[], "content-length: 0"),
        ("PATCH", Some(0), &[("transfer-encoding", "chunked")], "content-length: 0"),
        ("POST", Some(7), &[("content-length", "7")], "content-length: 7"),
        ("GET", Some(7), &[], "content-length: 7"),
        ("PUT", None, &[("content-length", "9")], "transfer-encoding: chunked"),
        ("POST", None, &[("trailer", "x-sum")], "transfer-encoding: chunked"),
    ];
    for (method, length, fields, expected) in rows {
        let parts = parts(&format!("{method} /"), fields);
        let head = head_of(&permit, &outgoing(&parts, &peer), &fed(*length).1, false);
        let framing = head.split_once("x-request-id: req-1\r\n").unwrap().1;
        assert_eq!(framing.trim_end(), *expected, "{method} {length:?} {fields:?}");
    }
}

#[test]
fn only_a_real_upgrade_to_an_allowed_protocol_is_asked_for() {
    let websocket: &[(&str, &str)] = &[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
    type Row = (&'static str, &'static [(&'static str, &'static str)], bool, Option<u64>, bool);
    let rows: &[Row] = &[
        ("GET", websocket, true, Some(0), true),
        ("GET", &[("connection", "upgrade"), ("upgrade", "h2c, websocket")], true, Some(0), true),
        // The connection cannot be handed over (HTTP/2), there is a body, it is not a GET.
        ("GET", websocket, false, Some(0), false),
        ("GET", websocket, true, Some(3), false),
        ("GET", websocket, true, None, false),
        ("POST", websocket, true, Some(0), false),
        ("GET", &[("upgrade", "websocket")], true, Some(0), false),
        ("GET", &[("connection", "upgrade")], true, Some(0), false),
        ("GET", &[("connection", "upgrade"), ("upgrade", "h2c")], true, Some(0), false),
        ("GET", &[("connection", "upgrade"), ("upgrade", "websocket2")], true, Some(0), false),
    ];
    let permit = permit(default_endpoint());
    let peer = peer();
    for (method, fields, can_upgrade, length, expected) in rows {
        let parts = parts(&format!("{method} /"), fields);
        let head = head_of(&permit, &outgoing(&parts, &peer), &fed(*length).1, *can_upgrade);
        assert_eq!(head.contains("upgrade: websocket\r\nconnection: upgrade\r\n"), *expected, "{fields:?}");
        assert_eq!(head.to_lowercase().contains("upgrade"), *expected, "{head}");
    }
}

#[test]
fn a_caller_on_an_old_version_is_not_upgraded() {
    let mut parts = parts("GET /", &[("connection", "upgrade"), ("upgrade", "websocket")]);
    parts.version = http::Version::HTTP_10;
    let head = head_of(&permit(default_endpoint()), &outgoing(&parts, &peer()), &Empty::<Bytes>::new(), true);
    assert!(!head.contains("upgrade"), "{head}");
}

#[test]
fn addresses_are_written_in_their_shortest_form() {
    let rows = [
        ("198.51.100.9", "198.51.100.9"),
        ("0.0.0.0", "0.0.0.0"),
        ("::ffff:198.51.100.9", "198.51.100.9"),
        ("2001:db8:0:0::1", "2001:db8::1"),
    ];
    for (address, expected) in rows {
        let address: IpAddr = address.parse().unwrap();
        let peer = Peer { address: (address, 1).into(), ..peer() };
        let parts = parts("GET /", &[]);
        let outgoing = Outgoing { trusts_peer: true, ..outgoing(&parts, &peer) };
        let head = head_of(&permit(default_endpoint()), &outgoing, &Empty::<Bytes>::new(), false);
        assert!(head.contains(&format!("x-forwarded-for: {expected}\r\n")), "{head}");
    }
}
