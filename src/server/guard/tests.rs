use proptest::prelude::*;

use super::*;

/// Feeds the bytes in the given pieces; gives the first refusal with the number of bytes kept in all.
fn feed_in_pieces(bytes: &[u8], cuts: &[usize]) -> (Guard, Option<(Violation, usize)>) {
    let mut guard = Guard::new(GuardLimits::default());
    let mut from = 0;
    for &cut in cuts.iter().chain([&bytes.len()]) {
        if let Err(refusal) = guard.feed(&bytes[from..cut]) {
            return (guard, Some((refusal.violation, from + refusal.keep)));
        }
        from = cut;
    }
    (guard, None)
}

fn verdict(bytes: &[u8]) -> Option<Violation> {
    feed_in_pieces(bytes, &[]).1.map(|(violation, _)| violation)
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A request with these lines behind `Host`, and this behind the head.
fn post(lines: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}")
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

#[test]
fn well_formed_messages_pass_and_are_counted() {
    let rows = [
        (GET.to_owned(), 1),
        (format!("{GET}{GET}{GET}"), 3),
        (format!("\r\n\r\n{GET}\r\n{GET}"), 2),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 1),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 1),
        ("GET http://a.example:80/x?y=/?&z HTTP/1.1\r\nhOsT: [::1]:8080\r\n\r\n".to_owned(), 1),
        ("GET HTTPS://a?q HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 1),
        ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 1),
        (post("X-Empty:\r\nX-Tab:\ta\tb \r\nX-Obs: \u{e9}\r\n", ""), 1),
        (post("Content-Length: 0\r\n", ""), 1),
        (post("Content-Length:5\r\n", &format!("hello{GET}")), 2),
        (post("content-LENGTH:  13\r\n", "\r\n\0\nGET / HT\n"), 1),
        (chunked("0\r\n\r\n"), 1),
        (chunked(&format!("5\r\nhello\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n{GET}")), 2),
        (chunked("000000000000000a;\r\n0123456789\r\n0;last\r\nX-Sum: 1\r\nY: 2\r\n\r\n"), 1),
        (post("TRANSFER-ENCODING:   ChunKED\r\n", "0\r\n\r\n"), 1),
        (post("Upgrade: websocket\r\nConnection: upgrade\r\n", ""), 1),
    ];
    for (text, heads) in rows {
        let (guard, refusal) = feed_in_pieces(text.as_bytes(), &[]);
        assert_eq!(refusal, None, "{text:?}");
        assert_eq!((guard.heads(), guard.phase()), (heads, Phase::Between), "{text:?}");
    }
}

#[test]
fn every_known_attack_on_the_framing_is_refused() {
    use Violation as V;
    let rows = [
        // Line ends and control bytes.
        ("GET / HTTP/1.1\nHost: a\r\n\r\n".to_owned(), V::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(), V::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(), V::BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\nY: c\r\n\r\n".to_owned(), V::BareLineFeed),
        ("\nGET / HTTP/1.1\r\n".to_owned(), V::BareLineFeed),
        ("GET\n/ HTTP/1.1\r\n".to_owned(), V::BareLineFeed),
        ("GET /\n".to_owned(), V::BareLineFeed),
        (post("Content-Length: 5\n", "hello"), V::BareLineFeed),
        (post("Transfer-Encoding: chunked\n", "0\r\n\r\n"), V::BareLineFeed),
        ("\rGET / HTTP/1.1\r\n".to_owned(), V::BareCarriageReturn),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n".to_owned(), V::BareCarriageReturn),
        (post("X: a\rb\r\n", ""), V::BareCarriageReturn),
        (post("X: a\r\r\n", ""), V::BareCarriageReturn),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rGET".to_owned(), V::BareCarriageReturn),
        (post("X: a\0b\r\n", ""), V::ControlByte),
        (post("X: a\x7fb\r\n", ""), V::ControlByte),
        (post("X: aaaaaaaaaaaaaaaaaaaaaaaaaaa\x0bb\r\n", ""), V::ControlByte),
        (post("X\0: a\r\n", ""), V::ControlByte),
        (post("\0: a\r\n", ""), V::ControlByte),
        ("GET /a\x01b HTTP/1.1\r\n".to_owned(), V::ControlByte),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\n".to_owned(), V::EmptyLines),
        // Header lines.
        (post(" folded\r\n", ""), V::ObsoleteFolding),
        (post("X: a\r\n\tb\r\n", ""), V::ObsoleteFolding),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(), V::ObsoleteFolding),
        (post("X : a\r\n", ""), V::SpaceBeforeColon),
        (post("Content-Length : 5\r\n", "hello"), V::SpaceBeforeColon),
        (post("Transfer-Encoding\t: chunked\r\n", ""), V::SpaceBeforeColon),
        (post(": a\r\n", ""), V::FieldNameEmpty),
        (post("X\r\n", ""), V::FieldNameInvalid),
        (post("X(y): a\r\n", ""), V::FieldNameInvalid),
        (post("{\"json\": 1}\r\n", ""), V::FieldNameInvalid),
        (post("X\u{e9}: a\r\n", ""), V::FieldNameInvalid),
        // The request line.
        ("GET / HTTP/1.1 \r\n".to_owned(), V::RequestLineInvalid),
        ("GET /  HTTP/1.1\r\n".to_owned(), V::RequestLineInvalid),
        ("GET  / HTTP/1.1\r\n".to_owned(), V::RequestLineInvalid),
        (" GET / HTTP/1.1\r\n".to_owned(), V::RequestLineInvalid),
        ("GET\t/ HTTP/1.1\r\n".to_owned(), V::RequestLineInvalid),
        ("GET /\tx HTTP/1.1\r\n".to_owned(), V::ControlByte),
        ("GET /\r\n".to_owned(), V::RequestLineInvalid),
        ("GET\r\n".to_owned(), V::RequestLineInvalid),
        ("G(T / HTTP/1.1\r\n".to_owned(), V::RequestLineInvalid),
        ("GET / http/1.1\r\n".to_owned(), V::RequestLineInvalid),
        ("GET / HTTP/1.1x\r\n".to_owned(), V::RequestLineInvalid),
        ("GET / HTTP/11\r\n".to_owned(), V::RequestLineInvalid),
        ("\x16\x03\x01\x02\x00\x01\x00".to_owned(), V::RequestLineInvalid),
        ("GET / HTTP/1.2\r\n".to_owned(), V::VersionUnsupported),
        ("GET / HTTP/0.9\r\n".to_owned(), V::VersionUnsupported),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), V::TargetInvalid),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n".to_owned(), V::MethodConnect),
        (format!("{} / HTTP/1.1\r\n", "M".repeat(33)), V::MethodTooLong),
        // The target.
        ("GET /#top HTTP/1.1\r\n".to_owned(), V::TargetFragment),
        ("GET /?a#top HTTP/1.1\r\n".to_owned(), V::TargetFragment),
        ("GET * HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("OPTIONS ** HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET a/b HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET ftp://a/b HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET http:/a/b HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET http:///b HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET http:// HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET http://user@a/ HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET /<x> HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        ("GET /\u{e9} HTTP/1.1\r\n".to_owned(), V::TargetInvalid),
        (format!("GET /{} HTTP/1.1\r\n", "a".repeat(8192)), V::TargetTooLong),
        (format!("GET /?{} HTTP/1.1\r\n", "a".repeat(8192)), V::TargetTooLong),
        // Size and number.
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(33_000)), V::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}: b\r\n\r\n", "a".repeat(33_000)), V::HeadTooLarge),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(100)), V::TooManyFields),
        // Host.
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), V::HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(), V::HostRepeated),
        ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n".to_owned(), V::HostRepeated),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n".to_owned(), V::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned(), V::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(), V::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(), V::HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(), V::HostInvalid),
        // The length.
        (post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), V::ContentLengthRepeated),
        (post("Content-Length: 5\r\ncontent-length: 6\r\n", "hello"), V::ContentLengthRepeated),
        (post("Content-Length: 5, 5\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length: +5\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length: -5\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length: 0x5\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length: 5 5\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length: 5 \r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length:\t5\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length: 05\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length: 00\r\n", ""), V::ContentLengthInvalid),
        (post("Content-Length: 5.0\r\n", "hello"), V::ContentLengthInvalid),
        (post("Content-Length:\r\n", ""), V::ContentLengthInvalid),
        (post("Content-Length: \r\n", ""), V::ContentLengthInvalid),
        (post("Content-Length: 9223372036854775808\r\n", ""), V::ContentLengthInvalid),
        (post("Content-Length: 18446744073709551617\r\n", ""), V::ContentLengthInvalid),
        (post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), V::LengthAmbiguous),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"), V::LengthAmbiguous),
        (post("Transfer-Encoding: gzip\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: gzip, chunked\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: chunked, identity\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: xchunked\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: chunkedx\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: \"chunked\"\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: chunked;q=1\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: chunked \r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding:\tchunked\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding:\x0bchunked\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding:\r\n", ""), V::TransferEncodingInvalid),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", ""), V::TransferEncodingRepeated),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(), V::TransferEncodingInOldVersion),
        (post("Content_Length: 5\r\n", ""), V::FramingTwin),
        (post("content.length: 5\r\n", ""), V::FramingTwin),
        (post("Transfer_Encoding: chunked\r\n", ""), V::FramingTwin),
        // Chunks.
        (chunked("\r\n"), V::ChunkSizeInvalid),
        (chunked(";x\r\n"), V::ChunkSizeInvalid),
        (chunked("+5\r\nhello\r\n"), V::ChunkSizeInvalid),
        (chunked("-1\r\n"), V::ChunkSizeInvalid),
        (chunked("0x5\r\nhello\r\n"), V::ChunkSizeInvalid),
        (chunked(" 5\r\nhello\r\n"), V::ChunkSizeInvalid),
        (chunked("5 \r\nhello\r\n"), V::ChunkSizeInvalid),
        (chunked("5 ;x\r\nhello\r\n"), V::ChunkSizeInvalid),
        (chunked("5_0\r\n"), V::ChunkSizeInvalid),
        (chunked("00000000000000005\r\nhello\r\n"), V::ChunkSizeInvalid),
        (chunked("ffffffffffffffff\r\n"), V::ChunkSizeInvalid),
        (chunked("8000000000000000\r\n"), V::ChunkSizeInvalid),
        (chunked("5\nhello\r\n"), V::BareLineFeed),
        (chunked("5\rhello\r\n"), V::BareCarriageReturn),
        (chunked("5;a\nb\r\nhello\r\n"), V::BareLineFeed),
        (chunked("5;a\rb\r\nhello\r\n"), V::BareCarriageReturn),
        (chunked("5;a\0b\r\nhello\r\n"), V::ControlByte),
        (chunked("5\r\nhello!\r\n"), V::ChunkTerminatorInvalid),
        (chunked("5\r\nhello\n"), V::ChunkTerminatorInvalid),
        (chunked("5\r\nhello\r0"), V::ChunkTerminatorInvalid),
        (chunked("5\r\nhello0\r\n\r\n"), V::ChunkTerminatorInvalid),
        (chunked(&format!("1;{}\r\na\r\n", "x".repeat(16 * 1024))), V::ChunkExtensionsTooLong),
        (chunked(&"1;xxxxxxxx\r\na\r\n".repeat(2000)), V::ChunkExtensionsTooLong),
        // Trailers.
        (chunked("0\r\nX: a\n\r\n"), V::BareLineFeed),
        (chunked("0\r\nX: a\r\n b\r\n\r\n"), V::ObsoleteFolding),
        (chunked("0\r\nContent-Length: 5\r\n\r\n"), V::TrailerForbidden),
        (chunked("0\r\ntransfer-encoding: chunked\r\n\r\n"), V::TrailerForbidden),
        (chunked("0\r\nHost: b\r\n\r\n"), V::TrailerForbidden),
        (chunked(&format!("0\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024))), V::TrailersTooLarge),
        (chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(101))), V::TrailersTooLarge),
    ];
    for (text, expected) in rows {
        let start = text.get(..120).unwrap_or(&text);
        assert_eq!(verdict(text.as_bytes()), Some(expected), "{start:?}");
        // Behind a good message the good one is kept, the bad one is not, wherever its bad byte stands.
        let behind = format!("{GET}{text}");
        let kept = feed_in_pieces(behind.as_bytes(), &[]);
        assert_eq!(kept.1, Some((expected, GET.len())), "behind a good message: {start:?}");
        assert_eq!(kept.0.heads(), 1, "{start:?}");
    }
}

#[test]
fn the_limits_admit_what_just_fits() {
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let rows = [
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8191)), None),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(32 * 1024 - frame)), None),
        (
            format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(32 * 1024 - frame + 1)),
            Some(Violation::HeadTooLarge),
        ),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(99)), None),
        (format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(32)), None),
        (post("Content-Length: 9223372036854775807\r\n", ""), None),
        (chunked(&format!("0\r\n{}\r\n", "X: y\r\n".repeat(100))), None),
    ];
    for (text, expected) in rows {
        assert_eq!(verdict(text.as_bytes()), expected, "{:?}", text.get(..80));
        // The limits belong to one message each.
        assert_eq!(verdict(format!("{GET}{GET}{text}").as_bytes()), expected);
    }
}

#[test]
fn a_fault_in_a_body_whose_head_is_already_gone_keeps_nothing_and_says_so() {
    let mut guard = Guard::new(GuardLimits::default());
    assert_eq!(guard.feed(chunked("5\r\nhel").as_bytes()), Ok(()));
    assert_eq!((guard.heads(), guard.phase()), (1, Phase::Body));
    let refusal = Refusal { violation: Violation::ChunkTerminatorInvalid, keep: 0, is_in_body: true };
    assert_eq!(guard.feed(b"lo!\r\n"), Err(refusal));
    assert_eq!(guard.feed(GET.as_bytes()), Err(Refusal { is_in_body: false, ..refusal }));
    assert_eq!(guard.heads(), 1);
}

#[test]
fn a_tunnel_is_not_judged_and_a_refused_connection_never_becomes_one() {
    let mut guard = Guard::new(GuardLimits::default());
    assert_eq!(guard.feed(GET.as_bytes()), Ok(()));
    guard.begin_tunnel();
    assert_eq!(guard.feed(b"\x81\x05hello\n\0"), Ok(()));
    assert_eq!(guard.phase(), Phase::Tunnel);

    let mut guard = Guard::new(GuardLimits::default());
    assert!(guard.feed(b"\n").is_err());
    guard.begin_tunnel();
    assert!(guard.feed(b"x").is_err());
}

#[test]
fn the_eight_byte_scan_finds_what_the_plain_scan_finds() {
    for length in 0..40 {
        for byte in 0..=255u8 {
            for place in 0..length {
                let mut bytes = vec![b'a'; length];
                bytes[place] = byte;
                if place > 3 {
                    bytes[place - 3] = b'\t';
                }
                let expected = bytes.iter().position(|b| (*b < 0x20 && *b != b'\t') || *b == 0x7f).unwrap_or(length);
                assert_eq!(visible(&bytes, 0), expected, "{bytes:?}");
            }
        }
    }
}

/// Bytes that are mostly HTTP: pieces that good and bad requests are made of, glued in any order.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => Just(GET.as_bytes().to_vec()),
        4 => Just(b"POST /a?b HTTP/1.1\r\n".to_vec()),
        4 => Just(b"Host: a\r\n".to_vec()),
        3 => Just(b"Content-Length: 7\r\n".to_vec()),
        3 => Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        4 => Just(b"X-Some-Header: with a value\r\n".to_vec()),
        4 => Just(b"\r\n".to_vec()),
        2 => Just(b"5\r\nhello\r\n".to_vec()),
        2 => Just(b"0\r\n\r\n".to_vec()),
        1 => Just(b"7;ext=1\r\n1234567\r\n".to_vec()),
        1 => Just(b"OPTIONS * HTTP/1.0\r\n".to_vec()),
        1 => Just(b"GET http://a/b HTTP/1.1\r\n".to_vec()),
        1 => "[ -~]{0,12}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn however_the_bytes_are_cut_the_verdict_is_the_same(
        bytes in wire(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let every: Vec<_> = (0..bytes.len()).collect();
        let (whole, expected) = feed_in_pieces(&bytes, &[]);
        for cuts in [&cuts, &every] {
            let (guard, refusal) = feed_in_pieces(&bytes, cuts);
            prop_assert_eq!(refusal.map(|(violation, _)| violation), expected.map(|(violation, _)| violation));
            // In small pieces part of the bad message is gone already; never more of a good one is lost.
            prop_assert!(refusal.map(|(_, kept)| kept) >= expected.map(|(_, kept)| kept));
            prop_assert!(guard.heads() >= whole.heads());
            if expected.is_none() {
                prop_assert_eq!((guard.heads(), guard.phase()), (whole.heads(), whole.phase()));
            }
        }
    }

    #[test]
    fn a_head_that_passes_reads_the_same_to_the_parser_behind(bytes in wire()) {
        let (guard, refusal) = feed_in_pieces(&bytes, &[]);
        let kept = refusal.map_or(bytes.len(), |(_, kept)| kept);
        let mut heads = 0;
        let mut at = 0;
        while at < kept {
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let mut request = httparse::Request::new(&mut fields);
            let parsed = request.parse(&bytes[at..kept]);
            prop_assert!(parsed.is_ok(), "refused behind: {:?}", String::from_utf8_lossy(&bytes[at..kept]));
            let Ok(httparse::Status::Complete(length)) = parsed else { break };
            heads += 1;
            at += length;
            let value = |name: &str| {
                let field = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
                Some(String::from_utf8_lossy(field.value).into_owned())
            };
            if value("transfer-encoding").is_some() {
                let Some(body) = chunked_length(&bytes[at..kept]) else { break };
                at += body;
            } else if let Some(length) = value("content-length") {
                at += length.parse::<usize>().expect("a plain number");
            }
        }
        prop_assert_eq!(guard.heads(), heads, "{:?}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_bytes_at_all_are_judged_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let (guard, refusal) = feed_in_pieces(&bytes, &[]);
        prop_assert!(refusal.is_none_or(|(_, kept)| kept <= bytes.len()));
        prop_assert!(guard.phase() != Phase::Tunnel);
    }
}

/// The length of a whole chunked body, read by httparse; `None` when it is not complete.
fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let httparse::Status::Complete((line, size)) = httparse::parse_chunk_size(&bytes[at..]).ok()? else {
            return None;
        };
        at += line;
        if size == 0 {
            let mut fields = [httparse::EMPTY_HEADER; 128];
            let httparse::Status::Complete((length, _)) = httparse::parse_headers(&bytes[at..], &mut fields).ok()?
            else {
                return None;
            };
            return Some(at + length);
        }
        at += usize::try_from(size).ok()? + 2;
        if at > bytes.len() {
            return None;
        }
    }
}
