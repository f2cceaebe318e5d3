//! TLS: which protocol is agreed on, which certificate is shown for which name, and new ones without a restart.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::support::certificates::{Certificate, client_config, connect};
use super::support::http2::H2;
use super::support::{Gateway, Origin, Report, wait};

const CONFIG: &str = r#"
listen:
  - address: 127.0.0.1:0
    tls:
      certificates:
        - { certificate: one.pem, key: one.key }
        - { certificate: two.pem, key: two.key }
upstreams: { api: { url: "{{origin}}" } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints:
  - { name: all, path: /, upstream: api, api_key: required, https_only: true }
"#;

fn start(origin: &Origin, one: &Certificate, two: &Certificate) -> Gateway {
    Gateway::with(CONFIG)
        .origin(origin)
        .file("one.pem", &one.certificate)
        .file("one.key", &one.key)
        .file("two.pem", &two.certificate)
        .file("two.key", &two.key)
        .start()
}

#[test]
fn both_versions_of_http_are_spoken_over_tls() {
    let origin = Origin::start();
    let (one, two) = (Certificate::of(&["one.test"]), Certificate::of(&["two.test"]));
    let gateway = start(&origin, &one, &two);
    let mut report = Report::new();
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1"][..], Some("http/1.1")),
        (&["http/1.1", "h2"][..], Some("h2")),
        (&[][..], None),
    ] {
        let config = client_config(&[&one], offered);
        let handshake = connect(gateway.address(), "one.test", &config).expect("a handshake");
        report.equal(format!("{offered:?}"), handshake.protocol.as_deref(), agreed);
    }
    let mut one_by_one =
        connect(gateway.address(), "one.test", &client_config(&[&one], &["http/1.1"])).expect("a handshake");
    let response = one_by_one.caller.call("GET", "/x", &[("host", "one.test"), ("x-api-key", "shop-key")], b"");
    report.equal("http/1.1", response.status, 200);
    report.equal("http/1.1", origin.take_one().header("x-forwarded-proto"), Some("https"));
    let h2 = H2::connect_tls(gateway.address(), "one.test", &client_config(&[&one], &["h2"]));
    report.equal("h2", h2.get("https://one.test/x", &[("x-api-key", "shop-key")]).status, 200);
    let seen = origin.take_one();
    report.equal("h2", (seen.header("x-forwarded-proto"), seen.header("host")), (Some("https"), Some("one.test")));
    report.equal("h2 without a key", h2.get("https://one.test/x", &[]).verdict(), "401 credential_missing".to_string());
}

#[test]
fn a_protocol_that_is_not_spoken_here_ends_the_handshake() {
    let origin = Origin::start();
    let (one, two) = (Certificate::of(&["one.test"]), Certificate::of(&["two.test"]));
    let gateway = start(&origin, &one, &two);
    assert!(connect(gateway.address(), "one.test", &client_config(&[&one], &["spdy/3"])).is_err());
    let failures = || gateway.metric("keygate_tls_handshake_failures_total", &[]);
    wait::until("the failure to be counted", || (failures() > 0.0).then_some(()));
}

#[test]
fn each_name_is_shown_its_own_certificate_and_unknown_names_a_default() {
    let origin = Origin::start();
    let (one, two) = (Certificate::of(&["one.test", "*.wild.test"]), Certificate::of(&["two.test"]));
    let gateway = start(&origin, &one, &two);
    let config = client_config(&[&one, &two], &["http/1.1"]);
    let shown = |name: &str| connect(gateway.address(), name, &config).expect("a handshake").shown;
    assert_eq!(shown("one.test"), one.der);
    assert_eq!(shown("two.test"), two.der);
    assert_eq!(shown("x.wild.test"), one.der);
    // A name nobody has a certificate for: whatever is shown, a client that checks does not accept it.
    assert!(connect(gateway.address(), "three.test", &config).is_err());
}

#[test]
fn certificates_are_replaced_without_a_restart_and_open_connections_live_on() {
    let origin = Origin::start();
    let (one, two) = (Certificate::of(&["one.test"]), Certificate::of(&["two.test"]));
    let gateway = start(&origin, &one, &two);
    let config = client_config(&[&one], &["http/1.1"]);
    let mut open = connect(gateway.address(), "one.test", &config).expect("a handshake").caller;
    let fields = [("host", "one.test"), ("x-api-key", "shop-key")];
    assert_eq!(open.call("GET", "/", &fields, b"").status, 200);
    let renewed = Certificate::of(&["one.test"]);
    gateway.replace("one.key", &renewed.key);
    gateway.replace("one.pem", &renewed.certificate);
    gateway.signal("HUP");
    let both = client_config(&[&one, &renewed], &["http/1.1"]);
    wait::until("the renewed certificate", || {
        let shown = connect(gateway.address(), "one.test", &both).ok()?.shown;
        (shown == renewed.der).then_some(())
    });
    assert_eq!(open.call("GET", "/", &fields, b"").status, 200);
    // After a rest, in which it holds no buffer.
    std::thread::sleep(std::time::Duration::from_millis(900));
    assert_eq!(open.call("GET", "/", &fields, b"").status, 200);
    assert_eq!(
        connect(gateway.address(), "two.test", &client_config(&[&two], &[])).expect("a handshake").shown,
        two.der
    );
}

#[test]
fn who_comes_back_is_known_whichever_worker_it_meets() {
    let origin = Origin::start();
    let (one, two) = (Certificate::of(&["one.test"]), Certificate::of(&["two.test"]));
    let gateway = Gateway::with(&format!("workers: 2\n{CONFIG}"))
        .origin(&origin)
        .file("one.pem", &one.certificate)
        .file("one.key", &one.key)
        .file("two.pem", &two.certificate)
        .file("two.key", &two.key)
        .start();
    let config = client_config(&[&one], &["http/1.1"]);
    let fields = [("host", "one.test"), ("x-api-key", "shop-key"), ("connection", "close")];
    let mut resumed = Vec::new();
    // The kernel deals connections to the workers; that all of these meet the same one is as good as impossible.
    for _ in 0..24 {
        let mut handshake = connect(gateway.address(), "one.test", &config).expect("a handshake");
        resumed.push(handshake.is_resumed);
        // The ticket comes behind the handshake and is read with the answer.
        assert_eq!(handshake.caller.call("GET", "/", &fields, b"").status, 200);
    }
    assert_eq!((resumed[0], &resumed[1..]), (false, &[true; 23][..]));
    // Who has not been here before is not known by what another showed.
    let stranger = connect(gateway.address(), "one.test", &client_config(&[&one], &[])).expect("a handshake");
    assert!(!stranger.is_resumed);
}

#[test]
fn no_handshake_and_no_request_fails_while_certificates_are_replaced() {
    let origin = Origin::start();
    let generations: Vec<Certificate> = (0..6).map(|_| Certificate::of(&["one.test"])).collect();
    let two = Certificate::of(&["two.test"]);
    let gateway = start(&origin, &generations[0], &two);
    let trusted: Vec<&Certificate> = generations.iter().collect();
    let fields = [("host", "one.test"), ("x-api-key", "shop-key")];
    let is_over = AtomicBool::new(false);
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|number| {
                let (trusted, is_over, calls, address) = (&trusted, &is_over, &calls, gateway.address());
                scope.spawn(move || {
                    let config = client_config(trusted, &["http/1.1"]);
                    let mut open = connect(address, "one.test", &config).expect("a handshake").caller;
                    while !is_over.load(Ordering::SeqCst) {
                        // One caller comes back with its ticket, the others are strangers each time.
                        let stranger = client_config(trusted, &["http/1.1"]);
                        let config = if number == 0 { &config } else { &stranger };
                        let mut once = connect(address, "one.test", config).expect("a handshake").caller;
                        assert_eq!(once.call("GET", "/", &fields, b"").status, 200);
                        assert_eq!(open.call("GET", "/", &fields, b"").status, 200);
                        calls.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for renewed in &generations[1..] {
            // Key and certificate change one after the other, as files do; what does not fit is not taken.
            gateway.replace("one.key", &renewed.key);
            gateway.replace("one.pem", &renewed.certificate);
            gateway.signal("HUP");
            let config = client_config(&[renewed], &[]);
            wait::until("the renewed certificate", || connect(gateway.address(), "one.test", &config).ok());
            // However slow the machine is, there is load between two changes; a caller that failed calls no more.
            let before = calls.load(Ordering::SeqCst);
            wait::until("more calls", || {
                let is_enough = calls.load(Ordering::SeqCst) >= before + 3;
                (is_enough || callers.iter().any(|caller| caller.is_finished())).then_some(())
            });
        }
        is_over.store(true, Ordering::SeqCst);
        callers.into_iter().for_each(|caller| caller.join().expect("no call fails"));
    });
}

#[test]
fn a_certificate_that_does_not_fit_its_key_keeps_the_old_one() {
    let origin = Origin::start();
    let (one, two) = (Certificate::of(&["one.test"]), Certificate::of(&["two.test"]));
    let gateway = start(&origin, &one, &two);
    gateway.replace("one.pem", &Certificate::of(&["one.test"]).certificate);
    gateway.signal("HUP");
    wait::until("the rejection", || {
        (gateway.metric("keygate_config_reloads_total", &[("outcome", "rejected")]) > 0.0).then_some(())
    });
    let shown = connect(gateway.address(), "one.test", &client_config(&[&one], &[])).expect("a handshake").shown;
    assert_eq!(shown, one.der);
}

#[test]
fn plain_text_on_a_tls_listener_gets_nothing() {
    let origin = Origin::start();
    let (one, two) = (Certificate::of(&["one.test"]), Certificate::of(&["two.test"]));
    let gateway = start(&origin, &one, &two);
    let mut caller = super::support::Caller::connect(gateway.address());
    caller.send("GET / HTTP/1.1\r\nhost: one.test\r\nx-api-key: shop-key\r\n\r\n");
    let answer = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
    assert!(!answer.contains(" 200 "), "{answer}");
    assert_eq!(origin.take().len(), 0);
}

#[test]
fn an_upstream_over_tls_is_checked_against_its_authority() {
    let upstream = Origin::start();
    let (one, two) = (Certificate::of(&["one.test"]), Certificate::of(&["two.test"]));
    // A gateway with TLS in front of an echo is an upstream with TLS for the next one.
    let inner = Gateway::with(
        &CONFIG
            .replace("url: \"{{origin}}\"", "echo: true")
            .replace("api_key: required, https_only: true", "public: true"),
    )
    .file("one.pem", &one.certificate)
    .file("one.key", &one.key)
    .file("two.pem", &two.certificate)
    .file("two.key", &two.key)
    .start();
    let yaml = |ca: &str, name: &str| {
        format!(
            "upstreams: {{ api: {{ url: \"https://{}\", tls: {{ ca: {ca}, server_name: {name} }} }} }}\n\
             endpoints: [ {{ name: all, path: /, upstream: api, public: true }} ]\n",
            inner.address()
        )
    };
    let mut report = Report::new();
    for (ca, name, status) in
        [("one.pem", "one.test", 200), ("two.pem", "one.test", 502), ("one.pem", "three.test", 502)]
    {
        let outer =
            Gateway::with(&yaml(ca, name)).file("one.pem", &one.certificate).file("two.pem", &two.certificate).start();
        report.equal(format!("{ca} for {name}"), super::support::get(outer.address(), "/", &[]).status, status);
    }
    report.equal("the plain upstream was never asked", upstream.requests().len(), 0);
}

#[test]
fn operators_speak_tls_where_that_is_asked_for_and_nothing_else() {
    let origin = Origin::start();
    let one = Certificate::of(&["admin.test"]);
    let gateway = Gateway::with(
        r#"
admin: { address: 127.0.0.1:0, tls: { certificate: one.pem, key: one.key } }
keys: { store: keys.db }
upstreams: { api: { url: "{{origin}}" } }
endpoints: [ { name: all, path: /, upstream: api, api_key: required } ]
"#,
    )
    .origin(&origin)
    .file("one.pem", &one.certificate)
    .file("one.key", &one.key)
    .start();
    let address = gateway.admin_over_tls();
    let token = wait::until("the first token", || gateway.stdout().lines().next().map(str::to_owned));
    let bearer = format!("Bearer {token}");
    let ask = |certificate: &Certificate| {
        let config = client_config(&[certificate], &["h2", "http/1.1"]);
        let mut handshake = connect(address, "admin.test", &config).expect("a handshake");
        assert_eq!(handshake.protocol.as_deref(), Some("http/1.1"), "HTTP/2 is not spoken to operators");
        let fields = [("host", "localhost"), ("authorization", bearer.as_str())];
        handshake.caller.call("GET", "/v1/whoami", &fields, b"")
    };
    assert_eq!(ask(&one).json()["role"], "admin");
    let mut plain = super::support::Caller::connect(address);
    plain.send("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let answer = String::from_utf8_lossy(&plain.read_to_end()).into_owned();
    assert!(!answer.contains("HTTP/1.1"), "in clear text nothing is answered: {answer}");
    let two = Certificate::of(&["admin.test"]);
    gateway.replace("one.key", &two.key);
    gateway.replace("one.pem", &two.certificate);
    gateway.signal("HUP");
    wait::until("the new certificate", || {
        let config = client_config(&[&two], &["http/1.1"]);
        connect(address, "admin.test", &config).is_ok().then_some(())
    });
    assert_eq!(ask(&two).status, 200);
}
