//! Where keys are kept, what is asked of new ones, who is told of them, and what their holders may do.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::{Compiler, endpoints};
use crate::client::KeyType;
use crate::config::Webhook;
use crate::config::document::{
    AdminShape, Document, KeyPolicyShape, KeysShape, SelfServiceShape, SelfServiceWord, SwitchOr, WebhookShape,
};
use crate::config::problem::quote;
use crate::config::read::At;
use crate::keys::KeyPolicy;
use crate::policy::{PermissionRule, Policy};
use crate::routing::{Endpoint, ErrorStyle, PathAdmissions, PathPattern, Route, Rule, RuleLimits};
use crate::snapshot::SelfService;
use crate::upstream::{Upstream, UpstreamKind};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest time that anything here may take or last.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
/// The longest grace of a rotation.
const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Compiler<'_> {
    /// The file of the store, if one is named.
    pub fn store(&mut self, keys: Option<&KeysShape>) -> Option<PathBuf> {
        let written = keys?.store.as_ref()?;
        let path = match written.value.split_once(':') {
            Some(("sqlite", path)) => path.strip_prefix("//").unwrap_or(path),
            Some((scheme @ ("postgres" | "postgresql" | "mysql" | "redis"), _)) => {
                self.report
                    .error(written.at, format!("a store in `{scheme}` is not understood yet"))
                    .hint("write the name of a file, such as `keygate.db`");
                return None;
            }
            _ => written.value.as_str(),
        };
        if path.is_empty() || path == ":memory:" {
            self.report
                .error(written.at, "the store has no file")
                .hint("write the name of a file, such as `keygate.db`");
            return None;
        }
        let resolved = self.files.resolve(path);
        let directory = resolved.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            self.report.error(written.at, format!("the directory `{}` does not exist", directory.display()));
        }
        Some(resolved)
    }

    /// Where counts of days and months are kept: where it is said, or beside the store.
    pub fn rate_limit_file(&mut self, document: &Document, store: Option<&std::path::Path>) -> Option<PathBuf> {
        let Some(written) = &document.rate_limit_file else {
            let mut beside = store?.as_os_str().to_owned();
            beside.push(".limits");
            return Some(beside.into());
        };
        let resolved = self.files.resolve(&written.value);
        let directory = resolved.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(directory) = directory.filter(|directory| !directory.is_dir()) {
            self.report.error(written.at, format!("the directory `{}` does not exist", directory.display()));
        }
        Some(resolved)
    }

    /// What is asked of new keys.
    pub fn key_policy(&mut self, document: &Document) -> KeyPolicy {
        let require_permissions = document.require_permissions.unwrap_or(false);
        let default = KeyPolicy { require_permissions, ..KeyPolicy::default() };
        let Some(keys) = &document.keys else { return default };
        let Some(shape) = &keys.policy else { return default };
        if keys.store.is_none() && !keys.is_broken {
            self.report
                .warning(shape.at, "the policy is asked of keys in a store, and there is none")
                .hint("write `store: keygate.db`, or remove `policy`");
        }
        self.policy_of(shape, default)
    }

    fn policy_of(&mut self, shape: &KeyPolicyShape, default: KeyPolicy) -> KeyPolicy {
        let mut span = |written: &Option<At<crate::config::read::Span>>, least: Duration, what: &str| {
            let written = written.as_ref()?;
            if !(least..=CENTURY).contains(&written.value.0) {
                let message = format!("{what} must be from {} to a hundred years", shown(least));
                self.report.error(written.at, message);
                return None;
            }
            Some(written.value.0)
        };
        let max_age = span(&shape.max_key_age, Duration::from_secs(60), "the age of keys");
        let disable_unused_after = span(&shape.disable_unused_after, DAY, "the time without use");
        let max_keys = shape.max_keys.as_ref().and_then(|written| {
            if written.value == 0 {
                self.report.error(written.at, "the number of keys must be 1 at least");
            }
            Some(written.value).filter(|number| *number > 0)
        });
        if let Some(list) = &shape.keep_visible
            && list.value.iter().any(|word| KeyType::from(*word) == KeyType::Secret)
        {
            self.report
                .error(list.at, "secret keys are never kept: they are shown once")
                .hint("write `keep_visible: [publishable]`");
        }
        let mut notify = shape
            .notify_before_expiry
            .as_ref()
            .map_or(default.notify_before_expiry, |list| list.iter().map(|span| span.0).collect());
        notify.sort_unstable_by(|one, other| other.cmp(one));
        notify.dedup();
        KeyPolicy {
            require_expiry: shape.require_expiry.unwrap_or(false),
            max_age,
            require_permissions: default.require_permissions,
            max_keys,
            keep_publishable_visible: shape.keep_visible.as_ref().is_some_and(|list| !list.value.is_empty()),
            disable_unused_after,
            notify_before_expiry: notify,
        }
    }

    /// Who is told of changes of keys.
    pub fn webhook(&mut self, keys: Option<&KeysShape>) -> Option<Webhook> {
        let shape = keys?.webhook.as_ref()?;
        if keys.is_some_and(|keys| keys.store.is_none() && !keys.is_broken) {
            self.report
                .error(shape.at, "the webhook is told of keys in a store, and there is none")
                .hint("write `store: keygate.db`, or remove `webhook`");
        }
        let secret = self.webhook_secret(shape);
        let url = self.webhook_url(&shape.url);
        let trusted = match &shape.ca {
            None => None,
            Some(path) => {
                let pem = self.read_file(path, "the certificate file")?;
                let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
                if chain.is_empty() {
                    self.report
                        .error(path.at, "this file holds no certificate in PEM form")
                        .hint("it must have a line `-----BEGIN CERTIFICATE-----`");
                }
                Some(chain)
            }
        };
        Some(Webhook { url: url?, secret: secret?, trusted })
    }

    fn webhook_url(&mut self, written: &At<String>) -> Option<http::Uri> {
        let refuse = |compiler: &mut Self, why: &str, hint: &str| {
            // What stands there may hold a password.
            compiler.report.hide_line(written.at);
            compiler.report.error(written.at, format!("this cannot be told anything: {why}")).hint(hint);
            None
        };
        let form = "write `https://host/path`";
        let Ok(url) = written.value.parse::<http::Uri>() else {
            return refuse(self, "it is not a URL", form);
        };
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return refuse(self, "it is not a URL", form);
        };
        if authority.as_str().contains('@') {
            return refuse(self, "it holds a user name", "messages are signed: leave out what stands before `@`");
        }
        let is_here = match url.host().unwrap_or_default().trim_matches(['[', ']']) {
            "localhost" => true,
            host => host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
        };
        match scheme {
            "https" => Some(url),
            "http" if is_here => Some(url),
            "http" => refuse(self, "plain HTTP would show it to everybody on the way", form),
            _ => refuse(self, "the scheme is not understood", form),
        }
    }

    fn webhook_secret(&mut self, shape: &WebhookShape) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = self.read_secret_file(&shape.secret_file, "the secret of the webhook")?;
        let text = bytes.trim_ascii();
        let secret = match text.strip_prefix(b"whsec_") {
            Some(encoded) => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.decode(encoded).ok().map(Zeroizing::new)
            }
            None => Some(Zeroizing::new(text.to_vec())),
        };
        match secret {
            Some(secret) if secret.len() >= 24 => Some(secret),
            _ => {
                self.report
                    .error(shape.secret_file.at, "the file does not hold a secret of at least 24 bytes")
                    .hint("make one with `openssl rand -hex 32`");
                None
            }
        }
    }

    /// Digest of the admin token that a file gives.
    pub fn admin_token(&mut self, admin: Option<&AdminShape>) -> Option<[u8; 32]> {
        let path = admin?.token_file.as_ref()?;
        let bytes = self.read_secret_file(path, "the file of the admin token")?;
        let text = bytes.trim_ascii();
        if text.len() < 20 || !text.iter().all(u8::is_ascii_graphic) {
            self.report
                .error(path.at, "the file does not hold an admin token: one word of at least 20 characters")
                .hint("make one with `keygate hash --generate kg_admin_`, whose first line is the token");
            return None;
        }
        Some(*blake3::hash(text).as_bytes())
    }

    /// The endpoint at which holders of keys ask about them.
    pub fn self_service(
        &mut self,
        document: &Document,
        context: &endpoints::Context<'_>,
        errors: ErrorStyle,
    ) -> Option<(Endpoint, SelfService)> {
        let default;
        let shape: &SelfServiceShape = match &document.self_service {
            None | Some(SwitchOr::Off) => return None,
            Some(SwitchOr::On) => {
                default = SelfServiceShape {
                    path: None,
                    actions: None,
                    max_grace: None,
                    at: document.at,
                    is_broken: document.is_broken,
                };
                &default
            }
            Some(SwitchOr::Value(shape)) => shape,
        };
        let at = shape.path.as_ref().map_or(shape.at, |path| path.at);
        let path = shape.path.as_ref().map_or("/-", |path| path.value.as_str());
        let pattern = PathPattern::parse(path).ok().filter(|_| path != "/" && !path.contains(':'));
        let Some(pattern) = pattern else {
            self.report
                .error(at, format!("{} is not a path of its own", quote(path)))
                .hint("write a path without parameters, such as `/-`");
            return None;
        };
        let max_grace = shape.max_grace.as_ref().map_or(7 * DAY, |written| {
            if written.value.0 > MAX_GRACE {
                self.report.error(written.at, "an old secret may stay good for 30 days at most");
            }
            written.value.0
        });
        let offers = |word| shape.actions.as_ref().is_none_or(|list| list.value.contains(&word));
        if let Some(list) = shape.actions.as_ref().filter(|list| list.value.is_empty() && !shape.is_broken) {
            self.report.error(list.at, "nothing is offered").hint("write `self_service: off`");
        }
        let changes = offers(SelfServiceWord::Rotate) || offers(SelfServiceWord::Revoke);
        if changes && document.keys.as_ref().is_none_or(|keys| keys.store.is_none()) {
            self.report
                .warning(shape.at, "holders can rotate and revoke keys of a store, and there is none")
                .hint("write `keys: { store: keygate.db }`, or `actions: [whoami]`");
        }
        let place = self.place(at);
        let https_only = document.https_only.as_ref().is_some_and(|flag| flag.value);
        let rule = |method: http::Method, key_types: &[KeyType]| Rule {
            place: place.clone(),
            methods: Box::new([method]),
            policy: Policy {
                public: false,
                client_types: None,
                permissions: PermissionRule::None,
                key_types: key_types.into(),
                tenant: None,
                networks: Box::default(),
                https_only,
                require_user: false,
                allow: None,
                allow_backoffice: None,
                require_permissions: false,
            },
            limits: RuleLimits::default(),
        };
        let mut routes = Vec::new();
        for (word, action) in [(SelfServiceWord::Rotate, "rotate"), (SelfServiceWord::Revoke, "revoke")] {
            let whole = format!("{path}/{action}");
            if let (true, Ok(pattern)) = (offers(word), PathPattern::parse(&whole)) {
                routes.push(Route {
                    text: format!("POST {whole}").into(),
                    method: Some(http::Method::POST),
                    pattern,
                    rule: rule(http::Method::POST, &[KeyType::Secret]),
                });
            }
        }
        let endpoint = Endpoint {
            name: "_self_service".into(),
            place: place.clone(),
            hosts: Box::default(),
            pattern,
            listeners: Box::default(),
            base: rule(http::Method::GET, &[KeyType::Secret, KeyType::Publishable]),
            routes: routes.into(),
            admits: PathAdmissions::default(),
            case_distinct: false,
            upstream: Arc::new(keygate_itself()),
            prefix_swap: None,
            extractor: Arc::clone(&context.extraction.common),
            forwards_credential: false,
            passes_headers: Box::default(),
            passes_request_trailers: false,
            upgrades: Box::default(),
            cors: None,
            max_body: Some(4 << 10),
            response_timeout: None,
            errors,
        };
        let offered = SelfService {
            prefix: path.into(),
            whoami: offers(SelfServiceWord::Whoami),
            rotate: offers(SelfServiceWord::Rotate),
            revoke: offers(SelfServiceWord::Revoke),
            max_grace,
        };
        Some((endpoint, offered))
    }
}

/// The upstream of requests that go no further.
fn keygate_itself() -> Upstream {
    Upstream::new("_self_service", UpstreamKind::SelfService)
}

fn shown(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds >= 86_400 => format!("{} days", seconds / 86_400).replace("1 days", "a day"),
        _ => "a minute".to_owned(),
    }
}
