//! What a whole decision costs: a thousand keys and a hundred endpoints, loaded from YAML as the gateway loads them.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keygate::admission::{Admitted, RequestHead, admit};
use keygate::config::{Source, load};
use keygate::credential::{KeyDigest, Secret};
use keygate::keys::{KeyTable, Timestamp};
use keygate::snapshot::Snapshot;

const CLIENTS: usize = 1_000;
const ENDPOINTS: usize = 100;

fn key(number: usize) -> String {
    format!("kg_live_{number:0>33}{:0>6}", number * 7919 % 999_983)
}

/// Endpoints with permissions by method and a route with a parameter, and clients that hold one of two permissions.
fn configuration() -> String {
    let mut yaml = "listen: [{ address: 127.0.0.1:0 }]\nupstreams: { echo: { echo: true } }\n\
                    key_prefixes: [{ prefix: kg_live_ }]\nendpoints:\n"
        .to_owned();
    for number in 0..ENDPOINTS {
        let _ = writeln!(
            yaml,
            "  - name: service-{number}\n    path: /v1/service-{number}\n    client_types: [partner, cms]\n    \
             permissions: {{ GET: [orders.read], POST: [orders.write] }}\n    routes:\n      \
             - match: DELETE /v1/service-{number}/items/:id\n        permissions: [orders.write]"
        );
    }
    yaml.push_str("clients:\n");
    for number in 0..CLIENTS {
        let digest = KeyDigest::blake3(&Secret::borrowed(key(number).as_bytes()));
        let permission = ["orders.read", "orders.write"][number % 2];
        let _ = writeln!(
            yaml,
            "  - id: client-{number}\n    client_type: partner\n    permissions: [{permission}]\n    keys:\n      \
             - {{ id: key-{number}, name: key {number}, digest: \"{digest}\" }}"
        );
    }
    yaml
}

/// What a client library sends, with or without a key.
fn fields(key: Option<&str>) -> HeaderMap {
    let usual = [
        ("host", "api.example.com"),
        ("user-agent", "python-requests/2.32.5"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate"),
        ("connection", "keep-alive"),
    ];
    let key = key.map(|key| ("x-api-key", key));
    usual
        .into_iter()
        .chain(key)
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?)))
        .collect()
}

/// Asks, and says whether the request was admitted.
fn decide(snapshot: &Arc<Snapshot>, keys: &KeyTable, headers: &HeaderMap, path: &str, now: Timestamp) -> bool {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let head = RequestHead {
        method: &Method::GET,
        path,
        host: "api.example.com",
        headers,
        listener: "http",
        is_backoffice: false,
        peer_address: address,
        client_address: address,
        is_secure: true,
        gate: None,
    };
    matches!(black_box(admit(black_box(&head), snapshot, keys, now, &mut ())), Ok(Admitted::Forward(_)))
}

fn admission(c: &mut Criterion) {
    let source = Source::Text { name: "bench".into(), text: configuration(), directory: ".".into() };
    let loaded = load(&source, 1).unwrap_or_else(|problems| panic!("{problems:?}"));
    let snapshot = Arc::new(loaded.snapshot);
    let keys = KeyTable::new();
    keys.apply(keys.difference(loaded.table));
    let now = Timestamp::from(std::time::SystemTime::now());

    let mut group = c.benchmark_group("admit");
    let (known, unknown) = (key(501), key(CLIENTS + 1));
    for (case, shown, is_admitted) in
        [("known key", Some(&*known), true), ("unknown key", Some(&*unknown), false), ("no key", None, false)]
    {
        let headers = fields(shown);
        let path = "/v1/service-57/items/4711";
        assert_eq!(decide(&snapshot, &keys, &headers, path, now), is_admitted, "{case}");
        group.bench_function(case, |b| b.iter(|| decide(&snapshot, &keys, &headers, path, now)));
    }
    group.finish();
}

criterion_group!(benches, admission);
criterion_main!(benches);
