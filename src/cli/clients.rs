//! `keygate clients`: who keys belong to.

use std::collections::BTreeMap;

use clap::ValueEnum;
use http::Method;
use serde_json::{Map, Value, json};

use super::desk::{Desk, Failed, StoreArgument, part, target};
use super::output::{confirm, print_facts, print_table, read_permissions, say, say_warnings, text};
use super::{Output, USAGE, count, fail, print_json};

/// What one part of a list holds at most.
const PART: usize = 200;

#[derive(Debug, clap::Args)]
pub(super) struct ClientsArguments {
    #[command(subcommand)]
    command: ClientsCommand,
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Debug, clap::Subcommand)]
enum ClientsCommand {
    /// Make a client
    Create(FieldsArguments),
    /// List clients
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show one client
    Show(ShowArguments),
    /// Change a client; all its keys follow at once
    Edit(FieldsArguments),
    /// Switch a client off: all its keys are refused
    Disable(DisableArguments),
    /// Switch a client on again
    Enable(IdArguments),
    /// Remove a client and revoke its keys
    Delete(DeleteArguments),
    /// List who answers for clients
    Owners(OwnersArguments),
    /// Remove an owner: what a machine owns goes with it, what a person owns is switched off
    RemoveOwner(RemoveOwnerArguments),
}

#[derive(Debug, clap::Args)]
struct FieldsArguments {
    /// The client's id
    id: String,
    /// What people call it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The class of client that rules name
    #[arg(long, value_name = "TYPE")]
    client_type: Option<String>,
    /// The customer or project it belongs to; `none` for nobody's
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Who answers for it: `user:ID`, `machine:ID`, or `none`
    #[arg(long, value_name = "OWNER", value_parser = read_owner)]
    owner: Option<Value>,
    /// One of its groups; may be repeated. `none` for none
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// What it may do: `all`, `read_only`, `none`, or a list such as `orders.read,orders.list`
    #[arg(long, value_name = "LIST", value_parser = read_permissions)]
    permissions: Option<Value>,
    /// The plan whose limits hold for its keys; `none` for the default one
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// A note, `NAME=TEXT`; may be repeated
    #[arg(long = "note", value_name = "NOTE", value_parser = read_note)]
    notes: Vec<(String, String)>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

fn read_owner(text: &str) -> Result<Value, String> {
    match text.split_once(':') {
        Some((kind @ ("user" | "machine"), id)) if !id.is_empty() => Ok(json!({ "kind": kind, "id": id })),
        None if text == "none" => Ok(Value::Null),
        _ => Err("write `user:ID`, `machine:ID` or `none`".to_owned()),
    }
}

fn read_note(text: &str) -> Result<(String, String), String> {
    let (name, note) = text.split_once('=').ok_or("write `NAME=TEXT`")?;
    Ok((name.to_owned(), note.to_owned()))
}

#[derive(Debug, clap::Args)]
struct ListArguments {
    /// Words that stand in their ids or names
    words: Vec<String>,
    /// Of this type
    #[arg(long, value_name = "TYPE")]
    client_type: Option<String>,
    /// Of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// How many
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct ShowArguments {
    /// The client's id
    id: String,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, clap::Args)]
struct IdArguments {
    /// The client's id
    id: String,
}

#[derive(Debug, clap::Args)]
struct DisableArguments {
    /// The client's id
    id: String,
    /// Why, for the audit log and whoever looks at the client
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, clap::Args)]
struct DeleteArguments {
    /// The client's id
    id: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
struct OwnersArguments {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OwnerKindWord {
    /// A person
    User,
    /// A program
    Machine,
}

#[derive(Debug, clap::Args)]
struct RemoveOwnerArguments {
    /// Person or program
    #[arg(value_enum)]
    kind: OwnerKindWord,
    /// The owner's id
    id: String,
    /// Revoke a person's keys and remove the clients, in place of switching the keys off
    #[arg(long)]
    revoke: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn clients(arguments: &ClientsArguments) -> u8 {
    let run = || {
        let mut desk = arguments.store.open()?;
        match &arguments.command {
            ClientsCommand::Create(asked) => create(&mut desk, asked),
            ClientsCommand::List(asked) => list(&mut desk, asked),
            ClientsCommand::Show(asked) => show(&mut desk, asked),
            ClientsCommand::Edit(asked) => edit(&mut desk, asked),
            ClientsCommand::Disable(asked) => {
                let body = json!({ "reason": asked.reason });
                let client = desk.ask(&Method::POST, &format!("{}/disable", path(&asked.id)), Some(&body))?;
                say(&format!("switched {} off: its keys are refused", text(&client["id"])));
                Ok(0)
            }
            ClientsCommand::Enable(asked) => {
                let client = desk.ask(&Method::POST, &format!("{}/enable", path(&asked.id)), None::<&()>)?;
                say(&format!("switched {} on", text(&client["id"])));
                Ok(0)
            }
            ClientsCommand::Delete(asked) => delete(&mut desk, asked),
            ClientsCommand::Owners(asked) => owners(&mut desk, asked),
            ClientsCommand::RemoveOwner(asked) => remove_owner(&mut desk, asked),
        }
    };
    run().unwrap_or_else(|code| code)
}

fn path(id: &str) -> String {
    format!("/v1/clients/{}", part(id))
}

/// What was said of a client, as fields.
fn fields(asked: &FieldsArguments) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    let or_none = |text: &String| if text == "none" { Value::Null } else { Value::from(text.clone()) };
    set("name", asked.name.clone().map(Value::from));
    set("client_type", asked.client_type.clone().map(Value::from));
    set("tenant", asked.tenant.as_ref().map(or_none));
    set("owner", asked.owner.clone());
    set("permissions", asked.permissions.clone());
    set("plan", asked.plan.as_ref().map(or_none));
    set(
        "groups",
        match asked.groups.as_slice() {
            [] => None,
            [only] if only == "none" => Some(json!([])),
            groups => Some(Value::from(groups.to_vec())),
        },
    );
    if !asked.notes.is_empty() {
        let notes: BTreeMap<_, _> = asked.notes.iter().cloned().collect();
        set("metadata", Some(json!(notes)));
    }
    fields
}

fn create(desk: &mut Desk, asked: &FieldsArguments) -> Result<u8, Failed> {
    if asked.client_type.is_none() {
        fail("say what class of client it is: --client-type");
        return Err(USAGE);
    }
    let mut body = fields(asked);
    body.retain(|_, value| !value.is_null());
    body.insert("id".to_owned(), Value::from(asked.id.clone()));
    let client = desk.ask(&Method::POST, "/v1/clients", Some(&body))?;
    say_warnings(&client);
    if asked.output == Output::Json {
        return Ok(print_json(&client));
    }
    say(&format!("made client {}", text(&client["id"])));
    Ok(0)
}

fn edit(desk: &mut Desk, asked: &FieldsArguments) -> Result<u8, Failed> {
    let body = fields(asked);
    if body.is_empty() {
        fail("nothing is to be changed: name a field, such as --name or --permissions");
        return Err(USAGE);
    }
    let client = desk.ask(&Method::PATCH, &path(&asked.id), Some(&body))?;
    say_warnings(&client);
    if asked.output == Output::Json {
        return Ok(print_json(&client));
    }
    say(&format!("changed client {}", text(&client["id"])));
    Ok(0)
}

fn list(desk: &mut Desk, asked: &ListArguments) -> Result<u8, Failed> {
    let limit = asked.limit.max(1);
    let mut items: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut page = desk.get(&target(
            "/v1/clients",
            &[
                ("limit", Some((limit - items.len()).min(PART).to_string())),
                ("cursor", cursor),
                ("q", (!asked.words.is_empty()).then(|| asked.words.join(" "))),
                ("client_type", asked.client_type.clone()),
                ("tenant", asked.tenant.clone()),
            ],
        ))?;
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
        say("no clients");
        return Ok(0);
    }
    let rows = items.iter().map(|client| {
        vec![
            text(&client["id"]),
            text(&client["name"]),
            text(&client["client_type"]),
            text(&client["tenant"]),
            owner(client),
            if client["active"] == true { "active" } else { "disabled" }.to_owned(),
            text(&client["keys"]),
            text(&client["source"]),
        ]
    });
    let code =
        print_table(&["id", "name", "client type", "tenant", "owner", "status", "keys", "source"], rows.collect());
    if cursor.is_some() {
        say(&format!("there are more than these {}: --limit shows more", items.len()));
    }
    Ok(code)
}

fn owner(client: &Value) -> String {
    match &client["owner"] {
        Value::Null => String::new(),
        owner => format!("{}:{}", text(&owner["kind"]), text(&owner["id"])),
    }
}

fn show(desk: &mut Desk, asked: &ShowArguments) -> Result<u8, Failed> {
    let client = desk.get(&path(&asked.id))?;
    if asked.output == Output::Json {
        return Ok(print_json(&client));
    }
    let permissions = &client["permissions"];
    let notes: Vec<String> = client["metadata"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, note)| format!("{name}={}", text(note)))
        .collect();
    let status = match (client["active"] == true, client["disabled_reason"].as_str()) {
        (true, _) => "active".to_owned(),
        (false, reason) => format!("disabled: {}", reason.unwrap_or("no reason was given")),
    };
    Ok(print_facts(&[
        ("id", text(&client["id"])),
        ("name", text(&client["name"])),
        ("client type", text(&client["client_type"])),
        ("tenant", text(&client["tenant"])),
        ("owner", owner(&client)),
        ("status", status),
        ("groups", text(&client["groups"])),
        ("permissions", if *permissions == json!([]) { "none".to_owned() } else { text(permissions) }),
        ("plan", text(&client["plan"])),
        ("notes", notes.join(", ")),
        ("keys", text(&client["keys"])),
        ("source", text(&client["source"])),
        ("made", text(&client["created_at"])),
        ("version", text(&client["version"])),
    ]))
}

fn delete(desk: &mut Desk, asked: &DeleteArguments) -> Result<u8, Failed> {
    let client = desk.get(&path(&asked.id))?;
    let keys = usize::try_from(client["keys"].as_u64().unwrap_or(0)).unwrap_or(0);
    let question =
        format!("Client {} will be gone, and {} of it refused for good.", text(&client["id"]), count(keys, "key"));
    confirm(&question, asked.yes)?;
    let to = target(&path(&asked.id), &[("reason", asked.reason.clone())]);
    let gone = desk.ask(&Method::DELETE, &to, None::<&()>)?;
    say(&format!("client {} is gone, revoked {} keys", text(&gone["id"]), text(&gone["keys_revoked"])));
    Ok(0)
}

fn owners(desk: &mut Desk, asked: &OwnersArguments) -> Result<u8, Failed> {
    let owners = desk.get("/v1/owners")?;
    if asked.output == Output::Json {
        return Ok(print_json(&owners));
    }
    let names = ["kind", "id", "clients", "keys"];
    let rows = owners["items"].as_array().into_iter().flatten();
    Ok(print_table(&names, rows.map(|owner| names.map(|name| text(&owner[name])).to_vec()).collect()))
}

fn remove_owner(desk: &mut Desk, asked: &RemoveOwnerArguments) -> Result<u8, Failed> {
    let (kind, what) = match (asked.kind, asked.revoke) {
        (OwnerKindWord::Machine, _) => ("machine", "its clients will be gone, and their keys refused for good"),
        (OwnerKindWord::User, true) => ("user", "the owner's clients will be gone, and their keys refused for good"),
        (OwnerKindWord::User, false) => ("user", "the owner's keys will be switched off"),
    };
    confirm(&format!("Owner {kind}:{}: {what}.", asked.id), asked.yes)?;
    let keys = asked.revoke.then(|| "revoke".to_owned());
    let to = target(&format!("/v1/owners/{kind}/{}", part(&asked.id)), &[("keys", keys)]);
    let removed = desk.ask(&Method::DELETE, &to, None::<&()>)?;
    if asked.output == Output::Json {
        return Ok(print_json(&removed));
    }
    say(&format!(
        "removed {} clients, revoked {} keys, switched {} keys off",
        text(&removed["clients_removed"]),
        text(&removed["keys_revoked"]),
        text(&removed["keys_disabled"])
    ));
    Ok(0)
}
