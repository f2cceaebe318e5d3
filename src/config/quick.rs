//! Configurations made from a few words on a command line.
//!
//! They are written as YAML and loaded like any other, so that what is true of a file is true of them: every check, every
//! default.

use std::path::PathBuf;

use super::Source;

/// What a command line says instead of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quick {
    /// Where everything leads.
    pub upstream: QuickUpstream,
    /// Where callers connect to, as in `listen`; the usual address if nothing is said.
    pub listen: Option<String>,
    /// Where operators connect to, or `off`; the usual address if nothing is said.
    pub admin: Option<String>,
    /// The file of a store.
    pub store: Option<String>,
    /// Keys files.
    pub keys_files: Vec<String>,
    /// Keys by the name of a client and a digest.
    pub keys: Vec<(String, String)>,
    /// Paths that need no key.
    pub public: Vec<String>,
}

/// Where everything leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuickUpstream {
    /// To a server.
    Url(String),
    /// To the built-in echo.
    Echo,
}

/// Protects one upstream: any good key may do anything, paths that are public excepted.
#[must_use]
pub fn quick(wanted: &Quick) -> Source {
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    if let Some(address) = &wanted.listen {
        line(format!("listen: [{{ address: {} }}]", quoted(address)));
    }
    match wanted.admin.as_deref() {
        Some("off") => line("admin: off".to_owned()),
        Some(address) => line(format!("admin: {{ address: {} }}", quoted(address))),
        None => {}
    }
    let upstream = match &wanted.upstream {
        QuickUpstream::Url(url) => format!("{{ url: {} }}", quoted(url)),
        QuickUpstream::Echo => "{ echo: true }".to_owned(),
    };
    // Standard output is for the key alone.
    line("access_log: off".to_owned());
    line(format!("upstreams: {{ upstream: {upstream} }}"));
    let mut kept = Vec::new();
    kept.extend(wanted.store.iter().map(|store| format!("store: {}", quoted(store))));
    if !wanted.keys_files.is_empty() {
        let files: Vec<_> = wanted.keys_files.iter().map(|file| quoted(file)).collect();
        kept.push(format!("files: [{}]", files.join(", ")));
    }
    if !kept.is_empty() {
        line(format!("keys: {{ {} }}", kept.join(", ")));
        line("key_prefixes: [{ prefix: kg_live_ }]".to_owned());
    }
    if !wanted.keys.is_empty() {
        line("clients:".to_owned());
    }
    for (number, (client, digest)) in wanted.keys.iter().enumerate() {
        let (client, digest) = (quoted(client), quoted(digest));
        line(format!(
            "  - {{ id: {client}, client_type: client, keys: [{{ id: key_{}, name: {client}, digest: {digest} }}] }}",
            number + 1
        ));
    }
    line("endpoints:".to_owned());
    line("  - { name: everything, path: /, api_key: required }".to_owned());
    for (number, path) in wanted.public.iter().enumerate() {
        line(format!("  - {{ name: public-{}, path: {}, public: true }}", number + 1, quoted(path)));
    }
    Source::Text { name: "command line".to_owned(), text, directory: PathBuf::new() }
}

/// A text in quotes: each JSON string is a YAML string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    #[test]
    fn a_command_line_is_loaded_like_a_file() {
        let digest = format!("blake3:{}", "ab".repeat(32));
        let wanted = Quick {
            upstream: QuickUpstream::Url("http://127.0.0.1:3000".to_owned()),
            listen: Some("0.0.0.0:80".to_owned()),
            admin: Some("off".to_owned()),
            store: None,
            keys_files: Vec::new(),
            keys: vec![("shop".to_owned(), digest)],
            public: vec!["/health".to_owned()],
        };
        let loaded = load(&quick(&wanted), 1).expect("good");
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        assert_eq!(loaded.settings.listeners[0].address.to_string(), "0.0.0.0:80");
        assert_eq!(loaded.settings.admin, None);
        assert_eq!(loaded.keys.len(), 1);
        let policies: Vec<_> =
            loaded.snapshot.router.endpoints().iter().map(|endpoint| endpoint.base.policy.public).collect();
        assert_eq!(policies, [false, true]);
    }

    #[test]
    fn what_stands_on_a_command_line_cannot_become_structure() {
        let wanted = Quick {
            upstream: QuickUpstream::Url("http://x\" }, y: { echo: true".to_owned()),
            listen: None,
            admin: None,
            store: None,
            keys_files: Vec::new(),
            keys: Vec::new(),
            public: Vec::new(),
        };
        let problems = load(&quick(&wanted), 1).expect_err("not a URL");
        assert!(problems.to_string().contains("has no good port"), "{problems}");
    }
}
