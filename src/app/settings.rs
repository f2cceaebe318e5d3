//! What the configuration says, in the form in which the parts of the program want it.

use std::net::SocketAddr;
use std::sync::Arc;

use super::StartError;
use crate::config::{self, AccessLogFormat, AccessLogOutput, Loaded, Settings};
use crate::reload::{CertificateFiles, read_certificates};
use crate::server::tls::{self, CertificateResolver};
use crate::server::{
    self, ConnectionLimits, ConnectionSettings, GuardLimits, ListenerSettings, Protocol, WorkerListeners,
};
use crate::telemetry::access_log::{self, AccessLog, Destination, Format};
use crate::telemetry::redact::Masks;
use crate::webhook::Receiver;

pub(super) fn open_access_log(settings: &Settings, masks: Masks) -> Result<AccessLog, access_log::OpenError> {
    let Some(log) = &settings.access_log else {
        return AccessLog::open(Destination::Off, Format::Json, masks);
    };
    let destination = match &log.output {
        AccessLogOutput::Stdout => Destination::Stdout,
        AccessLogOutput::File(path) => Destination::File(path.clone()),
    };
    let format = match log.format {
        AccessLogFormat::Json => Format::Json,
        AccessLogFormat::Combined => Format::Combined,
    };
    AccessLog::open(destination, format, masks)
}

/// Listeners as the server wants them. The certificates that a reload may swap are added to `swappable`.
pub(super) fn listeners(
    loaded: &Loaded,
    swappable: &mut Vec<CertificateFiles>,
) -> Result<Vec<ListenerSettings>, StartError> {
    let mut listeners = Vec::new();
    for listener in &loaded.settings.listeners {
        let tls = tls_of(loaded, &listener.name, &tls::DATA_PROTOCOLS, swappable)?;
        listeners.push(ListenerSettings {
            name: Arc::clone(&listener.name),
            addresses: vec![listener.address],
            protocol: match listener.protocol {
                config::Protocol::Http1 => Protocol::Http1,
                config::Protocol::H2c => Protocol::H2c,
            },
            tls,
            is_backoffice: listener.is_backoffice,
        });
    }
    Ok(listeners)
}

/// The TLS configuration of a listener, if it has certificates.
pub(super) fn tls_of(
    loaded: &Loaded,
    listener: &str,
    protocols: &[&str],
    swappable: &mut Vec<CertificateFiles>,
) -> Result<Option<Arc<rustls::ServerConfig>>, StartError> {
    let Some(files) = loaded.certificates.iter().find(|entry| &*entry.listener == listener) else { return Ok(None) };
    let listener = Arc::clone(&files.listener);
    let certificates = read_certificates(files)
        .map_err(|source| StartError::Certificate { listener: Arc::clone(&listener), source })?;
    let resolver =
        CertificateResolver::new(certificates).map_err(|_| StartError::Tls(rustls::Error::NoCertificatesPresented))?;
    swappable.push(CertificateFiles { listener, resolver: Arc::clone(&resolver) });
    Ok(Some(tls::server_config(resolver, protocols)?))
}

/// Who is told of changes of keys.
pub(super) fn webhook_receiver(settings: Option<&config::Webhook>) -> Option<Arc<Receiver>> {
    match Receiver::new(settings?) {
        Ok(receiver) => Some(Arc::new(receiver)),
        Err(error) => {
            tracing::error!(%error, "the webhook cannot be told anything");
            None
        }
    }
}

pub(super) fn connection_settings(settings: &Settings) -> ConnectionSettings {
    let defaults = ConnectionSettings::default();
    let (limits, timeouts) = (&settings.limits, &settings.timeouts);
    let descriptors = server::descriptors::claim();
    if let Some(most) = descriptors.filter(|most| *most < limits.connections as u64) {
        tracing::warn!(most, limit = limits.connections, "descriptors run out before `limits.connections` is reached");
    }
    ConnectionSettings {
        head: GuardLimits {
            head_bytes: limits.head_bytes,
            field_count: limits.headers,
            target_bytes: limits.target_bytes,
        },
        head_time: timeouts.head,
        idle_time: timeouts.idle,
        age: timeouts.age,
        write_time: timeouts.write,
        handshake_time: timeouts.tls_handshake,
        body: server::request_body::BodyPace { between_pieces: timeouts.body, ..defaults.body },
        http2: server::Http2Settings { streams: limits.streams, ..defaults.http2 },
        connections: ConnectionLimits::new(
            limits.connections,
            limits.connections_per_address.unwrap_or(usize::MAX),
            Vec::new(),
        ),
        descriptors,
        grace: timeouts.drain,
        ..defaults
    }
}

pub(super) fn listening(settings: &Settings, bound: Option<&WorkerListeners>) -> Vec<String> {
    let addresses = bound.map(WorkerListeners::addresses).unwrap_or_default();
    addresses
        .into_iter()
        .map(|(name, address)| {
            let is_tls = settings.listeners.iter().any(|listener| listener.name == name && listener.is_tls);
            url(if is_tls { "https" } else { "http" }, address)
        })
        .collect()
}

/// A URL for people; an unspecified address is shown as the loopback one, which is where a first request goes.
pub(super) fn url(scheme: &str, address: SocketAddr) -> String {
    let mut shown = address;
    if address.ip().is_unspecified() {
        shown.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("{scheme}://{shown}")
}
