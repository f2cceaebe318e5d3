//! Which bytes may stand where, and the two scans that spend the guard's time.
//!
//! A table says the classes of each byte; [`run`] skips what is of a class, [`visible`] skips a header's value. Neither
//! knows a state: that is for the guard.

/// The first place from `at` on whose byte is not of the class.
#[inline]
pub(super) fn run(bytes: &[u8], at: usize, class: u8) -> usize {
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| CLASS[usize::from(*byte)] & class == 0).unwrap_or(rest.len())
}

/// The first place from `at` on that holds a control byte other than a tab: what ends a value, well or badly.
#[inline]
pub(super) fn visible(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    loop {
        // Eight bytes at a time. In each of the two tests the lowest mark is exact: a wrong mark can only stand above a
        // right one, because it comes from its borrow.
        while let Some(chunk) = bytes.get(at..at + 8).and_then(|chunk| <[u8; 8]>::try_from(chunk).ok()) {
            let word = u64::from_le_bytes(chunk);
            let below_space = word.wrapping_sub(0x20 * ONES) & !word & HIGH;
            let delete = word ^ (0x7f * ONES);
            let delete = delete.wrapping_sub(ONES) & !delete & HIGH;
            let found = below_space | delete;
            if found != 0 {
                at += found.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'\t' => {
                    at += 1;
                    break;
                }
                0..0x20 | 0x7f => return at,
                _ => at += 1,
            }
        }
        if at >= bytes.len() {
            return bytes.len();
        }
    }
}

/// Bytes of methods and header names.
pub(super) const TOKEN: u8 = 1;
/// Bytes of a path that every later reader takes as they stand. Bytes above ASCII belong in percent encoding.
pub(super) const PATH: u8 = 2;
/// Bytes of a query.
pub(super) const QUERY: u8 = 4;
/// Bytes of a host with its port: names, addresses, brackets. No user information, no list, no path.
pub(super) const HOST: u8 = 8;

/// The classes of each byte.
pub(super) static CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut class = 0;
        match byte as u8 {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => class |= TOKEN | HOST,
            b'-' | b'.' | b'_' | b'~' | b'%' => class |= TOKEN | HOST,
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' => class |= TOKEN,
            b':' | b'[' | b']' => class |= HOST,
            _ => {}
        }
        match byte as u8 {
            b'#' | b'?' | b'<' | b'>' | b'`' => {}
            0x21..=0x7e => class |= PATH,
            _ => {}
        }
        match byte as u8 {
            b'#' | b'"' | b'<' | b'>' => {}
            0x21..=0x7e => class |= QUERY,
            _ => {}
        }
        table[byte] = class;
        byte += 1;
    }
    table
};
