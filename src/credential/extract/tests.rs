use http::HeaderValue;
use memchr::memmem;
use proptest::prelude::*;

use super::*;

/// What came out, as a text a reader can compare: the credential's place and text, `?` if it may be foreign, and what
/// else stands in `Authorization`, `!` if it looks like ours.
fn outcome(extractor: &Extractor, fields: &[(&str, &str)]) -> String {
    let headers: HeaderMap = fields
        .iter()
        .map(|(name, value)| {
            (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        })
        .collect();
    let shown = |secret: &Secret| String::from_utf8_lossy(secret.expose()).into_owned();
    match extractor.extract(&headers) {
        Err(fault) => format!("{fault:?}"),
        Ok(extracted) => {
            let credential = extracted.credential.map(|credential| {
                let label = extractor.sources()[credential.source].label();
                let mark = if credential.may_be_foreign { "?" } else { "" };
                format!("{label} {}{mark}", shown(&credential.secret))
            });
            let other = match extracted.authorization {
                OtherAuthorization::None => String::new(),
                OtherAuthorization::Bearer { secret, has_our_prefix } => {
                    format!(" beside {}{}", shown(&secret), if has_our_prefix { "!" } else { "" })
                }
            };
            credential.unwrap_or_else(|| "nothing".into()) + &other
        }
    }
}

fn prefixes() -> Prefixes {
    Prefixes::new(["codeqr_", "codeqr_pk_", "sk_"].map(String::from).to_vec())
}

fn standard() -> Extractor {
    Extractor::new(Extractor::default_sources(), prefixes())
}

fn check(extractor: &Extractor, rows: &[(&[(&str, &str)], &str)]) {
    for (fields, expected) in rows {
        assert_eq!(outcome(extractor, fields), *expected, "{fields:?}");
    }
}

#[test]
fn every_place_is_read_alone() {
    check(
        &standard(),
        &[
            (&[], "nothing"),
            (&[("client-key", "k")], "client-key k"),
            (&[("secret", "k")], "secret k"),
            (&[("X-API-Key", "k")], "x-api-key k"),
            (&[("authorization", "Bearer sk_1")], "authorization sk_1"),
            (&[("authorization", "Bearer k")], "authorization k?"),
            (&[("cookie", "mia_client_key=k")], "cookie k"),
            (&[("host", "h"), ("accept", "*/*"), ("cookie", "a=b")], "nothing"),
            // Not places: another spelling, another header, another cookie.
            (&[("x_api_key", "k"), ("x.api.key", "k"), ("client_key", "k"), ("api-key", "k")], "nothing"),
            (&[("cookie", "Mia_Client_Key=k; xmia_client_key=k; mia_client_key2=k")], "nothing"),
            (&[("proxy-authorization", "Bearer sk_1")], "nothing"),
        ],
    );
}

#[test]
fn each_place_refuses_what_no_key_is() {
    let long = "k".repeat(MAX_SECRET_BYTES + 1);
    let longest = "k".repeat(MAX_SECRET_BYTES);
    for name in ["client-key", "secret", "x-api-key"] {
        for (value, expected) in [
            ("", "Empty".to_owned()),
            ("  \t ", "Empty".to_owned()),
            ("  k\t", format!("{name} k")),
            ("a b", "NotAscii".to_owned()),
            ("a\tb", "NotAscii".to_owned()),
            ("a, b", "NotAscii".to_owned()),
            ("Bearer k", "NotAscii".to_owned()),
            ("caf\u{e9}", "NotAscii".to_owned()),
            (&long, "TooLong".to_owned()),
            (&longest, format!("{name} {longest}")),
        ] {
            assert_eq!(outcome(&standard(), &[(name, value)]), expected, "{name}: {value:?}");
        }
    }
    for (value, expected) in [
        ("mia_client_key=", "Empty".to_owned()),
        ("mia_client_key", "Empty".to_owned()),
        ("mia_client_key=  ", "Empty".to_owned()),
        ("mia_client_key=a b", "NotAscii".to_owned()),
        ("mia_client_key=\u{e9}", "NotAscii".to_owned()),
        ("mia_client_key=\"k\"", "cookie \"k\"".to_owned()),
        (&format!("mia_client_key={long}"), "TooLong".to_owned()),
    ] {
        assert_eq!(outcome(&standard(), &[("cookie", value)]), expected, "{value:?}");
    }
}

#[test]
fn authorization_is_read_as_bearer_and_as_nothing_else() {
    let ours_too_long = format!("Bearer sk_{}", "k".repeat(MAX_SECRET_BYTES));
    let foreign_and_long = "k".repeat(MAX_SECRET_BYTES + 1);
    let rows = [
        ("bearer sk_1", "authorization sk_1"),
        ("BEARER   sk_1  ", "authorization sk_1"),
        ("Bearer\tsk_1", "authorization sk_1"),
        ("Bearer eyJhbGciOi.eyJzdWIi.c2ln", "authorization eyJhbGciOi.eyJzdWIi.c2ln?"),
        ("Bearer", "Empty"),
        ("Bearer  ", "Empty"),
        ("", "Empty"),
        ("Bearer a b", "NotAscii"),
        ("Bearer sk_1 sk_1", "NotAscii"),
        ("Bearer sk_1, Bearer sk_2", "NotAscii"),
        ("Bearer \u{e9}", "NotAscii"),
        ("Bearer sk_\u{e9}", "NotAscii"),
        (&ours_too_long, "TooLong"),
        // Ours, by a slightly wrong recipe.
        ("sk_1", "NotBearer"),
        ("codeqr_pk_1", "NotBearer"),
        ("Token sk_1", "NotBearer"),
        ("Basic codeqr_1", "NotBearer"),
        ("Token token=\"sk_1\"", "NotBearer"),
        ("Bearer:sk_1", "NotBearer"),
        ("Bearer=sk_1", "NotBearer"),
        ("BearerToken sk_1", "NotBearer"),
        ("Bearer Bearer sk_1", "NotAscii"),
        ("Bearer token=sk_1", "authorization token=sk_1"),
        // Somebody else's.
        ("Basic dXNlcjpwYXNz", "nothing"),
        ("task_1", "nothing"),
        ("Digest username=\"\u{e9}\"", "nothing"),
        ("Bearertoken", "nothing"),
        ("Bearer SK_1", "authorization SK_1?"),
        ("Bearer xsk_1", "authorization xsk_1?"),
    ];
    for (value, expected) in rows {
        assert_eq!(outcome(&standard(), &[("authorization", value)]), expected, "{value:?}");
    }
    // A token of somebody else may be longer than any key of ours.
    let value = format!("Bearer {foreign_and_long}");
    assert_eq!(outcome(&standard(), &[("authorization", &value)]), format!("authorization {foreign_and_long}?"));
}

#[test]
fn two_that_agree_are_one_and_two_that_differ_are_refused() {
    check(
        &standard(),
        &[
            (&[("client-key", "k"), ("x-api-key", "k")], "client-key k"),
            (&[("x-api-key", "k"), ("secret", " k ")], "secret k"),
            (&[("x-api-key", "k"), ("x-api-key", "k")], "x-api-key k"),
            (&[("client-key", "k"), ("x-api-key", "l")], "Ambiguous"),
            (&[("x-api-key", "k"), ("x-api-key", "l")], "Ambiguous"),
            (&[("x-api-key", "k"), ("x-api-key", "")], "Ambiguous"),
            (&[("x-api-key", "k"), ("client-key", "")], "Ambiguous"),
            (&[("x-api-key", ""), ("client-key", "")], "Empty"),
            (&[("x-api-key", "k"), ("x-api-key", "K")], "Ambiguous"),
            (&[("authorization", "Bearer sk_1"), ("authorization", "Bearer sk_1")], "authorization sk_1"),
            (&[("authorization", "Bearer sk_1"), ("authorization", "Bearer sk_2")], "Ambiguous"),
            (&[("authorization", "Bearer sk_1"), ("authorization", "bearer sk_1")], "Ambiguous"),
            (&[("authorization", "Basic a"), ("authorization", "Bearer sk_1")], "Ambiguous"),
            (&[("authorization", "Basic a"), ("authorization", "Basic b"), ("x-api-key", "k")], "Ambiguous"),
            (&[("cookie", "mia_client_key=k; a=b"), ("cookie", "mia_client_key=k")], "cookie k"),
            (&[("cookie", "mia_client_key=k"), ("cookie", "mia_client_key=l")], "Ambiguous"),
        ],
    );
}

#[test]
fn authorization_beside_another_place_is_reported() {
    let long = format!("Bearer {}", "k".repeat(MAX_SECRET_BYTES + 1));
    check(
        &standard(),
        &[
            (&[("x-api-key", "k"), ("authorization", "Bearer t")], "x-api-key k beside t"),
            (&[("x-api-key", "k"), ("authorization", "Bearer k")], "x-api-key k beside k"),
            (&[("x-api-key", "k"), ("authorization", "Bearer sk_1")], "x-api-key k beside sk_1!"),
            (&[("cookie", "mia_client_key=k"), ("authorization", "Bearer t")], "cookie k beside t"),
            // A key of ours in a header beats the cookie, however wrong the cookie is.
            (&[("cookie", "mia_client_key=k"), ("authorization", "Bearer sk_1")], "authorization sk_1"),
            (&[("cookie", "mia_client_key="), ("authorization", "Bearer sk_1")], "authorization sk_1"),
            (&[("cookie", "mia_client_key=k; mia_client_key=l"), ("x-api-key", "k")], "x-api-key k"),
            (&[("cookie", "mia_client_key="), ("authorization", "Bearer t")], "Empty"),
            (&[("cookie", "mia_client_key=k; mia_client_key=l"), ("authorization", "Bearer t")], "Ambiguous"),
            // What cannot be a key is none of our business here.
            (&[("x-api-key", "k"), ("authorization", "Basic dXNlcg==")], "x-api-key k"),
            (&[("x-api-key", "k"), ("authorization", "Bearer")], "x-api-key k"),
            (&[("x-api-key", "k"), ("authorization", "Bearer a b")], "x-api-key k"),
            (&[("x-api-key", "k"), ("authorization", &long)], "x-api-key k"),
            (&[("cookie", "mia_client_key=k"), ("authorization", &long)], "cookie k"),
            // A key of ours is, in whatever dress.
            (&[("x-api-key", "k"), ("authorization", "sk_1")], "NotBearer"),
            (&[("x-api-key", "k"), ("authorization", "Bearer sk_1 x")], "NotAscii"),
        ],
    );
}

#[test]
fn where_bearer_is_not_a_place_authorization_is_never_the_credential() {
    let sources = Extractor::default_sources().into_iter().filter(|source| *source != CredentialSource::Bearer);
    check(
        &Extractor::new(sources.collect(), prefixes()),
        &[
            (&[("authorization", "Bearer t")], "nothing beside t"),
            (&[("authorization", "Bearer sk_1")], "nothing beside sk_1!"),
            (&[("authorization", "Bearer")], "nothing"),
            (&[("authorization", "Bearer \u{e9}")], "nothing"),
            (&[("authorization", "sk_1")], "NotBearer"),
            (&[("authorization", "Bearer sk_1"), ("cookie", "mia_client_key=k")], "cookie k beside sk_1!"),
            (&[("authorization", "Bearer a"), ("authorization", "Bearer b")], "Ambiguous"),
        ],
    );
}

#[test]
fn several_cookies_may_be_places() {
    let cookie = |name: &str| CredentialSource::Cookie { name: name.into() };
    check(
        &Extractor::new(vec![cookie("a"), cookie("b")], Prefixes::default()),
        &[
            (&[("cookie", "b=k")], "cookie k"),
            (&[("cookie", "b=k; a=k")], "cookie k"),
            (&[("cookie", "b=k; a=l")], "Ambiguous"),
            (&[("authorization", "sk_1")], "nothing"),
            (&[("x-api-key", "k")], "nothing"),
        ],
    );
}

#[test]
fn headers_that_carry_a_key_are_stripped_in_every_spelling() {
    let extractor = standard();
    for name in ["client-key", "secret", "x-api-key", "x_api_key", "X.Api-Key", "client_key"] {
        assert!(extractor.strips(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
    }
    for name in ["authorization", "cookie", "host", "x-api-keys", "secrets", "api-key"] {
        assert!(!extractor.strips(&HeaderName::from_bytes(name.as_bytes()).unwrap()), "{name}");
    }
    assert_eq!(extractor.cookie_names().collect::<Vec<_>>(), ["mia_client_key"]);
}

#[test]
fn the_longest_prefix_is_tried_first_and_an_empty_one_never() {
    let prefixes = Prefixes::new(["codeqr_", "", "codeqr_pk_", "codeqr_"].map(String::from).to_vec());
    assert_eq!(prefixes.in_front_of(b"codeqr_pk_1"), Some("codeqr_pk_"));
    assert_eq!(prefixes.in_front_of(b"codeqr_1"), Some("codeqr_"));
    assert_eq!(prefixes.in_front_of(b"x"), None);
    assert_eq!(Prefixes::new(vec![String::new()]), Prefixes::default());
}

proptest! {
    #[test]
    fn what_is_taken_for_a_key_is_always_a_text_that_stood_there(
        fields in proptest::collection::vec(
            (0usize..6, "(Bearer |bearer|Token |sk_|mia_client_key=|;|=|[ -~]|\u{e9}){0,6}"),
            0..5,
        ),
    ) {
        let names = ["client-key", "secret", "x-api-key", "authorization", "cookie", "x_api_key"];
        let fields: Vec<(HeaderName, HeaderValue)> = fields
            .iter()
            .map(|(at, value)| (HeaderName::from_static(names[*at]), HeaderValue::from_bytes(value.as_bytes()).unwrap()))
            .collect();
        let headers: HeaderMap = fields.iter().cloned().collect();
        let extractor = standard();
        if let Ok(extracted) = extractor.extract(&headers)
            && let Some(credential) = extracted.credential
        {
            let text = credential.secret.expose();
            prop_assert!(!text.is_empty() && text.iter().all(u8::is_ascii_graphic));
            let name = extractor.sources()[credential.source].label();
            let stands_there = headers.get_all(name).iter().any(|value| memmem::find(value.as_bytes(), text).is_some());
            prop_assert!(stands_there);
            // Whoever carries the key in a header of its own is never contradicted by another such header.
            for dedicated in ["client-key", "secret", "x-api-key"] {
                prop_assert!(headers.get_all(dedicated).iter().all(|value| value.as_bytes().trim_ascii() == text));
            }
        }
    }
}

#[test]
fn keys_in_places_of_other_endpoints_are_stripped_and_not_read() {
    let partner = CredentialSource::Header { name: HeaderName::from_static("x-partner-key"), deprecated: false };
    let extractor = Extractor::new(vec![partner], Prefixes::default()).also_stripping(&Extractor::default_sources());
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static("elsewhere"));
    headers.insert("cookie", HeaderValue::from_static("mia_client_key=elsewhere"));
    assert!(extractor.extract(&headers).expect("nothing to judge").credential.is_none());
    for (name, is_stripped) in [("x-api-key", true), ("client_key", true), ("x-partner-key", true), ("x-other", false)]
    {
        assert_eq!(extractor.strips(&HeaderName::from_static(name)), is_stripped, "{name}");
    }
    assert_eq!(extractor.cookie_names().collect::<Vec<_>>(), ["mia_client_key"]);
}
