//! `keygate keys`: the life of keys, on the command line.

mod arguments;
mod import;
mod scan;

use clap::ValueEnum;
use http::Method;
use serde_json::{Map, Value, json};

pub(super) use arguments::KeysArguments;
use arguments::{
    CreateArguments, EditArguments, ExportArguments, ExportForm, IdArguments, KeysCommand, ListArguments,
    ReasonArguments, RevokeArguments, RotateArguments, ShowArguments, SortWord, StaleArguments, VerifyArguments,
};

use super::desk::{Desk, Failed, part, target, tell_problem};
use super::hash::read_secret;
use super::output::{confirm, moment, print_facts, print_table, say, say_warnings, text};
use super::{DENIED, NOT_FOUND, Output, USAGE, count, fail, print_json, print_line};
use crate::credential::KeyText;
use crate::keys::Timestamp;
use crate::management::now;

/// A key that was used more recently than this is not revoked without a word.
const RECENTLY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// What one part of a list holds at most.
const PART: usize = 200;

pub(super) fn keys(arguments: &KeysArguments) -> u8 {
    let run = || match &arguments.command {
        KeysCommand::Scan(asked) => scan::scan(&arguments.store, asked),
        KeysCommand::Import(asked) => import::import(&mut arguments.store.open()?, asked),
        KeysCommand::Create(asked) => create(&mut arguments.store.open()?, asked),
        KeysCommand::List(asked) => list(&mut arguments.store.open()?, asked),
        KeysCommand::Show(asked) => show(&mut arguments.store.open()?, asked),
        KeysCommand::Edit(asked) => edit(&mut arguments.store.open()?, asked),
        KeysCommand::Rotate(asked) => rotate(&mut arguments.store.open()?, asked),
        KeysCommand::Disable(asked) => disable(&mut arguments.store.open()?, asked),
        KeysCommand::Enable(asked) => enable(&mut arguments.store.open()?, asked),
        KeysCommand::Revoke(asked) => revoke(&mut arguments.store.open()?, asked),
        KeysCommand::Export(asked) => export(&mut arguments.store.open()?, asked),
        KeysCommand::Stale(asked) => stale(&mut arguments.store.open()?, asked),
        KeysCommand::Verify(asked) => verify(&mut arguments.store.open()?, asked),
    };
    run().unwrap_or_else(|code| code)
}

/// Reads a key from stdin or a hidden prompt.
fn ask_for_secret() -> Result<String, Failed> {
    let secret = read_secret("Key: ").map_err(|error| fail(&format!("cannot read the key: {error}")))?;
    match std::str::from_utf8(secret.expose()) {
        Ok(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => {
            fail("the key is empty, or holds characters that no key has");
            Err(USAGE)
        }
    }
}

/// The fields that have a value.
fn object(fields: Vec<(&str, Option<Value>)>) -> Value {
    let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn create(desk: &mut Desk, asked: &CreateArguments) -> Result<u8, Failed> {
    let some = |text: &Option<String>| text.clone().map(Value::from);
    let list = |list: &[String]| (!list.is_empty()).then(|| Value::from(list.to_vec()));
    let client = match &asked.client_type {
        None => Value::from(asked.client.clone()),
        Some(client_type) => object(vec![
            ("id", Some(Value::from(asked.client.clone()))),
            ("client_type", Some(Value::from(client_type.clone()))),
            ("name", some(&asked.client_name)),
            ("tenant", some(&asked.tenant)),
        ]),
    };
    let secret = if asked.secret_stdin { Some(Value::from(ask_for_secret()?)) } else { None };
    let body = object(vec![
        ("name", Some(Value::from(asked.name.clone()))),
        ("client", Some(client)),
        ("description", some(&asked.description)),
        ("type", Some(Value::from(asked.key_type.as_str()))),
        ("environment", some(&asked.environment)),
        ("plan", some(&asked.plan)),
        ("expires_at", some(&asked.expires)),
        ("not_before", some(&asked.not_before)),
        ("permissions", asked.permissions.clone()),
        ("networks", list(&asked.networks)),
        ("origins", list(&asked.origins)),
        ("active", asked.disabled.then(|| Value::from(false))),
        ("secret", secret),
    ]);
    let answer = desk.ask(&Method::POST, "/v1/keys", Some(&body))?;
    let key = &answer["key"];
    say_warnings(&answer);
    if asked.output == Output::Table {
        say(&format!("made {} for client {}{}", text(&key["id"]), text(&key["client"]), in_force(desk)));
    }
    Ok(print_secret(&answer, asked.output))
}

/// When what was done is in force.
fn in_force(desk: &Desk) -> &'static str {
    if desk.is_running() { ", in force now" } else { "; no gateway runs on this store now" }
}

/// Prints a new key, alone, so that a script can take it.
fn print_secret(answer: &Value, output: Output) -> u8 {
    match output {
        Output::Json => print_json(answer),
        Output::Table => match answer["secret"].as_str() {
            Some(secret) => {
                say("the key follows; it is not kept, and cannot be shown again");
                print_line(secret)
            }
            None => 0,
        },
    }
}

/// Keys of a list, a part at a time, and whether there are more.
fn fetch(
    desk: &mut Desk,
    mut parameters: Vec<(&'static str, Option<String>)>,
    limit: usize,
) -> Result<(Vec<Value>, bool), Failed> {
    let mut items = Vec::new();
    let mut cursor: Option<String> = None;
    parameters.extend([("limit", None), ("cursor", None)]);
    let end = parameters.len();
    loop {
        parameters[end - 2].1 = Some((limit - items.len()).min(PART).to_string());
        parameters[end - 1].1 = cursor;
        let mut page = desk.get(&target("/v1/keys", &parameters))?;
        if let Some(list) = page["items"].as_array_mut() {
            items.append(list);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() || items.len() >= limit {
            return Ok((items, cursor.is_some()));
        }
    }
}

fn list(desk: &mut Desk, asked: &ListArguments) -> Result<u8, Failed> {
    let mut parameters = asked.filter.parameters();
    let sort = asked.sort.to_possible_value().map(|word| word.get_name().to_owned());
    let is_backwards = matches!(asked.sort, SortWord::Created | SortWord::LastUsedAt) != asked.reverse;
    parameters.extend([("sort", sort), ("descending", Some(is_backwards.to_string()))]);
    let (items, has_more) = fetch(desk, parameters, asked.limit.max(1))?;
    if asked.output == Output::Json {
        return Ok(print_json(&json!({ "items": items, "has_more": has_more })));
    }
    let code = print_keys(&items);
    if has_more {
        say(&format!("there are more than these {}: --limit shows more, `keygate keys export` all", items.len()));
    }
    Ok(code)
}

fn print_keys(items: &[Value]) -> u8 {
    if items.is_empty() {
        say("no keys");
        return 0;
    }
    let rows = items.iter().map(|key| {
        vec![
            text(&key["id"]),
            text(&key["name"]),
            text(&key["client"]),
            text(&key["client_type"]),
            text(&key["type"]),
            status(key),
            text(&key["masked"]),
            moment(&key["created_at"], ""),
            moment(&key["last_used_at"], "never"),
            moment(&key["expires_at"], "never"),
        ]
    });
    let headings = ["id", "name", "client", "client type", "type", "status", "key", "created", "last used", "expires"];
    print_table(&headings, rows.collect())
}

/// What a key is good for, and the rotation that is under way.
fn status(key: &Value) -> String {
    let mut words = text(&key["status"]);
    let rotation = &key["rotation"];
    if rotation["is_pending"] == true {
        words.push_str(", new secret unused");
    } else if rotation["old_still_used"] == true {
        words.push_str(", old secret in use");
    } else if !rotation.is_null() {
        words.push_str(", rotating");
    }
    words
}

fn show(desk: &mut Desk, asked: &ShowArguments) -> Result<u8, Failed> {
    let key = match &asked.id {
        Some(id) => desk.get(&format!("/v1/keys/{}", part(id)))?,
        None => {
            let secret = ask_for_secret()?;
            let answer = desk.ask(&Method::POST, "/v1/lookup", Some(&json!({ "secrets": [secret] })))?;
            match answer["found"].get(0) {
                Some(found) => found["key"].clone(),
                None => {
                    fail("this key is not known here");
                    return Err(NOT_FOUND);
                }
            }
        }
    };
    let id = text(&key["id"]);
    // Only a gateway that runs counts.
    let limits = desk.try_get(&format!("/v1/keys/{}/limits", part(&id)))?;
    let usage = desk.get(&format!("/v1/keys/{}/usage?days={}", part(&id), asked.days.min(400)))?;
    if asked.output == Output::Json {
        let mut shown = key;
        shown["usage"] = usage["items"].clone();
        if let Some(limits) = limits {
            shown["limits"] = limits["items"].clone();
        }
        return Ok(print_json(&shown));
    }
    let end = |value: &Value| {
        if value.is_null() { String::new() } else { format!("{} ({})", text(value), moment(value, "")) }
    };
    let switched_off = match (key["disabled_reason"].as_str(), key["disabled_at"].is_null()) {
        (_, true) => String::new(),
        (reason, false) => format!("{}: {}", end(&key["disabled_at"]), reason.unwrap_or("no reason was given")),
    };
    let code = print_facts(&[
        ("id", id),
        ("name", text(&key["name"])),
        ("description", text(&key["description"])),
        ("client", format!("{} of type {}", text(&key["client"]), text(&key["client_type"]))),
        ("tenant", text(&key["tenant"])),
        ("type", text(&key["type"])),
        ("environment", text(&key["environment"])),
        ("status", status(&key)),
        ("switched off", switched_off),
        ("begins", end(&key["not_before"])),
        ("expires", if key["expires_at"].is_null() { "never".to_owned() } else { end(&key["expires_at"]) }),
        ("permissions", if key["permissions"] == json!([]) { "none".to_owned() } else { text(&key["permissions"]) }),
        ("networks", text(&key["networks"])),
        ("origins", text(&key["origins"])),
        ("plan", text(&key["plan"])),
        ("source", text(&key["source"])),
        ("made", format!("{} by {}", end(&key["created_at"]), text(&key["created_by"]))),
        ("version", text(&key["version"])),
        ("visible key", text(&key["visible_key"])),
    ]);
    let secrets = key["secrets"].as_array().into_iter().flatten().map(|secret| {
        let last = &secret["last_use"];
        vec![
            text(&secret["masked"]),
            text(&secret["state"]),
            moment(&secret["created_at"], ""),
            moment(&secret["valid_until"], "with the key"),
            moment(&last["at"], "never"),
            text(&last["endpoint"]),
            text(&last["address"]),
        ]
    });
    print_line("");
    print_table(&["secret", "state", "made", "ends", "last used", "endpoint", "from"], secrets.collect());
    let left = limits.as_ref().and_then(|limits| limits["items"].as_array()).map(Vec::as_slice).unwrap_or_default();
    if !left.is_empty() {
        let rows = left.iter().map(|limit| {
            vec![
                text(&limit["name"]),
                text(&limit["measure"]),
                text(&limit["for"]),
                text(&limit["remaining"]),
                moment(&limit["resets_at"], ""),
                if limit["shadow"] == true { "counts only".to_owned() } else { String::new() },
            ]
        });
        print_line("");
        print_table(&["limit", "admits", "for each", "left", "whole", ""], rows.collect());
    }
    let days = usage["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !days.is_empty() {
        print_line("");
        let rows = days
            .iter()
            .map(|day| ["day", "endpoint", "admitted", "refused"].map(|name| text(&day[name])).to_vec())
            .collect();
        print_table(&["day", "endpoint", "admitted", "refused"], rows);
    }
    Ok(code)
}

fn edit(desk: &mut Desk, asked: &EditArguments) -> Result<u8, Failed> {
    let nothing_if = |text: &Option<String>, word: &str| {
        text.clone().map(|text| if text == word { Value::Null } else { Value::from(text) })
    };
    let list = |list: &[String]| match list {
        [] => None,
        [only] if only == "any" => Some(Value::Array(Vec::new())),
        several => Some(Value::from(several.to_vec())),
    };
    let body = object(vec![
        ("name", asked.name.clone().map(Value::from)),
        ("description", nothing_if(&asked.description, "")),
        ("environment", nothing_if(&asked.environment, "any")),
        ("plan", nothing_if(&asked.plan, "none")),
        ("expires_at", asked.expires.clone()),
        ("not_before", asked.not_before.clone()),
        ("permissions", asked.permissions.clone()),
        ("networks", list(&asked.networks)),
        ("origins", list(&asked.origins)),
    ]);
    if body.as_object().is_some_and(Map::is_empty) {
        fail("nothing is to be changed: name a field, such as --name or --expires");
        return Err(USAGE);
    }
    let key = desk.ask(&Method::PATCH, &format!("/v1/keys/{}", part(&asked.id)), Some(&body))?;
    say_warnings(&key);
    if asked.output == Output::Json {
        return Ok(print_json(&key));
    }
    say(&format!("changed {}{}", text(&key["id"]), in_force(desk)));
    Ok(0)
}

fn rotate(desk: &mut Desk, asked: &RotateArguments) -> Result<u8, Failed> {
    let path = format!("/v1/keys/{}", part(&asked.id));
    if asked.finish || asked.undo {
        let action = if asked.finish { "finish" } else { "undo" };
        let body = json!({ "force": asked.force });
        let (status, answer) = desk.attempt(&Method::POST, &format!("{path}/rotation/{action}"), Some(&body))?;
        if !status.is_success() {
            let code = tell_problem(status, &answer);
            if matches!(answer["code"].as_str(), Some("rotation_unused" | "rotation_used")) {
                say("say --force if it is meant");
            }
            return Err(code);
        }
        say(if asked.finish { "the old secret is refused now" } else { "the new secret is gone, the old one stays" });
        return Ok(if asked.output == Output::Json { print_json(&answer) } else { 0 });
    }
    let secret = if asked.secret_stdin { Some(Value::from(ask_for_secret()?)) } else { None };
    let body = object(vec![
        ("grace_seconds", Some(Value::from(asked.grace))),
        ("pending", Some(Value::from(asked.pending))),
        ("expires_at", asked.expires.clone()),
        ("secret", secret),
    ]);
    let answer = desk.ask(&Method::POST, &format!("{path}/rotate"), Some(&body))?;
    say_warnings(&answer);
    if asked.output == Output::Table {
        let end = match (asked.pending, answer["key"]["rotation"]["ends_at"].as_str()) {
            (true, _) => "the old secret stays good until the new one is used, and for the grace after that".to_owned(),
            (false, Some(end)) => format!("the old secret is good until {end}"),
            (false, None) => "the old secret is refused now".to_owned(),
        };
        say(&end);
    }
    Ok(print_secret(&answer, asked.output))
}

fn disable(desk: &mut Desk, asked: &ReasonArguments) -> Result<u8, Failed> {
    let body = object(vec![("reason", asked.reason.clone().map(Value::from))]);
    let key = desk.ask(&Method::POST, &format!("/v1/keys/{}/disable", part(&asked.id)), Some(&body))?;
    say(&format!("switched {} off{}", text(&key["id"]), in_force(desk)));
    Ok(0)
}

fn enable(desk: &mut Desk, asked: &IdArguments) -> Result<u8, Failed> {
    let key = desk.ask(&Method::POST, &format!("/v1/keys/{}/enable", part(&asked.id)), None::<&()>)?;
    say(&format!("switched {} on{}", text(&key["id"]), in_force(desk)));
    Ok(0)
}

fn revoke(desk: &mut Desk, asked: &RevokeArguments) -> Result<u8, Failed> {
    let path = format!("/v1/keys/{}", part(&asked.id));
    let key = desk.get(&path)?;
    let last = key["last_used_at"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let is_in_use = last.is_some_and(|last| now().as_millis() - last.as_millis() < RECENTLY_MILLIS);
    let use_note = if is_in_use {
        format!("\nIt is in use: {}.", moment(&key["last_used_at"], "never"))
    } else {
        format!(" Last used: {}.", moment(&key["last_used_at"], "never"))
    };
    let question = format!(
        "{} `{}` of client {} will be refused for good.{use_note}",
        text(&key["id"]),
        text(&key["name"]),
        text(&key["client"])
    );
    confirm(&question, asked.yes)?;
    let answer = desk.ask(&Method::DELETE, &target(&path, &[("reason", asked.reason.clone())]), None::<&()>)?;
    say_warnings(&answer);
    say(&format!("revoked {}{}", text(&key["id"]), in_force(desk)));
    if answer["client_removed"] == true {
        say(&format!("client {} belonged to a machine and is gone too: this was its last key", text(&key["client"])));
    }
    Ok(0)
}

fn export(desk: &mut Desk, asked: &ExportArguments) -> Result<u8, Failed> {
    let accept = match asked.format {
        ExportForm::Jsonl => "application/x-ndjson",
        ExportForm::Csv => "text/csv",
    };
    let from = target("/v1/export/keys", &asked.filter.parameters());
    match &asked.to {
        None => desk.copy(&from, accept, &mut std::io::stdout().lock())?,
        Some(path) => {
            let unwritable = |error| fail(&format!("cannot write {}: {error}", path.display()));
            let mut file = std::io::BufWriter::new(std::fs::File::create(path).map_err(unwritable)?);
            desk.copy(&from, accept, &mut file)?;
            std::io::Write::flush(&mut file).map_err(unwritable)?;
        }
    }
    Ok(0)
}

fn stale(desk: &mut Desk, asked: &StaleArguments) -> Result<u8, Failed> {
    let days = |days: u32| Some(days.to_string());
    let active = ("status", Some("active".to_owned()));
    let reports = [
        ("never_used", "never used".to_owned(), ("never_used", Some("true".to_owned()))),
        ("unused", format!("not used for {} days", asked.unused), ("unused_for_days", days(asked.unused))),
        ("expiring", format!("ending within {} days", asked.expiring), ("expires_within_days", days(asked.expiring))),
        (
            "old",
            format!("with a secret older than {} days", asked.older),
            ("secret_older_than_days", days(asked.older)),
        ),
        (
            "unrestricted",
            "without permissions of their own or of their client".to_owned(),
            ("unrestricted", Some("true".to_owned())),
        ),
        ("rotating", "being rotated".to_owned(), ("rotating", Some("true".to_owned()))),
    ];
    let mut all = Map::new();
    for (name, words, parameter) in reports {
        let (items, has_more) = fetch(desk, vec![active.clone(), parameter], asked.limit.max(1))?;
        if asked.output == Output::Json {
            all.insert(name.to_owned(), json!({ "items": items, "has_more": has_more }));
            continue;
        }
        let more = if has_more { " or more" } else { "" };
        print_line(&format!("{}{more} {words}", count(items.len(), "key")));
        if !items.is_empty() {
            print_keys(&items);
        }
        print_line("");
    }
    Ok(if asked.output == Output::Json { print_json(&Value::Object(all)) } else { 0 })
}

fn verify(desk: &mut Desk, asked: &VerifyArguments) -> Result<u8, Failed> {
    let secret = ask_for_secret()?;
    // Whether it is a key as they are made here, with any prefix; imported ones are none and may be good all the same.
    let prefix_end = secret.rfind('_').map_or(0, |at| at + 1);
    let is_whole = KeyText::checksum_is_right(secret.as_bytes(), &secret[..prefix_end]);
    let answer = desk.ask(&Method::POST, "/v1/lookup", Some(&json!({ "secrets": [secret] })))?;
    let found = answer["found"].get(0).map(|found| &found["key"]);
    let secret_is_over = found.is_some_and(|key| {
        let mask = KeyText::mask(&secret);
        let of_mask = |shown: &&Value| shown["masked"] == mask;
        let shown = key["secrets"].as_array().into_iter().flatten().find(of_mask);
        let until = shown.and_then(|shown| shown["valid_until"].as_str()?.parse::<Timestamp>().ok());
        until.is_some_and(|until| until <= now())
    });
    let verdict = match found {
        None if is_whole => "unknown: it is whole, and not in this store",
        None => "unknown: it is not in this store, or not typed right",
        Some(_) if secret_is_over => "replaced: the key has another secret now",
        Some(key) => match key["status"].as_str() {
            Some("active") => "good",
            Some("disabled") => "switched off",
            Some("expired") => "expired",
            Some("not_yet_valid") => "not good yet",
            _ => "revoked",
        },
    };
    let is_good = verdict == "good";
    if asked.output == Output::Json {
        let code = print_json(&json!({ "good": is_good, "verdict": verdict, "key": found }));
        return Ok(if is_good { code } else { DENIED });
    }
    print_line(verdict);
    if let Some(key) = found {
        let (id, name) = (text(&key["id"]), text(&key["name"]));
        say(&format!("{id} `{name}` of client {}", text(&key["client"])));
    }
    Ok(if is_good { 0 } else { DENIED })
}
