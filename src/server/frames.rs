//! The meter of HTTP/2: counts the frames of a client that bring nothing forward, before the parser gets them.
//!
//! The stream under an HTTP/2 connection feeds each piece it has read to [`FrameMeter::feed`], together with what the
//! exchanges of the connection have earned meanwhile. As long as the answer is `true`, the bytes go on to the parser;
//! at the first `false` the connection ends.
//!
//! The HTTP/2 layer bounds what a client can make us keep: streams, resets, header blocks, small data. It answers every
//! `PING` and `SETTINGS`, and reads every `WINDOW_UPDATE`, `PRIORITY` and frame of unknown type, without counting them:
//! one connection can keep a core busy for as long as it likes, for the price of nine bytes a frame. Here each of them
//! costs one of a purse that holds [`PURSE`] frames. Honest clients send them too, a window update for each piece of an
//! answer, a ping for each piece to measure the way, so requests and answers fill the purse again, and time does,
//! slowly.
//!
//! It reads the nine bytes in front of a frame and skips what follows. It never judges whether a frame is well formed:
//! that is for the parser, which ends the connection at the first that is not.

/// Frames that a client may send before anything has been earned, and the most that it can save.
const PURSE: u32 = 4096;
/// Frames that a client may send in a second without asking for anything: pings of a stream that is silent for hours.
const A_SECOND: u64 = 64;
/// What a request earns: browsers sort their streams with several frames each.
pub(super) const FOR_A_REQUEST: u32 = 32;
/// What a piece of an answer earns, besides what its size does: two window updates, a ping and one to spare.
const FOR_A_PIECE: u32 = 4;
/// Bytes of an answer that earn one frame more. Even a client with a small window takes more with each update.
const BYTES_FOR_A_FRAME: usize = 1024;

const HEAD: usize = 9;
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
/// The flag of `SETTINGS` and `PING` that are answers themselves.
const ACK: u8 = 1;
/// The flags `END_STREAM` and `PADDED` of `DATA`.
const END_STREAM: u8 = 1;
const PADDED: u8 = 8;
/// A padded frame this short may be nothing but padding.
const LONGEST_PADDING: usize = 256;

/// What a piece of an answer with so many bytes earns.
pub(super) fn for_a_piece(bytes: usize) -> u32 {
    FOR_A_PIECE.saturating_add(u32::try_from(bytes / BYTES_FOR_A_FRAME).unwrap_or(PURSE))
}

/// The meter of one connection.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// Bytes of the preface that are still to come.
    preface: usize,
    /// Bytes of the frame's head, as many as have come.
    head: [u8; HEAD],
    have: usize,
    /// Bytes of the frame's payload that are still to come.
    payload: usize,
    purse: u32,
    /// What had been earned when last looked.
    earned: u32,
    /// Bytes that we owe the client as answers to its pings and settings.
    owed: usize,
    /// Until when time has been paid for, in milliseconds of the connection.
    paid_until: u64,
}

impl FrameMeter {
    /// For a connection that begins with a preface of so many bytes.
    pub(super) fn new(preface: usize) -> Self {
        Self { preface, head: [0; HEAD], have: 0, payload: 0, purse: PURSE, earned: 0, owed: 0, paid_until: 0 }
    }

    /// Whether the preface has been read whole.
    pub(super) fn has_preface(&self) -> bool {
        self.preface == 0
    }

    /// Counts the frames in the next piece; `false` once there are too many. `earned` only grows, and may wrap around;
    /// `now` is in milliseconds.
    pub(super) fn feed(&mut self, mut bytes: &[u8], earned: u32, now: u64) -> bool {
        self.fill(earned, now);
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD && !self.count() {
                return false;
            }
        }
        true
    }

    /// How many of the bytes that were written are more than answers to pings and settings.
    pub(super) fn wrote(&mut self, bytes: usize) -> usize {
        let answers = self.owed.min(bytes);
        self.owed -= answers;
        bytes - answers
    }

    fn fill(&mut self, earned: u32, now: u64) {
        let by_time = now.saturating_sub(self.paid_until).saturating_mul(A_SECOND) / 1000;
        if by_time > 0 {
            self.paid_until = now;
        }
        let by_time = u32::try_from(by_time).unwrap_or(PURSE);
        let by_work = earned.wrapping_sub(self.earned);
        self.earned = earned;
        self.purse = self.purse.saturating_add(by_work).saturating_add(by_time).min(PURSE);
    }

    /// Takes what the frame costs whose head is whole.
    fn count(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.payload, self.have) = (length, 0);
        if flags & ACK == 0 {
            self.owed += match kind {
                PING => HEAD + 8,
                SETTINGS => HEAD,
                _ => 0,
            };
        }
        let may_be_empty = length == 0 || (flags & PADDED != 0 && length <= LONGEST_PADDING);
        if kind == DATA && (flags & END_STREAM != 0 || !may_be_empty) {
            return true;
        }
        match self.purse.checked_sub(1) {
            Some(left) => self.purse = left,
            None => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let size = u32::try_from(length).expect("a small frame").to_be_bytes();
        let mut bytes = vec![size[1], size[2], size[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(HEAD + length, b'p');
        bytes
    }

    /// How many of these frames in a row pass, of twice as many as a purse holds.
    fn passing(frame: &[u8]) -> u32 {
        let mut meter = FrameMeter::new(0);
        (0..2 * PURSE).take_while(|_| meter.feed(frame, 0, 0)).count().try_into().expect("a small number")
    }

    #[test]
    fn what_brings_nothing_forward_is_counted_and_data_is_not() {
        let rows = [
            ("headers", frame(1, 5, 30), PURSE),
            ("priority", frame(2, 0, 5), PURSE),
            ("reset", frame(3, 0, 4), PURSE),
            ("settings", frame(4, 0, 0), PURSE),
            ("settings, acknowledged", frame(4, 1, 0), PURSE),
            ("ping", frame(6, 0, 8), PURSE),
            ("ping, answered", frame(6, 1, 8), PURSE),
            ("window update", frame(8, 0, 4), PURSE),
            ("continuation", frame(9, 0, 0), PURSE),
            ("an unknown frame", frame(0xbe, 0, 9000), PURSE),
            ("empty data", frame(0, 0, 0), PURSE),
            ("data of padding", frame(0, 8, 256), PURSE),
            ("data", frame(0, 0, 1), 2 * PURSE),
            ("the last data, empty", frame(0, 1, 0), 2 * PURSE),
            ("data with padding", frame(0, 8, 257), 2 * PURSE),
        ];
        for (row, frame, expected) in rows {
            assert_eq!(passing(&frame), expected, "{row}");
        }
    }

    #[test]
    fn cuts_between_pieces_change_nothing() {
        let bytes = [&[b'P'; 24][..], &frame(6, 0, 8), &frame(0, 0, 300), &frame(4, 0, 6), &frame(6, 0, 0)].concat();
        for size in 1..bytes.len() {
            let mut meter = FrameMeter::new(24);
            assert!(bytes.chunks(size).all(|piece| meter.feed(piece, 0, 0)), "pieces of {size}");
            assert_eq!((meter.purse, meter.payload, meter.have), (PURSE - 3, 0, 0), "pieces of {size}");
            assert!(meter.has_preface());
        }
    }

    #[test]
    fn requests_answers_and_time_fill_the_purse_and_never_more_than_that() {
        let ping = frame(6, 0, 0);
        let mut meter = FrameMeter::new(0);
        while meter.feed(&ping, 7, 0) {}
        assert!(meter.feed(&ping, 7 + 2, 0) && meter.feed(&ping, 9, 0) && !meter.feed(&ping, 9, 0));
        assert!(!meter.feed(&ping, 9, 15), "a sixtieth of a second is less than a frame");
        assert!(meter.feed(&ping, 9, 16) && !meter.feed(&ping, 9, 17));
        meter.feed(&[], u32::MAX, u64::MAX / 100);
        assert_eq!(meter.purse, PURSE);
        meter.purse = 0;
        meter.feed(&[], 2, u64::MAX / 100);
        assert_eq!(meter.purse, 3, "the count of what was earned went round");
    }

    #[test]
    fn answers_to_pings_and_settings_are_told_from_others() {
        let mut meter = FrameMeter::new(0);
        assert_eq!(meter.wrote(100), 100);
        meter.feed(&[frame(6, 0, 8), frame(6, 1, 8), frame(4, 0, 6), frame(4, 1, 0), frame(8, 0, 4)].concat(), 0, 0);
        assert_eq!([meter.wrote(20), meter.wrote(20), meter.wrote(20)], [0, 14, 20]);
    }

    #[test]
    fn a_large_answer_earns_more_than_a_small_one() {
        assert_eq!((for_a_piece(0), for_a_piece(1023), for_a_piece(16 * 1024)), (4, 4, 20));
    }
}
