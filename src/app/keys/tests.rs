use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::config::{self, Source};
use crate::credential::{KeyDigest, Secret};
use crate::keys::testing::client;
use crate::keys::{KeyOrigin, KeyRecord, KeyRecords as _, Reconciled, SecretRecord, Timestamp};
use crate::store::{NewClient, NewKey, StoreError, Writer};

const TWO_FILES: &str = "upstreams: { e: { echo: true } }\n\
    keys: { files: [keys.jsonl, more.jsonl] }\n\
    clients: [{ id: yaml, client_type: partner, keys: [{ id: in_yaml, name: in yaml, digest: DIGEST }] }]\n\
    endpoints: [{ name: all, path: /, client_types: [partner] }]\n";

fn digest(plain: &str) -> String {
    KeyDigest::blake3(&Secret::borrowed(plain.as_bytes())).to_string()
}

/// The line of a key that is called like its id, and whose secret is the same word.
fn line(id: &str, more: &str) -> String {
    format!("{{\"client\":\"c\",\"client_type\":\"partner\",\"id\":\"{id}\",\"digest\":\"{}\"{more}}}\n", digest(id))
}

/// Many lines, so that they are more than one block.
fn many() -> String {
    (0..4_000).map(|number| line(&format!("key_{number}"), "")).collect()
}

/// Writes into a file that is there, as somebody does who knows no better.
fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
}

fn load(folder: &Path) -> Loaded {
    write(folder, "gateway.yaml", &TWO_FILES.replace("DIGEST", &format!("\"{}\"", digest("in_yaml"))));
    config::load(&Source::File(folder.join("gateway.yaml")), 1).unwrap_or_else(|problems| panic!("{problems}"))
}

fn files(loaded: &Loaded) -> FileKeys<'_> {
    FileKeys { clients: loaded.keys.clients(), keys: &loaded.keys }
}

fn managed(loaded: &Loaded, store: Option<&Path>) -> Management {
    let store = management::open_store(store).unwrap();
    Management::new(store, Arc::new(KeyTable::new()), issuing(&loaded.issuing, &loaded.snapshot))
}

/// Puts a client into the store, which has something of its own then; its number.
fn own_client(writer: &Writer<'_>) -> Result<i64, StoreError> {
    writer.add_client(&NewClient { client: client("own", "cms"), origin: KeyOrigin::Store, disabled: None })
}

/// Each copy in the store is what its file says, and there are no others.
fn copies_are(management: &Management, records: &[KeyRecord]) {
    for record in records {
        let copy = management.key(record.key.id.as_str()).unwrap();
        let origin = copy.key.origin;
        let found = copy.for_table();
        assert_eq!((&found.key, origin), (&record.key, KeyOrigin::File));
        assert_eq!(
            (&copy.key.name, copy.key.description.as_deref()),
            (&record.name.to_string(), record.description.as_deref())
        );
        let ends = |secrets: &[SecretRecord]| -> HashMap<_, _> {
            secrets.iter().map(|secret| (secret.digest, secret.valid_until)).collect()
        };
        assert_eq!(ends(&found.secrets), ends(&record.secrets), "{}", record.key.id);
    }
    let counts = management.counts(Timestamp::from(std::time::SystemTime::now())).unwrap();
    let counted = counts.active + counts.disabled + counts.expired + counts.not_yet_valid;
    assert_eq!(usize::try_from(counted).unwrap(), records.len());
}

#[test]
fn what_few_keys_have_is_in_the_copy_as_it_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = many();
    let (first, second) = (digest("rotated"), digest("new"));
    for (id, more) in [
        ("to_come", ",\"not_before\":\"2199-01-01T00:00:00Z\",\"expires_at\":\"2200-01-01T00:00:00Z\""),
        ("ends", ",\"valid_until\":\"2199-01-01T00:00:00Z\""),
        ("an_id_that_is_longer_than_twenty_two_bytes", ",\"description\":\"for \\\"all\\\"\""),
        ("named", ",\"name\":\"a name of its own\",\"type\":\"publishable\",\"origins\":[\"https://a.example\"]"),
        ("bounded", ",\"networks\":[\"10.0.0.0/8\"],\"permissions\":[\"orders.read\"],\"environment\":\"live\""),
        ("off", ",\"active\":false"),
    ] {
        text.push_str(&line(id, more));
    }
    writeln!(
        text,
        "{{\"client\":\"d\",\"client_type\":\"partner\",\"tenant\":\"t\",\"id\":\"two_secrets\",\"secrets\":\
         [{{\"digest\":\"{first}\",\"valid_until\":\"2199-01-01T00:00:00Z\"}},{{\"digest\":\"{second}\"}}]}}"
    )
    .unwrap();
    text.push_str("{\"client\":\"d\",\"client_type\":\"partner\",\"tenant\":\"t\",\"id\":\"none\",\"active\":false}");
    write(folder.path(), "keys.jsonl", &text);
    write(folder.path(), "more.jsonl", "\n");
    let loaded = load(folder.path());
    let records = loaded.keys.read_all().unwrap();
    assert_eq!((records.len(), loaded.keys.len()), (4_009, 4_009));
    assert_eq!(loaded.keys.counts().disabled, 2);
    // The table says the same, as far as it says anything.
    for record in &records {
        for secret in &record.secrets {
            let entry = loaded.table.find(&secret.digest).unwrap();
            assert_eq!((&entry.key, entry.valid_until), (&record.key, secret.valid_until));
        }
    }
    for store in [None, Some(folder.path().join("keys.db"))] {
        let management = managed(&loaded, store.as_deref());
        assert_eq!(management.take_files(files(&loaded)).unwrap(), Copied::Whole);
        copies_are(&management, &records);
    }
}

#[test]
fn lines_that_come_change_and_go_are_followed_by_table_and_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (kept, moved) = (line("kept", ""), line("moved", ""));
    write(folder.path(), "more.jsonl", &(line("gone", "") + &line("changed", "") + &kept));
    write(folder.path(), "keys.jsonl", &(many() + &moved));
    let mut loaded = load(folder.path());
    let table = std::mem::take(&mut loaded.table);
    let store = folder.path().join("keys.db");
    let management = managed(&loaded, Some(&store));
    management.take_files(files(&loaded)).unwrap();
    copies_are(&management, &loaded.keys.read_all().unwrap());
    let number = |id: &str| management.key(id).unwrap().key.number;
    let before = [number("kept"), number("moved"), number("key_3999")];

    write(folder.path(), "more.jsonl", &(line("changed", ",\"active\":false") + &moved + &kept + &line("new", "")));
    // What another key was called may be said of a new one.
    write(folder.path(), "keys.jsonl", &(many() + &line("another", ",\"name\":\"gone\"")));
    let mut loaded = load(folder.path());
    let wanted = std::mem::take(&mut loaded.table);
    let difference = table.difference(wanted);
    let found = |plain: &str| table.lookup(&Secret::borrowed(plain.as_bytes())).map(|entry| entry.key.active);
    assert_eq!(["gone", "changed", "new"].map(found), [Some(true), Some(true), None]);
    assert_eq!(table.apply(difference), Reconciled { added: 2, changed: 1, removed: 1 });
    assert_eq!(
        ["gone", "changed", "new", "kept", "key_0"].map(found),
        [None, Some(false), Some(true), Some(true), Some(true)]
    );
    assert_eq!(management.take_files(files(&loaded)).unwrap(), Copied::Whole);
    copies_are(&management, &loaded.keys.read_all().unwrap());
    assert_eq!(before, [number("kept"), number("moved"), number("key_3999")], "what stays is left alone");
    // The client of YAML is part of what was copied, and of how it is known again.
    let digest = loaded.keys.digest();
    assert_eq!(load(folder.path()).keys.digest(), digest);
}

#[test]
fn a_file_that_has_changed_since_is_neither_copied_nor_compared() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "more.jsonl", &line("more", ""));
    // In the first block, in the last one, longer, shorter.
    let (first, last) = (many().replace("key_0\"", "KEY_0\""), many().replace("key_3999\"", "KEY_3999\""));
    let shorter = many().split_inclusive('\n').take(3_500).collect();
    let changes = [first, last, many() + &line("added", ""), shorter, String::new()];
    for (round, changed) in changes.into_iter().enumerate() {
        let store = folder.path().join(format!("{round}.db"));
        write(folder.path(), "keys.jsonl", &many());
        let loaded = load(folder.path());
        let permanent = managed(&loaded, Some(&store));
        permanent.store().write(Timestamp::from_millis(0), own_client).unwrap();
        assert!(fits(&permanent, &loaded).is_ok());
        write(folder.path(), "keys.jsonl", &changed);
        let problems = fits(&permanent, &loaded).unwrap_err().to_string();
        assert!(problems.contains("keys.jsonl` was changed while it was read"), "{problems}");
        for management in [permanent, managed(&loaded, None)] {
            let Copied::GivenUp(why) = management.take_files(files(&loaded)).unwrap() else { panic!("it was copied") };
            assert!(why.file.ends_with("keys.jsonl"));
            // Nothing of what the file says by now was seen.
            for id in ["KEY_0", "KEY_3999", "added"] {
                assert!(management.key(id).is_err(), "{id}");
            }
        }
        // The next load brings what there is.
        let loaded = load(folder.path());
        let management = managed(&loaded, Some(&store));
        assert_eq!(management.take_files(files(&loaded)).unwrap(), Copied::Whole);
        copies_are(&management, &loaded.keys.read_all().unwrap());
    }
    // A file that another one took the place of is still what it was to those who have it open.
    write(folder.path(), "keys.jsonl", &many());
    let loaded = load(folder.path());
    write(folder.path(), "next.jsonl", "");
    fs::rename(folder.path().join("next.jsonl"), folder.path().join("keys.jsonl")).unwrap();
    assert_eq!(managed(&loaded, None).take_files(files(&loaded)).unwrap(), Copied::Whole);
}

#[test]
fn a_key_of_lines_that_the_store_has_too_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "keys.jsonl", &many());
    write(folder.path(), "more.jsonl", &format!("\n\n{}", line("both", "")));
    let loaded = load(folder.path());
    let management = managed(&loaded, Some(&folder.path().join("keys.db")));
    let both = loaded.keys.read_all().unwrap().pop().unwrap();
    let write_own = |writer: &Writer<'_>| {
        let client = own_client(writer)?;
        let new = NewKey {
            id: both.key.id.clone(),
            client,
            tenant: None,
            origin: KeyOrigin::Store,
            name: "own".to_owned(),
            description: None,
            key_type: both.key.key_type,
            environment: None,
            disabled: None,
            not_before: None,
            expires_at: None,
            grants: both.key.grants.clone(),
            networks: Vec::new(),
            origins: Vec::new(),
            plan: None,
            created_by: "test".to_owned(),
            visible: None,
        };
        writer.add_key(&new, &[])?;
        Ok::<_, StoreError>(())
    };
    management.store().write(Timestamp::from_millis(0), write_own).unwrap();
    let problems = fits(&management, &loaded).unwrap_err().to_string();
    assert!(problems.contains("more.jsonl:3"), "{problems}");
    assert!(problems.contains("a key of the store has the id `both` too"), "{problems}");
}
