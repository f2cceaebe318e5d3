//! Builds every part by hand, in order, then runs and drains them.
//!
//! [`run`] takes a loaded configuration and gives back how it ended. Nothing is served before everything is bound; no
//! request is taken before keys and rules are in force. Each worker is a thread with a single-threaded runtime, its own
//! sockets and its own upstream connections; the admin listener, signals and background work share a runtime of their own.
//!
//! There are no globals besides the log: all state is made here and handed down.

pub mod keys;
mod limits;
mod names;
mod settings;
mod sockets;
mod take_over;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

use crate::admin::{AdminApi, LimitsInForce, LocalSocket, Reload};
use crate::config::{self, Loaded, Problems, Source};
use crate::console;
use crate::credential::Secret;
use crate::forward::{ForwardSettings, Forwarder, OpenStreams};
use crate::gateway::{Gateway, Guesses, Holders, KeyUsage, Shared, cut_withdrawn};
use crate::keys::KeyTable;
use crate::management::{Management, Refused, Upkeep};
use crate::observatory::{Observatory, Seen};
use crate::ops::{self, Ops};
use crate::reload::{InForce, Outcome, ReloadHandle, Reloader, Trigger, report_certificates, report_endpoints};
use crate::server::tls::CertificateError;
use crate::server::{self, BindError, ConnectionSettings, Drain, Drained, WorkerListeners};
use crate::snapshot::CurrentSnapshot;
use crate::store;
use crate::telemetry::access_log::{self, AccessLog};
use crate::telemetry::health::{Health, ReloadOutcome};
use crate::telemetry::metrics::{Metrics, WorkerMetrics};
use crate::telemetry::redact::Masks;
use crate::webhook;
use names::resolve_again_and_again;
use settings::{connection_settings, listeners, listening, open_access_log, tls_of, url, webhook_receiver};
use sockets::{Inheritance, bind_operators, local_socket, offered};
use take_over::{Offered, Predecessor, Role, TakeOverError};

/// Between the signal to stop and the closing of listeners: time for a load balancer to read that we are not ready.
const NOTICE: Duration = Duration::from_millis(100);

/// What is running, for the words on the terminal.
#[derive(Debug)]
pub struct Started {
    /// Where callers connect, as URLs.
    pub listening: Vec<String>,
    /// Where operators look, as URLs.
    pub admin: Vec<String>,
    /// Where the console is, as a URL.
    pub console: Option<String>,
    /// Endpoints in force.
    pub endpoints: usize,
    /// Keys in force.
    pub keys: usize,
    /// Of the rules in force.
    pub generation: u64,
    /// The file of the store.
    pub store: Option<PathBuf>,
    /// What was made for whoever starts keygate for the first time: shown once.
    pub first_secret: Option<Secret<'static>>,
}

/// What is made when a store is used for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// An admin token, for the admin API.
    AdminToken,
    /// A client with a key.
    Key,
    /// Nothing.
    Nothing,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Connections that were still open when the time to drain was over.
    pub cut: usize,
}

/// Why the gateway cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A data listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin or the observe address.
    #[error("cannot listen on the {what} address {address}; is another keygate running?")]
    Admin {
        /// Which.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate.
    #[error("listener `{listener}`")]
    Certificate {
        /// Whose.
        listener: Arc<str>,
        /// Why.
        source: CertificateError,
    },
    /// The TLS library.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// The access log.
    #[error("cannot open the access log")]
    AccessLog(#[from] access_log::OpenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The store, once it was open.
    #[error("the store cannot be used")]
    StoreFailed(#[from] store::StoreError),
    /// The configuration, beside what is in the store.
    #[error("{0}")]
    Configuration(Problems),
    /// The gateway that runs, whose place was to be taken.
    #[error("cannot take over")]
    TakeOver(#[from] TakeOverError),
    /// The secret that limits tell callers apart with.
    #[error("the system gives no random bytes")]
    NoRandomness(#[source] getrandom::Error),
    /// What is made at the first start.
    #[error("what is made at the first start cannot be made")]
    First(#[from] Refused),
    /// The operating system.
    #[error("the system gives no {what}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

impl From<Problems> for StartError {
    fn from(problems: Problems) -> Self {
        Self::Configuration(problems)
    }
}

impl StartError {
    fn system(what: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// What was there before this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// Nothing, or sockets from the service manager.
    Nothing,
    /// A gateway that may run, whose place is taken without a connection lost.
    Gateway,
}

/// Runs until a signal, or a successor, ends it. `announce` is called once, when everything is served.
///
/// # Errors
/// What kept it from starting; nothing was served then.
pub fn run(
    source: Source,
    mut loaded: Loaded,
    first: First,
    before: Before,
    announce: impl FnOnce(Started),
) -> Result<Ended, StartError> {
    let settings = loaded.settings.clone();
    let health = Health::default();
    let metrics = Metrics::new(health.clone());
    let masks = Masks::default();
    masks.set(loaded.issuing.prefixes.iter().map(|entry| &*entry.prefix));
    let access_log = open_access_log(&settings, masks.clone())?;
    metrics.set_access_log(access_log.clone());
    let mut certificates = Vec::new();
    let listeners = listeners(&loaded, &mut certificates)?;
    let admin_tls = tls_of(&loaded, config::ADMIN, &["http/1.1"], &mut certificates)?.map(TlsAcceptor::from);
    let mut inheritance = Inheritance::new(before, &settings)?;
    let bound = server::bind_all(&listeners, settings.workers.get(), &mut inheritance.data)?;
    let mut operators_at = |role, address| bind_operators(role, address, &mut inheritance);
    let admin = settings.admin.map(|admin| operators_at(Role::Admin, admin.address)).transpose()?;
    let observe = settings.observe.map(|address| operators_at(Role::Observe, address)).transpose()?;
    inheritance.report_unused();

    let of_callers: Vec<_> = bound
        .iter()
        .map(WorkerListeners::handles)
        .collect::<std::io::Result<Vec<_>>>()
        .map_err(StartError::system("descriptor"))?
        .into_iter()
        .flatten()
        .collect();
    let address_of = |socket: &Option<std::net::TcpListener>| socket.as_ref()?.local_addr().ok();
    let shown = [(address_of(&admin), admin_tls.is_some()), (address_of(&observe), false)];
    let own_addresses: Arc<[SocketAddr]> = shown.iter().filter_map(|(address, _)| *address).collect();

    let has_console = settings.admin.is_some_and(|admin| admin.has_console);
    let table = Arc::new(std::mem::take(&mut loaded.table));
    table.set_pepper(loaded.pepper.take());
    table.set_loaded();
    let management = keys::open(&loaded, Arc::clone(&table))?;
    keys::plans_fit(&management, &loaded)?;
    let webhook = Arc::new(ArcSwapOption::from(webhook_receiver(loaded.issuing.webhook.as_ref())));
    let of_store = management.load()?;
    let first_secret = match first {
        First::AdminToken => management.first_token()?,
        First::Key => management.first_key()?,
        First::Nothing => None,
    };
    let started = Started {
        listening: listening(&settings, bound.first()),
        admin: shown
            .iter()
            .filter_map(|(address, is_tls)| Some(url(if *is_tls { "https" } else { "http" }, (*address)?)))
            .collect(),
        console: address_of(&admin)
            .filter(|_| has_console)
            .map(|address| url(if admin_tls.is_some() { "https" } else { "http" }, address) + console::PLACE),
        endpoints: loaded.snapshot.router.endpoints().len(),
        keys: loaded.keys.len() + of_store + usize::from(first == First::Key && first_secret.is_some()),
        generation: loaded.snapshot.generation,
        store: settings.store.clone(),
        first_secret,
    };
    report_endpoints(&metrics, &loaded.snapshot);
    let copier = keys::Copier::start(management.clone(), metrics.clone()).map_err(StartError::system("thread"))?;
    copier.copy(std::mem::take(&mut loaded.keys));
    report_certificates(&metrics, &certificates);
    health.published(started.generation, &loaded.snapshot.content_digest, SystemTime::now());
    health.keys_loaded();
    let counts =
        limits::begin(settings.rate_limit_file.as_deref(), &loaded.snapshot).map_err(StartError::NoRandomness)?;
    let counts = Arc::new(counts);
    let snapshot = Arc::new(CurrentSnapshot::new(loaded.snapshot));
    let keeping = limits::Keeping {
        limits: Arc::clone(&counts),
        snapshot: Arc::clone(&snapshot),
        file: settings.rate_limit_file.clone(),
        metrics: metrics.clone(),
    };
    let keeping = keeping.start().map_err(StartError::system("thread"))?;

    let observatory = Observatory::new(Seen {
        snapshot: Arc::clone(&snapshot),
        keys: Arc::clone(&table),
        metrics: metrics.clone(),
        health: health.clone(),
        settings: settings.clone(),
    });
    observatory.set_issuing(&loaded.issuing);

    let forwarding = ForwardSettings {
        off_limits: Arc::clone(&own_addresses),
        exchange_time: settings.timeouts.exchange,
        ..ForwardSettings::default()
    };
    let checks = Arc::clone(&forwarding.checks);
    let forwarders: Vec<(Forwarder, WorkerMetrics)> = bound
        .iter()
        .map(|_| {
            let metrics = metrics.worker();
            (Forwarder::new(forwarding.clone(), metrics.clone()), metrics)
        })
        .collect();
    let streams = forwarders.iter().map(|(forwarder, _)| Arc::clone(forwarder.streams())).collect();
    let cut = cut_streams(streams, Arc::clone(&table), Arc::clone(&snapshot));
    management.cut_with(Arc::clone(&cut));
    let usages: Vec<Arc<KeyUsage>> = forwarders.iter().map(|_| Arc::default()).collect();
    let upkeep = upkeep(&management, usages.clone(), metrics.clone()).start().map_err(StartError::system("thread"))?;
    let reloads = Reloader {
        source,
        settings: settings.clone(),
        snapshot: Arc::clone(&snapshot),
        keys: Arc::clone(&table),
        certificates,
        watched: loaded.watched_files,
        metrics: metrics.clone(),
        health: health.clone(),
        masks,
        is_rejected: false,
        keys_changed: cut,
        fits: {
            let management = management.clone();
            Box::new(move |loaded| keys::fits(&management, loaded).and_then(|()| keys::plans_fit(&management, loaded)))
        },
        prepare: {
            let counts = Arc::clone(&counts);
            Box::new(move |snapshot| counts.limiter().adopt(&snapshot.limits))
        },
        applied: {
            let (management, webhook) = (management.clone(), Arc::clone(&webhook));
            let observatory = observatory.clone();
            Box::new(move |in_force: InForce| {
                observatory.set_issuing(&in_force.issuing);
                management.set_issuing(keys::issuing(&in_force.issuing, &in_force.snapshot));
                webhook.store(webhook_receiver(in_force.issuing.webhook.as_ref()));
                copier.copy(in_force.keys);
            })
        },
    }
    .start()
    .map_err(StartError::system("thread"))?;

    let shared = Arc::new(Shared {
        snapshot: Arc::clone(&snapshot),
        keys: table,
        access_log: access_log.clone(),
        deprecations: Default::default(),
        faults: Default::default(),
        holders: Holders::new(management.clone()),
        guesses: Guesses::new(settings.limits.rejected_keys),
        limits: Arc::clone(&counts),
    });
    let drain = Drain::new();
    let connections = connection_settings(&settings);
    let mut workers = Vec::new();
    for (((number, listeners), (forwarder, metrics)), usage) in
        bound.into_iter().enumerate().zip(forwarders).zip(usages)
    {
        let shared = Arc::clone(&shared);
        let (connections, drain) = (connections.clone(), drain.clone());
        let worker = thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || work(listeners, shared, connections, forwarder, metrics, usage, drain))
            .map_err(StartError::system("thread"))?;
        workers.push(worker);
    }

    let checking = {
        let snapshot = Arc::clone(&snapshot);
        checks.run(move || snapshot.load().router.upstreams(), own_addresses, metrics.clone())
    };
    let reload = reload_on_demand(reloads.clone());
    let delivery = webhook::deliver(management.clone(), webhook, metrics.clone());
    let watching = observatory.clone().watch();
    let in_force: Arc<dyn LimitsInForce> =
        Arc::new(limits::InForce { limits: counts, snapshot: Arc::clone(&snapshot) });
    let api = AdminApi::with_limits(
        management,
        Some(Arc::clone(&reload)),
        metrics.clone(),
        Some(observatory),
        Some(in_force),
    );
    let housekeeping = api.clone().housekeeping();
    let socket = settings.store.as_deref().and_then(|store| local_socket(store, inheritance.local.take()));
    let succession = Succession {
        addresses: of_callers.iter().map(|(_, address, _)| *address).collect::<BTreeSet<_>>().into_iter().collect(),
        offered: offered(of_callers, &admin, &observe, socket.as_ref()).map_err(StartError::system("descriptor"))?,
        local: socket.as_ref().and_then(|socket| Some(socket.handle().ok()?.1)),
        predecessor: inheritance.predecessor,
    };
    let operators = Operators {
        served: vec![
            (admin, Ops::admin(metrics.clone(), health.clone(), reload, api.clone(), has_console), admin_tls),
            (observe, Ops::observe(metrics, health.clone()), None),
        ],
        local: socket.map(|socket| (socket, api)),
    };
    let background = Background { health, reloads, access_log, snapshot, drain, succession };
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("admin")
        .enable_all()
        .build()
        .map_err(StartError::system("runtime"))?;
    runtime.spawn(delivery);
    runtime.spawn(checking);
    runtime.spawn(watching);
    runtime.spawn(housekeeping);
    let outcome = runtime.block_on(background.run(operators, started, announce, workers));
    upkeep.stop();
    keeping.stop();
    // A name that is still being looked up is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// One worker, from its start to the end of its last connection.
fn work(
    listeners: WorkerListeners,
    shared: Arc<Shared>,
    connections: ConnectionSettings,
    forwarder: Forwarder,
    metrics: WorkerMetrics,
    usage: Arc<KeyUsage>,
    drain: Drain,
) -> std::io::Result<Drained> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::spawn(forwarder.housekeeping());
        let streams = Arc::clone(forwarder.streams());
        let (ending, tunnels) = (drain.clone(), Arc::clone(forwarder.tunnels()));
        let until_goodbye = connections.grace / 2;
        tokio::spawn(async move {
            ending.wait().await;
            // Half of the time to go on, half to say goodbye.
            let _ = tokio::time::timeout(until_goodbye, ending.wait_cut()).await;
            tunnels.say_goodbye();
            ending.wait_cut().await;
            streams.cut_all();
        });
        let gateway = Gateway::new(shared, forwarder, metrics.clone(), usage);
        server::serve(listeners, gateway, connections, metrics, drain).await
    })
}

/// Who is served besides callers.
struct Operators {
    /// Listeners, if they are open, with what they answer and speak.
    served: Vec<(Option<std::net::TcpListener>, Ops, Option<TlsAcceptor>)>,
    /// The command line of this machine.
    local: Option<(LocalSocket, AdminApi)>,
}

/// What runs beside the workers.
struct Background {
    health: Health,
    reloads: ReloadHandle,
    access_log: AccessLog,
    snapshot: Arc<CurrentSnapshot>,
    drain: Drain,
    succession: Succession,
}

/// Whose place is taken, and what a successor gets.
struct Succession {
    addresses: Vec<SocketAddr>,
    offered: Vec<Offered>,
    /// To be set when the local socket is another's.
    local: Option<Arc<AtomicBool>>,
    predecessor: Option<Predecessor>,
}

impl Background {
    async fn run(
        mut self,
        operators: Operators,
        started: Started,
        announce: impl FnOnce(Started),
        workers: Vec<thread::JoinHandle<std::io::Result<Drained>>>,
    ) -> Result<Ended, StartError> {
        let (end_admin, ended) = tokio::sync::watch::channel(false);
        let mut served = Vec::new();
        let until_the_end = || {
            let mut ended = ended.clone();
            async move {
                // The sender lives until the end.
                let _ = ended.wait_for(|end| *end).await;
            }
        };
        for (socket, ops, tls) in operators.served {
            let Some(socket) = socket else { continue };
            let listener = TcpListener::from_std(socket).map_err(StartError::system("socket"))?;
            served.push(tokio::spawn(ops::serve(listener, ops, tls, until_the_end())));
        }
        if let Some((socket, api)) = operators.local {
            let end = until_the_end();
            served.push(tokio::spawn(async move {
                if let Err(error) = socket.serve(api, end).await {
                    tracing::error!(%error, "the local socket cannot be served");
                }
            }));
        }
        let mut hangup = signal(SignalKind::hangup()).map_err(StartError::system("signal handler"))?;
        let mut reopen = signal(SignalKind::user_defined1()).map_err(StartError::system("signal handler"))?;
        let mut terminate = signal(SignalKind::terminate()).map_err(StartError::system("signal handler"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::system("signal handler"))?;
        // A file that may not grow any more is an error to whoever writes it, not the end of the process.
        let _growth = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
            .map_err(StartError::system("signal handler"))?;
        // In a task of its own: a resolver that does not answer must not keep a signal waiting.
        let resolving = tokio::spawn(resolve_again_and_again(self.snapshot));
        announce(started);
        let local = self.succession.local.take();
        if let Some(predecessor) = self.succession.predecessor.take()
            && let Err(error) = predecessor.relieve()
        {
            tracing::warn!(%error, "the gateway whose place was taken is gone");
        }
        if let Some(local) = &local {
            // Whoever bound the local socket, it is ours now, and its file ends with us.
            local.store(false, Ordering::Relaxed);
        }
        let relieved = Arc::new(Notify::new());
        let (Succession { addresses, offered, .. }, relief) = (self.succession, Arc::clone(&relieved));
        let offering = tokio::spawn(async move {
            take_over::offer(addresses, offered).await;
            relief.notify_one();
        });
        let mut is_relieved = false;
        loop {
            tokio::select! {
                () = relieved.notified() => {
                    is_relieved = true;
                    break;
                }
                _ = hangup.recv() => self.reloads.trigger(Trigger::Signal),
                _ = reopen.recv() => self.access_log.reopen(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        resolving.abort();
        self.health.draining();
        if is_relieved {
            tracing::info!("another process serves in this one's place; what is in flight is finished");
            if let Some(local) = local {
                local.store(true, Ordering::Relaxed);
            }
            // Operators are the other's as well.
            let _ = end_admin.send(true);
        } else {
            tracing::info!("draining: no new connections, what is in flight is finished");
            tokio::time::sleep(NOTICE).await;
            // No socket may be open that nobody accepts from.
            offering.abort();
            let _ = offering.await;
        }
        self.drain.signal();
        let joined = tokio::task::spawn_blocking(move || join(workers));
        let outcome = tokio::select! {
            outcome = joined => outcome.unwrap_or(Ok(Ended { cut: 0 })),
            // A second signal: now.
            _ = terminate.recv() => { self.drain.cut(); Ok(Ended { cut: 0 }) }
            _ = interrupt.recv() => { self.drain.cut(); Ok(Ended { cut: 0 }) }
        };
        self.reloads.trigger(Trigger::Stop);
        // Nobody may be listening any more.
        let _ = end_admin.send(true);
        for task in served {
            let _ = task.await;
        }
        if !self.access_log.flush(Duration::from_secs(2)) {
            tracing::warn!("the last lines of the access log could not be written in time");
        }
        outcome
    }
}

fn join(workers: Vec<thread::JoinHandle<std::io::Result<Drained>>>) -> Result<Ended, StartError> {
    let mut cut = 0;
    for worker in workers {
        match worker.join() {
            Ok(Ok(drained)) => cut += drained.cut,
            Ok(Err(error)) => return Err(StartError::System { what: "listening socket to a worker", source: error }),
            Err(_) => tracing::error!("a worker ended in a panic"),
        }
    }
    Ok(Ended { cut })
}

/// What the admin listener calls to reload.
fn reload_on_demand(reloads: ReloadHandle) -> Reload {
    Arc::new(move || {
        let (reply, outcome) = oneshot::channel();
        reloads.trigger(Trigger::Asked(reply));
        Box::pin(async move {
            match outcome.await {
                Ok(Outcome::Applied { .. }) => ReloadOutcome::Applied,
                Ok(Outcome::Unchanged) => ReloadOutcome::Unchanged,
                Ok(Outcome::Rejected { report }) => ReloadOutcome::Rejected { problem: report.into() },
                Err(_) => ReloadOutcome::Rejected { problem: "the gateway is stopping".into() },
            }
        })
    })
}

/// What ends the streams of keys that are gone or switched off.
fn cut_streams(
    streams: Vec<Arc<OpenStreams>>,
    keys: Arc<KeyTable>,
    snapshot: Arc<CurrentSnapshot>,
) -> crate::reload::KeysChanged {
    Arc::new(move || {
        let cut = cut_withdrawn(&streams, &keys, &snapshot);
        if cut > 0 {
            tracing::info!(streams = cut, "what keys that are not good any more had opened was cut");
        }
    })
}

/// What goes on beside changes of keys.
fn upkeep(management: &Management, usages: Vec<Arc<KeyUsage>>, metrics: Metrics) -> Upkeep {
    let failing = metrics.clone();
    let pressing = usages.clone();
    Upkeep {
        management: management.clone(),
        usage_presses: Box::new(move || pressing.iter().any(|usage| usage.presses())),
        usage: Box::new(move || usages.iter().flat_map(|usage| usage.take()).collect()),
        counted: Box::new(move |counts| metrics.set_keys(keys::facts(counts))),
        failed: Box::new(move |what| failing.store_failed(what)),
    }
}
