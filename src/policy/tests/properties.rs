//! What must hold for every policy and every request.

use proptest::prelude::*;

use super::*;

fn some_grants() -> impl Strategy<Value = Grants> {
    prop::sample::select(vec![
        Grants::Unrestricted,
        Grants::ReadOnly,
        granted(&[]),
        granted(&["orders.read"]),
        granted(&["orders.write"]),
        granted(&["*:read"]),
        granted(&["*.*", "orders:read"]),
    ])
}

fn some_expression() -> impl Strategy<Value = Option<Expression>> {
    let texts = vec![
        "true",
        "false",
        "groups.admin",
        "!groups.admin",
        "clientType == 'a'",
        "clientType != 'a'",
        "clientType == ''",
        "groups.admin || clientType == 'a'",
        "permissions.orders.read",
        "isBackoffice",
    ];
    prop::option::of(prop::sample::select(texts).prop_map(|text| Expression::parse(text).unwrap()))
}

fn some_policy() -> impl Strategy<Value = Policy> {
    let who = (
        any::<bool>(),
        prop::option::of(prop::sample::select(vec![client_types(&["a"]), client_types(&["a", "b"])])),
        prop::sample::select(vec![
            PermissionRule::None,
            PermissionRule::All(permissions(&["orders.read"])),
            by_method(&[(Method::GET, &[]), (Method::POST, &["orders.write"])]),
        ]),
        prop::sample::select(vec![vec![], vec![KeyType::Secret], vec![KeyType::Publishable]]),
        prop::option::of(Just(TenantBinding::HostLabel)),
    );
    let how = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (who, how, some_expression(), some_expression()).prop_map(|(who, how, allow, allow_backoffice)| {
        let (public, client_types, permissions, key_types, tenant) = who;
        let (https_only, require_user, require_permissions, is_fenced) = how;
        let networks = if is_fenced { Box::from(["192.0.2.0/24".parse().unwrap()]) } else { Box::default() };
        Policy {
            public,
            client_types,
            permissions,
            key_types: key_types.into(),
            tenant,
            networks,
            https_only,
            require_user,
            allow,
            allow_backoffice,
            require_permissions,
        }
    })
}

fn some_request() -> impl Strategy<Value = Request> {
    let who = (
        prop::option::of(prop::sample::select(vec!["a", "b", "c"])),
        any::<bool>(),
        some_grants(),
        some_grants(),
        prop::option::of(any::<bool>()),
        any::<bool>(),
    );
    let how = (
        prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE]),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec!["192.0.2.1", "::ffff:192.0.2.9", "198.51.100.1"]),
        prop::sample::select(vec![None, Some("acme"), Some("other")]),
    );
    (who, how).prop_map(|(who, how)| {
        let (client_type, is_publishable, of_client, of_key, user, is_admin) = who;
        let (method, is_backoffice, is_secure, address, tenant) = how;
        let groups: &[&str] = if is_admin { &["admin"] } else { &[] };
        let mut request = client_type.map_or_else(Request::anonymous, Request::of);
        request = request.method(method).from(address).granted(of_client).cut(of_key).groups(groups);
        request = request.tenants(Some("acme"), tenant);
        if let Some(is_admin) = user {
            request = request.user(if is_admin { &["admin"] } else { &[] });
        }
        let key_type = if is_publishable { KeyType::Publishable } else { KeyType::Secret };
        Request { is_backoffice, is_secure, key_type, ..request }
    })
}

/// The policy, each time without one of its conditions.
fn loosened(policy: &Policy) -> [Policy; 9] {
    let without = |loosen: fn(&mut Policy)| {
        let mut policy = policy.clone();
        loosen(&mut policy);
        policy
    };
    [
        without(|policy| policy.public = true),
        without(|policy| policy.client_types = None),
        without(|policy| policy.permissions = PermissionRule::None),
        without(|policy| policy.tenant = None),
        without(|policy| policy.networks = Box::default()),
        without(|policy| policy.https_only = false),
        without(|policy| policy.require_user = false),
        without(|policy| policy.require_permissions = false),
        without(|policy| (policy.allow, policy.allow_backoffice) = (None, None)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn to_state_one_more_condition_admits_nobody_new(policy in some_policy(), request in some_request()) {
        if policy.evaluate(&request.facts()).is_ok() {
            for looser in loosened(&policy) {
                prop_assert_eq!(looser.evaluate(&request.facts()), Ok(()), "{:#?}", looser);
            }
        }
    }

    #[test]
    fn a_request_is_admitted_if_and_only_if_nothing_denies_it(policy in some_policy(), request in some_request()) {
        let denials = policy.denials(&request.facts());
        prop_assert_eq!(policy.evaluate(&request.facts()).err(), denials.first().cloned());
    }

    #[test]
    fn nobody_without_a_key_passes_where_one_is_needed(policy in some_policy(), request in some_request()) {
        let nobody = Request { client: None, user: None, is_backoffice: false, ..request };
        if policy.needs_key(&nobody.method) && policy.allow_backoffice.is_none() {
            prop_assert!(policy.evaluate(&nobody.facts()).is_err());
        }
        if !policy.public {
            prop_assert!(policy.evaluate(&nobody.facts()).is_err());
        }
    }

    #[test]
    fn a_stranger_is_never_told_what_is_missing(policy in some_policy(), request in some_request()) {
        let nobody = Request { client: None, user: None, ..request };
        let told = policy.evaluate(&nobody.facts());
        prop_assert!(matches!(
            told,
            Ok(()) | Err(Denial::HttpsRequired | Denial::CredentialMissing | Denial::UserRequired | Denial::NetworkNotAllowed)
        ), "{:?}", told);
    }
}
