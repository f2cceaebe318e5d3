use std::net::{IpAddr, Ipv4Addr};
use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn record<'a>() -> AccessRecord<'a> {
    AccessRecord {
        time: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        request_id: "0190-a",
        trace_id: None,
        client_address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        method: "GET",
        host: b"api.example.com",
        path: b"/orders/1",
        protocol: "HTTP/1.1",
        status: 401,
        code: Some("credential_missing"),
        endpoint: None,
        rule_place: None,
        client_id: None,
        client_type: None,
        key_id: None,
        credential_source: None,
        upstream: None,
        server: None,
        duration: Duration::from_micros(1_234_567),
        upstream_duration: None,
        bytes_in: 0,
        bytes_out: 17,
        user_agent: None,
        referer: None,
    }
}

fn full<'a>() -> AccessRecord<'a> {
    AccessRecord {
        trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
        status: 200,
        code: None,
        endpoint: Some("orders"),
        rule_place: Some("gateway.yaml:12"),
        client_id: Some("acme"),
        client_type: Some("partner"),
        key_id: Some("key_1"),
        credential_source: Some("x-api-key"),
        upstream: Some("backend"),
        server: Some("10.0.0.1:80"),
        upstream_duration: Some(Duration::from_micros(900)),
        bytes_in: 5,
        user_agent: Some(b"curl/8"),
        referer: Some(b"https://me:pw@shop.example.com/cart?key=1#top"),
        ..record()
    }
}

#[test]
fn a_line_of_json_has_dotted_names_and_leaves_out_what_is_not_known() {
    assert_eq!(
        String::from_utf8(line::json(&full(), &Masks::default())).unwrap(),
        concat!(
            r#"{"time":"2023-11-14T22:13:20.123Z","request.id":"0190-a","trace.id":"4bf92f3577b34da6a3ce929d0e0e4736","#,
            r#""client.address":"192.0.2.7","request.method":"GET","request.host":"api.example.com","#,
            r#""request.path":"/orders/1","request.protocol":"HTTP/1.1","response.status":200,"endpoint.name":"orders","#,
            r#""rule.place":"gateway.yaml:12","client.id":"acme","client.type":"partner","key.id":"key_1","#,
            r#""credential.source":"x-api-key","upstream.name":"backend","upstream.server":"10.0.0.1:80","#,
            r#""duration_seconds":1.234567,"upstream.duration_seconds":0.000900,"request.bytes":5,"response.bytes":17,"#,
            r#""user_agent":"curl/8","referer":"https://shop.example.com/cart"}"#,
            "\n"
        )
    );
    assert_eq!(
        String::from_utf8(line::json(&record(), &Masks::default())).unwrap(),
        concat!(
            r#"{"time":"2023-11-14T22:13:20.123Z","request.id":"0190-a","client.address":"192.0.2.7","#,
            r#""request.method":"GET","request.host":"api.example.com","request.path":"/orders/1","#,
            r#""request.protocol":"HTTP/1.1","response.status":401,"code":"credential_missing","#,
            r#""duration_seconds":1.234567,"request.bytes":0,"response.bytes":17}"#,
            "\n"
        )
    );
}

#[test]
fn the_combined_format_is_apaches() {
    let shown = |record: &AccessRecord<'_>| String::from_utf8(line::combined(record, &Masks::default())).unwrap();
    assert_eq!(
        shown(&full()),
        "192.0.2.7 - acme [14/Nov/2023:22:13:20 +0000] \"GET /orders/1 HTTP/1.1\" 200 17 \
         \"https://shop.example.com/cart\" \"curl/8\"\n"
    );
    assert_eq!(
        shown(&AccessRecord { path: b"/a\" b\r\n\\\xff", user_agent: Some(b"\x1b[2J\""), ..record() }),
        "192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] \"GET /a\\\"\\x20b\\x0d\\x0a\\\\\\xef\\xbf\\xbd HTTP/1.1\" 401 17 \
         \"-\" \"\\x1b[2J\\\"\"\n"
    );
}

#[test]
fn query_fragment_and_user_never_reach_the_log() {
    for (url, expected) in [
        ("https://u:p@h/a?b#c", "https://h/a"),
        ("https://u:p@x@h/a", "https://h/a"),
        ("//u@h", "//h"),
        ("u:p@h/a", "h/a"),
        ("https://h/a@b", "https://h/a@b"),
        ("https://h\\u@i/", "https://h\\u@i/"),
        ("?secret", ""),
        ("", ""),
    ] {
        assert_eq!(String::from_utf8(line::without_user_and_query(url.as_bytes())).unwrap(), expected, "{url}");
    }
    assert_eq!(line::path_only(b"/a?key=1"), b"/a");
    assert_eq!(line::path_only(b"/a#b?c"), b"/a");
}

#[test]
fn a_key_in_a_text_that_the_caller_chose_is_masked_also_where_the_text_is_cut() {
    let masks = Masks::default();
    masks.set(["kg_live_"]);
    let secret = "Zq3vXw9Lk2Jh5Gf8Ds1Az4Xc7Vb0Nm6Q";
    let key = format!("kg_live_{secret}");
    for padding in [0, 1, line::MAX_TEXT_BYTES - 20, line::MAX_TEXT_BYTES - 8, line::MAX_TEXT_BYTES] {
        let text = format!("/{}{key}", "a/".repeat(padding / 2));
        let record = AccessRecord {
            method: &text,
            host: text.as_bytes(),
            path: text.as_bytes(),
            user_agent: Some(text.as_bytes()),
            referer: Some(text.as_bytes()),
            ..full()
        };
        for line in [line::json(&record, &masks), line::combined(&record, &masks)] {
            let line = String::from_utf8(line).unwrap();
            assert!(!line.contains(&secret[..4]), "{padding}: {line}");
            assert!(line.len() < 6 * line::MAX_TEXT_BYTES, "{padding}");
        }
    }
}

/// What a parser must give back for bytes that were put in.
fn expected(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).into_owned();
    if text.len() <= line::MAX_TEXT_BYTES {
        return text;
    }
    let end = (0..=line::MAX_TEXT_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap();
    format!("{}...", &text[..end])
}

fn wire_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        // The characters that matter, thick on the ground.
        proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\\'), Just(b'\n'), Just(b'\r'), Just(0), Just(b'{'), Just(b'u'), Just(0xe2)],
            0..40
        ),
        ".{0,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 2000..2200),
    ]
}

proptest! {
    /// Whatever is put in, one valid line comes out, and a parser gives back what was put in.
    #[test]
    fn any_bytes_in_any_field_are_one_line_that_parses_back(
        texts in proptest::array::uniform12(".{0,30}"),
        wire in proptest::array::uniform4(wire_bytes()),
        numbers in any::<(u64, u64, u16, u64)>(),
    ) {
        let record = AccessRecord {
            time: UNIX_EPOCH + Duration::from_millis(numbers.3 >> 12),
            request_id: &texts[0],
            trace_id: Some(&texts[1]),
            client_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            method: "GET",
            host: &wire[0],
            path: &wire[1],
            protocol: &texts[2],
            status: numbers.2,
            code: Some(&texts[3]),
            endpoint: Some(&texts[4]),
            rule_place: Some(&texts[5]),
            client_id: Some(&texts[6]),
            client_type: Some(&texts[7]),
            key_id: Some(&texts[8]),
            credential_source: Some(&texts[9]),
            upstream: Some(&texts[10]),
            server: Some(&texts[11]),
            duration: Duration::from_nanos(numbers.3),
            upstream_duration: Some(Duration::MAX),
            bytes_in: numbers.0,
            bytes_out: numbers.1,
            user_agent: Some(&wire[2]),
            referer: Some(&wire[3]),
        };

        let bytes = line::json(&record, &Masks::default());

        prop_assert_eq!(bytes.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert_eq!(bytes.last(), Some(&b'\n'));
        prop_assert!(!bytes[..bytes.len() - 1].iter().any(u8::is_ascii_control));
        let shown: Value = serde_json::from_slice(&bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut fields = vec![
            ("request.host", expected(&wire[0])),
            ("request.path", expected(line::path_only(&wire[1]))),
            ("user_agent", expected(&wire[2])),
            ("referer", expected(&line::without_user_and_query(&wire[3]))),
        ];
        fields.extend([
            "request.id", "trace.id", "request.protocol", "code", "endpoint.name", "rule.place", "client.id",
            "client.type", "key.id", "credential.source", "upstream.name", "upstream.server",
        ].into_iter().zip(texts.iter().cloned()));
        for (name, text) in fields {
            let shown = shown.get(name).map_or(Some(""), Value::as_str);
            prop_assert_eq!(shown, Some(text.as_str()), "{}", name);
        }
        prop_assert_eq!(shown["response.bytes"].as_u64(), Some(numbers.1));
        prop_assert_eq!(shown["response.status"].as_u64(), Some(u64::from(numbers.2)));

        let combined = line::combined(&record, &Masks::default());
        prop_assert_eq!(combined.iter().filter(|byte| **byte == b'\n').count(), 1);
        prop_assert!(combined[..combined.len() - 1].iter().all(|byte| matches!(byte, b' '..=b'~')));
        // Six quotes that are not behind a backslash: three fields, and nothing that looks like more.
        let text = String::from_utf8_lossy(&combined).replace("\\\\", "").replace("\\\"", "");
        prop_assert_eq!(text.matches('"').count(), 6, "{}", text);
    }
}

#[test]
fn lines_reach_the_file_and_a_rotation_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::open(Destination::File(path.clone()), Format::Json, Masks::default()).unwrap();
    assert!(log.is_on());

    log.record(&record());
    assert!(log.flush(Duration::from_secs(10)));
    std::fs::rename(&path, folder.path().join("access.log.1")).unwrap();
    log.reopen();
    for _ in 0..3 {
        log.record(&full());
    }
    assert!(log.flush(Duration::from_secs(10)));

    let lines = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap().lines().count();
    assert_eq!((lines("access.log.1"), lines("access.log")), (1, 3));
    assert_eq!((log.written(), log.dropped()), (4, 0));
}

#[test]
fn a_failed_reopening_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs").join("access.log");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let log = AccessLog::open(Destination::File(path.clone()), Format::Json, Masks::default()).unwrap();
    let moved = folder.path().join("moved");
    std::fs::rename(path.parent().unwrap(), &moved).unwrap();

    log.reopen();
    log.record(&record());
    assert!(log.flush(Duration::from_secs(10)));

    assert_eq!(std::fs::read_to_string(moved.join("access.log")).unwrap().lines().count(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("access.log");
    let error = AccessLog::open(Destination::File(path.clone()), Format::Json, Masks::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot open the access log {}", path.display()));
}

#[test]
fn a_log_that_is_off_costs_nothing_and_says_so() {
    let log = AccessLog::open(Destination::Off, Format::Json, Masks::default()).unwrap();
    log.record(&record());
    log.reopen();
    assert!(log.flush(Duration::ZERO));
    assert_eq!((log.is_on(), log.written(), log.dropped()), (false, 0, 0));
}

/// A pipe that nobody reads stands for a disk that hangs.
#[test]
fn a_writer_that_hangs_never_holds_up_a_request_and_losses_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let status = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(status.success());
    // Open for both, or opening the other end would wait for us.
    let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let log = AccessLog::open(Destination::File(path), Format::Json, Masks::default()).unwrap();
    const LINES: u64 = 30_000;

    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for _ in 0..LINES {
        let before = Instant::now();
        log.record(&full());
        longest = longest.max(before.elapsed());
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(log.dropped() > 10_000, "{}", log.dropped());
    assert!(!log.flush(Duration::from_millis(20)), "nobody reads");

    // Somebody reads again: what was waiting comes through, and every line is accounted for.
    std::thread::spawn(move || {
        let mut reader = reader;
        let mut bytes = [0; 65536];
        while io::Read::read(&mut reader, &mut bytes).is_ok() {}
    });
    assert!(log.flush(Duration::from_secs(20)));
    assert_eq!(log.written() + log.dropped(), LINES);
}

#[test]
fn what_was_recorded_is_written_when_the_last_handle_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let log = AccessLog::open(Destination::File(path.clone()), Format::Combined, Masks::default()).unwrap();
    for _ in 0..100 {
        log.clone().record(&full());
    }
    drop(log);
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::fs::read_to_string(&path).unwrap().lines().count() < 100 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Not a benchmark: a guard against an accident of another order of magnitude. Prints what it measured.
#[test]
fn making_a_line_is_cheap() {
    const TIMES: u32 = 20_000;
    let masks = Masks::default();
    masks.set(["kg_live_", "kg_test_", "kg_"]);
    let agent =
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36";
    let record = AccessRecord { user_agent: Some(agent), ..full() };
    let began = Instant::now();
    let bytes: usize = (0..TIMES).map(|_| line::json(&record, &masks).len()).sum();
    let each = began.elapsed() / TIMES;
    println!("json(): {each:?} for {} bytes", bytes / TIMES as usize);
    assert!(each < Duration::from_micros(200), "{each:?}");
}
