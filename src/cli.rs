//! The command line: what can be typed, and what comes back.
//!
//! Data goes to stdout, words and progress to stderr. A secret is read from stdin or a hidden prompt, never from an
//! argument: arguments can be seen in the list of processes.
//!
//! Exit codes: 0 well; 1 failed; 2 misused; 3 there is no such key, client or token; 4 denied (`explain`, `keys verify`);
//! 5 keys were found (`keys scan`); 69 the server cannot be reached; 78 a bad configuration.

mod admin_token;
mod audit;
mod backup;
mod check;
mod clients;
mod desk;
mod explain;
mod hash;
mod healthcheck;
mod init;
mod keys;
mod output;
mod run;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{self, Loaded, Names, Problems, Source, Surroundings};

/// Something did not work; stderr says what.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// There is nothing of that id.
pub(crate) const NOT_FOUND: u8 = 3;
/// The call that was asked about would be refused; the key is not good.
pub(crate) const DENIED: u8 = 4;
/// Keys were found where they should not be.
pub(crate) const FOUND: u8 = 5;
/// The server does not answer (`EX_UNAVAILABLE`).
pub(crate) const UNREACHABLE: u8 = 69;
/// The configuration has problems (`EX_CONFIG`).
pub(crate) const BAD_CONFIGURATION: u8 = 78;

/// A gateway that lets only callers with a good API key reach your HTTP APIs.
#[derive(Debug, Parser)]
#[command(name = "keygate", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Without a command, keygate runs with ./gateway.yaml.")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(run::RunArguments),
    /// Run with a built-in upstream and a freshly made key: nothing to write, nothing to install
    Demo(run::DemoArguments),
    /// Read the configuration and report every problem in it
    #[command(visible_alias = "validate")]
    Check(check::CheckArguments),
    /// Make, list, change, rotate, disable and revoke keys
    Keys(keys::KeysArguments),
    /// Make, list, change and remove the clients that keys belong to
    Clients(clients::ClientsArguments),
    /// List who changed what
    Audit(audit::AuditArguments),
    /// Make, list and revoke the tokens for the admin API
    AdminToken(admin_token::AdminTokenArguments),
    /// Copy the store to a file while everything goes on
    Backup(backup::BackupArguments),
    /// Say step by step how a request would be decided, and what would admit it
    Explain(explain::ExplainArguments),
    /// Turn a key into the digest line for the configuration; reads the key from stdin
    Hash(hash::HashArguments),
    /// Write a commented gateway.yaml with one fresh key
    Init(init::InitArguments),
    /// Print the JSON Schema of gateway.yaml
    Schema,
    /// Ask a running gateway whether it is ready
    Healthcheck(healthcheck::HealthcheckArguments),
    /// Print the version
    Version {
        /// How to print it
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command into a folder
    Man {
        /// The folder to write to
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

/// The file a command reads.
#[derive(Debug, clap::Args)]
struct ConfigArgument {
    /// The configuration; `-` reads it from stdin
    #[arg(short, long, value_name = "FILE", env = "KEYGATE_CONFIG", default_value = "gateway.yaml")]
    config: PathBuf,
    /// Do not look up the names of upstreams: for a check away from the network they are for
    #[arg(long)]
    offline: bool,
}

impl ConfigArgument {
    fn load(&self) -> Result<Loaded, Problems> {
        let names = if self.offline { Names::Assume } else { Names::Resolve };
        config::load_in(&source_of(&self.config), 1, &Surroundings { names, ..Surroundings::system() })
    }
}

fn source_of(path: &std::path::Path) -> Source {
    if path.as_os_str() == "-" { Source::Stdin } else { Source::File(path.to_owned()) }
}

/// `1 key`, `2 keys`.
fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// Prints a report to stderr, in colour where that is wanted.
fn print_problems(problems: &Problems) {
    // If stderr is gone there is nobody left to tell.
    let _ = write!(anstream::stderr(), "{}", problems.render(true));
}

/// Does what was typed.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Two providers could be compiled in one day; naming ours here keeps a first handshake from having to choose. A
    // provider that is already there is ours.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let code = match arguments.command {
        None => run::run(&run::RunArguments::default()),
        Some(Command::Run(arguments)) => run::run(&arguments),
        Some(Command::Demo(arguments)) => run::demo(&arguments),
        Some(Command::Check(arguments)) => check::check(&arguments),
        Some(Command::Keys(arguments)) => keys::keys(&arguments),
        Some(Command::Clients(arguments)) => clients::clients(&arguments),
        Some(Command::Audit(arguments)) => audit::audit(&arguments),
        Some(Command::AdminToken(arguments)) => admin_token::admin_token(&arguments),
        Some(Command::Backup(arguments)) => backup::backup(&arguments),
        Some(Command::Explain(arguments)) => explain::explain(&arguments),
        Some(Command::Hash(arguments)) => hash::hash(&arguments),
        Some(Command::Init(arguments)) => init::init(&arguments),
        Some(Command::Schema) => print_json(&crate::config::schema()),
        Some(Command::Healthcheck(arguments)) => healthcheck::healthcheck(&arguments),
        Some(Command::Version { output }) => print_version(output),
        Some(Command::Completion { shell }) => {
            clap_complete::generate(shell, &mut Arguments::command(), "keygate", &mut io::stdout());
            0
        }
        Some(Command::Man { dir }) => print_manual(dir.as_deref()),
    };
    ExitCode::from(code)
}

/// Prints a line of data. A pipe that was closed early is not an error.
fn print_line(text: &str) -> u8 {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&format!("cannot write to stdout: {error}")),
        _ => 0,
    }
}

fn print_json(value: &serde_json::Value) -> u8 {
    print_line(&format!("{value:#}"))
}

/// Says what went wrong, and gives the exit code for it.
fn fail(message: &str) -> u8 {
    // If stderr is gone there is nobody left to tell.
    let _ = writeln!(anstream::stderr(), "keygate: {message}");
    FAILED
}

fn print_version(output: Output) -> u8 {
    match output {
        Output::Table => print_line(&format!("keygate {}", env!("CARGO_PKG_VERSION"))),
        Output::Json => print_json(&serde_json::json!({
            "name": "keygate",
            "version": env!("CARGO_PKG_VERSION"),
            "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            "rust_version": env!("CARGO_PKG_RUST_VERSION"),
            "features": { "mimalloc": cfg!(feature = "mimalloc") },
        })),
    }
}

fn print_manual(dir: Option<&std::path::Path>) -> u8 {
    let command = Arguments::command();
    let outcome = match dir {
        Some(dir) => std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir)),
        None => clap_mangen::Man::new(command).render(&mut io::stdout()),
    };
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&format!("cannot write the manual: {error}")),
        _ => 0,
    }
}
