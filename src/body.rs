//! The one body type: what every answer of ours carries, and what an upstream's answer becomes on its way back.
//!
//! `forward` makes a [`Body`] from what an upstream streams, `gateway`, `echo` and `ops` make one from a few bytes, and
//! `server` writes it out. Small answers stay plain values; only a streamed body costs an allocation.
//!
//! A body never holds more than it was given: nothing is gathered here, so memory stays flat for bodies of any length.
//!
//! A streamed body that ends with an error was cut: the server then breaks the connection or resets the stream, so
//! that the reader can never take half an answer for a whole one. Ending such a body quietly would hide the cut.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A body of an answer: nothing, a few bytes, or a stream.
#[derive(Default)]
pub enum Body {
    /// No bytes at all.
    #[default]
    Empty,
    /// All bytes at once.
    Full(Bytes),
    /// Bytes as they come.
    Boxed(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self::Empty
    }

    /// A body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() { Self::Empty } else { Self::Full(bytes) }
    }

    /// A body that is this value written as JSON.
    ///
    /// # Errors
    /// Only what `serde_json` refuses to write, such as a map whose keys are not strings.
    pub fn json<T: serde::Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_vec(value).map(Self::full)
    }

    /// A body that streams another one.
    pub fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        Self::Boxed(Box::pin(Converted(Box::pin(body))))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Boxed(body) => body.as_mut().poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    /// Says the kind and the length, never the bytes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => formatter.write_str("Body::Empty"),
            Self::Full(bytes) => write!(formatter, "Body::Full({} bytes)", bytes.len()),
            Self::Boxed(_) => formatter.write_str("Body::Boxed"),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

/// Why a body broke off; the cause is in `source()`.
#[derive(Debug)]
pub struct BodyError(Box<dyn std::error::Error + Send + Sync>);

impl BodyError {
    /// Wraps the error that ended a body.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }

    /// The error that ended the body.
    pub fn cause(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the body broke off")
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl From<hyper::Error> for BodyError {
    fn from(error: hyper::Error) -> Self {
        Self::new(error)
    }
}

impl From<std::io::Error> for BodyError {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl From<std::convert::Infallible> for BodyError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

/// Streams the inner body, its errors turned into ours.
struct Converted<B>(Pin<Box<B>>);

impl<B> http_body::Body for Converted<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.as_mut().poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn every_kind_gives_its_bytes_once_and_says_its_length_beforehand() {
        let rows = [
            ("empty", Body::empty(), Some(0), ""),
            ("full of nothing", Body::full(""), Some(0), ""),
            ("full", Body::full("abc"), Some(3), "abc"),
            ("json", Body::json(&[1, 2]).expect("numbers are JSON"), Some(5), "[1,2]"),
            ("boxed", Body::boxed(http_body_util::Full::new(Bytes::from("xyz"))), Some(3), "xyz"),
        ];
        for (name, body, length, text) in rows {
            assert_eq!(body.size_hint().exact(), length, "{name}");
            assert_eq!(body.is_end_stream(), text.is_empty(), "{name}");
            let bytes = body.collect().await.expect(name).to_bytes();
            assert_eq!(bytes, text, "{name}");
        }
    }

    #[tokio::test]
    async fn an_error_inside_a_stream_comes_out_with_its_cause() {
        let error = Body::boxed(Failing).collect().await.expect_err("the stream fails");
        assert_eq!(error.to_string(), "the body broke off");
        assert_eq!(error.cause().to_string(), "broken pipe");
    }

    struct Failing;

    impl http_body::Body for Failing {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            Poll::Ready(Some(Err(std::io::ErrorKind::BrokenPipe.into())))
        }
    }
}
