//! Why a request could not be forwarded, or its answer not be passed back.
//!
//! Every failure has a status for the caller and one stable code for log and metric. `Display` and `source` are for the
//! log alone: they name what happened on the upstream's side, which is nobody's business outside.
//!
//! A failure to *decide* is never one of these, and none of these is ever 401 or 403: an upstream that cannot be reached
//! must not look like a key that is not good.

use std::io;

use http::StatusCode;

use crate::server;

/// Why an upstream gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The upstream has no server to ask.
    #[error("the upstream has no server to ask")]
    NoServer,
    /// As many requests are under way as the upstream takes, and none ended in time.
    #[error("the upstream has as many requests as it takes")]
    Busy,
    /// Nobody listens at the server's address.
    #[error("the server refused the connection")]
    ConnectRefused(#[source] io::Error),
    /// No connection could be made for another reason.
    #[error("no connection to the server could be made")]
    ConnectFailed(#[source] io::Error),
    /// No connection was made within the upstream's `connect` timeout, TLS included.
    #[error("no connection to the server was made in time")]
    ConnectTimeout,
    /// The server could not be spoken to over TLS, or is not who it should be.
    #[error("the TLS handshake with the server failed")]
    Tls(#[source] io::Error),
    /// The server does not speak HTTP/2, though the configuration says so.
    #[error("the server does not speak HTTP/2")]
    NoHttp2(#[source] Option<h2::Error>),
    /// The caller asks for an upgrade, and HTTP/2 has none.
    #[error("an upgrade was asked for, and the upstream is spoken to over HTTP/2")]
    NoUpgrade,
    /// The server reset the stream of an exchange (HTTP/2). If the answer had begun, the caller sees a cut answer.
    #[error("the server reset the stream")]
    Reset(#[source] h2::Error),
    /// The connection ended before there was an answer.
    #[error("the server closed the connection before it answered")]
    Closed(#[source] Option<io::Error>),
    /// The answer breaks the rules of HTTP.
    #[error("the server's answer is malformed")]
    BadResponse(#[from] BadResponse),
    /// The server took the request and gave no response head in time.
    #[error("the server did not answer in time")]
    ResponseTimeout,
    /// The server stopped taking the request's body.
    #[error("the server did not take the request in time")]
    SendTimeout,
    /// The time for the whole exchange is over. If the answer had begun, the caller sees a cut answer.
    #[error("the exchange took too long")]
    ExchangeTimeout,
    /// The response's body ended before it was complete. The caller sees a cut answer.
    #[error("the server's answer was cut")]
    BodyCut(#[source] Option<io::Error>),
    /// The response's body stopped coming. The caller sees a cut answer.
    #[error("the server's answer stopped coming")]
    BodyTimeout,
    /// The fault is in the request's body, not in the upstream.
    #[error("the request's body could not be forwarded")]
    RequestBody(#[source] RequestBodyError),
}

impl ForwardError {
    /// The status the caller is given, where an answer has not begun yet.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoServer | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoUpgrade => StatusCode::NOT_IMPLEMENTED,
            Self::ConnectTimeout
            | Self::ResponseTimeout
            | Self::SendTimeout
            | Self::ExchangeTimeout
            | Self::BodyTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::RequestBody(error) => error.status(),
            Self::ConnectRefused(_)
            | Self::ConnectFailed(_)
            | Self::Tls(_)
            | Self::NoHttp2(_)
            | Self::Reset(_)
            | Self::Closed(_)
            | Self::BadResponse(_)
            | Self::BodyCut(_) => StatusCode::BAD_GATEWAY,
        }
    }

    /// The stable word for it, the same in log, metric and answer.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoServer => "upstream_unavailable",
            Self::Busy => "upstream_busy",
            Self::ConnectRefused(_) => "upstream_connect_refused",
            Self::ConnectFailed(_) => "upstream_connect_failed",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::Tls(_) => "upstream_tls_failed",
            Self::NoHttp2(_) => "upstream_no_http2",
            Self::NoUpgrade => "upgrade_not_possible",
            Self::Reset(_) => "upstream_reset",
            Self::Closed(_) => "upstream_closed",
            Self::BadResponse(_) => "upstream_bad_response",
            Self::ResponseTimeout => "upstream_response_timeout",
            Self::SendTimeout => "upstream_send_timeout",
            Self::ExchangeTimeout => "upstream_exchange_timeout",
            Self::BodyCut(_) => "upstream_body_cut",
            Self::BodyTimeout => "upstream_body_timeout",
            Self::RequestBody(error) => error.code(),
        }
    }

    /// The word for it in the metric of upstream failures, where everything is an upstream's.
    pub(super) fn kind(&self) -> &'static str {
        let code = self.code();
        code.strip_prefix("upstream_").unwrap_or(code)
    }

    /// Whether the upstream is to blame, as opposed to what the caller sends or asks for.
    #[must_use]
    pub fn is_upstream_fault(&self) -> bool {
        !matches!(self, Self::RequestBody(_) | Self::NoUpgrade)
    }

    /// Whether it counts towards the ejection of a server: connection refused, timed out, or cut before an answer.
    pub(super) fn counts_against_server(&self) -> bool {
        matches!(
            self,
            Self::ConnectRefused(_)
                | Self::ConnectFailed(_)
                | Self::ConnectTimeout
                | Self::Tls(_)
                | Self::NoHttp2(_)
                | Self::Closed(_)
                | Self::ResponseTimeout
        )
    }
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// The head does not end within the limit.
    #[error("its head is too large")]
    HeadTooLarge,
    /// The head cannot be read.
    #[error("its head cannot be read: {0}")]
    Head(httparse::Error),
    /// A field that says how long the body is, and does not say it in one way only.
    #[error("its {0} is ambiguous or malformed")]
    Framing(&'static str),
    /// A chunk or the trailers after the last one.
    #[error("its chunked body is malformed: {0}")]
    Chunk(&'static str),
    /// More interim answers than anybody sends.
    #[error("it is preceded by too many interim answers")]
    TooManyInterim,
    /// What HTTP/2 does not allow, by its error code.
    #[error("it breaks the rules of HTTP/2: {0}")]
    Http2(h2::Reason),
    /// 101 to a request that asked for no upgrade, or to another protocol than the one asked for.
    #[error("it switches to a protocol that was not asked for")]
    UnaskedUpgrade,
}

/// What is wrong with the body a caller sends.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// It is larger than the endpoint takes.
    #[error("it is larger than the endpoint takes")]
    TooLarge,
    /// The caller stopped sending, or sends too slowly.
    #[error("the caller did not send it in time")]
    TimedOut,
    /// The caller left before it was complete.
    #[error("the caller left before it was complete")]
    Closed(#[source] Option<Cause>),
    /// The caller's key was taken out of force.
    #[error("the caller's key is not good any more")]
    KeyWithdrawn,
    /// Its framing is malformed, or it is not as long as was announced.
    #[error("it is malformed")]
    Malformed(#[source] Option<Cause>),
}

impl From<server::RequestBodyError> for RequestBodyError {
    fn from(error: server::RequestBodyError) -> Self {
        use server::RequestBodyError as Seen;
        match error {
            Seen::TooLarge { .. } => Self::TooLarge,
            Seen::TimedOut => Self::TimedOut,
            Seen::Malformed(_) => Self::Malformed(Some(error.into())),
            _ => Self::Closed(Some(error.into())),
        }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl RequestBodyError {
    fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::KeyWithdrawn => StatusCode::UNAUTHORIZED,
            Self::Closed(_) | Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge => "body_too_large",
            Self::TimedOut => "body_timeout",
            Self::Closed(_) => "downstream_closed",
            Self::KeyWithdrawn => "key_withdrawn",
            Self::Malformed(_) => "body_malformed",
        }
    }
}

impl From<hyper::Error> for RequestBodyError {
    fn from(error: hyper::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else if error.is_closed() || error.is_canceled() || error.is_incomplete_message() {
            Self::Closed(Some(error.into()))
        } else {
            Self::Malformed(Some(error.into()))
        }
    }
}

impl From<std::convert::Infallible> for RequestBodyError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
