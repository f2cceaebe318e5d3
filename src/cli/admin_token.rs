//! `keygate admin-token`: who may use the admin API.

use clap::ValueEnum;
use http::Method;
use serde_json::json;

use super::desk::{Failed, StoreArgument, part};
use super::output::{confirm, moment, print_table, read_moment, say, text};
use super::{Output, print_json, print_line};

#[derive(Debug, clap::Args)]
pub(super) struct AdminTokenArguments {
    #[command(subcommand)]
    command: AdminTokenCommand,
    #[command(flatten)]
    store: StoreArgument,
}

#[derive(Debug, clap::Subcommand)]
enum AdminTokenCommand {
    /// Make a token; it is printed once
    Create {
        /// What people call it; the audit log names it so
        name: String,
        /// What it may do
        #[arg(long, value_enum)]
        role: RoleWord,
        /// When it ends: a moment, a day, or a duration from now
        #[arg(long, value_name = "WHEN", value_parser = read_moment)]
        expires: Option<String>,
        /// How to print it
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// List tokens
    #[command(visible_alias = "ls")]
    List {
        /// How to print it
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Take a token out of force for good
    Revoke {
        /// The token's id
        id: String,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// What a token may do; each may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleWord {
    /// Look
    Viewer,
    /// Manage keys and clients
    Developer,
    /// Manage admin tokens
    Admin,
}

impl RoleWord {
    fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Developer => "developer",
            Self::Admin => "admin",
        }
    }
}

pub(super) fn admin_token(arguments: &AdminTokenArguments) -> u8 {
    let run = || -> Result<u8, Failed> {
        let mut desk = arguments.store.open()?;
        match &arguments.command {
            AdminTokenCommand::Create { name, role, expires, output } => {
                let body = json!({ "name": name, "role": role.as_str(), "expires_at": expires });
                let answer = desk.ask(&Method::POST, "/v1/admin-tokens", Some(&body))?;
                if *output == Output::Json {
                    return Ok(print_json(&answer));
                }
                say(&format!(
                    "made {}; the token follows, and cannot be shown again",
                    text(&answer["admin_token"]["id"])
                ));
                Ok(print_line(answer["secret"].as_str().unwrap_or_default()))
            }
            AdminTokenCommand::List { output } => {
                let answer = desk.get("/v1/admin-tokens")?;
                if *output == Output::Json {
                    return Ok(print_json(&answer));
                }
                let rows = answer["items"].as_array().into_iter().flatten().map(|token| {
                    vec![
                        text(&token["id"]),
                        text(&token["name"]),
                        text(&token["role"]),
                        text(&token["masked"]),
                        moment(&token["last_used_at"], "never"),
                        moment(&token["expires_at"], "never"),
                    ]
                });
                Ok(print_table(&["id", "name", "role", "token", "last used", "expires"], rows.collect()))
            }
            AdminTokenCommand::Revoke { id, yes } => {
                confirm(&format!("The admin token {id} will be refused for good."), *yes)?;
                desk.ask(&Method::DELETE, &format!("/v1/admin-tokens/{}", part(id)), None::<&()>)?;
                say(&format!("revoked {id}"));
                Ok(0)
            }
        }
    };
    run().unwrap_or_else(|code| code)
}
