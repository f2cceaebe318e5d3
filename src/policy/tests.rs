#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use super::*;
use crate::client::{ClientId, Group, Tenant};

mod properties;

/// Nothing is stated: good for any secret key. `config` never builds it like this.
fn nothing_stated() -> Policy {
    Policy {
        public: false,
        client_types: None,
        permissions: PermissionRule::None,
        key_types: Box::new([]),
        tenant: None,
        networks: Box::new([]),
        https_only: false,
        require_user: false,
        allow: None,
        allow_backoffice: None,
        require_permissions: false,
    }
}

fn public() -> Policy {
    Policy { public: true, ..nothing_stated() }
}

fn allow(text: &str) -> Option<Expression> {
    Some(Expression::parse(text).unwrap())
}

fn permissions(texts: &[&str]) -> Box<[Permission]> {
    texts.iter().map(|text| Permission::parse(text).unwrap()).collect()
}

fn client_types(texts: &[&str]) -> Box<[ClientType]> {
    texts.iter().map(|text| ClientType::parse(text).unwrap()).collect()
}

fn by_method(entries: &[(Method, &[&str])]) -> PermissionRule {
    PermissionRule::ByMethod(entries.iter().map(|(method, required)| (method.clone(), permissions(required))).collect())
}

fn granted(texts: &[&str]) -> Grants {
    Grants::listed(permissions(texts).into_vec())
}

fn missing(texts: &[&str]) -> Result<(), Denial> {
    Err(Denial::PermissionMissing { required: permissions(texts) })
}

/// One request, owned.
#[derive(Debug, Clone)]
struct Request {
    method: Method,
    client: Option<Client>,
    key_grants: Grants,
    key_type: KeyType,
    key_networks: Vec<IpNet>,
    key_origins: Vec<Box<str>>,
    user: Option<User>,
    is_backoffice: bool,
    client_address: IpAddr,
    is_secure: bool,
    origin: Option<&'static str>,
    tenant: Option<&'static str>,
}

impl Request {
    fn anonymous() -> Self {
        Self {
            method: Method::GET,
            client: None,
            key_grants: Grants::Unrestricted,
            key_type: KeyType::Secret,
            key_networks: Vec::new(),
            key_origins: Vec::new(),
            user: None,
            is_backoffice: false,
            client_address: "192.0.2.1".parse().unwrap(),
            is_secure: false,
            origin: None,
            tenant: None,
        }
    }

    /// With a secret key of a client of this type.
    fn of(client_type: &str) -> Self {
        let client = Client {
            id: ClientId::parse("client").unwrap(),
            name: "client".into(),
            client_type: ClientType::parse(client_type).unwrap(),
            tenant: None,
            owner: None,
            active: true,
            groups: Box::new([]),
            grants: Grants::Unrestricted,
            plan: None,
            metadata: BTreeMap::new(),
        };
        Self { client: Some(client), ..Self::anonymous() }
    }

    fn publishable(self) -> Self {
        Self { key_type: KeyType::Publishable, ..self }
    }

    fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// What the client was granted.
    fn granted(self, grants: Grants) -> Self {
        Self { client: self.client.map(|client| Client { grants, ..client }), ..self }
    }

    /// What the key may do at most.
    fn cut(self, key_grants: Grants) -> Self {
        Self { key_grants, ..self }
    }

    /// Groups of the client.
    fn groups(self, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| Group::parse(group).unwrap()).collect();
        Self { client: self.client.map(|client| Client { groups, ..client }), ..self }
    }

    /// An end user with these groups.
    fn user(self, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|group| Group::parse(group).unwrap()).collect();
        Self { user: Some(User { id: "user".into(), groups, properties: None }), ..self }
    }

    /// The tenants of the client and of the request.
    fn tenants(self, of_client: Option<&str>, of_request: Option<&'static str>) -> Self {
        let tenant = of_client.map(|tenant| Tenant::parse(tenant).unwrap());
        Self { client: self.client.map(|client| Client { tenant, ..client }), tenant: of_request, ..self }
    }

    fn from(self, address: &str) -> Self {
        Self { client_address: address.parse().unwrap(), ..self }
    }

    fn networks(self, networks: &[&str]) -> Self {
        Self { key_networks: networks.iter().map(|network| network.parse().unwrap()).collect(), ..self }
    }

    fn origins(self, allowed: &[&str], sent: Option<&'static str>) -> Self {
        Self { key_origins: allowed.iter().map(|origin| Box::from(*origin)).collect(), origin: sent, ..self }
    }

    fn backoffice(self) -> Self {
        Self { is_backoffice: true, ..self }
    }

    fn secure(self) -> Self {
        Self { is_secure: true, ..self }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            method: &self.method,
            caller: self.client.as_ref().map(|client| Caller {
                client,
                key_grants: &self.key_grants,
                key_type: self.key_type,
                key_networks: &self.key_networks,
                key_origins: &self.key_origins,
            }),
            user: self.user.as_ref(),
            is_backoffice: self.is_backoffice,
            client_address: self.client_address,
            is_secure: self.is_secure,
            origin: self.origin,
            tenant: self.tenant,
        }
    }
}

/// Asks a policy about each request.
fn check(policy: &Policy, rows: &[(Request, Result<(), Denial>)]) {
    for (request, expected) in rows {
        assert_eq!(&policy.evaluate(&request.facts()), expected, "{policy:#?}\n{request:#?}");
    }
}

const NOBODY: Result<(), Denial> = Err(Denial::CredentialMissing);
const FALSE: Result<(), Denial> = Err(Denial::ExpressionFalse);

#[test]
fn an_endpoint_that_is_not_public_needs_a_key_and_a_user_is_none() {
    check(
        &Policy { allow: allow("true"), ..nothing_stated() },
        &[
            (Request::anonymous(), NOBODY),
            (Request::anonymous().user(&["admin"]), NOBODY),
            (Request::of("a"), Ok(())),
            (Request::of("b").user(&[]), Ok(())),
        ],
    );
    check(
        &public(),
        &[
            (Request::anonymous(), Ok(())),
            (Request::anonymous().user(&[]), Ok(())),
            (Request::of("a"), Ok(())),
            (Request::of("a").publishable(), Ok(())),
        ],
    );
}

#[test]
fn a_user_is_asked_for_besides_the_key_or_alone_if_public() {
    check(
        &Policy { require_user: true, ..nothing_stated() },
        &[
            (Request::anonymous(), NOBODY),
            (Request::anonymous().user(&[]), NOBODY),
            (Request::of("a"), Err(Denial::UserRequired)),
            (Request::of("a").user(&[]), Ok(())),
        ],
    );
    check(
        &Policy { require_user: true, ..public() },
        &[
            (Request::anonymous(), Err(Denial::UserRequired)),
            (Request::of("a"), Err(Denial::UserRequired)),
            (Request::anonymous().user(&[]), Ok(())),
            (Request::of("a").user(&[]), Ok(())),
        ],
    );
}

#[test]
fn https_is_asked_for_before_anything_else() {
    check(
        &Policy { https_only: true, ..nothing_stated() },
        &[
            (Request::anonymous(), Err(Denial::HttpsRequired)),
            (Request::of("a"), Err(Denial::HttpsRequired)),
            (Request::anonymous().secure(), NOBODY),
            (Request::of("a").secure(), Ok(())),
        ],
    );
}

#[test]
fn a_publishable_key_is_good_only_where_it_is_named_or_nothing_is_asked() {
    use KeyType::{Publishable, Secret};
    let refused = |required: &[KeyType]| Err(Denial::KeyTypeNotAllowed { required: required.into() });
    let policy = |public, key_types: &[KeyType]| Policy { public, key_types: key_types.into(), ..nothing_stated() };
    for (policy, with_secret, with_publishable) in [
        (policy(false, &[]), Ok(()), refused(&[Secret])),
        (policy(false, &[Secret]), Ok(()), refused(&[Secret])),
        (policy(false, &[Publishable]), refused(&[Publishable]), Ok(())),
        (policy(false, &[Publishable, Secret]), Ok(()), Ok(())),
        (policy(true, &[]), Ok(()), Ok(())),
        (policy(true, &[Secret]), Ok(()), refused(&[Secret])),
    ] {
        check(&policy, &[(Request::of("a"), with_secret), (Request::of("a").publishable(), with_publishable)]);
    }
}

#[test]
fn networks_of_the_endpoint_and_of_the_key_must_both_hold_the_address() {
    const OUTSIDE: Result<(), Denial> = Err(Denial::NetworkNotAllowed);
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    check(
        &Policy { networks: networks(&["10.0.0.0/8", "2001:db8::/32"]), ..public() },
        &[
            (Request::anonymous().from("10.1.2.3"), Ok(())),
            (Request::anonymous().from("::ffff:10.1.2.3"), Ok(())),
            (Request::anonymous().from("2001:db8::1"), Ok(())),
            (Request::anonymous().from("11.0.0.1"), OUTSIDE),
            (Request::anonymous().from("::ffff:11.0.0.1"), OUTSIDE),
            (Request::anonymous().from("2001:db9::1"), OUTSIDE),
            (Request::of("a").from("10.1.2.3").networks(&["10.1.0.0/16"]), Ok(())),
            (Request::of("a").from("10.2.2.3").networks(&["10.1.0.0/16"]), OUTSIDE),
            (Request::of("a").from("192.0.2.1").networks(&["192.0.2.0/24"]), OUTSIDE),
        ],
    );
    check(
        &public(),
        &[
            (Request::of("a").from("192.0.2.1").networks(&["192.0.2.1/32"]), Ok(())),
            (Request::of("a").from("192.0.2.2").networks(&["192.0.2.1/32"]), OUTSIDE),
            (Request::of("a").from("192.0.2.1").networks(&["::/0"]), OUTSIDE),
        ],
    );
    // A stranger is asked for a key first, and learns nothing about networks.
    let closed = Policy { networks: networks(&["10.0.0.0/8"]), ..nothing_stated() };
    check(&closed, &[(Request::anonymous().from("11.0.0.1"), NOBODY), (Request::of("a").from("11.0.0.1"), OUTSIDE)]);
}

#[test]
fn a_key_with_origins_is_good_from_exactly_these() {
    const ELSEWHERE: Result<(), Denial> = Err(Denial::OriginNotAllowed);
    let from = |allowed: &[&str], sent| Request::of("a").publishable().origins(allowed, sent);
    let shop = &["https://shop.example", "http://localhost:3000"];
    check(
        &public(),
        &[
            (from(&[], None), Ok(())),
            (from(&[], Some("https://evil.example")), Ok(())),
            (from(shop, Some("https://shop.example")), Ok(())),
            (from(shop, Some("HTTPS://Shop.Example")), Ok(())),
            (from(shop, Some("http://localhost:3000")), Ok(())),
            (from(shop, None), ELSEWHERE),
            (from(shop, Some("")), ELSEWHERE),
            (from(shop, Some("null")), ELSEWHERE),
            (from(&["null"], Some("null")), ELSEWHERE),
            (from(&["NULL"], Some("Null")), ELSEWHERE),
            (from(shop, Some("http://shop.example")), ELSEWHERE),
            (from(shop, Some("https://shop.example:8443")), ELSEWHERE),
            (from(shop, Some("https://shop.example/")), ELSEWHERE),
            (from(shop, Some("https://shop.example.evil.example")), ELSEWHERE),
            (from(shop, Some("https://evil-shop.example")), ELSEWHERE),
            (from(shop, Some("http://localhost:30001")), ELSEWHERE),
            (Request::of("a").origins(shop, None), ELSEWHERE),
        ],
    );
}

#[test]
fn a_read_only_caller_reads_also_where_no_permission_is_asked_for() {
    let endings = [
        (Method::GET, Ok(())),
        (Method::HEAD, Ok(())),
        (Method::OPTIONS, Ok(())),
        (Method::POST, Err(Denial::ReadOnly)),
        (Method::PUT, Err(Denial::ReadOnly)),
        (Method::PATCH, Err(Denial::ReadOnly)),
        (Method::DELETE, Err(Denial::ReadOnly)),
        (Method::from_bytes(b"QUERY").unwrap(), Err(Denial::ReadOnly)),
        (Method::from_bytes(b"get").unwrap(), Err(Denial::ReadOnly)),
    ];
    for (method, expected) in endings {
        let request = || Request::of("a").method(method.clone());
        check(
            &public(),
            &[
                (request().granted(Grants::ReadOnly), expected.clone()),
                (request().cut(Grants::ReadOnly), expected.clone()),
                (request().cut(granted(&["*:read"])), expected.clone()),
                (request().cut(granted(&["orders.write"])), Ok(())),
                (request(), Ok(())),
            ],
        );
    }
    let writes = Policy { permissions: PermissionRule::All(permissions(&["orders.write"])), ..nothing_stated() };
    check(&writes, &[(Request::of("a").cut(Grants::ReadOnly).method(Method::POST), Err(Denial::ReadOnly))]);
}

#[test]
fn the_tenant_of_the_key_must_be_the_one_the_request_is_about() {
    const OTHER: Result<(), Denial> = Err(Denial::TenantMismatch);
    let of = |client, request| Request::of("a").tenants(client, request);
    let bound = |public| Policy { tenant: Some(TenantBinding::HostLabel), public, ..nothing_stated() };
    for policy in [bound(false), bound(true)] {
        check(
            &policy,
            &[
                (of(Some("acme"), Some("acme")), Ok(())),
                (of(Some("acme"), Some("Acme")), OTHER),
                (of(Some("acme"), Some("acme2")), OTHER),
                (of(Some("acme"), Some("")), OTHER),
                (of(Some("acme"), None), OTHER),
                (of(None, Some("acme")), OTHER),
                (of(None, None), OTHER),
                (Request::anonymous(), NOBODY),
                (Request::anonymous().user(&[]), NOBODY),
            ],
        );
    }
    check(&nothing_stated(), &[(of(Some("acme"), Some("other")), Ok(()))]);
}

#[test]
fn client_types_admit_any_of_the_named() {
    let refused = Err(Denial::ClientTypeNotAllowed { required: client_types(&["cms", "backoffice"]) });
    let named =
        |public| Policy { client_types: Some(client_types(&["cms", "backoffice"])), public, ..nothing_stated() };
    for policy in [named(false), named(true)] {
        check(
            &policy,
            &[
                (Request::of("cms"), Ok(())),
                (Request::of("backoffice"), Ok(())),
                (Request::of("CMS"), refused.clone()),
                (Request::of("partner"), refused.clone()),
                (Request::anonymous(), NOBODY),
                (Request::anonymous().user(&["cms"]), NOBODY),
            ],
        );
    }
    let nobody = Policy { client_types: Some(Box::new([])), ..nothing_stated() };
    let refused = Err(Denial::ClientTypeNotAllowed { required: Box::new([]) });
    check(&nobody, &[(Request::of("cms"), refused)]);
}

#[test]
fn permissions_are_all_asked_for_and_every_missing_one_is_named() {
    let rule = || PermissionRule::All(permissions(&["orders.read", "orders.write", "invoices.read"]));
    check(
        &Policy { permissions: rule(), ..nothing_stated() },
        &[
            (Request::anonymous(), NOBODY),
            (Request::of("a"), Ok(())),
            (Request::of("a").granted(granted(&["orders.write", "invoices.read"])), Ok(())),
            (Request::of("a").granted(granted(&["orders.read"])), missing(&["orders.write", "invoices.read"])),
            (Request::of("a").granted(granted(&["*.*"])), Ok(())),
            (Request::of("a").granted(granted(&["*:*"])), missing(&["orders.read", "orders.write", "invoices.read"])),
            (Request::of("a").granted(granted(&[])), missing(&["orders.read", "orders.write", "invoices.read"])),
            (Request::of("a").cut(granted(&["orders.write"])), missing(&["invoices.read"])),
            (
                Request::of("a").granted(granted(&["orders.write"])).cut(granted(&["invoices.read"])),
                missing(&["orders.read", "orders.write", "invoices.read"]),
            ),
            (Request::of("a").cut(Grants::ReadOnly), missing(&["orders.write"])),
        ],
    );
    let any_key = |rule| Policy { permissions: rule, public: true, ..nothing_stated() };
    check(&any_key(rule()), &[(Request::anonymous(), NOBODY), (Request::anonymous().user(&[]), NOBODY)]);
    check(&any_key(PermissionRule::All(Box::new([]))), &[(Request::anonymous(), Ok(()))]);
}

#[test]
fn permissions_may_differ_by_method_and_get_governs_head() {
    let rule = by_method(&[
        (Method::GET, &["orders.read"]),
        (Method::POST, &["orders.write", "orders.create"]),
        (Method::PUT, &[]),
    ]);
    let policy = Policy { permissions: rule, ..nothing_stated() };
    let reader = || Request::of("a").granted(granted(&["orders.read"]));
    check(
        &policy,
        &[
            (reader(), Ok(())),
            (reader().method(Method::HEAD), Ok(())),
            (reader().method(Method::POST), missing(&["orders.write", "orders.create"])),
            (reader().method(Method::PUT), Ok(())),
            (Request::of("a").granted(granted(&[])).method(Method::HEAD), missing(&["orders.read"])),
            // Not listed: nobody, whatever they hold.
            (Request::of("a").method(Method::DELETE), missing(&[])),
            (Request::of("a").method(Method::OPTIONS), missing(&[])),
        ],
    );
    assert_eq!(policy.required_permissions(&Method::HEAD), Some(&*permissions(&["orders.read"])));
    assert_eq!(policy.required_permissions(&Method::PUT), Some(&[][..]));
    assert_eq!(policy.required_permissions(&Method::DELETE), None);
    assert_eq!(nothing_stated().required_permissions(&Method::DELETE), Some(&[][..]));

    let without_get = Policy { permissions: by_method(&[(Method::HEAD, &[])]), ..public() };
    check(&without_get, &[(Request::of("a").method(Method::HEAD), missing(&[]))]);

    // A public endpoint may ask for rights with some methods only.
    let open_to_read =
        Policy { permissions: by_method(&[(Method::GET, &[]), (Method::POST, &["orders.write"])]), ..public() };
    check(
        &open_to_read,
        &[
            (Request::anonymous(), Ok(())),
            (Request::anonymous().method(Method::HEAD), Ok(())),
            (Request::anonymous().method(Method::POST), NOBODY),
            (Request::anonymous().method(Method::DELETE), NOBODY),
            (Request::of("a").method(Method::POST), Ok(())),
        ],
    );
}

#[test]
fn unrestricted_callers_pass_permission_rules_unless_an_explicit_choice_is_asked_for() {
    let policy = |require_permissions| Policy {
        permissions: PermissionRule::All(permissions(&["orders.read"])),
        require_permissions,
        ..nothing_stated()
    };
    check(&policy(false), &[(Request::of("a"), Ok(()))]);
    check(
        &policy(true),
        &[
            (Request::of("a"), missing(&["orders.read"])),
            (Request::of("a").granted(granted(&["orders.read"])), Ok(())),
            (Request::of("a").cut(granted(&["orders.read"])), Ok(())),
            (Request::of("a").cut(Grants::ReadOnly), Ok(())),
            (Request::of("a").granted(granted(&["orders.write"])).cut(granted(&["a.b"])), missing(&["orders.read"])),
        ],
    );
    // Where no right is asked for there is nothing to choose.
    check(&Policy { require_permissions: true, ..nothing_stated() }, &[(Request::of("a"), Ok(()))]);
}

#[test]
fn a_missing_permission_is_refused_whatever_the_expression_says() {
    check(
        &Policy {
            permissions: PermissionRule::All(permissions(&["orders.read"])),
            allow: allow("groups.admin"),
            ..nothing_stated()
        },
        &[
            (Request::of("a").groups(&["admin"]).granted(granted(&[])), missing(&["orders.read"])),
            (Request::of("a").groups(&[]).granted(granted(&[])), missing(&["orders.read"])),
            (Request::of("a").groups(&["admin"]).granted(granted(&["orders.read"])), Ok(())),
            (Request::of("a").granted(granted(&["orders.read"])), FALSE),
        ],
    );
}

#[test]
fn group_or_client_type_on_a_public_endpoint() {
    check(
        &Policy { allow: allow(r#"groups.foo || clientType=="bar""#), ..public() },
        &[
            (Request::anonymous(), NOBODY),
            (Request::anonymous().user(&["foo"]), Ok(())),
            // A key could still help.
            (Request::anonymous().user(&["other"]), NOBODY),
            (Request::of("bar"), Ok(())),
            (Request::of("other"), FALSE),
            (Request::of("other").user(&["foo"]), Ok(())),
            (Request::of("other").groups(&["foo"]), Ok(())),
        ],
    );
}

#[test]
fn naming_a_client_type_implies_that_a_key_is_needed() {
    for text in [
        "clientType == 'a'",
        "clientType != 'partner'",
        "!(clientType == 'partner')",
        "clientType in ['a', 'b']",
        "clientType == '' || clientType == 'a'",
        "true || clientType == 'a'",
        "isBackoffice || clientType == 'a'",
        "!groups.x || clientType == 'a'",
    ] {
        let policy = Policy { allow: allow(text), ..public() };
        check(
            &policy,
            &[(Request::anonymous(), NOBODY), (Request::anonymous().backoffice(), NOBODY), (Request::of("a"), Ok(()))],
        );
        assert!(policy.needs_key(&Method::GET), "{text}");
    }
    // Nor does a user get by with a negation.
    for text in ["clientType != 'partner'", "!(clientType == 'partner')", "!(clientType in ['a', 'b'])"] {
        check(&Policy { allow: allow(text), ..public() }, &[(Request::anonymous().user(&["admin"]), NOBODY)]);
    }
    // The empty name asks for callers without a key, and names nobody.
    check(
        &Policy { allow: allow("clientType == ''"), ..public() },
        &[(Request::anonymous(), Ok(())), (Request::of("a"), FALSE)],
    );
    check(
        &Policy { allow: allow("clientType != ''"), ..public() },
        &[(Request::anonymous(), NOBODY), (Request::of("a"), Ok(()))],
    );
}

#[test]
fn a_false_expression_asks_a_stranger_who_it_is_and_forbids_others() {
    check(
        &Policy { allow: allow("false"), ..public() },
        &[
            (Request::anonymous(), NOBODY),
            (Request::anonymous().user(&["admin"]), FALSE),
            (Request::of("a").granted(granted(&["*.*", "*:*"])).groups(&["admin"]), FALSE),
        ],
    );
    check(
        &Policy { allow: allow("clientType == 'a'"), ..nothing_stated() },
        &[(Request::anonymous(), NOBODY), (Request::of("b"), FALSE), (Request::of("a"), Ok(()))],
    );
    for text in ["groups.admin", "permissions.orders.read", "isBackoffice"] {
        let policy = Policy { allow: allow(text), ..public() };
        check(&policy, &[(Request::anonymous(), NOBODY), (Request::of("a"), FALSE)]);
    }
    // A rule that keeps some out lets strangers in where the endpoint is public.
    check(
        &Policy { allow: allow("!groups.developer"), ..public() },
        &[(Request::anonymous(), Ok(())), (Request::of("a").groups(&["developer"]), FALSE)],
    );
}

#[test]
fn the_groups_of_a_named_user_take_the_place_of_the_clients() {
    check(
        &Policy { allow: allow("groups.admin"), ..nothing_stated() },
        &[
            (Request::of("a").groups(&["admin"]), Ok(())),
            (Request::of("a").user(&["admin"]), Ok(())),
            (Request::of("a").groups(&["admin"]).user(&[]), FALSE),
            (Request::of("a").groups(&["admin"]).user(&["other"]), FALSE),
        ],
    );
}

#[test]
fn expressions_see_the_permissions_that_are_listed() {
    check(
        &Policy { allow: allow("permissions['orders:read']"), ..nothing_stated() },
        &[
            (Request::of("a"), FALSE),
            (Request::of("a").granted(granted(&["orders:read"])), Ok(())),
            (Request::of("a").cut(granted(&["orders:read"])), Ok(())),
            (Request::of("a").granted(granted(&["orders:read"])).cut(granted(&[])), FALSE),
            (Request::of("a").granted(granted(&["orders:*"])), FALSE),
            (Request::of("a").granted(granted(&["orders:*"])).cut(granted(&["orders:read"])), Ok(())),
        ],
    );
}

#[test]
fn backoffice_listeners_have_a_rule_of_their_own_or_the_ordinary_one() {
    check(
        &Policy { allow: allow("groups.users"), allow_backoffice: allow("groups.admin"), ..nothing_stated() },
        &[
            (Request::of("a").groups(&["users"]), Ok(())),
            (Request::of("a").groups(&["admin"]), FALSE),
            (Request::of("a").groups(&["users"]).backoffice(), FALSE),
            (Request::of("a").groups(&["admin"]).backoffice(), Ok(())),
        ],
    );
    check(
        &Policy { allow: allow("groups.users && !isBackoffice"), ..nothing_stated() },
        &[(Request::of("a").groups(&["users"]), Ok(())), (Request::of("a").groups(&["users"]).backoffice(), FALSE)],
    );
}

#[test]
fn conditions_are_judged_in_their_order_and_all_are_told_on_request() {
    let policy = Policy {
        client_types: Some(client_types(&["cms"])),
        permissions: PermissionRule::All(permissions(&["orders.read", "orders.write"])),
        tenant: Some(TenantBinding::PathParameter("customer".into())),
        networks: Box::new(["10.0.0.0/8".parse().unwrap()]),
        https_only: true,
        require_user: true,
        allow: allow("groups.admin"),
        ..nothing_stated()
    };
    let request = Request::of("partner")
        .publishable()
        .granted(Grants::ReadOnly)
        .origins(&["https://shop.example"], None)
        .method(Method::POST);
    let expected = [
        Denial::HttpsRequired,
        Denial::UserRequired,
        Denial::KeyTypeNotAllowed { required: Box::new([KeyType::Secret]) },
        Denial::NetworkNotAllowed,
        Denial::OriginNotAllowed,
        Denial::ReadOnly,
        Denial::TenantMismatch,
        Denial::ClientTypeNotAllowed { required: client_types(&["cms"]) },
        Denial::PermissionMissing { required: permissions(&["orders.write"]) },
        Denial::ExpressionFalse,
    ];
    assert_eq!(policy.denials(&request.facts()), expected);
    check(&policy, &[(request, Err(Denial::HttpsRequired))]);
    assert_eq!(
        policy.denials(&Request::anonymous().facts()),
        [Denial::HttpsRequired, Denial::CredentialMissing, Denial::UserRequired, Denial::NetworkNotAllowed]
    );
}

#[test]
fn a_policy_knows_whether_it_states_anything_about_who_may_call() {
    for (policy, has_condition, needs_key) in [
        (nothing_stated(), false, true),
        (public(), false, false),
        (Policy { https_only: true, ..public() }, false, false),
        (Policy { require_permissions: true, ..public() }, false, false),
        (Policy { allow_backoffice: allow("groups.a"), ..public() }, false, false),
        (Policy { allow_backoffice: allow("clientType == 'a'"), ..public() }, false, true),
        (Policy { allow: allow("true"), ..nothing_stated() }, true, true),
        (Policy { allow: allow("groups.a"), ..public() }, true, false),
        (Policy { allow: allow("clientType == ''"), ..public() }, true, false),
        (Policy { client_types: Some(client_types(&["a"])), ..public() }, true, true),
        (Policy { permissions: PermissionRule::All(permissions(&["a.b"])), ..public() }, true, true),
        (Policy { permissions: by_method(&[(Method::GET, &[])]), ..public() }, true, false),
        (Policy { permissions: by_method(&[(Method::POST, &[])]), ..public() }, true, true),
        (Policy { tenant: Some(TenantBinding::HostLabel), ..public() }, true, true),
        (Policy { key_types: Box::new([KeyType::Secret]), ..public() }, true, false),
        (Policy { networks: Box::new(["10.0.0.0/8".parse().unwrap()]), ..public() }, true, false),
        (Policy { require_user: true, ..public() }, true, false),
    ] {
        assert_eq!(policy.has_condition(), has_condition, "{policy:#?}");
        assert_eq!(policy.needs_key(&Method::GET), needs_key, "{policy:#?}");
    }
}
