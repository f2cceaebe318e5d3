//! A restart loses nothing: the new process gets the sockets of the old one, or the service manager keeps them.

use std::io::Read as _;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use command_fds::{CommandFdExt as _, FdMapping};

use super::support::gateway::keygate;
use super::support::{Caller, Gateway, Origin, Play, Report, get, wait};

/// The ports are free ones, and stay the same: a successor looks for a gateway at the addresses of its configuration.
fn config(listen: u16, admin: u16, workers: usize) -> String {
    format!(
        r#"
listen: [{{address: "127.0.0.1:{listen}"}}]
admin: {{address: "127.0.0.1:{admin}"}}
workers: {workers}
upstreams: {{ api: {{ url: "{{{{origin}}}}" }} }}
keys: {{ store: keys.db }}
clients: [ {{ id: shop, client_type: cms, keys: [ {{ id: key_1, name: k, digest: "{{{{digest:shop-key}}}}" }} ] }} ]
endpoints:
  - {{ name: all, path: /, upstream: api, api_key: required }}
"#
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port()
}

fn wait_for_exit(child: &mut Child) -> Option<i32> {
    wait::until("the predecessor to end", || child.try_wait().expect("our own child")).code()
}

/// Callers that ask without a pause, on kept connections and on one for each request, and count what fails.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(address: std::net::SocketAddr) -> Self {
        let (is_over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let threads = (0..4)
            .map(|number| {
                let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
                thread::spawn(move || {
                    let mut failed = Vec::new();
                    let mut kept: Option<Caller> = None;
                    while !is_over.load(Ordering::SeqCst) {
                        let mut caller = match kept.take().map_or_else(|| Caller::try_connect(address), Ok) {
                            Ok(caller) => caller,
                            Err(error) => {
                                failed.push(format!("connecting: {error}"));
                                continue;
                            }
                        };
                        caller.send("GET /load HTTP/1.1\r\nhost: a\r\nx-api-key: shop-key\r\n\r\n");
                        match caller.try_response("GET") {
                            Ok(answer) if answer.status == 200 && answer.is_complete => {
                                answered.fetch_add(1, Ordering::SeqCst);
                                let closes =
                                    answer.header("connection").is_some_and(|it| it.eq_ignore_ascii_case("close"));
                                kept = (number % 2 == 0 && !closes).then_some(caller);
                            }
                            Ok(answer) => failed.push(format!("{} {}", answer.status, answer.text())),
                            Err(error) => failed.push(format!("answer: {error}")),
                        }
                    }
                    failed
                })
            })
            .collect();
        Self { is_over, answered, threads }
    }

    fn wait_for_more(&self, count: usize) {
        let goal = self.answered.load(Ordering::SeqCst) + count;
        wait::until("load", || (self.answered.load(Ordering::SeqCst) >= goal).then_some(()));
    }

    /// The number that was answered, and what failed.
    fn end(self) -> (usize, Vec<String>) {
        self.is_over.store(true, Ordering::SeqCst);
        let failed = self.threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
        (self.answered.load(Ordering::SeqCst), failed)
    }
}

#[test]
fn no_request_is_lost_while_one_process_takes_anothers_place() {
    let origin = Origin::start();
    let (listen, admin) = (free_port(), free_port());
    let mut gateway = Gateway::with(&config(listen, admin, 2)).origin(&origin).start();
    let load = Load::on(gateway.address());
    load.wait_for_more(200);
    let mut report = Report::new();
    // As many workers, fewer, more.
    for workers in [2, 1, 3, 2] {
        gateway.write_config(&config(listen, admin, workers));
        let before = gateway.process_id();
        let mut predecessor = gateway.succeed();
        report.equal(workers, wait_for_exit(&mut predecessor), Some(0));
        report.holds(workers, "another process serves", gateway.process_id() != before);
        load.wait_for_more(200);
        report.equal(workers, gateway.admin_get("/readyz").status, 200);
        // The command line speaks to the one that serves now: the key is good when it has been printed.
        let name = format!("key {before}");
        let made = gateway.command(&["keys", "create", &name, "--client", "shop-2", "--client-type", "cms"]);
        report.holds(workers, String::from_utf8_lossy(&made.stderr), made.status.success());
        let secret = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        report.equal(workers, get(gateway.address(), "/", &[("x-api-key", &secret)]).status, 200);
        report.holds(workers, "the socket is there", gateway.path("keys.db.sock").exists());
    }
    let (answered, failed) = load.end();
    assert!(
        failed.is_empty(),
        "{} of {} failed: {:?}",
        failed.len(),
        answered + failed.len(),
        &failed[..failed.len().min(5)]
    );
    gateway.signal("TERM");
    assert_eq!(gateway.wait_for_exit().code(), Some(0), "{}", gateway.stderr());
    assert!(!gateway.path("keys.db.sock").exists(), "the last one takes the local socket's file with it");
}

#[test]
fn what_is_in_flight_is_finished_by_the_one_that_ends() {
    let released = Arc::new(AtomicBool::new(false));
    let slow = Play::slow_until(&released);
    let origin = Origin::directed(move |request| if request.target() == "/slow" { slow.clone() } else { Play::Echo });
    let mut gateway = Gateway::with(&config(free_port(), free_port(), 1)).origin(&origin).start();
    let mut slow = Caller::connect(gateway.address());
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\nx-api-key: shop-key\r\n\r\n");
    origin.wait_for(1);
    let mut predecessor = gateway.succeed();
    assert_eq!(get(gateway.address(), "/fast", &[("x-api-key", "shop-key")]).status, 200);
    assert!(predecessor.try_wait().expect("our own child").is_none(), "it waits for what it has begun");
    released.store(true, Ordering::SeqCst);
    assert_eq!(slow.response().text(), "slow");
    assert_eq!(wait_for_exit(&mut predecessor), Some(0));
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    let origin = Origin::start();
    let gateway = Gateway::with(&config(free_port(), free_port(), 1)).origin(&origin).start();
    let load = Load::on(gateway.address());
    // One does not get as far as the sockets; the other gets them, and then finds that its store is none.
    let text = std::fs::read_to_string(gateway.path("gateway.yaml")).expect("it was written");
    gateway.write("bad.yaml", &format!("{text}\nlisten: []\n"));
    gateway.write("blocked.yaml", &text.replace("keys: { store: keys.db }", "keys: { store: no-store.db }"));
    gateway.write("no-store.db", "this is no store");
    for (config, code) in [("bad.yaml", 78), ("blocked.yaml", 1)] {
        let output = gateway.command(&["run", "--config", config, "--take-over"]);
        assert_eq!(output.status.code(), Some(code), "{config}: {}", String::from_utf8_lossy(&output.stderr));
    }
    load.wait_for_more(100);
    assert_eq!(gateway.admin_get("/readyz").status, 200);
    let (_, failed) = load.end();
    assert_eq!(failed, Vec::<String>::new());
}

#[test]
fn where_none_runs_a_successor_starts_as_usual() {
    let origin = Origin::start();
    let mut gateway = Gateway::with(&config(free_port(), free_port(), 1)).origin(&origin).start();
    gateway.signal("TERM");
    gateway.wait_for_exit();
    gateway.start_as_successor();
    assert_eq!(get(gateway.address(), "/", &[("x-api-key", "shop-key")]).status, 200);
}

/// As the service manager does it: the sockets are open before the process, and stay open when it ends.
#[test]
fn sockets_of_the_service_manager_are_used_by_all_workers_and_outlive_the_process() {
    let origin = Origin::start();
    let (callers, operators) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (callers, operators) = (callers.expect("a free port"), operators.expect("a free port"));
    let port = |socket: &TcpListener| socket.local_addr().expect("bound").port();
    let directory = tempfile::tempdir().expect("a directory of its own");
    let yaml = config(port(&callers), port(&operators), 2).replace("{{origin}}", &origin.url());
    let yaml = yaml.replace("{{digest:shop-key}}", &super::support::keys::blake3("shop-key"));
    std::fs::write(directory.path().join("gateway.yaml"), yaml).expect("it can be written");
    let start = || {
        // The process must find its own number in the environment.
        let script = "export LISTEN_PID=$$; exec \"$0\" run --config gateway.yaml";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).arg(keygate().get_program()).current_dir(directory.path());
        command
            .env("LISTEN_FDS", "2")
            .env("LISTEN_FDNAMES", "keygate.socket:keygate-admin.socket")
            .env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let handle = |socket: &TcpListener| OwnedFd::from(socket.try_clone().expect("a handle"));
        command
            .fd_mappings(vec![
                FdMapping { parent_fd: handle(&callers), child_fd: 3 },
                FdMapping { parent_fd: handle(&operators), child_fd: 4 },
            ])
            .expect("no number twice");
        command.spawn().expect("sh is there")
    };
    let address = callers.local_addr().expect("bound");
    let load = Load::on(address);
    for _ in 0..3 {
        let mut child = start();
        load.wait_for_more(100);
        let admin = operators.local_addr().expect("bound");
        let ready = || get(admin, "/readyz", &[("host", &admin.to_string())]).status == 200;
        wait::until("readiness", || ready().then_some(()));
        let stopped = std::process::Command::new("kill").arg(child.id().to_string()).status().expect("kill is there");
        assert!(stopped.success());
        let status = wait::until("the end", || child.try_wait().expect("our own child"));
        let mut words = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut words).expect("text");
        assert_eq!(status.code(), Some(0), "{words}");
        // Whoever connects now waits in the queue.
        thread::sleep(Duration::from_millis(50));
    }
    let mut child = start();
    let (answered, failed) = load.end();
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert!(answered >= 300);
    assert_eq!(failed, Vec::<String>::new());
}
