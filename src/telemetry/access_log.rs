//! One line for each request, written by a thread of its own.
//!
//! [`AccessLog::open`] starts the writer; the handle it gives is cheap to clone. `gateway` fills an [`AccessRecord`] and
//! passes it to [`AccessLog::record`] when the response has ended. The line is made on the caller's thread and handed over
//! through a bounded channel.
//!
//! A request never waits for the log: when the writer cannot keep up (a full disk, a pipe nobody reads), lines are given up,
//! counted, and reported once the writer has caught up. One record is exactly one line whatever bytes a caller sent; see
//! `line`.
//!
//! **No field can hold a secret.** There is no field for a header that may carry one, none for the query, and none for a
//! body; a key is named by its public id. Three texts are chosen by the caller (path, user agent, referer): the
//! query and what else may follow a path is cut off here even if the caller of this module forgot to, and whatever looks
//! like a key in them is masked (`telemetry::redact`).

mod line;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use thiserror::Error;

use super::redact::Masks;

/// Lines that may wait for the writer: about 30 ms of a very busy gateway, and a few megabytes at most.
const WAITING_LINES: usize = 8192;
/// Bytes that are collected before they are written, if more lines are waiting.
const BATCH_BYTES: usize = 64 * 1024;
/// The least time between two reports of lines given up.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// Where the lines go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Destination {
    /// Nowhere; recording costs nothing.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// To the end of this file, which is made if it is missing.
    File(PathBuf),
}

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One JSON object.
    #[default]
    Json,
    /// Apache's "combined"; has no place for most fields.
    Combined,
}

/// Why the access log could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file cannot be made or written.
    #[error("cannot open the access log {}", path.display())]
    File {
        /// As it was named.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No thread for the writer.
    #[error("cannot start the writer of the access log")]
    Thread(#[source] io::Error),
}

/// What is said of one request. Fields that are `None`, or empty, are left out of the line.
#[derive(Debug, Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When the head had arrived.
    pub time: SystemTime,
    /// The id in `X-Request-Id`.
    pub request_id: &'a str,
    /// The trace id of `traceparent`, 32 hex digits.
    pub trace_id: Option<&'a str>,
    /// The caller's address, behind trusted proxies.
    pub client_address: std::net::IpAddr,
    /// As it was sent.
    pub method: &'a str,
    /// The host the request is for, as it was sent.
    pub host: &'a [u8],
    /// The path as it was sent; a query is cut off.
    pub path: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2.0`.
    pub protocol: &'a str,
    /// The status that was sent; 499 when the caller left before.
    pub status: u16,
    /// The stable code of a refusal or of an upstream's failure.
    pub code: Option<&'a str>,
    /// The endpoint's name.
    pub endpoint: Option<&'a str>,
    /// Where the rule that decided was written: `gateway.yaml:12`.
    pub rule_place: Option<&'a str>,
    /// The client's id.
    pub client_id: Option<&'a str>,
    /// The client's type.
    pub client_type: Option<&'a str>,
    /// The key's public id.
    pub key_id: Option<&'a str>,
    /// The place the key stood in, such as `x-api-key`.
    pub credential_source: Option<&'a str>,
    /// The upstream's name.
    pub upstream: Option<&'a str>,
    /// The server that answered, `host:port` or an address.
    pub server: Option<&'a str>,
    /// From the head's arrival to the end of the response.
    pub duration: Duration,
    /// From asking the upstream to the head of its response.
    pub upstream_duration: Option<Duration>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// As it was sent.
    pub user_agent: Option<&'a [u8]>,
    /// As it was sent; user, query and fragment are cut off.
    pub referer: Option<&'a [u8]>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Look at the flags.
    Wake,
    /// Write what came before, then say so.
    Flush(SyncSender<()>),
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    reopen: AtomicBool,
}

#[derive(Debug)]
struct Writer {
    sender: SyncSender<Message>,
    format: Format,
}

/// A handle to the access log. A clone is the same log; the writer ends, after the last line, when all are dropped.
#[derive(Debug, Clone)]
pub struct AccessLog {
    writer: Option<Arc<Writer>>,
    counters: Arc<Counters>,
    masks: Masks,
}

impl AccessLog {
    /// Opens the destination and starts the writer. What looks like a key by `masks` is never written.
    ///
    /// # Errors
    /// The file cannot be opened, or there is no thread to be had.
    pub fn open(destination: Destination, format: Format, masks: Masks) -> Result<Self, OpenError> {
        let output = match destination {
            Destination::Off => return Ok(Self { writer: None, counters: Arc::default(), masks }),
            Destination::Stdout => Output::Stdout,
            Destination::File(path) => match open_file(&path) {
                Ok(file) => Output::File { path, file },
                Err(source) => return Err(OpenError::File { path, source }),
            },
        };
        let counters = Arc::<Counters>::default();
        let (sender, receiver) = sync_channel(WAITING_LINES);
        let for_thread = Arc::clone(&counters);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write_lines(&receiver, output, &for_thread))
            .map_err(OpenError::Thread)?;
        Ok(Self { writer: Some(Arc::new(Writer { sender, format })), counters, masks })
    }

    /// Whether anything is written: callers may spare themselves the filling of a record.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Hands one record over, or gives it up if too many are waiting. Never waits.
    pub fn record(&self, record: &AccessRecord<'_>) {
        let Some(writer) = &self.writer else { return };
        let line = match writer.format {
            Format::Json => line::json(record, &self.masks),
            Format::Combined => line::combined(record, &self.masks),
        };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = writer.sender.try_send(Message::Line(line))
        {
            self.counters.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Closes the file and opens it again by its name, as after a rotation. Comes back at once; if the new file cannot be
    /// opened, the old one stays in use and the log of the program says so.
    pub fn reopen(&self) {
        let Some(writer) = &self.writer else { return };
        self.counters.reopen.store(true, Relaxed);
        // Where the channel is full, the writer is awake and sees the flag.
        let _ = writer.sender.try_send(Message::Wake);
    }

    /// Waits until everything recorded so far is written, or the time is over; says whether it is. Blocks: for the end of
    /// the program, not for the path of a request.
    #[must_use]
    pub fn flush(&self, within: Duration) -> bool {
        let Some(writer) = &self.writer else { return true };
        let until = Instant::now() + within;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match writer.sender.try_send(message) {
                Ok(()) => return wait.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok(),
                Err(TrySendError::Full(back)) if Instant::now() < until => {
                    message = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return false,
            }
        }
    }

    /// Lines that were written since the start.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counters.written.load(Relaxed)
    }

    /// Lines that were given up since the start, for want of room or because writing failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counters.dropped.load(Relaxed)
    }
}

#[derive(Debug)]
enum Output {
    Stdout,
    File { path: PathBuf, file: File },
}

impl Output {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File { file, .. } => file.write_all(lines),
        }
    }

    fn reopen(&mut self) {
        let Self::File { path, file } = self else { return };
        match open_file(path) {
            Ok(new) => *file = new,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "cannot reopen the access log; the old file stays")
            }
        }
    }
}

/// Readable by the owner and the group: addresses of callers are nobody else's business.
fn open_file(path: &std::path::Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// The writer: collects what is waiting, writes it in one piece, and reports what was given up.
fn write_lines(receiver: &Receiver<Message>, mut output: Output, counters: &Counters) {
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    let mut is_failing = false;
    let mut reported = 0;
    let mut next_report = Instant::now();
    loop {
        // Wakes now and then also when nothing comes, so that the last losses of a burst are reported too.
        let first = match receiver.recv_timeout(REPORT_EVERY) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if counters.reopen.swap(false, Relaxed) {
            output.reopen();
        }
        let mut lines = 0;
        let mut waiting = Vec::new();
        let mut next = first;
        while let Some(message) = next {
            match message {
                Message::Line(line) => {
                    batch.extend_from_slice(&line);
                    lines += 1;
                }
                Message::Wake => {}
                Message::Flush(done) => waiting.push(done),
            }
            next = if batch.len() < BATCH_BYTES { receiver.try_recv().ok() } else { None };
        }
        if !batch.is_empty() {
            match output.write(&batch) {
                Ok(()) => {
                    counters.written.fetch_add(lines, Relaxed);
                    is_failing = false;
                }
                Err(error) => {
                    counters.dropped.fetch_add(lines, Relaxed);
                    if !is_failing {
                        tracing::error!(%error, "cannot write the access log");
                    }
                    is_failing = true;
                }
            }
            batch.clear();
        }
        for done in waiting {
            let _ = done.send(());
        }
        let dropped = counters.dropped.load(Relaxed);
        if dropped > reported && Instant::now() >= next_report {
            tracing::warn!(lines = dropped - reported, "lines of the access log were given up");
            reported = dropped;
            next_report = Instant::now() + REPORT_EVERY;
        }
    }
}
