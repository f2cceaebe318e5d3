//! `keygate check`: the same reading as at start and at reload, and nothing else.

use super::{BAD_CONFIGURATION, ConfigArgument, Output, count, print_json, print_line, print_problems};

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn check(arguments: &CheckArguments) -> u8 {
    let (problems, summary) = match arguments.config.load() {
        Ok(loaded) => {
            let endpoints = loaded.snapshot.router.endpoints().len();
            (loaded.warnings, Some((endpoints, loaded.keys.len())))
        }
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
