//! An upstream that keeps every byte it received and plays the answers it was told to.
//!
//! One thread for each connection and blocking sockets: the plainest thing that can be exact about bytes. What it answers
//! is decided for each request by a function of the recorded head; the default echoes the head as text, so that a test
//! reads in the response what the upstream saw.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::caller::Fields;
use super::wait;

/// One request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Counts connections from 0.
    pub connection: usize,
    /// Counts requests on this connection from 0.
    pub index: usize,
    /// The request line, without line end.
    pub line: String,
    /// Field names and values as they stood.
    pub headers: Fields,
    /// The body, freed of its framing; empty while it has not been read.
    pub body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Fields,
}

impl Recorded {
    /// The target of the request line.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The method of the request line.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// The value of a field that stands once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} stands more than once in {:?}", self.headers);
        first
    }

    /// All values of a field.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether there is a field of this name.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The head as text, line by line.
    pub fn head(&self) -> String {
        let fields: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}", self.line)
    }
}

/// What the origin does with one request.
#[derive(Clone)]
pub enum Play {
    /// Reads the body and answers 200 with the head it saw, as text.
    Echo,
    /// Reads the body and answers 200 with that body.
    EchoBody,
    /// Reads the body, writes these bytes, keeps the connection.
    Raw(Vec<u8>),
    /// Reads the body, writes these bytes, closes.
    RawThenClose(Vec<u8>),
    /// Writes these bytes before it reads the body, then reads it.
    Early(Vec<u8>),
    /// Reads the head and never answers.
    Hang,
    /// Closes without an answer.
    Close,
    /// Ends the connection with a reset.
    Reset,
    /// Answers 101 and sends back every byte that follows.
    WebSocket,
    /// Anything else.
    Talk(Arc<dyn Fn(&mut Talk<'_>) + Send + Sync>),
}

impl Play {
    /// An answer with a status line, fields and a body of known length.
    pub fn answer(status: &str, fields: &[(&str, &str)], body: &str) -> Self {
        let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Self::Raw(format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }

    /// Bytes as they stand, from text.
    pub fn raw(text: &str) -> Self {
        Self::Raw(text.as_bytes().to_vec())
    }

    /// Answers `slow`, and not before it is released.
    pub fn slow_until(released: &Arc<AtomicBool>) -> Self {
        let released = Arc::clone(released);
        Self::talk(move |talk| {
            wait::until("the release", || released.load(Ordering::SeqCst).then_some(()));
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow");
        })
    }

    /// A conversation of the test's own.
    pub fn talk(act: impl Fn(&mut Talk<'_>) + Send + Sync + 'static) -> Self {
        Self::Talk(Arc::new(act))
    }
}

/// The connection in the hands of [`Play::Talk`], after the head was read.
pub struct Talk<'a> {
    connection: &'a mut Connection,
}

impl Talk<'_> {
    /// Sends bytes; a caller that has gone is not an error here.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.connection.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Reads what comes until the other side closes; gives up after the deadline.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.connection.unread);
        while self.connection.fill().is_ok_and(|count| count > 0) {
            all.append(&mut self.connection.unread);
        }
        all
    }

    /// Ends the connection.
    pub fn close(&mut self) {
        let _ = self.connection.stream.shutdown(Shutdown::Both);
    }
}

type Director = Arc<dyn Fn(&Recorded) -> Play + Send + Sync>;

#[derive(Default)]
struct State {
    raw: Mutex<Vec<Vec<u8>>>,
    requests: Mutex<Vec<Recorded>>,
    streams: Mutex<Vec<TcpStream>>,
    stopped: AtomicBool,
    open: AtomicUsize,
}

/// A recording upstream on a free port of the loopback interface; stops when dropped.
pub struct Origin {
    address: SocketAddr,
    state: Arc<State>,
}

impl Origin {
    /// Echoes heads.
    pub fn start() -> Self {
        Self::directed(|_| Play::Echo)
    }

    /// Plays the same for every request.
    pub fn playing(play: Play) -> Self {
        Self::directed(move |_| play.clone())
    }

    /// Decides for each request.
    pub fn directed(director: impl Fn(&Recorded) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self::on(listener, director)
    }

    /// The same on a listener that is there already.
    pub fn on(listener: TcpListener, director: impl Fn(&Recorded) -> Play + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = Arc::new(State::default());
        let director: Director = Arc::new(director);
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let _ = stream.set_nodelay(true);
                let _ = stream.set_read_timeout(Some(wait::DEADLINE));
                let number = {
                    let mut raw = served.raw.lock().expect("no panic holds it");
                    raw.push(Vec::new());
                    raw.len() - 1
                };
                if let Ok(copy) = stream.try_clone() {
                    served.streams.lock().expect("no panic holds it").push(copy);
                }
                served.open.fetch_add(1, Ordering::SeqCst);
                let (state, director) = (Arc::clone(&served), Arc::clone(&director));
                thread::spawn(move || {
                    let mut connection = Connection { stream, number, unread: Vec::new(), state: Arc::clone(&state) };
                    connection.serve(&director);
                    let _ = connection.stream.shutdown(Shutdown::Both);
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as the URL of an upstream.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every byte of every connection.
    pub fn raw(&self) -> Vec<Vec<u8>> {
        self.state.raw.lock().expect("no panic holds it").clone()
    }

    /// Every byte received, as text.
    pub fn raw_text(&self) -> String {
        self.raw().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<Vec<_>>().join("\n---\n")
    }

    /// Requests whose head has arrived, those with a body after it was read.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.requests.lock().expect("no panic holds it").clone()
    }

    /// Takes what has arrived and forgets it.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut *self.state.requests.lock().expect("no panic holds it"))
    }

    /// The one request that has arrived since the last look.
    pub fn take_one(&self) -> Recorded {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "one request was expected: {all:#?}");
        all.remove(0)
    }

    /// Waits until so many requests have arrived.
    pub fn wait_for(&self, count: usize) -> Vec<Recorded> {
        wait::until("requests at the origin", || Some(self.requests()).filter(|all| all.len() >= count))
    }

    /// Number of connections ever accepted.
    pub fn connections(&self) -> usize {
        self.state.raw.lock().expect("no panic holds it").len()
    }

    /// Number of connections now open.
    pub fn open_connections(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// Closes every open connection, as a server does whose keep-alive time is over.
    pub fn close_connections(&self) {
        for stream in self.state.streams.lock().expect("no panic holds it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.close_connections();
        // The accept loop wakes up once more, sees the flag and ends.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

struct Connection {
    stream: TcpStream,
    number: usize,
    unread: Vec<u8>,
    state: Arc<State>,
}

impl Connection {
    fn serve(&mut self, director: &Director) {
        for index in 0.. {
            let Some(mut request) = self.read_head(index) else { return };
            let play = director(&request);
            let reads_body = matches!(play, Play::Echo | Play::EchoBody | Play::Raw(_) | Play::RawThenClose(_));
            if reads_body {
                let Ok((body, trailers)) = self.read_body(&request) else { return };
                (request.body, request.trailers) = (body, trailers);
            }
            self.state.requests.lock().expect("no panic holds it").push(request.clone());
            let keeps = match play {
                Play::Echo => self.send_text(&request, request.head().as_bytes()),
                Play::EchoBody => self.send_text(&request, &request.body),
                Play::Raw(bytes) => self.stream.write_all(&bytes).is_ok(),
                Play::RawThenClose(bytes) => {
                    let _ = self.stream.write_all(&bytes);
                    false
                }
                Play::Early(bytes) => self.stream.write_all(&bytes).is_ok() && self.read_body(&request).is_ok(),
                Play::Hang => {
                    while self.fill().is_ok_and(|count| count > 0) {}
                    false
                }
                Play::Close => false,
                Play::Reset => {
                    let _ = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
                    self.forget();
                    return;
                }
                Play::WebSocket => {
                    self.echo_upgraded(&request);
                    false
                }
                Play::Talk(act) => {
                    act(&mut Talk { connection: self });
                    true
                }
            };
            if !keeps {
                return;
            }
        }
    }

    /// Drops the copy of the socket too, or closing it would send no reset.
    fn forget(&mut self) {
        let own = self.stream.peer_addr().ok();
        let mut streams = self.state.streams.lock().expect("no panic holds it");
        streams.retain(|stream| stream.peer_addr().ok() != own);
    }

    fn send_text(&mut self, request: &Recorded, body: &[u8]) -> bool {
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n", body.len())
                .into_bytes();
        if request.method() != "HEAD" {
            answer.extend_from_slice(body);
        }
        self.stream.write_all(&answer).is_ok()
    }

    fn echo_upgraded(&mut self, request: &Recorded) {
        let accept = request.header("sec-websocket-key").map(accept_value).unwrap_or_default();
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        );
        if self.stream.write_all(head.as_bytes()).is_err() {
            return;
        }
        loop {
            let bytes = std::mem::take(&mut self.unread);
            if self.stream.write_all(&bytes).is_err() || !self.fill().is_ok_and(|count| count > 0) {
                return;
            }
        }
    }

    /// Reads more; 0 at the end.
    fn fill(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 65536];
        let count = self.stream.read(&mut buffer)?;
        self.unread.extend_from_slice(&buffer[..count]);
        self.state.raw.lock().expect("no panic holds it")[self.number].extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fields(&mut self) -> std::io::Result<Fields> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            fields.push((name.to_string(), value.trim().to_string()));
        }
    }

    fn read_head(&mut self, index: usize) -> Option<Recorded> {
        let line = self.line().ok()?;
        let headers = self.fields().ok()?;
        let connection = self.number;
        Some(Recorded { connection, index, line, headers, body: Vec::new(), trailers: Vec::new() })
    }

    fn exactly(&mut self, count: usize) -> std::io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if self.fill()? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn read_body(&mut self, request: &Recorded) -> std::io::Result<(Vec<u8>, Fields)> {
        if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let size = self.line()?;
                let digits = size.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(digits, 16).map_err(|_| std::io::ErrorKind::InvalidData)?;
                if size == 0 {
                    return Ok((body, self.fields()?));
                }
                body.extend(self.exactly(size)?);
                self.exactly(2)?;
            }
        }
        let length = request.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        Ok((self.exactly(length)?, Vec::new()))
    }
}

/// What a WebSocket server answers to a key (RFC 6455 section 1.3).
pub fn accept_value(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    base64(digest.as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            if place <= group.len() {
                let index = word >> (18 - 6 * place) & 63;
                text.push(char::from(ALPHABET[usize::try_from(index).expect("six bits")]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

mod tests {
    use super::super::{exchange, get, request};
    use super::*;

    #[test]
    fn it_echoes_the_head_it_saw_and_keeps_every_byte() {
        let origin = Origin::start();
        let response = get(origin.address(), "/a?b", &[("X-Thing", "1")]);
        assert_eq!(response.status, 200);
        assert!(response.text().starts_with("GET /a?b HTTP/1.1\r\n"), "{}", response.text());
        let seen = origin.take_one();
        assert_eq!((seen.method(), seen.target(), seen.header("x-thing")), ("GET", "/a?b", Some("1")));
        assert!(origin.raw_text().starts_with("GET /a?b HTTP/1.1\r\n"));
    }

    #[test]
    fn it_reads_bodies_of_both_framings() {
        let origin = Origin::playing(Play::EchoBody);
        assert_eq!(request(origin.address(), "POST", "/", &[], b"hello").text(), "hello");
        let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: v\r\n\r\n";
        assert_eq!(exchange(origin.address(), chunked).text(), "abcde");
        assert_eq!(origin.requests()[1].trailers, [("T".to_string(), "v".to_string())]);
    }

    #[test]
    fn a_websocket_key_is_answered_as_the_standard_says() {
        assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn it_hangs_up_and_resets_when_told_to() {
        for play in [Play::Close, Play::Reset] {
            let origin = Origin::playing(play);
            let mut caller = super::super::Caller::connect(origin.address());
            caller.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(caller.read_to_end(), b"");
        }
    }
}
