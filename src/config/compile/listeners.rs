//! Addresses, certificates, bounds: everything of a document that is fixed at start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{Compiler, admin_of};
use crate::client::check_word;
use crate::config::document::{
    AccessFormatWord, AccessLogShape, Document, LevelWord, ListenerShape, LogFormatWord, ProtocolWord, TlsShape,
};
use crate::config::read::{At, NoneOr, OffOr};
use crate::config::settings::{
    ADMIN, AccessLogFormat, AccessLogOutput, AccessLogSettings, AdminSettings, Limits, ListenerSettings, LogSettings,
    Protocol, Timeouts,
};
use crate::config::tree::Position;
use crate::config::{CertificateFiles, ListenerCertificates, Settings};

const DEFAULT_LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DEFAULT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

impl Compiler<'_> {
    /// The listeners and the certificates of those that speak TLS.
    pub fn listeners(&mut self, document: &Document) -> (Vec<ListenerSettings>, Vec<ListenerCertificates>) {
        let mut listeners: Vec<(ListenerSettings, Position)> = Vec::new();
        let mut certificates = Vec::new();
        for shape in document.listen.iter().flat_map(|list| &list.value) {
            let Some(address) = self.address(&shape.address) else { continue };
            let name: Arc<str> =
                shape.name.as_ref().map_or_else(|| address.to_string().into(), |name| name.value.as_str().into());
            let name_at = shape.name.as_ref().map_or(shape.address.at, |name| name.at);
            if let Err(why) = check_word(&name) {
                self.report.error(name_at, format!("this cannot name a listener: {why}"));
            }
            if let Some((_, at)) = listeners.iter().find(|(other, _)| other.name == name) {
                let first = self.report.name(*at);
                self.report.error(name_at, format!("another listener is called `{name}` ({first})"));
            }
            if let Some((other, _)) = listeners.iter().find(|(other, _)| collide(other.address, address)) {
                let message = format!("`{address}` collides with the listener `{}`", other.name);
                self.report.error(shape.address.at, message);
            }
            if let Some(tls) = &shape.tls {
                let files = self.certificates(tls);
                certificates.push(ListenerCertificates { listener: Arc::clone(&name), certificates: files });
            }
            listeners.push((listener(shape, name, address), shape.at));
        }
        if let Some(list) = &document.listen
            && list.value.is_empty()
            && !document.is_broken
        {
            self.report.error(list.at, "nothing is listened on").hint("remove the line for `127.0.0.1:8080`");
        }
        if document.listen.is_none() {
            let name = DEFAULT_LISTENER.to_string().into();
            let default = ListenerSettings {
                name,
                address: DEFAULT_LISTENER,
                protocol: Protocol::Http1,
                is_tls: false,
                is_backoffice: false,
            };
            listeners.push((default, document.at));
        }
        (listeners.into_iter().map(|(listener, _)| listener).collect(), certificates)
    }

    /// Everything else that is fixed at start.
    pub fn settings(&mut self, document: &Document, listeners: Vec<ListenerSettings>) -> Settings {
        let admin = admin_of(document).and_then(|shape| {
            let written = shape.and_then(|shape| shape.address.as_ref());
            let address = written.map_or(Some(DEFAULT_ADMIN), |address| self.address(address))?;
            let at = written.map_or(document.at, |address| address.at);
            let allow_remote = shape.and_then(|shape| shape.allow_remote).unwrap_or(false);
            let is_tls = shape.is_some_and(|shape| shape.tls.is_some());
            if !address.ip().is_loopback() && !allow_remote && !is_tls {
                self.report
                    .error(at, format!("other machines can reach the admin listener on `{address}` in the clear"))
                    .hint(
                        "write a loopback address such as `127.0.0.1:9090`, give it `tls`, or write `allow_remote: true` \
                         if something before it speaks TLS",
                    );
            }
            Some((address, at))
        });
        let observe = document
            .observe
            .as_ref()
            .and_then(|shape| self.address(&shape.address).map(|address| (address, shape.address.at)));
        for (what, own) in [("the admin listener", admin), ("the observe listener", observe)] {
            let Some((address, at)) = own else { continue };
            if let Some(other) = listeners.iter().find(|listener| collide(listener.address, address)) {
                self.report.error(at, format!("{what} on `{address}` collides with the listener `{}`", other.name));
            }
        }
        if let (Some((admin, _)), Some((observe, at))) = (admin, observe)
            && collide(admin, observe)
        {
            self.report.error(at, "the observe listener collides with the admin listener");
        }
        let workers = match &document.workers {
            Some(workers) => {
                NonZeroUsize::new(workers.value).filter(|number| number.get() <= 1024).unwrap_or_else(|| {
                    self.report.error(workers.at, "the number of workers must be from 1 to 1024");
                    NonZeroUsize::MIN
                })
            }
            None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        };
        let store = self.store(document.keys.as_ref());
        Settings {
            listeners,
            admin: admin.map(|(address, _)| AdminSettings {
                address,
                is_tls: self.admin_tls(document).is_some(),
                has_console: admin_of(document).flatten().and_then(|shape| shape.console).unwrap_or(true),
            }),
            observe: observe.map(|(address, _)| address),
            workers,
            limits: self.limits(document),
            timeouts: timeouts(document),
            log: log(document),
            access_log: self.access_log(document),
            rate_limit_file: self.rate_limit_file(document, store.as_deref()),
            store,
        }
    }

    fn admin_tls<'d>(&self, document: &'d Document) -> Option<&'d TlsShape> {
        admin_of(document).flatten()?.tls.as_ref()
    }

    /// The certificates of the listener for operators, if it speaks TLS.
    pub fn admin_certificates(&mut self, document: &Document) -> Option<ListenerCertificates> {
        let certificates = self.certificates(self.admin_tls(document)?);
        Some(ListenerCertificates { listener: ADMIN.into(), certificates })
    }

    /// Reads `address:port`.
    fn address(&mut self, written: &At<String>) -> Option<SocketAddr> {
        let text = written.value.as_str();
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => text.to_owned(),
        };
        if let Ok(address) = numeric.parse() {
            return Some(address);
        }
        let hint = if text.starts_with("unix:") || text.starts_with('/') {
            "sockets in the file system are not understood yet; write an address and a port".to_owned()
        } else if let Some(port) = text.strip_prefix(':').filter(|port| port.parse::<u16>().is_ok()) {
            format!(
                "write `0.0.0.0:{port}` for every IPv4 address, `[::]:{port}` for every address, `127.0.0.1:{port}` for this machine alone"
            )
        } else if text.contains("://") {
            "leave out `http://` and any path".to_owned()
        } else if text.parse::<IpAddr>().is_ok() {
            "a port is missing, such as `:8080`".to_owned()
        } else {
            "write an address and a port, such as `127.0.0.1:8080` or `[::]:8080`".to_owned()
        };
        let shown = crate::config::problem::quote(text);
        self.report.error(written.at, format!("{shown} is not an address with a port")).hint(hint);
        None
    }

    fn certificates(&mut self, tls: &TlsShape) -> Vec<CertificateFiles> {
        let pairs: Vec<(At<String>, At<String>)> = match (&tls.certificate, &tls.key, &tls.certificates) {
            (Some(certificate), Some(key), None) => vec![(certificate.clone(), key.clone())],
            (None, None, Some(list)) => {
                if list.value.is_empty() && !tls.is_broken {
                    self.report.error(list.at, "there is no certificate");
                }
                list.value.iter().map(|pair| (pair.certificate.clone(), pair.key.clone())).collect()
            }
            _ => {
                if !tls.is_broken {
                    self.report
                        .error(tls.at, "TLS needs a certificate and its key")
                        .hint("write `certificate` and `key`, or `certificates: [{ certificate: .., key: .. }]`");
                }
                Vec::new()
            }
        };
        let read = |(certificate, key): (At<String>, At<String>)| {
            let certificate_pem = self.read_file(&certificate, "the certificate");
            let key_pem = self.read_certificate_key(&key, "the private key");
            let (certificate_pem, key_pem) = (certificate_pem?, key_pem?);
            let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificate_pem).collect();
            if chain.map_or(true, |chain| chain.is_empty()) {
                self.report
                    .error(certificate.at, "this file holds no certificate in PEM form")
                    .hint("it must have a line `-----BEGIN CERTIFICATE-----`");
            }
            if PrivateKeyDer::from_pem_slice(&key_pem).is_err() {
                self.report
                    .error(key.at, "this file holds no private key in PEM form")
                    .hint("it must have a line `-----BEGIN PRIVATE KEY-----`, and the key must not be encrypted");
            }
            Some(CertificateFiles {
                certificate: self.files.resolve(&certificate.value),
                key: self.files.resolve(&key.value),
                certificate_pem: certificate_pem.to_vec(),
                key_pem,
            })
        };
        pairs.into_iter().filter_map(read).collect()
    }

    fn limits(&mut self, document: &Document) -> Limits {
        let default = Limits::default();
        let Some(shape) = &document.limits else { return default };
        let mut at_least = |written: Option<(Position, u64)>, least: u64, most: u64, what: &str| {
            let (at, value) = written?;
            if !(least..=most).contains(&value) {
                self.report.error(at, format!("{what} must be from {least} to {most}"));
                return None;
            }
            usize::try_from(value).ok()
        };
        let size = |size: &At<crate::config::read::ByteSize>| (size.at, size.value.0);
        let count = |count: &At<usize>| (count.at, count.value as u64);
        let head_bytes = at_least(shape.head.as_ref().map(size), 1 << 10, 1 << 20, "the size of a head in bytes");
        let target_bytes = at_least(shape.target.as_ref().map(size), 64, 64 << 10, "the size of a target in bytes");
        let headers = at_least(shape.headers.as_ref().map(count), 8, 1_000, "the number of headers");
        let connections = at_least(shape.connections.as_ref().map(count), 1, 10_000_000, "the number of connections");
        let per_address = match &shape.connections_per_address {
            Some(NoneOr::Value(number)) => {
                at_least(Some(count(number)), 1, 10_000_000, "the number of connections from one address")
            }
            _ => None,
        };
        let rejected_keys = match &shape.rejected_keys {
            None => default.rejected_keys,
            Some(NoneOr::Value(number)) => {
                at_least(Some(count(number)), 1, 60_000, "the number of keys that are not good")
                    .and_then(|number| u32::try_from(number).ok())
            }
            Some(NoneOr::None) => None,
        };
        let streams = shape.streams.as_ref().map(|streams| (streams.at, u64::from(streams.value)));
        let streams =
            at_least(streams, 1, 10_000, "the number of streams").and_then(|streams| u32::try_from(streams).ok());
        let body_bytes = match &shape.body {
            Some(NoneOr::Value(size)) => Some(size.value.0),
            _ => None,
        };
        Limits {
            head_bytes: head_bytes.unwrap_or(default.head_bytes),
            headers: headers.unwrap_or(default.headers),
            target_bytes: target_bytes.unwrap_or(default.target_bytes),
            body_bytes,
            connections: connections.unwrap_or(default.connections),
            connections_per_address: per_address,
            streams: streams.unwrap_or(default.streams),
            rejected_keys,
        }
    }

    fn access_log(&mut self, document: &Document) -> Option<AccessLogSettings> {
        let default = AccessLogSettings::default();
        match &document.access_log {
            None | Some(OffOr::Value(AccessLogShape::Stdout)) => Some(default),
            Some(OffOr::Off) => None,
            Some(OffOr::Value(AccessLogShape::Map(map))) => Some(AccessLogSettings {
                output: match &map.output {
                    Some(path) if path.value != "stdout" => AccessLogOutput::File(self.access_log_file(path)),
                    _ => default.output,
                },
                format: match map.format {
                    Some(AccessFormatWord::Combined) => AccessLogFormat::Combined,
                    Some(AccessFormatWord::Json) | None => AccessLogFormat::Json,
                },
            }),
        }
    }

    fn access_log_file(&mut self, path: &At<String>) -> PathBuf {
        let resolved = self.files.resolve(&path.value);
        let directory = resolved.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            self.report.error(path.at, format!("the directory `{}` does not exist", directory.display()));
        }
        resolved
    }
}

fn listener(shape: &ListenerShape, name: Arc<str>, address: SocketAddr) -> ListenerSettings {
    ListenerSettings {
        name,
        address,
        protocol: match shape.protocol {
            Some(ProtocolWord::H2c) => Protocol::H2c,
            Some(ProtocolWord::Http1) | None => Protocol::Http1,
        },
        is_tls: shape.tls.is_some(),
        is_backoffice: shape.backoffice.unwrap_or(false),
    }
}

/// Whether two addresses cannot be listened on at once. Port 0 is a new port each time.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && same_ip
}

fn timeouts(document: &Document) -> Timeouts {
    let default = Timeouts::default();
    let Some(shape) = &document.timeouts else { return default };
    let or = |span: Option<crate::config::read::Span>, default| span.map_or(default, |span| span.0);
    Timeouts {
        tls_handshake: or(shape.tls_handshake, default.tls_handshake),
        head: or(shape.head, default.head),
        idle: or(shape.idle, default.idle),
        age: or(shape.age, default.age),
        body: or(shape.body, default.body),
        write: or(shape.write, default.write),
        exchange: match shape.exchange {
            Some(NoneOr::Value(span)) => Some(span.0),
            Some(NoneOr::None) | None => default.exchange,
        },
        drain: or(shape.drain, default.drain),
    }
}

fn log(document: &Document) -> LogSettings {
    let default = LogSettings::default();
    let Some(shape) = &document.log else { return default };
    LogSettings {
        level: match shape.level {
            Some(LevelWord::Error) => "error",
            Some(LevelWord::Warn) => "warn",
            Some(LevelWord::Info) => "info",
            Some(LevelWord::Debug) => "debug",
            Some(LevelWord::Trace) => "trace",
            None => default.level,
        },
        is_json: matches!(shape.format, Some(LogFormatWord::Json)),
    }
}
