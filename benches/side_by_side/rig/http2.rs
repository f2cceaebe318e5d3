//! As much of HTTP/2 as a caller needs who never sends a body and never lets a window close.
//!
//! Header blocks are written without the dynamic table and without Huffman coding, and of those that come only the status
//! is read. That keeps the caller cheap beside what it measures.

use super::Result;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACKNOWLEDGED: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// The largest window there is.
const WINDOW: u32 = 0x7fff_ffff;
/// What the window of a connection starts with.
const WINDOW_AT_FIRST: u32 = 65_535;

/// One connection: makes requests, reads answers.
#[derive(Debug, Default)]
pub struct Session {
    last_stream: u32,
    unread: Vec<u8>,
    /// Requests whose status came and whose body did not end.
    statuses: Vec<(u32, u16)>,
    /// Bodies of all answers one after the other, if they are kept.
    kept: Option<Vec<u8>>,
}

impl Session {
    /// Keeps bodies too.
    pub fn keeping() -> Self {
        Self { kept: Some(Vec::new()), ..Self::default() }
    }

    /// What was kept.
    pub fn body(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Writes a GET; before the first one, the beginning of the connection.
    pub fn ask(&mut self, path: &str, fields: &[(&str, &[u8])], out: &mut Vec<u8>) {
        if self.last_stream == 0 {
            out.extend_from_slice(PREFACE);
            // SETTINGS_INITIAL_WINDOW_SIZE, and no push.
            frame(out, SETTINGS, 0, 0, |out| {
                out.extend_from_slice(&[0, 4]);
                out.extend_from_slice(&WINDOW.to_be_bytes());
                out.extend_from_slice(&[0, 2, 0, 0, 0, 0]);
            });
            frame(out, WINDOW_UPDATE, 0, 0, |out| {
                out.extend_from_slice(&(WINDOW - WINDOW_AT_FIRST).to_be_bytes());
            });
            self.last_stream = 1;
        } else {
            self.last_stream += 2;
        }
        frame(out, HEADERS, END_STREAM | END_HEADERS, self.last_stream, |out| {
            // GET and http of the static table, then :path and :authority by their names there.
            out.extend_from_slice(&[0x82, 0x86, 0x04]);
            text(out, path.as_bytes());
            out.push(0x01);
            text(out, b"localhost");
            for (name, value) in fields {
                out.push(0);
                text(out, name.as_bytes());
                text(out, value);
            }
        });
    }

    /// Takes what came, writes what is due for it, and calls for each answer that is whole.
    ///
    /// # Errors
    /// The connection or a request was given up by the other side.
    pub fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>, mut answered: impl FnMut(u16)) -> Result<()> {
        self.unread.extend_from_slice(bytes);
        let mut read = 0;
        while let Some(header) = self.unread.get(read..read + FRAME_HEADER) {
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            let (kind, flags) = (header[3], header[4]);
            let stream = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) & WINDOW;
            let start = read + FRAME_HEADER;
            let Some(content) = self.unread.get(start..start + length) else { break };
            match kind {
                SETTINGS if flags & ACKNOWLEDGED == 0 => frame(out, SETTINGS, ACKNOWLEDGED, 0, |_| ()),
                PING if flags & ACKNOWLEDGED == 0 => {
                    frame(out, PING, ACKNOWLEDGED, 0, |out| out.extend_from_slice(content));
                }
                HEADERS => {
                    let skipped = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
                    // Trailers say no status.
                    if !self.statuses.iter().any(|(of, _)| *of == stream) {
                        self.statuses.push((stream, status(content.get(skipped..).unwrap_or_default())?));
                    }
                }
                DATA => {
                    if let Some(kept) = &mut self.kept {
                        kept.extend_from_slice(content);
                    }
                }
                RESET => return Err("a request was reset".to_owned()),
                GO_AWAY => return Err("the connection was ended".to_owned()),
                _ => {}
            }
            if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                let place = self.statuses.iter().position(|(of, _)| *of == stream);
                let (_, status) = self.statuses.swap_remove(place.ok_or("a body without a head")?);
                answered(status);
            }
            read = start + length;
        }
        self.unread.drain(..read);
        Ok(())
    }
}

/// The status at the beginning of a header block.
fn status(mut block: &[u8]) -> Result<u16> {
    // Updates of the size of the dynamic table may come first.
    while block.first().is_some_and(|byte| byte & 0xe0 == 0x20) {
        block = &block[1..];
    }
    match block {
        [0x88, ..] => Ok(200),
        [0x8c, ..] => Ok(400),
        [0x8e, ..] => Ok(500),
        [0x08 | 0x18 | 0x48, 3, a, b, c, ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()) => {
            Ok([a, b, c].iter().fold(0, |status, digit| status * 10 + u16::from(**digit - b'0')))
        }
        _ => Err(format!("a status that is neither 200 nor written out: {:02x?}", &block[..block.len().min(8)])),
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    content(out);
    let length = u32::try_from(out.len() - start - FRAME_HEADER).expect("frames are short").to_be_bytes();
    out[start..start + 3].copy_from_slice(&length[1..]);
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    debug_assert!(text.len() < 127, "a longer text has a longer length");
    out.push(u8::try_from(text.len()).expect("texts are short"));
    out.extend_from_slice(text);
}
