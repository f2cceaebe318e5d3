use proptest::prelude::*;

use super::*;

fn permission(text: &str) -> Permission {
    Permission::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn listed(texts: &[&str]) -> Grants {
    Grants::listed(texts.iter().map(|text| permission(text)).collect())
}

#[test]
fn a_permission_is_a_resource_and_an_operation() {
    for (text, resource, operation) in [
        ("orders.read", "orders", "read"),
        ("orders:read", "orders", "read"),
        ("table:data:read", "table:data", "read"),
        ("api.test-crud.all", "api.test-crud", "all"),
        ("a.b:read", "a.b", "read"),
        ("a:b.read", "a:b", "read"),
        ("*:read", "*", "read"),
        ("orders.*", "orders", "*"),
        ("*.*", "*", "*"),
    ] {
        let parsed = permission(text);
        assert_eq!((parsed.resource(), parsed.operation(), parsed.as_str()), (resource, operation, text));
        assert_eq!(parsed.to_string(), text);
    }
}

#[test]
fn what_is_not_a_permission_is_refused() {
    for (text, why) in [
        ("", InvalidPermission::Word(InvalidWord::Empty)),
        ("orders read", InvalidPermission::Word(InvalidWord::Character(' '))),
        ("orders.read,orders.write", InvalidPermission::Word(InvalidWord::Character(','))),
        ("orders", InvalidPermission::NoOperation),
        ("*", InvalidPermission::NoOperation),
        (".read", InvalidPermission::EmptyPart),
        ("orders.", InvalidPermission::EmptyPart),
        (":", InvalidPermission::EmptyPart),
        ("orders.re*", InvalidPermission::PartialWildcard),
        ("ord*:read", InvalidPermission::PartialWildcard),
        ("table:*:read", InvalidPermission::PartialWildcard),
        ("**.read", InvalidPermission::PartialWildcard),
    ] {
        assert_eq!(Permission::parse(text), Err(why), "{text:?}");
    }
}

#[test]
fn a_right_covers_itself_its_wildcards_and_dotted_write_covers_read() {
    for (held, required, expected) in [
        ("orders.read", "orders.read", true),
        ("orders.read", "orders.write", false),
        ("orders.read", "invoices.read", false),
        ("orders.read", "Orders.read", false),
        // `write` includes `read` among dotted names only, and nothing else.
        ("orders.write", "orders.read", true),
        ("orders:write", "orders:read", false),
        ("orders.write", "orders.list", false),
        ("orders.write", "orders.delete", false),
        ("*.write", "orders.read", true),
        ("*:write", "orders:read", false),
        ("a:b.write", "a:b.read", true),
        ("a.b:write", "a.b:read", false),
        // Wildcards stand for a whole side.
        ("orders.*", "orders.delete", true),
        ("orders:*", "orders:delete", true),
        ("orders.*", "orders-old.read", false),
        ("orders.*", "orders.items.read", false),
        ("*:read", "orders:read", true),
        ("*:read", "orders:write", false),
        ("*:*", "orders:write", true),
        ("*.*", "orders.write", true),
        // The resource may hold separators; the operation never does.
        ("*:read", "table:data:read", true),
        ("table:data:*", "table:data:read", true),
        ("table:*", "table:data:read", false),
        ("table:data", "table:data:read", false),
        // The two spellings are names of two different worlds.
        ("orders.read", "orders:read", false),
        ("*:*", "orders.read", false),
        ("*.*", "orders:read", false),
        ("*.write", "orders:read", false),
        ("*.read", "a.b:read", false),
        // A rule that asks for a wildcard wants the wildcard.
        ("orders.*", "orders.*", true),
        ("*.*", "orders.*", true),
        ("orders.write", "orders.*", false),
        ("orders.read", "*.read", false),
        ("*.write", "*.read", true),
        ("*.read", "*.*", false),
    ] {
        assert_eq!(permission(held).covers(&permission(required)), expected, "{held} covers {required}");
    }
}

#[test]
fn grants_cover_by_preset_or_by_the_union_of_a_list() {
    let everything = Grants::Unrestricted;
    let read_only = Grants::ReadOnly;
    let nothing = listed(&[]);
    let star_read = listed(&["*:read"]);
    let several = listed(&["orders.read", "invoices.write", "table:data:*"]);
    for (required, by_everything, by_read_only, by_nothing, by_star_read, by_several) in [
        ("orders.read", true, true, false, false, true),
        ("orders:read", true, true, false, true, false),
        ("orders.list", true, true, false, false, false),
        ("orders:list", true, true, false, false, false),
        ("orders.get", true, true, false, false, false),
        ("table:data:get", true, true, false, false, true),
        ("table:data:read", true, true, false, true, true),
        ("table:data:delete", true, false, false, false, true),
        ("orders.write", true, false, false, false, false),
        ("orders:write", true, false, false, false, false),
        ("invoices.read", true, true, false, false, true),
        ("invoices.write", true, false, false, false, true),
        ("orders.readwrite", true, false, false, false, false),
        ("orders.Read", true, false, false, false, false),
        ("read.orders", true, false, false, false, false),
        ("orders.*", true, false, false, false, false),
        ("*.read", true, true, false, false, false),
        ("*:*", true, false, false, false, false),
    ] {
        let required = permission(required);
        for (grants, expected) in [
            (&everything, by_everything),
            (&read_only, by_read_only),
            (&nothing, by_nothing),
            (&star_read, by_star_read),
            (&several, by_several),
        ] {
            assert_eq!(grants.cover(&required), expected, "{grants:?} cover {required}");
        }
    }
}

#[test]
fn read_only_are_the_preset_and_lists_that_read_everything_and_nothing_else() {
    for (grants, expected) in [
        (Grants::Unrestricted, false),
        (Grants::ReadOnly, true),
        (listed(&[]), false),
        (listed(&["*:read"]), true),
        (listed(&["*.read"]), true),
        (listed(&["*:read", "*:list", "*.get"]), true),
        (listed(&["*:read", "orders:list"]), true),
        (listed(&["*:read", "orders:write"]), false),
        (listed(&["*:*"]), false),
        (listed(&["*.write"]), false),
        (listed(&["orders.read"]), false),
        (listed(&["search.read", "orders.read"]), false),
    ] {
        assert_eq!(grants.is_read_only(), expected, "{grants:?}");
    }
}

#[test]
fn a_right_counts_only_if_client_and_key_both_cover_it() {
    let orders = || listed(&["orders.read", "orders.write"]);
    for (client, key, required, expected) in [
        (Grants::Unrestricted, Grants::Unrestricted, "orders.write", true),
        (Grants::Unrestricted, Grants::ReadOnly, "orders.write", false),
        (Grants::Unrestricted, Grants::ReadOnly, "orders.read", true),
        (Grants::ReadOnly, Grants::Unrestricted, "orders.write", false),
        (orders(), Grants::Unrestricted, "orders.write", true),
        (orders(), Grants::Unrestricted, "invoices.read", false),
        (Grants::Unrestricted, orders(), "invoices.read", false),
        (orders(), listed(&["orders.read"]), "orders.write", false),
        (orders(), listed(&["invoices.read"]), "invoices.read", false),
        (orders(), listed(&["*.*"]), "orders.write", true),
        (orders(), listed(&[]), "orders.read", false),
        (listed(&[]), Grants::Unrestricted, "orders.read", false),
    ] {
        let effective = EffectiveGrants { client: &client, key: &key };
        assert_eq!(effective.cover(&permission(required)), expected, "{client:?} cut by {key:?}, {required}");
    }
}

#[test]
fn expressions_see_only_rights_that_are_written_out_and_survive_the_cut() {
    for (client, key, seen) in [
        (Grants::Unrestricted, Grants::Unrestricted, &[][..]),
        (Grants::ReadOnly, Grants::ReadOnly, &[]),
        (listed(&[]), Grants::Unrestricted, &[]),
        (listed(&["orders.read"]), Grants::Unrestricted, &["orders.read"]),
        (Grants::Unrestricted, listed(&["orders.read"]), &["orders.read"]),
        (listed(&["orders.read", "orders.write"]), Grants::ReadOnly, &["orders.read"]),
        (Grants::ReadOnly, listed(&["orders.read", "orders.write"]), &["orders.read"]),
        (listed(&["orders.write"]), listed(&["orders.read"]), &["orders.read"]),
        (listed(&["orders.read"]), listed(&["orders.write"]), &["orders.read"]),
        (listed(&["orders.*"]), Grants::Unrestricted, &["orders.*"]),
        (listed(&["orders.*"]), listed(&["orders.delete", "invoices.read"]), &["orders.delete"]),
        (listed(&["orders.read"]), listed(&["invoices.read"]), &[]),
        (listed(&["orders.read", "a:b"]), listed(&["a:b", "orders.read"]), &["orders.read", "a:b"]),
    ] {
        let effective = EffectiveGrants { client: &client, key: &key };
        let listed: Vec<_> = effective.listed().map(Permission::as_str).collect();
        assert_eq!(listed, seen, "{client:?} cut by {key:?}");
        for name in ["orders.read", "orders.write", "orders.delete", "orders.*", "invoices.read", "a:b", "orders", ""] {
            assert_eq!(effective.hold(name), seen.contains(&name), "{client:?} cut by {key:?}, {name}");
        }
    }
}

#[test]
fn only_two_silent_sides_leave_permissions_unstated() {
    let list = listed(&[]);
    for (client, key, expected) in [
        (&Grants::Unrestricted, &Grants::Unrestricted, true),
        (&Grants::Unrestricted, &Grants::ReadOnly, false),
        (&list, &Grants::Unrestricted, false),
        (&Grants::Unrestricted, &list, false),
    ] {
        assert_eq!(EffectiveGrants { client, key }.are_unstated(), expected, "{client:?} {key:?}");
    }
}

/// Permissions from few words, so that they often meet.
fn some_permission() -> impl Strategy<Value = Permission> {
    let resource = prop::sample::select(vec!["*", "orders", "table:data", "api.users"]);
    let operation = prop::sample::select(vec!["*", "read", "write", "list", "delete"]);
    (resource, prop::sample::select(vec!['.', ':']), operation)
        .prop_map(|(resource, separator, operation)| permission(&format!("{resource}{separator}{operation}")))
}

fn some_grants() -> impl Strategy<Value = Grants> {
    prop_oneof![
        Just(Grants::Unrestricted),
        Just(Grants::ReadOnly),
        prop::collection::vec(some_permission(), 0..4).prop_map(Grants::listed),
    ]
}

proptest! {
    #[test]
    fn any_text_parses_and_prints_back_or_is_refused(text in "[a-z.:*, \\PC]{0,20}") {
        if let Ok(parsed) = Permission::parse(&text) {
            prop_assert_eq!(parsed.to_string(), text.clone());
            prop_assert_eq!(Permission::parse(parsed.as_str()), Ok(parsed.clone()));
            prop_assert!(parsed.covers(&parsed));
        }
    }

    #[test]
    fn covering_is_reflexive_and_transitive(a in some_permission(), b in some_permission(), c in some_permission()) {
        prop_assert!(a.covers(&a));
        if a.covers(&b) && b.covers(&c) {
            prop_assert!(a.covers(&c), "{a} > {b} > {c}");
        }
    }

    #[test]
    fn a_key_never_adds_to_what_its_client_has(client in some_grants(), key in some_grants(), right in some_permission()) {
        let effective = EffectiveGrants { client: &client, key: &key };
        prop_assert!(!effective.cover(&right) || client.cover(&right));
        prop_assert!(!effective.hold(right.as_str()) || effective.cover(&right));
        prop_assert_eq!(effective.hold(right.as_str()), effective.listed().any(|listed| *listed == right));
    }

    #[test]
    fn one_more_right_never_takes_one_away(held in prop::collection::vec(some_permission(), 0..4), more in some_permission(), right in some_permission()) {
        let fewer = Grants::listed(held.clone());
        let wider = Grants::listed(held.into_iter().chain([more]).collect());
        prop_assert!(!fewer.cover(&right) || wider.cover(&right));
    }
}
