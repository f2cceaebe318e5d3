//! The admin API as its callers see it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

mod console;

use super::*;
use crate::credential::{KeyDigest, Secret};
use crate::keys::{KeyPolicy, KeyTable, Timestamp};
use crate::management::{Actor, CreateToken, Issuing, Prefix, Role};
use crate::store::{Location, Store};
use crate::telemetry::health::Health;

/// An admin API over a temporary store that passes for a lasting one.
pub(crate) fn api(reload: Option<Reload>) -> (tempfile::TempDir, AdminApi) {
    let desk = Desk::with(Issuing::default(), reload);
    (desk.folder, desk.api)
}

/// A token of the role `admin`, by its name alone.
pub(crate) fn held_token(name: &str) -> crate::management::HeldToken {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Location::File(folder.path().join("keys.db"))).unwrap();
    let management = Management::new(store, Arc::new(KeyTable::new()), Issuing::default());
    let wanted = CreateToken { name: name.to_owned(), role: Role::Admin, expires_at: None };
    let created = management.create_token(&Actor::keygate(), wanted).unwrap();
    let mut held = management.authenticate(&created.secret, Timestamp::from_millis(0)).unwrap();
    held.id = Some(format!("token_{name}"));
    held
}

/// An admin API, and what is behind it.
struct Desk {
    folder: tempfile::TempDir,
    api: AdminApi,
    management: Management,
    metrics: Metrics,
}

/// What was answered.
struct Reply {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The status with the code of a problem.
    fn code(&self) -> (u16, String) {
        let code = if self.text.is_empty() { Value::Null } else { self.json()["code"].clone() };
        (self.status, code.as_str().unwrap_or_default().to_owned())
    }

    fn pointers(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}

/// A request in the making.
struct Ask<'d> {
    desk: &'d Desk,
    request: http::request::Builder,
    body: Body,
}

impl<'d> Ask<'d> {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    fn body(mut self, content_type: &str, text: impl Into<Body>) -> Self {
        self.request = self.request.header("content-type", content_type);
        self.body = text.into();
        self
    }

    fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string())
    }

    fn caller(self, caller: Caller) -> Ask<'d> {
        Ask { request: self.request.extension(caller), ..self }
    }

    async fn send(self) -> Reply {
        let response = self.desk.api.answer(self.request.body(self.body).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Reply { status: parts.status.as_u16(), headers: parts.headers, text }
    }
}

impl Desk {
    fn new() -> Self {
        let prefixes =
            vec![Prefix { prefix: "kg_live_".to_owned(), key_type: crate::client::KeyType::Secret, environment: None }];
        Self::with(Issuing { prefixes, ..Issuing::default() }, None)
    }

    fn with(issuing: Issuing, reload: Option<Reload>) -> Self {
        Self::seeing(issuing, reload, None)
    }

    /// Beside a gateway with these rules.
    fn beside(yaml: &str) -> Self {
        let prefixes =
            vec![Prefix { prefix: "kg_live_".to_owned(), key_type: crate::client::KeyType::Secret, environment: None }];
        Self::seeing(Issuing { prefixes, ..Issuing::default() }, None, Some(yaml))
    }

    fn seeing(issuing: Issuing, reload: Option<Reload>, yaml: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Location::File(folder.path().join("keys.db"))).unwrap();
        let table = Arc::new(KeyTable::new());
        let management = Management::new(store, Arc::clone(&table), issuing);
        management.load().unwrap();
        let metrics = Metrics::new(Health::default());
        let observatory = yaml.map(|yaml| crate::observatory::tests::observatory(yaml, table, metrics.clone()));
        let api = AdminApi::new(management.clone(), reload, metrics.clone(), observatory);
        Self { folder, api, management, metrics }
    }

    /// As a user of this machine.
    fn ask(&self, method: Method, target: &str) -> Ask<'_> {
        self.stranger(method, target).caller(Caller::Local("tester".to_owned()))
    }

    /// As nobody yet.
    fn stranger(&self, method: Method, target: &str) -> Ask<'_> {
        Ask { desk: self, request: Request::builder().method(method).uri(target), body: Body::empty() }
    }

    /// Over the network, with a token.
    fn with_token(&self, method: Method, target: &str, token: &str) -> Ask<'_> {
        self.stranger(method, target)
            .caller(Caller::Network(IpAddr::from([192, 0, 2, 7])))
            .header("authorization", &format!("Bearer {token}"))
    }

    fn token(&self, name: &str, role: Role) -> String {
        let wanted = CreateToken { name: name.to_owned(), role, expires_at: None };
        let created = self.management.create_token(&Actor::keygate(), wanted).unwrap();
        String::from_utf8(created.secret.expose().to_vec()).unwrap()
    }

    /// Makes a key, and gives its id and its secret.
    async fn key(&self, name: &str) -> (String, String) {
        let body = json!({ "name": name, "client": { "id": "shop", "client_type": "partner" } });
        let reply = self.ask(Method::POST, "/v1/keys").json(&body).send().await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let answer = reply.json();
        (answer["key"]["id"].as_str().unwrap().to_owned(), answer["secret"].as_str().unwrap().to_owned())
    }

    /// Whether the table admits a key.
    fn is_in_force(&self, secret: &str) -> bool {
        let secret = Secret::borrowed(secret.as_bytes());
        let table = self.management.table();
        table.digests_of(&secret).iter().any(|digest| {
            table.find(digest).is_some_and(|entry| {
                let now = Timestamp::from(std::time::SystemTime::now());
                entry.key.active && entry.valid_until.is_none_or(|until| now < until)
            })
        })
    }
}

#[test]
fn the_document_in_the_repository_is_the_one_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let text = format!("{:#}\n", document());
    if std::env::var_os("KEYGATE_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "docs/openapi.json is out of date; run this test with KEYGATE_BLESS=1");
}

/// The one operation that is for strangers.
fn sign_in() -> (Method, String) {
    (Method::POST, "/v1/session".to_owned())
}

/// Every operation of the document, with a target that is well-formed.
fn operations() -> Vec<(Method, String)> {
    let document = document();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let target = path.replace("{kind}", "user").replace("{id}", "nothing");
        for method in methods.as_object().unwrap().keys() {
            operations.push((method.to_uppercase().parse().unwrap(), target.clone()));
        }
    }
    assert!(operations.len() > 25, "{operations:?}");
    operations
}

#[tokio::test]
async fn without_a_good_token_nothing_is_answered_but_the_document() {
    let desk = Desk::new();
    let (_, api_key) = desk.key("a key").await;
    // Whoever signs in has no token to show yet.
    for (method, target) in operations().into_iter().filter(|operation| *operation != sign_in()) {
        let network = || desk.stranger(method.clone(), &target).caller(Caller::Network(IpAddr::from([192, 0, 2, 1])));
        let reply = network().send().await;
        assert_eq!(reply.code(), (401, "token_missing".to_owned()), "{method} {target}");
        assert!(reply.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
    let wrong = |value: &str| {
        desk.stranger(Method::GET, "/v1/keys")
            .caller(Caller::Network(IpAddr::from([192, 0, 2, 2])))
            .header("authorization", value)
    };
    for value in [format!("Bearer {api_key}"), "Bearer x".to_owned(), "Basic eDp4".to_owned(), "Bearer".to_owned()] {
        assert_eq!(wrong(&value).send().await.code(), (401, "token_rejected".to_owned()), "{value}");
    }
    assert_eq!(desk.stranger(Method::GET, "/openapi.json").send().await.status, 200);
    let nobody = desk.stranger(Method::GET, "/v1/keys").send().await;
    assert_eq!(nobody.status, 500, "whoever forgot to say who asks is not heard");
}

#[tokio::test]
async fn wrong_tokens_are_counted_and_their_sender_is_not_heard_for_a_while() {
    let desk = Desk::new();
    let good = desk.token("ops", Role::Admin);
    assert_eq!(desk.with_token(Method::GET, "/v1/whoami", &good).send().await.status, 200);
    for _ in 0..10 {
        let reply = desk.with_token(Method::GET, "/v1/whoami", "kg_admin_wrong").send().await;
        assert_eq!(reply.status, 401);
    }
    let late = desk.token("late", Role::Admin);
    assert_eq!(desk.with_token(Method::GET, "/v1/whoami", &good).send().await.status, 200, "it was good before");
    let reply = desk.with_token(Method::GET, "/v1/whoami", &late).send().await;
    assert_eq!(reply.code(), (429, "too_many_failures".to_owned()));
    assert!(reply.headers.contains_key("retry-after"));
    let elsewhere = desk
        .stranger(Method::GET, "/v1/whoami")
        .caller(Caller::Network(IpAddr::from([192, 0, 2, 8])))
        .header("authorization", &format!("Bearer {good}"));
    assert_eq!(elsewhere.send().await.json()["actor"], "token:ops");
    assert_eq!(desk.ask(Method::GET, "/v1/whoami").send().await.json()["actor"], "local:tester");
    let rendered = desk.metrics.render();
    assert!(rendered.contains("keygate_admin_refused_tokens_total 10"), "{rendered}");
}

#[tokio::test]
async fn each_role_may_what_it_may_and_is_told_which_role_is_needed() {
    let desk = Desk::beside(
        "upstreams: { echo: { echo: true } }\nendpoints: [{ name: all, path: /, upstream: echo, public: true }]",
    );
    let (id, _) = desk.key("a key").await;
    let tokens = [Role::Viewer, Role::Developer, Role::Admin].map(|role| (role, desk.token(role.as_str(), role)));
    let client = json!({ "id": "shop", "client_type": "partner" });
    let table: Vec<(Method, String, Option<Value>, Role)> = vec![
        (Method::GET, "/v1/keys".into(), None, Role::Viewer),
        (Method::GET, format!("/v1/keys/{id}"), None, Role::Viewer),
        (Method::GET, format!("/v1/keys/{id}/usage"), None, Role::Viewer),
        (Method::GET, "/v1/clients".into(), None, Role::Viewer),
        (Method::GET, "/v1/owners".into(), None, Role::Viewer),
        (Method::GET, "/v1/audit".into(), None, Role::Viewer),
        (Method::GET, "/v1/summary".into(), None, Role::Viewer),
        (Method::GET, "/v1/export/keys".into(), None, Role::Viewer),
        (Method::POST, "/v1/lookup".into(), Some(json!({ "secrets": ["x"] })), Role::Viewer),
        (Method::GET, "/v1/overview".into(), None, Role::Viewer),
        (Method::GET, "/v1/endpoints".into(), None, Role::Viewer),
        (Method::GET, "/v1/access".into(), None, Role::Viewer),
        (Method::GET, "/v1/permissions".into(), None, Role::Viewer),
        (Method::GET, "/v1/settings".into(), None, Role::Viewer),
        (Method::POST, "/v1/explain".into(), Some(json!({ "method": "GET", "path": "/" })), Role::Viewer),
        (Method::GET, "/v1/keys?usage_days=14".into(), None, Role::Viewer),
        (Method::POST, "/v1/disable".into(), Some(json!({ "ids": ["none"] })), Role::Developer),
        (Method::POST, "/v1/keys".into(), Some(json!({ "name": "another", "client": client })), Role::Developer),
        (Method::PATCH, format!("/v1/keys/{id}"), Some(json!({ "description": "d" })), Role::Developer),
        (Method::POST, format!("/v1/keys/{id}/rotate"), Some(json!({})), Role::Developer),
        (Method::POST, format!("/v1/keys/{id}/rotation/undo"), Some(json!({})), Role::Developer),
        (Method::POST, format!("/v1/keys/{id}/disable"), Some(json!({})), Role::Developer),
        (Method::POST, format!("/v1/keys/{id}/enable"), None, Role::Developer),
        (Method::PATCH, "/v1/clients/shop".into(), Some(json!({ "name": "Shop" })), Role::Developer),
        (Method::POST, "/v1/clients/shop/disable".into(), Some(json!({})), Role::Developer),
        (Method::POST, "/v1/clients/shop/enable".into(), None, Role::Developer),
        (Method::GET, "/v1/admin-tokens".into(), None, Role::Admin),
        (Method::POST, "/v1/admin-tokens".into(), Some(json!({ "name": "t", "role": "viewer" })), Role::Admin),
        (Method::DELETE, format!("/v1/keys/{id}"), None, Role::Developer),
        (Method::DELETE, "/v1/clients/shop".into(), None, Role::Developer),
    ];
    for (method, target, body, needed) in table {
        for (role, token) in &tokens {
            if *role > needed {
                continue;
            }
            let mut ask = desk.with_token(method.clone(), &target, token);
            if let Some(body) = &body {
                ask = ask.json(body);
            }
            let reply = ask.send().await;
            if *role < needed {
                assert_eq!(reply.code(), (403, "role_too_low".to_owned()), "{method} {target} as {role}");
                assert_eq!(reply.json()["required_role"], needed.as_str());
            } else {
                assert!(reply.status < 300, "{method} {target} as {role}: {}", reply.text);
            }
        }
    }
    let nobodys = desk.with_token(Method::POST, "/v1/reload", &tokens[1].1).send().await;
    assert_eq!(nobodys.code(), (403, "role_too_low".to_owned()));
}

#[tokio::test]
async fn a_key_lives_from_its_making_to_its_end() {
    let desk = Desk::new();
    let (id, secret) = desk.key("shop website").await;
    assert!(secret.starts_with("kg_live_") && desk.is_in_force(&secret));
    let path = format!("/v1/keys/{id}");
    let shown = desk.ask(Method::GET, &path).send().await;
    assert_eq!(shown.headers["etag"], "\"1\"");
    assert_eq!(shown.headers["cache-control"], "no-store");
    let shown = shown.json();
    let last_four = &secret[secret.len() - 4..];
    assert_eq!(shown["masked"], format!("kg_live_…{last_four}"));
    assert_eq!((&shown["name"], &shown["status"]), (&json!("shop website"), &json!("active")));

    let rotated = desk.ask(Method::POST, &format!("{path}/rotate")).json(&json!({ "grace_seconds": 60 })).send().await;
    let second = rotated.json()["secret"].as_str().unwrap().to_owned();
    assert_eq!(rotated.json()["key"]["id"], id.as_str());
    assert!(desk.is_in_force(&secret) && desk.is_in_force(&second), "both while the grace lasts");
    let unused = desk.ask(Method::POST, &format!("{path}/rotation/finish")).json(&json!({})).send().await;
    assert_eq!(unused.code(), (409, "rotation_unused".to_owned()));
    let finished =
        desk.ask(Method::POST, &format!("{path}/rotation/finish")).json(&json!({ "force": true })).send().await;
    assert_eq!(finished.json()["rotation"], Value::Null);
    assert!(!desk.is_in_force(&secret) && desk.is_in_force(&second), "the old one at once");

    let disabled = desk.ask(Method::POST, &format!("{path}/disable")).json(&json!({ "reason": "lost" })).send().await;
    assert_eq!((&disabled.json()["status"], &disabled.json()["disabled_reason"]), (&json!("disabled"), &json!("lost")));
    assert!(!desk.is_in_force(&second));
    let enabled = desk.ask(Method::POST, &format!("{path}/enable")).send().await;
    assert_eq!(enabled.json()["status"], "active");
    assert!(desk.is_in_force(&second));

    let revoked = desk.ask(Method::DELETE, &format!("{path}?reason=over")).send().await;
    assert_eq!((revoked.status, &revoked.json()["client_removed"]), (200, &json!(false)));
    assert!(!desk.is_in_force(&second));
    let gone = desk.ask(Method::GET, &path).send().await.json();
    assert_eq!(gone["status"], "revoked", "it is kept for the records");
    for (method, target, body) in [
        (Method::PATCH, path.clone(), json!({ "name": "x" })),
        (Method::POST, format!("{path}/rotate"), json!({})),
        (Method::POST, format!("{path}/disable"), json!({})),
        (Method::DELETE, path.clone(), Value::Null),
    ] {
        let reply = desk.ask(method.clone(), &target).json(&body).send().await;
        assert!(matches!(reply.status, 404 | 409), "{method} {target}: {}", reply.text);
    }
    let listed = desk.ask(Method::GET, "/v1/keys").send().await.json();
    assert_eq!(listed["items"], json!([]), "revoked keys are listed only if they are asked for");
    let listed = desk.ask(Method::GET, "/v1/keys?status=revoked").send().await.json();
    assert_eq!(listed["items"][0]["id"], id.as_str());
    let actions: Vec<Value> = desk.ask(Method::GET, &format!("/v1/audit?target={id}")).send().await.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].clone())
        .collect();
    let expected =
        ["key.revoked", "key.enabled", "key.disabled", "key.rotation_finished", "key.rotated", "key.created"];
    assert_eq!(actions, expected.map(Value::from));
}

#[tokio::test]
async fn what_is_sent_wrong_is_told_part_by_part_and_not_repeated() {
    let desk = Desk::new();
    desk.key("taken").await;
    let marker = "SECRETMARKER";
    let client = json!("shop");
    for (body, status, code, pointers) in [
        (json!({ "name": "n", "client": "nobody" }), 422, "invalid_request", vec!["/client"]),
        (json!({ "name": "", "client": client }), 422, "invalid_request", vec!["/name"]),
        (json!({ "name": " n", "client": client }), 422, "invalid_request", vec!["/name"]),
        (json!({ "name": "taken", "client": client }), 409, "name_taken", vec![]),
        (
            json!({ "name": "n", "client": client, "expires_at": "2001-01-01T00:00:00Z" }),
            422,
            "invalid_request",
            vec!["/expires_at"],
        ),
        (
            json!({ "name": "n", "client": client, "expires_at": "soon", "permissions": ["a"], "networks": ["x", "10.0.0.0/8"] }),
            422,
            "invalid_request",
            vec!["/expires_at", "/permissions/0", "/networks/0"],
        ),
        (json!({ "name": "n", "client": client, "secret": "" }), 422, "invalid_request", vec!["/secret"]),
        (
            json!({ "name": "n", "client": client, "secret": format!("{marker} x") }),
            422,
            "invalid_request",
            vec!["/secret"],
        ),
        (
            json!({ "name": "n", "client": client, "origins": ["https://a.example"] }),
            422,
            "invalid_request",
            vec!["/origins"],
        ),
        (json!({ "name": "n", "client": client, "type": marker }), 400, "field_invalid", vec!["/type"]),
        (json!({ "name": 7, "client": client }), 400, "field_invalid", vec!["/name"]),
        (json!({ "name": "n", "client": client, "colour": marker }), 400, "field_invalid", vec!["/colour"]),
        (json!({ "client": client }), 400, "field_invalid", vec![""]),
        (
            json!({ "name": "n", "client": { "id": "new", "client_type": "a b" } }),
            422,
            "invalid_request",
            vec!["/client/client_type"],
        ),
    ] {
        let reply = desk.ask(Method::POST, "/v1/keys").json(&body).send().await;
        assert_eq!(reply.code(), (status, code.to_owned()), "{body}: {}", reply.text);
        assert_eq!(reply.pointers(), pointers, "{body}: {}", reply.text);
        assert!(!reply.text.contains(marker), "{}", reply.text);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
    }
    for (content_type, body, status, code) in [
        ("application/json", "{\"name\": ".to_owned(), 400, "malformed_json"),
        ("application/json", "{} {}".to_owned(), 400, "field_invalid"),
        ("application/json", String::new(), 400, "malformed_json"),
        ("text/plain", "{}".to_owned(), 415, "media_type_unsupported"),
        ("application/json", format!("{{\"name\":\"{}\"}}", "x".repeat(70_000)), 413, "body_too_large"),
    ] {
        let reply = desk.ask(Method::POST, "/v1/keys").body(content_type, body).send().await;
        assert_eq!(reply.code(), (status, code.to_owned()), "{}", reply.text);
    }
    let listed = desk.ask(Method::GET, "/v1/keys").send().await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "nothing was half done");
    let clients = desk.ask(Method::GET, "/v1/clients").send().await.json();
    assert_eq!(clients["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn parameters_and_paths_that_are_wrong_are_refused() {
    let desk = Desk::new();
    let too_long = format!("/v1/keys?q={}", "x".repeat(201));
    for (method, target, status, code) in [
        (Method::GET, "/v1/keys?limit=0", 400, "parameter_invalid"),
        (Method::GET, "/v1/keys?limit=201", 400, "parameter_invalid"),
        (Method::GET, "/v1/keys?limit=x", 400, "parameter_invalid"),
        (Method::GET, "/v1/keys?colour=red", 400, "parameter_invalid"),
        (Method::GET, too_long.as_str(), 400, "parameter_invalid"),
        (Method::GET, "/v1/keys?cursor=nonsense", 400, "cursor_invalid"),
        (Method::GET, "/v1/keys?status=odd", 400, "parameter_invalid"),
        (Method::GET, "/v1/keys?unused_for_days=99999999", 400, "parameter_invalid"),
        (Method::GET, "/v1/keys?client=a%20b", 400, "parameter_invalid"),
        (Method::GET, "/v1/audit?since=yesterday", 400, "parameter_invalid"),
        (Method::GET, "/v1/audit?cursor=x", 400, "cursor_invalid"),
        (Method::GET, "/v1/export/keys?limit=5", 400, "parameter_invalid"),
        (Method::GET, "/v1/keys/key_none", 404, "key_not_found"),
        (Method::GET, "/v1/keys/key_none/usage", 404, "key_not_found"),
        (Method::GET, "/v1/keys/%FF", 400, "path_invalid"),
        (Method::DELETE, "/v1/keys/key_none", 404, "key_not_found"),
        (Method::GET, "/v1/clients/none", 404, "client_not_found"),
        (Method::DELETE, "/v1/owners/user/none", 404, "owner_not_found"),
        (Method::DELETE, "/v1/owners/robot/none", 404, "owner_not_found"),
        (Method::DELETE, "/v1/admin-tokens/none", 404, "admin_token_not_found"),
        (Method::GET, "/v1/keys/", 404, "path_not_found"),
        (Method::GET, "/v1/nothing", 404, "path_not_found"),
        (Method::PUT, "/v1/keys", 405, "method_not_allowed"),
        (Method::POST, "/v1/reload", 409, "not_running"),
    ] {
        let reply = desk.ask(method.clone(), target).send().await;
        assert_eq!(reply.code(), (status, code.to_owned()), "{method} {target}: {}", reply.text);
        if status == 405 {
            assert_eq!(reply.headers["allow"], "GET,HEAD,POST");
        }
    }
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_refused() {
    let desk = Desk::new();
    let (id, _) = desk.key("a key").await;
    for path in [format!("/v1/keys/{id}"), "/v1/clients/shop".to_owned()] {
        let tag = desk.ask(Method::GET, &path).send().await.headers["etag"].to_str().unwrap().to_owned();
        let edit = |name: &str, tag: &str| {
            desk.ask(Method::PATCH, &path).header("if-match", tag).json(&json!({ "name": name }))
        };
        let first = edit("one", &tag).send().await;
        assert_eq!(first.status, 200, "{}", first.text);
        assert_ne!(first.headers["etag"].to_str().unwrap(), tag);
        assert_eq!(edit("two", &tag).send().await.code(), (412, "version_stale".to_owned()));
        assert_eq!(edit("two", "\"x\"").send().await.status, 412);
        assert_eq!(edit("two", "W/\"1\"").send().await.code(), (400, "if_match_invalid".to_owned()));
        let stale = desk.ask(Method::DELETE, &path).header("if-match", &tag).send().await;
        assert_eq!(stale.status, 412);
        assert_eq!(desk.ask(Method::GET, &path).send().await.json()["name"], "one");
        assert_eq!(edit("two", "*").send().await.status, 200);
    }
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_carried_out_once() {
    let desk = Desk::new();
    let body = json!({ "name": "once", "client": { "id": "shop", "client_type": "partner" } });
    let send = |body: &Value| desk.ask(Method::POST, "/v1/keys").header("idempotency-key", "a-1").json(body);
    let first = send(&body).send().await;
    let again = send(&body).send().await;
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.text, again.text, "the same answer, the key included");
    assert_eq!(again.headers["idempotency-replayed"], "true");
    let other = json!({ "name": "other", "client": "shop" });
    assert_eq!(send(&other).send().await.code(), (422, "idempotency_key_reused".to_owned()));

    // After a restart the store still knows what was done, and the key is gone.
    let restarted = AdminApi::new(desk.management.clone(), None, desk.metrics.clone(), None);
    let desk = Desk { api: restarted, ..desk };
    let send = |body: &Value| desk.ask(Method::POST, "/v1/keys").header("idempotency-key", "a-1").json(body);
    let spent = send(&body).send().await;
    assert_eq!(spent.code(), (409, "idempotency_key_spent".to_owned()));
    let id = first.json()["key"]["id"].as_str().unwrap().to_owned();
    assert!(spent.json()["detail"].as_str().unwrap().contains(&id), "{}", spent.text);
    assert_eq!(send(&other).send().await.code(), (422, "idempotency_key_reused".to_owned()));

    let rotate = |key: &str| {
        desk.ask(Method::POST, &format!("/v1/keys/{id}/rotate")).header("idempotency-key", key).json(&json!({}))
    };
    let (one, two, three) = (rotate("r").send().await, rotate("r").send().await, rotate("s").send().await);
    assert_eq!(one.text, two.text);
    assert_ne!(one.json()["secret"], three.json()["secret"]);
    for bad in ["", "a b", &"x".repeat(256)] {
        assert_eq!(rotate(bad).send().await.code(), (400, "idempotency_key_invalid".to_owned()), "{bad:?}");
    }
    let refused = desk
        .ask(Method::POST, "/v1/keys")
        .header("idempotency-key", "b")
        .json(&json!({ "name": "once", "client": "shop" }));
    assert_eq!(refused.send().await.status, 409);
    let mended = desk
        .ask(Method::POST, "/v1/keys")
        .header("idempotency-key", "b")
        .json(&json!({ "name": "b", "client": "shop" }));
    assert_eq!(mended.send().await.status, 201, "what was refused was not carried out");
}

#[tokio::test]
async fn another_actor_cannot_fetch_an_answer_with_the_same_idempotency_key() {
    let desk = Desk::new();
    desk.key("first").await;
    let (one, other) = (desk.token("one", Role::Developer), desk.token("other", Role::Developer));
    let body = json!({ "name": "k", "client": "shop" });
    let send =
        |token: &str| desk.with_token(Method::POST, "/v1/keys", token).header("idempotency-key", "a").json(&body);
    assert_eq!(send(&one).send().await.status, 201);
    assert_eq!(send(&other).send().await.code(), (409, "name_taken".to_owned()));
}

#[tokio::test]
async fn lists_come_in_parts_that_together_are_the_whole() {
    let desk = Desk::new();
    for name in ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf"] {
        desk.key(&format!("{name} of many")).await;
    }
    for sort in ["created", "name", "expires_at", "last_used_at"] {
        let mut names = Vec::new();
        let mut cursor = String::new();
        loop {
            let target = format!("/v1/keys?limit=3&sort={sort}{cursor}");
            let page = desk.ask(Method::GET, &target).send().await.json();
            names.extend(page["items"].as_array().unwrap().iter().map(|key| key["name"].to_string()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!((count, names.len()), (7, 7), "{sort}");
    }
    for (query, expected) in [
        ("q=bravo+many", 1),
        ("q=sho", 7),
        ("client=shop", 7),
        ("client=other", 0),
        ("unrestricted=true", 7),
        ("never_used=true", 7),
    ] {
        let page = desk.ask(Method::GET, &format!("/v1/keys?{query}")).send().await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_key_is_found_by_pasting_it_and_what_was_pasted_is_not_kept() {
    let desk = Desk::new();
    let (id, secret) = desk.key("a key").await;
    let body = json!({ "secrets": ["nothing", secret] });
    let reply = desk.ask(Method::POST, "/v1/lookup").json(&body).send().await;
    let found = reply.json()["found"].clone();
    assert_eq!(found.as_array().unwrap().len(), 1);
    assert_eq!((&found[0]["index"], &found[0]["key"]["id"]), (&json!(1), &json!(id)));
    assert!(!reply.text.contains(&secret));
    for count in [0, 101] {
        let body = json!({ "secrets": vec!["x"; count] });
        let reply = desk.ask(Method::POST, "/v1/lookup").json(&body).send().await;
        assert_eq!((reply.code().0, reply.pointers()), (422, vec!["/secrets".to_owned()]), "{count}");
    }
}

#[tokio::test]
async fn keys_come_in_by_the_thousand_and_bad_lines_are_told() {
    let desk = Desk::new();
    let lines: String = (0..1_500)
        .map(|number| {
            format!("{{\"name\":\"n{number}\",\"key\":\"imported-key-{number:08}-abcdefgh\",\"client\":\"c{}\",\"client_type\":\"partner\"}}\n", number % 3)
        })
        .collect();
    let bad = "{\"name\":\"n1\",\"key\":\"x1\",\"client\":\"c1\"}\nnot json\n\n{\"name\":\"z\",\"client\":\"c1\"}\n{\"name\":\"z\",\"key\":\"imported-key-00000001-abcdefgh\",\"client\":\"c1\"}\n{\"name\":\"z\",\"key\":\"y\",\"client\":\"nobody\"}\n";
    let send = |query: &str, text: String| {
        desk.ask(Method::POST, &format!("/v1/imports{query}")).body("application/x-ndjson", text)
    };
    let all = format!("{lines}{bad}");
    let dry = send("?dry_run=true", all.clone()).send().await.json();
    assert_eq!((&dry["imported"], &dry["clients_created"], &dry["refused"]), (&json!(1500), &json!(3), &json!(5)));
    assert_eq!(desk.ask(Method::GET, "/v1/keys").send().await.json()["items"], json!([]), "nothing came in");
    let real = send("?first_line=11", all).send().await.json();
    assert_eq!(real["imported"], dry["imported"]);
    let told: Vec<(u64, String)> = real["refused_lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["line"].as_u64().unwrap(), line["errors"][0]["code"].as_str().unwrap().to_owned()))
        .collect();
    let expected = [
        (1511, "name_taken"),
        (1512, "line_unreadable"),
        (1514, "key_or_digest"),
        (1515, "secret_taken"),
        (1516, "client_unknown"),
    ];
    assert_eq!(told, expected.map(|(line, code)| (line, code.to_owned())));
    assert!(desk.is_in_force("imported-key-00001499-abcdefgh"));
    let imports = desk.ask(Method::GET, "/v1/audit?action=import").send().await.json();
    assert_eq!(imports["items"].as_array().unwrap().len(), 1, "one record for all of it");

    let digest = KeyDigest::sha256(&Secret::borrowed(b"known-to-others-0123456789"));
    let headless = desk.ask(Method::POST, "/v1/imports").body("text/csv", "one,two\n1,2\n").send().await;
    assert_eq!(headless.code(), (422, "invalid_request".to_owned()));
    let csv = format!("name,digest,client\nold,{digest},c1\n");
    let report = desk.ask(Method::POST, "/v1/imports").body("text/csv", csv).send().await.json();
    assert_eq!(report["imported"], 1, "{report}");
    assert!(desk.is_in_force("known-to-others-0123456789"));
    assert_eq!(send("", "x".to_owned()).body("text/html", "x").send().await.status, 415);

    let exported = desk.ask(Method::GET, "/v1/export/keys").send().await.text;
    assert_eq!(exported.lines().count(), 1_501);
    assert!(!exported.contains("imported-key") && !exported.contains("digest"));
    let table = desk.ask(Method::GET, "/v1/export/keys?client=c1").header("accept", "text/csv").send().await;
    assert_eq!(table.text.lines().count(), 1 + 500 + 1);
    assert!(table.text.starts_with("id,name,"));
}

#[tokio::test]
async fn a_machine_goes_with_its_last_key_and_its_keys_go_with_it() {
    let desk = Desk::new();
    let owner = json!({ "kind": "machine", "id": "robot 1" });
    let make = |name: &str, client: &str| {
        let client = json!({ "id": client, "client_type": "partner", "owner": owner });
        desk.ask(Method::POST, "/v1/keys").json(&json!({ "name": name, "client": client }))
    };
    let (one, two) = (make("one", "m").send().await.json(), make("two", "m").send().await.json());
    let id = |answer: &Value| answer["key"]["id"].as_str().unwrap().to_owned();
    let first = desk.ask(Method::DELETE, &format!("/v1/keys/{}", id(&one))).send().await.json();
    assert_eq!(first["client_removed"], false);
    let last = desk.ask(Method::DELETE, &format!("/v1/keys/{}", id(&two))).send().await.json();
    assert_eq!(last["client_removed"], true);
    assert_eq!(desk.ask(Method::GET, "/v1/clients/m").send().await.status, 404);

    let three = make("three", "m2").send().await.json();
    let secret = three["secret"].as_str().unwrap();
    let owners = desk.ask(Method::GET, "/v1/owners").send().await.json();
    assert_eq!(owners["items"], json!([{ "kind": "machine", "id": "robot 1", "clients": 1, "keys": 1 }]));
    let removed = desk.ask(Method::DELETE, "/v1/owners/machine/robot%201").send().await;
    assert_eq!(removed.json()["keys_revoked"], 1, "{}", removed.text);
    assert!(!desk.is_in_force(secret));

    let person = json!({ "id": "p", "client_type": "partner", "owner": { "kind": "user", "id": "ann" } });
    let four =
        desk.ask(Method::POST, "/v1/keys").json(&json!({ "name": "four", "client": person })).send().await.json();
    let removed = desk.ask(Method::DELETE, "/v1/owners/user/ann").send().await.json();
    assert_eq!((&removed["keys_disabled"], &removed["clients_removed"]), (&json!(1), &json!(0)));
    let shown = desk.ask(Method::GET, &format!("/v1/keys/{}", id(&four))).send().await.json();
    assert_eq!(shown["status"], "disabled");
}

#[tokio::test]
async fn what_the_operator_asks_of_keys_is_enforced() {
    let policy = KeyPolicy {
        max_age: Some(Duration::from_secs(30 * 86_400)),
        require_expiry: true,
        require_permissions: true,
        max_keys: Some(2),
        ..KeyPolicy::default()
    };
    let desk = Desk::with(Issuing { policy, ..Issuing::default() }, None);
    let client = json!({ "id": "shop", "client_type": "partner", "tenant": "acme" });
    let make = |name: &str, extra: Value| {
        let mut body = json!({ "name": name, "client": client, "permissions": ["orders.read"] });
        for (field, value) in extra.as_object().unwrap() {
            body[field] = value.clone();
        }
        desk.ask(Method::POST, "/v1/keys").json(&body)
    };
    let late = make("a", json!({ "expires_at": "2999-01-01T00:00:00Z" })).send().await;
    assert_eq!((late.code().0, late.pointers()), (422, vec!["/expires_at".to_owned()]));
    let all = make("a", json!({ "permissions": "all" })).send().await;
    assert_eq!((all.code().0, all.pointers()), (422, vec!["/permissions".to_owned()]));
    let made = make("a", json!({})).send().await.json();
    assert!(made["key"]["expires_at"].is_string(), "the longest age is the usual end");
    assert_eq!(make("b", json!({})).send().await.status, 201);
    let full = make("c", json!({})).send().await;
    assert_eq!(full.status, 409, "{}", full.text);
    let path = format!("/v1/keys/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(desk.ask(Method::DELETE, &path).send().await.status, 200);
    assert_eq!(make("c", json!({})).send().await.status, 201, "there is room again");
}

#[tokio::test]
async fn without_a_store_everything_can_be_read_and_nothing_changed() {
    let store = Store::open(Location::Temporary).unwrap();
    let management = Management::new(store, Arc::new(KeyTable::new()), Issuing::default());
    management.load().unwrap();
    let metrics = Metrics::new(Health::default());
    let api = AdminApi::new(management.clone(), None, metrics.clone(), None);
    let desk = Desk { folder: tempfile::tempdir().unwrap(), api, management, metrics };
    assert_eq!(desk.ask(Method::GET, "/v1/keys").send().await.status, 200);
    let body = json!({ "name": "n", "client": { "id": "c", "client_type": "t" } });
    let refused = desk.ask(Method::POST, "/v1/keys").json(&body).send().await;
    assert_eq!(refused.code(), (409, "no_store".to_owned()));
}

#[tokio::test]
async fn admin_tokens_come_and_go() {
    let desk = Desk::new();
    let made =
        desk.ask(Method::POST, "/v1/admin-tokens").json(&json!({ "name": "ops", "role": "developer" })).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let (token, id) = (made["secret"].as_str().unwrap(), made["admin_token"]["id"].as_str().unwrap());
    assert!(token.starts_with("kg_admin_"));
    let me = desk.with_token(Method::GET, "/v1/whoami", token).send().await.json();
    assert_eq!(me, json!({ "actor": "token:ops", "role": "developer", "can_write": true }));
    let twice =
        desk.ask(Method::POST, "/v1/admin-tokens").json(&json!({ "name": "ops", "role": "viewer" })).send().await;
    assert_eq!(twice.code(), (409, "name_taken".to_owned()));
    let past = json!({ "name": "old", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z" });
    assert_eq!(desk.ask(Method::POST, "/v1/admin-tokens").json(&past).send().await.status, 422);
    let listed = desk.ask(Method::GET, "/v1/admin-tokens").send().await;
    assert!(!listed.text.contains(token));
    assert_eq!(desk.ask(Method::DELETE, &format!("/v1/admin-tokens/{id}")).send().await.status, 204);
    assert_eq!(desk.with_token(Method::GET, "/v1/whoami", token).send().await.status, 401, "at once");
}

#[tokio::test]
async fn no_secret_stands_where_it_could_be_read() {
    let desk = Desk::new();
    let (id, first) = desk.key("a key").await;
    let rotated = desk.ask(Method::POST, &format!("/v1/keys/{id}/rotate")).json(&json!({})).send().await.json();
    let chosen = "chosen-by-somebody-0123456789";
    let body = json!({ "name": "chosen", "client": "shop", "secret": chosen });
    let made = desk.ask(Method::POST, "/v1/keys").header("idempotency-key", "i-1").json(&body).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let token = desk.token("ops", Role::Viewer);
    let secrets = [first.as_str(), rotated["secret"].as_str().unwrap(), chosen, &token];
    let mut texts = vec![desk.metrics.render()];
    for target in ["/v1/keys", "/v1/audit", "/v1/export/keys", "/v1/export/audit", "/v1/clients", "/v1/admin-tokens"] {
        texts.push(desk.ask(Method::GET, target).send().await.text);
    }
    texts.push(desk.ask(Method::GET, &format!("/v1/keys/{id}")).send().await.text);
    for entry in std::fs::read_dir(desk.folder.path()).unwrap() {
        texts.push(String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()).into_owned());
    }
    texts.push(format!("{:?} {:?}", desk.management, desk.api));
    assert!(texts.len() > 10);
    for secret in secrets {
        assert!(texts.iter().all(|text| !text.contains(secret)), "{secret}");
        let body = &secret[9..secret.len() - 6];
        assert!(texts.iter().all(|text| !text.contains(body)), "not even most of it: {secret}");
    }
}

#[tokio::test]
async fn a_reload_is_started_and_its_problems_are_told() {
    let rejected: Reload =
        Arc::new(|| Box::pin(async { ReloadOutcome::Rejected { problem: "line 3 is wrong".into() } }));
    let desk = Desk::with(Issuing::default(), Some(rejected));
    let reply = desk.ask(Method::POST, "/v1/reload").send().await;
    assert_eq!(reply.code(), (422, "configuration_rejected".to_owned()));
    assert_eq!(reply.json()["detail"], "line 3 is wrong");
    let applied: Reload = Arc::new(|| Box::pin(async { ReloadOutcome::Applied }));
    let desk = Desk::with(Issuing::default(), Some(applied));
    assert_eq!(desk.ask(Method::POST, "/v1/reload").send().await.json(), json!({ "outcome": "applied" }));
}
