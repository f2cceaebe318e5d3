//! `keygate check`: the same reading as at start and at reload, and nothing else.

use std::sync::Arc;

use super::{BAD_CONFIGURATION, ConfigArgument, Output, count, fail, print_json, print_line, print_problems};
use crate::app::{self, StartError};
use crate::config::Loaded;
use crate::keys::KeyTable;

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Whether what the files hold goes with what is in the store, if there is one already.
fn fits_store(loaded: &Loaded) -> Result<(), StartError> {
    match &loaded.settings.store {
        Some(store) if store.exists() => app::keys::open(loaded, Arc::new(KeyTable::new())).map(drop),
        _ => Ok(()),
    }
}

pub(super) fn check(arguments: &CheckArguments) -> u8 {
    let (problems, summary) = match arguments.config.load() {
        Ok(loaded) => match fits_store(&loaded) {
            Ok(()) => {
                let endpoints = loaded.snapshot.router.endpoints().len();
                (loaded.warnings, Some((endpoints, loaded.keys.len())))
            }
            Err(StartError::Configuration(problems)) => (problems, None),
            Err(error) => return fail(&error.to_string()),
        },
        Err(problems) => (problems, None),
    };
    let code = if summary.is_some() { 0 } else { BAD_CONFIGURATION };
    match (arguments.output, summary) {
        (Output::Json, _) => print_json(&problems.to_json()).max(code),
        (Output::Table, None) => {
            print_problems(&problems);
            code
        }
        (Output::Table, Some((endpoints, keys))) => {
            if !problems.is_empty() {
                print_problems(&problems);
            }
            print_line(&format!(
                "{}: good, {}, {}",
                arguments.config.config.display(),
                count(endpoints, "endpoint"),
                count(keys, "key")
            ))
        }
    }
}
