use super::*;

/// Every other way to read a path, as a sorted list.
fn readings(raw: &str) -> Vec<String> {
    let path = CanonicalPath::parse(raw).unwrap_or_else(|error| panic!("{raw:?}: {error}"));
    let mut readings = Vec::new();
    let verdict = every_reading(&path, |reading| {
        readings.push(reading.to_owned());
        true
    });
    assert_eq!(verdict, Ok(()), "{raw:?}");
    readings.sort_unstable();
    readings.dedup();
    readings
}

#[test]
fn what_can_be_read_in_another_way_is() {
    for (raw, others) in [
        ("/orders/Abc.json", &[][..]),
        ("/a%20b/caf%C3%A9", &[]),
        ("/100%25", &[]),
        ("/%61dmin", &["/admin"]),
        ("/%40me", &["/@me"]),
        ("/caf%c3%a9", &["/caf%C3%A9"]),
        ("/a|b", &["/a%7Cb"]),
        ("/a%2Fb", &["/a/b"]),
        ("/a%2F/b", &["/a/b"]),
        ("/admin%2F", &["/admin/"]),
        ("/admin;x/y", &["/admin/y"]),
        ("/;x/admin", &["/admin"]),
        ("/admin%3Bx", &["/admin", "/admin;x"]),
        ("/admin%3Fx/y", &["/admin"]),
        ("/admin%23", &["/admin"]),
        ("/admin.", &["/admin"]),
        ("/admin%20/x", &["/admin/x"]),
        ("/%2561", &["/%61", "/a"]),
        ("/a;b%2Fc", &["/a", "/a/c", "/a;b/c"]),
        ("/n;x%2Fy/%2Fz", &["/n/%2Fz", "/n/y/z", "/n/z", "/n;x/y/z"]),
        ("/a./b%20.", &["/a/b", "/a/b%20"]),
        ("/%61;b/%63", &["/%61/%63", "/a/c", "/a;b/c"]),
    ] {
        assert_eq!(readings(raw), others, "{raw:?}");
    }
}

#[test]
fn an_ordinary_path_is_not_read_again() {
    for raw in ["/", "/orders/7", "/Orders/a.b/..c/", "/caf%C3%A9", "/a%20b", "/100%25"] {
        assert!(!CanonicalPath::parse(raw).unwrap().traits().is_odd, "{raw}");
    }
}

#[test]
fn the_work_for_the_oddest_path_is_bounded() {
    let read = |raw: &str| {
        let mut bytes = 0;
        let verdict = every_reading(&CanonicalPath::parse(raw).unwrap(), |reading| {
            bytes += reading.len();
            true
        });
        assert!(bytes <= 3 * MOST_BYTES, "{bytes}");
        verdict
    };
    const MANY: Result<(), &str> = Err("the path can be read in too many ways");
    assert_eq!(read("/a;b%2Fc/d%40."), Ok(()));
    assert_eq!(read(&format!("/{}", "a;b%2F%61%2540%3Fc.%20/".repeat(300))), MANY);
    // Dots and blanks that are taken off in turns.
    assert_eq!(read(&format!("/a{}", ".%20".repeat(10))), Ok(()));
    assert_eq!(read(&format!("/a{}", ".%20".repeat(2000))), MANY);
    // A long path with one odd thing in it is fine.
    assert_eq!(read(&format!("/%40{}", "/a".repeat(4000))), Ok(()));
}

#[test]
fn the_first_reading_that_is_not_accepted_ends_the_search() {
    let path = CanonicalPath::parse("/a;b%2Fc").unwrap();
    let mut count = 0;
    let verdict = every_reading(&path, |_| {
        count += 1;
        false
    });
    assert_eq!((verdict, count), (Err("read in another way the path is governed by another rule"), 1));
}

#[test]
fn letters_are_folded_as_a_server_might() {
    for (segment, folded) in [
        ("admin", "admin"),
        ("AdMiN", "admin"),
        ("caf%C3%89", "caf\u{e9}"),
        ("caf%c3%a9", "caf\u{e9}"),
        ("%E2%84%AAey", "key"),
        ("u%C5%BFer", "user"),
        ("%C4%B0d", "id"),
        ("%C4%B1d", "id"),
        ("stra%C3%9Fe", "strasse"),
        ("a%20B", "a b"),
        ("%41", "%41"),
        ("%4A", "%4a"),
        ("%F0%9F%94%91", "\u{1f511}"),
    ] {
        let bytes = Folded::new(segment.as_bytes()).map(|folded| folded.as_bytes().to_vec());
        assert_eq!(bytes.as_deref(), Some(folded.as_bytes()), "{segment}");
    }
}

#[test]
fn a_segment_longer_than_any_literal_is_not_folded() {
    assert!(Folded::new(&[b'A'; MAX_LITERAL_BYTES]).is_some());
    assert!(Folded::new(&[b'A'; MAX_LITERAL_BYTES + 1]).is_none());
    // It is the folded length that counts.
    assert!(Folded::new("%C3%89".repeat(MAX_LITERAL_BYTES / 2).as_bytes()).is_some());
}
