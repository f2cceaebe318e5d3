//! From the document to the values in force, with every check that needs more than one field.
//!
//! [`compile`] takes what a person wrote and gives what the rest of the program works with: settings, snapshot and keys.
//! It goes through everything even when something is wrong, so that the report is complete. Checks that would only repeat
//! an earlier problem (an endpoint whose upstream could not be read) are left out.
//!
//! Nothing here decides about requests, and nothing is in force yet when it returns.

mod clients;
mod credentials;
mod endpoints;
mod issuing;
mod limits;
mod lines;
mod listeners;
mod rules;
mod unique;
mod upstreams;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::document::{DetailWord, Document, ErrorsShape, FormatWord, KeysFileShape, KeysShape};
use super::keys::LoadedKeys;
use super::problem::{Report, Severity, did_you_mean};
use super::read::Shape as _;
use super::read::{At, OffOr};
use super::source::{Access, Files, MAX_PEM_BYTES, MAX_YAML_BYTES};
use super::tree::Position;
use super::{IssuingSettings, ListenerCertificates, Names, Settings, Surroundings, read_yaml};
use crate::client::ClientType;
use crate::credential::Pepper;
use crate::identity::IdentityHeaders;
use crate::keys::{KeyTable, Timestamp};
use crate::routing::{Endpoint, ErrorFormat, ErrorStyle, Place, Router};
use crate::snapshot::Snapshot;
pub(super) use clients::KeySet;
pub(super) use credentials::pepper_from;
pub(super) use lines::LinesFile;

/// What a compilation works with beside the document.
pub(super) struct Compiler<'a> {
    pub report: &'a mut Report,
    pub files: &'a mut Files,
    pub names: Names,
    pub now: Timestamp,
}

/// What comes out of it.
pub(super) struct Compiled {
    pub settings: Settings,
    pub snapshot: Snapshot,
    pub keys: LoadedKeys,
    pub table: KeyTable,
    pub pepper: Option<Pepper>,
    pub certificates: Vec<ListenerCertificates>,
    pub issuing: IssuingSettings,
}

impl Compiler<'_> {
    /// A place as domain types hold it.
    pub fn place(&self, at: Position) -> Place {
        let file = self.report.source(at.source).map_or_else(|| Arc::from(""), |source| Arc::clone(&source.name));
        Place { file, line: at.line as usize }
    }

    /// Reads a file that the configuration names; reports if that is not possible.
    pub fn read_file(&mut self, path: &At<String>, what: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.read_bounded(path, what).map(|(bytes, _)| bytes)
    }

    /// Reads a file with a secret in it, which must be kept from other users of the machine.
    pub fn read_secret_file(&mut self, path: &At<String>, what: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.read_guarded(path, what, Severity::Error)
    }

    /// The private key of a certificate. Other servers on the machine may share it through a mode that is wider than we like,
    /// so that one everybody can read is a warning; one that everybody can replace is not.
    pub fn read_certificate_key(&mut self, path: &At<String>, what: &str) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        self.read_guarded(path, what, Severity::Warning)
    }

    fn read_guarded(
        &mut self,
        path: &At<String>,
        what: &str,
        readable: Severity,
    ) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let (bytes, access) = self.read_bounded(path, what)?;
        if access.others_read || access.others_write {
            let shown = self.files.resolve(&path.value);
            let message = format!("{what} `{}` can be read or written by every user of this machine", shown.display());
            let problem = match readable {
                Severity::Warning if !access.others_write => self.report.warning(path.at, message),
                _ => self.report.error(path.at, message),
            };
            problem.hint("keep it to its owner (and a group at most): `chmod 600` or `chmod 640`");
        }
        Some(bytes)
    }

    fn read_bounded(&mut self, path: &At<String>, what: &str) -> Option<(zeroize::Zeroizing<Vec<u8>>, Access)> {
        let resolved = self.files.resolve(&path.value);
        match self.files.read(&resolved, MAX_PEM_BYTES) {
            Ok(read) => Some(read),
            Err(why) => {
                self.report.error(path.at, format!("{what} `{}` {}", resolved.display(), why.0));
                None
            }
        }
    }
}

/// Compiles a document that came from file number `source`. What it returns is of use only if nothing was reported as an
/// error; `None` if not even that much could be made.
pub(super) fn compile(
    document: &Document,
    generation: u64,
    read_keys_file: &mut dyn FnMut(&mut Compiler<'_>, &At<String>, &mut KeySet),
    mut compiler: Compiler<'_>,
) -> Option<Compiled> {
    let (listeners, mut certificates) = compiler.listeners(document);
    let settings = compiler.settings(document, listeners);
    certificates.extend(compiler.admin_certificates(document));
    let own_addresses: Vec<_> = settings.admin.map(|admin| admin.address).into_iter().chain(settings.observe).collect();
    let upstreams = compiler.upstreams(document, &own_addresses);

    let pepper = compiler.pepper(document.keys.as_ref());
    let mut keys = KeySet::default();
    for client in document.clients.iter().flatten() {
        keys.add_client(client, &mut compiler);
    }
    for file in key_files(document.keys.as_ref(), &mut compiler) {
        read_keys_file(&mut compiler, &file, &mut keys);
    }
    keys.check_unique(compiler.report);
    keys.check_schemes(
        pepper.is_some(),
        document.keys.as_ref().and_then(|keys| keys.pepper_file.as_ref()),
        compiler.report,
    );
    keys.check_published(&settings.listeners, compiler.report);

    let names = compiler.identity_names(document);
    let extraction = compiler.extraction(document, &names);
    let errors = error_style(document.errors.as_ref(), ErrorStyle::default());
    let limit_set = limits::LimitSet::default();
    let limits = compiler.rate_limits(document, &limit_set);
    compiler.check_plans(keys.plans(), &limits);
    let context = endpoints::Context {
        document,
        limits: &limits,
        limit_set: &limit_set,
        listeners: &settings.listeners,
        upstreams: &upstreams,
        extraction: &extraction,
        identity: &names,
        errors,
        max_body: settings.limits.body_bytes,
    };
    let mut endpoints = compiler.endpoints(&context);
    let self_service = compiler.self_service(document, &context, errors);
    let issuing = IssuingSettings {
        policy: compiler.key_policy(document),
        webhook: compiler.webhook(document.keys.as_ref()),
        admin_token: compiler.admin_token(admin_of(document).flatten()),
        prefixes: extraction.key_prefixes.clone(),
    };
    // What the store holds is not known here.
    if settings.store.is_none() {
        compiler.warn_of_unheld(document, &endpoints, &keys);
    }
    let self_service = self_service.map(|(endpoint, offered)| {
        endpoints.push(endpoint);
        offered
    });
    compiler.warn_of_trust(document, &settings);
    let limits = compiler.finish_limits(limits, document, limit_set, &settings);
    let router = compiler.router(endpoints, document)?;
    let snapshot = Snapshot {
        generation,
        content_digest: Box::default(),
        loaded_at: compiler.now,
        router,
        identity: IdentityHeaders::new(names.names, names.reserved),
        trusted_proxies: document.trusted_proxies.iter().flatten().map(|network| network.0).collect(),
        trusted_identity: document
            .trusted_identity
            .iter()
            .flat_map(|list| &list.value)
            .map(|network| network.0)
            .collect(),
        environment: document.environment.clone(),
        errors,
        limits,
        self_service,
    };
    let (keys, table) = keys.into_parts();
    Some(Compiled { settings, snapshot, keys, table, pepper, certificates, issuing })
}

/// Reads one keys file into the set.
pub(super) fn read_keys_file(
    compiler: &mut Compiler<'_>,
    file: &At<String>,
    keys: &mut KeySet,
    surroundings: &Surroundings<'_>,
) {
    let path = compiler.files.resolve(&file.value);
    let name: Arc<str> = path.display().to_string().into();
    let is_yaml = match path.extension().and_then(std::ffi::OsStr::to_str) {
        Some("yaml" | "yml") => true,
        Some("jsonl" | "ndjson") => false,
        _ => {
            compiler
                .report
                .error(file.at, format!("what the keys file `{name}` holds cannot be told from its name"))
                .hint("call it `.yaml` if it has `clients:` at its top, `.jsonl` if it has one key a line");
            return;
        }
    };
    let unreadable = |why: super::source::Unreadable, compiler: &mut Compiler<'_>| {
        compiler.report.error(file.at, format!("the keys file `{name}` {}", why.0));
    };
    if is_yaml {
        let (bytes, access) = match compiler.files.read(&path, MAX_YAML_BYTES) {
            Ok(read) => read,
            Err(why) => return unreadable(why, compiler),
        };
        warn_of_access(compiler, file, access);
        let root = read_yaml(&name, Ok((bytes, Access::default())), surroundings, compiler.report);
        let read = root.and_then(|root| KeysFileShape::read(&root, compiler.report));
        for client in read.iter().flat_map(|read| &read.clients.value) {
            keys.add_client(client, compiler);
        }
    } else {
        let (opened, access) = match compiler.files.open(&path) {
            Ok(opened) => opened,
            Err(why) => return unreadable(why, compiler),
        };
        warn_of_access(compiler, file, access);
        let source = compiler.report.add_source(Arc::clone(&name), None);
        compiler.files.note_bytes(name.as_bytes());
        lines::read_lines(opened, name, source, keys, compiler);
    }
}

/// Digests are no secrets, but they are nobody's business either.
fn warn_of_access(compiler: &mut Compiler<'_>, file: &At<String>, access: Access) {
    if access.others_write {
        compiler
            .report
            .error(file.at, "every user of this machine can write this keys file, and thereby let anybody in")
            .hint("`chmod 640`");
    } else if access.others_read {
        compiler
            .report
            .warning(file.at, "every user of this machine can read this keys file")
            .hint("it holds digests only, but lists your clients: `chmod 640`");
    }
}

/// The keys files that a document names.
fn key_files(keys: Option<&KeysShape>, compiler: &mut Compiler<'_>) -> Vec<At<String>> {
    let Some(keys) = keys else { return Vec::new() };
    let mut files: Vec<At<String>> = keys.file.iter().cloned().collect();
    files.extend(keys.files.iter().flat_map(|list| list.value.iter().cloned()));
    let mut named = BTreeSet::new();
    files.retain(|file| {
        let is_new = named.insert(file.value.clone());
        if !is_new {
            compiler.report.error(file.at, format!("the file `{}` is named twice", file.value));
        }
        is_new
    });
    if files.is_empty() && keys.pepper_file.is_none() && keys.store.is_none() && !keys.is_broken {
        compiler
            .report
            .error(keys.at, "no store and no file is named")
            .hint("write `store: keygate.db` or `file: keys.yaml`, or remove `keys`");
    }
    files
}

/// An endpoint's own error style, field by field, or that of `base`.
fn error_style(shape: Option<&ErrorsShape>, base: ErrorStyle) -> ErrorStyle {
    let format = shape.and_then(|shape| shape.format).map_or(base.format, |word| match word {
        FormatWord::Problem => ErrorFormat::Problem,
        FormatWord::Envelope => ErrorFormat::Envelope,
        FormatWord::Bkend => ErrorFormat::Bkend,
        FormatWord::Billabear => ErrorFormat::Billabear,
    });
    let full_detail =
        shape.and_then(|shape| shape.detail).map_or(base.full_detail, |word| matches!(word, DetailWord::Full));
    ErrorStyle { format, full_detail }
}

impl Compiler<'_> {
    fn pepper(&mut self, keys: Option<&KeysShape>) -> Option<Pepper> {
        let path = keys?.pepper_file.as_ref()?;
        let bytes = self.read_secret_file(path, "the pepper file")?;
        let pepper = pepper_from(&bytes);
        if pepper.is_none() {
            self.report
                .error(path.at, "the pepper file does not hold 32 bytes, raw, in hex or in base64")
                .hint("make one with `openssl rand -hex 32`");
        }
        pepper
    }

    fn router(&mut self, endpoints: Vec<Endpoint>, document: &Document) -> Option<Router> {
        let list = &document.endpoints.value;
        let described: Vec<_> = endpoints
            .iter()
            .map(|endpoint| {
                let shape = endpoints::shape_of(endpoint, list);
                let routes: Vec<_> = shape
                    .iter()
                    .flat_map(|shape| shape.routes.iter().flatten())
                    .map(|route| route.r#match.at)
                    .collect();
                (Arc::clone(&endpoint.name), endpoint.place.clone(), shape.map(|shape| shape.path.at), routes)
            })
            .collect();
        let clashes = match Router::build(endpoints) {
            Ok(router) => return Some(router),
            Err(clashes) => clashes,
        };
        for clash in clashes {
            let (Some((name, _, path_at, routes)), Some((with, with_place, ..))) =
                (described.get(clash.endpoint), described.get(clash.with))
            else {
                continue;
            };
            // An endpoint that nobody wrote is the one of `self_service`.
            if path_at.is_none()
                && let Some((.., Some(at), _)) = described.get(clash.with)
            {
                self.report
                    .error(*at, "holders of keys ask about them at this path (`self_service`)")
                    .hint("give the endpoint, or `self_service`, another path");
                continue;
            }
            let route_at = clash.route.and_then(|route| routes.get(route).copied());
            let at = route_at.or(*path_at).unwrap_or_default();
            match clash.route {
                Some(_) if clash.endpoint == clash.with => {
                    self.report
                        .error(at, format!("endpoint `{name}` has another route for the same method and path"))
                        .hint("keep one of them");
                }
                Some(_) => {
                    self.report.error(
                        at,
                        format!("endpoint `{with}` ({with_place}) has a route for the same method and path"),
                    );
                }
                None => {
                    self.report
                        .error(
                            at,
                            format!("endpoint `{with}` ({with_place}) claims the same paths with the same right"),
                        )
                        .hint("give one of them another path, host or listener, or make them one endpoint");
                }
            }
        }
        None
    }

    /// Names that rules ask for and nobody holds: most likely a slip of the pen.
    fn warn_of_unheld(&mut self, document: &Document, endpoints: &[Endpoint], keys: &KeySet) {
        if keys.is_empty() {
            let first = endpoints.iter().find(|endpoint| !endpoint.base.policy.public);
            if let Some(endpoint) = first
                && self.report.errors() == 0
            {
                let at = endpoints::shape_of(endpoint, &document.endpoints.value);
                self.report
                    .warning(
                        at.map_or(document.at, |shape| shape.at),
                        "there are no keys: endpoints that need one refuse everybody",
                    )
                    .hint("write `keys: { file: keys.yaml }` or `clients:`");
            }
            return;
        }
        // Half of the clients may be missing from what could be read.
        if self.report.errors() > 0 {
            return;
        }
        let held = keys.held();
        let mut warned = BTreeSet::new();
        let mut rules: Vec<_> = Vec::new();
        for shape in &document.endpoints.value {
            rules.push(shape.rules());
            rules.extend(shape.routes.iter().flatten().map(super::document::RouteShape::rules));
        }
        for rules in &rules {
            for word in rules::client_types_of(rules) {
                let is_new =
                    !held.client_types.contains(word.value.as_str()) && warned.insert((0, word.value.to_string()));
                if is_new {
                    let hint = did_you_mean(word.value.as_str(), held.client_types.iter().copied());
                    self.report.warning(word.at, format!("no client is of the type `{}`", word.value)).maybe_hint(hint);
                }
            }
            for word in rules::permissions_of(rules) {
                let is_new = !held.cover(&word.value) && warned.insert((1, word.value.to_string()));
                if is_new {
                    let hint = did_you_mean(word.value.as_str(), held.permissions.iter().copied());
                    self.report
                        .warning(word.at, format!("no client holds the permission `{}`", word.value))
                        .maybe_hint(hint);
                }
            }
            for (at, expression) in rules::expressions_of(rules) {
                for name in expression.client_types() {
                    let is_type = ClientType::parse(name).is_ok();
                    if is_type && !held.client_types.contains(name) && warned.insert((0, name.to_owned())) {
                        let hint = did_you_mean(name, held.client_types.iter().copied());
                        self.report.warning(at, format!("no client is of the type `{name}`")).maybe_hint(hint);
                    }
                }
            }
        }
    }

    /// What is allowed and should be looked at.
    fn warn_of_trust(&mut self, document: &Document, settings: &Settings) {
        if let Some(trusted) = document.trusted_identity.as_ref().filter(|list| !list.value.is_empty()) {
            self.report
                .warning(trusted.at, "whoever connects from these networks can act as any user")
                .hint("list only gateways that set these headers themselves, never a network that callers can reach");
        }
        let has_tls = settings.listeners.iter().any(|listener| listener.is_tls);
        let has_proxies = document.trusted_proxies.as_ref().is_some_and(|list| !list.is_empty());
        if has_tls || has_proxies {
            return;
        }
        let written = document.https_only.iter().chain(document.endpoints.value.iter().flat_map(|shape| {
            shape.https_only.iter().chain(shape.routes.iter().flatten().filter_map(|route| route.https_only.as_ref()))
        }));
        if let Some(first) = written.into_iter().find(|flag| flag.value) {
            self.report
                .warning(first.at, "no listener speaks TLS and no proxy is trusted: every request is refused")
                .hint("give a listener `tls`, or list the proxy that ends TLS in `trusted_proxies`");
        }
    }
}

/// Whether the operator's listener is wanted, and where.
pub(super) fn admin_of(document: &Document) -> Option<Option<&super::document::AdminShape>> {
    match &document.admin {
        Some(OffOr::Off) => None,
        Some(OffOr::Value(admin)) => Some(Some(admin)),
        None => Some(None),
    }
}
