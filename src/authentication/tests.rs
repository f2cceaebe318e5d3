use std::sync::Arc;

use super::*;
use crate::client::Client;
use crate::credential::{KeyDigest, MAX_SECRET_BYTES};
use crate::keys::testing::{api_key, client, record};
use crate::keys::{ApiKey, KeyRecord, KeyTerms};

/// The moment at which every test asks.
const NOW: i64 = 1_700_000_000_000;

/// A change that makes a good key bad in one way.
type Harm = fn(&mut ApiKey, &mut Option<Timestamp>);

/// In the order in which they are reported when several hold.
const HARMS: [(KeyFault, Harm); 6] = [
    (KeyFault::ClientDisabled, |key, _| terms(key).client = Arc::new(Client { active: false, ..client("c", "cms") })),
    (KeyFault::Disabled, |key, _| terms(key).active = false),
    (KeyFault::NotYetValid, |key, _| key.not_before = moment(1)),
    (KeyFault::Expired, |key, _| key.expires_at = moment(0)),
    (KeyFault::Superseded, |_, valid_until| *valid_until = moment(0)),
    (KeyFault::WrongEnvironment, |key, _| terms(key).environment = Some(environment("test"))),
];

fn terms(key: &mut ApiKey) -> &mut KeyTerms {
    Arc::make_mut(&mut key.terms)
}

/// A table with this key, shown by `sk_1`.
fn table_of(key: ApiKey, valid_until: Option<Timestamp>) -> KeyTable {
    let table = KeyTable::new();
    let mut record: KeyRecord = record(key, &["sk_1"]);
    record.secrets[0].valid_until = valid_until;
    table.put(&record);
    table
}

fn moment(after_now: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(NOW + after_now))
}

fn environment(name: &str) -> Environment {
    Environment::parse(name).unwrap()
}

/// Shows a key with these changes to a gateway for `live`.
fn shown(harms: &[Harm]) -> Result<(), KeyFault> {
    shown_to(Some(&environment("live")), harms)
}

fn shown_to(here: Option<&Environment>, harms: &[Harm]) -> Result<(), KeyFault> {
    let (mut key, mut valid_until) = (api_key("key_1", client("c", "cms")), None);
    harms.iter().for_each(|harm| harm(&mut key, &mut valid_until));
    let secret = Secret::borrowed(b"sk_1");
    let table = table_of(key.clone(), valid_until);
    match authenticate(&secret, &table, here, Timestamp::from_millis(NOW)) {
        Ok(found) => {
            assert_eq!((found.key, found.valid_until), (key, valid_until));
            Ok(())
        }
        Err((fault, found)) => {
            assert_eq!(found.as_ref(), Some(&key), "a known key is named for the log");
            Err(fault)
        }
    }
}

#[test]
fn a_good_key_is_its_client() {
    assert_eq!(shown(&[]), Ok(()));
}

#[test]
fn each_fault_is_reported_alone() {
    for (fault, harm) in HARMS {
        assert_eq!(shown(&[harm]), Err(fault));
    }
}

#[test]
fn of_several_faults_the_first_is_reported() {
    for (first, (fault, harm)) in HARMS.into_iter().enumerate() {
        for (_, other) in &HARMS[first + 1..] {
            assert_eq!(shown(&[harm, *other]), Err(fault));
            assert_eq!(shown(&[*other, harm]), Err(fault));
        }
    }
    assert_eq!(shown(&HARMS.map(|(_, harm)| harm)), Err(KeyFault::ClientDisabled));
}

#[test]
fn bounds_in_time_are_judged_to_the_millisecond() {
    let rows: [(&str, Harm, Result<(), KeyFault>); 9] = [
        ("starts now", |key, _| key.not_before = moment(0), Ok(())),
        ("started", |key, _| key.not_before = moment(-1), Ok(())),
        ("starts", |key, _| key.not_before = moment(1), Err(KeyFault::NotYetValid)),
        ("ends now", |key, _| key.expires_at = moment(0), Err(KeyFault::Expired)),
        ("ended", |key, _| key.expires_at = moment(-1), Err(KeyFault::Expired)),
        ("ends", |key, _| key.expires_at = moment(1), Ok(())),
        ("replaced now", |_, valid_until| *valid_until = moment(0), Err(KeyFault::Superseded)),
        ("replaced", |_, valid_until| *valid_until = moment(-1), Err(KeyFault::Superseded)),
        ("to be replaced", |_, valid_until| *valid_until = moment(1), Ok(())),
    ];
    for (what, harm, expected) in rows {
        assert_eq!(shown(&[harm]), expected, "{what}");
    }
}

#[test]
fn a_key_is_good_in_its_own_environment_only() {
    let in_test: Harm = |key, _| terms(key).environment = Some(environment("test"));
    let test_in_capitals: Harm = |key, _| terms(key).environment = Some(environment("Test"));
    for (here, harms, expected) in [
        (Some("test"), &[in_test][..], Ok(())),
        (Some("live"), &[in_test], Err(KeyFault::WrongEnvironment)),
        (Some("test"), &[test_in_capitals], Err(KeyFault::WrongEnvironment)),
        // Where one of the two states none, there is nothing to compare.
        (Some("live"), &[], Ok(())),
        (None, &[in_test], Ok(())),
        (None, &[], Ok(())),
    ] {
        assert_eq!(shown_to(here.map(environment).as_ref(), harms), expected, "{here:?}");
    }
}

#[test]
fn what_no_key_has_is_unknown() {
    let table = KeyTable::new();
    let now = Timestamp::from_millis(NOW);
    let long = vec![b'k'; MAX_SECRET_BYTES + 1];
    for text in [&b""[..], b"sk_1", &long] {
        let outcome = authenticate(&Secret::borrowed(text), &table, None, now);
        assert_eq!(outcome, Err((KeyFault::Unknown, None)));
    }
}

#[test]
fn a_key_expires_while_the_process_runs() {
    let mut key = api_key("key_1", client("c", "cms"));
    key.expires_at = moment(0);
    let secret = Secret::borrowed(b"sk_1");
    let table = table_of(key, None);
    let at = |after| authenticate(&secret, &table, None, Timestamp::from_millis(NOW + after)).map_err(|(why, _)| why);
    assert!(at(-1).is_ok());
    assert_eq!(at(0), Err(KeyFault::Expired));
    assert_eq!(at(1), Err(KeyFault::Expired));
    // A clock that was set back does not matter to the table either.
    assert!(at(-1).is_ok());
}

#[test]
fn what_a_key_has_opened_stays_open_as_long_as_the_key_and_its_secret_are_good() {
    let now = Timestamp::from_millis(NOW);
    let tag = SecretTag::of(&KeyDigest::blake3(&Secret::borrowed(b"sk_1")));
    let here = environment("live");
    let stays =
        |table: &KeyTable, id: &str, tag| is_still_good(&KeyId::parse(id).unwrap(), tag, table, Some(&here), now);
    let table = table_of(api_key("key_1", client("c", "cms")), None);
    assert!(stays(&table, "key_1", tag));
    assert!(!stays(&table, "key_2", tag), "another key has the secret now");
    let other = SecretTag::of(&KeyDigest::blake3(&Secret::borrowed(b"sk_2")));
    assert!(!stays(&table, "key_1", other), "the key has not this secret any more");
    for (fault, harm) in HARMS {
        let (mut key, mut valid_until) = (api_key("key_1", client("c", "cms")), None);
        harm(&mut key, &mut valid_until);
        assert!(!stays(&table_of(key, valid_until), "key_1", tag), "{fault:?}");
    }
}
