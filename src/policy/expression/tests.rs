#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::*;
use crate::client::{Grants, Permission};

mod properties;
mod refusals;

/// One request's worth of variables, owned.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    client_type: Option<ClientType>,
    groups: Vec<Group>,
    grants: Grants,
    is_backoffice: bool,
}

impl Caller {
    /// Nobody: no key, no user.
    fn nobody() -> Self {
        Self { client_type: None, groups: Vec::new(), grants: Grants::Unrestricted, is_backoffice: false }
    }

    /// A client of this type.
    fn of(client_type: &str) -> Self {
        Self { client_type: Some(ClientType::parse(client_type).unwrap()), ..Self::nobody() }
    }

    fn groups(mut self, groups: &[&str]) -> Self {
        self.groups = groups.iter().map(|group| Group::parse(group).unwrap()).collect();
        self
    }

    fn permissions(mut self, permissions: &[&str]) -> Self {
        self.grants = Grants::listed(permissions.iter().map(|text| Permission::parse(text).unwrap()).collect());
        self
    }

    fn backoffice(mut self) -> Self {
        self.is_backoffice = true;
        self
    }

    pub(super) fn variables(&self) -> Variables<'_> {
        Variables {
            client_type: self.client_type.as_ref(),
            groups: &self.groups,
            permissions: Some(EffectiveGrants { client: &self.grants, key: &Grants::Unrestricted }),
            is_backoffice: self.is_backoffice,
        }
    }
}

fn parse(text: &str) -> Expression {
    Expression::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error:?}"))
}

/// Reads each text and compares what it is worth.
fn check(rows: &[(&str, Caller, Truth)]) {
    for (text, caller, expected) in rows {
        let expression = parse(text);
        assert_eq!(expression.truth(&caller.variables()), *expected, "{text} for {caller:?}");
        assert_eq!(expression.evaluate(&caller.variables()), *expected == Truth::True, "{text} for {caller:?}");
    }
}

use Truth::{False, KeyNeeded, True};

#[test]
fn constants_grant_all_or_block_all() {
    let full = || Caller::of("a").groups(&["admin"]).permissions(&["a.b"]).backoffice();
    check(&[
        ("true", Caller::nobody(), True),
        ("false", full(), False),
        ("1", Caller::nobody(), True),
        ("0", full(), False),
        ("!false", Caller::nobody(), True),
        ("1 && groups.admin", full(), True),
        ("1 && groups.admin", Caller::nobody(), False),
        ("0 || groups.admin", full(), True),
        ("true == 1", Caller::nobody(), True),
        ("true != 0", Caller::nobody(), True),
    ]);
}

#[test]
fn client_types_compare_exactly_in_every_published_spelling() {
    let two = r#"clientType == "apiKey" || clientType == "apiKey2""#;
    let with_semicolon = r#"clientType == "apiKey" || clientType == "apiKey2";"#;
    check(&[
        (two, Caller::of("apiKey"), True),
        (two, Caller::of("apiKey2"), True),
        (two, Caller::of("apikey"), False),
        (two, Caller::of("apiKey3"), False),
        (with_semicolon, Caller::of("apiKey2"), True),
        (with_semicolon, Caller::of("other"), False),
        (r#"clientType == "secret_key""#, Caller::of("secret_key"), True),
        (r#"clientType == "control_plane_operator""#, Caller::of("control_plane_operator"), True),
        (r#"clientType == "control_plane_operator""#, Caller::of("control_plane"), False),
        ("clientType == 'my-app'", Caller::of("my-app"), True),
        ("clientType=='my-app'", Caller::of("my-app"), True),
        ("clientType=='my-app'", Caller::of("my-app2"), False),
        ("clientType === 'A' || clientType === 'B'", Caller::of("B"), True),
        ("clientType === 'A' || clientType === 'B'", Caller::of("C"), False),
        ("'A' == clientType", Caller::of("A"), True),
        ("clientType != 'A'", Caller::of("A"), False),
        ("clientType != 'A'", Caller::of("B"), True),
        ("clientType !== 'A'", Caller::of("B"), True),
        ("!(clientType == 'A')", Caller::of("B"), True),
        (r#"clientType in ["A", "B"]"#, Caller::of("B"), True),
        (r#"clientType in ["B", "A",]"#, Caller::of("A"), True),
        (r#"clientType in ["A", "B"]"#, Caller::of("C"), False),
        ("clientType in []", Caller::of("C"), False),
    ]);
}

#[test]
fn a_named_client_type_is_neither_true_nor_false_without_a_key() {
    let user = || Caller::nobody().groups(&["foo"]);
    check(&[
        ("clientType == 'A'", Caller::nobody(), KeyNeeded),
        ("clientType != 'A'", Caller::nobody(), KeyNeeded),
        ("!(clientType == 'A')", Caller::nobody(), KeyNeeded),
        ("clientType in ['A', 'B']", Caller::nobody(), KeyNeeded),
        ("!(clientType in ['A', 'B'])", user(), KeyNeeded),
        ("(clientType == 'A') == false", Caller::nobody(), KeyNeeded),
        ("(clientType == 'A') != groups.foo", user(), KeyNeeded),
        ("clientType != 'A' && groups.foo", user(), KeyNeeded),
        ("clientType != 'A' && groups.foo", Caller::nobody(), False),
        ("groups.foo || clientType == 'A'", user(), True),
        ("clientType == 'A' || groups.foo", user(), True),
        ("groups.foo || clientType == 'A'", Caller::nobody(), KeyNeeded),
        // The empty name stands for callers without a key, and names no type.
        ("clientType == ''", Caller::nobody(), True),
        ("clientType == ''", Caller::of("A"), False),
        ("clientType != ''", Caller::nobody(), False),
        ("clientType != ''", Caller::of("A"), True),
        ("clientType in ['', 'A']", Caller::nobody(), True),
        ("clientType in ['', 'A']", Caller::of("A"), True),
        ("clientType in ['', 'A']", Caller::of("B"), False),
        ("clientType in []", Caller::nobody(), False),
    ]);
}

#[test]
fn groups_are_asked_for_by_dot_bracket_and_in() {
    let admin = || Caller::nobody().groups(&["admin"]);
    let either = r#"["admin", "user"] in groups"#;
    check(&[
        ("groups.admin", admin(), True),
        ("groups.admin", Caller::nobody(), False),
        ("groups.Admin", admin(), False),
        (r#"groups["admin"]"#, admin(), True),
        (r#""admin" in groups"#, admin(), True),
        (r#""admin" in groups"#, Caller::nobody().groups(&["administrators"]), False),
        (either, admin(), True),
        (either, Caller::nobody().groups(&["other", "user"]), True),
        (either, Caller::nobody().groups(&["other"]), False),
        ("[] in groups", admin(), False),
        (r#""admin" in groups || "user" in groups"#, Caller::nobody().groups(&["user"]), True),
        ("groups.admin || groups.users", Caller::nobody().groups(&["users"]), True),
        ("groups.admin || groups.users", Caller::nobody().groups(&["user"]), False),
        ("groups.admin && groups.ceo", admin(), False),
        ("groups.admin && groups.ceo", Caller::nobody().groups(&["ceo", "admin"]), True),
        ("!groups.developer", admin(), True),
        ("!groups.developer", Caller::nobody().groups(&["developer"]), False),
        ("groups.superadmin || groups.admin || groups.secretary", admin(), True),
        ("groups.superadmin || groups.admin || groups.secretary", Caller::nobody(), False),
        ("groups.test-crud", Caller::nobody().groups(&["test-crud"]), True),
        ("groups.in && groups.true", Caller::nobody().groups(&["true", "in"]), True),
        ("groups._x1", Caller::nobody().groups(&["_x1"]), True),
        ("groups.a.b", Caller::nobody().groups(&["a.b"]), True),
        ("groups.a.b", Caller::nobody().groups(&["a", "b"]), False),
        (r#"["write:orders","view:orders"] in groups"#, Caller::nobody().groups(&["view:orders"]), True),
        (r#"["write:orders","view:orders"] in groups"#, Caller::nobody().permissions(&["view:orders"]), False),
        ("groups['a\\'b'] && groups[\"a\\\"b\"]", Caller::nobody().groups(&["a'b", "a\"b"]), True),
        (r#"groups["a\\b"]"#, Caller::nobody().groups(&["a\\b"]), True),
    ]);
}

#[test]
fn permissions_are_asked_for_by_their_exact_name() {
    let holds = |permissions: &[&str]| Caller::nobody().permissions(permissions);
    check(&[
        (r#"permissions["write:orders"]"#, holds(&["write:orders"]), True),
        (r#"permissions["write:orders"]"#, holds(&["view:orders"]), False),
        (r#""write:orders" in permissions || "view:orders" in permissions"#, holds(&["view:orders"]), True),
        (r#"["write:orders","view:orders"] in permissions"#, holds(&["view:orders"]), True),
        (r#"permissions["read:pipelines"]"#, holds(&["read:pipelines"]), True),
        (r#"permissions["control:pipelines"]"#, holds(&["read:pipelines"]), False),
        (r#"permissions["update:runtimes"]"#, holds(&[]), False),
        (r#"permissions["read:users"] || permissions["update:users"]"#, holds(&["update:users"]), True),
        (r#""update:users" in permissions"#, holds(&["update:users"]), True),
        (r#""read:users" in permissions || "update:users" in permissions"#, holds(&["delete:users"]), False),
        (r#"permissions["admin:producers"] || permissions["admin:connections"]"#, holds(&["admin:connections"]), True),
        ("permissions.api.test-crud.all || permissions.api.test-crud.get", holds(&["api.test-crud.get"]), True),
        ("permissions.api.users.count.get", holds(&["api.users.count.get"]), True),
        (r#"permissions.api["users"].count["get"]"#, holds(&["api.users.count.get"]), True),
        ("permissions.api", holds(&["api.users.post"]), False),
        ("permissions.api.users", holds(&["api.users.post"]), False),
        ("permissions.api.users.post.all", holds(&["api.users.post"]), False),
        // What was not written out is not seen: no wildcard, no inclusion, no unrestricted caller.
        ("permissions.orders.read", holds(&["orders.*"]), False),
        ("permissions.orders.read", holds(&["orders.write"]), False),
        ("permissions.orders.read", Caller::of("a"), False),
        (r#"permissions["orders.*"]"#, holds(&["orders.*"]), True),
        (r#"permissions["orders:read"]"#, holds(&["orders.read"]), False),
    ]);
}

#[test]
fn booleans_combine_and_compare() {
    let doctor = || Caller::nobody().groups(&["doctor"]);
    let doctor_who_posts = || doctor().permissions(&["api.users.post"]);
    let mixed = "(clientType === 'A' || clientType === 'B') && (groups.admin || groups.users)";
    let rights = "(groups.doctor && !permissions.api.users.post) || permissions.api.users.count.get";
    check(&[
        (r#"groups.foo || clientType=="bar""#, Caller::of("bar"), True),
        (r#"groups.foo || clientType=="bar""#, Caller::of("x").groups(&["foo"]), True),
        (r#"groups.foo || clientType=="bar""#, Caller::of("x"), False),
        (mixed, Caller::of("A").groups(&["users"]), True),
        (mixed, Caller::of("B"), False),
        (mixed, Caller::of("C").groups(&["admin"]), False),
        ("groups.admin && isBackoffice", Caller::nobody().groups(&["admin"]).backoffice(), True),
        ("groups.admin && isBackoffice", Caller::nobody().groups(&["admin"]), False),
        ("isBackoffice && groups.admin", Caller::nobody().backoffice(), False),
        ("!isBackoffice", Caller::nobody(), True),
        (rights, doctor(), True),
        (rights, doctor_who_posts(), False),
        (rights, Caller::nobody().permissions(&["api.users.count.get"]), True),
        ("groups.doctor === true && permissions.api.users.post === true", doctor_who_posts(), True),
        ("groups.doctor === true && permissions.api.users.post === true", doctor(), False),
        ("groups.doctor === false && permissions.api.users.post === true", doctor_who_posts(), False),
        (
            "groups.doctor === false && permissions.api.users.post === true",
            Caller::nobody().permissions(&["api.users.post"]),
            True,
        ),
        ("groups.a == groups.b", Caller::nobody(), True),
        ("groups.a == groups.b", Caller::nobody().groups(&["b"]), False),
        ("groups.a != groups.b", Caller::nobody().groups(&["b"]), True),
    ]);
}

#[test]
fn operators_bind_as_everywhere() {
    for (text, means) in [
        ("groups.a || groups.b && groups.c", "groups.a || (groups.b && groups.c)"),
        ("groups.a && groups.b || groups.c", "(groups.a && groups.b) || groups.c"),
        ("!groups.a && groups.b", "(!groups.a) && groups.b"),
        ("!groups.a == groups.b", "(!groups.a) == groups.b"),
        ("groups.a == groups.b && groups.c", "(groups.a == groups.b) && groups.c"),
        ("clientType == 'a' && groups.b", "(clientType == 'a') && groups.b"),
    ] {
        assert_eq!(parse(text), parse(means), "{text}");
    }
    assert_ne!(parse("(groups.a || groups.b) && groups.c"), parse("groups.a || groups.b && groups.c"));
    assert_ne!(parse("!(groups.a && groups.b)"), parse("!groups.a && groups.b"));
}

#[test]
fn blanks_comments_and_one_semicolon_change_nothing() {
    let plain = parse(r#"clientType == "a" && groups.b"#);
    for text in [
        r#"  clientType=="a"&&groups.b  "#,
        "clientType\n==\t'a'\r\n&&\ngroups.b",
        "clientType == 'a' && groups.b // who may",
        "// who may\nclientType == 'a' // the partner\n&& groups.b",
        "clientType == 'a' && groups . b ; // that is all",
        "((clientType) === ('a')) && (('b') in (groups));",
    ] {
        assert_eq!(parse(text), plain, "{text}");
    }
}

#[test]
fn a_comment_cannot_swallow_conditions_that_yaml_folded_into_its_line() {
    for (text, span) in [
        ("clientType == 'a' // partners && groups.b", 18..41),
        ("groups.a // members || clientType", 9..33),
        ("groups.a // by hand === false", 9..29),
        ("// only one\n// x != y\ngroups.a", 12..21),
    ] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(error.span, span, "{text}");
        assert!(error.message.starts_with("a comment may not contain"), "{text}: {error}");
    }
    // A folded comment that stands first takes in everything.
    assert!(Expression::parse("// partners clientType 'a'").is_err());
    // Two slashes in quotes are no comment.
    assert_eq!(parse("groups['a//b']").groups(), ["a//b"]);
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |levels: usize| format!("{}groups.a{}", "(".repeat(levels), ")".repeat(levels));
    assert_eq!(parse(&nested(MAX_DEPTH)), parse("groups.a"));
    let error = Expression::parse(&nested(MAX_DEPTH + 1)).unwrap_err();
    assert_eq!((error.message.as_str(), error.span), ("nested deeper than 64 levels", 64..65));

    let denied = |times: usize| format!("{}groups.a", "!".repeat(times));
    assert_eq!(parse(&denied(MAX_DEPTH)), parse("groups.a"));
    assert!(Expression::parse(&denied(MAX_DEPTH + 1)).is_err());
    // What is closed again does not count.
    assert!(Expression::parse(&vec!["(groups.a)"; 500].join("||")).is_ok());

    let padded = |length: usize| format!("{:<length$}", "groups.a");
    assert!(Expression::parse(&padded(MAX_BYTES)).is_ok());
    let error = Expression::parse(&padded(MAX_BYTES + 1)).unwrap_err();
    assert_eq!((error.message.as_str(), error.span), ("an expression is longer than 8192 bytes", 8192..8193));
    let error = Expression::parse(&"\u{e9}".repeat(MAX_BYTES)).unwrap_err();
    assert_eq!(error.span, 8192..16384);
    let error = Expression::parse(&format!("x{}", "\u{e9}".repeat(MAX_BYTES))).unwrap_err();
    assert_eq!(error.span, 8191..16385);
}

#[test]
fn long_texts_of_any_shape_are_read_without_overflow() {
    for unit in [
        "(", "!", "[", "'", "\\", "\"\\", "a.", "groups.", "groups[", "//", "//\n", "1||", "1&&(", "1==(", "!(", ",",
        "\u{201c}",
    ] {
        let _ = Expression::parse(&unit.repeat(MAX_BYTES / unit.len()));
    }
    let deep = format!("{}1{}", "(1==!(1&&(0||".repeat(16), ")))".repeat(16));
    let expression = parse(&deep);
    assert_eq!(parse(&expression.to_string()), expression);
    assert!(expression.is_constant().is_some());
}

#[test]
fn a_displayed_expression_is_short_and_reads_back() {
    for (text, displayed) in [
        ("1", "true"),
        ("!!groups.a", "groups.a"),
        ("!(!(groups.a))", "groups.a"),
        ("((groups.a))", "groups.a"),
        ("'a' in groups", "groups.a"),
        ("['a'] in groups", "groups.a"),
        ("['b', 'a', 'b'] in groups", r#"["a", "b"] in groups"#),
        ("groups['a b']", r#"groups["a b"]"#),
        ("groups['1a']", r#"groups["1a"]"#),
        ("groups['a.b']", "groups.a.b"),
        ("groups['a.']", r#"groups["a."]"#),
        ("permissions['a:b']", r#"permissions["a:b"]"#),
        (r#"groups['"\\']"#, r#"groups["\"\\"]"#),
        ("clientType === 'a'", r#"clientType == "a""#),
        ("'a' !== clientType", r#"clientType != "a""#),
        ("!(clientType == 'a')", r#"clientType != "a""#),
        ("!(clientType != 'a')", r#"clientType == "a""#),
        ("clientType in ['a']", r#"clientType == "a""#),
        ("!(clientType in ['b', 'a'])", r#"!(clientType in ["a", "b"])"#),
        ("!('a:b' in permissions)", r#"!permissions["a:b"]"#),
        ("!(['a', 'b'] in groups)", r#"!(["a", "b"] in groups)"#),
        ("[] in groups", "[] in groups"),
        ("groups.a && (groups.b && groups.c)", "groups.a && groups.b && groups.c"),
        ("groups.a && (groups.b || groups.c)", "groups.a && (groups.b || groups.c)"),
        ("(groups.a && groups.b) || groups.c", "groups.a && groups.b || groups.c"),
        ("!(groups.a || groups.b)", "!(groups.a || groups.b)"),
        ("groups.a != false", "groups.a != false"),
        ("!(groups.a == false)", "groups.a != false"),
        ("(clientType == 'a') == (groups.b && isBackoffice)", r#"(clientType == "a") == (groups.b && isBackoffice)"#),
        ("(clientType != 'a') != true", r#"(clientType != "a") != true"#),
        ("!groups.a == !isBackoffice", "!groups.a == !isBackoffice"),
    ] {
        let expression = parse(text);
        assert_eq!(expression.to_string(), displayed, "{text}");
        assert_eq!(parse(displayed), expression, "{text}");
    }
}

#[test]
fn an_expression_tells_which_names_it_uses() {
    let expression = parse(
        r#"clientType in ["b", "a", ""] && groups.x || !(["z", "y"] in groups) || permissions.api || clientType != "a" && 'x' in groups"#,
    );
    assert_eq!(expression.client_types(), ["a", "b"]);
    assert_eq!(expression.groups(), ["x", "y", "z"]);
    assert_eq!(expression.permissions(), ["api"]);
}

#[test]
fn only_a_name_makes_an_expression_name_a_client_type() {
    for (text, expected) in [
        ("groups.foo || clientType == 'bar'", true),
        ("clientType != 'bar'", true),
        ("!(clientType in ['a', 'b'])", true),
        ("clientType in ['', 'a']", true),
        ("true || clientType == 'a'", true),
        ("clientType == ''", false),
        ("clientType != ''", false),
        ("clientType in []", false),
        ("groups.clientType", false),
        ("true", false),
    ] {
        assert_eq!(parse(text).names_client_type(), expected, "{text}");
    }
}

#[test]
fn constants_are_recognised_where_they_decide() {
    for (text, expected) in [
        ("true", Some(true)),
        ("0", Some(false)),
        ("!1", Some(false)),
        ("true || groups.a", Some(true)),
        ("groups.a || 1", Some(true)),
        ("groups.a && false", Some(false)),
        ("groups.a && true", None),
        ("false || groups.a", None),
        ("true && !false", Some(true)),
        ("true == false", Some(false)),
        ("[] in groups", Some(false)),
        ("!([] in permissions)", Some(true)),
        ("clientType in []", Some(false)),
        ("groups.a == true", None),
        ("isBackoffice", None),
        ("clientType == ''", None),
    ] {
        assert_eq!(parse(text).is_constant(), expected, "{text}");
    }
}

#[test]
fn explaining_lists_every_condition_once_with_its_worth() {
    let expression = parse(
        "(clientType == 'A' || clientType != 'B') && (groups.admin || ['x', 'y'] in groups || groups.admin) && true && !isBackoffice",
    );
    let caller = Caller::of("A").groups(&["y"]);
    let findings = |caller: &Caller| -> Vec<(String, Truth)> {
        let findings = expression.explain(&caller.variables());
        findings.into_iter().map(|Finding { condition, truth }| (condition, truth)).collect()
    };
    assert_eq!(
        findings(&caller),
        [
            (r#"clientType == "A""#.to_string(), True),
            (r#"clientType == "B""#.to_string(), False),
            ("groups.admin".to_string(), False),
            (r#"["x", "y"] in groups"#.to_string(), True),
            ("isBackoffice".to_string(), False),
        ]
    );
    assert_eq!(findings(&Caller::nobody())[0].1, KeyNeeded);
}
