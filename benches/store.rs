//! What a store of a million keys costs: to fill, to start from, to list, to change; and what the table weighs.
//!
//! `cargo bench --bench store` prints one line for each; `KEYS=100000` makes it shorter. It is no criterion bench: each thing
//! is done once or a few times, and takes seconds.
#![allow(missing_docs, reason = "a program of its own")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate::client::{ClientId, ClientType, Grants, KeyType};
use keygate::credential::{KeyDigest, Secret};
use keygate::keys::{KeyTable, Timestamp};
use keygate::management::{
    Actor, Asked, ClientChoice, CreateClient, CreateKey, EditKey, ImportLine, ImportSecret, Issuing, Management, Unmet,
    open_store,
};
use keygate::store::{KeyFilter, KeyOrder, KeyStatus};

const IN_ONE_GO: usize = 20_000;

fn client(number: usize) -> ClientChoice {
    let id = ClientId::parse(&format!("client_{:0>4}", number % 1_000)).expect("a word");
    ClientChoice::Ensured(Box::new(CreateClient {
        id,
        name: Some(format!("Client number {}", number % 1_000)),
        client_type: ClientType::parse("partner").expect("a word"),
        tenant: None,
        owner: None,
        groups: Vec::new(),
        grants: Grants::Unrestricted,
        plan: None,
        metadata: Default::default(),
    }))
}

fn line(number: usize) -> ImportLine {
    let text = format!("kg_live_{number:0>39}");
    ImportLine {
        line: number + 1,
        id: None,
        name: format!("integration {number:0>8}"),
        description: None,
        client: client(number),
        key_type: KeyType::Secret,
        environment: None,
        is_disabled: false,
        not_before: None,
        expires_at: number.is_multiple_of(10).then(|| Timestamp::from_millis(4_000_000_000_000 + number as i64)),
        grants: Grants::Unrestricted,
        networks: Vec::new(),
        origins: Vec::new(),
        plan: None,
        secret: ImportSecret::Digest(KeyDigest::blake3(&Secret::borrowed(text.as_bytes())), None),
    }
}

fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}

/// Resident memory of this process in bytes, where the system tells.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn tell(what: &str, time: Duration, target: &str) {
    println!("{what:<58} {:>10.2} ms   {target}", time.as_secs_f64() * 1e3);
}

fn main() {
    // Criterion's arguments are of no use here; with `--test` it is only seen whether it runs.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let usual = if is_test { 2_000 } else { 1_000_000 };
    let keys = std::env::var("KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keys.db");
    let actor = Actor::keygate();

    let management = open(&path);
    management.load().expect("an empty store");
    let began = Instant::now();
    let mut spent = Duration::ZERO;
    for start in (0..keys).step_by(IN_ONE_GO) {
        let lines = (start..keys.min(start + IN_ONE_GO)).map(|number| Ok(line(number))).collect();
        let began = Instant::now();
        let report = management.import(&actor, lines, "bench", false).expect("imported");
        spent += began.elapsed();
        assert!(report.refused.is_empty(), "{:?}", report.refused[0]);
    }
    let rate = keys as f64 / spent.as_secs_f64();
    println!("{:<58} {rate:>10.0} /s   at least 50,000 /s", format!("import of {keys} keys"));
    let began_indexing = Instant::now();
    while management.store().write(now(), |writer| writer.index_words(10_000)).expect("indexed") {}
    tell("  and their words, beside everything else", began_indexing.elapsed(), "");
    drop(management);
    let _ = began;

    let before = resident();
    let began = Instant::now();
    let management = open(&path);
    let count = management.load().expect("the store is whole");
    tell(&format!("start with {count} keys"), began.elapsed(), "at most 1,500 ms");
    let weight = (resident().saturating_sub(before)) as f64 / f64::from(1 << 20);
    println!(
        "{:<58} {weight:>10.1} MiB  at most 114 MiB (120 MB)",
        "  and what they weigh, caches of the store included"
    );

    let lists: [(&str, KeyFilter, KeyOrder, bool); 8] = [
        ("the newest", KeyFilter::default(), KeyOrder::Created, true),
        ("by name", KeyFilter::default(), KeyOrder::Name, false),
        ("by the next end", KeyFilter::default(), KeyOrder::Expires, false),
        ("by last use", KeyFilter::default(), KeyOrder::LastUsed, true),
        (
            "of one client, by name",
            KeyFilter { client: ClientId::parse("client_0042").ok(), ..KeyFilter::default() },
            KeyOrder::Name,
            false,
        ),
        (
            "by words",
            KeyFilter { words: vec!["integration".into(), "00077".into()], ..KeyFilter::default() },
            KeyOrder::Created,
            true,
        ),
        ("never used, by name", KeyFilter { never_used: true, ..KeyFilter::default() }, KeyOrder::Name, false),
        (
            "that are switched off (none)",
            KeyFilter { status: Some(KeyStatus::Disabled), ..KeyFilter::default() },
            KeyOrder::Created,
            true,
        ),
    ];
    for (name, filter, order, descending) in lists {
        let mut cursor: Option<String> = None;
        let mut longest = Duration::ZERO;
        for _ in 0..4 {
            let began = Instant::now();
            let asked = Asked { cursor: cursor.as_deref(), limit: 50 };
            let page = management.keys(&filter, order, descending, asked, now()).expect("a page");
            longest = longest.max(began.elapsed());
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        tell(&format!("a page of keys {name}, the slowest of 4"), longest, "at most 20 ms");
    }

    let page = management
        .keys(&KeyFilter::default(), KeyOrder::Created, true, Asked { cursor: None, limit: 200 }, now())
        .expect("a page");
    let mut made = Vec::new();
    for (number, detail) in page.items.iter().enumerate() {
        let edit = EditKey { description: Some(Some(format!("changed {number}"))), ..EditKey::default() };
        let began = Instant::now();
        management.edit_key(&actor, detail.key.id.as_str(), edit, Unmet(None)).expect("changed");
        made.push(began.elapsed());
    }
    tell("one change, until it is enforced: median of 200", median(&mut made), "at most 1 ms");
    let mut made = Vec::new();
    for detail in &page.items {
        let began = Instant::now();
        management.revoke_key(&actor, detail.key.id.as_str(), None, Unmet(None)).expect("revoked");
        made.push(began.elapsed());
    }
    tell("one revocation, until it is enforced: median of 200", median(&mut made), "at most 1 ms");
    let mut made = Vec::new();
    for number in 0..200 {
        let began = Instant::now();
        let wanted = CreateKey {
            name: format!("made {number}"),
            description: None,
            client: client(7),
            key_type: KeyType::Secret,
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
        management.create_key(&actor, wanted, None).expect("made");
        made.push(began.elapsed());
    }
    tell("one new key, until it is enforced: median of 200", median(&mut made), "at most 1 ms");
}

fn open(path: &std::path::Path) -> Management {
    let store = open_store(Some(path)).unwrap_or_else(|error| panic!("{error}"));
    Management::new(store, Arc::new(KeyTable::new()), Issuing::default())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
