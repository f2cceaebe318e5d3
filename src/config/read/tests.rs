use std::time::Duration;

use super::*;
use crate::config::tree::parse;

shape! {
    /// A shape for tests.
    Sample {
        /// Required.
        name: String,
        /// Optional.
        r#type: Option<At<u32>>,
        /// Optional.
        allow: Option<ExpressionText>,
    }
    gone { "acl" => "write `allow`" }
}

fn read<T: Shape>(text: &str) -> (Option<T>, Vec<String>) {
    let mut report = Report::default();
    report.add_source("f".into(), None);
    let read = T::read(&parse(text, 0).expect("yaml"), &mut report);
    (read, report.finish().list().iter().map(ToString::to_string).collect())
}

#[test]
fn every_mistake_in_a_map_is_reported_at_once() {
    let (sample, problems) = read::<Sample>("type: x\ntipe: 1\ntype: 2\nacl: y\nallow: !groups.x\n");
    assert!(sample.is_none());
    assert_eq!(
        problems,
        [
            "f:1:1: the field `name` is missing",
            "f:1:7: expected a whole number, found a text",
            "f:2:1: unknown field `tipe` (help: did you mean `type`?)",
            "f:3:1: `type` stands twice in this map (help: first at f:1)",
            "f:4:1: `acl` is not understood here (help: write `allow`)",
            "f:5:8: an expression that begins with `!` must be quoted: YAML takes it for a tag \
             (help: put the whole expression in quotes: \"!groups.x\")",
        ]
    );
}

#[test]
fn what_may_be_a_key_is_repeated_by_no_hint() {
    let (_, problems) = read::<Sample>("type: x\nname: n\nallow: !0123456789abcdefghij\n");
    assert!(!problems.is_empty() && !problems.join("\n").contains("0123456789abcdefghij"), "{problems:?}");
}

#[test]
fn a_map_that_could_not_be_read_whole_says_so() {
    let (sample, problems) = read::<Sample>("name: x\ntype: 4294967296\n");
    let sample = sample.expect("its required field is there");
    assert!(sample.is_broken && sample.r#type.is_none() && sample.allow.is_none());
    assert_eq!(problems, ["f:2:7: 4294967296 is more than 4294967295"]);
}

#[test]
fn durations() {
    for (text, millis) in [
        ("500ms", Some(500)),
        ("10s", Some(10_000)),
        ("1m30s", Some(90_000)),
        ("1h 5m", Some(3_900_000)),
        ("7d", Some(604_800_000)),
        ("10", None),
        ("s", None),
        ("", None),
        ("0s", None),
        ("-1s", None),
        ("1.5s", None),
        ("1w", None),
        ("99999999999999999999s", None),
        ("18446744073709551615d", None),
        ("36500d", None),
    ] {
        let expected = millis.map(|millis| Span(Duration::from_millis(millis)));
        assert_eq!(Span::from_text(text).ok(), expected, "{text:?}");
    }
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("512", Some(512)),
        ("32KiB", Some(32_768)),
        ("10 MiB", Some(10 << 20)),
        ("1GB", Some(1_000_000_000)),
        ("kib", None),
        ("1kib", None),
        ("1.5MiB", None),
        ("17179869184GiB", None),
        ("-1", None),
    ] {
        let (size, problems) = read::<ByteSize>(&format!("{text}\n"));
        assert_eq!(size.map(|size| size.0), bytes, "{text:?}");
        assert_eq!(problems.is_empty(), bytes.is_some(), "{text:?}");
    }
}

#[test]
fn methods_networks_and_moments() {
    for (text, good) in [
        ("GET", true),
        ("PROPFIND", true),
        ("get", false),
        ("FETCH", false),
        ("POSTT", false),
        ("CONNECT", false),
        ("A B", false),
    ] {
        assert_eq!(Verb::from_text(text).is_ok(), good, "{text}");
    }
    for (text, good) in
        [("10.0.0.0/8", true), ("10.1.2.3", true), ("::1", true), ("10.1.2.3/8", false), ("10/8", false)]
    {
        assert_eq!(Network::from_text(text).is_ok(), good, "{text}");
    }
    for (text, good) in
        [("2030-01-31T00:00:00Z", true), ("2030-01-31T00:00:00+02:00", true), ("2030-01-31", false), ("soon", false)]
    {
        assert_eq!(Moment::from_text(text).is_ok(), good, "{text}");
    }
}

#[test]
fn a_number_is_not_taken_for_a_text() {
    let (name, problems) = read::<String>("007");
    assert!(name.is_some() && problems.is_empty(), "YAML itself takes it for a text");
    let (name, problems) = read::<String>("17");
    assert!(name.is_none());
    assert_eq!(problems, ["f:1:1: expected a text, found a number (help: put quotes around it)"]);
}
