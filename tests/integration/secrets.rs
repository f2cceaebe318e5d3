//! A marked secret goes through every way of being refused, from every place it may stand in, at the most talkative
//! level of the log; then everything that was written is searched for it, in each of the forms it might have been
//! written in.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::support::gateway::keygate_with_input;
use super::support::http2::H2;
use super::support::{Admin, Caller, Gateway, Origin, Report, get, request};

const CONFIG: &str = r#"
listen: [ { address: 127.0.0.1:0, protocol: h2c } ]
log: { level: trace, format: text }
access_log: stdout
keys: { store: keys.db }
environment: live
limits: { rejected_keys: 60 }
key_prefixes: [ { prefix: kg_live_, type: secret, environment: live } ]
upstreams: { api: { url: "{{origin}}" }, gone: { url: "http://127.0.0.1:1" } }
clients:
  - id: shop
    client_type: cms
    permissions: [a.read]
    keys:
      - { id: k1, name: good, digest: "{{digest:kg_live_MARKEDgoodMARKEDgood0123456789}}" }
      - { id: k2, name: off, active: false, digest: "{{digest:kg_live_MARKEDoffMARKEDoffMARKED012345}}" }
      - { id: k3, name: old, expires_at: "2020-01-01T00:00:00Z", digest: "{{digest:kg_live_MARKEDoldMARKEDoldMARKED012345}}" }
      - { id: k4, name: early, not_before: "2999-01-01T00:00:00Z", digest: "{{digest:kg_live_MARKEDearlyMARKEDearly01234567}}" }
      - { id: k5, name: elsewhere, environment: test, digest: "{{digest:kg_live_MARKEDtestMARKEDtest0123456789}}" }
endpoints:
  - { name: orders, path: /orders, upstream: api, client_types: [cms] }
  - { name: partners, path: /partners, upstream: api, client_types: [partner], errors: { detail: full } }
  - { name: may, path: /may, upstream: api, permissions: [b.read], errors: { detail: full } }
  - { name: only, path: /only, upstream: api, methods: [DELETE], api_key: required }
  - { name: secure, path: /secure, upstream: api, api_key: required, https_only: true }
  - { name: users, path: /users, upstream: api, api_key: required, require_user: true }
  - { name: small, path: /small, upstream: api, api_key: required, max_body: 1B }
  - { name: gone, path: /gone, upstream: gone, api_key: required }
  - { name: full, path: /full, upstream: api, public: true, errors: { detail: full } }
"#;

const SECRETS: [&str; 6] = [
    "kg_live_MARKEDgoodMARKEDgood0123456789",
    "kg_live_MARKEDoffMARKEDoffMARKED012345",
    "kg_live_MARKEDoldMARKEDoldMARKED012345",
    "kg_live_MARKEDearlyMARKEDearly01234567",
    "kg_live_MARKEDtestMARKEDtest0123456789",
    "kg_live_MARKEDnobodyMARKEDnobody012345",
];

/// What a text that holds the secret holds too, whichever way it was written: as it is, in base64 at each alignment, in
/// hexadecimal, percent-encoded, as the list of its bytes.
fn forms(secret: &str) -> Vec<String> {
    let middle = &secret[8..24];
    let mut forms = vec![middle.to_string(), middle.to_ascii_lowercase(), middle.to_ascii_uppercase()];
    for lead in ["", "x", "xx"] {
        let text = format!("{lead}{middle}");
        for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
            forms.push(encoded.trim_end_matches('=')[4..18].to_string());
        }
    }
    let each = |form: fn(u8) -> String| middle.bytes().map(form).collect::<Vec<_>>();
    forms.push(each(|byte| format!("{byte:02x}")).concat());
    forms.push(each(|byte| format!("%{byte:02X}")).concat());
    forms.push(each(|byte| byte.to_string()).join(", "));
    forms
}

/// Asks with the secret in every place, on every endpoint; gives the answers that are ours.
fn ask_everywhere(gateway: &Gateway, secret: &str) -> Vec<String> {
    let (address, mut answers) = (gateway.address(), Vec::new());
    let bearer = format!("Bearer {secret}");
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{secret}")));
    let cookie = format!("a=1; mia_client_key={secret}");
    let broken = format!("{secret}\u{e9}");
    let long = format!("{secret}{}", "x".repeat(600));
    let rows: [&[(&str, &str)]; 16] = [
        &[("x-api-key", secret)],
        &[("client-key", secret)],
        &[("secret", secret)],
        &[("authorization", &bearer)],
        &[("authorization", secret)],
        &[("authorization", &basic)],
        &[("cookie", &cookie)],
        &[("x-api-key", secret), ("client-key", "kg_live_other")],
        &[("x-api-key", &broken)],
        &[("x-api-key", &long)],
        &[("proxy-authorization", &bearer)],
        &[("sec-websocket-protocol", secret)],
        &[("x-api-key", secret), ("user-agent", secret), ("referer", secret)],
        &[("x-api-key", secret), ("host", secret)],
        &[("x-api-key", secret), ("x-request-id", secret), ("traceparent", secret), ("x-forwarded-for", secret)],
        &[("x-api-key", secret), ("origin", secret), ("content-type", secret), ("expect", secret)],
    ];
    let h2 = H2::connect(address);
    for fields in rows {
        for path in ["/orders", "/partners", "/may", "/only", "/secure", "/users", "/gone", "/full", "/nowhere"] {
            let mut take = |status: u16, text: String| {
                // What the origin answers may repeat what is not ours to touch.
                if status != 200 {
                    answers.push(text);
                }
            };
            let response = get(address, path, fields);
            take(response.status, format!("{}{}", response.head, response.text()));
            if fields.iter().all(|(name, value)| *name != "host" && value.is_ascii())
                && let Ok(response) = h2.call("GET", &format!("http://a.test{path}"), fields, b"")
            {
                take(response.status, format!("{}{}", response.head, response.text()));
            }
        }
    }
    for target in
        ["/orders?key=", "/orders/", "/a/../", "//", "/%2e%2e/", "/orders;", "/orders#", "http://a.test/", "http://"]
    {
        for (method, version) in [("GET", "HTTP/1.1"), ("TRACE", "HTTP/1.1"), ("GET", "HTTP/1.9"), (secret, "HTTP/1.1")]
        {
            let mut caller = Caller::connect(address);
            caller.send(format!("{method} {target}{secret} {version}\r\nhost: a.test\r\nx-api-key: {secret}\r\nconnection: close\r\n\r\n"));
            let text = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
            if !text.starts_with("HTTP/1.1 200") {
                answers.push(text);
            }
        }
    }
    for fields in
        ["content-length: x", "transfer-encoding: x", "x y: z", "x: \0"].map(str::to_string).into_iter().chain([
            format!("{secret}: x"),
            format!("content-length: {secret}"),
            format!("transfer-encoding: {secret}"),
            format!("x: {}", secret.repeat(1500)),
        ])
    {
        let mut caller = Caller::connect(address);
        caller.send(format!(
            "GET /orders HTTP/1.1\r\nhost: a\r\nx-api-key: {secret}\r\n{fields}\r\nconnection: close\r\n\r\n"
        ));
        let text = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
        if !text.starts_with("HTTP/1.1 200") {
            answers.push(text);
        }
    }
    let refused = request(address, "POST", "/small", &[("x-api-key", secret)], secret.as_bytes());
    answers.push(format!("{}{}", refused.head, refused.text()));
    answers
}

#[test]
fn no_way_of_being_refused_writes_a_secret() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, CONFIG);
    let admin = Admin::of(&gateway);
    let mut texts: Vec<(String, String)> = Vec::new();
    for secret in SECRETS {
        texts.extend(ask_everywhere(&gateway, secret).into_iter().map(|answer| ("an answer".to_string(), answer)));
        for token in [secret, &STANDARD.encode(secret)] {
            let stranger = Admin::with(gateway.admin(), token);
            let answer = stranger.ask("GET", &format!("/v1/keys/{secret}"), None);
            texts.push(("the admin API, to a stranger".into(), format!("{}{}", answer.head, answer.text())));
        }
        // To one who may ask, the answer names what was asked for in its path, and never what is in its body.
        for (target, body) in [
            ("/v1/lookup", json!({ "secrets": [secret] })),
            ("/v1/keys", json!({ "name": "n", "client": "shop", "secret": secret, "what": 1 })),
            ("/v1/keys", json!({ "name": "n", "client": "nobody", "secret": secret })),
            ("/v1/keys", json!({ "name": "n", "client": "shop", "secret": [secret] })),
        ] {
            let answer = admin.ask("POST", target, Some(&body));
            texts.push((format!("the admin API, {target}"), format!("{}{}", answer.head, answer.text())));
        }
        let explained = keygate_with_input(gateway.directory(), &["explain", "GET", "/orders", "--key-stdin"], secret);
        texts.push((
            "explain".into(),
            String::from_utf8_lossy(&[explained.stdout, explained.stderr].concat()).into_owned(),
        ));
    }
    for number in 0..80 {
        let guess = format!("kg_live_MARKEDnobodyMARKEDnobody0{number:05}");
        let answer = get(gateway.address(), "/orders", &[("x-api-key", &guess)]);
        texts.push(("an answer to guesses".into(), format!("{}{}", answer.head, answer.text())));
    }
    let process = gateway.process_id();
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{process}/{file}")).expect("our own child");
        texts.push((file.into(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    let checked = gateway.command(&["check"]);
    texts.push(("check".into(), String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned()));
    texts.push(("metrics".into(), gateway.metrics()));
    texts.push(("readiness".into(), gateway.admin_get("/readyz?verbose").text()));
    for target in ["/v1/keys", "/v1/audit", "/v1/clients", "/v1/export/keys", "/v1/export/audit"] {
        texts.push((target.into(), admin.ask("GET", target, None).text()));
    }
    gateway.wait_for_access_lines(500);
    texts.push(("the log".into(), gateway.stderr()));
    texts.push(("the access log".into(), gateway.stdout()));
    for entry in std::fs::read_dir(gateway.directory()).expect("our own directory") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("our own file");
            texts.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    let mut report = Report::new();
    let mut codes: Vec<String> =
        gateway.access_lines().iter().filter_map(|line| Some(line["code"].as_str()?.to_string())).collect();
    codes.sort();
    codes.dedup();
    for code in [
        "client_type_not_allowed",
        "credential_ambiguous",
        "credential_malformed",
        "credential_missing",
        "credential_too_long",
        "endpoint_not_found",
        "https_required",
        "key_disabled",
        "key_expired",
        "key_not_yet_valid",
        "key_unknown",
        "key_wrong_environment",
        "method_not_allowed",
        "path_ambiguous",
        "permission_missing",
        "too_many_failures",
        "user_required",
    ] {
        report.holds(code, format!("nobody was refused for it: {codes:?}"), codes.iter().any(|there| there == code));
    }
    report.holds("the log", "is not talkative", gateway.stderr().contains("DEBUG"));
    for (place, text) in &texts {
        for secret in SECRETS {
            for form in forms(secret) {
                if let Some(at) = text.find(&form) {
                    let start = text[..at].char_indices().rev().nth(150).map_or(0, |(place, _)| place);
                    let around: String = text[start..].chars().take(300).collect();
                    report.holds(place, format!("{form} of {secret} in …{around}…"), false);
                }
            }
        }
        report.holds(place, "searched", true);
    }
}

#[test]
fn every_form_of_a_secret_is_recognised() {
    let secret = SECRETS[0];
    let written = [
        secret.to_string(),
        STANDARD.encode(secret),
        STANDARD.encode(format!("user:{secret}")),
        URL_SAFE_NO_PAD.encode(format!("a{secret}")),
        secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        format!("{:?}", secret.as_bytes()),
    ];
    for text in written {
        assert!(forms(secret).iter().any(|form| text.contains(form)), "{text}");
    }
    let digest = super::support::keys::blake3(secret);
    assert!(!forms(secret).iter().any(|form| digest.contains(form)), "{digest}");
}
