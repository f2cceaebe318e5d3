//! HTTP/2 callers: hyper's client for requests as they should be, frames by hand for those as they should not.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::wait::DEADLINE;
use super::{Caller, Response};

/// One HTTP/2 connection, used by blocking calls.
pub struct H2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl H2 {
    /// In clear text, with prior knowledge.
    pub fn connect(address: SocketAddr) -> Self {
        let runtime = runtime();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("it listens");
            shake(TokioIo::new(stream)).await
        });
        Self { runtime, sender }
    }

    /// Over TLS.
    pub fn connect_tls(address: SocketAddr, name: &str, config: &Arc<rustls::ClientConfig>) -> Self {
        let runtime = runtime();
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let name = rustls::pki_types::ServerName::try_from(name.to_string()).expect("a server name");
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.expect("it listens");
            let stream = connector.connect(name, stream).await.expect("a handshake");
            shake(TokioIo::new(stream)).await
        });
        Self { runtime, sender }
    }

    /// Sends a request and reads its answer, trailers included.
    ///
    /// # Errors
    /// That the stream or the connection was ended instead.
    pub fn call(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response, String> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).map_err(|error| error.to_string())?;
        let mut sender = self.sender.clone();
        self.runtime.block_on(async move {
            let exchange = async {
                let response = sender.send_request(request).await.map_err(|error| format!("{error:?}"))?;
                let (head, body) = response.into_parts();
                let collected = body.collect().await.map_err(|error| format!("{error:?}"))?;
                let pairs = |map: &http::HeaderMap| {
                    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
                    map.iter().map(|(name, value)| (name.to_string(), text(value))).collect::<Vec<_>>()
                };
                Ok(Response {
                    status: head.status.as_u16(),
                    head: format!("{:?} {:?}", head.status, head.headers),
                    headers: pairs(&head.headers),
                    trailers: collected.trailers().map(pairs).unwrap_or_default(),
                    body: collected.to_bytes().to_vec(),
                    is_complete: true,
                })
            };
            timeout(DEADLINE, exchange).await.map_err(|_| "no answer before the deadline".to_string())?
        })
    }

    /// A GET.
    ///
    /// # Panics
    /// If there is no answer.
    pub fn get(&self, url: &str, headers: &[(&str, &str)]) -> Response {
        self.call("GET", url, headers, b"").unwrap_or_else(|error| panic!("GET {url}: {error}"))
    }
}

fn runtime() -> Runtime {
    // A thread of its own drives the connection while no call is running.
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn shake<I>(io: I) -> SendRequest<Full<Bytes>>
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (sender, connection) = handshake.await.expect("an HTTP/2 connection");
    tokio::spawn(connection);
    sender
}

/// How a stream that was opened by hand ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With this status.
    Answered(StatusCode),
    /// The stream was reset with this error code.
    Reset(u32),
    /// The connection was ended.
    Ended,
}

impl Outcome {
    /// The request went nowhere: 400, a reset, or the end.
    pub fn is_refusal(self) -> bool {
        match self {
            Self::Answered(status) => status == StatusCode::BAD_REQUEST,
            Self::Reset(_) | Self::Ended => true,
        }
    }
}

/// Opens stream 1 with these fields exactly as they stand, without any of the checks of a client library.
pub fn stream_of(address: SocketAddr, fields: &[(&str, &str)], data: Option<&[u8]>) -> Outcome {
    let block = block_of(fields);
    let mut bytes = greeting();
    bytes.extend(frame(1, if data.is_some() { 4 } else { 5 }, 1, &block));
    if let Some(data) = data {
        bytes.extend(frame(0, 1, 1, data));
    }
    let mut caller = Caller::connect(address);
    caller.send(bytes);
    loop {
        let head = caller.read_exactly(9);
        if head.len() < 9 {
            return Outcome::Ended;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = caller.read_exactly(length);
        match head[3] {
            1 => return Outcome::Answered(status_of(&payload)),
            3 => return Outcome::Reset(u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]])),
            7 => return Outcome::Ended,
            _ => {}
        }
    }
}

/// What every HTTP/2 client says first: the preface and empty settings.
pub fn greeting() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, &[])[..]].concat()
}

/// A block of fields, each a literal without indexing and without compression (RFC 7541 section 6.2.2).
pub fn block_of(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            number(&mut block, text.len(), 7);
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A number in the rest of a byte whose first bits are zero, and in as many more as it needs (RFC 7541 section 5.1).
pub fn number(block: &mut Vec<u8>, mut number: usize, bits: u32) {
    let most = (1 << bits) - 1;
    if number < most {
        return block.push(u8::try_from(number).expect("less than eight bits"));
    }
    block.push(u8::try_from(most).expect("at most eight bits"));
    number -= most;
    while number >= 128 {
        block.push(u8::try_from(number % 128 + 128).expect("eight bits"));
        number /= 128;
    }
    block.push(u8::try_from(number).expect("seven bits"));
}

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its type.
    pub kind: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carried.
    pub payload: Vec<u8>,
}

/// A connection on which frames are sent by hand, while another thread reads what comes, or nobody does.
pub struct ByHand {
    socket: std::net::TcpStream,
    reader: Option<std::thread::JoinHandle<Vec<Received>>>,
}

impl ByHand {
    /// Connects; what comes is read.
    pub fn connect(address: SocketAddr) -> Self {
        let mut this = Self::connect_deaf(address);
        let mut reading = this.socket.try_clone().expect("a copy of the socket");
        this.reader = Some(std::thread::spawn(move || {
            let mut received = Vec::new();
            while let Some(frame) = read_frame(&mut reading) {
                received.push(frame);
            }
            received
        }));
        this
    }

    /// Connects; nothing of what comes is read.
    pub fn connect_deaf(address: SocketAddr) -> Self {
        let socket = std::net::TcpStream::connect_timeout(&address, DEADLINE).expect("it listens");
        socket.set_nodelay(true).expect("a socket option");
        socket.set_write_timeout(Some(DEADLINE)).expect("a socket option");
        Self { socket, reader: None }
    }

    /// Sends bytes; `false` once the other side does not take them any more.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        std::io::Write::write_all(&mut self.socket, bytes.as_ref()).is_ok()
    }

    /// Whether the other side ends the connection within a while.
    pub fn is_ended_within(&mut self, time: std::time::Duration) -> bool {
        match &self.reader {
            Some(reader) => super::wait::within(time, || reader.is_finished().then_some(())).is_some(),
            // A frame of a type that nobody knows, which means nothing.
            None => super::wait::within(time, || (!self.send([0, 0, 0, 0x7f, 0, 0, 0, 0, 0])).then_some(())).is_some(),
        }
    }

    /// Ends the connection, if the other side has not, and gives what was read.
    pub fn end(mut self) -> Vec<Received> {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        self.reader.take().map(|reader| reader.join().expect("the reader does not panic")).unwrap_or_default()
    }
}

fn read_frame(reading: &mut std::net::TcpStream) -> Option<Received> {
    use std::io::Read as _;

    let mut head = [0; 9];
    reading.read_exact(&mut head).ok()?;
    let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
    reading.read_exact(&mut payload).ok()?;
    Some(Received { kind: head[3], stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload })
}

/// The bytes of a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The status at the beginning of a block of response fields: indexed, or a literal with the indexed name `:status`.
fn status_of(block: &[u8]) -> StatusCode {
    // A change of the table's size may stand in front (RFC 7541 section 6.3).
    let start = block.iter().position(|byte| byte & 0xe0 != 0x20).unwrap_or(0);
    let block = &block[start..];
    let number = match block[0] {
        0x88 => 200,
        0x89 => 204,
        0x8a => 206,
        0x8b => 304,
        0x8c => 400,
        0x8d => 404,
        0x8e => 500,
        0x08 | 0x18 | 0x48 => digits(&block[1..]),
        other => panic!("a response does not begin with its status but with {other:#x}"),
    };
    StatusCode::from_u16(number).expect("a status")
}

fn digits(value: &[u8]) -> u16 {
    let length = usize::from(value[0] & 0x7f);
    let text = &value[1..=length];
    if value[0] & 0x80 == 0 {
        return String::from_utf8_lossy(text).parse().expect("three digits");
    }
    // Compressed digits: 0, 1 and 2 take five bits, the others six (RFC 7541 appendix B).
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |place| byte >> place & 1)).collect();
    let (mut at, mut number) = (0, 0_u16);
    for _ in 0..3 {
        let take = |count: usize| bits[at..at + count].iter().fold(0_u16, |word, bit| word << 1 | u16::from(*bit));
        let (width, digit) = if take(5) <= 2 { (5, take(5)) } else { (6, take(6) - 0x19 + 3) };
        at += width;
        number = number * 10 + digit;
    }
    number
}

mod tests {
    use super::*;

    #[test]
    fn a_number_takes_as_many_bytes_as_it_needs() {
        for (value, bits, expected) in
            [(10, 5, &[10_u8][..]), (1337, 5, &[31, 154, 10]), (42, 8, &[42]), (127, 7, &[127, 0])]
        {
            let mut block = Vec::new();
            number(&mut block, value, bits);
            assert_eq!(block, expected, "{value} in {bits} bits");
        }
    }

    #[test]
    fn a_status_is_read_in_each_of_its_forms() {
        for (block, status) in [
            (&[0x88_u8][..], 200),
            (&[0x8c], 400),
            (&[0x48, 3, b'4', b'0', b'1'], 401),
            (&[0x20, 0x08, 3, b'5', b'0', b'2'], 502),
            // 4 is 011010, 0 is 00000, 1 is 00001; then padding of ones.
            (&[0x48, 0x82, 0b0110_1000, 0b0000_0001], 401),
            // 3 is 011001, 0 is 00000, 2 is 00010.
            (&[0x48, 0x82, 0b0110_0100, 0b0000_0010], 302),
        ] {
            assert_eq!(status_of(block).as_u16(), status, "{block:x?}");
        }
    }
}
