//! The configuration as it was understood. What is secret in it is not here to be shown: no digest of the admin token's file,
//! no pepper, no secret of the webhook and nothing of its address but the host.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Observatory;
use super::endpoints::SeenListener;
use crate::config::{AccessLogFormat, AccessLogOutput, IssuingSettings, Settings};
use crate::keys::{KeyPolicy, Timestamp};
use crate::snapshot::Snapshot;
use crate::upstream::{HostRule, Upstream};

/// The gateway's settings.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SeenSettings {
    /// The version that runs.
    pub version: String,
    /// The revision of its source, if it was built with one.
    pub revision: Option<String>,
    /// When it was started.
    #[schema(format = DateTime)]
    pub started_at: String,
    /// Counts the changes of the configuration that were put in force; 1 at the start.
    pub generation: u64,
    /// Digest of the files it was made from.
    pub content_digest: String,
    /// The environment that the gateway serves.
    pub environment: Option<String>,
    /// Addresses that callers connect to.
    pub listeners: Vec<SeenListener>,
    /// The certificates that are served.
    pub certificates: Vec<CertificateEnd>,
    /// How new keys begin.
    pub prefixes: Vec<SeenPrefix>,
    /// What is asked of keys that are issued.
    pub policy: SeenPolicy,
    /// The configuration, in the words of its file, with what it does not say filled in and without secrets. What stands
    /// under `endpoints` is shown by `/v1/endpoints`.
    #[schema(value_type = Object)]
    pub configuration: Value,
}

/// A certificate that is served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CertificateEnd {
    /// The names of its listener and its own.
    pub name: String,
    /// When it ends.
    #[schema(format = DateTime)]
    pub not_after: String,
    /// How many days are left; less than nothing if it is over.
    pub days_left: i64,
}

/// How new keys of one kind begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeenPrefix {
    /// The beginning.
    pub prefix: String,
    /// `secret` or `publishable`.
    pub r#type: String,
    /// Where they are good; everywhere if null.
    pub environment: Option<String>,
}

/// What is asked of keys when they are made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct SeenPolicy {
    /// Every key has an end.
    pub require_expiry: bool,
    /// No key ends later than so many seconds from then.
    pub max_age_seconds: Option<u64>,
    /// Every key states its permissions.
    pub require_permissions: bool,
    /// So many keys a tenant may have.
    pub max_keys: Option<usize>,
    /// Publishable keys can be seen again.
    pub keep_publishable_visible: bool,
    /// Keys that were not used for so many seconds are switched off.
    pub disable_unused_after_seconds: Option<u64>,
    /// So many seconds before a key's end somebody is told.
    pub notify_before_expiry_seconds: Vec<u64>,
}

impl SeenPolicy {
    fn of(policy: &KeyPolicy) -> Self {
        let KeyPolicy {
            require_expiry,
            max_age,
            require_permissions,
            max_keys,
            keep_publishable_visible,
            disable_unused_after,
            notify_before_expiry,
        } = policy;
        Self {
            require_expiry: *require_expiry,
            max_age_seconds: max_age.map(|age| age.as_secs()),
            require_permissions: *require_permissions,
            max_keys: *max_keys,
            keep_publishable_visible: *keep_publishable_visible,
            disable_unused_after_seconds: disable_unused_after.map(|time| time.as_secs()),
            notify_before_expiry_seconds: notify_before_expiry.iter().map(Duration::as_secs).collect(),
        }
    }
}

/// What is said about keys that are issued, without secrets.
#[derive(Debug, Clone, Default)]
pub(super) struct SeenIssuing {
    policy: SeenPolicy,
    prefixes: Vec<SeenPrefix>,
    webhook_host: Option<String>,
    has_token_file: bool,
}

impl SeenIssuing {
    pub(super) fn of(issuing: &IssuingSettings) -> Self {
        let prefixes = issuing.prefixes.iter().map(|entry| SeenPrefix {
            prefix: entry.prefix.clone(),
            r#type: entry.key_type.as_str().to_owned(),
            environment: entry.environment.as_ref().map(ToString::to_string),
        });
        Self {
            policy: SeenPolicy::of(&issuing.policy),
            prefixes: prefixes.collect(),
            // The rest of the address may hold a secret: a token in the path is the habit of many.
            webhook_host: issuing.webhook.as_ref().map(|webhook| webhook.url.host().unwrap_or_default().to_owned()),
            has_token_file: issuing.admin_token.is_some(),
        }
    }
}

impl Observatory {
    /// The gateway's settings, without secrets.
    #[must_use]
    pub fn settings(&self) -> SeenSettings {
        let seen = &self.0.seen;
        let snapshot = seen.snapshot.load();
        let issuing = self.0.issuing.load();
        let now = Timestamp::from(std::time::SystemTime::now()).as_millis() / 1000;
        let certificates = seen.metrics.certificates().into_iter().map(|(name, end)| CertificateEnd {
            name,
            not_after: Timestamp::from_millis(end.saturating_mul(1000)).to_string(),
            days_left: (end - now).div_euclid(86_400),
        });
        SeenSettings {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: option_env!("KEYGATE_REVISION").map(str::to_owned),
            started_at: Timestamp::from(seen.metrics.started()).to_string(),
            generation: snapshot.generation,
            content_digest: snapshot.content_digest.to_string(),
            environment: snapshot.environment.as_ref().map(ToString::to_string),
            listeners: self.listeners(),
            certificates: certificates.collect(),
            prefixes: issuing.prefixes.clone(),
            policy: issuing.policy.clone(),
            configuration: configuration(&seen.settings, &snapshot, &issuing),
        }
    }
}

/// The configuration in the words of its file. Taken apart in full, so that a new setting is not forgotten here.
fn configuration(settings: &Settings, snapshot: &Snapshot, issuing: &SeenIssuing) -> Value {
    let Settings { listeners, admin, observe, workers, limits, timeouts, log, access_log, store, rate_limit_file } =
        settings;
    let listen: Vec<Value> = listeners
        .iter()
        .map(|listener| {
            json!({
                "name": &*listener.name,
                "address": listener.address.to_string(),
                "protocol": match listener.protocol {
                    crate::config::Protocol::Http1 => "http1",
                    crate::config::Protocol::H2c => "h2c",
                },
                "tls": listener.is_tls,
                "backoffice": listener.is_backoffice,
            })
        })
        .collect();
    let networks = |list: &[ipnet::IpNet]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let upstreams: serde_json::Map<String, Value> =
        snapshot.router.upstreams().iter().map(|entry| (entry.name.to_string(), upstream(entry))).collect();
    let or_none = |number: Option<u64>| number.map_or_else(|| json!("none"), Value::from);
    let on_requests =
        snapshot.limits.all.iter().map(|policy| (policy.name.to_string(), policy.measure.to_string().into()));
    let limits_on_requests: serde_json::Map<String, Value> = on_requests.collect();
    json!({
        "listen": listen,
        "admin": admin.map_or_else(|| json!("off"), |admin| json!({
            "address": admin.address.to_string(),
            "tls": admin.is_tls,
            "console": admin.has_console,
            "token_file": issuing.has_token_file,
        })),
        "observe": observe.map_or_else(|| json!("off"), |address| json!({ "address": address.to_string() })),
        "workers": workers.get(),
        "environment": snapshot.environment.as_ref().map(ToString::to_string),
        "log": { "level": log.level, "format": if log.is_json { "json" } else { "text" } },
        "access_log": access_log.as_ref().map_or_else(|| json!("off"), |log| json!({
            "output": match &log.output {
                AccessLogOutput::Stdout => "stdout".to_owned(),
                AccessLogOutput::File(path) => path.display().to_string(),
            },
            "format": match log.format {
                AccessLogFormat::Json => "json",
                AccessLogFormat::Combined => "combined",
            },
        })),
        "trusted_proxies": networks(&snapshot.trusted_proxies),
        "trusted_identity": networks(&snapshot.trusted_identity),
        "limits": {
            "head": limits.head_bytes,
            "headers": limits.headers,
            "target": limits.target_bytes,
            "body": or_none(limits.body_bytes),
            "connections": limits.connections,
            "connections_per_address": or_none(limits.connections_per_address.map(|most| most as u64)),
            "streams": limits.streams,
            "rejected_keys": or_none(limits.rejected_keys.map(u64::from)),
        },
        "rate_limits": limits_on_requests,
        "rate_limit_file": rate_limit_file.as_ref().map(|file| file.display().to_string()),
        "timeouts": {
            "tls_handshake": written(timeouts.tls_handshake),
            "head": written(timeouts.head),
            "idle": written(timeouts.idle),
            "age": written(timeouts.age),
            "body": written(timeouts.body),
            "write": written(timeouts.write),
            "exchange": timeouts.exchange.map_or_else(|| "none".to_owned(), written),
            "drain": written(timeouts.drain),
        },
        "upstreams": upstreams,
        "keys": {
            "store": store.as_ref().map(|path| path.display().to_string()),
            "webhook": issuing.webhook_host.as_ref().map(|host| json!({ "host": host })),
        },
        "self_service": snapshot.self_service.as_ref().map_or_else(|| json!("off"), |service| json!({
            "path": &*service.prefix,
            "whoami": service.whoami,
            "rotate": service.rotate,
            "revoke": service.revoke,
            "max_grace": written(service.max_grace),
        })),
    })
}

fn upstream(upstream: &Upstream) -> Value {
    let servers: Vec<String> = upstream
        .servers()
        .iter()
        .map(|server| format!("{}://{}", if server.tls.is_some() { "https" } else { "http" }, server.authority))
        .collect();
    json!({
        "kind": super::endpoints::kind_of(upstream),
        "servers": servers,
        "host": match &upstream.host {
            HostRule::Preserve => "preserve".to_owned(),
            HostRule::Server => "server".to_owned(),
            HostRule::Fixed(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        },
        "connect_timeout": written(upstream.timeouts.connect),
        "response_timeout": written(upstream.timeouts.response),
        "body_timeout": written(upstream.timeouts.body),
        "tunnel_timeout": written(upstream.timeouts.tunnel),
        "idle_timeout": written(upstream.idle_timeout),
        "max_idle": upstream.max_idle,
        "max_requests": upstream.concurrency.max_requests.map_or_else(|| json!("none"), Value::from),
        "queue": upstream.concurrency.queue,
        "queue_timeout": written(upstream.concurrency.queue_time),
        "ejection": {
            "failures": upstream.ejection.failures,
            "duration": written(upstream.ejection.duration),
            "at_most": written(upstream.ejection.at_most),
        },
        "health_check": upstream.health_check.as_ref().map(|check| json!({
            "path": &*check.target,
            "interval": written(check.interval),
            "timeout": written(check.timeout),
            "healthy": check.healthy,
            "unhealthy": check.unhealthy,
        })),
    })
}

/// A time as it is written in the configuration, in the largest unit that it is whole in.
fn written(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
    match units.into_iter().find(|(_, size)| millis > 0 && millis.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", millis / size),
        None => format!("{millis}ms"),
    }
}
