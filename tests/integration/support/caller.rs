//! A caller that controls every byte it sends, and reads exactly one response or everything up to the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::wait::DEADLINE;

/// Names and values of fields, in order.
pub type Fields = Vec<(String, String)>;

/// Something to talk over: a socket, or TLS on one.
pub trait Wire: Read + Write + Send {
    /// The socket beneath.
    fn socket(&self) -> &TcpStream;
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Wire for rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the fields, as they came.
    pub head: String,
    /// Names in lower case, and values.
    pub headers: Fields,
    /// The body, freed of its framing.
    pub body: Vec<u8>,
    /// Fields after a chunked body.
    pub trailers: Fields,
    /// The body ended as its framing says; `false` if the connection ended before.
    pub is_complete: bool,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a field that stands at most once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let first = values.next();
        assert!(values.next().is_none(), "{name} stands more than once in\n{}", self.head);
        first
    }

    /// All values of a field.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}\n{}", self.head, self.text()))
    }

    /// Our code for a refusal, from a problem or an envelope; empty if the answer is not one of ours.
    pub fn code(&self) -> String {
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&self.body) else { return String::new() };
        let code = json.get("code").or_else(|| json.get("error").and_then(|error| error.get("code")));
        code.and_then(serde_json::Value::as_str).unwrap_or_default().to_string()
    }

    /// Status and code in one word: `401 credential_missing`, or `200` for what is no refusal.
    pub fn verdict(&self) -> String {
        format!("{} {}", self.status, self.code()).trim_end().to_string()
    }
}

/// A connection to the gateway.
pub struct Caller {
    wire: Box<dyn Wire>,
    unread: Vec<u8>,
}

impl Caller {
    /// Opens a connection.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("{address} does not take connections: {error}"))
    }

    /// Opens a connection, if anybody listens.
    pub fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Box::new(stream)))
    }

    /// Talks over a wire that is open already.
    pub fn over(wire: Box<dyn Wire>) -> Self {
        wire.socket().set_read_timeout(Some(DEADLINE)).expect("a socket option");
        wire.socket().set_write_timeout(Some(DEADLINE)).expect("a socket option");
        Self { wire, unread: Vec::new() }
    }

    /// Sends bytes. That the other side has closed is for the reading half to find out.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write_all(bytes.as_ref()).and_then(|()| self.wire.flush()).is_ok()
    }

    /// Reads what comes within a while, at least one byte unless the end or the time comes first.
    pub fn read_some(&mut self, within: Duration) -> Vec<u8> {
        if self.unread.is_empty() {
            let _ = self.wire.socket().set_read_timeout(Some(within));
            let _ = self.fill();
            let _ = self.wire.socket().set_read_timeout(Some(DEADLINE));
        }
        std::mem::take(&mut self.unread)
    }

    /// Reads until so many bytes are there, or the end.
    pub fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count && self.fill().is_ok_and(|got| got > 0) {}
        let count = count.min(self.unread.len());
        self.unread.drain(..count).collect()
    }

    /// Reads everything up to the end of the connection.
    ///
    /// # Panics
    /// If the other side does not close before the deadline.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let began = Instant::now();
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("not closed after {:?}; so far: {}", began.elapsed(), String::from_utf8_lossy(&self.unread))
                }
                Err(_) => break,
            }
        }
        std::mem::take(&mut self.unread)
    }

    /// Whether the other side closes within a while, without sending anything more.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        let _ = self.wire.socket().set_read_timeout(Some(time));
        let outcome = self.fill();
        let _ = self.wire.socket().set_read_timeout(Some(DEADLINE));
        match outcome {
            Ok(count) => count == 0 && self.unread.is_empty(),
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    /// Reads exactly one response to a request that is not a HEAD.
    pub fn response(&mut self) -> Response {
        self.try_response("GET").unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// Reads exactly one response to a request of this method.
    pub fn response_to(&mut self, method: &str) -> Response {
        self.try_response(method).unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// Reads one response, or says why there is none.
    pub fn try_response(&mut self, method: &str) -> std::io::Result<Response> {
        let (status, head, headers) = loop {
            let (status, head, headers) = self.head()?;
            // Interim answers come before the one that counts; a switch of protocols is one that counts.
            if !(100..200).contains(&status) || status == 101 {
                break (status, head, headers);
            }
        };
        let mut response =
            Response { status, head, headers, body: Vec::new(), trailers: Vec::new(), is_complete: true };
        if method == "HEAD" || matches!(status, 101 | 204 | 304) {
            return Ok(response);
        }
        let chunked = response.values("transfer-encoding").any(|value| value.eq_ignore_ascii_case("chunked"));
        let length = response.header("content-length").map(str::to_string);
        if chunked {
            response.is_complete = self.chunks(&mut response).is_ok();
        } else if let Some(length) = length {
            let length = length.parse().expect("content-length is a number");
            response.body = self.read_exactly(length);
            response.is_complete = response.body.len() == length;
        } else {
            response.body = self.read_to_end();
        }
        Ok(response)
    }

    /// Reads one head, an interim one too.
    pub fn head(&mut self) -> std::io::Result<(u16, String, Fields)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("not a status line: {line:?}")))?;
        let headers = self.fields()?;
        let fields: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        Ok((status, format!("{line}\r\n{fields}"), headers))
    }

    fn chunks(&mut self, response: &mut Response) -> std::io::Result<()> {
        loop {
            let size = self.line()?;
            let digits = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| ErrorKind::InvalidData)?;
            if size == 0 {
                response.trailers = self.fields()?;
                return Ok(());
            }
            let piece = self.read_exactly(size + 2);
            response.body.extend_from_slice(&piece[..size.min(piece.len())]);
            if piece.len() < size + 2 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn line(&mut self) -> std::io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end]).into_owned();
                self.unread.drain(..end + 2);
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
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
            fields.push((name.to_ascii_lowercase(), value.trim().to_string()));
        }
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut buffer = [0; 65536];
        loop {
            match self.wire.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(count) => {
                    self.unread.extend_from_slice(&buffer[..count]);
                    return Ok(count);
                }
            }
        }
    }

    /// Sends a request with these fields on this connection and reads its answer.
    pub fn call(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        self.send(text_of(method, target, headers, body));
        self.response_to(method)
    }
}

/// The bytes of a request. `host` and `content-length` are filled in where the test does not say them.
pub fn text_of(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !has("host") {
        text.push_str("host: gateway.test\r\n");
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let needs_length = !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH");
    if needs_length && !has("content-length") && !has("transfer-encoding") {
        text.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// A request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    Caller::connect(address).call(method, target, headers, body)
}

/// A GET on a connection of its own.
pub fn get(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Response {
    request(address, "GET", target, headers, b"")
}

/// Raw bytes on a connection of its own, and the first answer to them.
pub fn exchange(address: SocketAddr, raw: impl AsRef<[u8]>) -> Response {
    let mut caller = Caller::connect(address);
    caller.send(raw);
    caller.response()
}

mod tests {
    use super::super::{Origin, Play};
    use super::*;

    fn answer_to(raw: &str) -> Response {
        let origin = Origin::playing(Play::RawThenClose(raw.as_bytes().to_vec()));
        get(origin.address(), "/", &[])
    }

    #[test]
    fn every_framing_of_a_response_is_read() {
        assert_eq!(answer_to("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").text(), "hi");
        assert_eq!(answer_to("HTTP/1.1 200 OK\r\n\r\nto the end").text(), "to the end");
        let chunked = answer_to("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nT: 1\r\n\r\n");
        assert_eq!((chunked.text(), chunked.trailers.len(), chunked.is_complete), ("hi".to_string(), 1, true));
        let interim = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(answer_to(interim).status, 204);
    }

    #[test]
    fn a_cut_response_is_seen_to_be_cut() {
        assert!(!answer_to("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi").is_complete);
        assert!(!answer_to("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhi").is_complete);
    }

    #[test]
    fn verdicts_of_both_formats_are_read() {
        let problem = "HTTP/1.1 401 U\r\ncontent-length: 29\r\n\r\n{\"code\":\"credential_missing\"}";
        assert_eq!(answer_to(problem).verdict(), "401 credential_missing");
        let envelope = "HTTP/1.1 403 F\r\ncontent-length: 22\r\n\r\n{\"error\":{\"code\":\"x\"}}";
        assert_eq!(answer_to(envelope).verdict(), "403 x");
        assert_eq!(answer_to("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").verdict(), "200");
    }

    #[test]
    fn requests_are_written_out_in_full() {
        let text = text_of("POST", "/x", &[("A", "b")], b"hi");
        let expected = "POST /x HTTP/1.1\r\nhost: gateway.test\r\nA: b\r\ncontent-length: 2\r\n\r\nhi";
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }
}
