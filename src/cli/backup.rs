//! `keygate backup`: a copy of the store, taken while everything goes on.

use std::path::PathBuf;

use super::desk::{Failed, StoreArgument};
use super::output::say;
use super::{FAILED, fail, print_line};
use crate::store::{Location, Store};

#[derive(Debug, clap::Args)]
pub(super) struct BackupArguments {
    /// The file to write; it must not be there
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgument,
}

pub(super) fn backup(arguments: &BackupArguments) -> u8 {
    run(arguments).unwrap_or_else(|code| code)
}

fn run(asked: &BackupArguments) -> Result<u8, Failed> {
    let Some(path) = asked.store.path()? else {
        return Err(fail("no store is configured: there is nothing to copy besides the configuration's files"));
    };
    if !path.exists() {
        return Err(fail(&format!("there is no store at {}", path.display())));
    }
    if asked.file.exists() {
        return Err(fail(&format!("{} is there already: name another file", asked.file.display())));
    }
    let store = Store::open(Location::File(path)).map_err(|error| fail(&error.to_string()))?;
    store.back_up(&asked.file).map_err(|error| fail(&format!("the copy cannot be made: {error}")))?;
    // A copy that cannot be opened is none.
    let copy = Store::open(Location::File(asked.file.clone())).map_err(|error| fail(&error.to_string()))?;
    copy.check().map_err(|error| {
        fail(&format!("the copy is not whole: {error}"));
        FAILED
    })?;
    drop(copy);
    say("the copy is whole; to go back to it, stop keygate and put it in the place of the store");
    Ok(print_line(&asked.file.display().to_string()))
}
