//! What needs time to pass, another process, or a store that cannot be written.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;
use crate::client::{Client, ClientId, ClientType, Grants, KeyType};
use crate::credential::{KeyDigest, Secret};
use crate::keys::testing::{api_key, api_key_with, client, record};
use crate::keys::{KeyId, KeyOrigin, KeyPolicy, KeyRecord, LastUse, SecretTag, UsageSample};
use crate::store::{Change, KeyStatus, Location, NewClient, NewKey, NewSecret, SecretState, StateCounts};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn open(folder: &Path, policy: KeyPolicy) -> Management {
    let store = Store::open(Location::File(folder.join("keys.db"))).unwrap();
    let issuing = Issuing { policy, has_webhook: true, ..Issuing::default() };
    let management = Management::new(store, Arc::new(KeyTable::new()), issuing);
    management.load().unwrap();
    management
}

/// Puts a key into the store as it was put there some days ago.
fn put_key(management: &Management, name: &str, days_ago: i64, expires_at: Option<Timestamp>) -> KeyId {
    let then = Timestamp::from_millis(now().as_millis() - days_ago * 86_400_000);
    let id = KeyId::parse(&format!("key_{name}")).unwrap();
    let write = |writer: &Writer<'_>| {
        let client = match writer.client("shop")? {
            Some(row) => row.number,
            None => writer.add_client(&NewClient {
                client: Client {
                    id: ClientId::parse("shop").unwrap(),
                    name: "shop".into(),
                    client_type: ClientType::parse("partner").unwrap(),
                    tenant: None,
                    owner: None,
                    active: true,
                    groups: Box::default(),
                    grants: Grants::Unrestricted,
                    plan: None,
                    metadata: Default::default(),
                },
                origin: KeyOrigin::Store,
                disabled: None,
            })?,
        };
        let new = NewKey {
            id: id.clone(),
            client,
            tenant: None,
            origin: KeyOrigin::Store,
            name: name.to_owned(),
            description: None,
            key_type: KeyType::Secret,
            environment: None,
            disabled: None,
            not_before: None,
            expires_at,
            grants: Grants::Unrestricted,
            networks: Vec::new(),
            origins: Vec::new(),
            plan: None,
            created_by: "test".to_owned(),
            visible: None,
        };
        let secret =
            NewSecret { digest: digest(name), mask: "…".to_owned(), state: SecretState::Current, valid_until: None };
        let number = writer.add_key(&new, &[secret])?;
        writer.note(Change::Keys { first: number, last: number })?;
        Ok::<_, StoreError>(())
    };
    management.store().write(then, write).unwrap();
    management.catch_up().unwrap();
    id
}

fn digest(name: &str) -> KeyDigest {
    KeyDigest::blake3(&Secret::borrowed(name.as_bytes()))
}

fn is_in_force(management: &Management, name: &str) -> bool {
    management.table().find(&digest(name)).is_some_and(|entry| entry.key.active)
}

fn used(id: &KeyId, name: &str, at: Timestamp, was_pending: bool) -> UsageSample {
    let last = LastUse { secret: SecretTag::of(&digest(name)), at, address: IpAddr::from([192, 0, 2, 1]), was_pending };
    UsageSample { key: id.clone(), endpoint: "orders".into(), admitted: 1, refused: 0, last: Some(last) }
}

/// What upkeep was given to report, and what it reported.
struct Kept {
    handle: UpkeepHandle,
    counts: Arc<StdMutex<Vec<StateCounts>>>,
    failures: Arc<StdMutex<Vec<&'static str>>>,
}

fn keep_up(management: &Management, samples: Vec<UsageSample>) -> Kept {
    let (counts, failures) =
        (Arc::<StdMutex<Vec<StateCounts>>>::default(), Arc::<StdMutex<Vec<&'static str>>>::default());
    let (counted, failed) = (Arc::clone(&counts), Arc::clone(&failures));
    let mut samples = Some(samples);
    let upkeep = Upkeep {
        management: management.clone(),
        usage: Box::new(move || samples.take().unwrap_or_default()),
        usage_presses: Box::new(|| false),
        counted: Box::new(move |now| counted.lock().unwrap().push(*now)),
        failed: Box::new(move |what| failed.lock().unwrap().push(what)),
    };
    Kept { handle: upkeep.start().unwrap(), counts, failures }
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn keys_that_nobody_uses_are_switched_off_and_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let policy = KeyPolicy { disable_unused_after: Some(90 * DAY), ..KeyPolicy::default() };
    let management = open(folder.path(), policy);
    let idle = put_key(&management, "idle", 100, None);
    let young = put_key(&management, "young", 89, None);
    let busy = put_key(&management, "busy", 400, None);
    management.store().write(now(), |writer| writer.add_usage(&[used(&busy, "busy", now(), false)])).unwrap();
    let kept = keep_up(&management, Vec::new());
    wait_until("the idle key to be switched off", || !is_in_force(&management, "idle"));
    assert!(is_in_force(&management, "young") && is_in_force(&management, "busy"));
    let detail = management.key(idle.as_str()).unwrap();
    assert_eq!(detail.status(now()), KeyStatus::Disabled);
    assert_eq!(detail.key.disabled.unwrap().reason.as_deref(), Some("not used for 90 days"));
    assert_eq!(management.key(young.as_str()).unwrap().status(now()), KeyStatus::Active);
    wait_until("the keys to be counted", || {
        kept.counts.lock().unwrap().last().is_some_and(|counts| (counts.active, counts.disabled) == (2, 1))
    });
    kept.handle.stop();
    assert_eq!(*kept.failures.lock().unwrap(), Vec::<&str>::new());
}

#[test]
fn the_end_of_a_key_is_announced_once_at_each_distance() {
    let folder = tempfile::tempdir().unwrap();
    let policy = KeyPolicy { notify_before_expiry: vec![7 * DAY, DAY], ..KeyPolicy::default() };
    let management = open(folder.path(), policy);
    let in_hours = |hours: i64| Some(Timestamp::from_millis(now().as_millis() + hours * 3_600_000));
    put_key(&management, "tomorrow", 1, in_hours(20));
    put_key(&management, "next-week", 1, in_hours(6 * 24));
    put_key(&management, "later", 1, in_hours(60 * 24));
    put_key(&management, "never", 1, None);
    let told = |management: &Management| management.store().read(|reader| reader.waiting_deliveries()).unwrap();
    for _ in 0..2 {
        // The second life finds everything announced.
        let kept = keep_up(&management, Vec::new());
        wait_until("what ends to be announced", || told(&management) >= 3);
        kept.handle.stop();
    }
    assert_eq!(told(&management), 3, "tomorrow twice, next week once");
    let first = management.store().read(|reader| reader.due_delivery(now())).unwrap().unwrap();
    assert_eq!(first.event, "key.expiring");
    assert!(first.body.contains("expires_in_seconds"), "{}", first.body);
}

#[test]
fn usage_waits_for_a_store_that_cannot_be_written_and_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let management = open(folder.path(), KeyPolicy::default());
    let id = put_key(&management, "used", 1, None);
    let other = rusqlite::Connection::open(folder.path().join("keys.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let kept = keep_up(&management, vec![used(&id, "used", now(), false)]);
    wait_until("the failure to be told", || {
        management.freshen_usage();
        kept.failures.lock().unwrap().contains(&"usage")
    });
    assert_eq!(management.usage(id.as_str(), 0).unwrap(), []);
    let refused = management.disable_key(&Actor::keygate(), id.as_str(), None);
    assert!(matches!(refused, Err(Refused::Store(StoreError::Locked))), "{refused:?}");
    assert!(is_in_force(&management, "used"), "the data path goes on from memory");
    other.execute_batch("ROLLBACK").unwrap();
    wait_until("usage to be written", || management.usage(id.as_str(), 0).unwrap().len() == 1);
    kept.handle.stop();
    assert!(management.disable_key(&Actor::keygate(), id.as_str(), None).is_ok());
}

#[test]
fn usage_is_written_down_when_somebody_looks_and_when_it_presses() {
    let folder = tempfile::tempdir().unwrap();
    let management = open(folder.path(), KeyPolicy::default());
    let id = put_key(&management, "used", 1, None);
    let (made, presses) = (Arc::<StdMutex<Vec<UsageSample>>>::default(), Arc::<AtomicBool>::default());
    let (taken, pressing) = (Arc::clone(&made), Arc::clone(&presses));
    let upkeep = Upkeep {
        management: management.clone(),
        usage: Box::new(move || std::mem::take(&mut *taken.lock().unwrap())),
        usage_presses: Box::new(move || pressing.load(Ordering::Relaxed)),
        counted: Box::new(|_| ()),
        failed: Box::new(|_| ()),
    };
    let handle = upkeep.start().unwrap();
    let admitted = || management.usage(id.as_str(), 0).unwrap().iter().map(|row| row.admitted).sum::<i64>();
    made.lock().unwrap().push(used(&id, "used", now(), false));
    std::thread::sleep(Duration::from_millis(1_200));
    assert_eq!((admitted(), made.lock().unwrap().len()), (0, 1));
    management.freshen_usage();
    assert_eq!(admitted(), 1);
    made.lock().unwrap().push(used(&id, "used", now(), false));
    presses.store(true, Ordering::Relaxed);
    wait_until("usage that presses to be written", || admitted() == 2);
    presses.store(false, Ordering::Relaxed);
    made.lock().unwrap().push(used(&id, "used", now(), false));
    handle.stop();
    assert_eq!(admitted(), 3, "what is left is written at the end");
    management.freshen_usage();
}

#[test]
fn the_first_use_of_a_pending_secret_begins_the_grace_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let management = open(folder.path(), KeyPolicy::default());
    let id = put_key(&management, "old", 10, None);
    let wanted =
        RotateKey { grace: DAY, is_pending: true, secret: Some(Secret::owned(b"new".to_vec())), expires_at: None };
    management.rotate_key(&Actor::keygate(), id.as_str(), wanted, None).unwrap();
    let entry = management.table().find(&digest("new")).unwrap();
    assert!(entry.is_pending && management.table().find(&digest("old")).unwrap().valid_until.is_none());
    let at = now();
    keep_up(&management, vec![used(&id, "new", at, true)]).handle.stop();
    let until = management.table().find(&digest("old")).unwrap().valid_until.unwrap();
    assert_eq!(until.as_millis() - at.as_millis(), 86_400_000);
    assert!(!management.table().find(&digest("new")).unwrap().is_pending);
    let again = used(&id, "new", Timestamp::from_millis(at.as_millis() + 5_000), true);
    keep_up(&management, vec![again]).handle.stop();
    assert_eq!(management.table().find(&digest("old")).unwrap().valid_until, Some(until), "it begins once");
}

#[test]
fn what_another_process_changed_is_followed_even_if_the_feed_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (here, elsewhere) = (open(folder.path(), KeyPolicy::default()), open(folder.path(), KeyPolicy::default()));
    let first = put_key(&elsewhere, "first", 1, None);
    put_key(&elsewhere, "second", 1, None);
    assert!(!is_in_force(&here, "first"));
    let kept = keep_up(&here, Vec::new());
    wait_until("the keys to be followed", || is_in_force(&here, "first") && is_in_force(&here, "second"));
    kept.handle.stop();
    elsewhere.revoke_key(&Actor::keygate(), first.as_str(), None, Unmet(None)).unwrap();
    put_key(&elsewhere, "third", 1, None);
    let other = rusqlite::Connection::open(folder.path().join("keys.db")).unwrap();
    other.execute("DELETE FROM feed WHERE number < (SELECT max(number) FROM feed)", []).unwrap();
    assert!(here.catch_up().unwrap());
    assert!(!is_in_force(&here, "first") && is_in_force(&here, "second") && is_in_force(&here, "third"));
}

#[test]
fn a_publishable_key_is_kept_visible_where_that_is_asked_for_and_a_secret_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let policy = KeyPolicy { keep_publishable_visible: true, ..KeyPolicy::default() };
    let management = open(folder.path(), policy);
    put_key(&management, "any", 1, None);
    let make = |name: &str, key_type| {
        let wanted = CreateKey {
            name: name.to_owned(),
            description: None,
            client: ClientChoice::Existing(ClientId::parse("shop").unwrap()),
            key_type,
            environment: None,
            is_disabled: false,
            not_before: None,
            expires_at: None,
            grants: Grants::Unrestricted,
            networks: Vec::new(),
            origins: Vec::new(),
            plan: None,
            secret: None,
        };
        let created = management.create_key(&Actor::keygate(), wanted, None).unwrap();
        let text = String::from_utf8(created.secret.unwrap().expose().to_vec()).unwrap();
        (created.detail.key.id, created.detail.key.visible, text)
    };
    let (id, visible, text) = make("shown", KeyType::Publishable);
    assert_eq!(visible, Some(text));
    assert_eq!(make("secret", KeyType::Secret).1, None);
    management.revoke_key(&Actor::keygate(), id.as_str(), None, Unmet(None)).unwrap();
    assert_eq!(management.key(id.as_str()).unwrap().key.visible, None, "not longer than it is good");
}

#[test]
fn files_that_wait_are_counted_as_their_copies_will_be_and_copied_for_whoever_looks() {
    let folder = tempfile::tempdir().unwrap();
    let management = open(folder.path(), KeyPolicy::default());
    let at = now();
    let within = |days: i64| Some(Timestamp::from_millis(at.as_millis() + days * 86_400_000 - 1_000));
    let good = |id: &str, client: &Client| record(api_key(id, client.clone()), &[id]);
    let of = |mut record: KeyRecord, begin, end| {
        (record.key.not_before, record.key.expires_at) = (begin, end);
        record
    };
    let (on, off) = (client("on", "cms"), Client { active: false, ..client("off", "cms") });
    let switched_off = api_key_with("switched-off", on.clone(), |terms| terms.active = false);
    let keys = vec![
        good("for-ever", &on),
        of(good("a-day", &on), None, within(1)),
        of(good("a-week", &on), None, within(7)),
        of(good("a-month", &on), None, within(30)),
        of(good("a-year", &on), None, within(365)),
        of(good("over", &on), None, within(0)),
        of(good("to-come", &on), within(2), within(5)),
        of(good("never", &on), within(2), within(0)),
        good("of-a-client-that-is-off", &off),
        of(record(switched_off, &["switched-off"]), None, within(3)),
    ];
    let clients = [Arc::new(on), Arc::new(off)];
    let (ask, asked) = std::sync::mpsc::channel();
    let mut counts = StateCounts::default();
    keys.iter().for_each(|record| counts.note(&record.key, at));
    management.files_wait(counts, ask);
    let waiting = management.counts(at).unwrap();
    assert_eq!((waiting.active, waiting.disabled, waiting.expired, waiting.not_yet_valid), (5, 2, 2, 1));
    assert_eq!(waiting.expiring, [1, 3, 4]);
    assert!(management.key("for-ever").is_err());
    std::thread::scope(|scope| {
        let (management, clients, keys) = (&management, &clients, &keys);
        scope.spawn(move || {
            let told = asked.recv().unwrap();
            management.take_files(FileKeys { clients, keys }).unwrap();
            management.files_wait_no_more();
            drop(told);
        });
        management.copy_waiting_files();
        assert!(!management.do_files_wait() && management.key("for-ever").is_ok());
    });
    assert_eq!(management.counts(at).unwrap(), waiting);
    // Copied again, nothing changes; what is gone from the files is gone from the copies.
    management.take_files(FileKeys { clients: &clients, keys: &keys }).unwrap();
    assert_eq!(management.counts(at).unwrap(), waiting);
    management.take_files(FileKeys { clients: &clients, keys: &keys[..1].to_vec() }).unwrap();
    assert_eq!(management.counts(at).unwrap().active, 1);
    management.take_files(FileKeys { clients: &clients, keys: &keys }).unwrap();
    assert_eq!(management.counts(at).unwrap(), waiting);
}
