//! Upstreams: where their servers are, what certificates to trust, and that none of them is ourselves.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

use super::Compiler;
use crate::client::check_word;
use crate::config::Names;
use crate::config::document::{
    Document, EjectionShape, HealthCheckShape, HostShape, ProtocolShape, ServersShape, UpstreamShape,
};
use crate::config::problem::quote;
use crate::config::read::{At, NoneOr, Span};
use crate::config::tree::Position;
use crate::upstream::{
    Concurrency, Ejection, HealthCheck, HostRule, Protocol, Server, ServerTls, Upstream, UpstreamKind, UpstreamTimeouts,
};

/// Upstreams by name; one that could not be made keeps its name, so that endpoints that refer to it are not reported too.
pub(super) type Upstreams = HashMap<String, Option<Arc<Upstream>>>;

/// How long all names together may take to resolve.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);

/// One server's URL, taken apart.
struct Target {
    at: Position,
    is_https: bool,
    /// Without brackets.
    host: String,
    port: u16,
}

impl Target {
    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }
}

impl Compiler<'_> {
    /// All upstreams. `own` are addresses of ours that must not be reached through an endpoint.
    pub fn upstreams(&mut self, document: &Document, own: &[SocketAddr]) -> Upstreams {
        let mut parsed = Vec::new();
        for (name, shape) in document.upstreams.iter().flat_map(|map| &map.0) {
            if let Err(why) = check_word(&name.value) {
                self.report.error(name.at, format!("this cannot name an upstream: {why}"));
            }
            let targets = shape.as_ref().map(|shape| self.targets(shape));
            parsed.push((name, shape, targets));
        }
        let hosts = parsed.iter().flat_map(|(_, _, targets)| targets.iter().flatten().flatten());
        let addresses = self.resolve(hosts);
        let mut roots = Roots::default();
        let mut upstreams = Upstreams::new();
        for (name, shape, targets) in &parsed {
            let upstream = shape.as_ref().zip(targets.as_ref()).and_then(|(shape, targets)| {
                self.upstream(name, shape, targets.as_deref(), &addresses, own, &mut roots)
            });
            upstreams.insert(name.value.clone(), upstream.map(Arc::new));
        }
        upstreams
    }

    /// The servers of an upstream; `None` for the echo.
    fn targets(&mut self, shape: &UpstreamShape) -> Option<Vec<Target>> {
        let map = match shape {
            UpstreamShape::Url(url) => return Some(self.target(url).into_iter().collect()),
            UpstreamShape::Map(map) => map,
        };
        match (&map.url, &map.servers, &map.echo) {
            (Some(url), None, None) => Some(self.target(url).into_iter().collect()),
            (None, Some(servers), None) => {
                if servers.value.is_empty() && !map.is_broken {
                    self.report.error(servers.at, "there is no server");
                }
                Some(servers.value.iter().filter_map(|url| self.target(url)).collect())
            }
            (None, None, Some(echo)) => {
                if !echo.value {
                    self.report.error(echo.at, "`echo: false` leads nowhere").hint("write `url`, or `echo: true`");
                }
                if let Some(tls) = &map.tls {
                    self.report.error(tls.at, "the echo speaks no TLS").hint("remove `tls`");
                }
                if let Some(protocol) = &map.protocol {
                    self.report
                        .error(protocol.at, "the echo is no server, and speaks no protocol")
                        .hint("remove `protocol`");
                }
                if let Some(check) = &map.health_check {
                    self.report.error(check.at, "the echo is always well").hint("remove `health_check`");
                }
                None
            }
            _ => {
                if !map.is_broken {
                    self.report
                        .error(map.at, "an upstream needs exactly one of `url`, `servers` and `echo`")
                        .hint("write `url: \"http://127.0.0.1:9000\"`");
                }
                Some(Vec::new())
            }
        }
    }

    /// Takes a URL apart, and refuses everything in it that would be ignored.
    fn target(&mut self, url: &At<String>) -> Option<Target> {
        let text = url.value.as_str();
        const FORM: &str = "write `http://host:port` or `https://host:port`";
        let Some((scheme, rest)) = text.split_once("://") else {
            return self.refuse_url(url, format!("{} is not a URL", quote(text)), FORM);
        };
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return self.refuse_url(url, format!("the scheme {} is not understood", quote(scheme)), FORM),
        };
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        if authority.contains('@') {
            self.report.hide_line(url.at);
            return self.refuse_url(
                url,
                "a URL with a user name or password is refused".to_owned(),
                "leave out what stands before `@`",
            );
        }
        if !path.is_empty() && path != "/" {
            return self.refuse_url(
                url,
                "a path in an upstream's URL is not used".to_owned(),
                "leave it out; `rewrite` on an endpoint changes paths",
            );
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => match rest.split_once(']') {
                Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                    (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
                }
                _ => (rest, None),
            },
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, Some("")),
            },
        };
        let default_port = if is_https { 443 } else { 80 };
        let port = match port {
            Some("") if !authority.ends_with(':') => Some(default_port),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().filter(|port| *port != 0),
            _ => None,
        };
        let Some(port) = port else {
            return self.refuse_url(
                url,
                format!("{} has no good port", quote(text)),
                "a port is a number from 1 to 65535",
            );
        };
        let is_host = !host.is_empty()
            && (host.contains(':') || host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
        if !is_host {
            return self.refuse_url(url, format!("{} has no good host name", quote(text)), FORM);
        }
        Some(Target { at: url.at, is_https, host: host.to_ascii_lowercase(), port })
    }

    fn refuse_url(&mut self, url: &At<String>, message: String, hint: &str) -> Option<Target> {
        self.report.error(url.at, message).hint(hint);
        None
    }

    /// Resolves all names at once, each in a thread of its own, since the system's resolver cannot be given a deadline.
    fn resolve<'t>(
        &self,
        targets: impl Iterator<Item = &'t Target>,
    ) -> HashMap<(String, u16), Result<Vec<SocketAddr>, String>> {
        let mut addresses = HashMap::new();
        let (sender, receiver) = mpsc::channel();
        let mut waiting = 0;
        for target in targets {
            let key = (target.host.clone(), target.port);
            if addresses.contains_key(&key) {
                continue;
            }
            let known = match (target.host.parse::<IpAddr>(), self.names) {
                (Ok(address), _) => Ok(vec![SocketAddr::new(address, target.port)]),
                // An address that is nobody's (RFC 5737).
                (Err(_), Names::Assume) => Ok(vec![SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), target.port)]),
                (Err(_), Names::Resolve) => {
                    let (sender, key) = (sender.clone(), key.clone());
                    let spawned = std::thread::Builder::new().name("resolve".to_owned()).spawn(move || {
                        let found = (key.0.as_str(), key.1).to_socket_addrs();
                        let found = found.map(Iterator::collect).map_err(|error| error.to_string());
                        // Nobody listens any more if it took too long.
                        let _ = sender.send((key, found));
                    });
                    waiting += usize::from(spawned.is_ok());
                    Err(format!("no answer within {} seconds", RESOLVE_WITHIN.as_secs()))
                }
            };
            addresses.insert(key, known);
        }
        let deadline = Instant::now() + RESOLVE_WITHIN;
        while waiting > 0 {
            let Ok((key, found)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                break;
            };
            addresses.insert(key, found);
            waiting -= 1;
        }
        addresses
    }

    fn upstream(
        &mut self,
        name: &At<String>,
        shape: &UpstreamShape,
        targets: Option<&[Target]>,
        addresses: &HashMap<(String, u16), Result<Vec<SocketAddr>, String>>,
        own: &[SocketAddr],
        roots: &mut Roots,
    ) -> Option<Upstream> {
        let map = match shape {
            UpstreamShape::Url(_) => None,
            UpstreamShape::Map(map) => Some(&**map),
        };
        let errors = self.report.errors();
        let kind = match targets {
            None => UpstreamKind::Echo,
            Some(targets) => {
                let tls = self.tls(map, targets, roots);
                let mut servers = Vec::new();
                for target in targets {
                    let found = match addresses.get(&(target.host.clone(), target.port)) {
                        Some(Ok(found)) if !found.is_empty() => found.clone(),
                        other => {
                            let why = match other {
                                Some(Err(why)) => format!(": {why}"),
                                _ => String::new(),
                            };
                            let message = format!("the host name `{}` cannot be resolved{why}", target.host);
                            self.report.error(target.at, message);
                            continue;
                        }
                    };
                    if let Some(address) = own.iter().find(|own| found.iter().any(|found| reaches(*found, **own))) {
                        self.report
                            .error(target.at, format!("this is the gateway's own address `{address}` for operators"))
                            .hint("callers must not reach it through an endpoint");
                        continue;
                    }
                    servers.extend(self.server(target, found, tls.as_ref(), map));
                }
                if servers.is_empty() || self.report.errors() > errors {
                    return None;
                }
                UpstreamKind::Http(servers.into())
            }
        };
        let default = Upstream::new(name.value.as_str(), kind);
        let Some(map) = map else { return Some(default) };
        let host = match map.host.as_ref().map(|host| &host.value) {
            None | Some(HostShape::Preserve) => HostRule::Preserve,
            Some(HostShape::Server) => HostRule::Server,
            Some(HostShape::Fixed(text)) => HostRule::Fixed(HeaderValue::from_str(text).ok()?),
        };
        Some(Upstream {
            protocol: protocol(Some(map)),
            host,
            timeouts: UpstreamTimeouts {
                connect: or(map.connect_timeout, default.timeouts.connect),
                response: or(map.response_timeout, default.timeouts.response),
                body: or(map.body_timeout, default.timeouts.body),
                tunnel: or(map.tunnel_timeout, default.timeouts.tunnel),
            },
            idle_timeout: or(map.idle_timeout, default.idle_timeout),
            max_idle: map.max_idle.unwrap_or(default.max_idle),
            ejection: self.ejection(map.ejection.as_ref(), default.ejection),
            concurrency: self.concurrency(map, default.concurrency),
            health_check: map.health_check.as_ref().map(|shape| self.health_check(shape)),
            ..default
        })
    }

    fn concurrency(&mut self, map: &ServersShape, default: Concurrency) -> Concurrency {
        let max_requests = match &map.max_requests {
            None => default.max_requests,
            Some(NoneOr::None) => None,
            Some(NoneOr::Value(most)) => {
                if !(1..=1_000_000).contains(&most.value) {
                    self.report.error(most.at, "the number of requests at once must be from 1 to 1000000");
                }
                Some(most.value)
            }
        };
        Concurrency {
            max_requests,
            queue: map.queue.unwrap_or(default.queue),
            queue_time: or(map.queue_timeout, default.queue_time),
        }
    }

    fn health_check(&mut self, shape: &HealthCheckShape) -> HealthCheck {
        let path = &shape.path;
        let is_target = path.value.starts_with('/')
            && !path.value.contains('#')
            && path.value.parse::<http::uri::PathAndQuery>().is_ok_and(|target| target.as_str() == path.value);
        if !is_target {
            self.report.error(path.at, format!("{} is not a path", quote(&path.value))).hint("write `/healthz`");
        }
        let interval = shape.interval.as_ref().map_or(Duration::from_secs(5), |interval| interval.value.0);
        if interval < Duration::from_millis(100)
            && let Some(written) = &shape.interval
        {
            self.report.error(written.at, "the time between two checks is at least `100ms`");
        }
        let mut in_a_row = |count: &Option<At<u32>>, default| {
            count.as_ref().map_or(default, |count| {
                if !(1..=100).contains(&count.value) {
                    self.report.error(count.at, "answers in a row must be from 1 to 100");
                }
                count.value
            })
        };
        let (healthy, unhealthy) = (in_a_row(&shape.healthy, 2), in_a_row(&shape.unhealthy, 3));
        HealthCheck {
            target: path.value.as_str().into(),
            interval,
            timeout: or(shape.timeout, Duration::from_secs(2)),
            healthy,
            unhealthy,
        }
    }

    fn ejection(&mut self, shape: Option<&EjectionShape>, default: Ejection) -> Ejection {
        let ejection = Ejection {
            failures: shape.and_then(|shape| shape.failures).unwrap_or(default.failures),
            duration: or(shape.and_then(|shape| shape.duration), default.duration),
            at_most: or(shape.and_then(|shape| shape.at_most.as_ref()).map(|at| at.value), default.at_most),
        };
        if ejection.at_most < ejection.duration
            && let Some(shape) = shape
        {
            let at = shape.at_most.as_ref().map_or(shape.at, |at_most| at_most.at);
            self.report.error(at, "the longest ejection is shorter than the first");
        }
        ejection
    }

    /// What to trust, if any server speaks TLS.
    fn tls(
        &mut self,
        map: Option<&ServersShape>,
        targets: &[Target],
        roots: &mut Roots,
    ) -> Option<Arc<rustls::ClientConfig>> {
        let shape = map.and_then(|map| map.tls.as_ref());
        let Some(first) = targets.iter().find(|target| target.is_https) else {
            if let Some(shape) = shape
                && !targets.is_empty()
            {
                self.report
                    .error(shape.at, "no server of this upstream has an `https://` URL")
                    .hint("remove `tls`, or write `https://`");
            }
            return None;
        };
        let store = match shape.and_then(|shape| shape.ca.as_ref()) {
            Some(path) => {
                let pem = self.read_file(path, "the certificate file")?;
                let mut store = rustls::RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(&pem).flatten() {
                    if let Err(why) = store.add(certificate) {
                        self.report.error(path.at, format!("a certificate in this file cannot be trusted: {why}"));
                    }
                }
                if store.is_empty() {
                    self.report
                        .error(path.at, "this file holds no certificate in PEM form")
                        .hint("it must have a line `-----BEGIN CERTIFICATE-----`");
                    return None;
                }
                Arc::new(store)
            }
            None => {
                let store = roots.system();
                if store.is_empty() {
                    self.report
                        .error(
                            first.at,
                            "the system trusts no certificate, so that no `https://` server can be trusted",
                        )
                        .hint("install the system's certificates (`ca-certificates`), or write `tls: { ca: ca.pem }`");
                    return None;
                }
                store
            }
        };
        match trusting(&store, protocol(map)) {
            Ok(config) => Some(config),
            Err(why) => {
                self.report.error(first.at, format!("TLS cannot be set up: {why}"));
                None
            }
        }
    }

    fn server(
        &mut self,
        target: &Target,
        addresses: Vec<SocketAddr>,
        tls: Option<&Arc<rustls::ClientConfig>>,
        map: Option<&ServersShape>,
    ) -> Option<Server> {
        let host = target.bracketed();
        let is_default_port = target.port == if target.is_https { 443 } else { 80 };
        let host_value = if is_default_port { host.clone() } else { format!("{host}:{}", target.port) };
        let tls = if target.is_https {
            let written = map.and_then(|map| map.tls.as_ref()).and_then(|tls| tls.server_name.as_ref());
            let (name, at) = written.map_or((target.host.as_str(), target.at), |name| (name.value.as_str(), name.at));
            let Ok(server_name) = ServerName::try_from(name.to_owned()) else {
                self.report.error(at, format!("{} is not a name that a certificate can be for", quote(name)));
                return None;
            };
            Some(ServerTls { server_name, config: Arc::clone(tls?) })
        } else {
            None
        };
        Some(Server {
            authority: format!("{host}:{}", target.port).into(),
            host_value: HeaderValue::from_str(&host_value).ok()?,
            tls,
            addresses: Arc::new(ArcSwap::from_pointee(addresses)),
        })
    }
}

/// The system's certificates, read once if at all.
#[derive(Default)]
struct Roots(Option<Arc<rustls::RootCertStore>>);

impl Roots {
    fn system(&mut self) -> Arc<rustls::RootCertStore> {
        let store = self.0.get_or_insert_with(|| {
            let mut store = rustls::RootCertStore::empty();
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            Arc::new(store)
        });
        Arc::clone(store)
    }
}

/// How to speak TLS to servers that these certificates vouch for.
///
/// As long as somebody uses it, the same settings are given for the same certificates: over a reload that changes neither,
/// upstreams keep their connections and the sessions that their servers will take up again.
fn trusting(
    store: &Arc<rustls::RootCertStore>,
    protocol: Protocol,
) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
    type InUse = HashMap<(blake3::Hash, Protocol), Weak<rustls::ClientConfig>>;
    static IN_USE: Mutex<Option<InUse>> = Mutex::new(None);

    let mut hasher = blake3::Hasher::new();
    for anchor in &store.roots {
        let constraints = anchor.name_constraints.as_deref().unwrap_or_default();
        for part in [&*anchor.subject, &*anchor.subject_public_key_info, constraints] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    let key = (hasher.finalize(), protocol);
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    let in_use = in_use.get_or_insert_default();
    in_use.retain(|_, config| config.strong_count() > 0);
    if let Some(config) = in_use.get(&key).and_then(Weak::upgrade) {
        return Ok(config);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(Arc::clone(store))
        .with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    let config = Arc::new(config);
    in_use.insert(key, Arc::downgrade(&config));
    Ok(config)
}

fn protocol(map: Option<&ServersShape>) -> Protocol {
    match map.and_then(|map| map.protocol.as_ref()).map(|protocol| protocol.value) {
        None | Some(ProtocolShape::Http1) => Protocol::Http1,
        Some(ProtocolShape::Http2) => Protocol::Http2,
    }
}

fn or(span: Option<Span>, default: Duration) -> Duration {
    span.map_or(default, |span| span.0)
}

/// Whether a connection to `target` arrives at our listener `own`.
fn reaches(target: SocketAddr, own: SocketAddr) -> bool {
    if target.port() != own.port() || own.port() == 0 {
        return false;
    }
    let (target, own) = (target.ip().to_canonical(), own.ip().to_canonical());
    target == own
        // Connecting to the unspecified address arrives at loopback.
        || (target.is_unspecified() && (own.is_loopback() || own.is_unspecified()))
        // A listener on every address is reached through each of this machine's; only those can be bound.
        || (own.is_unspecified() && (target.is_loopback() || UdpSocket::bind((target, 0)).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_trusts_the_same_speaks_tls_in_the_same_way_as_long_as_somebody_does() {
        let store = |names: &[&str]| {
            let mut store = rustls::RootCertStore::empty();
            for name in names {
                let made = rcgen::generate_simple_self_signed([(*name).to_owned()]).expect("a certificate");
                store.add(made.cert.der().clone()).expect("a root");
            }
            Arc::new(store)
        };
        let (one, other) = (store(&["one.test"]), store(&["one.test"]));
        let first = trusting(&one, Protocol::Http1).expect("settings");
        let copy = Arc::new((*one).clone());
        assert!(Arc::ptr_eq(&first, &trusting(&copy, Protocol::Http1).expect("settings")));
        for (store, protocol) in [(&other, Protocol::Http1), (&one, Protocol::Http2)] {
            assert!(!Arc::ptr_eq(&first, &trusting(store, protocol).expect("settings")), "{protocol:?}");
        }
        let gone = Arc::downgrade(&first);
        drop(first);
        assert!(gone.upgrade().is_none(), "nobody uses it any more");
    }

    #[test]
    fn our_own_address_is_recognised_in_each_spelling() {
        for (target, own, expected) in [
            ("127.0.0.1:9090", "127.0.0.1:9090", true),
            ("127.0.0.1:9091", "127.0.0.1:9090", false),
            ("[::ffff:127.0.0.1]:9090", "127.0.0.1:9090", true),
            ("0.0.0.0:9090", "127.0.0.1:9090", true),
            ("127.0.0.2:9090", "0.0.0.0:9090", true),
            ("192.0.2.7:9090", "0.0.0.0:9090", false),
            ("192.0.2.7:9090", "127.0.0.1:9090", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            let address = |text: &str| text.parse().expect("an address");
            assert_eq!(reaches(address(target), address(own)), expected, "{target} -> {own}");
        }
    }
}
