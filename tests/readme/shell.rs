//! A shell that commands are typed into, and gateways in the background, on ports of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::page::read;

/// Long enough for a busy machine; whoever waits this long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The binary under test, free of settings from the environment the tests happen to run in.
pub(crate) fn keygate() -> Command {
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
pub(crate) struct Background {
    child: Child,
    words: Arc<Mutex<String>>,
    data: Arc<Mutex<String>>,
}

impl Background {
    pub(crate) fn start(mut command: Command, address: SocketAddr) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (words, data) = (Arc::default(), Arc::default());
        collect(child.stderr.take().expect("it was piped"), &words);
        collect(child.stdout.take().expect("it was piped"), &data);
        let gateway = Self { child, words, data };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() || !gateway.said().contains("Ctrl-C") {
            assert!(began.elapsed() < DEADLINE, "nobody listens at {address}:\n{}", gateway.said());
            thread::sleep(Duration::from_millis(2));
        }
        gateway
    }

    /// Its words, then its data: on a terminal they come in any order.
    pub(crate) fn said(&self) -> String {
        let text = |stream: &Mutex<String>| stream.lock().expect("nobody panics with it").clone();
        text(&self.words) + &text(&self.data)
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
pub(crate) struct Shell {
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
}

/// What stands behind the output of each command.
const END: &str = "---- end of output ----";

impl Shell {
    pub(crate) fn start(directory: &Path) -> Self {
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
    pub(crate) fn run(&mut self, command: &str) -> Vec<String> {
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
pub(crate) struct Ports(Vec<(&'static str, SocketAddr)>);

impl Ports {
    pub(crate) fn take() -> Self {
        let listeners: Vec<_> = ["127.0.0.1:8080", "127.0.0.1:9090", "127.0.0.1:3000"]
            .map(|shown| (shown, TcpListener::bind("127.0.0.1:0").expect("a free port")))
            .into();
        Self(listeners.iter().map(|(shown, taken)| (*shown, taken.local_addr().expect("an address"))).collect())
    }

    pub(crate) fn real(&self, shown: &str) -> SocketAddr {
        self.0.iter().find(|(name, _)| *name == shown).expect("an address of the page").1
    }

    pub(crate) fn put_into(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, &real.to_string()))
    }

    pub(crate) fn take_out_of(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(&real.to_string(), shown))
    }
}

/// The `gateway.yaml` of this repository on other ports. No line of it moves.
pub(crate) fn example(ports: &Ports) -> String {
    let text = read("gateway.yaml");
    let admin = format!("\nadmin: {{ address: \"{}\" }}\nlisten:", ports.real("127.0.0.1:9090"));
    let changed = ports.put_into(&text).replacen("\n\nlisten:", &admin, 1);
    assert_eq!(changed.lines().count(), text.lines().count());
    assert_eq!(changed.matches("admin:").count(), 1);
    changed
}

/// Asks once, and reads until the connection is closed. A target without a method is asked for with `GET`.
pub(crate) fn ask_for(address: SocketAddr, target: &str, fields: &str) -> std::io::Result<String> {
    let (method, target) = target.split_once(' ').unwrap_or(("GET", target));
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{fields}\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
