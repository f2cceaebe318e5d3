//! `keygate explain`: how a request would be decided, from the files and the store, without a gateway.

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use super::hash::read_secret;
use super::{BAD_CONFIGURATION, ConfigArgument, DENIED, Output, USAGE, fail, print_json, print_problems};
use crate::admission::{RequestHead, requested_host};
use crate::app::{self, StartError};
use crate::config::Loaded;
use crate::explain::Explanation;
use crate::keys::{KeyTable, Timestamp};

#[derive(Debug, clap::Args)]
pub(super) struct ExplainArguments {
    /// The method
    method: Method,
    /// The path, or a whole URL to ask for a host
    target: Uri,
    /// Read a key from stdin and show it in `X-Api-Key`
    #[arg(long)]
    key_stdin: bool,
    /// A header field, `Name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = read_field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The address the request comes from
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// The listener it comes in on; the first one if not given
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// As if it had come over TLS
    #[arg(long)]
    https: bool,
    #[command(flatten)]
    config: ConfigArgument,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

fn read_field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it as `Name: value`")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is not a header name"))?;
    // The value is not repeated: it may be a key.
    let value = value.trim().parse().map_err(|_| "the value cannot stand in a header".to_owned())?;
    Ok((name, value))
}

pub(super) fn explain(arguments: &ExplainArguments) -> u8 {
    let mut loaded = match arguments.config.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            print_problems(&problems);
            return BAD_CONFIGURATION;
        }
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &arguments.headers {
        headers.append(name.clone(), value.clone());
    }
    if arguments.key_stdin {
        let secret = match read_secret("Key: ") {
            Ok(secret) => secret,
            Err(error) => return fail(&format!("cannot read the key: {error}")),
        };
        let Ok(mut value) = HeaderValue::from_bytes(secret.expose()) else {
            fail("the key holds characters that cannot stand in a header");
            return USAGE;
        };
        value.set_sensitive(true);
        headers.append("x-api-key", value);
    }
    let keys = match keys_in_force(&mut loaded) {
        Ok(keys) => keys,
        Err(code) => return code,
    };
    let listeners = &loaded.settings.listeners;
    let listener = match &arguments.listener {
        None => listeners.first(),
        Some(name) => listeners.iter().find(|listener| *listener.name == **name),
    };
    let Some(listener) = listener else {
        fail("there is no listener of that name");
        return USAGE;
    };
    let host = match requested_host(&arguments.target, &headers) {
        Ok((_, host)) => host.into_owned(),
        Err(_) => {
            fail("the target and the Host field name different hosts, or one that is not well-formed");
            return USAGE;
        }
    };
    let head = RequestHead {
        method: &arguments.method,
        path: arguments.target.path(),
        host: &host,
        headers: &headers,
        listener: &listener.name,
        is_backoffice: listener.is_backoffice,
        peer_address: arguments.from,
        client_address: arguments.from,
        is_secure: arguments.https || listener.is_tls,
        gate: None,
    };
    let now = Timestamp::from(SystemTime::now());
    let explanation = crate::explain::explain(&head, &Arc::new(loaded.snapshot), &keys, now);
    let code = if explanation.admitted { 0 } else { DENIED };
    match arguments.output {
        Output::Json => print_json(&explanation.to_json()).max(code),
        Output::Table => print(&explanation).map_or_else(|error| fail(&error.to_string()), |()| code),
    }
}

/// The keys of the files, and those of the store if there is one already.
fn keys_in_force(loaded: &mut Loaded) -> Result<Arc<KeyTable>, u8> {
    let keys = Arc::new(KeyTable::new());
    keys.set_pepper(loaded.pepper.take());
    keys.apply(keys.difference(std::mem::take(&mut loaded.table)));
    if loaded.settings.store.as_ref().is_some_and(|store| store.exists()) {
        let management = app::keys::open(loaded, Arc::clone(&keys)).map_err(|error| match error {
            StartError::Configuration(problems) => {
                print_problems(&problems);
                BAD_CONFIGURATION
            }
            error => fail(&error.to_string()),
        })?;
        management.load().map_err(|error| fail(&format!("the store cannot be read: {error}")))?;
    }
    Ok(keys)
}

fn print(explanation: &Explanation) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    let bold = Style::new().bold();
    let verdict = AnsiColor::on_default(if explanation.admitted { AnsiColor::Green } else { AnsiColor::Red }).bold();
    for step in &explanation.steps {
        writeln!(out, "{bold}{:<12}{bold:#}  {}", step.subject, step.finding)?;
    }
    let word = if explanation.admitted { "admitted" } else { "refused" };
    writeln!(out, "{verdict}{word:<12}{verdict:#}  {} [{}]", explanation.verdict, explanation.code)?;
    if let Some(rule) = &explanation.rule {
        writeln!(out, "{bold}{:<12}{bold:#}  {rule}", "rule")?;
    }
    if let Some(remedy) = &explanation.remedy {
        writeln!(out, "{bold}{:<12}{bold:#}  {remedy}", "to admit it")?;
    }
    Ok(())
}
