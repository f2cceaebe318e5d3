//! `docs/HTTP.md` lists every status and code that there is, and shows refusals as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use keygate::admission::Rejection;
use keygate::authentication::KeyFault;
use keygate::config::demo::DEMO_KEYS;
use keygate::credential::MalformedCredential;
use keygate::forward::{BadResponse, ForwardError, RequestBodyError};
use keygate::policy::Denial;
use keygate::routing::AmbiguousPath;
use keygate::server::Violation;

use crate::page::{quoted, read, table};
use crate::shell::{Background, Ports, ask_for, example, keygate};

/// Values of an enum, one for each variant. A variant that is missing here does not compile.
macro_rules! every {
    ($($pattern:pat => $value:expr),* $(,)?) => {{
        let values = vec![$($value),*];
        for value in &values {
            match value { $($pattern => {})* }
        }
        values
    }};
}

fn rejections() -> Vec<Rejection> {
    let malformed = every! {
        MalformedCredential::Ambiguous => MalformedCredential::Ambiguous,
        MalformedCredential::NotAscii => MalformedCredential::NotAscii,
        MalformedCredential::NotBearer => MalformedCredential::NotBearer,
        MalformedCredential::Empty => MalformedCredential::Empty,
        MalformedCredential::TooLong => MalformedCredential::TooLong,
    };
    let faults = every! {
        KeyFault::Unknown => KeyFault::Unknown,
        KeyFault::Disabled => KeyFault::Disabled,
        KeyFault::ClientDisabled => KeyFault::ClientDisabled,
        KeyFault::NotYetValid => KeyFault::NotYetValid,
        KeyFault::Expired => KeyFault::Expired,
        KeyFault::Superseded => KeyFault::Superseded,
        KeyFault::WrongEnvironment => KeyFault::WrongEnvironment,
    };
    let denials = every! {
        Denial::CredentialMissing => Denial::CredentialMissing,
        Denial::UserRequired => Denial::UserRequired,
        Denial::HttpsRequired => Denial::HttpsRequired,
        Denial::KeyTypeNotAllowed { .. } => Denial::KeyTypeNotAllowed { required: Box::default() },
        Denial::ClientTypeNotAllowed { .. } => Denial::ClientTypeNotAllowed { required: Box::default() },
        Denial::PermissionMissing { .. } => Denial::PermissionMissing { required: Box::default() },
        Denial::ReadOnly => Denial::ReadOnly,
        Denial::TenantMismatch => Denial::TenantMismatch,
        Denial::NetworkNotAllowed => Denial::NetworkNotAllowed,
        Denial::OriginNotAllowed => Denial::OriginNotAllowed,
        Denial::ExpressionFalse => Denial::ExpressionFalse,
    };
    let mut rejections = every! {
        Rejection::PathAmbiguous(_) => Rejection::PathAmbiguous(AmbiguousPath::DotSegment),
        Rejection::PathNotAdmitted(_) => Rejection::PathNotAdmitted(""),
        Rejection::HostInvalid => Rejection::HostInvalid,
        Rejection::EndpointNotFound => Rejection::EndpointNotFound,
        Rejection::MethodNotAllowed { .. } => Rejection::MethodNotAllowed { allowed: Box::default() },
        Rejection::CredentialMalformed(_) => Rejection::CredentialMalformed(MalformedCredential::Empty),
        Rejection::KeyRejected(_) => Rejection::KeyRejected(KeyFault::Unknown),
        Rejection::IdentityMalformed => Rejection::IdentityMalformed,
        Rejection::Denied(_) => Rejection::Denied(Denial::ReadOnly),
        Rejection::BodyTooLarge => Rejection::BodyTooLarge,
        Rejection::TooManyFailures => Rejection::TooManyFailures,
        Rejection::KeysNotLoaded => Rejection::KeysNotLoaded,
    };
    rejections.extend(malformed.into_iter().map(Rejection::CredentialMalformed));
    rejections.extend(faults.into_iter().map(Rejection::KeyRejected));
    rejections.extend(denials.into_iter().map(Rejection::Denied));
    rejections
}

fn upstream_faults() -> Vec<ForwardError> {
    let nothing = || std::io::Error::other("a test");
    let bodies = every! {
        RequestBodyError::TooLarge => RequestBodyError::TooLarge,
        RequestBodyError::TimedOut => RequestBodyError::TimedOut,
        RequestBodyError::Closed(_) => RequestBodyError::Closed(None),
        RequestBodyError::KeyWithdrawn => RequestBodyError::KeyWithdrawn,
        RequestBodyError::Malformed(_) => RequestBodyError::Malformed(None),
    };
    let mut faults = every! {
        ForwardError::NoServer => ForwardError::NoServer,
        ForwardError::Busy => ForwardError::Busy,
        ForwardError::ExchangeTimeout => ForwardError::ExchangeTimeout,
        ForwardError::ConnectRefused(_) => ForwardError::ConnectRefused(nothing()),
        ForwardError::ConnectFailed(_) => ForwardError::ConnectFailed(nothing()),
        ForwardError::ConnectTimeout => ForwardError::ConnectTimeout,
        ForwardError::Tls(_) => ForwardError::Tls(nothing()),
        ForwardError::NoHttp2(_) => ForwardError::NoHttp2(None),
        ForwardError::NoUpgrade => ForwardError::NoUpgrade,
        ForwardError::Reset(_) => ForwardError::Reset(h2::Reason::CANCEL.into()),
        ForwardError::Closed(_) => ForwardError::Closed(None),
        ForwardError::BadResponse(_) => ForwardError::BadResponse(BadResponse::HeadTooLarge),
        ForwardError::ResponseTimeout => ForwardError::ResponseTimeout,
        ForwardError::SendTimeout => ForwardError::SendTimeout,
        ForwardError::BodyCut(_) => ForwardError::BodyCut(None),
        ForwardError::BodyTimeout => ForwardError::BodyTimeout,
        ForwardError::RequestBody(_) => ForwardError::RequestBody(RequestBodyError::TooLarge),
    };
    faults.extend(bodies.into_iter().map(ForwardError::RequestBody));
    faults
}

/// The words that only answers use: where the exact code says more than a caller is told, or no rule and no upstream is asked.
const TOLD_ONLY: [(&str, &str); 6] = [
    ("credential_rejected", "src/gateway/response.rs"),
    ("upstream_unreachable", "src/gateway/response.rs"),
    ("upstream_timeout", "src/gateway/response.rs"),
    ("rate_limit_exceeded", "src/gateway/response.rs"),
    ("plan_unknown", "src/gateway/limiting.rs"),
    ("internal_error", "src/server/handler.rs"),
];

#[test]
fn the_tables_of_codes_list_what_there_is() {
    let page = read("docs/HTTP.md");
    let word = |cell: &String| quoted(cell).next().unwrap_or_default().to_owned();
    let told = told(&page);
    let exact: BTreeMap<String, String> =
        table(&page, "| exact code | told as |").iter().map(|row| (word(&row[0]), word(&row[1]))).collect();

    let mut known: BTreeSet<String> = rejections().iter().map(|rejection| rejection.code().to_owned()).collect();
    known.extend(upstream_faults().iter().map(|fault| fault.code().to_owned()));
    for (code, place) in TOLD_ONLY {
        assert!(read(place).contains(&format!("\"{code}\"")), "{place} no longer says {code}");
        known.insert(code.to_owned());
    }
    let listed: BTreeSet<String> = told.keys().chain(exact.keys()).cloned().collect();
    assert_eq!(listed, known);
    for (exact, general) in &exact {
        assert!(told.contains_key(general), "{exact} is told as {general}, which is in no table");
        assert!(!told.contains_key(exact), "{exact} stands in both tables");
    }
    for fault in upstream_faults() {
        let code = exact.get(fault.code()).map_or(fault.code(), String::as_str);
        assert_eq!(told[code], fault.status().as_str(), "{code}");
    }

    let malformed: Vec<Vec<String>> = Violation::ALL
        .iter()
        .map(|violation| {
            [violation.status().as_str(), &format!("`{}`", violation.code()), violation.text()]
                .map(str::to_owned)
                .into()
        })
        .collect();
    assert_eq!(table(&page, "| status | code | what is wrong |"), malformed);
}

/// Endpoints that refuse for one reason each; the clients of the example are put behind them.
const REFUSING: &str = r#"key_prefixes: [{ prefix: kg_demo_ }]
endpoints:
  - { name: open, path: /open, upstream: echo, public: true, methods: [GET] }
  - { name: closed, path: /closed, upstream: echo, permissions: { GET: [orders.read], POST: [orders.write] } }
  - { name: user, path: /user, upstream: echo, api_key: required, require_user: true }
  - { name: https, path: /https, upstream: echo, api_key: required, https_only: true }
  - { name: network, path: /network, upstream: echo, api_key: required, networks: [192.0.2.0/24] }
  - { name: type, path: /type, upstream: echo, client_types: [nobody] }
  - { name: rule, path: /rule, upstream: echo, allow: "groups.admin" }
  - { name: tenant, path: "/tenants/:tenant", upstream: echo, tenant: { path: tenant } }
  - { name: page, path: /page, upstream: echo, key_types: [publishable] }
  - { name: small, path: /small, upstream: echo, public: true, max_body: 3 }
  - { name: gone, path: /gone, upstream: gone, public: true }
"#;

/// Each answer of a running gateway stands in the table with its status. What is not asked for here is named.
#[test]
fn refusals_have_the_statuses_of_the_table() {
    let (directory, ports) = (tempfile::tempdir().expect("a directory"), Ports::take());
    let [address, admin, gone] = ["127.0.0.1:8080", "127.0.0.1:9090", "127.0.0.1:3000"].map(|shown| ports.real(shown));
    let example = example(&ports);
    let (_, clients) = example.split_once("\nclients:\n").expect("the example has clients");
    let text = format!(
        "listen: [{{ address: \"{address}\" }}]\nadmin: {{ address: \"{admin}\" }}\nupstreams: {{ echo: {{ echo: true }}, gone: \
         \"http://{gone}\" }}\n{REFUSING}clients:\n{clients}"
    );
    fs::write(directory.path().join("gateway.yaml"), text).expect("written");
    let mut command = keygate();
    command.current_dir(directory.path());
    let _gateway = Background::start(command, address);

    let key = |client: &str| {
        let key = DEMO_KEYS.iter().find(|key| key.client == client).expect("a key of the example").key;
        format!("X-Api-Key: {key}\r\n")
    };
    let (shop, acme, website) = (key("shop"), key("acme"), key("website"));
    let two = format!("{shop}Client-Key: another\r\n");
    let bare = shop.replace("X-Api-Key", "Authorization");
    let rows: [(&str, &str, &str); 19] = [
        ("/closed/../open", &shop, "path_ambiguous"),
        ("http://a.example/open", "", "host_invalid"),
        ("/closed", &two, "credential_ambiguous"),
        ("/closed", &bare, "credential_malformed"),
        ("/closed", "", "credential_missing"),
        ("/open", "X-Api-Key: nobody\r\n", "credential_rejected"),
        ("/user", &shop, "user_required"),
        ("/https", &shop, "https_required"),
        ("/closed", &website, "key_type_not_allowed"),
        ("/type", &shop, "client_type_not_allowed"),
        ("POST /closed", &shop, "permission_missing"),
        ("/tenants/globex", &acme, "tenant_mismatch"),
        ("/network", &shop, "network_not_allowed"),
        ("/page", &website, "origin_not_allowed"),
        ("/rule", &shop, "rule_not_satisfied"),
        ("/nowhere", &shop, "endpoint_not_found"),
        ("POST /open", "", "method_not_allowed"),
        ("POST /small", "Content-Length: 4\r\n", "body_too_large"),
        ("/gone", "", "upstream_unreachable"),
    ];
    let mut listed = told(&read("docs/HTTP.md"));
    for (target, fields, code) in rows {
        let answer = ask_for(address, target, fields).unwrap_or_else(|error| panic!("{target}: {error}"));
        let status = answer.get(9..12).unwrap_or_default();
        assert!(answer.contains(&format!("\"code\":\"{code}\"")), "{target} {code}: {answer}");
        assert_eq!(listed.remove(code).as_deref(), Some(status), "{code}");
    }
    // The statuses of the upstream's faults and the body's are compared above.
    for fault in upstream_faults() {
        listed.remove(fault.code());
    }
    let left: Vec<_> = listed.iter().map(|(code, status)| format!("{status} {code}")).collect();
    let expected = [
        "400 identity_malformed",
        "500 internal_error",
        "503 keys_not_loaded",
        "503 plan_unknown",
        "429 rate_limit_exceeded",
        "403 read_only_key",
        "429 too_many_failures",
        "504 upstream_timeout",
    ];
    assert_eq!(left, expected);
}

/// The code and the status of each row of the table of refusals.
fn told(page: &str) -> BTreeMap<String, String> {
    let rows = table(page, "| status | code | meaning |");
    rows.iter().map(|row| (row[1].trim_matches('`').to_owned(), row[0].clone())).collect()
}

#[test]
fn the_formats_of_refusals_are_as_shown() {
    let (directory, ports) = (tempfile::tempdir().expect("a directory"), Ports::take());
    let formats = ["problem", "envelope", "bkend", "billabear"];
    let mut text = example(&ports);
    for format in formats {
        let endpoint = format!(
            "  - {{ name: {format}, path: /{format}, permissions: [orders.write], errors: {{ format: {format} }} }}\n"
        );
        text = text.replacen("endpoints:\n", &format!("endpoints:\n{endpoint}"), 1);
    }
    fs::write(directory.path().join("gateway.yaml"), text).expect("written");
    let address = ports.real("127.0.0.1:8080");
    let mut command = keygate();
    command.current_dir(directory.path());
    let _gateway = Background::start(command, address);
    let page = read("docs/HTTP.md");
    let shown: Vec<&str> = page.split("```json\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert_eq!(shown.len(), formats.len());
    for (format, shown) in formats.iter().zip(shown) {
        let answer = ask_for(address, &format!("/{format}"), &format!("X-Api-Key: {}\r\n", DEMO_KEYS[0].key));
        let answer = answer.unwrap_or_else(|error| panic!("{format}: {error}"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.starts_with("HTTP/1.1 403 "), "{format}: {head}");
        let comparable = |text: &str| {
            let mut value: serde_json::Value =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            if let Some(id) = value.get_mut("request_id") {
                *id = "an id".into();
            }
            value
        };
        assert_eq!(comparable(body), comparable(shown), "{format}");
    }
}
