use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::client::{Client, ClientId, ClientType, Environment, Grants, KeyType, Owner, OwnerKind, Permission, Tenant};
use crate::credential::{KeyDigest, Secret};
use crate::keys::{KeyId, KeyOrigin, LastUse, SecretTag, UsageSample};
use crate::store::{
    AuditEntry, AuditFilter, Change, ClientFilter, Disabled, KeyFilter, KeyOrder, KeyStatus, NewClient, NewDelivery,
    NewKey, NewSecret, SecretState,
};

const DAY: i64 = 86_400_000;
/// The moment at which tests happen: 2027-01-15T08:00:00Z.
const NOW: i64 = 1_800_000_000_000;

fn at(days: i64) -> Timestamp {
    Timestamp::from_millis(NOW + days * DAY)
}

fn now() -> Timestamp {
    at(0)
}

fn open(directory: &Path) -> Store {
    Store::open(Location::File(directory.join("keys.db"))).unwrap_or_else(|error| panic!("{error}"))
}

fn temporary() -> Store {
    Store::open(Location::Temporary).expect("a temporary store")
}

fn client(id: &str, client_type: &str) -> NewClient {
    let client = Client {
        id: ClientId::parse(id).expect("a word"),
        name: format!("Client {id}").into(),
        client_type: ClientType::parse(client_type).expect("a word"),
        tenant: None,
        owner: None,
        active: true,
        groups: Box::default(),
        grants: Grants::Unrestricted,
        plan: None,
        metadata: BTreeMap::new(),
    };
    NewClient { client, origin: KeyOrigin::Store, disabled: None }
}

fn key(id: &str, name: &str, client: i64) -> NewKey {
    NewKey {
        id: KeyId::parse(id).expect("a word"),
        client,
        tenant: None,
        origin: KeyOrigin::Store,
        name: name.to_owned(),
        description: None,
        key_type: KeyType::Secret,
        environment: None,
        disabled: None,
        not_before: None,
        expires_at: None,
        grants: Grants::Unrestricted,
        networks: Vec::new(),
        origins: Vec::new(),
        plan: None,
        created_by: "test".to_owned(),
        visible: None,
    }
}

fn digest(text: &str) -> KeyDigest {
    KeyDigest::blake3(&Secret::borrowed(text.as_bytes()))
}

fn secret(text: &str) -> NewSecret {
    NewSecret {
        digest: digest(text),
        mask: format!("kg_…{}", &text[text.len().saturating_sub(4)..]),
        state: SecretState::Current,
        valid_until: None,
    }
}

/// Adds a client and keys of these names, each with a secret that is its id.
fn fill(store: &Store, keys: &[NewKey]) -> Vec<i64> {
    store
        .write(now(), |writer| {
            let mut numbers = Vec::new();
            for key in keys {
                let number = writer.add_key(key, &[secret(key.id.as_str())])?;
                writer.note(Change::Keys { first: number, last: number })?;
                writer.index_key(number)?;
                numbers.push(number);
            }
            Ok::<_, StoreError>(numbers)
        })
        .expect("written")
}

fn shop(store: &Store) -> i64 {
    store.write(now(), |writer| writer.add_client(&client("shop", "cms"))).expect("written")
}

/// The ids of keys that a filter leaves.
fn ids(store: &Store, filter: &KeyFilter) -> Vec<String> {
    ordered(store, filter, KeyOrder::Created, false)
}

fn ordered(store: &Store, filter: &KeyFilter, order: KeyOrder, descending: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let page = store.read(|reader| reader.keys(filter, order, descending, cursor.as_deref(), 2, now()));
        let page = page.expect("read").expect("our own cursor");
        assert!(page.items.len() <= 2);
        found.extend(page.items.iter().map(|detail| detail.key.id.to_string()));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return found,
        }
    }
}

#[test]
fn what_was_written_is_read_back_the_same_and_by_another_process_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut wanted = client("shop", "cms");
    wanted.client.tenant = Some(Tenant::parse("acme").expect("a word"));
    wanted.client.owner = Some(Owner { kind: OwnerKind::Machine, id: "ci bot".into() });
    wanted.client.grants = Grants::listed(vec![Permission::parse("orders.write").expect("a permission")]);
    wanted.client.metadata = BTreeMap::from([("team".to_owned(), "blue \"quoted\"".to_owned())]);
    let mut full = key("key_1", "first", 1);
    full.tenant = Some("acme".to_owned());
    full.description = Some("what it is for".to_owned());
    full.key_type = KeyType::Publishable;
    full.environment = Some(Environment::parse("live").expect("a word"));
    full.disabled = Some(Disabled { at: at(-1), reason: Some("leaked".to_owned()) });
    full.not_before = Some(at(-10));
    full.expires_at = Some(at(10));
    full.grants = Grants::ReadOnly;
    full.networks = vec!["10.0.0.0/8".parse().expect("a network")];
    full.origins = vec!["https://shop.example".into()];
    store.write(now(), |writer| writer.add_client(&wanted)).expect("written");
    fill(&store, &[full.clone()]);

    let other = open(directory.path());
    for store in [&store, &other] {
        let detail = store.read(|reader| reader.key("key_1")).expect("read").expect("it is there");
        assert_eq!(*detail.client.client, wanted.client);
        let found = &detail.key;
        assert_eq!(
            (&found.name, &found.description, found.key_type, &found.environment, &found.disabled),
            (&full.name, &full.description, full.key_type, &full.environment, &full.disabled)
        );
        assert_eq!((found.not_before, found.expires_at), (full.not_before, full.expires_at));
        assert_eq!((&found.grants, &found.networks, &found.origins), (&full.grants, &full.networks, &full.origins));
        assert_eq!((found.created_at, found.created_by.as_str(), found.version), (now(), "test", 1));
        assert_eq!(detail.secrets[0].digest, digest("key_1"));
        let by_digest = store.read(|reader| reader.key_by_digest(&digest("key_1"))).expect("read");
        assert_eq!(by_digest, Some(detail.clone()));
        assert_eq!(store.read(|reader| reader.key_by_name("first", Some("acme"))).expect("read"), Some(detail));
        assert_eq!(store.read(|reader| reader.key_by_name("first", None)).expect("read"), None);
    }
}

#[test]
fn a_change_that_fails_leaves_nothing() {
    let store = temporary();
    let client = shop(&store);
    let outcome = store.write(now(), |writer| {
        writer.add_key(&key("key_1", "first", client), &[secret("one")])?;
        Err::<(), _>(StoreError::Full)
    });
    assert!(matches!(outcome, Err(StoreError::Full)));
    assert_eq!(store.read(|reader| reader.key("key_1")).expect("read"), None);
    let tried = store.try_out(now(), |writer| writer.add_key(&key("key_1", "first", client), &[secret("one")]));
    assert!(tried.is_ok());
    assert_eq!(store.read(|reader| reader.key("key_1")).expect("read"), None);
}

#[test]
fn what_must_be_there_once_cannot_be_there_twice() {
    let store = temporary();
    let number = shop(&store);
    fill(&store, &[key("key_1", "first", number)]);
    let add = |new: &NewKey, text: &str| store.write(now(), |writer| writer.add_key(new, &[secret(text)]));
    let acme = NewKey { tenant: Some("acme".to_owned()), ..key("key_5", "first", number) };
    for (new, text, expected) in [
        (key("key_1", "other", number), "other", Some(Unique::KeyId)),
        (key("key_2", "first", number), "other", Some(Unique::KeyName)),
        (key("key_3", "other", number), "key_1", Some(Unique::Digest)),
        (key("key_4", "other", number), "other", None),
        // Another tenant may use the name.
        (acme, "third", None),
    ] {
        let outcome = add(&new, text);
        match expected {
            None => assert!(outcome.is_ok(), "{new:?}"),
            Some(unique) => assert!(matches!(outcome, Err(StoreError::NotUnique(found)) if found == unique), "{new:?}"),
        }
    }
    let again = store.write(now(), |writer| writer.add_client(&client("shop", "cms")));
    assert!(matches!(again, Err(StoreError::NotUnique(Unique::ClientId))));
}

#[test]
fn a_revoked_key_frees_its_name_and_keeps_its_digest() {
    let store = temporary();
    let client = shop(&store);
    fill(&store, &[key("key_1", "first", client)]);
    let detail = store.read(|reader| reader.key("key_1")).expect("read").expect("it is there");
    store.write(at(1), |writer| writer.revoke_key(&detail)).expect("written");
    fill(&store, &[key("key_2", "first", client)]);
    let again = store.write(now(), |writer| writer.add_key(&key("key_3", "third", client), &[secret("key_1")]));
    assert!(matches!(again, Err(StoreError::NotUnique(Unique::Digest))));
    assert_eq!(ids(&store, &KeyFilter::default()), ["key_2"]);
    let revoked = KeyFilter { status: Some(KeyStatus::Revoked), ..KeyFilter::default() };
    assert_eq!(ids(&store, &revoked), ["key_1"]);
    let mut in_force = Vec::new();
    let all = store.read(|reader| reader.each_key_in_force(0, i64::MAX, |record| in_force.push(record.key.id)));
    assert_eq!(all.expect("read"), 1);
    assert_eq!(in_force[0].as_str(), "key_2");
}

#[test]
fn files_that_are_no_store_are_refused_and_left_as_they_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("x.db");
    let refused = |what: &str| -> String {
        let before = fs::read(&path).expect("our own file");
        let error = Store::open(Location::File(path.clone())).map(|_| ()).expect_err(what);
        assert_eq!(fs::read(&path).expect("our own file"), before, "{what}");
        error.to_string()
    };
    fs::write(&path, "this is not a database, but a text that is longer than the header of one would be, by far")
        .expect("written");
    assert!(refused("a text").contains("is not an SQLite database"));

    fs::remove_file(&path).expect("removed");
    Connection::open(&path).and_then(|other| other.execute_batch("CREATE TABLE t (x)")).expect("another's database");
    assert!(refused("another's").contains("another program's database"));

    fs::remove_file(&path).expect("removed");
    drop(Store::open(Location::File(path.clone())).expect("a new store"));
    let raw = Connection::open(&path).expect("opened");
    raw.pragma_update(None, "user_version", 99).expect("written");
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("written");
    drop(raw);
    assert!(refused("a newer one").contains("written by a newer keygate (its form is 99"));

    fs::remove_file(&path).expect("removed");
    let store = Store::open(Location::File(path.clone())).expect("a new store");
    let client = shop(&store);
    let many: Vec<NewKey> = (0..200).map(|n| key(&format!("key_{n}"), &format!("name {n}"), client)).collect();
    fill(&store, &many);
    drop(store);
    let raw = Connection::open(&path).expect("opened");
    raw.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("written");
    drop(raw);
    let mut bytes = fs::read(&path).expect("our own file");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8192].fill(0xa5);
    fs::write(&path, &bytes).expect("written");
    let told = refused("a damaged one");
    assert!(told.contains("is damaged") && told.contains("Restore a backup"), "{told}");

    fs::write(&path, &bytes[..4096]).expect("written");
    assert!(refused("a cut one").contains("is damaged"));
}

#[test]
fn a_file_that_others_can_write_is_refused_and_a_new_one_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    drop(open(directory.path()));
    let path = directory.path().join("keys.db");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o606)).expect("our own file");
    let error = Store::open(Location::File(path)).map(|_| ()).expect_err("others can write it");
    assert!(error.to_string().contains("chmod 600"), "{error}");
    let nowhere = directory.path().join("none").join("keys.db");
    let error = Store::open(Location::File(nowhere)).map(|_| ()).expect_err("no directory");
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[test]
fn a_backup_is_a_store_and_nothing_is_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let client = shop(&store);
    fill(&store, &[key("key_1", "first", client)]);
    let copy = directory.path().join("copy.db");
    store.back_up(&copy).expect("copied");
    let opened = Store::open(Location::File(copy.clone())).expect("the copy opens");
    assert!(opened.read(|reader| reader.key("key_1")).expect("read").is_some());
    opened.check().expect("whole");
    assert!(store.back_up(&copy).is_err(), "something of this name is there");
    assert!(matches!(temporary().back_up(&directory.path().join("no.db")), Err(StoreError::ReadOnly)));
}

#[test]
fn changes_are_told_in_order_and_a_gap_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let mut seen = 0;
    store.was_changed_elsewhere(&mut seen).expect("read");
    let start = store.read(|reader| reader.newest_change()).expect("read");
    let client = shop(&store);
    fill(&store, &[key("key_1", "first", client)]);
    assert!(!store.was_changed_elsewhere(&mut seen).expect("read"), "by ourselves");
    let other = open(directory.path());
    let detail = other.read(|reader| reader.key("key_1")).expect("read").expect("it is there");
    other.write(now(), |writer| writer.revoke_key(&detail)).expect("written");
    assert!(store.was_changed_elsewhere(&mut seen).expect("read"));
    assert!(!store.was_changed_elsewhere(&mut seen).expect("read"), "told once");
    let (changes, newest) = store.read(|reader| reader.changes_after(start)).expect("read").expect("no gap");
    let key_1 = Change::Keys { first: 1, last: 1 };
    assert_eq!(changes, [Change::Client(client), key_1, Change::SecretGone(digest("key_1")), key_1]);
    assert_eq!(store.read(|reader| reader.changes_after(newest)).expect("read"), Some((Vec::new(), newest)));
    // What is a day old is forgotten; whoever has not read it is told that it has missed something.
    store.write(at(2), |writer| writer.prune_feed()).expect("written");
    assert_eq!(store.read(|reader| reader.changes_after(start)).expect("read"), None);
    assert_eq!(store.read(|reader| reader.changes_after(newest)).expect("read"), Some((Vec::new(), newest)));
    fill(&store, &[key("key_2", "second", client)]);
    let (changes, _) = store.read(|reader| reader.changes_after(newest)).expect("read").expect("no gap");
    assert_eq!(changes, [Change::Keys { first: 2, last: 2 }]);
}

/// A store with a key of each kind.
fn various() -> Store {
    let store = temporary();
    let number = shop(&store);
    let off = store
        .write(now(), |writer| {
            let mut off = client("closed", "partner");
            off.client.active = false;
            off.client.tenant = Some(Tenant::parse("acme").expect("a word"));
            off.client.grants = Grants::ReadOnly;
            writer.add_client(&off)
        })
        .expect("written");
    let moment = |days| Some(at(days));
    fill(
        &store,
        &[
            NewKey { expires_at: moment(5), ..key("key_a", "delta billing", number) },
            NewKey { environment: Environment::parse("test").ok(), ..key("key_b", "alpha billing", number) },
            NewKey { disabled: Some(Disabled { at: now(), reason: None }), ..key("key_c", "charlie", number) },
            NewKey { expires_at: moment(-1), ..key("key_d", "bravo", number) },
            NewKey { not_before: moment(1), expires_at: moment(90), ..key("key_e", "echo", number) },
            NewKey { key_type: KeyType::Publishable, grants: Grants::ReadOnly, ..key("key_f", "foxtrot", number) },
            NewKey { tenant: Some("acme".to_owned()), ..key("key_g", "golf", off) },
        ],
    );
    let used = |id: &str, days: i64| UsageSample {
        key: KeyId::parse(id).expect("a word"),
        endpoint: "orders".into(),
        admitted: 3,
        refused: 1,
        last: Some(LastUse {
            secret: SecretTag::of(&digest(id)),
            at: at(days),
            address: [192, 0, 2, 7].into(),
            was_pending: false,
        }),
    };
    store.write(now(), |writer| writer.add_usage(&[used("key_a", -1), used("key_c", -40)])).expect("written");
    store
}

#[test]
fn keys_are_found_by_what_they_are() {
    let store = various();
    let filter = KeyFilter::default;
    let words = |words: &[&str]| KeyFilter { words: words.iter().map(|word| (*word).to_owned()).collect(), ..filter() };
    let status = |status| KeyFilter { status: Some(status), ..filter() };
    for (what, filter, expected) in [
        ("all", filter(), "abcdefg"),
        ("a word", words(&["billing"]), "ab"),
        ("the beginning of a word, in any case", words(&["BILL"]), "ab"),
        ("two words in any order", words(&["bill", "alp"]), "b"),
        ("not the middle of a word", words(&["illing"]), ""),
        ("the client", words(&["clos"]), "g"),
        ("the tenant", words(&["acme"]), "g"),
        ("an id", words(&["key_e"]), "e"),
        ("what nobody has", words(&["zulu"]), ""),
        ("signs that are no word", words(&["\"*--"]), "abcdefg"),
        ("active", status(KeyStatus::Active), "abf"),
        ("disabled, or of a disabled client", status(KeyStatus::Disabled), "cg"),
        ("expired", status(KeyStatus::Expired), "d"),
        ("to come", status(KeyStatus::NotYetValid), "e"),
        ("revoked", status(KeyStatus::Revoked), ""),
        ("client", KeyFilter { client: ClientId::parse("closed").ok(), ..filter() }, "g"),
        ("no such client", KeyFilter { client: ClientId::parse("nobody").ok(), ..filter() }, ""),
        ("client type", KeyFilter { client_type: Some("cms".to_owned()), ..filter() }, "abcdef"),
        ("tenant", KeyFilter { tenant: Some("acme".to_owned()), ..filter() }, "g"),
        ("environment", KeyFilter { environment: Some("test".to_owned()), ..filter() }, "b"),
        ("type", KeyFilter { key_type: Some(KeyType::Publishable), ..filter() }, "f"),
        ("expiring", KeyFilter { expires_before: Some(at(30)), ..filter() }, "a"),
        ("never used", KeyFilter { never_used: true, ..filter() }, "bdefg"),
        ("unused for long", KeyFilter { unused_since: Some(at(-30)), ..filter() }, "c"),
        ("unused or made long ago", KeyFilter { unused_since: Some(at(1)), ..filter() }, "abcdefg"),
        ("unrestricted", KeyFilter { unrestricted: true, ..filter() }, "abcde"),
        ("old", KeyFilter { secret_older_than: Some(at(1)), ..filter() }, "abcdefg"),
        ("not that old", KeyFilter { secret_older_than: Some(at(0)), ..filter() }, ""),
        ("of files", KeyFilter { origin: Some(KeyOrigin::File), ..filter() }, ""),
        ("of the store", KeyFilter { origin: Some(KeyOrigin::Store), ..filter() }, "abcdefg"),
        ("several at once", KeyFilter { never_used: true, unrestricted: true, ..words(&["billing"]) }, "b"),
    ] {
        let found: String = ids(&store, &filter).iter().map(|id| id.trim_start_matches("key_")).collect();
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn lists_are_ordered_both_ways_over_all_pages() {
    let store = various();
    let list = |order, descending| -> String {
        let ids = ordered(&store, &KeyFilter::default(), order, descending);
        ids.iter().map(|id| id.trim_start_matches("key_")).collect()
    };
    assert_eq!(list(KeyOrder::Created, false), "abcdefg");
    assert_eq!(list(KeyOrder::Created, true), "gfedcba");
    assert_eq!(list(KeyOrder::Name, false), "bdcaefg");
    assert_eq!(list(KeyOrder::Name, true), "gfeacdb");
    // Those without a value come last, the newest first.
    assert_eq!(list(KeyOrder::Expires, false), "daegfcb");
    assert_eq!(list(KeyOrder::Expires, true), "eadgfcb");
    assert_eq!(list(KeyOrder::LastUsed, true), "acgfedb");
    assert_eq!(list(KeyOrder::LastUsed, false), "cagfedb");
}

#[test]
fn a_cursor_is_good_for_its_own_list_alone() {
    let store = various();
    let page = |order, cursor: Option<&str>| {
        store.read(|reader| reader.keys(&KeyFilter::default(), order, false, cursor, 3, now())).expect("read")
    };
    let next = page(KeyOrder::Name, None).and_then(|page| page.next).expect("there is more");
    assert!(page(KeyOrder::Name, Some(&next)).is_some());
    assert!(page(KeyOrder::Expires, Some(&next)).is_none());
    for bad in ["", "x", ".", "na0.", "na01.zz", "na0x.61", "ca01.", &format!("{next}0"), "\u{e9}a01.61"] {
        assert!(page(KeyOrder::Name, Some(bad)).is_none(), "{bad:?}");
    }
}

#[test]
fn pages_hold_together_while_keys_come_and_go() {
    let store = temporary();
    let client = shop(&store);
    let many: Vec<NewKey> = (0..50).map(|n| key(&format!("key_{n:02}"), &format!("name {n:02}"), client)).collect();
    fill(&store, &many);
    let read = |cursor: Option<&str>| {
        let page = store.read(|reader| reader.keys(&KeyFilter::default(), KeyOrder::Name, false, cursor, 10, now()));
        page.expect("read").expect("our own cursor")
    };
    let first = read(None);
    let gone = store.read(|reader| reader.key("key_09")).expect("read").expect("it is there");
    store.write(now(), |writer| writer.revoke_key(&gone)).expect("written");
    fill(&store, &[key("key_new", "name 05a", client)]);
    let second = read(first.next.as_deref());
    let ids: Vec<_> = second.items.iter().map(|detail| detail.key.id.to_string()).collect();
    assert_eq!(ids.first().map(String::as_str), Some("key_10"));
    assert_eq!(ids.last().map(String::as_str), Some("key_19"));
}

/// The same answers whether few keys are left, which are sorted, or many, which are walked.
#[test]
fn a_filter_that_leaves_many_keys_finds_the_same() {
    let store = temporary();
    let number = shop(&store);
    let other = store.write(now(), |writer| writer.add_client(&client("rare", "partner"))).expect("written");
    store
        .write(now(), |writer| {
            for n in 0..6_000 {
                let whose = if n % 1_000 == 7 { other } else { number };
                let new = NewKey {
                    expires_at: (n % 2 == 0).then(|| at(n % 40 + 1)),
                    ..key(&format!("key_{n:04}"), &format!("common {n:04}"), whose)
                };
                writer.add_key(&new, &[secret(&format!("secret {n}"))])?;
            }
            Ok::<_, StoreError>(())
        })
        .expect("written");
    let common = KeyFilter { words: vec!["common".to_owned()], ..KeyFilter::default() };
    let first_ids = |filter: &KeyFilter, order| {
        let page = store.read(|reader| reader.keys(filter, order, false, None, 3, now()));
        let page = page.expect("read").expect("no cursor");
        page.items.iter().map(|detail| detail.key.id.to_string()).collect::<Vec<_>>()
    };
    // First by looking through all of them, then by the index.
    for indexed in [false, true] {
        while indexed && store.write(now(), |writer| writer.index_words(1_000)).expect("written") {}
        assert_eq!(first_ids(&common, KeyOrder::Name), ["key_0000", "key_0001", "key_0002"]);
        let rare = KeyFilter { client: ClientId::parse("rare").ok(), ..common.clone() };
        assert_eq!(first_ids(&rare, KeyOrder::Name), ["key_0007", "key_1007", "key_2007"]);
        let one = KeyFilter { words: vec!["4321".to_owned()], ..KeyFilter::default() };
        assert_eq!(first_ids(&one, KeyOrder::Created), ["key_4321"]);
    }
    let many_types = KeyFilter { client_type: Some("cms".to_owned()), ..KeyFilter::default() };
    assert_eq!(first_ids(&many_types, KeyOrder::Created), ["key_0000", "key_0001", "key_0002"]);
    let expiring = KeyFilter { expires_before: Some(at(400)), ..KeyFilter::default() };
    assert_eq!(first_ids(&expiring, KeyOrder::Expires)[0], "key_0000");
    let active = KeyFilter { status: Some(KeyStatus::Active), ..many_types };
    assert_eq!(first_ids(&active, KeyOrder::Name), ["key_0000", "key_0001", "key_0002"]);
}

#[test]
fn states_are_counted_each_key_once() {
    let counts = various().read(|reader| reader.state_counts(now())).expect("read");
    assert_eq!((counts.active, counts.disabled, counts.expired, counts.not_yet_valid), (3, 2, 1, 1));
    assert_eq!(counts.expiring, [0, 1, 1]);
    assert_eq!(counts.next_expiry, Some(at(5)));
    let none = temporary().read(|reader| reader.state_counts(now())).expect("read");
    assert_eq!((none.active, none.next_expiry), (0, None));
}

#[test]
fn usage_adds_up_by_day_and_the_last_use_is_the_latest() {
    let store = various();
    let sample = |days: i64, address: [u8; 4]| UsageSample {
        key: KeyId::parse("key_a").expect("a word"),
        endpoint: "orders".into(),
        admitted: 2,
        refused: 0,
        last: Some(LastUse {
            secret: SecretTag::of(&digest("key_a")),
            at: at(days),
            address: address.into(),
            was_pending: false,
        }),
    };
    store.write(at(0), |writer| writer.add_usage(&[sample(0, [192, 0, 2, 8])])).expect("written");
    // Another worker's, older, comes later.
    store.write(at(1), |writer| writer.add_usage(&[sample(-3, [192, 0, 2, 9])])).expect("written");
    let detail = store.read(|reader| reader.key("key_a")).expect("read").expect("it is there");
    assert_eq!(detail.key.last_used_at, Some(at(0)));
    let last = detail.secrets[0].last_use.clone().expect("used");
    assert_eq!((last.at, last.endpoint.as_str(), last.address.as_str()), (at(0), "orders", "192.0.2.8"));
    let rows = store.read(|reader| reader.usage(detail.key.number, 0)).expect("read");
    let days: Vec<_> = rows.iter().map(|row| (row.day - NOW / DAY, row.admitted, row.refused)).collect();
    assert_eq!(days, [(0, 5, 1), (1, 2, 0)]);
    store.write(at(500), |writer| writer.prune_usage()).expect("written");
    assert_eq!(store.read(|reader| reader.usage(detail.key.number, 0)).expect("read"), []);
    let gone = UsageSample { key: KeyId::parse("key_gone").expect("a word"), ..sample(0, [192, 0, 2, 8]) };
    store.write(now(), |writer| writer.add_usage(&[gone])).expect("a key that is gone is no fault");
}

#[test]
fn clients_are_listed_in_pages_with_the_number_of_their_keys() {
    let store = various();
    let list = |filter: &ClientFilter, after: Option<&str>, limit| {
        let page = store.read(|reader| reader.clients(filter, after, limit)).expect("read");
        let items: Vec<_> = page.items.iter().map(|row| (row.client.id.to_string(), row.keys)).collect();
        (items, page.next)
    };
    let (closed, shop) = (("closed".to_owned(), Some(1)), ("shop".to_owned(), Some(6)));
    assert_eq!(list(&ClientFilter::default(), None, 1), (vec![closed.clone()], Some("closed".to_owned())));
    assert_eq!(list(&ClientFilter::default(), Some("closed"), 1), (vec![shop.clone()], None));
    let partners = ClientFilter { client_type: Some("partner".to_owned()), ..ClientFilter::default() };
    assert_eq!(list(&partners, None, 9), (vec![closed.clone()], None));
    let words = ClientFilter { words: vec!["HO".to_owned()], ..ClientFilter::default() };
    assert_eq!(list(&words, None, 9), (vec![shop], None));
    let wild = ClientFilter { words: vec!["%".to_owned()], ..ClientFilter::default() };
    assert_eq!(list(&wild, None, 9).0.len(), 2, "a sign of LIKE is none of ours");
}

#[test]
fn the_audit_log_is_read_backwards_and_filtered() {
    let store = temporary();
    let note = |days, action, target: &str, actor: &str| {
        let entry = AuditEntry {
            actor: actor.to_owned(),
            action,
            kind: "key",
            target: target.to_owned(),
            after: Some(serde_json::json!({ "name": "x" })),
            ..AuditEntry::default()
        };
        store.write(at(days), |writer| writer.add_audit(&entry)).expect("written");
    };
    note(0, "key.created", "key_1", "token:a");
    note(1, "key.rotated", "key_1", "token:b");
    note(2, "client.created", "shop", "token:a");
    let list = |filter: &AuditFilter, after, limit| {
        let page = store.read(|reader| reader.audit(filter, after, limit)).expect("read");
        let items: Vec<_> = page.items.iter().map(|record| record.action.clone()).collect();
        (items.join(" "), page.next)
    };
    let all = AuditFilter::default();
    let both = "client.created key.rotated".to_owned();
    assert_eq!(list(&all, None, 2), (both, Some("2".to_owned())));
    assert_eq!(list(&all, Some(2), 2), ("key.created".to_owned(), None));
    for (filter, expected) in [
        (AuditFilter { target: Some("key_1".to_owned()), ..all.clone() }, "key.rotated key.created"),
        (AuditFilter { actor: Some("token:a".to_owned()), ..all.clone() }, "client.created key.created"),
        (AuditFilter { action: Some("key".to_owned()), ..all.clone() }, "key.rotated key.created"),
        (AuditFilter { action: Some("key.rotated".to_owned()), ..all.clone() }, "key.rotated"),
        (AuditFilter { action: Some("ke".to_owned()), ..all.clone() }, ""),
        (AuditFilter { since: Some(at(1)), until: Some(at(2)), ..all.clone() }, "key.rotated"),
    ] {
        assert_eq!(list(&filter, None, 9).0, expected, "{filter:?}");
    }
}

#[test]
fn what_the_webhook_is_to_be_told_waits_until_it_was() {
    let store = temporary();
    let event = NewDelivery { event: "key.created", body: serde_json::json!({ "a": 1 }) };
    store.write(at(0), |writer| writer.add_delivery("evt_1", &event)).expect("written");
    let due = |days| store.read(|reader| reader.due_delivery(at(days))).expect("read");
    assert_eq!(due(-1), None);
    let delivery = due(0).expect("it is due");
    assert_eq!((delivery.id.as_str(), delivery.body.as_str(), delivery.attempts), ("evt_1", "{\"a\":1}", 0));
    store.write(at(0), |writer| writer.lease_delivery(delivery.number, at(1))).expect("written");
    assert_eq!((due(0), due(1).map(|delivery| delivery.attempts)), (None, Some(1)));
    store.write(at(1), |writer| writer.postpone_delivery(delivery.number, at(2))).expect("written");
    assert_eq!((due(1), due(2).map(|delivery| delivery.attempts)), (None, Some(1)), "an attempt counts once");
    store.write(at(0), |writer| writer.remove_delivery(delivery.number)).expect("written");
    assert_eq!(store.read(|reader| reader.waiting_deliveries()).expect("read"), 0);
    let notice = |end, threshold| store.write(now(), |writer| writer.note_notice(7, end, threshold)).expect("written");
    assert!(notice(at(3), DAY) && !notice(at(3), DAY) && notice(at(4), DAY) && notice(at(3), 2 * DAY));
}

#[test]
fn readers_do_not_wait_for_a_writer_and_see_one_state() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let client = shop(&store);
    store
        .write(now(), |writer| {
            writer.add_key(&key("key_1", "first", client), &[secret("one")])?;
            let seen_elsewhere = store.read(|reader| reader.key("key_1"))?;
            assert_eq!(seen_elsewhere, None, "not before it is committed");
            assert!(writer.key("key_1")?.is_some());
            Ok::<_, StoreError>(())
        })
        .expect("written");
    assert!(store.read(|reader| reader.key("key_1")).expect("read").is_some());
}

#[test]
fn a_store_that_another_process_holds_is_given_up_and_nothing_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    let holder = Connection::open(directory.path().join("keys.db")).expect("opened");
    holder.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let outcome = store.write(now(), |writer| writer.add_client(&client("shop", "cms")));
    assert!(matches!(outcome, Err(StoreError::Locked)), "{outcome:?}");
    assert_eq!(store.read(|reader| reader.client("shop")).expect("reading goes on"), None);
    holder.execute_batch("ROLLBACK").expect("let go");
    assert!(store.write(now(), |writer| writer.add_client(&client("shop", "cms"))).is_ok());
}
