use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::AtomicUsize;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::client::Grants;
use crate::keys::testing::{api_key, api_key_with, client, record};

fn secret(text: &str) -> Secret<'_> {
    Secret::borrowed(text.as_bytes())
}

/// The id of the key that a secret stands for.
fn found(table: &KeyTable, text: &str) -> Option<String> {
    table.lookup(&secret(text)).map(|entry| entry.key.id.to_string())
}

fn key(id: &str, secrets: &[&str]) -> KeyRecord {
    record(api_key(id, client("c", "cms")), secrets)
}

fn with_digest(id: &str, digest: KeyDigest) -> KeyRecord {
    KeyRecord { secrets: vec![SecretRecord::new(digest)], ..key(id, &[]) }
}

#[test]
fn a_key_is_found_by_each_of_its_secrets_and_by_nothing_else() {
    let table = KeyTable::new();
    assert!(table.is_empty() && found(&table, "one").is_none());
    table.reconcile(&[key("a", &["one", "two"]), key("b", &["three"]), key("c", &[])]);
    assert_eq!(table.len(), 3);
    for (text, expected) in [
        ("one", Some("a")),
        ("two", Some("a")),
        ("three", Some("b")),
        ("One", None),
        ("one ", None),
        ("", None),
        ("four", None),
    ] {
        assert_eq!(found(&table, text).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn a_secret_is_looked_up_in_every_scheme_that_is_in_use() {
    let table = KeyTable::new();
    let pepper = || Pepper::new([7; 32]);
    table.reconcile(&[
        with_digest("plain", KeyDigest::blake3(&secret("one"))),
        with_digest("imported", KeyDigest::sha256(&secret("two"))),
        with_digest("peppered", KeyDigest::blake3_keyed(&secret("three"), &pepper())),
    ]);
    assert_eq!(found(&table, "one").as_deref(), Some("plain"));
    assert_eq!(found(&table, "two").as_deref(), Some("imported"));
    // Without the pepper, or with another one, a peppered digest is nobody's.
    assert_eq!(found(&table, "three"), None);
    table.set_pepper(Some(Pepper::new([8; 32])));
    assert_eq!(found(&table, "three"), None);
    table.set_pepper(Some(pepper()));
    assert_eq!(found(&table, "three").as_deref(), Some("peppered"));
    table.set_pepper(None);
    assert_eq!(found(&table, "three"), None);
}

#[test]
fn a_digest_of_one_scheme_is_not_found_by_the_other() {
    let table = KeyTable::new();
    let blake3 = KeyDigest::blake3(&secret("one")).to_string();
    let mislabelled = blake3.replace("blake3:", "sha256:");
    table.reconcile(&[with_digest("a", KeyDigest::parse(&mislabelled).unwrap())]);
    assert_eq!(found(&table, "one"), None);
}

#[test]
fn a_secret_longer_than_any_key_is_nobodys() {
    let table = KeyTable::new();
    let (long, longest) = ("k".repeat(MAX_SECRET_BYTES + 1), "k".repeat(MAX_SECRET_BYTES));
    table.reconcile(&[key("a", &[&long]), key("b", &[&longest])]);
    assert_eq!(found(&table, &long), None);
    assert_eq!(found(&table, &longest).as_deref(), Some("b"));
}

#[test]
fn reconcile_counts_what_it_changed() {
    let table = KeyTable::new();
    let counts = |added, changed, removed| Reconciled { added, changed, removed };
    let disabled = || record(api_key_with("b", client("c", "cms"), |terms| terms.active = false), &["two"]);
    let ending = || {
        let mut record = key("a", &["one"]);
        record.secrets[0].valid_until = Some(Timestamp::from_millis(5));
        record
    };
    for (records, expected) in [
        (vec![], counts(0, 0, 0)),
        (vec![key("a", &["one"]), key("b", &["two"])], counts(2, 0, 0)),
        // The same again, in another order and in fresh memory.
        (vec![key("b", &["two"]), key("a", &["one"])], counts(0, 0, 0)),
        (vec![key("a", &["one"]), disabled()], counts(0, 1, 0)),
        (vec![ending(), disabled()], counts(0, 1, 0)),
        (vec![record(api_key("a", client("other", "cms")), &["one", "three"])], counts(1, 1, 1)),
        // A secret that moves to another key.
        (vec![key("b", &["one"])], counts(0, 1, 1)),
        (vec![], counts(0, 0, 1)),
    ] {
        assert_eq!(table.reconcile(&records), expected, "{records:?}");
        assert_eq!(table.len(), records.iter().map(|record| record.secrets.len()).sum::<usize>());
    }
}

#[test]
fn one_key_is_put_in_force_replaced_and_taken_out() {
    let table = KeyTable::new();
    let first = key("a", &["one"]);
    table.put(&first);
    table.put(&key("b", &["other"]));
    assert_eq!(found(&table, "one").as_deref(), Some("a"));

    // A rotation: the old secret stays until its end, the new one has none.
    let mut rotated = key("a", &["one", "two"]);
    rotated.secrets[0].valid_until = Some(Timestamp::from_millis(99));
    table.put(&rotated);
    assert_eq!(table.lookup(&secret("one")).unwrap().valid_until, Some(Timestamp::from_millis(99)));
    assert_eq!(table.lookup(&secret("two")).unwrap().valid_until, None);

    // The next rotation drops the oldest.
    table.put(&key("a", &["two", "three"]));
    assert!(table.remove(&rotated.secrets[0].digest));
    assert_eq!((found(&table, "one"), found(&table, "three").as_deref()), (None, Some("a")));

    for secret in &key("a", &["two", "three"]).secrets {
        assert!(table.remove(&secret.digest));
    }
    assert!(!table.remove(&KeyDigest::blake3(&secret("never there"))));
    assert_eq!((found(&table, "two"), found(&table, "three")), (None, None));
    assert_eq!((found(&table, "other").as_deref(), table.len()), (Some("b"), 1));
}

/// Ends the readers of a test, also when the test fails before they are done.
struct EndsWhenDropped<'a>(&'a AtomicBool);

impl Drop for EndsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn no_lookup_misses_a_key_that_stays_while_others_come_and_go() {
    let table = KeyTable::new();
    let with_many = |from: usize| {
        let passing = (from..from + 2_000).map(|n| key(&format!("k{n}"), &[&format!("passing {n}")]));
        passing.chain([key("stays", &["stays"])]).collect::<Vec<_>>()
    };
    let sets = [with_many(0), with_many(1_000)];
    table.reconcile(&sets[0]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let end = EndsWhenDropped(&done);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut lookups = 0u64;
                    while !done.load(Ordering::Relaxed) || lookups == 0 {
                        assert_eq!(found(&table, "stays").as_deref(), Some("stays"));
                        lookups += 1;
                    }
                })
            })
            .collect();
        for round in 1..20 {
            let outcome = table.reconcile(&sets[round % 2]);
            assert_eq!((outcome.added, outcome.changed, outcome.removed), (1_000, 0, 1_000));
        }
        drop(end);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

#[test]
fn what_is_gone_is_gone_before_what_is_new_is_there() {
    let table = KeyTable::new();
    let (round, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let end = EndsWhenDropped(&done);
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let round = round.load(Ordering::Acquire);
                if found(&table, &format!("new {round}")).is_some() {
                    assert_eq!(found(&table, &format!("old {round}")), None);
                }
            }
        });
        // Many at once, so that the wrong order would be seen for a while.
        let many = |which: &str, now: usize| -> Vec<KeyRecord> {
            let others = (0..300).map(|n| key("other", &[&format!("{which} {now} {n}")]));
            [key(which, &[&format!("{which} {now}")])].into_iter().chain(others).collect()
        };
        for now in 0..30 {
            table.reconcile(&many("old", now));
            round.store(now, Ordering::Release);
            let outcome = table.reconcile(&many("new", now));
            assert_eq!(outcome, Reconciled { added: 301, changed: 0, removed: 301 });
        }
        drop(end);
        watcher.join().unwrap();
    });
}

/// The map takes shard, bucket and tag from the one number; if two of them came from the same bits, or the number from
/// bytes that do not vary, the table would be one long list.
#[test]
fn the_hash_spreads_over_shards_buckets_and_tags() {
    let hasher = BuildHasherDefault::<TagHasher>::default();
    let hashes: Vec<u64> =
        (0..16_384).map(|n| hasher.hash_one(SecretTag::of(&KeyDigest::blake3(&secret(&format!("key {n}")))))).collect();
    for (what, bits_of) in [
        ("tag", (|hash| hash >> 57) as fn(u64) -> u64),
        ("shard", |hash| (hash << 7) >> 57),
        ("bucket", |hash| hash & 127),
        ("bucket within one shard", |hash| if (hash << 7) >> 61 == 0 { hash & 127 } else { u64::MAX }),
    ] {
        let mut counts = HashMap::new();
        hashes.iter().map(|hash| bits_of(*hash)).filter(|at| *at != u64::MAX).for_each(|at| {
            *counts.entry(at).or_insert(0usize) += 1;
        });
        let mean = counts.values().sum::<usize>() / 128;
        let most = counts.values().max().copied().unwrap_or(0);
        assert_eq!(counts.len(), 128, "{what}");
        assert!(most < 3 * mean, "{what}: {most} in one place, {mean} in the mean");
    }
}

#[test]
fn an_entry_is_small() {
    // With a million keys, each byte here is a megabyte.
    assert_eq!(size_of::<Head>(), 8);
    assert_eq!(size_of::<Slot>(), 64);
}

proptest! {
    /// Whatever the steps, the table holds what a plain map would.
    #[test]
    fn the_table_agrees_with_a_plain_map(
        sets in proptest::collection::vec(proptest::collection::btree_map(0u8..8, 0u8..3, 0..8), 1..6),
    ) {
        let table = KeyTable::new();
        for set in sets {
            let records: Vec<_> =
                set.iter().map(|(text, id)| key(&format!("k{id}"), &[&format!("s{text}")])).collect();
            table.reconcile(&records);
            for text in 0u8..8 {
                let expected = set.get(&text).map(|id| format!("k{id}"));
                prop_assert_eq!(found(&table, &format!("s{text}")), expected);
            }
        }
    }
}

#[test]
fn a_difference_is_made_only_when_it_is_applied() {
    let off = |id| api_key_with(id, client("shop", "cms"), |terms| terms.active = false);
    let on = |id| api_key(id, client("shop", "cms"));
    let table = KeyTable::new();
    table.reconcile(&[record(on("key_gone"), &["gone"]), record(on("key_off"), &["off"])]);
    let next = [record(on("key_new"), &["new"]), record(off("key_off"), &["off"])];
    let found = |text: &str| table.lookup(&Secret::borrowed(text.as_bytes())).map(|entry| entry.key.active);

    let holding = |records: &[KeyRecord]| {
        let wanted = KeyTable::new();
        wanted.extend(records);
        wanted
    };

    let difference = table.difference(holding(&next));
    assert_eq!((found("gone"), found("off"), found("new")), (Some(true), Some(true), None));
    assert_eq!(table.apply(difference), Reconciled { added: 1, changed: 1, removed: 1 });
    assert_eq!((found("gone"), found("off"), found("new")), (None, Some(false), Some(true)));
    assert_eq!(table.apply(table.difference(holding(&next))), Reconciled::default());
}

#[test]
fn the_epoch_is_odd_while_keys_and_rules_change_together() {
    let table = KeyTable::new();
    let before = table.epoch();
    let change = table.begin_joint_change();
    assert!(before.is_multiple_of(2) && !table.epoch().is_multiple_of(2));
    drop(change);
    assert!(table.epoch().is_multiple_of(2) && table.epoch() != before);
}

/// A digest with the tag of another one.
fn twin(of: &KeyDigest, last: u8) -> KeyDigest {
    let mut hex = of.to_string();
    hex.replace_range("blake3:".len() + 32.., &format!("{last:02x}{}", "00".repeat(15)));
    KeyDigest::parse(&hex).unwrap()
}

#[test]
fn secrets_with_the_same_tag_are_kept_apart() {
    let first = KeyDigest::blake3(&secret("one"));
    let digests = [first, twin(&first, 1), twin(&first, 2)];
    let whose = |table: &KeyTable| digests.map(|digest| table.find(&digest).map(|entry| entry.key.id.to_string()));
    let names = |names: [&str; 3]| names.map(|name| (name != "-").then(|| name.to_owned()));
    // Every order of coming and going, each change seen by all three.
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let table = KeyTable::new();
        let ids = ["a", "b", "c"];
        ids.iter().zip(digests).for_each(|(id, digest)| table.put(&with_digest(id, digest)));
        assert_eq!(whose(&table), names(ids));
        table.put(&with_digest("B", digests[1]));
        assert_eq!(whose(&table), names(["a", "B", "c"]));
        let mut left = ["a", "B", "c"];
        for index in order {
            left[index] = "-";
            assert!(table.remove(&digests[index]) && !table.remove(&digests[index]));
            assert_eq!(whose(&table), names(left), "{order:?}");
        }
        assert!(table.is_empty());
    }
    let table = KeyTable::new();
    let records = [with_digest("a", digests[0]), with_digest("b", digests[1]), with_digest("c", digests[2])];
    assert_eq!(table.reconcile(&records).added, 3);
    assert_eq!(table.reconcile(&records[1..2]).removed, 2);
    assert_eq!(whose(&table), names(["-", "b", "-"]));
}

#[test]
fn a_secret_that_was_seen_is_found_again_as_long_as_it_is_the_keys() {
    let table = KeyTable::new();
    table.put(&key("a", &["one"]));
    let seen = table.lookup(&secret("one")).unwrap();
    assert_eq!(table.find_again(&seen.key.id, seen.secret).as_ref(), Some(&seen));
    assert_eq!(table.find_again(&KeyId::parse("b").unwrap(), seen.secret), None);
    table.put(&key("b", &["one"]));
    assert_eq!(table.find_again(&seen.key.id, seen.secret), None);
    table.remove(&KeyDigest::blake3(&secret("one")));
    assert_eq!(table.find_again(&KeyId::parse("b").unwrap(), seen.secret), None);
}

#[test]
fn a_client_changes_for_all_its_keys_at_once_and_for_no_others() {
    let table = KeyTable::new();
    let of_file = |id, secret: &str| record(api_key(id, client("shop", "cms")), &[secret]);
    let of_store = |id, text: &str| {
        let key = api_key_with(id, client("shop", "cms"), |terms| {
            terms.origin = KeyOrigin::Store;
            terms.grants = Grants::ReadOnly;
        });
        record(key, &[text])
    };
    table.reconcile(&[of_file("a", "one"), record(api_key("other", client("other", "cms")), &["other"])]);
    table.put(&of_store("b", "two"));
    let types =
        || ["one", "two", "other"].map(|text| table.lookup(&secret(text)).unwrap().key.client.client_type.to_string());
    table.set_client(&Arc::new(client("shop", "partner")));
    table.set_client(&Arc::new(client("nobody", "partner")));
    assert_eq!(types(), ["partner", "partner", "cms"]);
    // The other bounds stay.
    assert_eq!(table.lookup(&secret("two")).unwrap().key.grants, Grants::ReadOnly);
    // The file says otherwise: it is read as a whole, and its word on its client counts for the keys of the store too.
    let outcome = table.reconcile(&[of_file("a", "one")]);
    assert_eq!(outcome, Reconciled { added: 0, changed: 1, removed: 1 });
    let found = |text: &str| table.lookup(&secret(text)).map(|entry| entry.key.client.client_type.to_string());
    assert_eq!([found("one"), found("two"), found("other")], [Some("cms".into()), Some("cms".into()), None]);
    // Keys of the store outlive the files.
    assert_eq!(table.reconcile(&[]).removed, 1);
    assert_eq!([found("one"), found("two")], [None, Some("cms".into())]);
}

#[test]
fn terms_are_shared_and_let_go() {
    let table = KeyTable::new();
    let many: Vec<KeyRecord> = (0..100).map(|n| key(&format!("k{n}"), &[&format!("s{n}")])).collect();
    table.reconcile(&many);
    let cells = |table: &KeyTable| table.write().values().map(|client| client.cells.len()).sum::<usize>();
    assert_eq!(cells(&table), 1);
    let terms = |text: &str| table.lookup(&secret(text)).unwrap().key.terms;
    assert!(Arc::ptr_eq(&terms("s1"), &terms("s2")));
    table.put(&record(api_key_with("k1", client("c", "cms"), |terms| terms.active = false), &["s1"]));
    assert_eq!(cells(&table), 2);
    table.put(&many[1]);
    assert_eq!(cells(&table), 1);
    table.reconcile(&[]);
    assert!(table.is_empty() && table.write().is_empty());
}

#[test]
fn moments_fit_into_six_bytes() {
    for (millis, expected) in [
        (None, None),
        (Some(1_700_000_000_123), Some(1_700_000_000_123)),
        (Some((1 << 48) - 1), Some((1 << 48) - 1)),
        (Some(i64::MAX), Some((1 << 48) - 1)),
        // Long past is past.
        (Some(0), Some(1)),
        (Some(i64::MIN), Some(1)),
    ] {
        let moment = PackedMoment::pack(millis.map(Timestamp::from_millis));
        assert_eq!(moment.unpack().map(Timestamp::as_millis), expected);
    }
}
