//! Keys in files, and keys that are brought in.

use std::cell::OnceCell;
use std::collections::HashSet;

use keygate::admin::{ImportFormat, read_import};
use keygate::client::{Grants, KeyType};
use keygate::config::{Loaded, Names, Problems, Source, Surroundings, load_in};
use keygate::keys::{KeyRecord, Timestamp};
use keygate::management::ImportSecret;
use serde_json::{Map, Value, json};

use super::report::{MARKED, is_sound};
use super::site::NOW;

/// The first byte says what kind of file the rest is: `y` YAML, `j` JSON lines, `n` JSON lines for an import, else CSV.
pub fn keys_file(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else { return };
    if text.len() > 16 * 1024 {
        return;
    }
    match kind {
        b'y' => in_force("keys.yaml", text),
        b'j' => in_force("keys.jsonl", text),
        b'n' => brought_in(ImportFormat::JsonLines, text),
        _ => brought_in(ImportFormat::Csv, text),
    }
}

thread_local! {
    /// Where this thread's file is written.
    static DIRECTORY: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

fn load(name: &str, text: &[u8]) -> Result<Loaded, Problems> {
    DIRECTORY.with(|directory| {
        let directory = directory.get_or_init(|| tempfile::tempdir().expect("a directory"));
        std::fs::write(directory.path().join(name), text).expect("our own file");
        let configuration = format!(
            "listen: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ echo: {{ echo: true }} }}\nkeys: {{ file: {name} }}\n\
             endpoints: [{{ name: open, path: /, upstream: echo, public: true }}]\n"
        );
        let source =
            Source::Text { name: "site.yaml".to_owned(), text: configuration, directory: directory.path().to_owned() };
        let now = Timestamp::from_millis(NOW);
        load_in(&source, 1, &Surroundings { environment: &|_| None, names: Names::Assume, now })
    })
}

/// A file is taken whole, with nothing in it that could be two things or forge a line, and says the same when it is written
/// down again; or it is refused, with places, and tells no secret.
fn in_force(name: &str, text: &[u8]) {
    match load(name, text) {
        Ok(loaded) => {
            let keys = loaded.keys.read_all().expect("it is there");
            nothing_is_ambiguous(&keys);
            let lines: String = keys.iter().map(|record| written(record).to_string() + "\n").collect();
            let again = load("again.jsonl", lines.as_bytes()).unwrap_or_else(|problems| panic!("{problems}\n{lines}"));
            let keys_again = again.keys.read_all().expect("it is there");
            let as_lines = keys.iter().map(|record| written(record).to_string()).collect::<Vec<_>>();
            let as_lines_again = keys_again.iter().map(|record| written(record).to_string()).collect::<Vec<_>>();
            assert_eq!(as_lines_again, as_lines, "written down again it is another key");
        }
        Err(problems) => {
            let text = String::from_utf8_lossy(text);
            let file = DIRECTORY
                .with(|directory| directory.get().expect("it was written").path().join(name).display().to_string());
            is_sound(&problems, &file, &text);
        }
    }
}

fn nothing_is_ambiguous(keys: &[KeyRecord]) {
    let (mut ids, mut names, mut digests) = (HashSet::new(), HashSet::new(), HashSet::new());
    for KeyRecord { key, name, secrets, .. } in keys {
        let client = &key.client;
        let words = [key.id.as_str(), client.id.as_str(), client.client_type.as_str()];
        for word in words {
            assert!(!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b','), "{word:?}");
        }
        for name in [name, &client.name] {
            assert!(!name.chars().any(char::is_control), "{name:?} holds what is not shown as it is");
            assert!(!name.trim().is_empty(), "something without a name");
        }
        assert!(ids.insert(key.id.as_str()), "two keys have one id");
        assert!(names.insert((client.tenant.as_ref().map(|tenant| tenant.as_str()), name)), "two keys have one name");
        assert!(!secrets.is_empty() || !key.active, "a key without a secret");
        for secret in secrets {
            assert!(digests.insert(secret.digest.to_string()), "two keys are one");
        }
    }
}

/// A key as one line. What lines cannot say of a client (its owner, notes) is left out.
fn written(record: &KeyRecord) -> Value {
    let KeyRecord { key, name, description, secrets } = record;
    let client = &key.client;
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            line.insert(name.to_owned(), value);
        }
    };
    put("client", json!(client.id.as_str()));
    put("client_type", json!(client.client_type.as_str()));
    put("client_name", json!(client.name));
    put("client_active", json!(client.active));
    put("client_permissions", grants(&client.grants));
    put("tenant", json!(client.tenant.as_ref().map(|tenant| tenant.as_str())));
    put("groups", json!(client.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>()));
    put("id", json!(key.id.as_str()));
    put("name", json!(name));
    put("description", json!(description));
    put("type", json!(if key.key_type == KeyType::Secret { "secret" } else { "publishable" }));
    put("environment", json!(key.environment.as_ref().map(|environment| environment.as_str())));
    put("active", json!(key.active));
    put("not_before", json!(key.not_before.map(|moment| moment.to_string())));
    put("expires_at", json!(key.expires_at.map(|moment| moment.to_string())));
    put("permissions", grants(&key.grants));
    put("networks", json!(key.networks.iter().map(ToString::to_string).collect::<Vec<_>>()));
    put("origins", json!(key.origins));
    let secrets = secrets.iter().map(|secret| {
        let mut line = Map::new();
        line.insert("digest".to_owned(), json!(secret.digest.to_string()));
        if let Some(until) = secret.valid_until {
            line.insert("valid_until".to_owned(), json!(until.to_string()));
        }
        Value::Object(line)
    });
    put("secrets", secrets.collect());
    Value::Object(line)
}

fn grants(grants: &Grants) -> Value {
    match grants {
        Grants::Unrestricted => json!("all"),
        Grants::ReadOnly => json!("read_only"),
        Grants::Listed(list) => list.iter().map(|permission| json!(permission.as_str())).collect(),
    }
}

/// Each line is taken or refused, and no report tells a key; what was taken keeps it to itself.
fn brought_in(format: ImportFormat, text: &[u8]) {
    let shown = String::from_utf8_lossy(text);
    let lines = match read_import(text, format, 0) {
        Ok(lines) => lines,
        Err(faults) => {
            let told = format!("{faults:?}");
            assert!(!faults.is_empty() && !told.contains(MARKED), "{told}");
            return;
        }
    };
    let most = text.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1;
    let says_lines = shown.contains("line");
    for line in lines {
        let number = match &line {
            Ok(line) => line.line,
            Err(refused) => refused.line,
        };
        assert!(says_lines || number <= most, "line {number} of {most}");
        match line {
            Ok(line) => {
                if let ImportSecret::Plain(secret) = &line.secret {
                    let told = format!("{secret:?}");
                    assert!(!told.contains(MARKED), "{told}");
                }
            }
            Err(refused) => {
                assert!(!refused.faults.is_empty(), "refused for nothing");
                let told = format!("{:?}", refused.faults);
                assert!(!told.contains(MARKED), "a secret is told: {told}");
            }
        }
    }
}
