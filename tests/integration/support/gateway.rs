//! A running gateway: the built binary with a configuration in a directory of its own, killed when dropped.
//!
//! Configurations are written with placeholders: `{{origin}}` and `{{origin:NAME}}` stand for the URL of an upstream,
//! `{{digest:PLAIN}}` and `{{sha256:PLAIN}}` for the digest of a key, `{{directory}}` for the directory itself. A free
//! port for the listener and the admin listener is asked for unless the text says otherwise; the real addresses are read
//! from the lines printed at the start.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Origin, Response, get, keys, wait};

/// What the configuration is called in its directory.
const CONFIG: &str = "gateway.yaml";

/// The built binary, free of settings from the environment the tests happen to run in.
pub fn keygate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keygate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KEYGATE_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// The same, started by a line of shell that finds it and its arguments in `$0` and `$@`.
fn keygate_by_shell(line: &str) -> Command {
    let binary = keygate();
    let mut command = Command::new("sh");
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::null()).args(["-c", line]).arg(binary.get_program());
    command
}

/// Runs the binary to its end with a text on its standard input.
pub fn keygate_with_input(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = keygate();
    command.current_dir(directory).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // A command that does not read its input closes it: not an error here.
    let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
    child.wait_with_output().expect("its output can be read")
}

/// Prepares a gateway.
#[must_use]
pub struct Builder {
    yaml: String,
    origins: BTreeMap<String, String>,
    files: Vec<(String, Vec<u8>)>,
    descriptors: Option<u32>,
}

impl Builder {
    /// What `{{origin}}` stands for.
    pub fn origin(self, origin: &Origin) -> Self {
        self.named_origin("", &origin.url())
    }

    /// What `{{origin:NAME}}` stands for.
    pub fn named_origin(mut self, name: &str, url: &str) -> Self {
        self.origins.insert(name.to_string(), url.to_string());
        self
    }

    /// A file beside the configuration, placeholders filled.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_string(), text.as_bytes().to_vec()));
        self
    }

    /// Lets the process have so many descriptors and no more.
    pub fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Writes the files and starts the binary; returns when it answers.
    pub fn start(self) -> Gateway {
        let directory = tempfile::tempdir().expect("a directory of its own");
        let mut gateway = Gateway {
            directory,
            origins: self.origins,
            addresses: Vec::new(),
            admin: None,
            admin_over_tls: None,
            child: None,
            stdout: Arc::default(),
            stderr: Arc::default(),
        };
        for (name, text) in &self.files {
            gateway.write(name, &String::from_utf8_lossy(text));
        }
        let yaml = with_defaults(&self.yaml);
        gateway.write(CONFIG, &yaml);
        let mut command = match self.descriptors {
            None => keygate(),
            Some(most) => keygate_by_shell(&format!("ulimit -n {most} && exec \"$0\" \"$@\"")),
        };
        command.current_dir(gateway.directory());
        command.args(["run", "--config", CONFIG]);
        gateway.spawn(command, !yaml.contains("admin: off"));
        gateway
    }
}

/// Adds what every test needs and few tests are about.
fn with_defaults(yaml: &str) -> String {
    let mut text = yaml.to_string();
    for (key, line) in [
        ("listen:", "listen: [{address: 127.0.0.1:0}]"),
        ("admin:", "admin: {address: 127.0.0.1:0}"),
        ("workers:", "workers: 1"),
    ] {
        if !text.lines().any(|there| there.starts_with(key)) {
            text.push('\n');
            text.push_str(line);
        }
    }
    text.push('\n');
    text
}

/// A gateway in a process of its own.
pub struct Gateway {
    directory: tempfile::TempDir,
    origins: BTreeMap<String, String>,
    addresses: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    admin_over_tls: Option<SocketAddr>,
    child: Option<Child>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Gateway {
    /// With this configuration.
    pub fn with(yaml: &str) -> Builder {
        Builder { yaml: yaml.to_string(), origins: BTreeMap::new(), files: Vec::new(), descriptors: None }
    }

    /// With this configuration in front of this upstream.
    pub fn before(origin: &Origin, yaml: &str) -> Self {
        Self::with(yaml).origin(origin).start()
    }

    /// Whatever the arguments start: for commands other than `run --config`. Free ports are asked for by environment,
    /// where the command has no file to say so.
    pub fn from_arguments(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory of its own");
        let mut gateway = Self {
            directory,
            origins: BTreeMap::new(),
            addresses: Vec::new(),
            admin: None,
            admin_over_tls: None,
            child: None,
            stdout: Arc::default(),
            stderr: Arc::default(),
        };
        let mut command = keygate();
        command.current_dir(gateway.directory()).args(arguments);
        command.env("KEYGATE_LISTEN", "127.0.0.1:0").env("KEYGATE_ADMIN", "127.0.0.1:0");
        gateway.spawn(command, true);
        gateway
    }

    /// Starts it again in its directory, with the arguments of `run --config`. The first life must be over.
    pub fn start_again(&mut self) {
        self.run(&["run", "--config", CONFIG]);
    }

    fn run(&mut self, arguments: &[&str]) {
        *self.stdout.lock().expect("no panic holds it") = Vec::new();
        *self.stderr.lock().expect("no panic holds it") = Vec::new();
        let mut command = keygate();
        command.current_dir(self.directory()).args(arguments);
        self.spawn(command, true);
    }

    /// Starts another process in its directory that takes its place, with the configuration as it is now. What ran is the
    /// result; it ends by itself.
    pub fn succeed(&mut self) -> Child {
        let predecessor = self.child.take().expect("it was started");
        self.start_as_successor();
        predecessor
    }

    /// Starts it in its directory to take the place of one that may run.
    pub fn start_as_successor(&mut self) {
        self.run(&["run", "--config", CONFIG, "--take-over"]);
    }

    /// Ends it as a power cut does: nothing is finished, nothing is told.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }

    /// Runs a command of the binary in its directory.
    pub fn command(&self, arguments: &[&str]) -> Output {
        keygate_with_input(self.directory(), arguments, "")
    }

    fn spawn(&mut self, mut command: Command, wants_admin: bool) {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (out, errors) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        collect(out, Arc::clone(&self.stdout));
        collect(errors, Arc::clone(&self.stderr));
        self.child = Some(child);
        let banner = wait::within(wait::DEADLINE, || {
            let banner = Banner::read(&self.stderr());
            let has_admin = banner.admin.is_some() || banner.admin_over_tls.is_some();
            let is_whole = !banner.listening.is_empty() && (has_admin || !wants_admin);
            if is_whole {
                return Some(Ok(banner));
            }
            let child = self.child.as_mut().expect("just started");
            child.try_wait().ok().flatten().map(Err)
        });
        match banner {
            Some(Ok(banner)) => {
                (self.addresses, self.admin) = (banner.listening, banner.admin);
                self.admin_over_tls = banner.admin_over_tls;
            }
            Some(Err(status)) => panic!("it ended at once with {status}:\n{}{}", self.stdout(), self.stderr()),
            None => panic!("no start lines in {:?}:\n{}", wait::DEADLINE, self.stderr()),
        }
        if self.admin.is_some() {
            wait::until("readiness", || (self.admin_get("/readyz").status == 200).then_some(()));
        }
    }

    /// The directory it runs in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the first listener is.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Where all listeners are, in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where the admin listener is.
    pub fn admin(&self) -> SocketAddr {
        self.admin.expect("this gateway has an admin listener")
    }

    /// Where the admin listener is, if it speaks TLS.
    pub fn admin_over_tls(&self) -> SocketAddr {
        self.admin_over_tls.expect("this gateway has an admin listener with TLS")
    }

    /// The process.
    pub fn process_id(&self) -> u32 {
        self.child.as_ref().expect("it was started").id()
    }

    /// The time its threads have computed so far, in hundredths of a second.
    #[cfg(target_os = "linux")]
    pub fn computed(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process_id())).expect("our own child");
        // The name of the program stands in parentheses and may hold anything; what follows are numbers.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok()).expect("a number");
        ticks(11) + ticks(12)
    }

    /// The most memory it has held so far, in KiB.
    #[cfg(target_os = "linux")]
    pub fn most_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process_id())).expect("our own child");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a high-water mark");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
    }

    /// A GET to the admin listener.
    pub fn admin_get(&self, target: &str) -> Response {
        get(self.admin(), target, &[("host", &self.admin().to_string())])
    }

    /// What it has written to its standard output.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.lock().expect("no panic holds it")).into_owned()
    }

    /// What it has written to its standard error.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.lock().expect("no panic holds it")).into_owned()
    }

    /// Waits until its log or its access log says something.
    pub fn wait_for_output(&self, text: &str) {
        wait::until(&format!("{text:?} in the output"), || {
            (self.stdout().contains(text) || self.stderr().contains(text)).then_some(())
        });
    }

    /// The lines of the access log as JSON.
    pub fn access_lines(&self) -> Vec<serde_json::Value> {
        let stdout = self.stdout();
        let whole = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until so many lines stand in the access log.
    pub fn wait_for_access_lines(&self, count: usize) -> Vec<serde_json::Value> {
        wait::until("lines of the access log", || Some(self.access_lines()).filter(|lines| lines.len() >= count))
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.replace("{{directory}}", &self.directory.path().display().to_string());
        for (name, url) in &self.origins {
            let placeholder = if name.is_empty() { "{{origin}}".into() } else { format!("{{{{origin:{name}}}}}") };
            text = text.replace(&placeholder, url);
        }
        keys::fill_digests(&text)
    }

    /// Writes a file in place, placeholders filled.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a directory for the file");
        }
        std::fs::write(&path, self.fill(text)).expect("a file in our own directory");
        // Private keys that others may read are refused.
        #[cfg(unix)]
        if name.contains(".key") {
            use std::os::unix::fs::PermissionsExt;
            let only_ours = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, only_ours).expect("our own file");
        }
    }

    /// Writes a file beside and renames it over, as editors and deployment tools do.
    pub fn replace(&self, name: &str, text: &str) {
        let beside = format!("{name}.new");
        self.write(&beside, text);
        std::fs::rename(self.path(&beside), self.path(name)).expect("a rename within a directory");
    }

    /// Replaces the configuration, with the usual additions. Says nothing about whether it is in force.
    pub fn write_config(&self, yaml: &str) {
        self.replace(CONFIG, &with_defaults(yaml));
    }

    /// Replaces the configuration and waits until it is in force.
    pub fn reload(&self, yaml: &str) {
        let before = self.generation();
        self.write_config(yaml);
        self.signal("HUP");
        self.wait_for_generation(before + 1);
    }

    /// The generation of the rules in force.
    pub fn generation(&self) -> u64 {
        let answer = self.admin_get("/readyz");
        number_after(&answer.text(), "generation")
            .unwrap_or_else(|| panic!("readiness names no generation: {}\n{}", answer.head, answer.text()))
    }

    /// Waits until rules of this generation or a later one are in force.
    pub fn wait_for_generation(&self, generation: u64) {
        wait::until(&format!("generation {generation}"), || (self.generation() >= generation).then_some(()));
    }

    /// The metrics as text.
    pub fn metrics(&self) -> String {
        self.admin_get("/metrics").text()
    }

    /// The sum of all series of a metric that carry these labels.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        sum_of(&self.metrics(), name, labels)
    }

    /// Sends a signal by name, `TERM` or `HUP`.
    pub fn signal(&self, name: &str) {
        let id = self.process_id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().expect("there is a kill command");
        assert!(status.success(), "kill -s {name} {id} failed");
    }

    /// Waits for the process to end by itself.
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it was started");
        wait::until("the end of the process", || child.try_wait().expect("our own child"))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("the gateway wrote to its standard error:\n{}", self.stderr());
        }
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            into.lock().expect("no panic holds it").append(&mut line);
        }
    });
}

/// The addresses in the lines printed at the start.
#[derive(Debug, Default, PartialEq, Eq)]
struct Banner {
    listening: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
    admin_over_tls: Option<SocketAddr>,
}

impl Banner {
    fn read(text: &str) -> Self {
        let mut banner = Self::default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let mut words = line.split_whitespace();
            let (Some(first), Some(url)) = (words.next(), words.next()) else { continue };
            let Some(address) = address_of(url) else { continue };
            match first {
                "listening" => banner.listening.push(address),
                "admin" if url.starts_with("https:") => banner.admin_over_tls = Some(address),
                "admin" => banner.admin = Some(address),
                _ => {}
            }
        }
        banner
    }
}

fn address_of(url: &str) -> Option<SocketAddr> {
    let authority = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let authority = authority.split('/').next()?;
    let mut address: SocketAddr = authority.parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    Some(address)
}

fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = &text[text.find(word)? + word.len()..];
    let start = rest.find(|c: char| c.is_ascii_digit())?;
    let digits: String = rest[start..].chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// Adds up the series of a metric that carry all these labels; 0 if there is none.
pub fn sum_of(metrics: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let mut sum = 0.0;
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let (series_name, series_labels) = series.split_once('{').unwrap_or((series, ""));
        let has_all = labels.iter().all(|(label, value)| series_labels.contains(&format!("{label}=\"{value}\"")));
        if series_name == name && has_all {
            sum += value.parse::<f64>().unwrap_or_else(|_| panic!("not a number: {line}"));
        }
    }
    sum
}

/// Waits a little and states that something never becomes true: for refusals that would show late.
pub fn never(what: &str, time: Duration, mut probe: impl FnMut() -> bool) {
    assert!(wait::within(time, || probe().then_some(())).is_none(), "{what}");
}

mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_start_lines() {
        let text = "keygate 0.1.0\n\n  listening  http://127.0.0.1:8080\n  listening  https://0.0.0.0:8443  (public)\n  admin      http://127.0.0.1:9090\nlistening  http://127.0.0.1:1";
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let expected = Banner {
            listening: vec![at("127.0.0.1:8080"), at("127.0.0.1:8443")],
            admin: Some(at("127.0.0.1:9090")),
            admin_over_tls: None,
        };
        assert_eq!(Banner::read(text), expected, "the last line is not whole yet");
    }

    #[test]
    fn defaults_are_added_only_where_the_text_is_silent() {
        assert_eq!(
            with_defaults("admin: off\nworkers: 2"),
            "admin: off\nworkers: 2\nlisten: [{address: 127.0.0.1:0}]\n"
        );
    }

    #[test]
    fn series_are_added_up_by_their_labels() {
        let text = "# HELP a b\na{x=\"1\",y=\"2\"} 3\na{x=\"1\",y=\"3\"} 4\na{x=\"2\"} 5\nab{x=\"1\"} 9\nb 1\n";
        assert!((sum_of(text, "a", &[("x", "1")]) - 7.0).abs() < f64::EPSILON);
        assert!((sum_of(text, "b", &[]) - 1.0).abs() < f64::EPSILON);
        assert!(sum_of(text, "c", &[]).abs() < f64::EPSILON);
    }

    #[test]
    fn numbers_are_found_in_text_and_json() {
        assert_eq!(number_after("{\"generation\": 12,", "generation"), Some(12));
        assert_eq!(number_after("[+]configuration generation 3", "generation"), Some(3));
        assert_eq!(number_after("nothing", "generation"), None);
    }
}
