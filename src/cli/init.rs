//! `keygate init`: writes a commented configuration with one fresh key, shown once.

use std::io::Write;
use std::path::PathBuf;

use super::{fail, print_line};
use crate::credential::{KeyDigest, KeyText};

#[derive(Debug, clap::Args)]
pub(super) struct InitArguments {
    /// The file to write
    #[arg(value_name = "FILE", default_value = "gateway.yaml")]
    file: PathBuf,
    /// The service to protect
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:3000")]
    upstream: String,
    /// The prefix of keys
    #[arg(long, value_name = "PREFIX", default_value = "kg_live_")]
    prefix: String,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

pub(super) fn init(arguments: &InitArguments) -> u8 {
    let secret = match KeyText::generate(&arguments.prefix) {
        Ok(secret) => secret,
        Err(error) => return fail(&format!("cannot make a key: {error}")),
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let text = TEMPLATE
        .replace("@UPSTREAM@", &quoted(&arguments.upstream))
        .replace("@PREFIX@", &quoted(&arguments.prefix))
        .replace("@DIGEST@", &KeyDigest::blake3(&secret).to_string());
    let mut options = std::fs::OpenOptions::new();
    options.write(true);
    if arguments.force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(&arguments.file).and_then(|mut file| file.write_all(text.as_bytes()));
    let name = arguments.file.display();
    match written {
        Ok(()) => {
            let _ = writeln!(
                anstream::stderr(),
                "wrote {name}; the key of its first client follows, and is not shown again\nnext: keygate check -c \
                 {name} && keygate run -c {name}"
            );
            print_line(&String::from_utf8_lossy(secret.expose()))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fail(&format!("{name} is there already; name another file, or write over it with --force"))
        }
        Err(error) => fail(&format!("cannot write {name}: {error}")),
    }
}

/// The file that is written; a test holds it to what `check` accepts.
const TEMPLATE: &str = r#"# The rules of this gateway. `keygate check` reads it and reports every problem; a running gateway takes changes over
# by itself, and keeps what it has if the file is wrong. docs/CONFIGURATION.md lists every field.

listen:
  - address: 127.0.0.1:8080

admin:
  address: 127.0.0.1:9090        # /metrics, /livez, /readyz

upstreams:
  app:
    url: @UPSTREAM@

# How the keys you issue begin. A key with one of these prefixes is never taken for somebody else's token.
key_prefixes:
  - { prefix: @PREFIX@, type: secret }

# Keys that come and go are kept in a store, one file: `keygate keys create` makes them then, docs/KEYS.md tells the rest.
# keys: { store: keygate.db }

# Who may call. Only digests stand here: `keygate hash --generate` makes a key and the digest line for it.
clients:
  - id: first-client
    name: My first client
    client_type: service
    keys:
      - id: key_1
        name: first key
        digest: "@DIGEST@"

# The most specific path wins; the order here never matters. A path governs everything below it.
endpoints:
  - name: everything
    path: /
    upstream: app
    api_key: required            # any good key
    # client_types: [service]                 # only clients of these types
    # permissions: { GET: [orders.read] }     # what a client must have been granted, by verb
    # allow: "clientType == 'service'"        # a rule in words

  # - name: health
  #   path: /health
  #   upstream: app
  #   public: true               # anybody
"#;
