use http::HeaderValue;

use super::*;

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "2001:db8:aa::/48"].map(|network| network.parse().expect("a network")).to_vec()
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
    }
    headers
}

fn client(peer: &str, fields: &[(&'static str, &str)], written_by: ForwardedBy) -> String {
    let peer = peer.parse().expect("an address");
    client_address(peer, &headers(fields), &trusted(), written_by).client.to_string()
}

#[test]
fn the_chain_is_walked_from_our_end_through_trusted_hops_only() {
    const NAME: &str = "x-forwarded-for";
    let rows: &[(&str, &[&str], &str)] = &[
        // peer, fields, client
        ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", &[], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", &["6.6.6.6, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", &["6.6.6.6", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", &["10.0.0.3 ,\t10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
        ("10.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
        ("2001:db8:aa::1", &["2001:db8::1"], "2001:db8::1"),
        // Garbage ends the walk at the last address that was believed.
        ("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.1, , 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", &["198.51.100.1", ""], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.1", "\u{e9}"], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.1.evil.example"], "10.0.0.1"),
        ("10.0.0.1", &["010.0.0.2"], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.1:99999"], "10.0.0.1"),
        ("10.0.0.1", &["\"198.51.100.1\""], "10.0.0.1"),
    ];
    for (peer, values, expected) in rows {
        let fields: Vec<_> = values.iter().map(|value| (NAME, *value)).collect();
        assert_eq!(client(peer, &fields, ForwardedBy::XForwarded), *expected, "{peer} {values:?}");
    }
    let long = vec!["10.0.0.2"; 100].join(", ");
    let long = format!("198.51.100.1, {long}");
    assert_eq!(client("10.0.0.1", &[(NAME, &long)], ForwardedBy::XForwarded), "10.0.0.2");
}

#[test]
fn forwarded_of_the_standard_is_walked_the_same_way() {
    let rows: &[(&str, &[&str], &str)] = &[
        ("203.0.113.9", &["for=198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", &["for=198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", &["For=6.6.6.6, FOR=198.51.100.1;proto=https, for=10.0.0.2;by=10.0.0.1"], "198.51.100.1"),
        ("10.0.0.1", &["for=\"[2001:db8::1]:4711\";host=x"], "2001:db8::1"),
        ("10.0.0.1", &["for=198.51.100.1, for=unknown"], "10.0.0.1"),
        ("10.0.0.1", &["for=198.51.100.1, for=_hidden"], "10.0.0.1"),
        ("10.0.0.1", &["for=198.51.100.1, proto=https"], "10.0.0.1"),
        ("10.0.0.1", &["for=198.51.100.1;for=6.6.6.6"], "10.0.0.1"),
        ("10.0.0.1", &["for=\"198.51.100.1"], "10.0.0.1"),
        ("10.0.0.1", &["198.51.100.1"], "10.0.0.1"),
    ];
    for (peer, values, expected) in rows {
        let fields: Vec<_> = values.iter().map(|value| ("forwarded", *value)).collect();
        assert_eq!(client(peer, &fields, ForwardedBy::Forwarded), *expected, "{peer} {values:?}");
        assert_eq!(client(peer, &fields, ForwardedBy::XForwarded), *peer, "the other header is not read");
    }
}

#[test]
fn scheme_host_and_port_come_from_trusted_proxies_only() {
    let fields = [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "http, https"),
        ("x-forwarded-host", "evil.example, api.example:8443"),
        ("x-forwarded-port", "8443"),
    ];
    let read = |peer: &str, fields: &[_]| {
        let headers = headers(fields);
        let forwarded =
            client_address(peer.parse().expect("an address"), &headers, &trusted(), ForwardedBy::XForwarded);
        (forwarded.is_secure, forwarded.host, forwarded.port, forwarded.is_trusted)
    };
    assert_eq!(read("10.0.0.1", &fields), (Some(true), Some("api.example:8443".to_owned()), Some(8443), true));
    assert_eq!(read("203.0.113.9", &fields), (None, None, None, false));
    let bad = [("x-forwarded-proto", "gopher"), ("x-forwarded-host", "a/b"), ("x-forwarded-port", "x")];
    assert_eq!(read("10.0.0.1", &bad), (None, None, None, true));
}
