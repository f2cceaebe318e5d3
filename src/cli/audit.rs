//! `keygate audit`: who changed what.

use serde_json::{Value, json};

use super::desk::{Failed, StoreArgument, target};
use super::output::{print_table, read_days, read_moment, say, text};
use super::{Output, print_json};
use crate::keys::Timestamp;
use crate::management::now;

/// What one part of a list holds at most.
const PART: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct AuditArguments {
    /// What was done to this key, client or admin token
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// Who did it, such as `token:ops`
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// What was done, such as `key.created`, or `key` for all that was done to keys
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Within so long
    #[arg(long, value_name = "DAYS", value_parser = read_days)]
    within: Option<u32>,
    /// Before this moment or day
    #[arg(long, value_name = "WHEN", value_parser = read_moment)]
    until: Option<String>,
    /// How many of the newest
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
    /// Write all of it as JSON lines
    #[arg(long, conflicts_with = "limit")]
    export: bool,
    #[command(flatten)]
    store: StoreArgument,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn audit(arguments: &AuditArguments) -> u8 {
    run(arguments).unwrap_or_else(|code| code)
}

fn run(asked: &AuditArguments) -> Result<u8, Failed> {
    let mut desk = asked.store.open()?;
    let since =
        asked.within.map(|days| Timestamp::from_millis(now().as_millis() - i64::from(days) * 86_400_000).to_string());
    let filter = [
        ("target", asked.target.clone()),
        ("actor", asked.actor.clone()),
        ("action", asked.action.clone()),
        ("since", since),
        ("until", asked.until.clone()),
    ];
    if asked.export {
        desk.copy(&target("/v1/export/audit", &filter), "application/x-ndjson", &mut std::io::stdout().lock())?;
        return Ok(0);
    }
    let limit = asked.limit.max(1);
    let mut items: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut parameters = filter.to_vec();
        parameters.push(("limit", Some((limit - items.len()).min(PART).to_string())));
        parameters.push(("cursor", cursor));
        let mut page = desk.get(&target("/v1/audit", &parameters))?;
        if let Some(list) = page["items"].as_array_mut() {
            items.append(list);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() || items.len() >= limit {
            break;
        }
    }
    if asked.output == Output::Json {
        return Ok(print_json(&json!({ "items": items, "has_more": cursor.is_some() })));
    }
    if items.is_empty() {
        say("nothing");
        return Ok(0);
    }
    let rows = items.iter().map(|entry| {
        vec![
            text(&entry["at"]),
            text(&entry["actor"]),
            text(&entry["address"]),
            text(&entry["action"]),
            text(&entry["target"]),
            text(&entry["name"]),
            what_changed(entry),
        ]
    });
    let code = print_table(&["at", "actor", "from", "action", "target", "name", "what"], rows.collect());
    if cursor.is_some() {
        say(&format!("there is more than these {}: --limit shows more, --export all", items.len()));
    }
    Ok(code)
}

/// The note, or the fields that are not what they were.
fn what_changed(entry: &Value) -> String {
    let mut words: Vec<String> = entry["note"].as_str().map(str::to_owned).into_iter().collect();
    if let (Some(before), Some(after)) = (entry["before"].as_object(), entry["after"].as_object()) {
        let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
        let skipped = ["version", "updated_at", "secrets"];
        words.extend(
            changed
                .filter(|(name, _)| !skipped.contains(&name.as_str()))
                .map(|(name, value)| format!("{name}: {} -> {}", text(&before[name]), text(value))),
        );
    }
    words.join("; ")
}
