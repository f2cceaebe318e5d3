use super::*;
use crate::routing::testing::{endpoint, route};

mod proof;

fn build(endpoints: Vec<Endpoint>) -> Router {
    Router::build(endpoints).unwrap_or_else(|clashes| panic!("{clashes:?}"))
}

/// Endpoints named after their paths.
fn router(paths: &[&str]) -> Router {
    build(paths.iter().map(|path| endpoint(path, path)).collect())
}

fn with_routes(mut endpoint: Endpoint, routes: &[&str]) -> Endpoint {
    endpoint.routes = routes.iter().map(|text| route(text)).collect();
    endpoint
}

fn on_hosts(mut endpoint: Endpoint, hosts: &[&str]) -> Endpoint {
    endpoint.hosts = hosts.iter().map(|&host| host.into()).collect();
    endpoint
}

fn on_listeners(mut endpoint: Endpoint, listeners: &[&str]) -> Endpoint {
    endpoint.listeners = listeners.iter().map(|&listener| listener.into()).collect();
    endpoint
}

fn case_distinct(mut endpoint: Endpoint) -> Endpoint {
    endpoint.case_distinct = true;
    endpoint
}

fn admitting_all(mut endpoint: Endpoint) -> Endpoint {
    endpoint.admits = PathAdmissions { encoded_slash: true, semicolon: true, encoded_unreserved: true };
    endpoint
}

/// What a request `VERB listener host path` finds: the endpoint's name, and the route's text if it is one's.
fn ask(router: &Router, method: &str, listener: &str, host: &str, path: &str) -> String {
    let method: Method = method.parse().unwrap();
    let path = match CanonicalPath::parse(path) {
        Ok(path) => path,
        Err(error) => return format!("400 {error}"),
    };
    match router.find(listener, host, &path, &method) {
        Ok(rule) => {
            let endpoint = &router.endpoints()[rule.endpoint];
            rule.route.map_or_else(|| endpoint.name.to_string(), |route| endpoint.routes[route].text.to_string())
        }
        Err(NoMatch::NotFound) => "404".to_owned(),
        Err(NoMatch::Ambiguous(why)) => format!("400 {why}"),
    }
}

fn get(router: &Router, path: &str) -> String {
    ask(router, "GET", "main", "example.com", path)
}

const OTHER_CASE: &str = "400 in another letter case the path is governed by another rule";
const OTHER_READING: &str = "400 read in another way the path is governed by another rule";
const SLASH: &str = "400 the path holds an encoded slash (`%2F`), which the endpoint does not admit";
const SEMICOLON: &str = "400 the path holds a `;`, which the endpoint does not admit";
const UNRESERVED: &str =
    "400 the path holds a percent-encoded letter, digit, `-`, `.`, `_` or `~`, which the endpoint does not admit";

#[test]
fn the_most_specific_endpoint_wins_in_any_order() {
    let mut paths = ["/", "/orders", "/orders/:id", "/orders/new", "/orders/:id/lines", "/:any/public"];
    for _ in 0..paths.len() {
        paths.rotate_left(1);
        let router = router(&paths);
        for (path, found) in [
            ("/", "/"),
            ("/x", "/"),
            ("/x/public/y", "/:any/public"),
            ("/orders", "/orders"),
            ("/orders/", "/orders"),
            ("/orders-old", "/"),
            ("/orders/7", "/orders/:id"),
            ("/orders/7/x", "/orders/:id"),
            ("/orders/7/lines/1", "/orders/:id/lines"),
            ("/orders/new/lines", "/orders/new"),
            ("/orders/public", "/orders/:id"),
            ("//orders//7", "/orders/:id"),
        ] {
            assert_eq!(get(&router, path), found, "{path} among {paths:?}");
        }
    }
}

#[test]
fn nothing_is_found_where_no_endpoint_is() {
    let router = router(&["/foo", "/a/:id/b"]);
    for path in ["/", "/foo-bar", "/fo", "/a", "/a/1", "/a/1/c", "/a//b", "/FOO"] {
        assert_eq!(get(&router, path), "404", "{path}");
    }
    for path in ["/a/%2Fb", "/b;x", "/%62"] {
        assert!(get(&router, path).starts_with("400 "), "{path}: nobody is there to admit it");
    }
    assert_eq!(get(&build(Vec::new()), "/"), "404");
}

#[test]
fn a_route_is_for_its_verb_and_exact_path_only() {
    let router = build(vec![
        with_routes(
            endpoint("orders", "/orders"),
            &[
                "DELETE /orders/:id",
                "GET /orders/:id",
                "ALL /orders/export",
                "GET /orders/export",
                "HEAD /orders/probe",
                "GET /orders/probe",
                "ALL /orders/:id/lines",
                "POST /orders/new/lines",
                "GET /orders",
            ],
        ),
        endpoint("archive", "/orders/archive"),
    ]);
    for (method, path, found) in [
        ("DELETE", "/orders/7", "DELETE /orders/:id"),
        ("DELETE", "/orders/7/", "DELETE /orders/:id"),
        ("DELETE", "/orders/7/x", "orders"),
        ("DELETE", "/orders", "orders"),
        ("PUT", "/orders/7", "orders"),
        // A GET route governs HEAD, unless HEAD has its own.
        ("GET", "/orders/7", "GET /orders/:id"),
        ("HEAD", "/orders/7", "GET /orders/:id"),
        ("HEAD", "/orders/probe", "HEAD /orders/probe"),
        ("GET", "/orders/probe", "GET /orders/probe"),
        ("HEAD", "/orders", "GET /orders"),
        // ALL loses to a verb, and beats a less specific pattern.
        ("GET", "/orders/export", "GET /orders/export"),
        ("HEAD", "/orders/export", "GET /orders/export"),
        ("DELETE", "/orders/export", "ALL /orders/export"),
        ("PURGE", "/orders/export", "ALL /orders/export"),
        // A more specific pattern for another verb is no match.
        ("POST", "/orders/new/lines", "POST /orders/new/lines"),
        ("PUT", "/orders/new/lines", "ALL /orders/:id/lines"),
        ("DELETE", "/orders/probe", "DELETE /orders/:id"),
        // Verbs are compared as they are.
        ("delete", "/orders/7", "orders"),
        // Another endpoint won the path: routes above it do not reach it.
        ("GET", "/orders/archive", "archive"),
    ] {
        assert_eq!(ask(&router, method, "main", "h", path), found, "{method} {path}");
    }
}

#[test]
fn hosts_are_tried_from_the_most_to_the_least_specific() {
    let router = build(vec![
        endpoint("any", "/"),
        endpoint("any/admin", "/admin"),
        on_hosts(endpoint("api", "/v1"), &["api.example.com"]),
        on_hosts(endpoint("example", "/v1"), &["*.example.com", "example.com"]),
        on_hosts(endpoint("eu", "/v1/x"), &["*.eu.example.com"]),
    ]);
    for (host, path, found) in [
        ("api.example.com", "/v1", "api"),
        ("api.example.com.", "/v1", "api"),
        ("api.example.com", "/v2", "any"),
        ("api.example.com", "/admin", "any/admin"),
        ("shop.example.com", "/v1", "example"),
        ("a.b.example.com", "/v1", "example"),
        ("example.com", "/v1", "example"),
        (".example.com", "/v1", "any"),
        ("badexample.com", "/v1", "any"),
        ("api.example.com.evil.org", "/v1", "any"),
        ("a.eu.example.com", "/v1/x", "eu"),
        ("a.eu.example.com", "/v1/y", "example"),
        ("eu.example.com", "/v1/x", "example"),
        ("", "/v1", "any"),
        ("...", "/v1", "any"),
    ] {
        assert_eq!(ask(&router, "GET", "main", host, path), found, "{host}{path}");
    }
}

#[test]
fn a_host_of_many_labels_costs_no_more_than_its_length() {
    let router = build(vec![on_hosts(endpoint("example", "/"), &["*.example.com"])]);
    let host = format!("{}example.com", "a.".repeat(50_000));
    assert_eq!(ask(&router, "GET", "main", &host, "/"), "example");
    assert_eq!(ask(&router, "GET", "main", &"a.".repeat(50_000), "/"), "404");
}

#[test]
fn an_endpoint_that_names_listeners_exists_only_there() {
    let router = build(vec![
        endpoint("open", "/"),
        on_listeners(endpoint("inside", "/admin"), &["internal", "backoffice"]),
        on_listeners(endpoint("outside", "/admin"), &["public"]),
    ]);
    for (listener, found) in [("internal", "inside"), ("backoffice", "inside"), ("public", "outside"), ("main", "open")]
    {
        assert_eq!(ask(&router, "GET", listener, "h", "/admin/x"), found, "{listener}");
    }
}

#[test]
fn a_construct_passes_only_where_the_endpoint_admits_it() {
    let admits = |name: &str, admits: PathAdmissions| {
        let mut endpoint = endpoint(name, &format!("/{name}"));
        endpoint.admits = admits;
        endpoint
    };
    let none = PathAdmissions::default();
    let router = build(vec![
        admits("none", none),
        admits("slash", PathAdmissions { encoded_slash: true, ..none }),
        admits("semicolon", PathAdmissions { semicolon: true, ..none }),
        admits("letters", PathAdmissions { encoded_unreserved: true, ..none }),
    ]);
    for (path, found) in [
        ("/none/a%2Fb", SLASH),
        ("/none/a;b", SEMICOLON),
        ("/none/%61", UNRESERVED),
        ("/none/%2561", UNRESERVED),
        ("/none/a%20b%40c", "none"),
        ("/slash/a%2Fb", "slash"),
        ("/slash/a%2fb", "slash"),
        ("/slash/a;b", SEMICOLON),
        ("/slash/%61", UNRESERVED),
        ("/semicolon/a;b", "semicolon"),
        ("/semicolon/a%2Fb", SLASH),
        ("/letters/%61%2D", "letters"),
        ("/letters/a;b", SEMICOLON),
        // What is refused on its own stays refused.
        ("/slash/..%2Fnone", "400 a segment of the path is nothing but dots, plain or encoded"),
        ("/semicolon/..;/none", "400 a segment of the path is nothing but dots, plain or encoded"),
        ("/letters/%2e%2e/none", "400 a segment of the path is nothing but dots, plain or encoded"),
    ] {
        assert_eq!(get(&router, path), found, "{path}");
    }
}

#[test]
fn a_path_that_another_reader_takes_for_another_rules_is_refused() {
    let router = build(vec![
        admitting_all(with_routes(endpoint("open", "/"), &["GET /special/:id", "GET /reports"])),
        admitting_all(endpoint("admin", "/admin")),
        endpoint("me", "/@me"),
        admitting_all(endpoint("files", "/files/:name")),
        endpoint("caf\u{e9}", "/caf%C3%A9"),
        endpoint("secret", "/files/:name/secret"),
    ]);
    for (path, found) in [
        ("/x", "open"),
        ("/admin", "admin"),
        // Decoded, it is `/admin`.
        ("/%61dmin", OTHER_READING),
        ("/admi%6E/users", OTHER_READING),
        ("/%2561dmin", OTHER_READING),
        ("/%25%36%31dmin", OTHER_READING),
        ("/x%61", "open"),
        ("/admin/%61", "admin"),
        // `%2F` as a slash.
        ("/admin%2Fusers", OTHER_READING),
        ("/x%2Fadmin", "open"),
        ("/%2Fadmin", OTHER_READING),
        ("/admin/a%2Fb", "admin"),
        ("/files/a%2Fsecret", OTHER_READING),
        ("/files/a%2Fb", "files"),
        ("/files/%2F", OTHER_READING),
        // Parameters stripped, before and after decoding.
        ("/admin;x", OTHER_READING),
        ("/;/admin", OTHER_READING),
        ("/admin%3Bx", OTHER_READING),
        ("/admin%253Bx", OTHER_READING),
        ("/x;/admin", "open"),
        ("/files/a;b/secret", SEMICOLON),
        ("/files/;/secret", SEMICOLON),
        ("/files/a;b", "files"),
        ("/files/n;x%2Fy/%2Fsecret", OTHER_READING),
        ("/files/n;x%2Fy/%2Fz", "files"),
        // All at once.
        ("/%61dmin;v=1%2Fx", OTHER_READING),
        ("/x;%2F%61dmin", "open"),
        ("/;%2F%61dmin", OTHER_READING),
        // The path ended at an encoded `?` or `#`.
        ("/admin%3Fx", OTHER_READING),
        ("/admin%23", OTHER_READING),
        ("/admin%253F", OTHER_READING),
        ("/x%3Fadmin", "open"),
        // Reserved characters that mean the same encoded for most readers.
        ("/%40me", OTHER_READING),
        ("/@me", "me"),
        ("/x%40me", "open"),
        // Encoded letters in lower case digits.
        ("/caf%C3%A9", "caf\u{e9}"),
        ("/caf%c3%a9", OTHER_CASE),
        ("/caf%25C3%25A9", OTHER_READING),
        // Dots and blanks that some file systems do not see.
        ("/admin.", OTHER_READING),
        ("/admin%20", OTHER_READING),
        ("/admin./x", OTHER_READING),
        ("/admin.%20.", OTHER_READING),
        ("/admin.json", "open"),
        ("/admin/x.", "admin"),
        // Routes are rules too.
        ("/special/7", "GET /special/:id"),
        ("/special%2F7", OTHER_READING),
        ("/special/7%2F", "GET /special/:id"),
        ("/special/7;x", "GET /special/:id"),
        ("/special/%20", OTHER_READING),
        ("/reports", "GET /reports"),
        ("/reports/", "GET /reports"),
        ("/reports;v=2", OTHER_READING),
        ("/reports%3Fx", OTHER_READING),
        ("/report%73", OTHER_READING),
    ] {
        assert_eq!(get(&router, path), found, "{path}");
    }
}

#[test]
fn letter_case_never_moves_a_request_to_another_rule() {
    let router = build(vec![
        with_routes(endpoint("open", "/"), &["GET /Reports", "POST /key/:id"]),
        endpoint("admin", "/admin"),
        endpoint("Users", "/api/Users"),
        case_distinct(endpoint("links", "/l")),
        endpoint("links/admin", "/l/admin"),
    ]);
    for (method, path, found) in [
        ("GET", "/admin", "admin"),
        ("GET", "/Admin", OTHER_CASE),
        ("GET", "/ADMIN/x", OTHER_CASE),
        ("GET", "/admin/X", "admin"),
        ("GET", "/Xyz/admin", "open"),
        ("GET", "/api/Users/7", "Users"),
        ("GET", "/api/users/7", OTHER_CASE),
        ("GET", "/API/Users", OTHER_CASE),
        ("GET", "/api", "open"),
        ("GET", "/API", "open"),
        // Routes.
        ("GET", "/Reports", "GET /Reports"),
        ("GET", "/reports", OTHER_CASE),
        ("POST", "/reports", "open"),
        ("POST", "/key/AbC", "POST /key/:id"),
        ("POST", "/Key/AbC", OTHER_CASE),
        ("GET", "/Key/AbC", "open"),
        // Letters outside ASCII that fold into it, and encoded ones.
        ("GET", "/%E2%84%AAey/1", "open"),
        ("POST", "/%E2%84%AAey/1", OTHER_CASE),
        ("GET", "/u%C5%BFers", "open"),
        ("GET", "/api/u%C5%BFers", OTHER_CASE),
        ("GET", "/adm%C4%B1n", OTHER_CASE),
        ("GET", "/Admin.", OTHER_READING),
        ("GET", "/Admin%3F", OTHER_READING),
        // An endpoint that says that case matters keeps paths that differ by it apart.
        ("GET", "/l/AbC", "links"),
        ("GET", "/l/Admin", "links"),
        ("GET", "/l/admin", "links/admin"),
        ("GET", "/L/x", "open"),
    ] {
        assert_eq!(ask(&router, method, "main", "h", path), found, "{method} {path}");
    }
}

#[test]
fn patterns_that_differ_by_case_live_together_where_case_matters() {
    let router = build(vec![case_distinct(endpoint("Foo", "/Foo")), endpoint("foo", "/foo"), endpoint("root", "/")]);
    for (path, found) in
        [("/Foo", "Foo"), ("/foo", "foo"), ("/foo/BAR", "foo"), ("/FOO", OTHER_CASE), ("/Foo/x", "Foo"), ("/X", "root")]
    {
        assert_eq!(get(&router, path), found, "{path}");
    }
}

#[test]
fn what_differs_by_host_does_not_hide_what_differs_by_case() {
    let router = build(vec![endpoint("open", "/"), on_hosts(endpoint("admin", "/admin"), &["*.example.com"])]);
    assert_eq!(ask(&router, "GET", "main", "a.example.com", "/Admin"), OTHER_CASE);
    assert_eq!(ask(&router, "GET", "main", "a.example.com", "/admin%3F"), OTHER_READING);
    assert_eq!(ask(&router, "GET", "main", "example.com", "/Admin"), "open");
}

#[test]
fn two_entries_with_the_same_right_are_refused() {
    let clashes = |endpoints: Vec<Endpoint>| match Router::build(endpoints) {
        Ok(_) => Vec::new(),
        Err(clashes) => clashes
            .into_iter()
            .map(|clash| {
                let name = |endpoint: usize, route: Option<usize>| {
                    route.map_or_else(|| endpoint.to_string(), |route| format!("{endpoint}.{route}"))
                };
                let (one, other) = (name(clash.endpoint, clash.route), name(clash.with, clash.with_route));
                format!("{one} {} {other}", clash.kind)
            })
            .collect::<Vec<_>>(),
    };
    let plain = |path: &str| endpoint(path, path);
    for (endpoints, expected) in [
        (vec![plain("/a"), plain("/a")], &["1 claims the same requests as 0"][..]),
        (vec![plain("/a/:x"), plain("/b"), plain("/a/:y")], &["2 claims the same requests as 0"]),
        (vec![plain("/a/:x/c"), plain("/a/b/:y"), plain("/a/:x")], &[]),
        (
            vec![plain("/"), plain("/"), plain("/")],
            &["1 claims the same requests as 0", "2 claims the same requests as 0", "2 claims the same requests as 1"],
        ),
        // Hosts and listeners.
        (vec![plain("/a"), on_hosts(plain("/a"), &["h"])], &[]),
        (
            vec![on_hosts(plain("/a"), &["g", "h"]), on_hosts(plain("/a"), &["h", "i"])],
            &["1 claims the same requests as 0"],
        ),
        (vec![on_hosts(plain("/a"), &["*.h"]), on_hosts(plain("/a"), &["h"])], &[]),
        (vec![on_hosts(plain("/a"), &["h", "h"])], &[]),
        (vec![on_hosts(plain("/a"), &["h."]), on_hosts(plain("/a"), &["h"])], &["1 claims the same requests as 0"]),
        (vec![on_listeners(plain("/a"), &["x"]), on_listeners(plain("/a"), &["y"])], &[]),
        (
            vec![on_listeners(plain("/a"), &["x", "y"]), on_listeners(plain("/a"), &["y", "x"])],
            &["1 claims the same requests as 0"],
        ),
        (vec![on_listeners(plain("/a"), &["x"]), plain("/a")], &["1 claims the same requests as 0"]),
        // Letter case.
        (vec![plain("/a/Users"), plain("/a/users")], &["1 differs only by letter case from 0"]),
        (vec![plain("/A/:x"), plain("/a/:y")], &["1 differs only by letter case from 0"]),
        (vec![plain("/a/Users"), case_distinct(plain("/a/users"))], &[]),
        (vec![plain("/caf%C3%A9"), plain("/caf%C3%89")], &["1 differs only by letter case from 0"]),
        // Routes.
        (
            vec![with_routes(plain("/a"), &["GET /a/:x", "POST /a/:y", "GET /a/:y", "GET /a/b"])],
            &["0.2 claims the same requests as 0.0"],
        ),
        (vec![with_routes(plain("/a"), &["ALL /a", "GET /a", "ALL /a"])], &["0.2 claims the same requests as 0.0"]),
        (vec![with_routes(plain("/a"), &["GET /a/B", "GET /a/b"])], &["0.1 differs only by letter case from 0.0"]),
        (vec![with_routes(plain("/a"), &["GET /a/B", "POST /a/b"])], &[]),
        (vec![case_distinct(with_routes(plain("/a"), &["GET /a/B", "GET /a/b"]))], &[]),
        (vec![with_routes(plain("/a"), &["GET /a/b/c"]), with_routes(plain("/a/b"), &["GET /a/b/c"])], &[]),
    ] {
        assert_eq!(clashes(endpoints), expected);
    }
}

/// All mixtures of a literal and a parameter on so many segments that finding a path could take thousands of steps.
#[test]
fn a_configuration_that_makes_searches_expensive_is_refused() {
    let mixtures = |segments: u32| {
        let segment = |mixture: u32, at: u32| if mixture >> at & 1 == 0 { "/a".to_owned() } else { format!("/:p{at}") };
        let path = |mixture: u32| (0..segments).map(|at| segment(mixture, at)).collect::<String>();
        (0..1 << segments).map(path).collect::<Vec<_>>()
    };
    let endpoints = |segments| mixtures(segments).iter().map(|path| endpoint(path, path)).collect::<Vec<_>>();
    assert!(Router::build(endpoints(7)).is_ok());
    let clashes = Router::build(endpoints(8)).unwrap_err();
    assert_eq!(clashes.iter().map(|clash| clash.kind).collect::<Vec<_>>(), [ClashKind::Entangled]);

    let routes: Vec<String> = mixtures(8).iter().map(|path| format!("GET {path}")).collect();
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let clashes = Router::build(vec![with_routes(endpoint("a", "/"), &routes)]).unwrap_err();
    assert_eq!(
        clashes.iter().map(|clash| (clash.kind, clash.endpoint, clash.with)).collect::<Vec<_>>(),
        [(ClashKind::Entangled, 0, 0)]
    );
}

#[test]
fn candidates_are_told_from_the_most_to_the_least_specific() {
    let router = build(vec![
        endpoint("root", "/"),
        with_routes(endpoint("orders", "/orders"), &["GET /orders/:id", "DELETE /orders/new", "GET /orders/:id/x"]),
        on_hosts(endpoint("api", "/"), &["api.example.com"]),
        on_hosts(endpoint("wild", "/:any"), &["*.example.com", "*.com"]),
        on_listeners(endpoint("inside", "/orders/new"), &["internal"]),
        endpoint("other", "/other"),
    ]);
    let candidates: Vec<String> = router
        .candidates("api.example.com", &CanonicalPath::parse("/orders/new").unwrap())
        .into_iter()
        .map(|rule| {
            let endpoint = &router.endpoints()[rule.endpoint];
            rule.route.map_or_else(|| endpoint.name.to_string(), |route| endpoint.routes[route].text.to_string())
        })
        .collect();
    assert_eq!(candidates, ["api", "wild", "inside", "DELETE /orders/new", "GET /orders/:id", "orders", "root"]);
}

#[test]
fn a_reference_names_its_rule() {
    let mut orders = with_routes(endpoint("orders", "/orders"), &["GET /orders/:id"]);
    orders.routes[0].rule.policy.public = false;
    let router = build(vec![orders]);
    assert!(router.rule(RuleRef { endpoint: 0, route: None }).policy.public);
    assert!(!router.rule(RuleRef { endpoint: 0, route: Some(0) }).policy.public);
}
