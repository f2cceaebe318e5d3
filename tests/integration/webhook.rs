//! Somebody is told of changes of keys: signed, in order, again until it was heard, and never on the path of a change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use serde_json::{Value, json};

use super::support::origin::Recorded;
use super::support::{Admin, Gateway, Origin, Play, Report, wait};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn start(receiver: &Origin) -> Gateway {
    let yaml = format!(
        "upstreams: {{ api: {{ echo: true }} }}\nkeys:\n  store: keys.db\n  policy: {{ notify_before_expiry: [7d] }}\n  webhook: {{ url: \"{}/told\", secret_file: webhook.key }}\nendpoints: [ {{ name: all, path: /, api_key: required }} ]\n",
        receiver.url()
    );
    Gateway::with(&yaml).file("webhook.key", SECRET).start()
}

fn message(told: &Recorded) -> Value {
    serde_json::from_slice(&told.body).expect("JSON")
}

#[test]
fn every_change_is_told_and_signed() {
    let receiver = Origin::playing(Play::answer("204 No Content", &[], ""));
    let gateway = start(&receiver);
    let admin = Admin::of(&gateway);
    let (id, secret) = admin.key("told of");
    let path = format!("/v1/keys/{id}");
    let rotated = admin.post(&format!("{path}/rotate"), &json!({}));
    admin.post(&format!("{path}/disable"), &json!({ "reason": "lost" }));
    admin.ask("POST", &format!("{path}/enable"), None);
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    admin.ask("PATCH", &path, Some(&json!({ "expires_at": soon.to_string() })));
    admin.revoke(&id);
    let told = receiver.wait_for(7);
    let mut report = Report::new();
    let kinds: Vec<String> =
        told.iter().map(|told| message(told)["type"].as_str().unwrap_or_default().into()).collect();
    for kind in
        ["client.created", "key.created", "key.rotated", "key.disabled", "key.enabled", "key.changed", "key.revoked"]
    {
        report.holds(kind, format!("is told once: {kinds:?}"), kinds.iter().filter(|told| *told == kind).count() == 1);
    }
    let key = base64::engine::general_purpose::STANDARD.decode(&SECRET["whsec_".len()..]).expect("base64");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    let mut ids = Vec::new();
    for told in &told {
        let field = |name: &str| told.header(name).unwrap_or_default().to_owned();
        let (event, time) = (field("webhook-id"), field("webhook-timestamp"));
        let mut signed = format!("{event}.{time}.").into_bytes();
        signed.extend_from_slice(&told.body);
        let signature = field("webhook-signature");
        let tag = signature.strip_prefix("v1,").expect("the version");
        let tag = base64::engine::general_purpose::STANDARD.decode(tag).expect("base64");
        report.holds(&event, "is signed", aws_lc_rs::hmac::verify(&key, &signed, &tag).is_ok());
        report.equal(&event, told.target(), "/told");
        report.equal(&event, field("content-type"), "application/json".to_owned());
        let text = String::from_utf8_lossy(&told.body).into_owned();
        report.holds(&event, "holds no key", !text.contains(&secret));
        report.holds(&event, "holds no key", !text.contains(rotated["secret"].as_str().expect("shown once")));
        ids.push(event);
    }
    ids.sort();
    ids.dedup();
    report.equal("ids", ids.len(), told.len());
    wait::until("nothing to wait", || (gateway.metric("keygate_webhook_waiting", &[]) == 0.0).then_some(()));
    report.holds(
        "metrics",
        "count what was delivered",
        gateway.metric("keygate_webhook_deliveries_total", &[("outcome", "delivered")]) >= 7.0,
    );
}

#[test]
fn what_was_not_heard_is_told_again_and_no_change_waits_for_it() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let receiver = Origin::directed(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Play::answer("500 Internal Server Error", &[], ""),
        1 => Play::answer("302 Found", &[("location", "http://127.0.0.1:1/")], ""),
        _ => Play::answer("200 OK", &[], "taken"),
    });
    let mut gateway = start(&receiver);
    let admin = Admin::of(&gateway);
    let (_, secret) = admin.key("told of");
    assert_eq!(super::lifecycle::verdict(&gateway, &secret), "200");
    receiver.wait_for(1);
    // Until it is written down that it was not heard, the message belongs to the process.
    let failed = || gateway.metric("keygate_webhook_deliveries_total", &[("outcome", "failed")]);
    wait::until("the failure to be counted", || (failed() >= 1.0).then_some(()));
    // What waits survives the process.
    gateway.kill();
    gateway.start_again();
    let told = wait::until("each to be told", || {
        let told = receiver.requests();
        let delivered: Vec<&Recorded> = told.iter().skip(2).collect();
        (delivered.len() >= 2).then(|| told.clone())
    });
    let mut ids: Vec<&str> = told.iter().skip(2).filter_map(|told| told.header("webhook-id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2, "the client and the key");
    let first = told[0].header("webhook-id");
    assert!(told.iter().skip(2).any(|told| told.header("webhook-id") == first), "by the same id");
}
