//! The log of the program itself: what happened to keygate, on standard error.
//!
//! `cli` calls [`start`] once, with what the settings say; everything else uses the macros of `tracing`. Requests are
//! not logged here but in the access log.
//!
//! One event is one line, whatever is in it: an event that quotes a caller cannot forge a second one. In the text
//! format, control characters within an event are written as `\xHH` (`\n` for a line feed).
//!
//! The level is a list of directives, such as `info` or `info,keygate::forward=debug`. `debug` and `trace` alone are
//! for keygate's own events; a library's are asked for by its name (`h2=trace`). What a library warns of is shown,
//! except by `h2`, which warns of what clients do: one that sends the same fault over and over would fill the disk. A
//! text that cannot be read is an error to report: falling back to a default in silence would hide the log that
//! somebody is waiting for.

use std::io::{self, IsTerminal, Write};

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// What an event looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// What the settings say of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Directives: `warn`, `info,keygate::forward=debug`.
    pub level: String,
    /// Text or JSON.
    pub format: Format,
}

impl Default for Settings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

/// Why there is no log.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The level cannot be read.
    #[error("the log level {level:?} cannot be read")]
    Level {
        /// As it was given.
        level: String,
        /// Where it went wrong; nowhere, if there is nothing to read.
        source: Option<tracing_subscriber::filter::ParseError>,
    },
    /// The process has a log already.
    #[error("the log was started before")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts the log of the process, on standard error.
///
/// # Errors
/// The level cannot be read, or the log was started before.
pub fn start(settings: &Settings) -> Result<(), LoggingError> {
    let wants_colour = {
        let is_off = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        io::stderr().is_terminal() && !is_off("NO_COLOR") && !is_dumb
    };
    subscriber(settings, wants_colour, io::stderr)?.try_init().map_err(LoggingError::Started)
}

/// Checks a level, for the report on a configuration.
///
/// # Errors
/// The level cannot be read.
pub fn check_level(level: &str) -> Result<(), LoggingError> {
    filter(level).map(drop)
}

fn filter(level: &str) -> Result<EnvFilter, LoggingError> {
    let bad = |source| LoggingError::Level { level: level.to_owned(), source };
    // An empty text would be taken for "errors only".
    if level.trim().is_empty() {
        return Err(bad(None));
    }
    // A bare `debug` or `trace` is for what keygate itself says. The libraries below would say what they read, some of
    // it for every byte of this very log: a watched folder that holds it makes them talk without end.
    let is_detail = |word: &str| ["debug", "trace"].iter().any(|detail| word.eq_ignore_ascii_case(detail));
    // The directive that stands last counts: `h2` is heard if the level names it.
    let directives = match is_detail(level.trim()) {
        true => format!("h2=off,warn,keygate={}", level.trim()),
        false => format!("h2=off,{level}"),
    };
    EnvFilter::builder().parse(directives).map_err(|source| bad(Some(source)))
}

fn subscriber<W>(
    settings: &Settings,
    colour: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter(&settings.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    Ok(match settings.format {
        Format::Text => {
            let escapes = if colour { Escapes::TextInColour } else { Escapes::Text };
            Box::new(builder.with_ansi(colour).with_writer(OneLine { inner: writer, escapes }).finish())
        }
        Format::Json => {
            let writer = OneLine { inner: writer, escapes: Escapes::Json };
            Box::new(builder.json().flatten_event(true).with_ansi(false).with_writer(writer).finish())
        }
    })
}

/// How a character that must not reach a terminal or a line reader is written instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Escapes {
    /// As `\xHH`.
    Text,
    /// The same, but the escapes that colour the line are left. Within a `Display` field they may be a caller's own, so
    /// only those that the formatter uses are left: they can paint, and neither hide nor move anything.
    TextInColour,
    /// As `\uXXXX`: outside of strings, JSON on one line has none of these characters.
    Json,
}

/// The escapes that the formatter uses.
const COLOURS: [&str; 10] = [
    "\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[35m", "\x1b[36m",
];

impl Escapes {
    /// An event without the line feed that ends it, on one line.
    fn one_line(self, event: &str) -> String {
        let mut line = String::with_capacity(event.len() + 1);
        for (at, character) in event.char_indices() {
            let is_colour = || COLOURS.iter().any(|colour| event[at..].starts_with(colour));
            let code = u32::from(character);
            match character {
                '\x1b' if self == Self::TextInColour && is_colour() => line.push(character),
                _ if !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}') => line.push(character),
                _ if self == Self::Json => line.push_str(&format!("\\u{code:04x}")),
                '\n' => line.push_str("\\n"),
                _ => line.push_str(&format!("\\x{code:02x}")),
            }
        }
        line.push('\n');
        line
    }
}

/// Makes writers that keep each event on one line.
struct OneLine<W> {
    inner: W,
    escapes: Escapes,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for OneLine<W> {
    type Writer = OneLineWriter<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        OneLineWriter { inner: self.inner.make_writer(), escapes: self.escapes }
    }
}

/// Gets each event in one call, with the line feed that ends it.
struct OneLineWriter<W> {
    inner: W,
    escapes: Escapes,
}

impl<W: Write> Write for OneLineWriter<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event.strip_suffix(b"\n").unwrap_or(event));
        self.inner.write_all(self.escapes.one_line(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(settings: &Settings, colour: bool, act: impl FnOnce()) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = subscriber(settings, colour, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, act);
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_it_quotes() {
        let bad = "x\r\n2026-01-01T00:00:00Z  INFO keygate: forged\x1b[2J\u{9b}31m\u{2028}\0";
        for (format, colour) in [(Format::Text, false), (Format::Text, true), (Format::Json, false)] {
            let settings = Settings { format, ..Settings::default() };
            let text = written(&settings, colour, || {
                tracing::warn!(path = bad, shown = %bad, "{bad}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && !text.contains('\r') && !text.contains('\0'), "{text:?}");
            assert!(!text.contains("\x1b[2J") && !text.contains('\u{9b}') && !text.contains('\u{2028}'), "{text:?}");
        }
    }

    #[test]
    fn json_events_can_be_searched_by_field() {
        let settings = Settings { format: Format::Json, ..Settings::default() };
        let text = written(&settings, false, || tracing::info!(endpoint.name = "orders", "hello"));
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&event["endpoint.name"], &event["message"]), (&"orders".into(), &"hello".into()));
    }

    #[test]
    fn the_level_is_obeyed_and_a_bad_one_is_an_error() {
        for (level, lines) in [("info", 1), ("debug", 2), ("error", 0), ("off", 0), ("warn,keygate=debug", 2)] {
            let settings = Settings { level: level.to_owned(), ..Settings::default() };
            let text = written(&settings, false, || {
                tracing::info!("one");
                tracing::debug!("two");
            });
            assert_eq!(text.lines().count(), lines, "{level}: {text}");
            assert!(check_level(level).is_ok());
        }
        for (level, lines) in [("debug", 1), ("trace", 2), ("TRACE", 2), ("trace,h2=off", 2), ("warn,h2=trace", 2)] {
            let settings = Settings { level: level.to_owned(), ..Settings::default() };
            let text = written(&settings, false, || {
                tracing::debug!("ours");
                tracing::trace!("ours");
                tracing::debug!(target: "h2::codec", "a library's");
                tracing::trace!(target: "h2::codec", "a library's");
            });
            assert_eq!(text.lines().count(), lines, "{level}: {text}");
        }
        for (level, lines) in [("info", 1), ("debug", 1), ("warn", 1), ("off", 0), ("info,h2=warn", 2), ("h2=warn", 1)]
        {
            let settings = Settings { level: level.to_owned(), ..Settings::default() };
            let text = written(&settings, false, || {
                tracing::warn!(target: "h2::proto::ping_pong", "what a client did");
                tracing::warn!(target: "rustls", "what a library warns of");
            });
            assert_eq!(text.lines().count(), lines, "{level}: {text}");
        }
        for level in ["", " ", "keygate=loud", "=", "a=b=c"] {
            let error = check_level(level).unwrap_err();
            assert!(error.to_string().contains(&format!("{level:?}")), "{error}");
        }
    }
}
