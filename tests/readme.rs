//! What the pages promise is what the program does.
//!
//! The commands of `README.md` are typed, in their order, into one shell in a directory that holds the `gateway.yaml` of this
//! repository, and the answers must be the ones that are shown there. `docs/HTTP.md` must list every status and code that
//! there is, `docs/SECURITY.md` must name tests that exist.
//!
//! Ports are free ones, so that this can run beside everything else: they are put into commands and taken out of answers.
//! Only `cargo run --release` is not typed: the binary that was built for this test is started in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use keygate::admission::Rejection;
use keygate::authentication::KeyFault;
use keygate::config::demo::DEMO_KEYS;
use keygate::config::{self, Source};
use keygate::credential::MalformedCredential;
use keygate::forward::{BadResponse, ForwardError, RequestBodyError};
use keygate::policy::Denial;
use keygate::routing::AmbiguousPath;
use keygate::server::Violation;

const DEADLINE: Duration = Duration::from_secs(20);

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// -- what a page shows ------------------------------------------------------------------------------------------------

/// A command with the answer that is shown below it.
#[derive(Debug)]
struct Shown {
    line: usize,
    command: String,
    answer: Vec<String>,
}

/// Every command of every `console` block of a page.
fn commands(page: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut inside = false;
    for (number, line) in page.lines().enumerate() {
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => inside = line == "```console",
            (true, _) if line == "```" => inside = false,
            (true, Some(command)) => {
                found.push(Shown { line: number + 1, command: command.to_owned(), answer: Vec::new() })
            }
            (true, None) => {
                found.last_mut().expect("a block begins with a command").answer.push(line.trim_end().to_owned());
            }
        }
    }
    found
}

/// The cells of every row below the header that begins like this.
fn table(page: &str, header: &str) -> Vec<Vec<String>> {
    let rows = page.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    let rows: Vec<Vec<String>> = rows
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table {header}");
    rows
}

/// The words of a text that stand between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a line is the one that is shown, where `...` stands for anything.
fn line_is(shown: &str, line: &str) -> bool {
    let mut parts = shown.split("...");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether an answer is the one that is shown, where a line of `...` stands for any lines or none.
fn answer_is(shown: &[String], lines: &[&str]) -> bool {
    match shown.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|skipped| answer_is(rest, &lines[skipped..])),
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, lines)| line_is(first, line) && answer_is(rest, lines))
        }
    }
}

#[test]
fn an_answer_that_differs_would_be_seen() {
    for (shown, lines, same) in [
        (&["a", "b"][..], &["a", "b"][..], true),
        (&["a"], &["a", "b"], false),
        (&["a", "b"], &["b", "a"], false),
        (&["a", "...", "c"], &["a", "b", "b", "c"], true),
        (&["...", "c"], &["a", "b"], false),
        (&["id: ..."], &["id: 7"], true),
        (&["{...,\"code\":\"x\",...}"], &["{\"a\":1,\"code\":\"x\",\"b\":2}"], true),
        (&["{...,\"code\":\"x\",...}"], &["{\"a\":1,\"code\":\"y\",\"b\":2}"], false),
        (&["a"], &[], false),
        (&[], &["a"], false),
    ] {
        let owned: Vec<String> = shown.iter().map(|&line| line.to_owned()).collect();
        assert_eq!(answer_is(&owned, lines), same, "{shown:?} {lines:?}");
    }
    let page = "```console\n$ a\n1\n$ b\n```\ntext\n```sh\n$ c\n```\n";
    let found: Vec<_> = commands(page).into_iter().map(|shown| (shown.command, shown.answer.len())).collect();
    assert_eq!(found, [("a".to_owned(), 1), ("b".to_owned(), 0)]);
}

// -- a shell and a gateway --------------------------------------------------------------------------------------------

/// The binary under test, free of settings from the environment the tests happen to run in.
fn keygate() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_keygate")))
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KEYGATE_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1");
    command
}

/// A gateway in the background, with what it has said on both streams; stopped when dropped.
struct Background {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Background {
    fn start(mut command: Command, address: SocketAddr) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let said = Arc::default();
        collect(child.stdout.take().expect("it was piped"), &said);
        collect(child.stderr.take().expect("it was piped"), &said);
        let gateway = Self { child, said };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() || !gateway.said().contains("Ctrl-C") {
            assert!(began.elapsed() < DEADLINE, "nobody listens at {address}:\n{}", gateway.said());
            thread::sleep(Duration::from_millis(2));
        }
        gateway
    }

    fn said(&self) -> String {
        self.said.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stream: impl Read + Send + 'static, said: &Arc<Mutex<String>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut said = said.lock().expect("nobody panics with it");
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// One shell for all commands, so that variables stay.
struct Shell {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

/// What stands behind the output of each command.
const END: &str = "---- end of output ----";

impl Shell {
    fn start(directory: &Path) -> Self {
        let folder = Path::new(env!("CARGO_BIN_EXE_keygate")).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = without_settings(Command::new("bash"))
            .env("PATH", format!("{}:{path}", folder.display()))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a bash");
        let input = child.stdin.take().expect("it was piped");
        let output = child.stdout.take().expect("it was piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut shell = Self { child, input, lines };
        shell.run("exec 2>&1");
        shell
    }

    /// Types a command and waits for the end of its output.
    fn run(&mut self, command: &str) -> Vec<String> {
        writeln!(self.input, "{command}\nprintf '\\n%s\\n' '{END}'").expect("the shell lives");
        let mut output = Vec::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no end of `{command}`"));
            if line == END {
                break;
            }
            output.push(line.trim_end().to_owned());
        }
        // The line break before the end mark: after a whole line it makes an empty one.
        if output.last().is_some_and(String::is_empty) {
            output.pop();
        }
        output
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Free ports in place of those that a page names.
struct Ports(Vec<(&'static str, SocketAddr)>);

impl Ports {
    fn take() -> Self {
        let listeners: Vec<_> = ["127.0.0.1:8080", "127.0.0.1:9090", "127.0.0.1:3000"]
            .map(|shown| (shown, TcpListener::bind("127.0.0.1:0").expect("a free port")))
            .into();
        Self(listeners.iter().map(|(shown, taken)| (*shown, taken.local_addr().expect("an address"))).collect())
    }

    fn real(&self, shown: &str) -> SocketAddr {
        self.0.iter().find(|(name, _)| *name == shown).expect("an address of the page").1
    }

    fn put_into(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, &real.to_string()))
    }

    fn take_out_of(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(&real.to_string(), shown))
    }
}

/// The `gateway.yaml` of this repository on other ports. No line of it moves.
fn example(ports: &Ports) -> String {
    let text = read("gateway.yaml");
    let admin = format!("\nadmin: {{ address: \"{}\" }}\nlisten:", ports.real("127.0.0.1:9090"));
    let changed = ports.put_into(&text).replacen("\n\nlisten:", &admin, 1);
    assert_eq!(changed.lines().count(), text.lines().count());
    assert_eq!(changed.matches("admin:").count(), 1);
    changed
}

/// The arguments of a command that does not end by itself.
fn service(command: &str, ports: &Ports) -> Option<Vec<String>> {
    if command == "cargo run --release" {
        return Some(Vec::new());
    }
    let url = command.strip_prefix("keygate run --upstream ")?;
    let [listen, admin] = ["127.0.0.1:8080", "127.0.0.1:9090"].map(|shown| ports.real(shown).to_string());
    let words = ["run", "--upstream", url, "--listen", &listen, "--admin", &admin];
    Some(words.map(str::to_owned).into())
}

#[test]
fn the_commands_of_the_readme_answer_as_it_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let ports = Ports::take();
    fs::write(directory.path().join("gateway.yaml"), example(&ports)).expect("written");
    let mut shell = Shell::start(directory.path());
    let mut gateway: Option<Background> = None;
    let said_by = |gateway: &Option<Background>| gateway.as_ref().map(Background::said).unwrap_or_default();
    let shown = commands(&read("README.md"));
    assert!(shown.len() > 20, "{} commands", shown.len());
    for Shown { line, command, answer } in shown {
        let real = ports.put_into(&command);
        let service = service(&real, &ports);
        if let Some(arguments) = &service {
            drop(gateway.take());
            let mut binary = keygate();
            binary.current_dir(directory.path()).args(arguments);
            gateway = Some(Background::start(binary, ports.real("127.0.0.1:8080")));
        }
        let began = Instant::now();
        loop {
            let said = match &service {
                Some(_) => said_by(&gateway).lines().map(str::to_owned).collect(),
                None => shell.run(&real),
            };
            let said: Vec<String> = said.iter().map(|line| ports.take_out_of(line)).collect();
            if answer_is(&answer, &said.iter().map(String::as_str).collect::<Vec<_>>()) {
                break;
            }
            // A question about what has just been changed may come too early on a busy machine.
            let may_change = service.is_some() || command.starts_with("curl ");
            assert!(
                may_change && began.elapsed() < DEADLINE / 4,
                "README.md:{line}: {command}\n-- shown\n{}\n-- real\n{}\n-- gateway\n{}",
                answer.join("\n"),
                said.join("\n"),
                said_by(&gateway),
            );
            thread::sleep(Duration::from_millis(100));
        }
    }
    let left = fs::read_to_string(directory.path().join("gateway.yaml")).expect("it is there");
    assert_eq!(left, example(&ports), "the tour leaves the file as it was");
}

#[test]
fn the_table_of_keys_is_that_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.yaml");
    let loaded = config::load(&Source::File(path), 1).unwrap_or_else(|problems| panic!("{problems}"));
    let type_of = |client: &str| {
        let record = loaded.keys.iter().find(|record| record.key.client.id.as_str() == client);
        record.map(|record| record.key.client.client_type.as_str().to_owned()).unwrap_or_default()
    };
    let known: Vec<[String; 3]> =
        DEMO_KEYS.iter().map(|key| [key.client.to_owned(), type_of(key.client), key.key.to_owned()]).collect();
    let shown: Vec<[String; 3]> = table(&read("README.md"), "| client | client type |")
        .into_iter()
        .map(|row| [&row[0], &row[1], &row[3]].map(|cell| cell.trim_matches('`').to_owned()))
        .collect();
    assert_eq!(shown, known);
}

/// From the start of the process to the first answer: less than 200 ms, for a debug build too. The best of five counts: the
/// question is what the program needs, not what else the machine does.
#[test]
fn the_first_answer_comes_at_once() {
    let most = Duration::from_millis(200);
    let directory = tempfile::tempdir().expect("a directory");
    for is_demo in [false, true] {
        let best = (0..5).map(|_| time_to_first_answer(directory.path(), is_demo)).min().expect("five times");
        println!("{} {best:?}", if is_demo { "keygate demo" } else { "keygate" });
        assert!(best < most, "{best:?}, at most {most:?}; demo: {is_demo}");
    }
}

fn time_to_first_answer(directory: &Path, is_demo: bool) -> Duration {
    let ports = Ports::take();
    let address = ports.real("127.0.0.1:8080");
    fs::write(directory.join("gateway.yaml"), example(&ports)).expect("written");
    let mut command = keygate();
    command.current_dir(directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if is_demo {
        command.args(["demo", "--listen", &address.to_string(), "--admin", "off"]);
    }
    let began = Instant::now();
    let mut child = command.spawn().expect("the binary starts");
    let answer = loop {
        let answer = ask_for(address, "/orders/1", "");
        if answer.is_ok() || began.elapsed() > DEADLINE {
            break answer;
        }
        thread::sleep(Duration::from_millis(1));
    };
    let took = began.elapsed();
    let _ = child.kill();
    let _ = child.wait();
    let answer = answer.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    took
}

fn ask_for(address: SocketAddr, path: &str, fields: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

// -- docs/HTTP.md -----------------------------------------------------------------------------------------------------

/// Values of an enum, one for each variant. A variant that is missing here does not compile.
macro_rules! every {
    ($($pattern:pat => $value:expr),* $(,)?) => {{
        let values = vec![$($value),*];
        for value in &values {
            match value { $($pattern => {})* }
        }
        values
    }};
}

fn rejections() -> Vec<Rejection> {
    let malformed = every! {
        MalformedCredential::Ambiguous => MalformedCredential::Ambiguous,
        MalformedCredential::NotAscii => MalformedCredential::NotAscii,
        MalformedCredential::NotBearer => MalformedCredential::NotBearer,
        MalformedCredential::Empty => MalformedCredential::Empty,
        MalformedCredential::TooLong => MalformedCredential::TooLong,
    };
    let faults = every! {
        KeyFault::Unknown => KeyFault::Unknown,
        KeyFault::Disabled => KeyFault::Disabled,
        KeyFault::ClientDisabled => KeyFault::ClientDisabled,
        KeyFault::NotYetValid => KeyFault::NotYetValid,
        KeyFault::Expired => KeyFault::Expired,
        KeyFault::Superseded => KeyFault::Superseded,
        KeyFault::WrongEnvironment => KeyFault::WrongEnvironment,
    };
    let denials = every! {
        Denial::CredentialMissing => Denial::CredentialMissing,
        Denial::UserRequired => Denial::UserRequired,
        Denial::HttpsRequired => Denial::HttpsRequired,
        Denial::KeyTypeNotAllowed { .. } => Denial::KeyTypeNotAllowed { required: Box::default() },
        Denial::ClientTypeNotAllowed { .. } => Denial::ClientTypeNotAllowed { required: Box::default() },
        Denial::PermissionMissing { .. } => Denial::PermissionMissing { required: Box::default() },
        Denial::ReadOnly => Denial::ReadOnly,
        Denial::TenantMismatch => Denial::TenantMismatch,
        Denial::NetworkNotAllowed => Denial::NetworkNotAllowed,
        Denial::OriginNotAllowed => Denial::OriginNotAllowed,
        Denial::ExpressionFalse => Denial::ExpressionFalse,
    };
    let mut rejections = every! {
        Rejection::PathAmbiguous(_) => Rejection::PathAmbiguous(AmbiguousPath::DotSegment),
        Rejection::PathNotAdmitted(_) => Rejection::PathNotAdmitted(""),
        Rejection::HostInvalid => Rejection::HostInvalid,
        Rejection::EndpointNotFound => Rejection::EndpointNotFound,
        Rejection::MethodNotAllowed { .. } => Rejection::MethodNotAllowed { allowed: Box::default() },
        Rejection::CredentialMalformed(_) => Rejection::CredentialMalformed(MalformedCredential::Empty),
        Rejection::KeyRejected(_) => Rejection::KeyRejected(KeyFault::Unknown),
        Rejection::IdentityMalformed => Rejection::IdentityMalformed,
        Rejection::Denied(_) => Rejection::Denied(Denial::ReadOnly),
        Rejection::BodyTooLarge => Rejection::BodyTooLarge,
        Rejection::KeysNotLoaded => Rejection::KeysNotLoaded,
    };
    rejections.extend(malformed.into_iter().map(Rejection::CredentialMalformed));
    rejections.extend(faults.into_iter().map(Rejection::KeyRejected));
    rejections.extend(denials.into_iter().map(Rejection::Denied));
    rejections
}

fn upstream_faults() -> Vec<ForwardError> {
    let nothing = || std::io::Error::other("a test");
    let bodies = every! {
        RequestBodyError::TooLarge => RequestBodyError::TooLarge,
        RequestBodyError::TimedOut => RequestBodyError::TimedOut,
        RequestBodyError::Closed(_) => RequestBodyError::Closed(None),
        RequestBodyError::Malformed(_) => RequestBodyError::Malformed(None),
    };
    let mut faults = every! {
        ForwardError::NoServer => ForwardError::NoServer,
        ForwardError::ConnectRefused(_) => ForwardError::ConnectRefused(nothing()),
        ForwardError::ConnectFailed(_) => ForwardError::ConnectFailed(nothing()),
        ForwardError::ConnectTimeout => ForwardError::ConnectTimeout,
        ForwardError::Tls(_) => ForwardError::Tls(nothing()),
        ForwardError::Closed(_) => ForwardError::Closed(None),
        ForwardError::BadResponse(_) => ForwardError::BadResponse(BadResponse::HeadTooLarge),
        ForwardError::ResponseTimeout => ForwardError::ResponseTimeout,
        ForwardError::SendTimeout => ForwardError::SendTimeout,
        ForwardError::BodyCut(_) => ForwardError::BodyCut(None),
        ForwardError::BodyTimeout => ForwardError::BodyTimeout,
        ForwardError::RequestBody(_) => ForwardError::RequestBody(RequestBodyError::TooLarge),
    };
    faults.extend(bodies.into_iter().map(ForwardError::RequestBody));
    faults
}

/// The words that only answers use: where the exact code says more than a caller is told.
const TOLD_ONLY: [(&str, &str); 4] = [
    ("credential_rejected", "src/gateway/response.rs"),
    ("upstream_unreachable", "src/gateway/response.rs"),
    ("upstream_timeout", "src/gateway/response.rs"),
    ("internal_error", "src/server/handler.rs"),
];

#[test]
fn the_tables_of_codes_list_what_there_is() {
    let page = read("docs/HTTP.md");
    let word = |cell: &String| quoted(cell).next().unwrap_or_default().to_owned();
    let told: BTreeMap<String, String> =
        table(&page, "| status | code | meaning |").iter().map(|row| (word(&row[1]), row[0].clone())).collect();
    let exact: BTreeMap<String, String> =
        table(&page, "| exact code | told as |").iter().map(|row| (word(&row[0]), word(&row[1]))).collect();

    let mut known: BTreeSet<String> = rejections().iter().map(|rejection| rejection.code().to_owned()).collect();
    known.extend(upstream_faults().iter().map(|fault| fault.code().to_owned()));
    for (code, place) in TOLD_ONLY {
        assert!(read(place).contains(&format!("\"{code}\"")), "{place} no longer says {code}");
        known.insert(code.to_owned());
    }
    let listed: BTreeSet<String> = told.keys().chain(exact.keys()).cloned().collect();
    assert_eq!(listed, known);
    for (exact, general) in &exact {
        assert!(told.contains_key(general), "{exact} is told as {general}, which is in no table");
        assert!(!told.contains_key(exact), "{exact} stands in both tables");
    }
    for fault in upstream_faults() {
        let code = exact.get(fault.code()).map_or(fault.code(), String::as_str);
        assert_eq!(told[code], fault.status().as_str(), "{code}");
    }

    let malformed: Vec<Vec<String>> = Violation::ALL
        .iter()
        .map(|violation| {
            [violation.status().as_str(), &format!("`{}`", violation.code()), violation.text()]
                .map(str::to_owned)
                .into()
        })
        .collect();
    assert_eq!(table(&page, "| status | code | what is wrong |"), malformed);
}

/// What a caller is told of each rejection, with its status, from the source of the one table of answers.
#[test]
fn the_answers_have_the_statuses_of_the_table() {
    let source = read("src/gateway/response.rs");
    let page = read("docs/HTTP.md");
    let words: Vec<&str> = source.split("fn of_upstream").next().unwrap_or_default().split_whitespace().collect();
    let mut status = "";
    let mut seen = BTreeSet::new();
    for word in words {
        if let Some((_, name)) = word.split_once("StatusCode::") {
            status = name.trim_end_matches(',');
        } else if word.contains("forbidden(") {
            status = "FORBIDDEN";
        }
        let code = word.rsplit('(').next().unwrap_or_default().trim_matches(|c| matches!(c, ',' | '"'));
        let number = match status {
            "BAD_REQUEST" => 400,
            "UNAUTHORIZED" => 401,
            "FORBIDDEN" => 403,
            "NOT_FOUND" => 404,
            "METHOD_NOT_ALLOWED" => 405,
            "PAYLOAD_TOO_LARGE" => 413,
            "SERVICE_UNAVAILABLE" => 503,
            _ => continue,
        };
        let row = table(&page, "| status | code | meaning |").into_iter().find(|row| row[1] == format!("`{code}`"));
        if let (Some(row), true) = (row, word.contains('"')) {
            // Malformed credentials get their status below their words.
            if !matches!(code, "credential_ambiguous" | "credential_malformed") {
                assert_eq!(row[0], number.to_string(), "{code}");
            }
            seen.insert(code.to_owned());
        }
    }
    assert!(seen.len() >= 20, "{seen:?}");
}

#[test]
fn the_formats_of_refusals_are_as_shown() {
    let (directory, ports) = (tempfile::tempdir().expect("a directory"), Ports::take());
    let formats = ["problem", "envelope", "bkend", "billabear"];
    let mut text = example(&ports);
    for format in formats {
        let endpoint = format!(
            "  - {{ name: {format}, path: /{format}, permissions: [orders.write], errors: {{ format: {format} }} }}\n"
        );
        text = text.replacen("endpoints:\n", &format!("endpoints:\n{endpoint}"), 1);
    }
    fs::write(directory.path().join("gateway.yaml"), text).expect("written");
    let address = ports.real("127.0.0.1:8080");
    let mut command = keygate();
    command.current_dir(directory.path());
    let _gateway = Background::start(command, address);
    let page = read("docs/HTTP.md");
    let shown: Vec<&str> = page.split("```json\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert_eq!(shown.len(), formats.len());
    for (format, shown) in formats.iter().zip(shown) {
        let answer = ask_for(address, &format!("/{format}"), &format!("X-Api-Key: {}\r\n", DEMO_KEYS[0].key));
        let answer = answer.unwrap_or_else(|error| panic!("{format}: {error}"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.starts_with("HTTP/1.1 403 "), "{format}: {head}");
        let comparable = |text: &str| {
            let mut value: serde_json::Value =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            if let Some(id) = value.get_mut("request_id") {
                *id = "an id".into();
            }
            value
        };
        assert_eq!(comparable(body), comparable(shown), "{format}");
    }
}

// -- docs/SECURITY.md -------------------------------------------------------------------------------------------------

/// Every test of this crate by its name, with the files it stands in.
fn tests_by_name() -> BTreeMap<String, Vec<String>> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) {
        for entry in fs::read_dir(folder).expect("a folder of the crate") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source is text");
                let file = path.with_extension("").to_string_lossy().into_owned();
                let mut is_test = false;
                for line in text.lines().map(str::trim) {
                    if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                        is_test = true;
                    } else if let Some((_, name)) = line.split_once("fn ").filter(|_| !line.starts_with("//")) {
                        // Inside of `proptest!` the attribute stands in front too.
                        let name = name.split(['(', '<']).next().unwrap_or_default();
                        if std::mem::take(&mut is_test) {
                            found.entry(name.to_owned()).or_default().push(file.clone());
                        }
                    }
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    walk(&root.join("src"), &mut found);
    walk(&root.join("tests"), &mut found);
    found
}

#[test]
fn every_promise_names_tests_that_exist() {
    let page = read("docs/SECURITY.md");
    let tests = tests_by_name();
    assert!(tests.len() > 300, "{}", tests.len());
    let mut number = 0;
    for line in page.lines() {
        let Some((digits, promise)) = line.split_once(". ").filter(|(digits, _)| digits.parse::<u32>().is_ok()) else {
            continue;
        };
        number += 1;
        assert_eq!(digits, number.to_string(), "the numbers of promises are referred to");
        let guards: Vec<&str> = quoted(promise).filter(|word| word.contains("::")).collect();
        assert!(!guards.is_empty() || promise.contains("**Not yet:**"), "nothing guards promise {number}");
        for guard in guards {
            let mut folders: Vec<&str> = guard.split("::").collect();
            let name = folders.pop().expect("split gives one at least");
            if folders[0] != "src" && folders[0] != "fuzz" {
                folders.insert(0, "integration");
            }
            let is_there = tests.get(name).is_some_and(|files| {
                files.iter().any(|file| {
                    let parts: Vec<&str> = file.split('/').collect();
                    folders.iter().all(|folder| parts.contains(folder))
                })
            });
            assert!(is_there, "promise {number}: there is no test {guard}");
        }
    }
    assert_eq!(number, 27);
}

/// The limits that have a name in the configuration are those of the manual, with the same default.
#[test]
fn the_limits_have_the_defaults_of_the_manual() {
    let manual = read("docs/CONFIGURATION.md");
    let plain = |text: &str| text.replace([' ', '`'], "");
    let mut compared = 0;
    for row in table(&read("docs/SECURITY.md"), "| what | default |") {
        let Some(path) = quoted(&row[2]).next() else { continue };
        let (section, field) = path.rsplit_once('.').expect("a field of a section");
        let section =
            manual.split(&format!("\n## `{section}`\n")).nth(1).unwrap_or_else(|| panic!("no section {section}"));
        let section = section.split("\n## ").next().unwrap_or_default();
        let line = section.lines().find(|line| line.starts_with(&format!("- **`{field}`**")));
        let line = line.unwrap_or_else(|| panic!("no field {path}"));
        let default = line.split("Default: `").nth(1).and_then(|rest| rest.split('`').next()).unwrap_or_default();
        let shown = row[1].split([':', ',']).next().unwrap_or_default();
        assert_eq!(plain(shown), default, "{path}: {line}");
        compared += 1;
    }
    assert_eq!(compared, 18);
}
