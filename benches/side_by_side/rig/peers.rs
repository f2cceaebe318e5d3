//! The proxies, and how each is told to do the same job.
//!
//! Check the key against all keys and answer 401 without a good one; drop the key; drop an identity that the caller chose; say
//! who is calling in `x-client-id` and `x-client-type`; pass on over connections that are kept. One worker each, no access
//! log. keygate keeps whatever it does by default besides: metrics, timeouts, limits, a request id, further headers.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::site::{self, Site};
use super::{During, Result, put};

/// Which program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This one.
    Keygate,
    /// nginx, with a map of keys.
    Nginx,
    /// HAProxy, with a map of keys.
    HaProxy,
}

/// A program that can be started.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What it is called in a table.
    pub name: String,
    /// Which it is.
    pub kind: Kind,
    /// Where it is.
    pub program: PathBuf,
    /// What it says of itself.
    pub version: String,
}

/// Where a proxy listens.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    clear: u16,
    http2: u16,
    tls: u16,
}

impl Ports {
    /// Three that nobody has right now.
    ///
    /// # Errors
    /// There are none.
    pub fn free() -> Result<Self> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).during("a free port");
        let (clear, http2, tls) = (listen()?, listen()?, listen()?);
        let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port()).during("a free port");
        Ok(Self { clear: port(&clear)?, http2: port(&http2)?, tls: port(&tls)? })
    }

    /// HTTP/1.1.
    pub fn clear(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.clear).into()
    }

    /// HTTP/2 with prior knowledge.
    pub fn http2(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.http2).into()
    }

    /// HTTP/1.1 over TLS.
    pub fn tls(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.tls).into()
    }
}

impl Peer {
    /// A keygate that was built.
    ///
    /// # Errors
    /// It does not run.
    pub fn keygate(name: &str, program: &Path) -> Result<Self> {
        let version = says(program, &["version"])?;
        let version = version.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
        Ok(Self { name: name.to_owned(), kind: Kind::Keygate, program: program.to_owned(), version })
    }

    /// nginx, if it is installed.
    ///
    /// # Errors
    /// How to install it.
    pub fn nginx() -> Result<Self> {
        Self::installed("nginx", Kind::Nginx, "-v", |text| text.split('/').nth(1))
    }

    /// HAProxy, if it is installed.
    ///
    /// # Errors
    /// How to install it.
    pub fn haproxy() -> Result<Self> {
        Self::installed("haproxy", Kind::HaProxy, "-v", |text| text.split_whitespace().nth(2))
    }

    fn installed(name: &str, kind: Kind, asks: &str, reads: fn(&str) -> Option<&str>) -> Result<Self> {
        let program = find(name).ok_or_else(|| {
            format!("there is no {name} here; on Debian and Ubuntu: apt-get install --no-install-recommends {name}")
        })?;
        let text = says(&program, &[asks])?;
        let version = reads(&text).and_then(|word| word.split(['-', '+', ' ', '\n']).next());
        Ok(Self { name: name.to_owned(), kind, program, version: version.unwrap_or("unknown").to_owned() })
    }

    /// The command that runs it in the foreground with what [`Peer::configure`] wrote.
    pub fn command(&self) -> Vec<String> {
        let arguments: &[&str] = match self.kind {
            Kind::Keygate => &["run", "--config", "gateway.yaml"],
            Kind::Nginx => &["-p", ".", "-e", "error.log", "-c", "nginx.conf"],
            Kind::HaProxy => &["-db", "-f", "haproxy.cfg"],
        };
        let program = self.program.to_string_lossy().into_owned();
        std::iter::once(program).chain(arguments.iter().map(ToString::to_string)).collect()
    }

    /// Writes its configuration into a folder, beside `certificate.pem`, `key.pem` and `both.pem`.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn configure(&self, folder: &Path, site: Site, ports: Ports, upstream: SocketAddr) -> Result<()> {
        let files = match self.kind {
            Kind::Keygate => {
                vec![("gateway.yaml", keygate(site, ports, upstream)), ("keys.jsonl", site::json_lines(site))]
            }
            Kind::Nginx => {
                let map = |value: fn(usize) -> String| {
                    site::lines(site, |text, number, key, _, _| {
                        let _ = writeln!(text, "{key} {};", value(number));
                    })
                };
                vec![
                    ("nginx.conf", nginx(site, ports, upstream, folder)),
                    ("clients.map", map(Site::client)),
                    ("types.map", map(|number| Site::client_type(number).to_owned())),
                ]
            }
            Kind::HaProxy => {
                let map = site::lines(site, |text, _, key, client, client_type| {
                    let _ = writeln!(text, "{key} {client}:{client_type}");
                });
                vec![("haproxy.cfg", haproxy(ports, upstream)), ("keys.map", map)]
            }
        };
        for (name, text) in files {
            put(folder, name, &text)?;
        }
        Ok(())
    }
}

fn keygate(site: Site, ports: Ports, upstream: SocketAddr) -> String {
    let Ports { clear, http2, tls } = ports;
    let mut text = format!(
        "listen:
  - {{ name: clear, address: 127.0.0.1:{clear} }}
  - {{ name: http2, address: 127.0.0.1:{http2}, protocol: h2c }}
  - {{ name: tls, address: 127.0.0.1:{tls}, tls: {{ certificate: certificate.pem, key: key.pem }} }}
admin: {{ address: 127.0.0.1:0 }}
workers: 1
log: {{ level: warn }}
access_log: off
identity_headers: {{ client_type: x-client-type }}
upstreams: {{ service: {{ url: \"http://{upstream}\", max_idle: 1024 }} }}
keys: {{ file: keys.jsonl }}
endpoints:
  - {{ name: everything, path: /, upstream: service, api_key: required }}
"
    );
    for endpoint in 0..site.endpoints {
        let path = format!("/service-{endpoint}");
        let _ =
            writeln!(text, "  - {{ name: service-{endpoint}, path: {path}, upstream: service, api_key: required }}");
    }
    text
}

fn nginx(site: Site, ports: Ports, upstream: SocketAddr, folder: &Path) -> String {
    let Ports { clear, http2, tls } = ports;
    // As root it gives up its rights for a user who cannot read the folder.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let folder = folder.display();
    let hash = (site.keys * 4).max(4096);
    format!(
        "daemon off;
{user}
worker_processes 1;
worker_rlimit_nofile 65536;
pid nginx.pid;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_body_buffer_size 64k;
  proxy_buffer_size 16k;
  proxy_buffers 16 16k;
  map_hash_bucket_size 256;
  map_hash_max_size {hash};
  map $http_x_api_key $client {{ default \"\"; include {folder}/clients.map; }}
  map $http_x_api_key $client_type {{ default \"\"; include {folder}/types.map; }}
  upstream service {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; keepalive_timeout 600s; }}
  ssl_certificate {folder}/certificate.pem;
  ssl_certificate_key {folder}/key.pem;
  ssl_protocols TLSv1.3;
  server {{
    listen 127.0.0.1:{clear} backlog=4096;
    listen 127.0.0.1:{http2} http2 backlog=4096;
    listen 127.0.0.1:{tls} ssl backlog=4096;
    location / {{
      if ($client = \"\") {{ return 401; }}
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_set_header Host $host;
      proxy_set_header X-Api-Key \"\";
      proxy_set_header X-Client-Id $client;
      proxy_set_header X-Client-Type $client_type;
    }}
  }}
}}
"
    )
}

fn haproxy(ports: Ports, upstream: SocketAddr) -> String {
    let Ports { clear, http2, tls } = ports;
    format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend callers
  bind 127.0.0.1:{clear} backlog 4096
  bind 127.0.0.1:{http2} proto h2 backlog 4096
  bind 127.0.0.1:{tls} ssl crt both.pem alpn http/1.1 ssl-min-ver TLSv1.3 backlog 4096
  http-request set-var(txn.caller) req.hdr(x-api-key),map_str(keys.map)
  http-request return status 401 unless {{ var(txn.caller) -m found }}
  http-request del-header x-api-key
  http-request set-header x-client-id %[var(txn.caller),field(1,:)]
  http-request set-header x-client-type %[var(txn.caller),field(2,:)]
  default_backend service
backend service
  server service {upstream} pool-max-conn -1
"
    )
}

/// A program on the path, or where daemons are installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(daemons).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// What a program prints.
///
/// # Errors
/// It cannot be started.
pub fn says(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().during(&program.display().to_string())?;
    Ok([output.stdout, output.stderr].iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}
