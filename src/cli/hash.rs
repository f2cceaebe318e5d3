//! `keygate hash`: from a key to the line that stands for it in the configuration.

use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;

use clap::ValueEnum;

use super::{USAGE, fail, print_line};
use crate::credential::{KeyDigest, KeyText, MAX_SECRET_BYTES, Secret};

#[derive(Debug, clap::Args)]
pub(super) struct HashArguments {
    /// How to make the digest
    #[arg(long, value_enum, default_value_t = Scheme::Blake3)]
    scheme: Scheme,
    /// The installation's pepper, for `blake3-keyed`: 32 bytes in hex
    #[arg(long, value_name = "FILE", required_if_eq("scheme", "blake3-keyed"))]
    pepper_file: Option<PathBuf>,
    /// Make a new key with this prefix, and print it before its digest. It cannot be printed again
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "kg_live_")]
    generate: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scheme {
    /// For keys made by chance
    Blake3,
    /// Worth nothing to a thief without the pepper
    Blake3Keyed,
    /// As other systems store it
    Sha256,
}

pub(super) fn hash(arguments: &HashArguments) -> u8 {
    let secret = match &arguments.generate {
        Some(prefix) => match KeyText::generate(prefix) {
            Ok(secret) => secret,
            Err(error) => return fail(&format!("cannot make a key: {error}")),
        },
        None => match read_secret("Key: ") {
            Ok(secret) => secret,
            Err(error) => return fail(&format!("cannot read the key: {error}")),
        },
    };
    if let Some(why) = unusable(&secret) {
        fail(why);
        return USAGE;
    }
    let digest = match arguments.scheme {
        Scheme::Blake3 => KeyDigest::blake3(&secret),
        Scheme::Sha256 => KeyDigest::sha256(&secret),
        Scheme::Blake3Keyed => match arguments.pepper_file.as_deref().map(crate::config::read_pepper) {
            Some(Ok(pepper)) => KeyDigest::blake3_keyed(&secret, &pepper),
            Some(Err(error)) => return fail(&error.to_string()),
            None => return USAGE,
        },
    };
    if arguments.generate.is_some() {
        print_line(&String::from_utf8_lossy(secret.expose()));
    }
    print_line(&digest.to_string())
}

/// Reads one secret: a hidden prompt on a terminal, else all of stdin without the line's end.
pub(super) fn read_secret(prompt: &str) -> io::Result<Secret<'static>> {
    if io::stdin().is_terminal() {
        return rpassword::prompt_password(prompt).map(|text| Secret::owned(text.into_bytes()));
    }
    let mut bytes = Vec::with_capacity(MAX_SECRET_BYTES + 2);
    // A little more than a key can have, so that a longer one is noticed and not cut.
    io::stdin().take(MAX_SECRET_BYTES as u64 + 3).read_to_end(&mut bytes)?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    Ok(Secret::owned(bytes))
}

/// Why a text cannot be shown as a key in a request.
fn unusable(secret: &Secret<'_>) -> Option<&'static str> {
    let bytes = secret.expose();
    if bytes.is_empty() {
        Some("the key is empty; pipe it in: `printf %s \"$KEY\" | keygate hash`")
    } else if bytes.len() > MAX_SECRET_BYTES {
        Some("the key is longer than a key can be")
    } else if !bytes.iter().all(u8::is_ascii_graphic) {
        Some("the key holds blanks, or characters that cannot stand in a header")
    } else {
        None
    }
}
