//! HTTP/1.1 as a caller speaks it: requests written, answers counted.

use super::{During, Result};

/// The longest head that is read.
const HEAD: usize = 16 * 1024;

/// Reads answers, one after the other.
#[derive(Debug, Default)]
pub struct Answers {
    head: Vec<u8>,
    status: u16,
    /// Bytes of the body that are still to come, once the head has been read.
    missing: Option<usize>,
    /// The body of the answer before, if bodies are kept.
    kept: Option<Vec<u8>>,
}

impl Answers {
    /// Keeps bodies too.
    pub fn keeping() -> Self {
        Self { kept: Some(Vec::new()), ..Self::default() }
    }

    /// The body of the last answer, if bodies are kept.
    pub fn body(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }

    /// Takes what came; the status of an answer that is whole now.
    ///
    /// # Errors
    /// What came is no answer, or one without a length.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<Option<u16>> {
        if self.missing.is_none() {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = memchr::memmem::find(&self.head, b"\r\n\r\n").map(|end| end + 4) else {
                return if before > HEAD { Err("a head without an end".to_owned()) } else { Ok(None) };
            };
            bytes = &bytes[end - before..];
            self.status = status(&self.head)?;
            self.missing = Some(content_length(&self.head[..end])?);
            self.head.clear();
            if let Some(kept) = &mut self.kept {
                kept.clear();
            }
        }
        let missing = self.missing.unwrap_or_default();
        if bytes.len() > missing {
            return Err("more came than was asked for".to_owned());
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(bytes);
        }
        self.missing = Some(missing - bytes.len());
        if self.missing != Some(0) {
            return Ok(None);
        }
        self.missing = None;
        Ok(Some(self.status))
    }
}

fn status(head: &[u8]) -> Result<u16> {
    let text = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default();
    text.parse().during("the status of an answer")
}

fn content_length(head: &[u8]) -> Result<usize> {
    let value = field(head, b"content-length").ok_or("an answer without a length")?;
    std::str::from_utf8(value).during("a length")?.trim().parse().during("a length")
}

/// The value of a header, the name written in small letters.
pub fn field<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = head;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        rest = &rest[end + 1..];
        let is_it = rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        if is_it && rest.get(name.len()) == Some(&b':') {
            let line = &rest[..memchr::memchr(b'\r', rest)?];
            return Some(&line[name.len() + 1..]);
        }
    }
    None
}
