//! From a record to the bytes of its line.
//!
//! Everything that comes from the network is escaped, so that one record is one line and nothing in it can be taken for
//! another field, another line, or a command to the terminal it is shown on.
//!
//! In JSON, bytes that are not UTF-8 become U+FFFD; control characters, line separators and the characters that reorder text
//! are written as `\uXXXX`, and a parser gives them back as they were. In the combined format, all bytes but
//! printable ASCII are written as `\xHH`, as Apache does.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::AccessRecord;
use crate::telemetry::redact::{Masks, Prefixes};

/// The most bytes of a text that the caller chose; more are cut off and `...` says so.
pub(super) const MAX_TEXT_BYTES: usize = 2048;

/// One JSON object and a line feed.
pub(super) fn json(record: &AccessRecord<'_>, masks: &Masks) -> Vec<u8> {
    let masks = &masks.current();
    let mut line = Line(Vec::with_capacity(1024));
    line.0.extend_from_slice(b"{\"time\":\"");
    line.time(record.time);
    line.0.push(b'"');
    line.text("request.id", Some(record.request_id));
    line.text("trace.id", record.trace_id);
    line.name("client.address");
    write!(line.0, "\"{}\"", record.client_address).expect("a Vec takes all that is written");
    line.wire("request.method", Some(record.method), masks);
    line.wire("request.host", Some(record.host), masks);
    line.wire("request.path", Some(path_only(record.path)), masks);
    line.text("request.protocol", Some(record.protocol));
    line.number("response.status", record.status);
    line.text("code", record.code);
    line.text("endpoint.name", record.endpoint);
    line.text("rule.place", record.rule_place);
    line.text("client.id", record.client_id);
    line.text("client.type", record.client_type);
    line.text("key.id", record.key_id);
    line.text("credential.source", record.credential_source);
    line.text("upstream.name", record.upstream);
    line.text("upstream.server", record.server);
    line.seconds("duration_seconds", Some(record.duration));
    line.seconds("upstream.duration_seconds", record.upstream_duration);
    line.number("request.bytes", record.bytes_in);
    line.number("response.bytes", record.bytes_out);
    line.wire("user_agent", record.user_agent, masks);
    line.wire("referer", record.referer.map(without_user_and_query), masks);
    line.0.extend_from_slice(b"}\n");
    line.0
}

/// `address - client [time] "request line" status bytes "referer" "user agent"`.
pub(super) fn combined(record: &AccessRecord<'_>, masks: &Masks) -> Vec<u8> {
    let masks = &masks.current();
    let time = jiff::Timestamp::try_from(record.time).unwrap_or_default();
    let mut text = String::with_capacity(256);
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let wire = |bytes: &[u8]| or_dash(&ascii(shortened(bytes, masks).as_bytes()));
    write!(
        text,
        "{} - {} [{}] \"{} {} {}\" {} {} \"{}\" \"{}\"",
        record.client_address,
        or_dash(&ascii(record.client_id.unwrap_or_default().as_bytes()).replace(' ', "\\x20")),
        time.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        wire(record.method.as_bytes()).replace(' ', "\\x20"),
        wire(path_only(record.path)).replace(' ', "\\x20"),
        ascii(record.protocol.as_bytes()),
        record.status,
        record.bytes_out,
        wire(&without_user_and_query(record.referer.unwrap_or_default())),
        wire(record.user_agent.unwrap_or_default()),
    )
    .expect("a String takes all that is written");
    text.push('\n');
    text.into_bytes()
}

/// A target without its query and fragment, where keys like to stand.
pub(super) fn path_only(target: &[u8]) -> &[u8] {
    let end = target.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(target.len());
    &target[..end]
}

/// A URL without user and password, query and fragment.
pub(super) fn without_user_and_query(url: &[u8]) -> Vec<u8> {
    let url = path_only(url);
    let authority = url.windows(2).position(|two| two == b"//").map_or(0, |at| at + 2);
    // A backslash ends the authority too, for browsers; what is behind it is not a user.
    let end =
        url[authority..].iter().position(|byte| matches!(byte, b'/' | b'\\')).map_or(url.len(), |at| authority + at);
    match url[authority..end].iter().rposition(|byte| *byte == b'@') {
        Some(at) => [&url[..authority], &url[authority + at + 1..]].concat(),
        None => url.to_vec(),
    }
}

/// The text of bytes from the network: masked, then at most [`MAX_TEXT_BYTES`] of it and a mark that there was more. In this
/// order, or the end could be cut off a key and what is left of it not be known for one.
fn shortened<'b>(bytes: &'b [u8], masks: &Prefixes) -> Cow<'b, str> {
    let masked = match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => masks.mask(text),
        Cow::Owned(text) => Cow::Owned(masks.mask(&text).into_owned()),
    };
    if masked.len() <= MAX_TEXT_BYTES {
        return masked;
    }
    let end = (0..=MAX_TEXT_BYTES).rev().find(|at| masked.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}...", &masked[..end]))
}

/// Printable ASCII as it is, quotes and backslashes behind a backslash, everything else as `\xHH`.
fn ascii(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'"' | b'\\' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => write!(text, "\\x{byte:02x}").expect("a String takes all that is written"),
        }
    }
    text
}

/// A JSON object in the making; each call adds one member.
struct Line(Vec<u8>);

impl Line {
    fn name(&mut self, name: &'static str) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn text(&mut self, name: &'static str, text: Option<&str>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return };
        self.name(name);
        self.string(text);
    }

    fn wire(&mut self, name: &'static str, bytes: Option<impl AsRef<[u8]>>, masks: &Prefixes) {
        let Some(bytes) = bytes else { return };
        self.text(name, Some(&shortened(bytes.as_ref(), masks)));
    }

    /// In UTC, with milliseconds.
    fn time(&mut self, time: SystemTime) {
        thread_local! {
            /// The last second that was written and its text: a busy thread writes thousands of lines in one.
            static LAST: Cell<(u64, [u8; 19])> = const { Cell::new((0, *b"1970-01-01T00:00:00")) };
        }
        // Before 1970 and beyond the year 9999 there are no requests; such a clock is written as 1970, in a good line.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (mut second, mut text) = LAST.get();
        if second != since.as_secs() {
            let shown = jiff::Timestamp::new(i64::try_from(since.as_secs()).unwrap_or(0), 0).unwrap_or_default();
            text = *b"1970-01-01T00:00:00";
            if let Some(start) = shown.to_string().as_bytes().first_chunk() {
                text = *start;
            }
            second = since.as_secs();
            LAST.set((second, text));
        }
        self.0.extend_from_slice(&text);
        self.0.push(b'.');
        self.digits(since.subsec_millis(), 3);
        self.0.push(b'Z');
    }

    fn number(&mut self, name: &'static str, value: impl Into<u64>) {
        self.name(name);
        self.0.extend_from_slice(itoa::Buffer::new().format(value.into()).as_bytes());
    }

    /// Seconds with six digits behind the point.
    fn seconds(&mut self, name: &'static str, duration: Option<Duration>) {
        let Some(duration) = duration else { return };
        self.number(name, duration.as_secs());
        self.0.push(b'.');
        self.digits(duration.subsec_micros(), 6);
    }

    /// A number with zeros in front; of `width` digits, six at most.
    fn digits(&mut self, number: u32, width: usize) {
        let mut digits = [b'0'; 6];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        self.0.extend_from_slice(&digits[digits.len() - width..]);
    }

    fn string(&mut self, text: &str) {
        self.0.push(b'"');
        // Nearly every text is plain and goes in one piece.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
            return;
        }
        for character in text.chars() {
            match character {
                '"' => self.0.extend_from_slice(b"\\\""),
                '\\' => self.0.extend_from_slice(b"\\\\"),
                ' '..='~' => self.0.push(character as u8),
                _ if may_mislead(character) => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        write!(self.0, "\\u{unit:04x}").expect("a Vec takes all that is written");
                    }
                }
                _ => self.0.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.0.push(b'"');
    }
}

/// Characters that a terminal obeys, a reader takes for the end of a line, or that turn the order of a text around.
fn may_mislead(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
