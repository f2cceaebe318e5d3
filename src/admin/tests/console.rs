//! What the console needs: sessions, and views of the gateway.

use http::header::SET_COOKIE;

use super::*;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
const AWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 7));
const RULES: &str = "\
upstreams: { echo: { echo: true } }
endpoints:
  - { name: orders, path: /orders, upstream: echo, client_types: [partner], permissions: { GET: [orders.read] } }
";

impl Ask<'_> {
    /// As the console's own pages ask.
    fn in_console(self) -> Self {
        self.header("host", "127.0.0.1:9090").header("sec-fetch-site", "same-origin").header("x-keygate-console", "1")
    }
}

impl Desk {
    fn from(&self, address: IpAddr, method: Method, target: &str) -> Ask<'_> {
        self.stranger(method, target).caller(Caller::Network(address))
    }

    fn sign_in(&self, address: IpAddr, token: &str) -> Ask<'_> {
        self.from(address, Method::POST, "/v1/session").in_console().json(&json!({ "token": token }))
    }

    /// The cookie of a new session.
    async fn session(&self, token: &str) -> String {
        let reply = self.sign_in(HOME, token).send().await;
        assert_eq!(reply.status, 201, "{}", reply.text);
        let set = reply.headers[SET_COOKIE].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }

    fn with_session(&self, method: Method, target: &str, cookie: &str) -> Ask<'_> {
        self.from(HOME, method, target).in_console().header("cookie", cookie)
    }
}

#[tokio::test]
async fn a_session_stands_for_its_token_until_somebody_signs_out() {
    let desk = Desk::new();
    let token = desk.token("ops", Role::Developer);
    let reply = desk.sign_in(HOME, &token).send().await;
    let set = reply.headers[SET_COOKIE].to_str().unwrap().to_owned();
    for part in ["keygate_session=kg_session_", "; HttpOnly", "; SameSite=Strict", "; Path=/v1", "; Max-Age=43200"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure") && !reply.text.contains("kg_session_") && !reply.text.contains(&token));
    assert_eq!((&reply.json()["actor"], &reply.json()["role"]), (&json!("token:ops"), &json!("developer")));
    assert_eq!(reply.json()["idle_seconds_left"], 1800);

    let over_tls = Ask { request: desk.sign_in(HOME, &token).request.extension(OverTls), ..desk.sign_in(HOME, &token) };
    let reply = over_tls.send().await;
    let secure = reply.headers[SET_COOKIE].to_str().unwrap();
    for part in ["__Host-keygate_session=", "; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Strict"] {
        assert!(secure.contains(part), "{secure}");
    }

    // Something before us speaks TLS, and the browser says so.
    let proxied = desk.sign_in(HOME, &token).header("origin", "https://keys.example").send().await;
    let proxied = proxied.headers[SET_COOKIE].to_str().unwrap();
    assert!(proxied.starts_with("keygate_session=") && proxied.contains("; Path=/v1; Secure;"), "{proxied}");

    let cookie = set.split(';').next().unwrap();
    let shown = desk.with_session(Method::GET, "/v1/session", cookie).send().await;
    assert_eq!((shown.status, &shown.json()["token_name"]), (200, &json!("ops")));
    let body = json!({ "name": "made in the console", "client": { "id": "shop", "client_type": "partner" } });
    let made = desk.with_session(Method::POST, "/v1/keys", cookie).json(&body).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    let audit = desk.ask(Method::GET, "/v1/audit?action=key.created").send().await.json();
    assert_eq!((&audit["items"][0]["actor"], &audit["items"][0]["via"]), (&json!("token:ops"), &json!("console")));
    assert_eq!(audit["items"][0]["address"], "192.0.2.7");

    let out = desk.with_session(Method::DELETE, "/v1/session", cookie).send().await;
    assert_eq!(out.status, 204);
    assert!(out.headers[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    let over = desk.with_session(Method::GET, "/v1/session", cookie).send().await;
    assert_eq!(over.code(), (401, "session_over".to_owned()));
    let kinds = desk.ask(Method::GET, "/v1/audit?action=session").send().await.json();
    let actions: Vec<&str> =
        kinds["items"].as_array().unwrap().iter().map(|item| item["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["session.ended", "session.started", "session.started", "session.started"]);
    let stored = std::fs::read(desk.folder.path().join("keys.db-wal")).unwrap();
    let id = cookie.split('=').nth(1).unwrap();
    assert!(!stored.windows(id.len()).any(|window| window == id.as_bytes()), "the id of a session is written nowhere");
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_everywhere() {
    let desk = Desk::new();
    let (ops, dev) = (desk.token("ops", Role::Admin), desk.token("dev", Role::Developer));
    let (first, second, other) = (desk.session(&ops).await, desk.session(&ops).await, desk.session(&dev).await);
    let is_open = async |cookie: &str| desk.with_session(Method::GET, "/v1/whoami", cookie).send().await.status == 200;
    assert!(is_open(&first).await && is_open(&second).await && is_open(&other).await);
    let ended = desk.with_session(Method::DELETE, "/v1/sessions", &first).send().await;
    assert_eq!((ended.status, &ended.json()["ended"]), (200, &json!(2)));
    assert!(!is_open(&first).await && !is_open(&second).await && is_open(&other).await);

    let list = desk.ask(Method::GET, "/v1/admin-tokens").send().await.json();
    let id = list["items"].as_array().unwrap().iter().find(|item| item["name"] == "dev").unwrap()["id"].clone();
    let revoked = desk.ask(Method::DELETE, &format!("/v1/admin-tokens/{}", id.as_str().unwrap())).send().await;
    assert_eq!(revoked.status, 204);
    assert!(!is_open(&other).await, "the next request of the session");

    // By the token itself, and by the machine: after a theft nobody looks for a browser first.
    let third = desk.session(&ops).await;
    let ended = desk.with_token(Method::DELETE, "/v1/sessions", &ops).send().await;
    assert_eq!(ended.json()["ended"], 1);
    assert!(!is_open(&third).await);
    let fourth = desk.session(&ops).await;
    assert_eq!(desk.ask(Method::DELETE, "/v1/sessions").send().await.json()["ended"], 1);
    assert!(!is_open(&fourth).await);
    let rendered = desk.metrics.render();
    assert!(rendered.contains("keygate_admin_sessions 0"), "{rendered}");
    assert!(rendered.contains(r#"keygate_admin_sign_ins_total{outcome="accepted"} 5"#), "{rendered}");
}

#[tokio::test]
async fn a_session_is_of_its_time_and_role() {
    let desk = Desk::new();
    let end = Timestamp::from_millis(crate::management::now().as_millis() + 60_000);
    let wanted = CreateToken { name: "short".to_owned(), role: Role::Viewer, expires_at: Some(end) };
    let created = desk.management.create_token(&Actor::keygate(), wanted).unwrap();
    let token = String::from_utf8(created.secret.expose().to_vec()).unwrap();
    let shown = desk.sign_in(HOME, &token).send().await.json();
    assert_eq!((&shown["ends_at"], &shown["idle_ends_at"]), (&json!(end.to_string()), &json!(end.to_string())));
    let held = desk.management.authenticate(&created.secret, crate::management::now()).unwrap();
    assert!(desk.management.holds(&held, crate::management::now()));
    assert!(!desk.management.holds(&held, end), "its time is over");
    let mut other_role = held.clone();
    other_role.role = Role::Admin;
    assert!(!desk.management.holds(&other_role, crate::management::now()), "its role is another");
}

#[tokio::test]
async fn a_cookie_alone_opens_nothing() {
    let desk = Desk::new();
    let cookie = desk.session(&desk.token("ops", Role::Admin)).await;
    let (id, _) = desk.key("a key").await;
    let disable = format!("/v1/keys/{id}/disable");
    let bare = |method: Method, target: &str| {
        desk.from(HOME, method, target).header("host", "127.0.0.1:9090").header("cookie", &cookie)
    };
    let own = "http://127.0.0.1:9090";
    let nothing = json!({});
    for (asked, expected) in [
        // As pages of others make a browser send it.
        (bare(Method::POST, &disable).header("sec-fetch-site", "cross-site").json(&nothing), "cross_site"),
        (bare(Method::POST, &disable).header("sec-fetch-site", "same-site").json(&nothing), "cross_site"),
        (bare(Method::POST, &disable).header("origin", "http://127.0.0.1:3000").json(&nothing), "cross_site"),
        (bare(Method::POST, &disable).json(&nothing), "cross_site"),
        (bare(Method::DELETE, &format!("/v1/keys/{id}")), "cross_site"),
        (bare(Method::DELETE, "/v1/sessions").header("origin", own), "console_header_missing"),
        (bare(Method::POST, &disable).header("origin", own).json(&nothing), "console_header_missing"),
        (bare(Method::GET, "/v1/keys"), "console_header_missing"),
        (bare(Method::GET, "/v1/export/keys").header("sec-fetch-site", "cross-site"), "cross_site"),
    ] {
        assert_eq!(asked.send().await.code(), (403, expected.to_owned()));
    }
    let form =
        desk.with_session(Method::POST, &disable, &cookie).header("content-length", "2").body("text/plain", "{}");
    assert_eq!(form.send().await.code(), (415, "media_type_unsupported".to_owned()));
    let shown = desk.ask(Method::GET, &format!("/v1/keys/{id}")).send().await.json();
    assert_eq!(shown["status"], "active", "none of that did anything");

    for asked in [
        desk.with_session(Method::POST, &disable, &cookie).json(&nothing),
        bare(Method::GET, "/v1/export/keys").header("sec-fetch-site", "same-origin"),
        bare(Method::DELETE, &format!("/v1/keys/{id}")).header("origin", own).header("x-keygate-console", "1"),
    ] {
        let reply = asked.send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
}

#[tokio::test]
async fn a_stolen_or_forged_cookie_opens_nothing() {
    let desk = Desk::new();
    let token = desk.token("ops", Role::Admin);
    let cookie = desk.session(&token).await;
    let ask =
        |address, cookie: &str| desk.from(address, Method::GET, "/v1/whoami").in_console().header("cookie", cookie);
    assert_eq!(ask(AWAY, &cookie).send().await.code(), (401, "session_over".to_owned()), "from elsewhere");
    for (shown, expected) in [
        (format!("{cookie}x"), "session_over"),
        (format!("keygate_session={token}"), "session_over"),
        ("keygate_session=".to_owned(), "session_over"),
        (format!("{cookie}; keygate_session=other"), "session_ambiguous"),
        (cookie.replace("keygate_session", "Keygate_Session"), "token_missing"),
        (cookie.replace("keygate_session", "__Host-keygate_session"), "token_missing"),
    ] {
        assert_eq!(ask(HOME, &shown).send().await.code(), (401, expected.to_owned()), "{shown}");
    }
    let bearer = desk.with_token(Method::GET, "/v1/whoami", cookie.split('=').nth(1).unwrap()).send().await;
    assert_eq!(bearer.code(), (401, "token_rejected".to_owned()), "a session's id is no token");
    // Over TLS only the cookie that nobody else can set counts.
    let plain_over_tls = ask(HOME, &cookie);
    let plain_over_tls = Ask { request: plain_over_tls.request.extension(OverTls), ..plain_over_tls };
    assert_eq!(plain_over_tls.send().await.code(), (401, "token_missing".to_owned()));
    assert_eq!(ask(HOME, &format!("a=b; {cookie}; c=d")).send().await.status, 200);
    // A wrong token beside a good session counts as what it is.
    let both = desk.with_token(Method::GET, "/v1/whoami", "kg_admin_wrong").header("cookie", &cookie).send().await;
    assert_eq!(both.code(), (401, "token_rejected".to_owned()));
}

#[tokio::test]
async fn signing_in_is_for_good_tokens_and_not_for_guessing() {
    let desk = Desk::new();
    let (_, api_key) = desk.key("a key").await;
    let good = desk.token("ops", Role::Admin);
    for (body, expected) in [
        (json!({ "token": api_key }), (401, "token_rejected")),
        (json!({ "token": "" }), (401, "token_rejected")),
        (json!({ "token": good.to_uppercase() }), (401, "token_rejected")),
        (json!({}), (400, "field_invalid")),
        (json!({ "token": good, "role": "admin" }), (400, "field_invalid")),
    ] {
        let asked = desk.from(AWAY, Method::POST, "/v1/session").in_console().json(&body);
        let reply = asked.send().await;
        assert_eq!(reply.code(), (expected.0, expected.1.to_owned()), "{body}");
        assert!(!reply.headers.contains_key(SET_COOKIE) && !reply.text.contains(&good));
    }
    // Another page signs nobody in either: they would work under a stranger's name.
    let body = json!({ "token": good });
    let foreign = desk.from(HOME, Method::POST, "/v1/session").header("host", "127.0.0.1:9090").json(&body);
    assert_eq!(foreign.header("origin", "http://evil.example").send().await.code(), (403, "cross_site".to_owned()));
    let local = desk.ask(Method::POST, "/v1/session").json(&body).send().await;
    assert_eq!(local.code(), (409, "session_not_needed".to_owned()));

    for _ in 0..10 {
        desk.sign_in(HOME, "kg_admin_wrong").send().await;
    }
    let late = desk.sign_in(HOME, &good).send().await;
    assert_eq!(late.code(), (429, "too_many_failures".to_owned()));
    assert!(late.headers.contains_key("retry-after"));
    assert_eq!(desk.sign_in(AWAY, &good).send().await.status, 201, "another address is heard");
    let bearer = desk.with_token(Method::GET, "/v1/whoami", &good).send().await;
    assert_eq!(bearer.code(), (429, "too_many_failures".to_owned()), "guesses count wherever they are made");
    let rendered = desk.metrics.render();
    for line in [r#"{outcome="refused"} 13"#, r#"{outcome="throttled"} 1"#, r#"{outcome="accepted"} 1"#] {
        assert!(rendered.contains(&format!("keygate_admin_sign_ins_total{line}")), "{line}: {rendered}");
    }
}

#[tokio::test]
async fn guessing_from_everywhere_is_bounded_too_and_those_who_are_known_get_in() {
    let desk = Desk::new();
    let good = desk.token("ops", Role::Admin);
    assert_eq!(desk.sign_in(HOME, &good).send().await.status, 201);
    for number in 0..300_u32 {
        let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        assert_eq!(desk.sign_in(address, "kg_admin_wrong").send().await.status, 401, "{number}");
    }
    assert_eq!(desk.sign_in(AWAY, &good).send().await.code(), (429, "too_many_failures".to_owned()));
    assert_eq!(desk.sign_in(HOME, &good).send().await.status, 201, "it was good from there before");
    let elsewhere = desk.from(AWAY, Method::GET, "/v1/whoami").header("authorization", &format!("Bearer {good}"));
    assert_eq!(elsewhere.send().await.status, 200, "tokens themselves are bounded by address alone");
}

#[tokio::test]
async fn the_role_of_a_session_is_its_tokens_whatever_is_asked() {
    let desk = Desk::beside(RULES);
    let (id, _) = desk.key("a key").await;
    let viewer = desk.session(&desk.token("viewer", Role::Viewer)).await;
    let developer = desk.session(&desk.token("developer", Role::Developer)).await;
    for (method, target, body, needed) in [
        (Method::POST, "/v1/keys".to_owned(), json!({ "name": "x", "client": "shop" }), Role::Developer),
        (Method::POST, "/v1/disable".to_owned(), json!({ "ids": [id] }), Role::Developer),
        (Method::POST, format!("/v1/keys/{id}/disable"), json!({}), Role::Developer),
        (Method::POST, format!("/v1/keys/{id}/rotate"), json!({}), Role::Developer),
        (Method::PATCH, format!("/v1/keys/{id}"), json!({ "name": "y" }), Role::Developer),
        (Method::PATCH, "/v1/clients/shop".to_owned(), json!({ "name": "y" }), Role::Developer),
        (Method::POST, "/v1/admin-tokens".to_owned(), json!({ "name": "t", "role": "admin" }), Role::Admin),
        (Method::POST, "/v1/reload".to_owned(), json!({}), Role::Admin),
        (Method::GET, "/v1/admin-tokens".to_owned(), Value::Null, Role::Admin),
    ] {
        for (role, cookie) in [(Role::Viewer, &viewer), (Role::Developer, &developer)] {
            let mut asked = desk.with_session(method.clone(), &target, cookie);
            if body != Value::Null {
                asked = asked.json(&body);
            }
            let reply = asked.send().await;
            let is_refused = reply.code() == (403, "role_too_low".to_owned());
            assert_eq!(is_refused, role < needed, "{method} {target} as {role}: {}", reply.text);
        }
    }
    let list = desk.with_session(Method::GET, "/v1/keys?usage_days=14", &viewer).send().await;
    assert_eq!(list.status, 200, "{}", list.text);
}

#[tokio::test]
async fn many_keys_are_switched_off_in_one_step_each_with_its_record() {
    let desk = Desk::new();
    let (one, one_secret) = desk.key("one").await;
    let (two, two_secret) = desk.key("two").await;
    let (rest, rest_secret) = desk.key("rest").await;
    desk.ask(Method::POST, &format!("/v1/keys/{two}/disable")).json(&json!({})).send().await;
    let body = json!({ "ids": [one, two, "key_none", one], "reason": "leaked" });
    let reply = desk.ask(Method::POST, "/v1/disable").json(&body).send().await;
    let told = reply.json();
    let outcomes: Vec<&str> =
        told["results"].as_array().unwrap().iter().map(|result| result["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["disabled", "unchanged", "key_not_found", "unchanged"]);
    assert_eq!((&told["disabled"], &told["unchanged"], &told["refused"]), (&json!(1), &json!(2), &json!(1)));
    assert!(!desk.is_in_force(&one_secret) && !desk.is_in_force(&two_secret) && desk.is_in_force(&rest_secret));
    let audit = desk.ask(Method::GET, &format!("/v1/audit?target={one}&action=key.disabled")).send().await.json();
    assert_eq!((audit["items"].as_array().unwrap().len(), &audit["items"][0]["note"]), (1, &json!("leaked")));
    for (ids, status) in [(vec![], 422), (vec![rest.clone(); 201], 422), (vec![rest; 200], 200)] {
        let reply = desk.ask(Method::POST, "/v1/disable").json(&json!({ "ids": ids })).send().await;
        assert_eq!(reply.status, status, "{}", reply.text);
    }
}

#[tokio::test]
async fn a_list_of_keys_tells_what_each_was_used_for_if_it_is_asked() {
    let desk = Desk::new();
    let (id, secret) = desk.key("used").await;
    desk.key("unused").await;
    let digests = desk.management.table().digests_of(&Secret::borrowed(secret.as_bytes()));
    let key = desk.management.table().find(&digests[0]).unwrap().key;
    let sample = |endpoint: &str, admitted, refused| crate::keys::UsageSample {
        key: key.id.clone(),
        endpoint: endpoint.into(),
        admitted,
        refused,
        last: None,
    };
    desk.management
        .store()
        .write::<_, crate::store::StoreError>(crate::management::now(), |writer| {
            writer.add_usage(&[sample("orders", 5, 1), sample("stock", 2, 0)])
        })
        .unwrap();
    let list = desk.ask(Method::GET, "/v1/keys?usage_days=14&sort=name").send().await.json();
    let usage = |index: usize| list["items"][index]["usage"].clone();
    assert_eq!(list["items"][1]["id"], id.as_str());
    assert_eq!(usage(1)["admitted"], json!([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]));
    assert_eq!(usage(1)["refused"][13], 1);
    assert_eq!(usage(0)["admitted"], json!(vec![0; 14]));
    assert!(usage(0)["first_day"].as_str().unwrap().len() == 10);
    let plain = desk.ask(Method::GET, "/v1/keys").send().await.json();
    assert!(plain["items"][0].get("usage").is_none());
    for target in ["/v1/keys?usage_days=0", "/v1/keys?usage_days=91", "/v1/export/keys?usage_days=14"] {
        assert_eq!(
            desk.ask(Method::GET, target).send().await.code(),
            (400, "parameter_invalid".to_owned()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn the_gateway_is_shown_where_one_runs() {
    let desk = Desk::beside(RULES);
    let (id, secret) = desk.key("a key").await;
    let explain = async |body: Value| desk.ask(Method::POST, "/v1/explain").json(&body).send().await;
    for (who, code) in [
        (json!({}), "credential_missing"),
        (json!({ "key": secret }), "admitted"),
        (json!({ "key_id": id }), "admitted"),
        (json!({ "client": "shop" }), "admitted"),
        (json!({ "key": "kg_live_nobodys" }), "key_unknown"),
    ] {
        let mut body = json!({ "method": "GET", "path": "/orders" });
        body.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
        let reply = explain(body).await;
        assert_eq!(reply.json()["code"], code, "{who}: {}", reply.text);
        assert!(!reply.text.contains(&secret) && !reply.text.contains("nobodys"), "{}", reply.text);
    }
    for (body, expected) in [
        (json!({ "method": "GET", "path": "orders" }), "/path"),
        (json!({ "method": "G T", "path": "/orders" }), "/method"),
        (json!({ "method": "GET", "path": "/orders", "key": "a", "client": "shop" }), "/key"),
        (json!({ "method": "GET", "path": "/orders", "key": "a\nb" }), "/key"),
        (json!({ "method": "GET", "path": "/orders", "address": "here" }), "/address"),
        (json!({ "method": "GET", "path": "/orders", "listener": "none" }), "/listener"),
        (json!({ "method": "GET", "path": "/orders", "host": "a b" }), "/host"),
    ] {
        let reply = explain(body.clone()).await;
        assert_eq!((reply.status, reply.pointers()), (422, vec![expected.to_owned()]), "{body}");
    }
    let absent = explain(json!({ "method": "GET", "path": "/", "key_id": "key_none" })).await;
    assert_eq!(absent.code(), (404, "key_not_found".to_owned()));
    desk.ask(Method::DELETE, &format!("/v1/keys/{id}")).send().await;
    let gone = explain(json!({ "method": "GET", "path": "/", "key_id": id })).await;
    assert_eq!(gone.code(), (409, "key_not_in_force".to_owned()));

    let access = desk.ask(Method::GET, "/v1/access").send().await.json();
    assert_eq!(access["client_types"], json!(["partner"]));
    assert_eq!(access["rows"][0]["cells"][0]["access"], "no");
    assert_eq!(desk.ask(Method::GET, "/v1/overview?after=x").send().await.status, 400);

    let alone = Desk::new();
    for target in ["/v1/overview", "/v1/endpoints", "/v1/access", "/v1/permissions", "/v1/settings"] {
        assert_eq!(alone.ask(Method::GET, target).send().await.code(), (409, "not_running".to_owned()), "{target}");
    }
}
