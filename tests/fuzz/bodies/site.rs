//! A site with one of everything, written twice: as the configuration that the program reads, and as plain tables of which
//! path is whose, whose key is good, and who may do what.
//!
//! Endpoints lie within one another in every way that matters to an attacker: a guarded path below an open one, an open one
//! beside a guarded one, one behind a parameter, one that differs by case, one that takes odd paths.

use std::sync::{Arc, OnceLock};

use http::{HeaderMap, Method};
use keygate::config::{Names, Source, Surroundings, load_in};
use keygate::credential::{KeyDigest, Secret};
use keygate::keys::{KeyTable, Timestamp};
use keygate::snapshot::Snapshot;

use super::readers::{Segments, folded};

/// The moment at which everything is judged: 2026-01-01.
pub const NOW: i64 = 1_767_225_600_000;

/// An endpoint as the tables see it.
pub struct Plan {
    pub name: &'static str,
    /// The host it is for; any if there is none.
    pub host: Option<&'static str>,
    /// Segments; `*` is a parameter.
    pub pattern: &'static [&'static str],
    /// Letter case matters.
    pub is_distinct: bool,
    /// A route below it: a method and segments.
    pub route: Option<(&'static str, &'static [&'static str])>,
    /// The header of its own that keys stand in, in place of the usual ones.
    pub place: Option<&'static str>,
    pub forwards_credential: bool,
    /// Takes browsers' preflights.
    pub has_cors: bool,
    /// What replaces the first segments on the way to the upstream, and how many.
    pub swap: Option<(usize, &'static str)>,
    /// Whether a caller may: nobody's key, or a key of the table below.
    pub may: fn(&Ask<'_>) -> bool,
}

/// What is asked of an endpoint.
pub struct Ask<'a> {
    pub method: &'a Method,
    pub key: Option<&'static Key>,
    pub segments: &'a [Vec<u8>],
    pub is_route: bool,
    pub is_backoffice: bool,
}

/// A key as the tables see it.
pub struct Key {
    pub text: &'static str,
    pub id: &'static str,
    /// What the identity headers say: client, type, tenant, environment, permissions, groups.
    pub told: [&'static str; 6],
    pub is_good: bool,
}

const fn key(text: &'static str, id: &'static str, told: [&'static str; 6], is_good: bool) -> Key {
    Key { text, id, told, is_good }
}

const READER: [&str; 6] = ["reader", "app", "", "", "orders.read", ""];
const SHOP: [&str; 6] = ["shop", "cms", "acme", "", "", "staff"];

/// All keys.
pub const KEYS: &[Key] = &[
    key("kg_admin", "key_admin", ["root", "admin", "", "", "", "admins,staff"], true),
    key("kg_shop", "key_shop", SHOP, true),
    key("kg_live", "key_live", ["shop", "cms", "acme", "live", "", "staff"], true),
    key("kg_new", "key_turned", SHOP, true),
    key("kg_overlap", "key_turned", SHOP, true),
    key("kg_reader", "key_reader", READER, true),
    key("imported text", "key_blank", READER, false),
    key("imported-without-prefix", "key_imported", READER, true),
    key("kg_staging", "key_staging", SHOP, false),
    key("kg_off", "key_off", SHOP, false),
    key("kg_past", "key_past", SHOP, false),
    key("kg_early", "key_early", SHOP, false),
    key("kg_old", "key_turned", SHOP, false),
    key("kg_gone", "key_gone", ["gone", "admin", "", "", "", ""], false),
];

/// How our keys begin.
pub const PREFIX: &str = "kg_";

/// Headers that hold keys where an endpoint does not say otherwise, besides `Authorization`.
pub const USUAL_PLACES: [&str; 3] = ["client-key", "secret", "x-api-key"];

const CONFIGURATION: &str = "
listen: [{ address: 127.0.0.1:0 }]
environment: live
upstreams: { echo: { echo: true } }
key_prefixes: [{ prefix: kg_ }]
trusted_proxies: [192.0.2.0/24]
trusted_identity: [198.51.100.0/24]
endpoints:
  - { name: open, path: /open, upstream: echo, public: true }
  - { name: open-admin, path: /open/admin, upstream: echo, client_types: [admin] }
  - name: orders
    path: /orders
    upstream: echo
    permissions: { GET: [orders.read], POST: [orders.write] }
    routes: [{ match: 'DELETE /orders/:id', permissions: [], allow: 'groups.admins' }]
  - { name: orders-internal, path: /orders/internal, upstream: echo, client_types: [admin] }
  - { name: orders-lines, path: '/orders/:id/lines', upstream: echo, api_key: required }
  - name: files
    path: /files
    upstream: echo
    public: true
    admit: [encoded_slash, semicolon, encoded_unreserved]
  - { name: files-secret, path: /files/secret, upstream: echo, client_types: [admin] }
  - name: files-data
    path: '/files/:id/data'
    upstream: echo
    client_types: [cms]
    admit: [encoded_slash, semicolon, encoded_unreserved]
  - { name: tenants, path: '/tenants/:tenant', upstream: echo, client_types: [cms], tenant: { path: tenant } }
  - { name: kiosk, path: /kiosk, upstream: echo, public: true }
  - { name: kiosk-desk, path: /kiosk/desk, upstream: echo, client_types: [admin] }
  - { name: cafe, path: /caf%C3%A9, upstream: echo, api_key: required }
  - { name: Cased, path: /Cased, upstream: echo, public: true, case: distinct }
  - { name: cased, path: /cased, upstream: echo, client_types: [admin] }
  - { name: partner, path: /partner, upstream: echo, api_key: required, credentials: [{ header: x-partner-key }] }
  - { name: keeps, path: /keeps, upstream: echo, api_key: required, forward_credential: true }
  - name: browsers
    path: /browsers
    upstream: echo
    api_key: required
    cors: { origins: ['https://a.example'] }
  - { name: swapped, path: /v1/things, upstream: echo, public: true, rewrite: /internal/v2 }
  - { name: back, path: /back, upstream: echo, allow: \"groups.admins && isBackoffice || clientType == 'cms'\" }
  - { name: admin-host, path: /, hosts: [admin.example.com], upstream: echo, client_types: [admin] }
clients:
  - id: root
    client_type: admin
    groups: [admins, staff]
    keys: [{ id: key_admin, name: admin, digest: '{kg_admin}' }]
  - id: shop
    client_type: cms
    tenant: acme
    groups: [staff]
    keys:
      - { id: key_shop, name: shop, digest: '{kg_shop}' }
      - { id: key_live, name: live, environment: live, digest: '{kg_live}' }
      - { id: key_staging, name: staging, environment: staging, digest: '{kg_staging}' }
      - { id: key_off, name: off, active: false, digest: '{kg_off}' }
      - { id: key_past, name: past, expires_at: '2020-01-01T00:00:00Z', digest: '{kg_past}' }
      - { id: key_early, name: early, not_before: '2999-01-01T00:00:00Z', digest: '{kg_early}' }
      - id: key_turned
        name: turned
        secrets:
          - { digest: '{kg_new}' }
          - { digest: '{kg_overlap}', valid_until: '2999-01-01T00:00:00Z' }
          - { digest: '{kg_old}', valid_until: '2020-01-01T00:00:00Z' }
  - id: reader
    client_type: app
    permissions: [orders.read]
    keys:
      - { id: key_reader, name: reader, digest: '{kg_reader}' }
      - { id: key_imported, name: imported, digest: '{imported-without-prefix}' }
      - { id: key_blank, name: blank, digest: '{imported text}' }
  - id: gone
    client_type: admin
    active: false
    keys: [{ id: key_gone, name: gone, digest: '{kg_gone}' }]
";

fn of_type(ask: &Ask<'_>, wanted: &str) -> bool {
    ask.key.is_some_and(|key| key.told[1] == wanted)
}

const fn plan(name: &'static str, pattern: &'static [&'static str], may: fn(&Ask<'_>) -> bool) -> Plan {
    Plan {
        name,
        host: None,
        pattern,
        is_distinct: false,
        route: None,
        place: None,
        forwards_credential: false,
        has_cors: false,
        swap: None,
        may,
    }
}

/// All endpoints, in the order of the configuration.
pub const PLANS: &[Plan] = &[
    plan("open", &["open"], |_| true),
    plan("open-admin", &["open", "admin"], |ask| of_type(ask, "admin")),
    Plan {
        route: Some(("DELETE", &["orders", "*"])),
        ..plan("orders", &["orders"], |ask| {
            let Some(key) = ask.key else { return false };
            let may_do = |right: &str| key.told[4].is_empty() || key.told[4] == right;
            match (ask.method.as_str(), ask.is_route) {
                ("DELETE", true) => key.told[5].split(',').any(|group| group == "admins"),
                ("GET" | "HEAD", _) => may_do("orders.read"),
                ("POST", _) => may_do("orders.write"),
                _ => false,
            }
        })
    },
    plan("orders-internal", &["orders", "internal"], |ask| of_type(ask, "admin")),
    plan("orders-lines", &["orders", "*", "lines"], |ask| ask.key.is_some()),
    plan("files", &["files"], |_| true),
    plan("files-secret", &["files", "secret"], |ask| of_type(ask, "admin")),
    plan("files-data", &["files", "*", "data"], |ask| of_type(ask, "cms")),
    plan("tenants", &["tenants", "*"], |ask| {
        of_type(ask, "cms") && ask.segments.get(1).is_some_and(|tenant| *tenant == b"acme")
    }),
    plan("kiosk", &["kiosk"], |_| true),
    plan("kiosk-desk", &["kiosk", "desk"], |ask| of_type(ask, "admin")),
    plan("cafe", &["caf\u{e9}"], |ask| ask.key.is_some()),
    Plan { is_distinct: true, ..plan("Cased", &["Cased"], |_| true) },
    plan("cased", &["cased"], |ask| of_type(ask, "admin")),
    Plan { place: Some("x-partner-key"), ..plan("partner", &["partner"], |ask| ask.key.is_some()) },
    Plan { forwards_credential: true, ..plan("keeps", &["keeps"], |ask| ask.key.is_some()) },
    Plan { has_cors: true, ..plan("browsers", &["browsers"], |ask| ask.key.is_some()) },
    Plan { swap: Some((2, "/internal/v2")), ..plan("swapped", &["v1", "things"], |_| true) },
    plan("back", &["back"], |ask| {
        let is_admin = ask.key.is_some_and(|key| key.told[5].split(',').any(|group| group == "admins"));
        is_admin && ask.is_backoffice || of_type(ask, "cms")
    }),
    Plan { host: Some("admin.example.com"), ..plan("admin-host", &[], |ask| of_type(ask, "admin")) },
];

/// The same, as the program has it.
pub struct Site {
    pub snapshot: Arc<Snapshot>,
    pub keys: KeyTable,
    pub now: Timestamp,
}

/// The one site, loaded once.
pub fn site() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let mut text = CONFIGURATION.to_owned();
        for key in KEYS {
            let digest = KeyDigest::blake3(&Secret::borrowed(key.text.as_bytes()));
            text = text.replace(&format!("{{{}}}", key.text), &digest.to_string());
        }
        let now = Timestamp::from_millis(NOW);
        let surroundings = Surroundings { environment: &|_| None, names: Names::Assume, now };
        let source = Source::Text { name: "site.yaml".to_owned(), text, directory: std::path::PathBuf::new() };
        let loaded = load_in(&source, 1, &surroundings).unwrap_or_else(|problems| panic!("{problems}"));
        let keys = KeyTable::new();
        keys.apply(keys.difference(loaded.table));
        let snapshot = Arc::new(loaded.snapshot);
        let names: Vec<_> = snapshot.router.endpoints().iter().map(|endpoint| endpoint.name.to_string()).collect();
        assert_eq!(names, PLANS.iter().map(|plan| plan.name).collect::<Vec<_>>(), "both say the same");
        Site { snapshot, keys, now }
    })
}

/// How well a pattern fits: 2 for each literal, 1 for each parameter, compared from the left. `None` if not at all.
fn fit(pattern: &[&str], segments: &[Vec<u8>], is_equal: &dyn Fn(&str, &[u8]) -> bool) -> Option<Vec<u8>> {
    if pattern.len() > segments.len() {
        return None;
    }
    let rank = |(pattern, segment): (&&str, &Vec<u8>)| match *pattern {
        "*" => Some(1),
        literal => is_equal(literal, segment).then_some(2),
    };
    pattern.iter().zip(segments).map(rank).collect()
}

/// The plans under the most specific pattern for some segments: one, or none, or the few that differ by case alone.
pub fn governing(host: &str, segments: &Segments, folds_case: bool) -> Vec<usize> {
    let is_equal = |literal: &str, segment: &[u8]| match folds_case {
        true => folded(literal.as_bytes()) == folded(segment),
        false => literal.as_bytes() == segment,
    };
    let mut best: Option<(bool, Vec<u8>)> = None;
    let mut found = Vec::new();
    for (index, plan) in PLANS.iter().enumerate() {
        if plan.host.is_some_and(|wanted| wanted != host) {
            continue;
        }
        let Some(fit) = fit(plan.pattern, segments, &is_equal) else { continue };
        let rank = Some((plan.host.is_some(), fit));
        match rank.cmp(&best) {
            std::cmp::Ordering::Greater => (best, found) = (rank, vec![index]),
            std::cmp::Ordering::Equal => found.push(index),
            std::cmp::Ordering::Less => {}
        }
    }
    found
}

/// Whether the route of a plan is for these segments and this method.
pub fn is_route(plan: &Plan, method: &Method, segments: &Segments) -> bool {
    plan.route.is_some_and(|(verb, pattern)| {
        let is_equal = |literal: &str, segment: &[u8]| literal.as_bytes() == segment;
        verb == method.as_str() && pattern.len() == segments.len() && fit(pattern, segments, &is_equal).is_some()
    })
}

/// Every value of a header, in the spelling given alone.
pub fn values<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
    headers.get_all(name).iter().map(|value| value.as_bytes().trim_ascii()).collect()
}
