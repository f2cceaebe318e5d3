//! What a lookup costs among a thousand, a hundred thousand and a million keys, known or not, and what the keys weigh.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use keygate::client::{Client, ClientId, ClientType, Grants, KeyType};
use keygate::credential::{KeyDigest, Secret};
use keygate::keys::{ApiKey, KeyId, KeyOrigin, KeyRecord, KeyTable, KeyTerms, SecretRecord, SharedTerms};

fn text_of(number: usize) -> String {
    format!("mb_live_{number:0>33}{:0>6}", number % 999_983)
}

fn records(count: usize) -> Vec<KeyRecord> {
    let clients: Vec<Arc<Client>> = (0..1_000)
        .map(|number| {
            Arc::new(Client {
                id: ClientId::parse(&format!("client_{number:0>8}")).expect("a word"),
                name: format!("Client number {number}").into(),
                client_type: ClientType::parse("partner").expect("a word"),
                tenant: None,
                owner: None,
                active: true,
                groups: Box::default(),
                grants: Grants::Unrestricted,
                plan: None,
                metadata: Default::default(),
            })
        })
        .collect();
    let mut shared = SharedTerms::default();
    (0..count)
        .map(|number| {
            let id = format!("key_{number:0>16}");
            let terms = KeyTerms {
                client: Arc::clone(&clients[number % clients.len()]),
                key_type: KeyType::Secret,
                environment: None,
                active: true,
                grants: Grants::Unrestricted,
                networks: Box::default(),
                origins: Box::default(),
                plan: None,
                origin: KeyOrigin::File,
            };
            let id = KeyId::parse(&id).expect("a word");
            let key = ApiKey { id, not_before: None, expires_at: None, terms: shared.share(terms) };
            let digest = KeyDigest::blake3(&Secret::borrowed(text_of(number).as_bytes()));
            let name = format!("integration {number:0>8}").into();
            KeyRecord { key, name, description: None, secrets: vec![SecretRecord::new(digest)] }
        })
        .collect()
}

/// Resident memory of this process in bytes, where the system tells.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn key_table(c: &mut Criterion) {
    for count in [1_000, 100_000, 1_000_000] {
        let before = resident();
        let table = KeyTable::new();
        table.reconcile(&records(count));
        println!("{count} keys: about {} bytes a key resident", resident().saturating_sub(before) / count);
        let known: Vec<String> = (0..count.min(100_000)).map(|n| text_of(n * 7919 % count)).collect();
        let unknown: Vec<String> = known.iter().map(|text| text.replace("live", "dead")).collect();
        let mut group = c.benchmark_group("lookup");
        for (what, texts) in [("known", &known), ("unknown", &unknown)] {
            let mut next = 0;
            group.bench_with_input(BenchmarkId::new(what, count), texts, |b, texts| {
                b.iter(|| {
                    next = (next + 1) % texts.len();
                    black_box(table.lookup(&Secret::borrowed(texts[next].as_bytes())))
                });
            });
        }
        group.finish();

        let set = records(count);
        let mut group = c.benchmark_group("reconcile");
        group.sample_size(10).measurement_time(Duration::from_secs(2));
        group.bench_with_input(BenchmarkId::new("nothing changed", count), &set, |b, set| {
            b.iter(|| black_box(table.reconcile(set)));
        });
        group.finish();
    }
}

criterion_group!(benches, key_table);
criterion_main!(benches);
