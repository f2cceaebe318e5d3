//! `keygate run` and `keygate demo`: from the command line to a running gateway.

use std::io::Write;
use std::path::{Path, PathBuf};

use anstyle::Style;
use zeroize::Zeroizing;

use super::{BAD_CONFIGURATION, FAILED, USAGE, print_line};
use crate::app::{self, Before, First, StartError, Started};
use crate::config::demo::DemoKey;
use crate::config::{self, Quick, QuickUpstream, Source};
use crate::credential::{KeyDigest, KeyText, Secret};
use crate::telemetry::logging;

#[derive(Debug, Default, clap::Args)]
pub(super) struct RunArguments {
    /// The configuration; `-` reads it from stdin. Default: KEYGATE_CONFIG, else gateway.yaml
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Protect this service without any file: one fresh key is printed and held in memory. Default: KEYGATE_UPSTREAM
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    upstream: Option<String>,
    /// Where to listen, with --upstream. Default: KEYGATE_LISTEN, else 127.0.0.1:8080
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    listen: Option<String>,
    /// Where metrics and health are answered, with --upstream; `off` for nowhere. Default: KEYGATE_ADMIN, else
    /// 127.0.0.1:9090
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    admin: Option<String>,
    /// Keep keys in this file, with --upstream, and make the first one there; `keygate keys` makes more. Default:
    /// KEYGATE_STORE, else none
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    store: Option<String>,
    /// Take the place of the gateway that runs at the same address as this user: its sockets are handed over, it finishes
    /// what is in flight and ends, and no connection is lost. Without one that runs, start as usual
    #[arg(long)]
    take_over: bool,
}

/// What to run with. A flag beats the environment, whichever of the two ways it names.
enum Wanted {
    File(PathBuf),
    Upstream { url: String, listen: String, admin: String, store: Option<String> },
}

impl RunArguments {
    fn before(&self) -> Before {
        if self.take_over { Before::Gateway } else { Before::Nothing }
    }

    fn wanted(&self) -> Result<Wanted, &'static str> {
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if let Some(file) = &self.config {
            return Ok(Wanted::File(file.clone()));
        }
        let from_environment = || match environment("KEYGATE_CONFIG") {
            None => environment("KEYGATE_UPSTREAM"),
            Some(_) => None,
        };
        match self.upstream.clone().or_else(from_environment) {
            Some(url) => {
                let or = |flag: &Option<String>, name, usual: &str| {
                    flag.clone().or_else(|| environment(name)).unwrap_or_else(|| usual.to_owned())
                };
                Ok(Wanted::Upstream {
                    url,
                    listen: or(&self.listen, "KEYGATE_LISTEN", "127.0.0.1:8080"),
                    admin: or(&self.admin, "KEYGATE_ADMIN", "127.0.0.1:9090"),
                    store: self.store.clone().or_else(|| environment("KEYGATE_STORE")),
                })
            }
            None if self.listen.is_some() || self.admin.is_some() || self.store.is_some() => {
                Err("--listen, --admin and --store go with --upstream; a configuration says itself where to listen")
            }
            None => {
                Ok(Wanted::File(environment("KEYGATE_CONFIG").map_or_else(|| "gateway.yaml".into(), PathBuf::from)))
            }
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct DemoArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", env = "KEYGATE_LISTEN")]
    listen: String,
    /// Where metrics and health are answered; `off` for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090", env = "KEYGATE_ADMIN")]
    admin: String,
}

pub(super) fn run(arguments: &RunArguments) -> u8 {
    let file = match arguments.wanted() {
        Ok(Wanted::File(file)) => file,
        Ok(Wanted::Upstream { url, listen, admin, store: Some(store) }) => {
            return with_store(url, listen, admin, store, arguments.before());
        }
        Ok(Wanted::Upstream { url, listen, admin, store: None }) => {
            return with_fresh_key(Some(&url), &listen, &admin, arguments.before());
        }
        Err(why) => {
            super::fail(why);
            return USAGE;
        }
    };
    if file == Path::new("gateway.yaml") && !file.exists() {
        super::fail(
            "there is no gateway.yaml here. `keygate demo` shows how it works, `keygate init` writes a file to start \
             from, `keygate run --upstream URL` protects a service without one",
        );
        return BAD_CONFIGURATION;
    }
    start(super::source_of(&file), First::AdminToken, arguments.before(), |started| Next::File { started })
}

pub(super) fn demo(arguments: &DemoArguments) -> u8 {
    with_fresh_key(None, &arguments.listen, &arguments.admin, Before::Nothing)
}

/// Runs without a file. The key is the only thing on stdout, so that a script can take it.
fn with_fresh_key(upstream: Option<&str>, listen: &str, admin: &str, before: Before) -> u8 {
    let is_demo = upstream.is_none();
    let secret = match KeyText::generate("kg_live_") {
        Ok(secret) => secret,
        Err(error) => return super::fail(&format!("cannot make a key: {error}")),
    };
    let upstream = upstream.map_or(QuickUpstream::Echo, |url| QuickUpstream::Url(url.to_owned()));
    let source = config::quick(&Quick {
        upstream,
        listen: Some(listen.to_owned()),
        admin: Some(admin.to_owned()),
        store: None,
        keys_files: Vec::new(),
        keys: vec![("first-client".to_owned(), KeyDigest::blake3(&secret).to_string())],
        public: Vec::new(),
    });
    start(source, First::Nothing, before, move |started| Next::FreshKey { started, secret, is_demo })
}

/// Runs without a file, with a store. A first key is the only thing on stdout.
fn with_store(url: String, listen: String, admin: String, store: String, before: Before) -> u8 {
    let source = config::quick(&Quick {
        upstream: QuickUpstream::Url(url),
        listen: Some(listen),
        admin: Some(admin),
        store: Some(store),
        keys_files: Vec::new(),
        keys: Vec::new(),
        public: Vec::new(),
    });
    start(source, First::Key, before, |started| Next::Store { started })
}

/// What the terminal is told once the gateway serves.
enum Next {
    File { started: Started },
    Store { started: Started },
    FreshKey { started: Started, secret: Secret<'static>, is_demo: bool },
}

fn start(source: Source, first: First, before: Before, next: impl FnOnce(Started) -> Next) -> u8 {
    let loaded = match config::load(&source, 1) {
        Ok(loaded) => loaded,
        Err(problems) => {
            super::print_problems(&problems);
            return BAD_CONFIGURATION;
        }
    };
    if !loaded.warnings.is_empty() {
        super::print_problems(&loaded.warnings);
    }
    let log = logging::Settings {
        level: loaded.settings.log.level.to_owned(),
        format: if loaded.settings.log.is_json { logging::Format::Json } else { logging::Format::Text },
    };
    if let Err(error) = logging::start(&log) {
        return super::fail(&error.to_string());
    }
    let is_loaded =
        |known: &config::demo::DemoKey| loaded.table.lookup(&Secret::borrowed(known.key.as_bytes())).is_some();
    let published = config::demo::DEMO_KEYS.into_iter().find(is_loaded);
    let outcome = app::run(source, loaded, first, before, |started| announce(next(started), published));
    match outcome {
        Ok(ended) if ended.cut == 0 => 0,
        Ok(ended) => {
            tracing::warn!(connections = ended.cut, "the time to drain was over; these were cut");
            0
        }
        Err(StartError::Configuration(problems)) => {
            super::print_problems(&problems);
            BAD_CONFIGURATION
        }
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text.push_str(&format!(": {error}"));
                cause = error.source();
            }
            super::fail(&text);
            FAILED
        }
    }
}

/// Says where it listens, what is in force and what to try next. Words to stderr; a fresh key to stdout.
fn announce(next: Next, published: Option<DemoKey>) {
    let bold = Style::new().bold();
    let (mut started, secret, is_without_file) = match next {
        Next::File { started } => (started, None, false),
        Next::Store { started } => (started, None, true),
        Next::FreshKey { started, secret, is_demo } => (started, Some((secret, is_demo)), true),
    };
    let first = started.first_secret.take();
    let mut words = anstream::stderr();
    let mut line = |label: &str, text: &str| {
        // If stderr is gone the gateway serves all the same.
        let _ = writeln!(words, "{bold}{label:<10}{bold:#} {text}");
    };
    line("keygate", env!("CARGO_PKG_VERSION"));
    for url in &started.listening {
        line("listening", url);
    }
    for url in &started.admin {
        line("admin", url);
    }
    if let Some(url) = &started.console {
        line("console", url);
    }
    line(
        "in force",
        &format!(
            "{}, {}, generation {}",
            super::count(started.endpoints, "endpoint"),
            super::count(started.keys, "key"),
            started.generation
        ),
    );
    if let Some(store) = &started.store {
        line("store", &store.display().to_string());
    }
    if let Some(first) = first {
        line(
            if is_without_file { "key" } else { "token" },
            if is_without_file {
                "the first key, printed once; `keygate keys create NAME` makes more"
            } else {
                "the first admin token, printed once; the command line of this machine needs none"
            },
        );
        print_line(&Zeroizing::new(String::from_utf8_lossy(first.expose()).into_owned()));
    }
    let base = started.listening.first().cloned().unwrap_or_default();
    match secret {
        Some((secret, is_demo)) => {
            line("key", "printed once, held in memory, gone when this process ends");
            let key = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
            print_line(&key);
            if is_demo {
                line("try", "these two: refused without the key, answered with it");
                print_line(&format!("curl -i {base}/hello"));
                print_line(&Zeroizing::new(format!("curl -i -H 'X-Api-Key: {}' {base}/hello", *key)));
            } else {
                line("try", &format!("curl -i {base}/                              # 401: no key"));
                line("", &format!("curl -i -H \"X-Api-Key: $KEY\" {base}/      # with KEY set to the key above"));
            }
        }
        None => match published {
            Some(DemoKey { key, .. }) => {
                line("try", &format!("curl -i {base}/orders/1"));
                line("", &format!("curl -i -H 'X-Api-Key: {key}' {base}/orders/1"));
            }
            None => line("try", &format!("curl -i -H \"X-Api-Key: $KEY\" {base}/      # with KEY set to a key")),
        },
    }
    line("stop", "Ctrl-C; SIGHUP reads the configuration again");
}
