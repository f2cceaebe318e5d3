//! Where commands about keys are done: by the gateway that runs beside them, or here.
//!
//! A running gateway is found by the local socket beside its store; what is asked of it is in force when it answers.
//! Without one the same admin API answers in this process, over the store itself: there is one way to do each thing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{BAD_CONFIGURATION, DENIED, FAILED, NOT_FOUND, USAGE, fail, print_problems};
use crate::admin::{AdminApi, Caller, path_of, user_name};
use crate::app::{self, StartError};
use crate::config::{self, Loaded, Names, Quick, QuickUpstream, Settings, Source, Surroundings};
use crate::keys::KeyTable;
use crate::management::{Copied, FileKeys};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// Which store a command is about.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct StoreArgument {
    /// The configuration that names the store
    #[arg(short, long, value_name = "FILE", env = "KEYGATE_CONFIG", default_value = "gateway.yaml", global = true)]
    config: PathBuf,
    /// The store itself, where there is no configuration
    #[arg(long, value_name = "FILE", env = "KEYGATE_STORE", global = true)]
    store: Option<PathBuf>,
}

/// Why a command came to nothing: what was to be said has been said; this is the exit code.
pub(super) type Failed = u8;

impl StoreArgument {
    /// What the configuration says, where a store is all that matters; a store that was named by itself has none.
    fn source(&self) -> Result<Source, Failed> {
        if let Some(store) = &self.store {
            return Ok(config::quick(&Quick {
                upstream: QuickUpstream::Echo,
                listen: None,
                admin: None,
                store: Some(store.to_string_lossy().into_owned()),
                keys_files: Vec::new(),
                keys: Vec::new(),
                public: Vec::new(),
            }));
        }
        if !self.config.exists() && self.config.as_os_str() != "-" {
            fail(&format!(
                "there is no {}: name the configuration with --config, or the store with --store",
                self.config.display()
            ));
            return Err(BAD_CONFIGURATION);
        }
        Ok(super::source_of(&self.config))
    }

    /// The file of the store, if one is configured.
    pub(super) fn path(&self) -> Result<Option<PathBuf>, Failed> {
        if let Some(store) = &self.store {
            return Ok(Some(store.clone()));
        }
        let settings: Settings = config::settings_of(&self.source()?).map_err(|problems| {
            print_problems(&problems);
            BAD_CONFIGURATION
        })?;
        Ok(settings.store)
    }

    /// Opens the desk.
    pub(super) fn open(&self) -> Result<Desk, Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| fail(&format!("the system gives no runtime: {error}")))?;
        if let Some(path) = self.path()? {
            let socket = path_of(&path);
            match runtime.block_on(connect(&socket)) {
                Ok(sender) => return Ok(Desk { runtime, way: Way::Gateway(sender) }),
                Err(error) if is_nobody(&error) => {}
                Err(error) => {
                    let why = format!("the gateway cannot be asked over {}: {error}", socket.display());
                    return Err(fail(&why));
                }
            }
        }
        let api = in_process(self.load()?)?;
        Ok(Desk { runtime, way: Way::Here(api) })
    }

    /// The whole configuration.
    pub(super) fn load(&self) -> Result<Loaded, Failed> {
        let surroundings = Surroundings { names: Names::Assume, ..Surroundings::system() };
        config::load_in(&self.source()?, 1, &surroundings).map_err(|problems| {
            print_problems(&problems);
            BAD_CONFIGURATION
        })
    }
}

/// Nobody listens: there is no socket, or one that was left behind.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

async fn connect(socket: &Path) -> io::Result<SendRequest<Body>> {
    let stream = tokio::net::UnixStream::connect(socket).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

/// The admin API in this process.
fn in_process(mut loaded: Loaded) -> Result<AdminApi, Failed> {
    let table = Arc::new(KeyTable::new());
    table.set_pepper(loaded.pepper.take());
    let management = app::keys::open(&loaded, table).map_err(|error| match error {
        StartError::Configuration(problems) => {
            print_problems(&problems);
            BAD_CONFIGURATION
        }
        error => fail(&error.to_string()),
    })?;
    let files = FileKeys { clients: loaded.keys.clients(), keys: &loaded.keys };
    management.stand_by().map_err(|error| fail(&format!("the store cannot be read: {error}")))?;
    match management.take_files(files) {
        Ok(Copied::Whole) => {}
        Ok(Copied::GivenUp(why)) => return Err(fail(&why.to_string())),
        Err(error) => return Err(fail(&error.to_string())),
    }
    Ok(AdminApi::new(management, None, Metrics::new(Health::default()), None))
}

/// Does what is asked of it.
pub(super) struct Desk {
    runtime: tokio::runtime::Runtime,
    way: Way,
}

enum Way {
    /// By the gateway that runs.
    Gateway(SendRequest<Body>),
    /// In this process.
    Here(AdminApi),
}

impl Desk {
    /// Whether a gateway runs, which enforces at once what is done.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.way, Way::Gateway(_))
    }

    /// Asks for something without a body.
    pub(super) fn get(&mut self, target: &str) -> Result<Value, Failed> {
        self.ask(&Method::GET, target, None::<&()>)
    }

    /// The same; nothing if it is not to be had here.
    pub(super) fn try_get(&mut self, target: &str) -> Result<Option<Value>, Failed> {
        let (status, answer) = self.attempt(&Method::GET, target, None::<&()>)?;
        Ok(status.is_success().then_some(answer))
    }

    /// Asks for something, and gives what was answered. What was refused has been told.
    pub(super) fn ask(
        &mut self,
        method: &Method,
        target: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Value, Failed> {
        let (status, answer) = self.attempt(method, target, body)?;
        if status.is_success() { Ok(answer) } else { Err(tell_problem(status, &answer)) }
    }

    /// The same, with what was refused as an answer.
    pub(super) fn attempt(
        &mut self,
        method: &Method,
        target: &str,
        body: Option<&impl Serialize>,
    ) -> Result<(StatusCode, Value), Failed> {
        let (content_type, bytes) = match body {
            None => (None, Vec::new()),
            Some(body) => match serde_json::to_vec(body) {
                Ok(bytes) => (Some("application/json"), bytes),
                Err(error) => return Err(fail(&error.to_string())),
            },
        };
        let response = self.send(method, target, content_type, None, bytes.into())?;
        let status = response.status();
        let bytes = self.runtime.block_on(response.into_body().collect()).map_err(broken)?.to_bytes();
        let bytes = Zeroizing::new(bytes.to_vec());
        if bytes.is_empty() {
            return Ok((status, Value::Null));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok((status, value)),
            Err(_) => Err(fail("the answer is not JSON: is this another program's socket?")),
        }
    }

    /// Sends lines, and gives the report.
    pub(super) fn send_lines(&mut self, target: &str, lines: Bytes) -> Result<Value, Failed> {
        let response = self.send(&Method::POST, target, Some("application/x-ndjson"), None, lines)?;
        let status = response.status();
        let bytes = self.runtime.block_on(response.into_body().collect()).map_err(broken)?.to_bytes();
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status.is_success() { Ok(answer) } else { Err(tell_problem(status, &answer)) }
    }

    /// Writes what is answered as it comes.
    pub(super) fn copy(&mut self, target: &str, accept: &'static str, out: &mut dyn io::Write) -> Result<(), Failed> {
        let response = self.send(&Method::GET, target, None, Some(accept), Bytes::new())?;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let bytes = self.runtime.block_on(body.collect()).map_err(broken)?.to_bytes();
            return Err(tell_problem(status, &serde_json::from_slice(&bytes).unwrap_or_default()));
        }
        while let Some(frame) = self.runtime.block_on(body.frame()) {
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            match out.write_all(&data) {
                // Whoever reads has had enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(fail(&format!("cannot write: {error}"))),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn send(
        &mut self,
        method: &Method,
        target: &str,
        content_type: Option<&'static str>,
        accept: Option<&'static str>,
        body: Bytes,
    ) -> Result<Response<Body>, Failed> {
        let mut request = Request::builder().method(method).uri(target).header(HOST, "localhost");
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        let mut request = request.body(Body::from(body)).map_err(|error| {
            fail(&format!("this cannot be asked for: {error}"));
            USAGE
        })?;
        match &mut self.way {
            Way::Gateway(sender) => {
                let answer = self.runtime.block_on(async {
                    sender.ready().await?;
                    sender.send_request(request).await
                });
                answer.map(|response| response.map(Body::new)).map_err(broken)
            }
            Way::Here(api) => {
                request.extensions_mut().insert(Caller::Local(user_name(own_user())));
                Ok(self.runtime.block_on(api.answer(request)))
            }
        }
    }
}

/// The user this process runs as.
fn own_user() -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").map_or(u32::MAX, |metadata| metadata.uid())
}

fn broken(error: impl std::fmt::Display) -> Failed {
    fail(&format!("the answer broke off: {error}; look whether it was done"))
}

/// Says why something was refused, and gives the exit code for it.
pub(super) fn tell_problem(status: StatusCode, problem: &Value) -> Failed {
    let detail = problem["detail"].as_str().unwrap_or("it was refused");
    let errors = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<String> = errors
        .iter()
        .map(|error| {
            let part = error["pointer"].as_str().unwrap_or_default().trim_start_matches('/');
            let detail = error["detail"].as_str().unwrap_or_default();
            if part.is_empty() { detail.to_owned() } else { format!("{part}: {detail}") }
        })
        .collect();
    match lines.as_slice() {
        [] => fail(detail),
        [only] => fail(only),
        several => fail(&format!("{detail}\n  {}", several.join("\n  "))),
    };
    match status {
        StatusCode::NOT_FOUND => NOT_FOUND,
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => DENIED,
        _ => FAILED,
    }
}

/// A target with parameters; those without a value are left out.
pub(super) fn target(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// One part of a path, whatever stands in it.
pub(super) fn part(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_stands_in_an_id_is_one_part_of_the_path() {
        for (text, expected) in [("key_1", "key%5F1"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("..", "%2E%2E"), ("é", "%C3%A9")]
        {
            assert_eq!(part(text), expected);
        }
    }

    #[test]
    fn parameters_without_a_value_are_left_out() {
        assert_eq!(target("/v1/keys", &[("q", None)]), "/v1/keys");
        let asked = target("/v1/keys", &[("q", Some("a b&c".to_owned())), ("limit", Some("5".to_owned()))]);
        assert_eq!(asked, "/v1/keys?q=a+b%26c&limit=5");
    }
}
