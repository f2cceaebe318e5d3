//! What `keygate keys` is told on the command line.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::Value;

use super::super::Output;
use super::super::desk::StoreArgument;
use super::super::output::{read_days, read_moment, read_moment_or_never, read_permissions, read_seconds};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct KeysArguments {
    #[command(subcommand)]
    pub(super) command: KeysCommand,
    #[command(flatten)]
    pub(super) store: StoreArgument,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum KeysCommand {
    /// Make a key; it is printed once
    Create(Box<CreateArguments>),
    /// List keys
    #[command(visible_alias = "ls")]
    List(ListArguments),
    /// Show one key, its secrets and what it was used for
    Show(ShowArguments),
    /// Change a key; its secret stays
    Edit(Box<EditArguments>),
    /// Give a key another secret; the old one stays good for a while
    Rotate(RotateArguments),
    /// Switch a key off
    Disable(ReasonArguments),
    /// Switch a key on again
    Enable(IdArguments),
    /// Take a key out of force for good
    Revoke(RevokeArguments),
    /// Bring keys in from CSV or JSON lines
    Import(super::import::ImportArguments),
    /// Write all keys down, without their secrets
    Export(ExportArguments),
    /// Report keys that should be looked at
    Stale(StaleArguments),
    /// Say whether a key is good; reads it from stdin
    Verify(VerifyArguments),
    /// Find keys of this store in files, or in the history of a Git repository
    Scan(super::scan::ScanArguments),
}

/// Where a key may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KeyTypeWord {
    /// On servers
    Secret,
    /// In browsers and apps
    Publishable,
}

impl KeyTypeWord {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Publishable => "publishable",
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct CreateArguments {
    /// What it is for, in a few words; unique among the keys of one tenant
    pub(super) name: String,
    /// Whose it is: the id of a client
    #[arg(long, value_name = "ID")]
    pub(super) client: String,
    /// The type of the client, which is made if there is none of its id
    #[arg(long, value_name = "TYPE")]
    pub(super) client_type: Option<String>,
    /// The name of the client, if it is made
    #[arg(long, value_name = "NAME", requires = "client_type")]
    pub(super) client_name: Option<String>,
    /// The tenant of the client, if it is made
    #[arg(long, value_name = "TENANT", requires = "client_type")]
    pub(super) tenant: Option<String>,
    /// More about it
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// Where it may be kept
    #[arg(long = "type", value_enum, default_value_t = KeyTypeWord::Secret)]
    pub(super) key_type: KeyTypeWord,
    /// Where it is good; default: the environment that the gateway serves
    #[arg(long, value_name = "NAME")]
    pub(super) environment: Option<String>,
    /// The plan whose limits hold for it; default: that of its client
    #[arg(long, value_name = "PLAN")]
    pub(super) plan: Option<String>,
    /// When it ends: a moment, a day, or a duration from now such as `90d`
    #[arg(long, value_name = "WHEN", value_parser = read_moment)]
    pub(super) expires: Option<String>,
    /// When it begins
    #[arg(long, value_name = "WHEN", value_parser = read_moment)]
    pub(super) not_before: Option<String>,
    /// What it may do at most: `all`, `read_only`, or a list such as `orders.read,orders.list`
    #[arg(long, value_name = "LIST", value_parser = read_permissions)]
    pub(super) permissions: Option<Value>,
    /// A network it may be used from; may be repeated
    #[arg(long = "network", value_name = "NETWORK")]
    pub(super) networks: Vec<String>,
    /// A web page it may be used from, if it is publishable; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub(super) origins: Vec<String>,
    /// Switched off to begin with
    #[arg(long)]
    pub(super) disabled: bool,
    /// Read the key itself from stdin, or ask for it: it is not made at random then
    #[arg(long)]
    pub(super) secret_stdin: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct FilterArguments {
    /// Words that begin a word of the name, description, id, last four characters, or of the client
    #[arg(value_name = "WORDS")]
    pub(super) words: Vec<String>,
    /// Of this client
    #[arg(long, value_name = "ID")]
    pub(super) client: Option<String>,
    /// Of clients of this type
    #[arg(long, value_name = "TYPE")]
    pub(super) client_type: Option<String>,
    /// Of this tenant
    #[arg(long, value_name = "TENANT")]
    pub(super) tenant: Option<String>,
    /// Good in this environment alone
    #[arg(long, value_name = "NAME")]
    pub(super) environment: Option<String>,
    /// Secret or publishable
    #[arg(long = "type", value_enum)]
    pub(super) key_type: Option<KeyTypeWord>,
    /// What they are good for now; revoked ones are shown only if they are asked for
    #[arg(long, value_enum)]
    pub(super) status: Option<StatusWord>,
    /// In the store, or in files
    #[arg(long, value_enum)]
    pub(super) source: Option<SourceWord>,
    /// Never used
    #[arg(long)]
    pub(super) never_used: bool,
    /// Not used for so long
    #[arg(long, value_name = "DAYS", value_parser = read_days)]
    pub(super) unused: Option<u32>,
    /// Ending within so long
    #[arg(long, value_name = "DAYS", value_parser = read_days)]
    pub(super) expiring: Option<u32>,
    /// With a newest secret older than this
    #[arg(long, value_name = "DAYS", value_parser = read_days)]
    pub(super) older: Option<u32>,
    /// Those that may do whatever their client's type may
    #[arg(long)]
    pub(super) unrestricted: bool,
    /// Being rotated
    #[arg(long)]
    pub(super) rotating: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum StatusWord {
    Active,
    Disabled,
    Expired,
    NotYetValid,
    Revoked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SourceWord {
    Store,
    File,
}

impl FilterArguments {
    pub(super) fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        let flag = |is_set: bool| is_set.then(|| "true".to_owned());
        let days = |days: Option<u32>| days.map(|days| days.to_string());
        vec![
            ("q", (!self.words.is_empty()).then(|| self.words.join(" "))),
            ("client", self.client.clone()),
            ("client_type", self.client_type.clone()),
            ("tenant", self.tenant.clone()),
            ("environment", self.environment.clone()),
            ("type", self.key_type.map(|word| word.as_str().to_owned())),
            ("status", self.status.and_then(|word| word.to_possible_value()).map(|word| word.get_name().to_owned())),
            ("source", self.source.and_then(|word| word.to_possible_value()).map(|word| word.get_name().to_owned())),
            ("never_used", flag(self.never_used)),
            ("unused_for_days", days(self.unused)),
            ("expires_within_days", days(self.expiring)),
            ("secret_older_than_days", days(self.older)),
            ("unrestricted", flag(self.unrestricted)),
            ("rotating", flag(self.rotating)),
        ]
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    #[command(flatten)]
    pub(super) filter: FilterArguments,
    /// By what to order
    #[arg(long, value_enum, default_value_t = SortWord::Created)]
    pub(super) sort: SortWord,
    /// The other way round
    #[arg(long)]
    pub(super) reverse: bool,
    /// How many
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    pub(super) limit: usize,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum SortWord {
    /// The newest first
    Created,
    /// By name
    Name,
    /// What ends next first
    ExpiresAt,
    /// What was used last first
    LastUsedAt,
}

#[derive(Debug, clap::Args)]
pub(super) struct IdArguments {
    /// The key's id
    pub(super) id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArguments {
    /// The key's id
    #[arg(required_unless_present = "key_stdin")]
    pub(super) id: Option<String>,
    /// Read the key itself from stdin, or ask for it, and find it
    #[arg(long, conflicts_with = "id")]
    pub(super) key_stdin: bool,
    /// How far back its use is told
    #[arg(long, value_name = "DAYS", default_value = "7d", value_parser = read_days)]
    pub(super) days: u32,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct EditArguments {
    /// The key's id
    pub(super) id: String,
    /// Another name
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Another description; nothing takes it away
    #[arg(long, value_name = "TEXT")]
    pub(super) description: Option<String>,
    /// Another environment; `any` for all of them
    #[arg(long, value_name = "NAME")]
    pub(super) environment: Option<String>,
    /// Another plan; `none` for that of its client
    #[arg(long, value_name = "PLAN")]
    pub(super) plan: Option<String>,
    /// Another end; `never` for none
    #[arg(long, value_name = "WHEN", value_parser = read_moment_or_never)]
    pub(super) expires: Option<Value>,
    /// Another beginning; `never` for none
    #[arg(long, value_name = "WHEN", value_parser = read_moment_or_never)]
    pub(super) not_before: Option<Value>,
    /// Other permissions: `all`, `read_only`, `none`, or a list
    #[arg(long, value_name = "LIST", value_parser = read_permissions)]
    pub(super) permissions: Option<Value>,
    /// The networks it may be used from, in place of those it has; `any` for all; may be repeated
    #[arg(long = "network", value_name = "NETWORK")]
    pub(super) networks: Vec<String>,
    /// The web pages it may be used from, in place of those it has; `any` for all; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    pub(super) origins: Vec<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct RotateArguments {
    /// The key's id
    pub(super) id: String,
    /// How long the old secret stays good: `0` to `30d`
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = read_seconds)]
    pub(super) grace: u64,
    /// That time begins with the first use of the new secret
    #[arg(long)]
    pub(super) pending: bool,
    /// Another end for the key: a moment, a day, a duration from now, or `never`
    #[arg(long, value_name = "WHEN", value_parser = read_moment_or_never)]
    pub(super) expires: Option<Value>,
    /// Read the new secret from stdin, or ask for it: it is not made at random then
    #[arg(long)]
    pub(super) secret_stdin: bool,
    /// End the rotation that is under way: the old secret is refused from now on
    #[arg(long, conflicts_with_all = ["undo", "pending", "expires", "secret_stdin"])]
    pub(super) finish: bool,
    /// Take the rotation that is under way back: the new secret goes, the old one stays
    #[arg(long, conflicts_with_all = ["finish", "pending", "expires", "secret_stdin"])]
    pub(super) undo: bool,
    /// Finish or undo although somebody may be cut off
    #[arg(long)]
    pub(super) force: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct ReasonArguments {
    /// The key's id
    pub(super) id: String,
    /// Why, for the audit log and whoever looks at the key
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArguments {
    /// The key's id
    pub(super) id: String,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    pub(super) filter: FilterArguments,
    /// In which form
    #[arg(long, value_enum, default_value_t = ExportForm::Jsonl)]
    pub(super) format: ExportForm,
    /// The file to write; stdout if none is named
    #[arg(long, value_name = "FILE")]
    pub(super) to: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ExportForm {
    /// JSON lines
    Jsonl,
    /// A table
    Csv,
}

#[derive(Debug, clap::Args)]
pub(super) struct StaleArguments {
    /// Keys not used for so long
    #[arg(long, value_name = "DAYS", default_value = "90d", value_parser = read_days)]
    pub(super) unused: u32,
    /// Keys ending within so long
    #[arg(long, value_name = "DAYS", default_value = "30d", value_parser = read_days)]
    pub(super) expiring: u32,
    /// Keys with a newest secret older than this
    #[arg(long, value_name = "DAYS", default_value = "365d", value_parser = read_days)]
    pub(super) older: u32,
    /// How many of each at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    pub(super) limit: usize,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}
