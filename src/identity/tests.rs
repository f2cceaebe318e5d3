use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::client::{Environment, Grants, Permission, Tenant};
use crate::keys::testing::{api_key, api_key_with, client};

const ANONYMOUS: Identified<'_> = Identified { key: None, user: None, is_backoffice: false };

fn told(headers: &IdentityHeaders, who: &Identified<'_>) -> String {
    let mut out = b"GET / HTTP/1.1\r\n".to_vec();
    headers.write(&mut out, who);
    let written = String::from_utf8(out).unwrap().strip_prefix("GET / HTTP/1.1\r\n").unwrap().to_owned();
    let mut handed_over = String::new();
    headers.for_each(who, |name, value| {
        handed_over += &format!("{name}: {}\r\n", str::from_utf8(value).unwrap());
    });
    assert_eq!(written, handed_over);
    written.replace("\r\n", "\n")
}

fn groups(names: &[&str]) -> Box<[Group]> {
    names.iter().map(|name| Group::parse(name).unwrap()).collect()
}

fn user(id: &str, properties: Option<&str>) -> User {
    User { id: id.into(), groups: groups(&["staff", "admin"]), properties: properties.map(Into::into) }
}

fn full_key() -> ApiKey {
    let mut client = client("acme", "partner");
    client.tenant = Some(Tenant::parse("t1").unwrap());
    client.groups = groups(&["gold", "eu"]);
    client.grants = Grants::Listed(["orders.read", "users:list"].map(|p| Permission::parse(p).unwrap()).into());
    api_key_with("key_1", client, |terms| terms.environment = Some(Environment::parse("live").unwrap()))
}

#[test]
fn an_upstream_is_told_all_that_is_known_and_nothing_else() {
    let headers = IdentityHeaders::default();
    let (plain, full) = (api_key("key_0", client("shop", "cms")), full_key());
    let (user, bare) =
        (user("u 1", Some("{\"a\":1}")), User { id: "u2".into(), groups: groups(&[]), properties: None });
    for (who, expected) in [
        (ANONYMOUS, ""),
        (Identified { is_backoffice: true, ..ANONYMOUS }, "isbackoffice: 1\n"),
        (
            Identified { key: Some(&plain), ..ANONYMOUS },
            "client-type: cms\nx-client-id: shop\nx-client-key-id: key_0\n",
        ),
        (
            Identified { key: Some(&full), user: Some(&user), is_backoffice: true },
            "client-type: partner\nx-client-id: acme\nx-client-key-id: key_1\nx-client-tenant: t1\n\
             x-client-environment: live\nx-client-permissions: orders.read,users:list\nx-client-groups: gold,eu\n\
             miauserid: u 1\nmiausergroups: staff,admin\nmiauserproperties: {\"a\":1}\nisbackoffice: 1\n",
        ),
        (Identified { user: Some(&bare), ..ANONYMOUS }, "miauserid: u2\n"),
    ] {
        assert_eq!(told(&headers, &who), expected, "{who:?}");
    }
}

#[test]
fn names_are_configuration_and_what_has_no_name_is_not_told() {
    let name = |name| Some(HeaderName::from_static(name));
    let mut names = IdentityNames { client_type: None, client_id: name("x-consumer"), ..IdentityNames::default() };
    names.client_permissions = None;
    let headers = IdentityHeaders::new(names, vec![HeaderName::from_static("x-auth-user")]);
    let key = full_key();
    assert_eq!(
        told(&headers, &Identified { key: Some(&key), ..ANONYMOUS }),
        "x-consumer: acme\nx-client-key-id: key_1\nx-client-tenant: t1\nx-client-environment: live\n\
         x-client-groups: gold,eu\n"
    );
    for reserved in ["x-consumer", "X_Consumer", "x-auth.user", "client-type", "x-client-id", "acl-rows"] {
        assert!(headers.is_reserved_name(reserved.as_bytes()), "{reserved}");
    }
}

#[test]
fn a_user_can_not_write_headers() {
    let headers = IdentityHeaders::default();
    for bad in ["", "a\r\nx-client-id: root", "a\nb", "a\0b", "a\rb", "a\u{85}b"] {
        let user = user(bad, Some(bad));
        assert_eq!(told(&headers, &Identified { user: Some(&user), ..ANONYMOUS }), "miausergroups: staff,admin\n");
    }
}

#[test]
fn every_name_that_an_upstream_may_believe_is_reserved_and_ordinary_ones_are_not() {
    let headers = IdentityHeaders::default();
    let by_the_platform =
        ["mia-allowed", "mia-userid", "mia-groups", "mia-userproperties", "acl_rows", "acl_read_columns"];
    for name in IdentityNames::default().iter().map(HeaderName::as_str).chain(by_the_platform) {
        assert!(headers.is_reserved(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
        assert!(headers.is_reserved_name(name.to_uppercase().replace('-', "_").as_bytes()), "{name}");
    }
    for name in [
        "host",
        "accept",
        "accept-encoding",
        "authorization",
        "cookie",
        "content-length",
        "content-type",
        "connection",
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
        "x-api-key",
        "client-key",
        "client-types",
        "client",
        "x-client",
        "miauser",
        "clienttype",
        "x-client-id-2",
        "traceparent",
        "isbackoffices",
        "",
        "x--client-id",
    ] {
        assert!(!headers.is_reserved_name(name.as_bytes()), "{name}");
    }
}

fn header_map(fields: &[(&str, &str)]) -> HeaderMap {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
    fields.iter().map(|(n, value)| (name(n), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
}

#[test]
fn a_trusted_peer_may_tell_of_a_user() {
    let names = ["miauserid", "miausergroups", "miauserproperties"].map(HeaderName::from_static);
    let [id, group, properties] = names;
    let someone = |groups_of: &[&str], properties: Option<&str>| {
        Ok(Some(User { id: "u1".into(), groups: groups(groups_of), properties: properties.map(Into::into) }))
    };
    use MalformedIdentity::{NoUser, Repeated, Value};
    let long = "u".repeat(257);
    let long = [("miauserid", long.as_str())];
    type Row<'a> = (&'a [(&'a str, &'a str)], Result<Option<User>, MalformedIdentity>);
    let rows: Vec<Row> = vec![
        (&[], Ok(None)),
        (&[("miauserid", "")], Ok(None)),
        (&[("miauserid", " "), ("miausergroups", ""), ("miauserproperties", "")], Ok(None)),
        (&[("miauserid", "u1")], someone(&[], None)),
        (&[("miauserid", "u1"), ("miausergroups", "a, b ,c")], someone(&["a", "b", "c"], None)),
        (
            &[("miauserid", "u1"), ("miauserproperties", "{\"n\":\"Jos\u{e9}\"}")],
            someone(&[], Some("{\"n\":\"Jos\u{e9}\"}")),
        ),
        (&[("miauserid", "u1"), ("miauserid", "u1")], someone(&[], None)),
        // Other spellings are removed, never read.
        (&[("mia_userid", "u1"), ("mia-userid", "u1"), ("userid", "u1")], Ok(None)),
        (&[("miauserid", "u1"), ("miauserid", "u2")], Err(Repeated(id.clone()))),
        (&[("miauserid", "u1"), ("miauserid", "")], Err(Repeated(id.clone()))),
        (&[("miauserid", "u1"), ("miausergroups", "a"), ("miausergroups", "b")], Err(Repeated(group.clone()))),
        (&[("miauserid", "\u{e9}")], Err(Value(id.clone()))),
        (&long, Err(Value(id.clone()))),
        (&[("miausergroups", "admin")], Err(NoUser(group.clone()))),
        (&[("miauserid", ""), ("miauserproperties", "{}")], Err(NoUser(properties.clone()))),
        (&[("miauserid", "u1"), ("miausergroups", "a,,b")], Err(Value(group.clone()))),
        (&[("miauserid", "u1"), ("miausergroups", "a b")], Err(Value(group))),
        (&[("miauserid", "u1"), ("miauserproperties", "[]")], Err(Value(properties.clone()))),
        (&[("miauserid", "u1"), ("miauserproperties", "{\"a\":}")], Err(Value(properties.clone()))),
        (&[("miauserid", "u1"), ("miauserproperties", "{} {}")], Err(Value(properties))),
    ];
    for (fields, expected) in rows {
        assert_eq!(IdentityHeaders::default().user_from(&header_map(fields)), expected, "{fields:?}");
    }
    let not_utf8 = [(HeaderName::from_static("miauserid"), HeaderValue::from_bytes(b"u\xff").unwrap())];
    assert_eq!(IdentityHeaders::default().user_from(&not_utf8.into_iter().collect()), Err(Value(id)));
}

#[test]
fn a_trusted_peer_may_say_that_a_call_comes_by_the_backoffice() {
    let name = HeaderName::from_static("isbackoffice");
    let malformed = || Err(MalformedIdentity::Value(name.clone()));
    for (fields, expected) in [
        (&[][..], Ok(false)),
        (&[("isbackoffice", "")], Ok(false)),
        (&[("isbackoffice", "0")], Ok(false)),
        (&[("isbackoffice", "false")], Ok(false)),
        (&[("isbackoffice", "1")], Ok(true)),
        (&[("isbackoffice", "true")], Ok(true)),
        (&[("isbackoffice", "1"), ("isbackoffice", "1")], Ok(true)),
        (&[("is-backoffice", "1")], Ok(false)),
        (&[("isbackoffice", "yes")], malformed()),
        (&[("isbackoffice", "TRUE")], malformed()),
        (&[("isbackoffice", "00")], malformed()),
        (&[("isbackoffice", "0"), ("isbackoffice", "1")], Err(MalformedIdentity::Repeated(name.clone()))),
    ] {
        assert_eq!(IdentityHeaders::default().is_backoffice_from(&header_map(fields)), expected, "{fields:?}");
    }
}

proptest! {
    #[test]
    fn any_spelling_of_a_reserved_name_is_reserved(
        at in 0usize..17,
        spelling in proptest::collection::vec(("[-_.~!#$%&'*+^`|]", any::<bool>()), 32),
    ) {
        let defaults = IdentityNames::default();
        let names: Vec<&str> = defaults.iter().map(HeaderName::as_str).chain(names::ALSO_BELIEVED).collect();
        prop_assert_eq!(names.len(), 17);
        let spelled: String = names[at]
            .chars()
            .zip(&spelling)
            .map(|(c, (separator, upper))| match (c.is_ascii_alphanumeric(), upper) {
                (true, true) => c.to_ascii_uppercase().to_string(),
                (true, false) => c.to_string(),
                (false, _) => separator.clone(),
            })
            .collect();
        prop_assert!(IdentityHeaders::default().is_reserved_name(spelled.as_bytes()), "{}", spelled);
        prop_assert!(IdentityHeaders::default().is_reserved(&HeaderName::from_bytes(spelled.as_bytes()).unwrap()));
    }

    #[test]
    fn whatever_a_peer_says_can_be_written_as_one_line_each(id in "\\PC{0,20}", properties in "[{}\":a1\u{e9}]{0,9}") {
        let fields = header_map(&[]);
        prop_assert_eq!(IdentityHeaders::default().user_from(&fields), Ok(None));
        let pairs = [("miauserid", id.as_str()), ("miauserproperties", properties.as_str())];
        if let Ok(Some(user)) = IdentityHeaders::default().user_from(&header_map(&pairs)) {
            let text = told(&IdentityHeaders::default(), &Identified { user: Some(&user), ..ANONYMOUS });
            prop_assert_eq!(text.lines().count(), 1 + usize::from(user.properties.is_some()));
        }
    }
}
