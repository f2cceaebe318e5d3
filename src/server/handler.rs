//! What is served: the one thing this module asks of the rest of the program.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};

use super::peer::Peer;
use super::request_body::RequestBody;
use super::violation::Violation;

/// Answers requests. A clone is made for each connection, so it should be cheap.
pub trait Handler: Clone + Send + Sync + 'static {
    /// The body of its answers.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request. Dropped half way when the client leaves; a panic inside becomes [`Handler::failed`].
    ///
    /// For an upgrade, take it with `hyper::upgrade::on` and answer `101`: from then on the connection's bytes are not
    /// judged any more.
    fn handle(
        &self,
        request: Request<RequestBody>,
        peer: &Arc<Peer>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The answer to something so malformed that it never became a request. The connection closes behind it.
    fn refuse(&self, violation: Violation, peer: &Peer) -> Response<Bytes>;

    /// The answer to a request that ended in a panic. It says nothing about why.
    fn failed(&self, _peer: &Peer) -> Response<Bytes> {
        let mut response =
            Response::new(Bytes::from_static(br#"{"title":"internal error","status":500,"code":"internal_error"}"#));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/problem+json"));
        response
    }
}
