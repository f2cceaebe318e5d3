//! Who may use an endpoint: every kind of rule, each with one who may and one who may not.

use std::fmt::Write as _;

use super::support::{Gateway, Origin, Report, exchange, get, request};

const CLIENTS: &str = r#"
clients:
  - { id: api-key, client_type: apiKey, keys: [ { id: key_1, name: k1, digest: "{{digest:apiKey}}" } ] }
  - { id: a, client_type: A, groups: [admin], keys: [ { id: key_2, name: k2, digest: "{{digest:A}}" } ] }
  - { id: b, client_type: B, groups: [users, user], keys: [ { id: key_3, name: k3, digest: "{{digest:B}}" } ] }
  - { id: bar, client_type: bar, keys: [ { id: key_4, name: k4, digest: "{{digest:bar}}" } ] }
  - { id: foo, client_type: x, groups: [foo, test-crud], keys: [ { id: key_5, name: k5, digest: "{{digest:foo}}" } ] }
  - { id: w, client_type: x, permissions: ["write:orders"], keys: [ { id: key_6, name: k6, digest: "{{digest:w}}" } ] }
  - { id: r, client_type: x, permissions: ["read:users", "api.users.count.get"], keys: [ { id: key_7, name: k7, digest: "{{digest:r}}" } ] }
"#;

const CALLERS: [&str; 7] = ["apiKey", "A", "B", "bar", "foo", "w", "r"];

/// An expression, and the callers for whom it is true; `-` stands for nobody's key.
const EXPRESSIONS: &[(&str, &[&str])] = &[
    ("true", &["-", "apiKey", "A", "B", "bar", "foo", "w", "r"]),
    ("false", &[]),
    ("0", &[]),
    ("1", &["-", "apiKey", "A", "B", "bar", "foo", "w", "r"]),
    (r#"clientType == "apiKey" || clientType == "apiKey2""#, &["apiKey"]),
    (r#"clientType == "apiKey" || clientType == "apiKey2";"#, &["apiKey"]),
    (r#"clientType == "secret_key""#, &[]),
    (r#"clientType == "bar""#, &["bar"]),
    (r#"clientType=='bar'"#, &["bar"]),
    ("clientType == 'my-app'", &[]),
    ("clientType === 'A' || clientType === 'B'", &["A", "B"]),
    ("(clientType === 'A' || clientType === 'B') && (groups.admin || groups.users)", &["A", "B"]),
    ("clientType === 'A' || clientType === 'B' && groups.admin", &["A"]),
    ("(clientType === 'A' || clientType === 'B') && groups.admin", &["A"]),
    (r#"groups.foo || clientType=="bar""#, &["foo", "bar"]),
    ("groups.admin", &["A"]),
    (r#""admin" in groups"#, &["A"]),
    (r#"["admin", "user"] in groups"#, &["A", "B"]),
    (r#""admin" in groups || "user" in groups"#, &["A", "B"]),
    ("groups.admin || groups.users", &["A", "B"]),
    ("groups.admin && groups.ceo", &[]),
    ("groups.admin && isBackoffice", &[]),
    ("isBackoffice && groups.admin", &[]),
    ("!isBackoffice && groups.admin", &["A"]),
    (r#"permissions["write:orders"]"#, &["w"]),
    (r#"["write:orders","view:orders"] in permissions"#, &["w"]),
    (r#"["write:orders","view:orders"] in groups"#, &[]),
    (r#""write:orders" in permissions || "view:orders" in permissions"#, &["w"]),
    (r#"permissions["read:pipelines"]"#, &[]),
    (r#"permissions["read:users"] || permissions["update:users"]"#, &["r"]),
    (r#""update:users" in permissions"#, &[]),
    (r#""read:users" in permissions || "update:users" in permissions"#, &["r"]),
    (r#"permissions["admin:producers"] || permissions["admin:connections"]"#, &[]),
    ("!groups.foo && groups.admin", &["A"]),
    ("!(groups.foo) && groups.users", &["B"]),
    ("groups.test-crud", &["foo"]),
    (r#"groups["test-crud"]"#, &["foo"]),
    ("permissions.api.users.count.get", &["r"]),
    ("permissions.api.users", &[]),
    ("permissions.api", &[]),
    ("permissions.api.test-crud.all || permissions.api.users.count.get", &["r"]),
    ("(groups.doctor && !permissions.api.users.post) || permissions.api.users.count.get", &["r"]),
    ("groups.admin === true && permissions.api.users.post === false", &["A"]),
    ("groups.doctor === true && permissions.api.users.post === true", &[]),
    ("groups.admin == true", &["A"]),
    ("groups.foo != false", &["foo"]),
    (r#"clientType in ["A", "bar"]"#, &["A", "bar"]),
    (r#"clientType != "x" && clientType != "apiKey""#, &["A", "B", "bar"]),
    ("1 && groups.admin", &["A"]),
    ("true // everybody\n && groups.admin", &["A"]),
];

#[test]
fn every_published_expression_admits_those_for_whom_it_is_true() {
    let origin = Origin::start();
    let mut yaml = String::from("upstreams: { api: { url: \"{{origin}}\" } }\nendpoints:\n");
    for (index, (text, _)) in EXPRESSIONS.iter().enumerate() {
        let quoted = serde_json::Value::from(*text).to_string();
        for (path, public) in [("key", ""), ("open", "public: true, ")] {
            let _ = writeln!(
                yaml,
                "  - {{ name: {path}{index}, path: /{path}/{index}, upstream: api, {public}allow: {quoted} }}"
            );
        }
    }
    yaml.push_str(CLIENTS);
    let gateway = Gateway::before(&origin, &yaml);
    let mut report = Report::new();
    for (index, (text, admitted)) in EXPRESSIONS.iter().enumerate() {
        for path in ["key", "open"] {
            let target = format!("/{path}/{index}");
            for key in CALLERS {
                let expected = if admitted.contains(&key) { "200" } else { "403 rule_not_satisfied" };
                let verdict = get(gateway.address(), &target, &[("x-api-key", key)]).verdict();
                report.equal(format!("{text}  by {key} on {target}"), verdict, expected.to_string());
            }
            let is_open = path == "open" && admitted.contains(&"-");
            let expected = if is_open { "200" } else { "401 credential_missing" };
            report.equal(
                format!("{text}  by nobody on {target}"),
                get(gateway.address(), &target, &[]).verdict(),
                expected.into(),
            );
        }
    }
}

#[test]
fn an_expression_over_groups_alone_judges_nobody_as_a_member_of_none() {
    let origin = Origin::start();
    let yaml = format!(
        r#"{CLIENTS}
upstreams: {{ api: {{ url: "{{{{origin}}}}" }} }}
endpoints:
  - {{ name: not-foo, path: /not-foo, upstream: api, public: true, allow: "!groups.foo" }}
  - {{ name: not-type, path: /not-type, upstream: api, public: true, allow: "clientType != 'bar'" }}
"#
    );
    let gateway = Gateway::before(&origin, &yaml);
    let verdict = |path: &str, headers: &[(&str, &str)]| get(gateway.address(), path, headers).verdict();
    assert_eq!(verdict("/not-foo", &[]), "200");
    assert_eq!(verdict("/not-foo", &[("x-api-key", "A")]), "200");
    assert_eq!(verdict("/not-foo", &[("x-api-key", "foo")]), "403 rule_not_satisfied");
    assert_eq!(verdict("/not-type", &[]), "401 credential_missing", "naming a client type asks for a key");
    assert_eq!(verdict("/not-type", &[("x-api-key", "A")]), "200");
    assert_eq!(verdict("/not-type", &[("x-api-key", "bar")]), "403 rule_not_satisfied");
}

const SHOP: &str = r#"
upstreams: { api: { url: "{{origin}}" } }
clients:
  - id: all
    client_type: cms
    tenant: acme
    keys:
      - { id: key_all, name: all, digest: "{{digest:all}}" }
      - { id: key_all_read, name: read, permissions: read_only, digest: "{{digest:read}}" }
      - { id: key_all_cut, name: cut, permissions: [orders.read], digest: "{{digest:cut}}" }
      - { id: key_all_none, name: none, permissions: [], digest: "{{digest:none}}" }
      - { id: key_all_net, name: net, networks: [10.0.0.0/8], digest: "{{digest:net}}" }
      - { id: key_all_local, name: local, networks: [127.0.0.0/8], digest: "{{digest:local}}" }
      - { id: key_pub, name: pub, type: publishable, digest: "{{digest:pub}}" }
      - { id: key_site, name: site, type: publishable, origins: ["https://shop.example"], digest: "{{digest:site}}" }
  - id: writer
    client_type: partner
    permissions: [orders.write, "posts:*"]
    keys:
      - { id: key_writer, name: writer, digest: "{{digest:writer}}" }
      - { id: key_writer_more, name: more, permissions: ["*.*"], digest: "{{digest:more}}" }
  - id: reader
    client_type: backoffice
    groups: [admin]
    permissions: ["*.read", "*:list"]
    keys: [ { id: key_reader, name: reader, digest: "{{digest:reader}}" } ]
  - id: wide
    client_type: cms
    permissions: ["*.*"]
    keys: [ { id: key_wide, name: wide, digest: "{{digest:wide}}" } ]
endpoints:
  - name: orders
    path: /orders
    upstream: api
    client_types: [cms, partner]
    permissions: { GET: [orders.read], POST: [orders.write] }
    routes:
      - { match: "DELETE /orders/:id", permissions: [orders.delete] }
      - { match: "POST /orders/search", permissions: [orders.read] }
      - { match: "ALL /orders/admin", client_types: [backoffice], permissions: [] }
  - { name: posts, path: /posts, upstream: api, permissions: [posts:create] }
  - { name: lists, path: /lists, upstream: api, permissions: { GET: [posts:list] } }
  - { name: many, path: /many, upstream: api, permissions: [orders.read, tags.read] }
  - name: any
    path: /any
    upstream: api
    api_key: required
    routes: [ { match: "GET /any/public", public: true } ]
  - { name: gets, path: /gets, upstream: api, api_key: required, methods: [GET, POST] }
  - { name: track, path: /track, upstream: api, api_key: required, key_types: [publishable] }
  - { name: both, path: /both, upstream: api, api_key: required, key_types: [publishable, secret] }
  - { name: tenant-path, path: "/customers/:customer", upstream: api, api_key: required, tenant: { path: customer } }
  - { name: tenant-header, path: /th, upstream: api, api_key: required, tenant: { header: X-Tenant }, request_trailers: true }
  - { name: tenant-host, path: /tl, upstream: api, api_key: required, tenant: { host_label: true } }
  - { name: far, path: /far, upstream: api, api_key: required, networks: [10.0.0.0/8] }
  - { name: near, path: /near, upstream: api, api_key: required, networks: [127.0.0.1/32] }
  - { name: near-open, path: /far-open, upstream: api, public: true, networks: [10.0.0.0/8] }
  - { name: secure, path: /secure, upstream: api, api_key: required, https_only: true }
  - { name: user, path: /user, upstream: api, api_key: required, require_user: true }
  - { name: stated, path: /stated, upstream: api, permissions: [orders.read], require_permissions: true }
  - { name: open, path: /open, upstream: api, public: true }
  - { name: deep, path: /a, upstream: api, public: true }
  - { name: deeper, path: /a/b, upstream: api, api_key: required }
  - { name: deepest, path: "/a/b/:id", upstream: api, client_types: [partner] }
  - { name: literal, path: /a/b/c, upstream: api, client_types: [backoffice] }
  - { name: hosted, path: /h, host: api.example.com, upstream: api, api_key: required }
  - { name: anyhost, path: /h, upstream: api, public: true }
"#;

/// Method, target, key (or `-`), verdict. The key of a row may be followed by fields: `all X-Tenant: acme`.
fn check(rows: &[(&str, &str, &str, &str)]) {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, SHOP);
    let mut report = Report::new();
    for (method, target, who, expected) in rows {
        let (key, field) = who.split_once(' ').unwrap_or((who, ""));
        let mut headers = Vec::new();
        if key != "-" {
            headers.push(("x-api-key", key));
        }
        headers.extend(field.split_once(": "));
        let verdict = request(gateway.address(), method, target, &headers, b"").verdict();
        report.equal(format!("{method} {target} by {who}"), verdict, expected.to_string());
        let forwarded = usize::from(*expected == "200");
        report.equal(format!("{method} {target} by {who}: requests upstream"), origin.take().len(), forwarded);
    }
}

const MISSING: &str = "401 credential_missing";
const TYPE: &str = "403 client_type_not_allowed";
const PERMISSION: &str = "403 permission_missing";
const READ_ONLY: &str = "403 read_only_key";
const METHOD: &str = "405 method_not_allowed";
const NOT_FOUND: &str = "404 endpoint_not_found";
const TENANT: &str = "403 tenant_mismatch";
const NETWORK: &str = "403 network_not_allowed";
const KEY_TYPE: &str = "403 key_type_not_allowed";

#[test]
fn client_types_and_permissions_of_an_endpoint() {
    check(&[
        ("GET", "/orders", "-", MISSING),
        ("GET", "/orders", "all", "200"),
        ("GET", "/orders", "writer", "200"),
        ("GET", "/orders", "reader", TYPE),
        ("GET", "/orders", "wide", "200"),
        ("GET", "/orders", "cut", "200"),
        ("GET", "/orders", "none", PERMISSION),
        ("POST", "/orders", "all", "200"),
        ("POST", "/orders", "writer", "200"),
        ("POST", "/orders", "cut", PERMISSION),
        ("POST", "/orders", "more", "200"),
        ("HEAD", "/orders", "cut", "200"),
        ("HEAD", "/orders", "none", "403"),
        ("HEAD", "/orders", "-", "401"),
        ("PUT", "/orders", "all", METHOD),
        ("PATCH", "/orders", "-", METHOD),
        ("DELETE", "/orders", "all", METHOD),
        ("OPTIONS", "/orders", "all", METHOD),
        ("POST", "/posts", "writer", "200"),
        ("POST", "/posts", "more", PERMISSION),
        ("POST", "/posts", "wide", PERMISSION),
        ("POST", "/posts", "all", "200"),
        ("GET", "/lists", "reader", "200"),
        ("GET", "/lists", "writer", "200"),
        ("GET", "/many", "wide", "200"),
        ("GET", "/many", "cut", PERMISSION),
        ("GET", "/many", "writer", PERMISSION),
        ("GET", "/stated", "cut", "200"),
        ("GET", "/stated", "all", PERMISSION),
    ]);
}

#[test]
fn a_read_only_key_looks_and_does_not_touch() {
    check(&[
        ("GET", "/any", "read", "200"),
        ("HEAD", "/any", "read", "200"),
        ("OPTIONS", "/any", "read", "200"),
        ("POST", "/any", "read", READ_ONLY),
        ("PUT", "/any", "read", READ_ONLY),
        ("PATCH", "/any", "read", READ_ONLY),
        ("DELETE", "/any", "read", READ_ONLY),
        ("DELETE", "/any", "all", "200"),
        ("GET", "/orders", "read", "200"),
        ("POST", "/orders", "read", READ_ONLY),
        ("POST", "/orders/search", "read", READ_ONLY),
        ("POST", "/any", "reader", READ_ONLY),
    ]);
}

#[test]
fn a_route_covers_one_verb_and_one_path_and_inherits_the_rest() {
    check(&[
        ("DELETE", "/orders/1", "all", "200"),
        ("DELETE", "/orders/1/", "all", "200"),
        ("DELETE", "/orders/1", "writer", PERMISSION),
        ("DELETE", "/orders/1", "reader", READ_ONLY),
        ("DELETE", "/orders/1", "-", MISSING),
        ("DELETE", "/orders/1/lines", "all", METHOD),
        ("GET", "/orders/1", "cut", "200"),
        ("GET", "/any/public", "-", "200"),
        ("GET", "/any/public/", "-", "200"),
        ("HEAD", "/any/public", "-", "200"),
        ("GET", "/any/public", "nobody", "401 credential_rejected"),
        ("GET", "/any/public/x", "-", MISSING),
        ("GET", "/any/publicx", "-", MISSING),
        ("POST", "/any/public", "-", MISSING),
        ("POST", "/any/public", "all", "200"),
        ("POST", "/orders/search", "cut", "200"),
        ("POST", "/orders/search/x", "cut", PERMISSION),
        ("GET", "/orders/admin", "reader", "200"),
        ("PATCH", "/orders/admin", "all", TYPE),
        ("GET", "/orders/admin/x", "reader", TYPE),
        ("GET", "/orders/admin?x=/any/public", "all", TYPE),
        ("GET", "/orders/admin", "all", TYPE),
    ]);
}

#[test]
fn a_prefix_ends_at_a_segment_and_the_most_specific_wins_wherever_it_stands() {
    check(&[
        ("GET", "/a", "-", "200"),
        ("GET", "/a/", "-", "200"),
        ("GET", "/a/x", "-", "200"),
        ("GET", "/ab", "-", NOT_FOUND),
        ("GET", "/a-b", "-", NOT_FOUND),
        ("GET", "/", "-", NOT_FOUND),
        ("GET", "/nowhere", "all", NOT_FOUND),
        ("GET", "/nowhere", "nobody", NOT_FOUND),
        ("GET", "/a/b", "-", MISSING),
        ("GET", "/a/b/", "-", MISSING),
        ("GET", "/a/bc", "-", "200"),
        ("GET", "/a/b", "all", "200"),
        ("GET", "/a/b/1", "all", TYPE),
        ("GET", "/a/b/1", "writer", "200"),
        ("GET", "/a/b/1/x", "writer", "200"),
        ("GET", "/a/b/c", "writer", TYPE),
        ("GET", "/a/b/c", "reader", "200"),
        ("GET", "/a/b/c/d", "reader", "200"),
        ("GET", "/a/b?/a", "-", MISSING),
        ("GET", "//a//b", "-", MISSING),
        ("GET", "/h", "- host: api.example.com", MISSING),
        ("GET", "/h", "- host: API.example.COM:80", MISSING),
        ("GET", "/h", "- host: other.example.com", "200"),
        ("GET", "/h", "all host: api.example.com", "200"),
    ]);
}

#[test]
fn methods_that_no_rule_names_are_refused() {
    check(&[
        ("GET", "/gets", "all", "200"),
        ("HEAD", "/gets", "all", "200"),
        ("POST", "/gets", "all", "200"),
        ("DELETE", "/gets", "all", METHOD),
        ("BREW", "/gets", "all", METHOD),
        ("TRACE", "/any", "all", METHOD),
        ("TRACE", "/open", "-", METHOD),
        ("get", "/any", "all", METHOD),
    ]);
}

#[test]
fn key_types_origins_and_networks() {
    check(&[
        ("GET", "/any", "pub", KEY_TYPE),
        ("GET", "/orders", "pub", KEY_TYPE),
        ("GET", "/track", "pub", "200"),
        ("GET", "/track", "all", KEY_TYPE),
        ("GET", "/track", "-", MISSING),
        ("GET", "/both", "all", "200"),
        ("GET", "/both", "pub", "200"),
        ("GET", "/both", "site Origin: https://shop.example", "200"),
        ("GET", "/both", "site Origin: https://evil.example", "403 origin_not_allowed"),
        ("GET", "/both", "site Origin: https://shop.example.evil", "403 origin_not_allowed"),
        ("GET", "/both", "site Origin: http://shop.example", "403 origin_not_allowed"),
        ("GET", "/both", "site Origin: null", "403 origin_not_allowed"),
        ("GET", "/both", "site", "403 origin_not_allowed"),
        ("GET", "/far", "all", NETWORK),
        ("GET", "/near", "all", "200"),
        ("GET", "/far-open", "-", NETWORK),
        ("GET", "/any", "net", NETWORK),
        ("GET", "/any", "local", "200"),
        ("GET", "/far", "all X-Forwarded-For: 10.0.0.1", NETWORK),
        ("GET", "/far", "all Forwarded: for=10.0.0.1", NETWORK),
        ("GET", "/far", "all X-Real-Ip: 10.0.0.1", NETWORK),
        ("GET", "/any", "net X-Forwarded-For: 10.0.0.1", NETWORK),
    ]);
}

#[test]
fn a_tenant_is_the_one_the_request_is_about() {
    check(&[
        ("GET", "/customers/acme", "all", "200"),
        ("GET", "/customers/acme/orders", "all", "200"),
        ("GET", "/customers/other", "all", TENANT),
        ("GET", "/customers/Acme", "all", TENANT),
        ("GET", "/customers/acme", "writer", TENANT),
        ("GET", "/customers/acme", "-", MISSING),
        ("GET", "/th", "all X-Tenant: acme", "200"),
        ("GET", "/th", "all X-Tenant: other", TENANT),
        ("GET", "/th", "all X-Tenant: ", TENANT),
        ("GET", "/th", "all", TENANT),
        ("GET", "/tl", "all host: acme.api.example.com", "200"),
        ("GET", "/tl", "all host: other.api.example.com", TENANT),
        ("GET", "/tl", "all host: xacme.api.example.com", TENANT),
    ]);
}

#[test]
fn plain_http_and_missing_users_are_refused_where_they_are_not_enough() {
    check(&[
        ("GET", "/secure", "all", "403 https_required"),
        ("GET", "/secure", "all X-Forwarded-Proto: https", "403 https_required"),
        ("GET", "/user", "all", "401 user_required"),
        ("GET", "/user", "all miauserid: root", "401 user_required"),
        ("GET", "/any", "all", "200"),
    ]);
}

#[test]
fn a_tenant_header_that_stands_twice_is_not_believed() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, SHOP);
    for second in ["acme", "other"] {
        let fields = [("x-api-key", "all"), ("x-tenant", "acme"), ("x-tenant", second)];
        let verdict = get(gateway.address(), "/th", &fields).verdict();
        assert!(second == "acme" || verdict.starts_with('4'), "acme and {second}: {verdict}");
    }
    assert!(origin.take().iter().all(|seen| seen.values("x-tenant").all(|value| value == "acme")));
}

/// A rule that judges a header is worth nothing if the upstream reads another one in its place.
#[test]
fn the_tenant_header_that_was_judged_is_the_one_the_upstream_reads() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, SHOP);
    for (name, value) in [("X_Tenant", "other"), ("x.tenant", "other"), ("connection", "x-tenant, X_Tenant")] {
        let fields = [("x-api-key", "all"), ("x-tenant", "acme"), ("x_tenant", "other"), (name, value)];
        assert_eq!(get(gateway.address(), "/th", &fields).verdict(), "200", "{name}");
        let seen = origin.take_one();
        assert_eq!(seen.header("x-tenant"), Some("acme"), "{name}: {}", seen.head());
        assert!(!seen.head().contains("other"), "{name}: {}", seen.head());
    }
    let chunked = "POST /th HTTP/1.1\r\nhost: a\r\nx-api-key: all\r\nx-tenant: acme\r\n\
        transfer-encoding: chunked\r\n\r\n0\r\nx-tenant: other\r\nx_tenant: other\r\nx-sum: 1\r\n\r\n";
    assert_eq!(exchange(gateway.address(), chunked).verdict(), "200");
    let seen = origin.take_one();
    assert_eq!(seen.trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn the_answer_to_a_known_client_names_what_is_missing() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, SHOP);
    let mut report = Report::new();
    for (method, target, key, required) in [
        ("POST", "/orders", "cut", "orders.write"),
        ("GET", "/orders", "reader", "cms"),
        ("GET", "/track", "all", "publishable"),
        ("POST", "/posts", "wide", "posts:create"),
    ] {
        let json = request(gateway.address(), method, target, &[("x-api-key", key)], b"").json();
        report.holds(format!("{method} {target} by {key}"), &json, json["required"].to_string().contains(required));
    }
    let stranger = get(gateway.address(), "/orders", &[]).json();
    report.equal("nobody is told what is missing", stranger.get("required"), None);
}

#[test]
fn a_backoffice_listener_has_a_rule_of_its_own() {
    let origin = Origin::start();
    let gateway = Gateway::before(
        &origin,
        r#"
listen:
  - { address: 127.0.0.1:0, name: public }
  - { address: 127.0.0.1:0, name: office, backoffice: true }
upstreams: { api: { url: "{{origin}}" } }
clients:
  - { id: a, client_type: A, groups: [admin], keys: [ { id: key_a, name: a, digest: "{{digest:A}}" } ] }
  - { id: b, client_type: B, keys: [ { id: key_b, name: b, digest: "{{digest:B}}" } ] }
endpoints:
  - { name: admins, path: /admins, upstream: api, allow: "groups.admin && isBackoffice" }
  - { name: two, path: /two, upstream: api, allow: "groups.admin", allow_backoffice: "clientType == 'B'" }
  - { name: office-only, path: /office, upstream: api, public: true, listeners: [office] }
"#,
    );
    let (public, office) = (gateway.addresses()[0], gateway.addresses()[1]);
    let mut report = Report::new();
    for (path, key, on_public, in_office) in [
        ("/admins", "A", "403 rule_not_satisfied", "200"),
        ("/admins", "B", "403 rule_not_satisfied", "403 rule_not_satisfied"),
        ("/two", "A", "200", "403 rule_not_satisfied"),
        ("/two", "B", "403 rule_not_satisfied", "200"),
        ("/office", "A", "404 endpoint_not_found", "200"),
    ] {
        report.equal(format!("{path} by {key}"), get(public, path, &[("x-api-key", key)]).verdict(), on_public.into());
        report.equal(
            format!("{path} by {key} in the office"),
            get(office, path, &[("x-api-key", key)]).verdict(),
            in_office.into(),
        );
        let forged = get(public, path, &[("x-api-key", key), ("isbackoffice", "1")]).verdict();
        report.equal(format!("{path} by {key} with a forged header"), forged, on_public.into());
    }
    origin.take();
    get(office, "/office", &[]);
    report.equal("in the office", origin.take_one().header("isbackoffice"), Some("1"));
    get(public, "/two", &[("x-api-key", "A")]);
    report.equal("outside", origin.take_one().header("isbackoffice"), None);
}

#[test]
fn a_gateway_that_requires_permissions_refuses_keys_that_state_none() {
    let origin = Origin::start();
    let gateway = Gateway::before(
        &origin,
        r#"
require_permissions: true
upstreams: { api: { url: "{{origin}}" } }
clients:
  - { id: a, client_type: A, keys: [ { id: key_a, name: a, digest: "{{digest:A}}" } ] }
  - { id: c, client_type: B, permissions: [o.read], keys: [ { id: key_c, name: c, digest: "{{digest:C}}" } ] }
endpoints: [ { name: o, path: /, upstream: api, permissions: [o.read] } ]
"#,
    );
    assert_eq!(get(gateway.address(), "/", &[("x-api-key", "A")]).verdict(), PERMISSION);
    assert_eq!(get(gateway.address(), "/", &[("x-api-key", "C")]).verdict(), "200");
}
