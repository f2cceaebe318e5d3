//! Thousands of requests that nobody thought of, and for each the verdict of a second opinion.
//!
//! The rules are written down once more below, as plainly as they can be said: a list of endpoints, a list of keys, and the
//! order in which things are asked. Requests are put together by chance from what is ordinary and what is tricky, always
//! the same ones, and sent over a few connections that stay open. Status, code, the endpoint in the access log, the path
//! and the identity that the upstream sees: each must be what the model says.
//!
//! The model knows nothing of the program. It reads paths with the careless servers of the fuzz targets.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::support::{Caller, Gateway, Origin, Report, keys};

#[allow(dead_code, reason = "the fuzz targets tell which reader it was")]
#[path = "../fuzz/bodies/readers.rs"]
mod readers;

const REQUESTS: usize = 12_000;

const CONFIG: &str = r#"
environment: live
limits: { rejected_keys: none }
upstreams: { api: { url: "{{origin}}" } }
key_prefixes: [ { prefix: kg_ } ]
endpoints:
  - { name: open, path: /open, upstream: api, public: true }
  - { name: open-admin, path: /open/admin, upstream: api, client_types: [admin] }
  - name: orders
    path: /orders
    upstream: api
    permissions: { GET: [orders.read], POST: [orders.write] }
    routes: [ { match: "DELETE /orders/:id", permissions: [orders.delete] } ]
  - { name: orders-internal, path: /orders/internal, upstream: api, client_types: [admin, desk] }
  - { name: orders-lines, path: "/orders/:id/lines", upstream: api, api_key: required, methods: [GET, PUT] }
  - { name: files, path: /files, upstream: api, public: true, admit: [encoded_slash, semicolon, encoded_unreserved] }
  - { name: files-secret, path: /files/secret, upstream: api, client_types: [admin] }
  - { name: tenants, path: "/tenants/:tenant", upstream: api, api_key: required, tenant: { path: tenant } }
  - { name: Cased, path: /Cased, upstream: api, public: true, case: distinct }
  - { name: cased, path: /cased, upstream: api, client_types: [admin] }
  - { name: partner, path: /partner, upstream: api, api_key: required, credentials: [ { header: x-partner-key } ] }
  - { name: pages, path: /pages, upstream: api, key_types: [publishable] }
  - { name: words, path: /words, upstream: api, allow: "clientType == 'cms' && groups.staff || permissions['orders.read']" }
  - { name: mixed, path: /mixed, upstream: api, public: true, allow: "clientType != 'cms' || groups.staff" }
  - { name: admin-host, path: /, hosts: [admin.test], upstream: api, client_types: [admin] }
"#;

/// An endpoint, and what it asks for.
struct Endpoint {
    name: &'static str,
    host: Option<&'static str>,
    /// Segments; `*` is a parameter.
    pattern: &'static [&'static str],
    asks: Asks,
}

#[derive(Clone, Copy)]
enum Asks {
    Nothing,
    Key,
    Types(&'static [&'static str]),
    /// Permissions by method, and the route that adds `DELETE`.
    Orders,
    Tenant,
    Publishable,
    Words,
    Mixed,
}

const fn at(name: &'static str, pattern: &'static [&'static str], asks: Asks) -> Endpoint {
    Endpoint { name, host: None, pattern, asks }
}

const ENDPOINTS: &[Endpoint] = &[
    at("open", &["open"], Asks::Nothing),
    at("open-admin", &["open", "admin"], Asks::Types(&["admin"])),
    at("orders", &["orders"], Asks::Orders),
    at("orders-internal", &["orders", "internal"], Asks::Types(&["admin", "desk"])),
    at("orders-lines", &["orders", "*", "lines"], Asks::Key),
    at("files", &["files"], Asks::Nothing),
    at("files-secret", &["files", "secret"], Asks::Types(&["admin"])),
    at("tenants", &["tenants", "*"], Asks::Tenant),
    at("Cased", &["Cased"], Asks::Nothing),
    at("cased", &["cased"], Asks::Types(&["admin"])),
    at("partner", &["partner"], Asks::Key),
    at("pages", &["pages"], Asks::Publishable),
    at("words", &["words"], Asks::Words),
    at("mixed", &["mixed"], Asks::Mixed),
    Endpoint { name: "admin-host", host: Some("admin.test"), pattern: &[], asks: Asks::Types(&["admin"]) },
];

/// A client, as the configuration has it and as the rules see it.
struct Client {
    id: &'static str,
    client_type: &'static str,
    yaml: &'static str,
    tenant: Option<&'static str>,
    is_staff: bool,
    rights: Rights,
}

#[derive(Clone, Copy)]
enum Rights {
    All,
    ReadOnly,
    Listed(&'static [&'static str]),
}

const CLIENTS: &[Client] = &[
    Client { id: "root", client_type: "admin", yaml: "", tenant: None, is_staff: false, rights: Rights::All },
    Client {
        id: "shop",
        client_type: "cms",
        yaml: "tenant: acme, groups: [staff], permissions: [orders.write]",
        tenant: Some("acme"),
        is_staff: true,
        rights: Rights::Listed(&["orders.write"]),
    },
    Client {
        id: "plain",
        client_type: "cms",
        yaml: "permissions: [orders.read, 'invoices.*']",
        tenant: None,
        is_staff: false,
        rights: Rights::Listed(&["orders.read", "invoices.*"]),
    },
    Client {
        id: "all-orders",
        client_type: "desk",
        yaml: "tenant: other, permissions: ['orders.*']",
        tenant: Some("other"),
        is_staff: false,
        rights: Rights::Listed(&["orders.*"]),
    },
    Client {
        id: "reader",
        client_type: "desk",
        yaml: "permissions: read_only",
        tenant: None,
        is_staff: false,
        rights: Rights::ReadOnly,
    },
    Client {
        id: "nothing",
        client_type: "cms",
        yaml: "tenant: acme, permissions: []",
        tenant: Some("acme"),
        is_staff: false,
        rights: Rights::Listed(&[]),
    },
    Client {
        id: "gone",
        client_type: "admin",
        yaml: "active: false",
        tenant: None,
        is_staff: false,
        rights: Rights::All,
    },
];

/// A key: its text, its client, what the configuration says of it besides, and whether it is good.
type Key = (&'static str, &'static str, &'static str, bool);

const KEYS: &[Key] = &[
    ("kg_root", "root", "", true),
    ("kg_root_live", "root", "environment: live", true),
    ("kg_root_off", "root", "active: false", false),
    ("kg_root_past", "root", "expires_at: '2020-01-01T00:00:00Z'", false),
    ("kg_root_early", "root", "not_before: '2999-01-01T00:00:00Z'", false),
    ("kg_root_staging", "root", "environment: staging", false),
    ("kg_shop", "shop", "", true),
    ("imported-shop", "shop", "", true),
    ("kg_shop_pages", "shop", "type: publishable", true),
    ("kg_plain", "plain", "", true),
    ("kg_all_orders", "all-orders", "", true),
    ("kg_reader", "reader", "", true),
    ("kg_nothing", "nothing", "", true),
    ("kg_gone", "gone", "", false),
];

/// Texts that are nobody's key.
const NOBODYS: &[&str] = &["kg_nobody", "eyJhbGciOi.J9.x", "", "two words", "KG_ROOT"];

/// What is put together to a request.
#[derive(Debug)]
struct Asked {
    method: &'static str,
    host: &'static str,
    path: String,
    query: &'static str,
    /// Places and texts of keys.
    shown: Vec<(&'static str, &'static str)>,
    noise: Vec<(&'static str, &'static str)>,
}

/// What the rules say of it.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    status: u16,
    code: &'static str,
    endpoint: Option<&'static str>,
    /// The client the upstream is told of, where the request gets there.
    client: Option<&'static str>,
}

// The rules, in the order in which they are asked.

fn verdict(asked: &Asked) -> Verdict {
    let no = |status, code, endpoint| Verdict { status, code, endpoint, client: None };
    let host = asked.host.split(':').next().unwrap_or_default().to_ascii_lowercase();
    if is_never_a_path(&asked.path) {
        return no(400, "path_ambiguous", None);
    }
    let segments: Vec<Vec<u8>> =
        asked.path.split('/').filter(|part| !part.is_empty()).map(|part| part.as_bytes().to_vec()).collect();
    let Some(&index) = governing(&host, &segments, false).first() else {
        let is_odd = constructs(&asked.path) != (false, false, false);
        return if is_odd { no(400, "path_ambiguous", None) } else { no(404, "endpoint_not_found", None) };
    };
    let endpoint = &ENDPOINTS[index];
    let admits_all = endpoint.name == "files";
    if !admits_all && constructs(&asked.path) != (false, false, false) || !reads_one_way(asked, &host, index) {
        return no(400, "path_ambiguous", None);
    }
    let name = Some(endpoint.name);
    let key = match whose(endpoint, &asked.shown) {
        Ok(key) => key,
        Err((status, code)) => return no(status, code, name),
    };
    let is_route = is_delete_of_an_order(asked, endpoint, &segments);
    if !takes(endpoint, asked.method, is_route) {
        return no(405, "method_not_allowed", name);
    }
    match may(endpoint, asked.method, is_route, key, &segments) {
        Err((status, code)) => no(status, code, name),
        Ok(()) => Verdict { status: 200, code: "", endpoint: name, client: key.map(|(_, client, ..)| *client) },
    }
}

/// Nothing but dots, a bad escape, a hidden backslash, control byte, or another escape: refused wherever it stands.
fn is_never_a_path(path: &str) -> bool {
    let once = readers::decode(path.as_bytes());
    let is_bad_escape = path
        .match_indices('%')
        .any(|(at, _)| !path.get(at + 1..at + 3).is_some_and(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit())));
    let is_dots = |segment: &[u8]| {
        let name = segment.split(|byte| b";?#".contains(byte)).next().unwrap_or_default();
        name.contains(&b'.') && name.iter().all(|byte| b". ".contains(byte))
    };
    let hides_an_escape = once.windows(3).any(|three| {
        three[0] == b'%'
            && three[1..].iter().all(u8::is_ascii_hexdigit)
            && matches!(readers::decode(three)[0], b'.' | b'/' | b'\\' | b'%' | 0..0x20 | 0x7f)
    });
    is_bad_escape
        || hides_an_escape
        || once.split(|&byte| byte == b'/').any(is_dots)
        || once.iter().any(|byte| matches!(byte, b'\\' | 0..0x20 | 0x7f))
        || std::str::from_utf8(&once).is_err()
}

/// Encoded slashes, `;`, and encoded letters: data for one server, something else for another.
fn constructs(path: &str) -> (bool, bool, bool) {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let has_letter = |text: &[u8]| {
        let escapes = text.windows(3).filter(|three| three[0] == b'%' && three[1..].iter().all(u8::is_ascii_hexdigit));
        escapes.map(readers::decode).any(|hidden| is_unreserved(hidden[0]))
    };
    let letter = has_letter(path.as_bytes()) || has_letter(&readers::decode(path.as_bytes()));
    (path.to_ascii_lowercase().contains("%2f"), path.contains(';'), letter)
}

/// The endpoints under the most specific pattern: one, or none, or those that differ by case alone.
fn governing(host: &str, segments: &[Vec<u8>], folds_case: bool) -> Vec<usize> {
    let fold = |text: &[u8]| if folds_case { readers::folded(text) } else { text.to_vec() };
    let mut best = None;
    let mut found = Vec::new();
    for (index, endpoint) in ENDPOINTS.iter().enumerate() {
        if endpoint.host.is_some_and(|wanted| wanted != host) || endpoint.pattern.len() > segments.len() {
            continue;
        }
        let pairs = endpoint.pattern.iter().zip(segments);
        let ranks: Option<Vec<u8>> = pairs
            .map(|(literal, segment)| match *literal {
                "*" => Some(1),
                literal => (fold(literal.as_bytes()) == fold(segment)).then_some(2),
            })
            .collect();
        let Some(ranks) = ranks else { continue };
        let rank = Some((endpoint.host.is_some(), ranks));
        if rank > best {
            (best, found) = (rank, vec![index]);
        } else if rank == best {
            found.push(index);
        }
    }
    found
}

/// Every careless server is led to the same rule.
fn reads_one_way(asked: &Asked, host: &str, index: usize) -> bool {
    let endpoint = &ENDPOINTS[index];
    let literal: Vec<Vec<u8>> = (readers::READERS[0].read)(asked.path.as_bytes());
    let is_route = is_delete_of_an_order(asked, endpoint, &literal);
    readers::READERS.iter().all(|reader| {
        let segments = (reader.read)(asked.path.as_bytes());
        let found = governing(host, &segments, reader.folds_case);
        let all_distinct = !found.is_empty() && found.iter().all(|&other| ENDPOINTS[other].name == "Cased");
        let is_same = found.contains(&index) && is_delete_of_an_order(asked, endpoint, &segments) == is_route;
        is_same || reader.folds_case && (endpoint.name == "Cased" || all_distinct)
    })
}

fn is_delete_of_an_order(asked: &Asked, endpoint: &Endpoint, segments: &[Vec<u8>]) -> bool {
    endpoint.name == "orders" && asked.method == "DELETE" && segments.len() == 2
}

/// The key that counts; nobody's; or why the request ends here.
fn whose(
    endpoint: &Endpoint,
    shown: &[(&'static str, &'static str)],
) -> Result<Option<&'static Key>, (u16, &'static str)> {
    const AMBIGUOUS: (u16, &str) = (400, "credential_ambiguous");
    const MALFORMED: (u16, &str) = (400, "credential_malformed");
    const REJECTED: (u16, &str) = (401, "credential_rejected");
    let has_own_place = endpoint.name == "partner";
    let all_in = |places: &[&str]| -> Vec<&'static str> {
        shown.iter().filter(|(place, _)| places.contains(place)).map(|(_, text)| *text).collect()
    };
    let same = |texts: &[&str]| texts.iter().all(|text| *text == texts[0]);
    let is_ours = |text: &str| text.starts_with("kg_");
    let known = |text: &str| KEYS.iter().find(|key| key.0 == text);
    let good = |text: &'static str| match known(text) {
        _ if text.contains(' ') => Err(MALFORMED),
        Some(key) if key.3 => Ok(key),
        _ => Err(REJECTED),
    };

    let headers = all_in(if has_own_place { &["x-partner-key"] } else { &["client-key", "secret", "x-api-key"] });
    let authorizations = all_in(&["bearer", "basic"]);
    let cookies = all_in(&["cookie"]);
    if !same(&headers) || authorizations.len() > 1 && !has_equal_authorizations(shown) {
        return Err(AMBIGUOUS);
    }
    let basic = all_in(&["basic"]).first().copied();
    if basic.is_some_and(is_ours) {
        return Err(MALFORMED);
    }
    let bearer = all_in(&["bearer"]).first().copied();
    let is_public = matches!(endpoint.asks, Asks::Nothing | Asks::Mixed);
    if let Some(text) = headers.first() {
        let key = good(text)?;
        // Beside it stands somebody else's token, the same key, or one too many.
        return match bearer {
            Some(other) if is_ours(other) || known(other).is_some() => match known(other) {
                Some(other) if key_id(other) == key_id(key) => Ok(Some(key)),
                _ => Err(AMBIGUOUS),
            },
            _ => Ok(Some(key)),
        };
    }
    if has_own_place {
        return Ok(None);
    }
    if let Some(text) = bearer.filter(|text| is_ours(text)) {
        return good(text).map(Some);
    }
    if !same(&cookies) {
        return Err(AMBIGUOUS);
    }
    match (cookies.first(), bearer) {
        // An imported key in the header; the cookie is stale.
        (Some(cookie), Some(text)) if known(text).is_some() => {
            if cookie.is_empty() || cookie.contains(' ') {
                good(cookie).map(Some)
            } else {
                good(text).map(Some)
            }
        }
        (Some(text), _) => good(text).map(Some),
        (None, Some(text)) if is_public && known(text).is_none() && !text.is_empty() && !text.contains(' ') => Ok(None),
        (None, Some(text)) => good(text).map(Some),
        (None, None) => Ok(None),
    }
}

/// Each key of the table is one of its own.
fn key_id(key: &Key) -> &'static str {
    key.0
}

fn has_equal_authorizations(shown: &[(&str, &str)]) -> bool {
    let mut all = shown.iter().filter(|(place, _)| matches!(*place, "bearer" | "basic"));
    let first = all.next();
    all.all(|other| Some(other) == first)
}

fn takes(endpoint: &Endpoint, method: &str, is_route: bool) -> bool {
    match endpoint.name {
        "orders" => is_route || matches!(method, "GET" | "HEAD" | "POST"),
        "orders-lines" => matches!(method, "GET" | "HEAD" | "PUT"),
        _ => method != "PURGE",
    }
}

fn may(
    endpoint: &Endpoint,
    method: &str,
    is_route: bool,
    key: Option<&Key>,
    segments: &[Vec<u8>],
) -> Result<(), (u16, &'static str)> {
    let Some((_, id, more, _)) = key else {
        // Nobody: only where nothing is asked.
        return if matches!(endpoint.asks, Asks::Nothing) { Ok(()) } else { Err((401, "credential_missing")) };
    };
    let client = CLIENTS.iter().find(|client| client.id == *id).expect("a client of the table");
    let is_publishable = more.contains("publishable");
    let admits_type = match endpoint.asks {
        Asks::Publishable => is_publishable,
        Asks::Nothing | Asks::Mixed => true,
        _ => !is_publishable,
    };
    if !admits_type {
        return Err((403, "key_type_not_allowed"));
    }
    if matches!(client.rights, Rights::ReadOnly) && !matches!(method, "GET" | "HEAD" | "OPTIONS") {
        return Err((403, "read_only_key"));
    }
    match endpoint.asks {
        Asks::Nothing | Asks::Key | Asks::Publishable => Ok(()),
        Asks::Types(types) if types.contains(&client.client_type) => Ok(()),
        Asks::Types(_) => Err((403, "client_type_not_allowed")),
        Asks::Tenant => {
            let is_theirs = client.tenant.is_some_and(|tenant| tenant.as_bytes() == segments[1]);
            if is_theirs { Ok(()) } else { Err((403, "tenant_mismatch")) }
        }
        Asks::Orders => {
            let wanted = match (is_route, method) {
                (true, _) => "orders.delete",
                (_, "POST") => "orders.write",
                _ => "orders.read",
            };
            if covers(client.rights, wanted) { Ok(()) } else { Err((403, "permission_missing")) }
        }
        Asks::Words => {
            let lists_it = matches!(client.rights, Rights::Listed(rights) if rights.contains(&"orders.read"));
            let is_so = client.client_type == "cms" && client.is_staff || lists_it;
            if is_so { Ok(()) } else { Err((403, "rule_not_satisfied")) }
        }
        Asks::Mixed => {
            let is_so = client.client_type != "cms" || client.is_staff;
            if is_so { Ok(()) } else { Err((403, "rule_not_satisfied")) }
        }
    }
}

/// What is granted: everything, what reads, or a list with wildcards in which to write is to read as well.
fn covers(rights: Rights, wanted: &str) -> bool {
    match rights {
        Rights::All => true,
        Rights::ReadOnly => wanted.ends_with(".read"),
        Rights::Listed(rights) => rights.iter().any(|right| {
            *right == wanted || *right == "orders.*" || *right == "orders.write" && wanted == "orders.read"
        }),
    }
}

// The requests.

/// A small generator of chance with a fixed seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("smaller than a usize")
    }

    fn of<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }
}

const PLAIN: &[&str] = &[
    "open", "admin", "orders", "internal", "lines", "files", "secret", "tenants", "acme", "other", "Cased", "cased",
    "partner", "pages", "words", "mixed", "7", "x-y", "a.b", "~u",
];
const TRICKY: &[&str] = &[
    "",
    "",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "..;x",
    "%2e%2e;",
    ". ",
    "a%2Fb",
    "..%2f",
    "admin%2F",
    "a;v=1",
    ";",
    "admin;x",
    "%6Fpen",
    "%61dmin",
    "a%20b",
    "admin%20",
    "admin.",
    "open.",
    "caf%C3%A9",
    "%C0%AF",
    "%252e",
    "%2561",
    "%zz",
    "%",
    "%00",
    "a%5Cb",
    "%3Bx",
    "%3Fx",
    "%23",
    "a%25b",
    "OPEN",
    "Admin",
    "INTERNAL",
    "CASED",
    "Secret",
    "%E2%84%AA",
    "a|b",
    "%0d%0a",
    "%ff",
    "lines%3F",
    "admin%3Bx",
];
const PLACES: &[&str] = &[
    "client-key",
    "secret",
    "x-api-key",
    "bearer",
    "cookie",
    "x-api-key",
    "bearer",
    "basic",
    "x-partner-key",
    "x_api_key",
];
const NOISE: &[(&str, &str)] = &[
    ("x-original-url", "/open"),
    ("x-rewrite-url", "/open"),
    ("x-http-method-override", "GET"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-uri", "/open"),
    ("x-client-id", "root"),
    ("X_Client_Id", "root"),
    ("x.client.id", "root"),
    ("client-type", "admin"),
    ("isbackoffice", "1"),
    ("miauserid", "u"),
    ("connection", "x-client-id"),
    ("user-agent", "kube-probe/1.0"),
    ("referer", "/orders/internal"),
];
const BASES: &[&str] = &[
    "/open",
    "/open/admin",
    "/orders",
    "/orders/7",
    "/orders/internal",
    "/orders/7/lines",
    "/files",
    "/files/secret",
    "/tenants/acme",
    "/tenants/other",
    "/Cased",
    "/cased",
    "/partner",
    "/pages",
    "/words",
    "/mixed",
    "",
    "/nowhere",
];

fn asked(chance: &mut Chance) -> Asked {
    let mut path = chance.of(BASES).to_owned();
    for _ in 0..chance.of(&[0, 0, 0, 1, 1, 2]) {
        let segment = if chance.below(2) == 0 { chance.of(PLAIN) } else { chance.of(TRICKY) };
        // What holds a blank is no target.
        let _ = write!(path, "/{}", segment.trim_end());
    }
    if path.is_empty() || chance.below(8) == 0 {
        path.push('/');
    }
    // Now and then something in the middle.
    if chance.below(6) == 0 {
        let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
        let place = chance.of(&slashes);
        path.insert_str(place, chance.of(&["/", "/..", "/.", "/%2e", "/open", "/x/..", ";", "%2F", "//"]));
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
    }
    let key = |chance: &mut Chance| match chance.below(4) {
        0 => chance.of(NOBODYS),
        _ => chance.of(KEYS).0,
    };
    let mut shown = Vec::new();
    let count = chance.of(&[0, 1, 1, 1, 1, 2, 2, 3]);
    for _ in 0..count {
        let text = match shown.last() {
            Some((_, earlier)) if chance.below(2) == 0 => *earlier,
            _ => key(chance),
        };
        shown.push((chance.of(PLACES), text));
    }
    let noise = (0..chance.of(&[0, 0, 1, 2])).map(|_| chance.of(NOISE)).collect();
    Asked {
        method: chance.of(&["GET", "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "DELETE", "OPTIONS", "PURGE"]),
        host: chance.of(&[
            "gateway.test",
            "gateway.test",
            "gateway.test",
            "gateway.test:80",
            "admin.test",
            "ADMIN.test:81",
        ]),
        path,
        query: chance.of(&["", "", "?", "?x-api-key=kg_root", "?/orders/internal", "?a=%2e%2e/"]),
        shown,
        noise,
    }
}

/// The bytes of it.
fn written(asked: &Asked) -> String {
    let Asked { method, host, path, query, .. } = asked;
    let mut text = format!("{method} {path}{query} HTTP/1.1\r\nhost: {host}\r\n");
    for (place, key) in &asked.shown {
        let _ = match *place {
            "bearer" => write!(text, "authorization: Bearer {key}\r\n"),
            "basic" => write!(text, "authorization: Basic {key}\r\n"),
            "cookie" => write!(text, "cookie: a=1; mia_client_key={key}; b=2\r\n"),
            place => write!(text, "{place}: {key}\r\n"),
        };
    }
    for (name, value) in &asked.noise {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if matches!(*method, "POST" | "PUT") {
        text.push_str("content-length: 0\r\n");
    }
    text + "\r\n"
}

fn configuration() -> String {
    let mut text = format!("{CONFIG}clients:\n");
    for client in CLIENTS {
        let more = if client.yaml.is_empty() { String::new() } else { format!(", {}", client.yaml) };
        let keys: Vec<String> = KEYS
            .iter()
            .enumerate()
            .filter(|(_, key)| key.1 == client.id)
            .map(|(number, (plain, _, more, _))| {
                let more = if more.is_empty() { String::new() } else { format!(", {more}") };
                format!("{{ id: key_{number}, name: n{number}, digest: '{}'{more} }}", keys::blake3(plain))
            })
            .collect();
        let (id, client_type, keys) = (client.id, client.client_type, keys.join(", "));
        let _ = writeln!(text, "  - {{ id: {id}, client_type: {client_type}{more}, keys: [ {keys} ] }}");
    }
    text
}

/// What the upstream saw of who is calling, whatever the spelling.
fn told_of(head: &str, wanted: &str) -> Vec<String> {
    let fold = |name: &str| -> String {
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
    };
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(name, _)| fold(name) == wanted).map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn thousands_of_requests_are_judged_as_the_written_rules_say() {
    let origin = Origin::start();
    let gateway = Gateway::before(&origin, &configuration());
    let mut callers: Vec<Caller> = (0..4).map(|_| Caller::connect(gateway.address())).collect();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut report = Report::new();
    let mut expected_in_log = HashMap::new();
    let mut counts: HashMap<(u16, &str), usize> = HashMap::new();
    for number in 0..REQUESTS {
        let asked = asked(&mut chance);
        let expected = verdict(&asked);
        let caller = &mut callers[number % 4];
        caller.send(written(&asked));
        let response = caller.response_to(asked.method);
        if response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            *caller = Caller::connect(gateway.address());
        }
        *counts.entry((expected.status, expected.code)).or_default() += 1;
        let row = format!("{number}: {asked:?}");
        // The answer to a HEAD has no body, and the wire guard has a finer word for some paths.
        let code = if asked.method == "HEAD" { expected.code.to_owned() } else { response.code() };
        report.equal(&row, (response.status, code.as_str()), (expected.status, expected.code));
        if response.status == 200 && asked.method != "HEAD" {
            let head = response.text();
            let (line, _) = head.split_once("\r\n").unwrap_or((&head, ""));
            let mut path = asked.path.clone();
            while path.contains("//") {
                path = path.replace("//", "/");
            }
            let query = if asked.query == "?" { "?" } else { asked.query };
            report.equal(&row, line, format!("{} {path}{query} HTTP/1.1", asked.method).as_str());
            report.equal(&row, told_of(&head, "x-client-id"), Vec::from_iter(expected.client.map(str::to_owned)));
            for never in
                ["miauserid", "isbackoffice", "x-original-url", "x-rewrite-url", "x-http-method-override", "x-api-key"]
            {
                report.equal(&row, told_of(&head, never), Vec::new());
            }
        }
        let id = response.header("x-request-id").unwrap_or_default().to_owned();
        expected_in_log.insert(id, (row, expected));
    }

    // Nothing but what was admitted has reached the upstream.
    let admitted = expected_in_log.values().filter(|(_, expected)| expected.status == 200).count();
    report.equal("requests at the upstream", origin.requests().len(), admitted);
    let lines = gateway.wait_for_access_lines(REQUESTS);
    report.equal("lines of the access log", lines.len(), REQUESTS);
    for line in &lines {
        let id = line["request.id"].as_str().unwrap_or_default();
        match expected_in_log.get(id) {
            Some((row, expected)) => {
                let endpoint = line["endpoint.name"].as_str();
                let is_expected =
                    endpoint == expected.endpoint || expected.status == 400 && expected.endpoint.is_none();
                report.holds(row, format!("judged for {endpoint:?}, not {:?}", expected.endpoint), is_expected);
            }
            None => report.holds(id, "a line of no request", false),
        }
    }
    // A generator that makes only one kind of request would prove little.
    for known in [
        (200, ""),
        (400, "path_ambiguous"),
        (400, "credential_ambiguous"),
        (400, "credential_malformed"),
        (401, "credential_missing"),
        (401, "credential_rejected"),
        (403, "client_type_not_allowed"),
        (403, "key_type_not_allowed"),
        (403, "permission_missing"),
        (403, "read_only_key"),
        (403, "rule_not_satisfied"),
        (403, "tenant_mismatch"),
        (404, "endpoint_not_found"),
        (405, "method_not_allowed"),
    ] {
        let count = counts.get(&known).copied().unwrap_or_default();
        report.holds(format!("{known:?}"), format!("only {count} of {counts:?}"), count >= 10);
    }
}
