use std::time::UNIX_EPOCH;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

use super::*;

/// A served address, and what is behind it.
struct Served {
    address: SocketAddr,
    health: Health,
    reloads: Arc<std::sync::atomic::AtomicUsize>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Admin,
    Observe,
}

async fn served(role: Role, bind: &str, outcome: ReloadOutcome) -> Served {
    served_with(role, bind, outcome, true).await
}

async fn served_with(role: Role, bind: &str, outcome: ReloadOutcome, has_console: bool) -> Served {
    let health = Health::default();
    health.published(1, "abc123", UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    health.keys_loaded();
    let metrics = Metrics::new(health.clone());
    let reloads = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let ops = if role == Role::Observe {
        Ops::observe(metrics, health.clone())
    } else {
        let (reloads, of_reload) = (Arc::clone(&reloads), health.clone());
        let reload: Reload = Arc::new(move || {
            reloads.fetch_add(1, Ordering::SeqCst);
            let (outcome, health) = (outcome.clone(), of_reload.clone());
            Box::pin(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                health.reload_finished(outcome.clone(), UNIX_EPOCH + Duration::from_secs(1_700_000_001));
                outcome
            })
        });
        let (_, api) = crate::admin::tests::api(Some(Arc::clone(&reload)));
        Ops::admin(metrics, health.clone(), reload, api, has_console)
    };
    let listener = TcpListener::bind(bind).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(serve(listener, ops, None, async {
        let _ = stopped.await;
    }));
    Served { address, health, reloads, stop, ended }
}

impl Served {
    /// Sends bytes, and gives status, head and body of the answer; 0 if there is none.
    async fn send(&self, request: &str) -> (u16, String, String) {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip("127.0.0.1".parse().unwrap());
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        // A reset after the answer is an end as good as any.
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await.unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")).await
    }
}

const INTENT: &str = "x-keygate-intent: reload\r\n";

#[tokio::test]
async fn each_path_answers_on_its_address_by_its_method_alone() {
    for role in [Role::Admin, Role::Observe] {
        let served = served(role, "127.0.0.1:0", ReloadOutcome::Applied).await;
        let reload = if role == Role::Admin { (405, Some("allow: post")) } else { (404, None) };
        for (request, (status, header)) in [
            ("GET /livez", (200, Some("content-type: text/plain; charset=utf-8"))),
            ("GET /healthz", (200, None)),
            ("GET /readyz", (200, Some("content-type: application/json"))),
            ("GET /metrics", (200, Some("content-type: text/plain; version=0.0.4; charset=utf-8"))),
            ("GET /", (200, Some("cache-control: no-store"))),
            ("HEAD /livez", (200, None)),
            ("POST /livez", (405, Some("allow: get, head"))),
            ("DELETE /metrics", (405, Some("content-type: application/problem+json"))),
            ("OPTIONS /", (405, None)),
            ("GET /reload", reload),
            ("GET /Livez", (404, None)),
            ("GET /livez/", (404, None)),
            ("GET //livez", (404, None)),
            ("GET /%6civez", (404, None)),
            ("GET /../livez", (404, None)),
            ("GET /nothing", (404, Some("x-content-type-options: nosniff"))),
        ] {
            let answer = served.send(&format!("{request} HTTP/1.1\r\nHost: localhost:1\r\n\r\n")).await;
            assert_eq!(answer.0, status, "{request}: {answer:?}");
            assert!(header.is_none_or(|header| answer.1.contains(header)), "{request}: {answer:?}");
            assert!(answer.1.contains("connection: close"), "{request}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn readiness_follows_the_state_and_says_why() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    assert_eq!(
        served.get("/readyz?verbose").await.2,
        "[+]configuration ok\n[+]keys ok\n[+]not-draining ok\nreadyz check passed\n"
    );

    let problem = ReloadOutcome::Rejected { problem: "gateway.yaml:3: no".into() };
    served.health.reload_finished(problem, UNIX_EPOCH + Duration::from_secs(1_700_000_002));

    let (status, _, body) = served.get("/readyz").await;
    assert_eq!(status, 200, "the rules before it are in force");
    let body: Value = serde_json::from_str(&body).unwrap();
    let expected = json!({
        "ready": true, "generation": 1, "content_digest": "abc123", "loaded_at": "2023-11-14T22:13:20.000Z",
        "keys_loaded": true, "draining": false,
        "last_reload": { "outcome": "rejected", "at": "2023-11-14T22:13:22.000Z", "problem": "gateway.yaml:3: no" },
    });
    assert_eq!(body, expected);

    served.health.draining();
    let (status, _, body) = served.get("/readyz?verbose").await;
    assert_eq!(status, 503);
    assert_eq!(
        body,
        "[+]configuration ok\n[+]keys ok\n[-]not-draining failed\n[!]last-reload rejected, the configuration before it \
         stays in force\nreadyz check failed\n"
    );
    assert_eq!(served.get("/livez").await.0, 200);
}

#[tokio::test]
async fn what_a_failed_reload_quotes_is_not_shown_to_strangers() {
    let served = served(Role::Observe, "127.0.0.1:0", ReloadOutcome::Applied).await;
    let problem = ReloadOutcome::Rejected { problem: "quoted line".into() };
    served.health.reload_finished(problem, UNIX_EPOCH);
    for path in ["/readyz", "/readyz?verbose", "/", "/metrics", "/livez?verbose"] {
        let (status, head, body) = served.get(path).await;
        assert!(status == 200 && !body.contains("quoted line"), "{path}: {head}\n{body}");
    }
    assert!(served.get("/readyz").await.2.contains(r#""outcome":"rejected""#));
}

#[tokio::test]
async fn metrics_are_served() {
    let served = served(Role::Observe, "127.0.0.1:0", ReloadOutcome::Applied).await;
    let (_, _, body) = served.get("/metrics").await;
    assert!(body.contains("\nkeygate_config_generation 1\n"), "{body}");
}

#[tokio::test]
async fn a_reload_is_run_and_its_outcome_told() {
    let rejected = ReloadOutcome::Rejected { problem: "line 3".into() };
    for (outcome, status, body) in [
        (ReloadOutcome::Applied, 200, json!({ "outcome": "applied", "generation": 1 })),
        (ReloadOutcome::Unchanged, 200, json!({ "outcome": "unchanged", "generation": 1 })),
        (rejected, 422, json!({ "outcome": "rejected", "generation": 1, "problem": "line 3" })),
    ] {
        let served = served(Role::Admin, "127.0.0.1:0", outcome).await;
        let answer = served.send(&format!("POST /reload HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n{INTENT}\r\n")).await;
        assert_eq!((answer.0, serde_json::from_str::<Value>(&answer.2).unwrap()), (status, body));
        assert_eq!(served.reloads.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_browser_a_proxy_or_a_stranger_cannot_reload() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    for (headers, status, code) in [
        ("Host: localhost\r\n", 403, "intent_missing"),
        ("Host: localhost\r\nx-keygate-intent: 1\r\n", 403, "intent_missing"),
        ("Host: localhost\r\nx-keygate-intent: reload\r\nx-keygate-intent: reload\r\n", 403, "intent_missing"),
        (&format!("Host: evil.example:9090\r\n{INTENT}"), 421, "host_not_loopback"),
        (&format!("Host: localhost\r\nHost: localhost\r\n{INTENT}"), 400, "host_invalid"),
        (INTENT, 400, "host_invalid"),
        (&format!("Host: localhost\r\nOrigin: http://localhost:9090\r\n{INTENT}"), 403, "cross_site"),
        (&format!("Host: localhost\r\nOrigin: null\r\n{INTENT}"), 403, "cross_site"),
        (&format!("Host: localhost\r\nSec-Fetch-Site: cross-site\r\n{INTENT}"), 403, "cross_site"),
        (&format!("Host: localhost\r\nSec-Fetch-Site: same-origin\r\n{INTENT}"), 403, "cross_site"),
        (&format!("Host: localhost\r\nX-Forwarded-For: 10.0.0.1\r\n{INTENT}"), 403, "proxied"),
        (&format!("Host: localhost\r\nVia: 1.1 x\r\n{INTENT}"), 403, "proxied"),
        (&format!("Host: localhost\r\nContent-Length: 2\r\n{INTENT}\r\n{{}}"), 400, "body_not_wanted"),
    ] {
        let (shown, _, body) = served.send(&format!("POST /reload HTTP/1.1\r\n{headers}\r\n")).await;
        assert!(shown == status && body.contains(code), "{headers}: {shown} {body}");
    }
    // A target with a host of its own is a request to a proxy.
    let absolute = "GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(served.send(absolute).await.0, 400);
    let rebound = served.send("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert!(rebound.0 == 421 && !rebound.2.contains("keygate_"), "{rebound:?}");
    assert_eq!(served.reloads.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_admin_address_that_others_can_reach_changes_nothing() {
    let served = served(Role::Admin, "0.0.0.0:0", ReloadOutcome::Applied).await;
    let (status, _, body) = served.send(&format!("POST /reload HTTP/1.1\r\nHost: localhost\r\n{INTENT}\r\n")).await;
    assert!(status == 403 && body.contains("admin_not_loopback"), "{status} {body}");
    assert_eq!(served.reloads.load(Ordering::SeqCst), 0);
    // Whoever binds it so wants it read under any name.
    assert_eq!(served.send("GET /livez HTTP/1.1\r\nHost: gateway.internal\r\n\r\n").await.0, 200);
}

#[tokio::test]
async fn one_reload_at_a_time() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    let request = format!("POST /reload HTTP/1.1\r\nHost: localhost\r\n{INTENT}\r\n");
    let (one, two) = tokio::join!(served.send(&request), served.send(&request));
    let mut statuses = [one.0, two.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    assert_eq!(served.send(&request).await.0, 200, "and again, when it is over");
    assert_eq!(served.reloads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_a_reload() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Unchanged).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(format!("POST /reload HTTP/1.1\r\nHost: localhost\r\n{INTENT}\r\n").as_bytes()).await.unwrap();
    while served.reloads.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(stream);
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while served.health.status().last_reload.is_none() {
        assert!(std::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn heads_that_are_too_long_are_refused() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    for head in [format!("a: {}\r\n", "x".repeat(40_000)), "a: b\r\n".repeat(100)] {
        let (status, ..) = served.send(&format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{head}\r\n")).await;
        assert!(matches!(status, 0 | 400 | 431), "{status}");
    }
    assert_eq!(served.get("/livez").await.0, 200);
}

#[tokio::test]
async fn a_silent_caller_is_let_go() {
    let served = served(Role::Observe, "127.0.0.1:0", ReloadOutcome::Applied).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /livez HT").await.unwrap();
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(2 * HEAD_TIMEOUT, stream.read_to_end(&mut bytes)).await;
    assert!(ended.is_ok(), "still open");
    assert!(!bytes.starts_with(b"HTTP/1.1 200"), "{bytes:?}");
}

#[tokio::test]
async fn a_drain_closes_the_listener_and_finishes_what_is_under_way() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(format!("POST /reload HTTP/1.1\r\nHost: localhost\r\n{INTENT}\r\n").as_bytes()).await.unwrap();
    while served.reloads.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    served.stop.send(()).unwrap();

    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    tokio::time::timeout(Duration::from_secs(5), served.ended).await.unwrap().unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn a_browser_is_sent_to_the_console_and_others_see_the_table() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    let browser = "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\r\n";
    let (status, head, _) = served.send(browser).await;
    assert!(status == 302 && head.contains("location: /console/\r\n"), "{head}");
    let (status, _, body) = served.get("/").await;
    assert!(status == 200 && body.contains("/console/"), "{body}");
    let (status, head, body) = served.get("/console/").await;
    assert!(status == 200 && head.contains("content-type: text/html") && body.contains("<!doctype html>"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
    // A page that lets its own name resolve to this machine gets nothing.
    let rebound = served.send("GET /console/ HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert_eq!(rebound.0, 421);

    let off = served_with(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied, false).await;
    assert_eq!((off.send(browser).await.0, off.get("/console/").await.0, off.get("/console").await.0), (200, 404, 404));
    assert!(!off.get("/").await.2.contains("console"));
    let observe = served_with(Role::Observe, "127.0.0.1:0", ReloadOutcome::Applied, true).await;
    assert_eq!((observe.send(browser).await.0, observe.get("/console/").await.0), (200, 404));
}

#[tokio::test]
async fn no_answer_of_the_admin_address_can_be_taken_for_a_page() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    for path in
        ["/", "/livez", "/readyz", "/metrics", "/nothing", "/reload", "/openapi.json", "/v1/keys", "/v1/nothing"]
    {
        let (_, head, _) = served.get(path).await;
        for header in [
            "content-security-policy: default-src 'none'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cross-origin-resource-policy: same-origin",
            "x-frame-options: deny",
        ] {
            assert!(head.contains(header), "{path}: {header} is not in\n{head}");
        }
        assert!(!head.contains("access-control-"), "{path}: no other origin is let in\n{head}");
        assert!(!head.contains("content-type: text/html"), "{path}\n{head}");
    }
}

#[tokio::test]
async fn a_browser_asks_for_many_files_over_one_connection_and_others_do_not() {
    let served = served(Role::Admin, "127.0.0.1:0", ReloadOutcome::Applied).await;
    let of_console = "GET /console/ HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let by_console = "GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nX-Keygate-Console: 1\r\n\r\n";
    let last = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let (_, head, rest) = served.send(&format!("{of_console}{by_console}{of_console}{last}{last}")).await;
    assert!(!head.contains("connection: close"), "{head}");
    let all = head + &rest;
    assert_eq!(all.matches("http/1.1 ").count() + all.matches("HTTP/1.1 ").count(), 4, "{all}");
    assert!(all.ends_with("ok\n"), "nothing is answered behind the last: {all}");

    // One that is open and silent holds nobody up at the end.
    let mut open = TcpStream::connect(served.address).await.unwrap();
    open.write_all(of_console.as_bytes()).await.unwrap();
    let mut some = [0; 64];
    open.read_exact(&mut some).await.unwrap();
    let began = Instant::now();
    served.stop.send(()).unwrap();
    served.ended.await.unwrap();
    assert!(began.elapsed() < CLOSING_TIME / 2, "{:?}", began.elapsed());
}
