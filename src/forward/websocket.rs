//! Where one frame of a WebSocket ends and the next begins (RFC 6455, section 5.2), and the frame that ends it.
//!
//! Bytes of an upgraded connection are nobody's business here, with one exception: before a gateway that stops cuts a
//! WebSocket it tells both sides, with a close frame, and such a frame may only stand between two others. [`Frames`] reads
//! headers and nothing else. What is not well-formed is for the two sides to complain about; a close frame is then sent
//! wherever the reading says, and the connection would have ended a moment later in any case.

use bytes::Bytes;

/// The status of the close frame: this endpoint is going away (RFC 6455, section 7.4.1).
const GOING_AWAY: [u8; 2] = 1001_u16.to_be_bytes();
const CLOSE: u8 = 0x8;
/// The longest header: two bytes, eight of length, four of mask.
const LONGEST_HEADER: usize = 14;

/// Follows the frames of one direction.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: [u8; LONGEST_HEADER],
    /// How much of a header there is; 0 inside a payload or between frames.
    have: usize,
    /// What is left of the payload.
    left: u64,
    has_closed: bool,
}

impl Frames {
    /// Nothing, or whole frames only, have passed.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// A close frame has passed.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Takes note of what passes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// Takes note of what passes up to the end of the frame that is passing, and says how much that is: all of it if the
    /// frame does not end here, nothing between two frames.
    pub(super) fn pass_one(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() && !self.is_between() {
            passed += self.step(&bytes[passed..]);
        }
        passed
    }

    /// A part of a payload, or a byte of a header; says how much it was.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.left > 0 {
            let count = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.left -= count as u64;
            return count;
        }
        self.header[self.have] = bytes[0];
        self.have += 1;
        if self.have >= 2 && self.have == self.header_length() {
            self.left = self.payload_length();
            self.has_closed |= self.header[0] & 0x0f == CLOSE;
            self.have = 0;
        }
        1
    }

    fn header_length(&self) -> usize {
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        mask + match self.header[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        }
    }

    fn payload_length(&self) -> u64 {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        match self.header[1] & 0x7f {
            126 => number(&self.header[2..4]),
            127 => number(&self.header[2..10]),
            short => u64::from(short),
        }
    }
}

/// The frame that tells a client that we are going away.
pub(super) fn close_for_client() -> Bytes {
    Bytes::copy_from_slice(&[0x80 | CLOSE, 2, GOING_AWAY[0], GOING_AWAY[1]])
}

/// The frame that tells a server the same. Frames to servers are masked, by what nobody can foresee; if the system has no
/// randomness there is no frame.
pub(super) fn close_for_server() -> Option<Bytes> {
    let mut mask = [0; 4];
    getrandom::fill(&mut mask).ok()?;
    let [a, b] = [GOING_AWAY[0] ^ mask[0], GOING_AWAY[1] ^ mask[1]];
    Some(Bytes::copy_from_slice(&[0x80 | CLOSE, 0x80 | 2, mask[0], mask[1], mask[2], mask[3], a, b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mask_bit = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x80 | opcode];
        match length {
            0..=125 => bytes.push(mask_bit | u8::try_from(length).unwrap()),
            126..=0xffff => {
                bytes.push(mask_bit | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([0x88, 0x88, 0x88, 0x88]);
        }
        // A payload that looks like headers.
        bytes.extend(std::iter::repeat_n(0x88, length));
        bytes
    }

    #[test]
    fn frames_end_where_they_say_however_they_are_cut_up() {
        for masked in [false, true] {
            for length in [0, 1, 125, 126, 300, 0xffff, 0x10000, 70_000] {
                let first = frame(2, masked, length);
                let both = [first.clone(), frame(8, masked, 2)].concat();
                for piece in [1, 2, 3, 7, 1000, both.len()] {
                    let row = format!("{masked} {length} {piece}");
                    let mut frames = Frames::default();
                    let mut ends = Vec::new();
                    for (index, bytes) in both.chunks(piece).enumerate() {
                        let mut at = 0;
                        while at < bytes.len() {
                            // The first byte of a frame, then the rest of it.
                            frames.pass(&bytes[at..=at]);
                            at += 1;
                            at += frames.pass_one(&bytes[at..]);
                            if frames.is_between() {
                                ends.push(index * piece + at);
                            }
                        }
                    }
                    assert_eq!(ends, [first.len(), both.len()], "{row}");
                    assert!(frames.has_closed(), "{row}");
                }
                let mut frames = Frames::default();
                frames.pass(&first);
                assert!(frames.is_between() && !frames.has_closed(), "{masked} {length}");
                assert_eq!(frames.pass_one(&both), 0, "nothing is passing");
            }
        }
    }

    #[test]
    fn close_frames_are_frames_that_close() {
        for (bytes, masked) in [(close_for_client(), false), (close_for_server().unwrap(), true)] {
            let mut frames = Frames::default();
            frames.pass(&bytes);
            assert!(frames.is_between() && frames.has_closed());
            let status = match masked {
                false => [bytes[2], bytes[3]],
                true => [bytes[6] ^ bytes[2], bytes[7] ^ bytes[3]],
            };
            assert_eq!((status, bytes[1] & 0x80 != 0), ([0x03, 0xe9], masked));
        }
    }
}
