//! The wire guard.

use keygate::server::guard::{Guard, GuardLimits};

/// Bytes of an HTTP/1 connection: the verdict does not depend on how they were cut into pieces, and what is taken for a
/// head is one for the parser behind as well.
pub fn framing(data: &[u8]) {
    let whole = Guard::new(GuardLimits::default()).feed(data).map_err(|refusal| refusal.violation);
    let mut guard = Guard::new(GuardLimits::default());
    let in_pieces = data.chunks(1).try_for_each(|piece| guard.feed(piece)).map_err(|refusal| refusal.violation);
    assert_eq!(whole, in_pieces);
    if whole.is_ok() && guard.heads() == 1 {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let start = data.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
        let parsed = httparse::Request::new(&mut fields).parse(&data[start..]);
        assert!(parsed.is_ok_and(|status| status.is_complete()), "the guard takes what the parser does not");
    }
}
