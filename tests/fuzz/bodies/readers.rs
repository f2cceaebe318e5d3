//! Paths as servers read them that are less careful than we are.
//!
//! Each [`Reader`] is a whole server in a few lines: it decodes, cuts, strips and splits in the order that one family of
//! servers is known for, and gives the segments it would route by. None of them refuses anything: a server that refuses a
//! path harms nobody.
//!
//! Deliberately naive, and not a line of it is the router's: where the two differ, one of them is wrong.

/// Segments, as bytes.
pub type Segments = Vec<Vec<u8>>;

/// A family of servers.
pub struct Reader {
    /// Which.
    pub name: &'static str,
    /// Letters that differ only by case are the same to it.
    pub folds_case: bool,
    /// From the path of a request line to segments.
    pub read: fn(&[u8]) -> Segments,
}

/// All of them.
pub const READERS: &[Reader] = &[
    // Splits what was sent and decodes nothing.
    Reader { name: "literal", folds_case: false, read: |path| segments(path) },
    // Decodes each segment by itself: what was `%2F` stays within it.
    Reader {
        name: "by segment (Node, Go with EscapedPath)",
        folds_case: false,
        read: |path| segments(&end_at(&slashed(path), b"?#")).iter().map(|segment| decode(segment)).collect(),
    },
    // Decodes the whole path once, merges slashes, resolves dots.
    Reader { name: "once (nginx)", folds_case: false, read: |path| segments(&decode(path)) },
    // Takes parameters off what was sent, then decodes.
    Reader {
        name: "parameters, then once (Tomcat)",
        folds_case: false,
        read: |path| segments(&slashed(&decode(&without_parameters(path)))),
    },
    // Decodes, then takes parameters off.
    Reader {
        name: "once, then parameters (older Jetty and Spring)",
        folds_case: false,
        read: |path| segments(&without_parameters(&slashed(&decode(path)))),
    },
    // Parameters of what is a dot segment without them: `..;x`.
    Reader {
        name: "dots, then parameters, then dots",
        folds_case: false,
        read: |path| {
            let path = without_parameters(&joined(&segments(path)));
            segments(&path).iter().map(|segment| decode(segment)).collect()
        },
    },
    // Ends what it has decoded where a query, a fragment or a C string ends.
    Reader { name: "once, cut (CGI, PHP)", folds_case: false, read: |path| segments(&end_at(&decode(path), b"?#\0")) },
    Reader {
        name: "twice",
        folds_case: false,
        read: |path| segments(&without_parameters(&slashed(&decode(&without_parameters(&decode(path)))))),
    },
    Reader {
        name: "twice, cut",
        folds_case: false,
        read: |path| segments(&end_at(&decode(&end_at(&decode(path), b"?#")), b"?#\0")),
    },
    Reader {
        name: "as long as there is something to decode",
        folds_case: false,
        read: |path| {
            let mut path = path.to_vec();
            for _ in 0..16 {
                path = decode(&wide(&path));
            }
            segments(&without_parameters(&slashed(&path)))
        },
    },
    // Takes over-long UTF-8 for what it encodes.
    Reader { name: "over-long UTF-8", folds_case: false, read: |path| segments(&shortened(&decode(path))) },
    Reader {
        name: "without dots and blanks at ends (Windows)",
        folds_case: true,
        read: |path| segments(&trimmed(&slashed(&decode(&wide(path))))),
    },
    Reader {
        name: "twice, without dots and blanks at ends, cut",
        folds_case: true,
        read: |path| {
            let path = decode(&wide(&decode(&wide(path))));
            segments(&trimmed(&without_parameters(&slashed(&end_at(&path, b"?#\0")))))
        },
    },
    Reader {
        name: "in any case (IIS, Express, ASP.NET)",
        folds_case: true,
        read: |path| segments(&slashed(path)).iter().map(|segment| decode(segment)).collect(),
    },
];

/// The same in lower case, as a server has it that knows all letters.
pub fn folded(segment: &[u8]) -> Vec<u8> {
    match std::str::from_utf8(segment) {
        Ok(text) => {
            let upper = text.chars().flat_map(char::to_uppercase);
            upper.flat_map(char::to_lowercase).filter(|&letter| letter != '\u{307}').collect::<String>().into_bytes()
        }
        Err(_) => segment.to_ascii_lowercase(),
    }
}

/// Splits at slashes, drops what is empty or `.`, and goes up at `..`.
fn segments(path: &[u8]) -> Segments {
    let mut out: Segments = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                out.pop();
            }
            _ => out.push(segment.to_vec()),
        }
    }
    out
}

fn joined(segments: &[Vec<u8>]) -> Vec<u8> {
    segments.iter().flat_map(|segment| [b"/", segment.as_slice()].concat()).collect()
}

/// Decodes once; what is not well-formed stays as it is.
pub fn decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let pair = (bytes.get(at + 1).copied().and_then(digit), bytes.get(at + 2).copied().and_then(digit));
        if let (b'%', (Some(high), Some(low))) = (bytes[at], pair) {
            out.push(high << 4 | low);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// `%u002f` as one family of servers has it.
fn wide(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let number = match bytes.get(at..at + 6) {
            Some([b'%', b'u' | b'U', digits @ ..]) => {
                std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        match number.and_then(char::from_u32) {
            Some(letter) => {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                at += 6;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// Backslashes as slashes.
fn slashed(path: &[u8]) -> Vec<u8> {
    path.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect()
}

/// Each segment up to its first `;`.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut is_parameter = false;
    for &byte in path {
        is_parameter = byte != b'/' && (is_parameter || byte == b';');
        if !is_parameter {
            out.push(byte);
        }
    }
    out
}

/// The path up to the first of these bytes.
fn end_at(path: &[u8], marks: &[u8]) -> Vec<u8> {
    path.iter().copied().take_while(|byte| !marks.contains(byte)).collect()
}

/// Each segment without dots and blanks at its end; `.` and `..` stay what they are.
fn trimmed(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        let is_dots = matches!(segment, b"." | b"..");
        let seen = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map_or(0, |last| last + 1);
        out.push(b'/');
        out.extend_from_slice(if is_dots { segment } else { &segment[..seen] });
    }
    out
}

/// `C0 AF` and its like as the ASCII they stand for.
fn shortened(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return out,
            [lead @ 0xc0..=0xc1, next @ 0x80..=0xbf, after @ ..] => {
                out.push((lead & 1) << 6 | next & 0x3f);
                after
            }
            [0xe0, lead @ 0x80..=0x81, next @ 0x80..=0xbf, after @ ..] => {
                out.push((lead & 1) << 6 | next & 0x3f);
                after
            }
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}
