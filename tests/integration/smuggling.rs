//! A second request hidden behind the first: whatever the disguise, the upstream never hears of it.
//!
//! Each row is what two readers have been known to read in two ways, with a hidden request right behind it. It must be
//! refused as a whole: one answer, the connection closed, not one whole request upstream. The last tables are what
//! looks much alike and reads one way only: it passes, and passes once.

use super::support::{Caller, Gateway, Origin, Play, Report};

const CONFIG: &str = r#"
timeouts: { head: 1s, body: 1s }
upstreams: { api: { url: "{{origin}}" } }
clients: [ { id: shop, client_type: cms, keys: [ { id: key_1, name: k, digest: "{{digest:shop-key}}" } ] } ]
endpoints:
  - { name: all, path: /, upstream: api, public: true }
  - { name: trailing, path: /trailing, upstream: api, public: true, request_trailers: true }
  - { name: closed, path: /closed, upstream: api, api_key: required }
"#;

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

struct Probe {
    origin: Origin,
    gateway: Gateway,
    report: Report,
}

impl Probe {
    fn new() -> Self {
        let origin = Origin::playing(Play::EchoBody);
        let gateway = Gateway::before(&origin, CONFIG);
        Self { origin, gateway, report: Report::new() }
    }

    /// What came back for these bytes until the end of the connection; half of it is closed by us, as by a client that
    /// has nothing more to say.
    fn answers(&self, bytes: &[u8]) -> String {
        let mut caller = Caller::connect(self.gateway.address());
        caller.send(bytes);
        String::from_utf8_lossy(&caller.read_to_end()).into_owned()
    }

    /// These bytes with the hidden request behind them: one refusal, then the end, and no request upstream.
    fn refused(&mut self, row: &str, bytes: impl AsRef<[u8]>) {
        let answers = self.answers(&[bytes.as_ref(), HIDDEN.as_bytes()].concat());
        let status = answers.get(9..12).unwrap_or_default();
        let is_refusal = ["400", "405", "408", "414", "431", "501", "505"].contains(&status);
        let count = answers.matches("HTTP/1.1 ").count();
        self.report.holds(row, format!("{count} answers: {answers}"), is_refusal && count == 1);
        let seen = self.origin.take();
        self.report.holds(row, format!("the upstream saw {seen:?}"), seen.is_empty());
    }

    /// These bytes, and no hidden request: the upstream sees exactly these requests.
    fn seen_as(&mut self, row: &str, bytes: impl AsRef<[u8]>, expected: &[(&str, &str)]) {
        let closing = b"GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answers = self.answers(&[bytes.as_ref(), closing].concat());
        let body = |seen: &[u8]| String::from_utf8_lossy(seen).into_owned();
        let seen: Vec<_> =
            self.origin.take().iter().map(|seen| (seen.target().to_string(), body(&seen.body))).collect();
        let mut wanted: Vec<_> = expected.iter().map(|(target, body)| (target.to_string(), body.to_string())).collect();
        wanted.push(("/last".into(), String::new()));
        self.report.equal(format!("{row}: {answers}"), seen, wanted);
    }
}

fn post(fields: &str) -> String {
    format!("POST /first HTTP/1.1\r\nhost: a\r\n{fields}\r\n")
}

#[test]
fn a_length_that_two_readers_could_read_differently_is_refused() {
    let mut probe = Probe::new();
    for value in [
        "+4",
        "-4",
        "-0",
        "+0",
        "00",
        "04",
        "0004",
        "4.0",
        "4e0",
        "0x4",
        "4h",
        "4;",
        "4,",
        ",4",
        "4,4",
        "4, 4",
        "4, 5",
        "1_0",
        "4 4",
        "4\t",
        "\t4",
        "4 ",
        "4\u{b}",
        "\u{c}4",
        "4\u{a0}",
        "\u{665}",
        "\"4\"",
        "'4'",
        "(4)",
        "",
        " ",
        "\t",
        "9223372036854775808",
        "18446744073709551616",
        "18446744073709551620",
        "184467440737095516160",
        "99999999999999999999999999999999999999",
        "4294967300000000000000",
    ] {
        probe.refused(&format!("length {value:?}"), post(&format!("content-length: {value}\r\n")) + "abcd");
    }
    for (row, fields) in [
        ("the same length twice", "content-length: 4\r\ncontent-length: 4\r\n"),
        ("two lengths", "content-length: 0\r\ncontent-length: 4\r\n"),
        ("two lengths, far apart", "content-length: 4\r\nx-a: b\r\nx-c: d\r\nContent-Length: 0\r\n"),
        ("three lengths", "content-length: 4\r\ncontent-length: 4\r\ncontent-length: 4\r\n"),
        ("a twin with an underscore", "content_length: 4\r\n"),
        ("a twin with a dot", "content.length: 4\r\n"),
        ("a twin beside the real one", "content-length: 0\r\ncontent_length: 4\r\n"),
        ("a folded length", "content-length:\r\n 4\r\n"),
        ("a length that is folded on", "content-length: 4\r\n 0\r\n"),
        ("a blank before the colon", "content-length : 4\r\n"),
        ("a tab before the colon", "content-length\t: 4\r\n"),
        ("a NUL before the colon", "content-length\0: 4\r\n"),
        ("a vertical tab before the name", "\u{b}content-length: 4\r\n"),
        ("a line feed before the name", "x-a: b\ncontent-length: 4\r\n"),
        ("a carriage return before the name", "x-a: b\rcontent-length: 4\r\n"),
    ] {
        probe.refused(row, post(fields) + "abcd");
    }
}

#[test]
fn a_coding_that_two_readers_could_read_differently_is_refused() {
    let mut probe = Probe::new();
    for value in [
        "xchunked",
        "chunkedx",
        "chunk",
        "chunked, chunked",
        "chunked,chunked",
        "chunked, identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "gzip",
        ", chunked",
        "chunked,",
        "chunked;q=1",
        "chunked ;a",
        "chunked a",
        "\"chunked\"",
        "'chunked'",
        "[chunked]",
        "chunked\u{b}",
        "\u{b}chunked",
        "\u{c}chunked",
        "\tchunked",
        "chunked\t",
        "chunked ",
        "chun ked",
        "chun\u{212a}ed",
        "chunked\u{a0}",
        "chunked\0",
        "\0chunked",
        "",
        " ",
        "deflate\u{ff0c}chunked",
        "CHUNKED, x",
        "chunked=1",
    ] {
        let body = "0\r\n\r\n";
        probe.refused(&format!("coding {value:?}"), post(&format!("transfer-encoding: {value}\r\n")) + body);
        let with_length = post(&format!("content-length: 5\r\ntransfer-encoding: {value}\r\n")) + body;
        probe.refused(&format!("coding {value:?} and a length"), with_length);
    }
    for (row, fields) in [
        ("length first", "content-length: 5\r\ntransfer-encoding: chunked\r\n"),
        ("coding first", "transfer-encoding: chunked\r\ncontent-length: 5\r\n"),
        ("length of nothing first", "content-length: 0\r\ntransfer-encoding: chunked\r\n"),
        ("coding twice", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ("two codings", "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n"),
        ("two codings, the other way", "transfer-encoding: chunked\r\ntransfer-encoding: x\r\n"),
        ("an empty coding first", "transfer-encoding:\r\ntransfer-encoding: chunked\r\n"),
        ("a twin with an underscore", "transfer_encoding: chunked\r\n"),
        ("a twin with a dot", "transfer.encoding: chunked\r\n"),
        ("a twin beside the real one", "transfer-encoding: chunked\r\ntransfer_encoding: identity\r\n"),
        ("a twin beside a length", "content-length: 5\r\ntransfer_encoding: chunked\r\n"),
        ("a blank before the colon", "content-length: 5\r\ntransfer-encoding : chunked\r\n"),
        ("a NUL before the colon", "content-length: 5\r\ntransfer-encoding\0: chunked\r\n"),
        ("a blank before the name", "content-length: 5\r\n transfer-encoding: chunked\r\n"),
        ("the first line is folded", " transfer-encoding: chunked\r\n"),
        ("folded", "transfer-encoding:\r\n chunked\r\n"),
        ("folded by a tab", "transfer-encoding:\r\n\tchunked\r\n"),
        ("folded on", "transfer-encoding: chunked\r\n , identity\r\n"),
        ("behind a bare line feed", "x-a: b\ntransfer-encoding: chunked\r\n"),
        ("behind a bare carriage return", "x-a: b\rtransfer-encoding: chunked\r\n"),
        ("behind two carriage returns", "x-a: b\r\r\ntransfer-encoding: chunked\r\n"),
        ("behind an escaped line end", "x-a: b\0\r\ntransfer-encoding: chunked\r\n"),
    ] {
        probe.refused(row, post(fields) + "0\r\n\r\n");
    }
    probe.refused("in HTTP/1.0", "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    let kept = "POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    probe.refused("in HTTP/1.0, kept alive", kept);
}

#[test]
fn lines_that_two_readers_could_end_differently_are_refused() {
    let mut probe = Probe::new();
    for (row, head) in [
        ("line feeds alone", "GET / HTTP/1.1\nhost: a\n\n"),
        ("request line ends in a line feed", "GET / HTTP/1.1\nhost: a\r\n\r\n"),
        ("a field ends in a line feed", "GET / HTTP/1.1\r\nhost: a\nx-a: b\r\n\r\n"),
        ("the head ends in a line feed", "GET / HTTP/1.1\r\nhost: a\r\n\n"),
        ("the head ends in two line feeds", "GET / HTTP/1.1\r\nhost: a\n\n"),
        ("the head ends in carriage returns", "GET / HTTP/1.1\r\nhost: a\r\n\r\r\n"),
        ("the head ends in a carriage return", "GET / HTTP/1.1\r\nhost: a\r\n\rx"),
        ("carriage returns alone", "GET / HTTP/1.1\rhost: a\r\r"),
        ("a fold before the first field", "GET / HTTP/1.1\r\n x-a: b\r\nhost: a\r\n\r\n"),
        ("a fold", "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n c\r\n\r\n"),
        ("a fold of blanks", "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\r\n \r\n\r\n"),
        ("a folded host", "GET / HTTP/1.1\r\nhost: a\r\n b\r\n\r\n"),
        ("an empty name", "GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n"),
        ("a colon alone", "GET / HTTP/1.1\r\nhost: a\r\n:\r\n\r\n"),
        ("no colon", "GET / HTTP/1.1\r\nhost: a\r\nx-a\r\n\r\n"),
        ("a request as a field", "GET / HTTP/1.1\r\nhost: a\r\nGET /hidden HTTP/1.1\r\n\r\n"),
        ("a NUL in a name", "GET / HTTP/1.1\r\nhost: a\r\nx\0a: b\r\n\r\n"),
        ("a NUL in a value", "GET / HTTP/1.1\r\nhost: a\r\nx-a: b\0\r\n\r\n"),
        ("a bell in a value", "GET / HTTP/1.1\r\nhost: a\r\nx-a: \u{7}\r\n\r\n"),
        ("a delete in a value", "GET / HTTP/1.1\r\nhost: a\r\nx-a: \u{7f}\r\n\r\n"),
        ("blanks before the request", " GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("a tab before the request", "\tGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("a line feed before the request", "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("a carriage return before the request", "\rGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("a NUL before the request", "\0GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("a byte order mark", "\u{feff}GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("ten empty lines", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"),
    ] {
        probe.refused(row, head);
    }
    let host = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
    for line in [
        "GET",
        "GET ",
        "GET /",
        "GET / ",
        "GET  HTTP/1.1",
        "GET HTTP/1.1",
        "GET / HTTP/",
        "GET / HTTP/1",
        "GET / HTTP/1.",
        "GET / HTTP/.1",
        "GET / HTTP/0.9",
        "GET / HTTP/1.2",
        "GET / HTTP/1.9",
        "GET / HTTP/2.0",
        "GET / HTTP/2",
        "GET / HTTP/3.0",
        "GET / HTTP/01.1",
        "GET / HTTP/1.10",
        "GET / HTTP/1.01",
        "GET / HTTP/1.1.1",
        "GET / HTTP/11",
        "GET / HTTP/1,1",
        "GET / HTTP/+1.1",
        "GET / http/1.1",
        "GET / Http/1.1",
        "GET / HTTP /1.1",
        "GET / HTTP/ 1.1",
        "GET / HTTPS/1.1",
        "GET / ICY/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.1\t",
        "GET / HTTP/1.1 x",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET\u{b}/ HTTP/1.1",
        "GET\u{c}/ HTTP/1.1",
        "GET\u{a0}/ HTTP/1.1",
        "GET\r/ HTTP/1.1",
        "GET / x HTTP/1.1",
        "GET / HTTP/1.1 HTTP/1.1",
        "GET/ HTTP/1.1",
        "GET,POST / HTTP/1.1",
        "GE\0T / HTTP/1.1",
        "G\u{e9}T / HTTP/1.1",
        "GET: / HTTP/1.1",
        "\"GET\" / HTTP/1.1",
        "[] / HTTP/1.1",
        "GET hidden HTTP/1.1",
        "GET \\ HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET #a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT a:443 HTTP/1.1",
        "CONNECT * HTTP/1.1",
        "CONNECT http://a/ HTTP/1.1",
        "CONNECT  HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET http:// HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http:a HTTP/1.1",
        "GET http:/a HTTP/1.1",
        "GET gopher://a/ HTTP/1.1",
        "GET http://a@b/ HTTP/1.1",
        "GET http://b/ HTTP/1.1",
        "GET http://a:81/ HTTP/1.1",
    ] {
        probe.refused(line, host(line));
    }
    probe.refused("a long method", host(&format!("{} / HTTP/1.1", "G".repeat(33))));
    probe.refused("a longer one", host(&format!("{} / HTTP/1.1", "G".repeat(40_000))));
    for byte in (0..=0x20).chain(0x7f..=0xff).chain(*b"#<>`") {
        let line = [b"GET /a", &[byte][..], b"b HTTP/1.1\r\nhost: a\r\n\r\n"].concat();
        probe.refused(&format!("byte {byte:#x} in a target"), line);
    }
}

#[test]
fn chunks_that_two_readers_could_cut_differently_never_become_a_request() {
    let mut probe = Probe::new();
    let head = post("transfer-encoding: chunked\r\n");
    let long = "0".repeat(40);
    let chunks = [
        ("negative", "-2\r\nab\r\n0\r\n\r\n"),
        ("with a plus", "+2\r\nab\r\n0\r\n\r\n"),
        ("0x", "0x2\r\nab\r\n0\r\n\r\n"),
        ("h", "2h\r\nab\r\n0\r\n\r\n"),
        ("in quotes", "\"2\"\r\nab\r\n0\r\n\r\n"),
        ("a blank before", " 2\r\nab\r\n0\r\n\r\n"),
        ("a tab before", "\t2\r\nab\r\n0\r\n\r\n"),
        ("an underscore", "0_2\r\nab\r\n0\r\n\r\n"),
        ("a comma", "2,0\r\nab\r\n0\r\n\r\n"),
        ("an equals sign", "2=a\r\nab\r\n0\r\n\r\n"),
        ("a letter too far", "2g\r\nab\r\n0\r\n\r\n"),
        ("none", ";a=b\r\nab\r\n0\r\n\r\n"),
        ("more than 64 bits", "FFFFFFFFFFFFFFFFF\r\nab\r\n0\r\n\r\n"),
        ("64 bits", "ffffffffffffffff\r\nab\r\n0\r\n\r\n"),
        ("63 bits and one", "8000000000000000\r\nab\r\n0\r\n\r\n"),
        ("two of more than 32 bits", "100000002\r\nab\r\n0\r\n\r\n"),
        ("two of more than 64 bits", "10000000000000002\r\nab\r\n0\r\n\r\n"),
        ("a non-breaking blank", "2\u{a0}\r\nab\r\n0\r\n\r\n"),
        ("a vertical tab", "2\u{b}\r\nab\r\n0\r\n\r\n"),
        ("a NUL in an extension", "2;a\0\r\nab\r\n0\r\n\r\n"),
        ("a line feed in an extension", "2;a\nab\r\n0\r\n\r\n"),
        ("a carriage return in an extension", "2;a\rb\r\nab\r\n0\r\n\r\n"),
        ("a line end in a quoted extension", "2;a=\"\r\nab\"\r\n0\r\n\r\n"),
        ("size ends in a line feed", "2\nab\r\n0\r\n\r\n"),
        ("size ends in a carriage return", "2\rab\r\n0\r\n\r\n"),
        ("size ends in two carriage returns", "2\r\r\nab\r\n0\r\n\r\n"),
        ("data ends in a line feed", "2\r\nab\n0\r\n\r\n"),
        ("data ends in a carriage return", "2\r\nab\r0\r\n\r\n"),
        ("data ends in nothing", "2\r\nab0\r\n\r\n"),
        ("data ends in two other bytes", "2\r\nabXX0\r\n\r\n"),
        ("data ends twice", "2\r\nab\r\n\r\n0\r\n\r\n"),
        ("data begins late", "2\r\n\r\nab\r\n0\r\n\r\n"),
        ("longer than it says", "2\r\nabc\r\n0\r\n\r\n"),
        ("the last ends in line feeds", "0\n\n"),
        ("the last ends in a line feed", "0\r\n\n"),
        ("the last is two", "0\r\n0\r\n\r\n"),
        ("the last begins with a minus", "-0\r\n\r\n"),
        ("a trailer that ends in a line feed", "0\r\nx-a: b\n\r\n"),
        ("a trailer that is folded", "0\r\nx-a: b\r\n c\r\n\r\n"),
        ("a trailer without a colon", "0\r\nx-a\r\n\r\n"),
        ("a trailer without a name", "0\r\n: b\r\n\r\n"),
        ("a trailer with a blank before its colon", "0\r\nx-a : b\r\n\r\n"),
        ("a trailer with a NUL", "0\r\nx-a: \0\r\n\r\n"),
        ("a length in the trailers", "0\r\ncontent-length: 40\r\n\r\n"),
        ("a coding in the trailers", "0\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("a host in the trailers", "0\r\nhost: b\r\n\r\n"),
        ("a twin of a length in the trailers", "0\r\ncontent_length: 40\r\n\r\n"),
    ];
    let too_many_digits = format!("{long}2\r\nab\r\n0\r\n\r\n");
    let long_extension = format!("2;{}\r\nab\r\n0\r\n\r\n", "e".repeat(20_000));
    let many_extensions = format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "e".repeat(1000)).repeat(20));
    let long_trailers = format!("0\r\nx-a: {}\r\n\r\n", "t".repeat(20_000));
    let many_trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(200));
    let made = [
        ("more digits than there are", too_many_digits.as_str()),
        ("a long extension", &long_extension),
        ("many extensions", &many_extensions),
        ("long trailers", &long_trailers),
        ("many trailers", &many_trailers),
    ];
    for (row, body) in chunks.into_iter().chain(made) {
        for target in ["/first", "/trailing"] {
            let bytes = [&head.replace("/first", target), body, HIDDEN].concat();
            let answers = probe.answers(bytes.as_bytes());
            let is_served = answers.contains(" 200 ") || answers.matches("HTTP/1.1 ").count() > 1;
            probe.report.holds(format!("{row} to {target}"), answers, !is_served);
            // Half a request may have reached the upstream, and was broken off; a whole one has not.
            let seen = probe.origin.take();
            probe.report.holds(format!("{row} to {target}"), format!("{seen:?}"), seen.is_empty());
        }
    }
}

#[test]
fn what_follows_a_request_is_a_request_of_its_own() {
    let mut probe = Probe::new();
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n");
    let with = |fields: &str, body: &str| post(fields) + body;
    for (row, bytes, expected) in [
        (
            "five at once",
            ["/1", "/2", "/3", "/4", "/5"].map(get).concat(),
            vec![("/1", ""), ("/2", ""), ("/3", ""), ("/4", ""), ("/5", "")],
        ),
        (
            "more than the length",
            with("content-length: 4\r\n", &("abcd".to_string() + &get("/second"))),
            vec![("/first", "abcd"), ("/second", "")],
        ),
        (
            "a request as a body",
            with(&format!("content-length: {}\r\n", HIDDEN.len()), HIDDEN),
            vec![("/first", HIDDEN)],
        ),
        (
            "a request as a chunk",
            with("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())),
            vec![("/first", HIDDEN)],
        ),
        (
            "behind the last chunk",
            with("transfer-encoding: chunked\r\n", &("0\r\n\r\n".to_string() + &get("/second"))),
            vec![("/first", ""), ("/second", "")],
        ),
        (
            "a coding in capitals",
            with("Transfer-Encoding: Chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
            vec![("/first", "ab")],
        ),
        (
            "a GET with a body",
            format!("GET /first HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            vec![("/first", HIDDEN)],
        ),
        (
            "a DELETE with chunks",
            "DELETE /first HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n".into(),
            vec![("/first", "ab")],
        ),
        (
            "the length is named in Connection",
            with("connection: content-length\r\ncontent-length: 4\r\n", "abcd"),
            vec![("/first", "abcd")],
        ),
        (
            "the coding is named in Connection",
            with("connection: transfer-encoding\r\ntransfer-encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
            vec![("/first", "ab")],
        ),
        (
            "the host is named in Connection",
            with("connection: host\r\ncontent-length: 2\r\n", "ab"),
            vec![("/first", "ab")],
        ),
        (
            "a forbidden name in Trailer",
            with("trailer: content-length\r\ntransfer-encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
            vec![("/first", "ab")],
        ),
        ("an empty line before", format!("\r\n{}", get("/first")), vec![("/first", "")]),
        (
            "an empty line between",
            format!("{}\r\n{}", with("content-length: 2\r\n", "ab"), get("/second")),
            vec![("/first", "ab"), ("/second", "")],
        ),
        (
            "an upgrade with a body",
            with("connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n", "ab"),
            vec![("/first", "ab")],
        ),
        (
            "h2c with settings",
            format!(
                "GET /first HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n{}",
                get("/second")
            ),
            vec![("/first", ""), ("/second", "")],
        ),
        ("an absolute form", "GET http://a/first HTTP/1.1\r\nhost: a\r\n\r\n".into(), vec![("/first", "")]),
    ] {
        probe.seen_as(row, bytes, &expected);
    }
    for (row, bytes) in [
        ("garbage behind a body", post("content-length: 2\r\n") + "ab" + "garbage\r\n\r\n"),
        ("a preface behind a body", post("content-length: 2\r\n") + "ab" + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a NUL behind a body", post("content-length: 2\r\n") + "ab" + "\0"),
    ] {
        let answers = probe.answers([&bytes, HIDDEN].concat().as_bytes());
        let counts = (answers.matches("HTTP/1.1 200").count(), answers.matches("HTTP/1.1 ").count());
        probe.report.equal(format!("{row}: {answers}"), counts, (1, 2));
        let seen: Vec<_> = probe.origin.take().iter().map(|seen| seen.target().to_string()).collect();
        probe.report.equal(row, seen, vec!["/first".to_string()]);
    }
}

#[test]
fn the_body_of_a_refused_request_is_no_request_whatever_it_was_refused_for() {
    let mut probe = Probe::new();
    let length = HIDDEN.len();
    for (row, head) in [
        ("no key", format!("POST /closed HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")),
        ("no key, in chunks", "POST /closed HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".into()),
        (
            "a wrong key",
            format!("POST /closed HTTP/1.1\r\nhost: a\r\nx-api-key: nobody\r\ncontent-length: {length}\r\n\r\n"),
        ),
        (
            "waits to be told",
            format!("POST /closed HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"),
        ),
        (
            "a path that reads in two ways",
            format!("POST /a/%2e%2e/b HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"),
        ),
        ("a method that is never served", format!("TRACE / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")),
        (
            "an expectation that nobody knows",
            format!("POST /closed HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\ncontent-length: {length}\r\n\r\n"),
        ),
        (
            "OPTIONS for nothing in particular",
            format!("OPTIONS * HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n"),
        ),
    ] {
        let body =
            if head.contains("chunked") { format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n") } else { HIDDEN.to_string() };
        for at_once in [true, false] {
            let row = format!("{row}, {}", if at_once { "at once" } else { "after the answer" });
            let mut caller = Caller::connect(probe.gateway.address());
            let first = if at_once { [head.as_str(), &body].concat() } else { head.clone() };
            caller.send(first);
            let answer = caller.try_response("POST").map(|response| response.verdict()).unwrap_or_default();
            probe.report.holds(&row, &answer, answer.starts_with('4'));
            if !at_once {
                caller.send(&body);
            }
            caller.send("GET /next HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
            let rest = String::from_utf8_lossy(&caller.read_to_end()).into_owned();
            let seen: Vec<_> = probe.origin.take().iter().map(|seen| seen.target().to_string()).collect();
            probe.report.holds(&row, format!("{seen:?} {rest}"), seen.is_empty() || seen == ["/next"]);
        }
    }
}

#[test]
fn an_expectation_changes_nothing_about_where_a_request_ends() {
    let mut probe = Probe::new();
    for value in
        ["100-continue", "100-Continue", "100-continue, 100-continue", "", "x", "100", "200-ok", "100-continue;q=1"]
    {
        let bytes = post(&format!("expect: {value}\r\ncontent-length: {}\r\n", HIDDEN.len()))
            + HIDDEN
            + "GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        let answers = probe.answers(bytes.as_bytes());
        let seen: Vec<_> = probe.origin.take().iter().map(|seen| seen.target().to_string()).collect();
        let is_whole = seen == ["/first", "/last"];
        let is_refused =
            seen.is_empty() && (answers.starts_with("HTTP/1.1 417") || answers.starts_with("HTTP/1.1 400"));
        probe.report.holds(format!("expect: {value}"), format!("{seen:?} {answers}"), is_whole || is_refused);
        if value == "100-continue" {
            probe.report.holds(value, answers, is_whole);
        }
    }
    let twice = post("expect: 100-continue\r\nexpect: 100-continue\r\ncontent-length: 2\r\n") + "ab";
    probe.seen_as("twice", twice, &[("/first", "ab")]);
    let nothing = post("expect: 100-continue\r\ncontent-length: 0\r\n");
    probe.seen_as("with nothing to wait for", nothing, &[("/first", "")]);
}

#[test]
fn a_host_that_two_readers_could_read_differently_is_refused() {
    let mut probe = Probe::new();
    for value in [
        "", " ", "a,b", "a, b", "u@a", "u:p@a", "a b", "a\tb", "a/b", "/a", "http://a", "a?b", "a#b", "a:b", "a:80:80",
        "a:99999", "a:-1", "a: 80", "[::1", "::1", "[a]", "[::1]x", "a\\b", "a\0", "a\u{e9}", "a%00b", "\"a\"", "<a>",
        "a;b", "{a}", "a|b", "a^b",
    ] {
        probe.refused(&format!("host {value:?}"), format!("GET / HTTP/1.1\r\nhost: {value}\r\n\r\n"));
    }
    for (row, fields) in [
        ("none", ""),
        ("twice the same", "host: a\r\nhost: a\r\n"),
        ("two", "host: a\r\nhost: b\r\n"),
        ("two, in capitals", "host: a\r\nHOST: b\r\n"),
        ("an empty one first", "host:\r\nhost: a\r\n"),
        ("folded", "host: a\r\n b\r\n"),
        ("a blank before the colon", "host : a\r\n"),
        ("a blank before the name", "x-a: b\r\n host: a\r\n"),
    ] {
        probe.refused(row, format!("GET / HTTP/1.1\r\n{fields}\r\n"));
    }
    for (target, host) in [
        ("http://b/", "a"),
        ("http://a:81/", "a"),
        ("http://a.b/", "a"),
        ("http://u@a/", "a"),
        ("http://a/", "a:81"),
        ("//a/", ""),
    ] {
        probe.refused(&format!("{target} for {host}"), format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
    }
}
