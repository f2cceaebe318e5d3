//! What it costs to find the key in a request, and to look at each header's name on the way to the upstream.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue};
use keygate::credential::{Extractor, KeyText, Prefixes, find_cookie, without_cookie};
use keygate::identity::IdentityHeaders;

/// What a browser or a usual client library sends, and one more field.
fn request(name: &str, value: &str) -> HeaderMap {
    let usual = [
        ("host", "api.example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "application/json"),
        ("accept-language", "en-GB,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("content-type", "application/json"),
        ("x-request-id", "0198c7de-6b5c-7b5e-8f0e-3f1f6f5d9b10"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("referer", "https://app.example.com/orders"),
        ("x-forwarded-for", "203.0.113.7"),
    ];
    let fields = usual.into_iter().chain((!name.is_empty()).then_some((name, value)));
    fields
        .filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        })
        .collect()
}

fn extraction(c: &mut Criterion) {
    let prefixes = Prefixes::new(["mb_live_", "codeqr_", "codeqr_pk_", "sk_"].map(String::from).to_vec());
    let extractor = Extractor::new(Extractor::default_sources(), prefixes);
    let key = KeyText::generate("mb_live_").expect("randomness");
    let key = str::from_utf8(key.expose()).expect("base 62");
    let token = "eyJhbGciOiJSUzI1NiJ9.".to_owned() + &"c29tZWJvZHkgZWxzZQ".repeat(60);
    let cookies = format!("theme=dark; session=0f3c9a; mia_client_key={key}; lang=en");
    let mut group = c.benchmark_group("extract");
    for (case, request) in [
        ("no key", request("", "")),
        ("header", request("x-api-key", key)),
        ("bearer", request("authorization", &format!("Bearer {key}"))),
        ("foreign bearer", request("authorization", &format!("Bearer {token}"))),
        ("cookie", request("cookie", &cookies)),
    ] {
        group.bench_function(case, |b| b.iter(|| black_box(extractor.extract(black_box(&request))).is_ok()));
    }
    group.finish();

    let request = request("cookie", &cookies);
    let identity = IdentityHeaders::default();
    let mut group = c.benchmark_group("eleven headers");
    group.bench_function("is_reserved", |b| {
        b.iter(|| black_box(&request).keys().filter(|name| identity.is_reserved(name)).count());
    });
    group.bench_function("strips", |b| {
        b.iter(|| black_box(&request).keys().filter(|name| extractor.strips(name)).count());
    });
    group.finish();

    let mut group = c.benchmark_group("cookie");
    group.bench_function("find", |b| b.iter(|| find_cookie(black_box(&request), "mia_client_key").is_ok()));
    group.bench_function("without", |b| b.iter(|| without_cookie(black_box(cookies.as_bytes()), "mia_client_key")));
    group.finish();
}

criterion_group!(benches, extraction);
criterion_main!(benches);
