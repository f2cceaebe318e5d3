//! From a refusal or a fault to the HTTP answer: the one table of statuses and texts.
//!
//! The caller reads a status strictly by its meaning, a stable code, and what to do. What an attacker could use — whether
//! a key exists, an address, another system's words — is for the log and never stands here.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::grpc;
use super::request_id::RequestId;
use crate::admission::Rejection;
use crate::credential::{Challenge, Challenges, Extractor, MalformedCredential};
use crate::forward::{ForwardError, RequestBodyError};
use crate::limit::{Exceeded, Limits, Measure};
use crate::management::Refused;
use crate::policy::Denial;
use crate::routing::{ErrorFormat, ErrorStyle};
use crate::server::Violation;

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: StatusCode,
    /// The public code.
    pub(super) code: &'static str,
    /// The precise code, for log and metric, and for callers where the operator says so.
    pub(super) exact_code: &'static str,
    detail: Cow<'static, str>,
    required: Option<Value>,
    challenge: Option<Challenge>,
    allow: Option<String>,
    retry_after_seconds: Option<u32>,
    /// Names of the limits that were reached, the one that refuses the longest first.
    policies: Vec<Arc<str>>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            exact_code: code,
            detail: detail.into(),
            required: None,
            challenge: None,
            allow: None,
            retry_after_seconds: None,
            policies: Vec::new(),
        }
    }

    /// The same with another text.
    pub(super) fn saying(self, detail: &'static str) -> Self {
        Self { detail: detail.into(), ..self }
    }

    fn challenge(self, challenge: Challenge) -> Self {
        Self { challenge: Some(challenge), ..self }
    }

    fn required(self, required: Value) -> Self {
        Self { required: Some(required), ..self }
    }

    /// What to tell the caller of a rejection.
    pub(super) fn of_rejection(rejection: &Rejection) -> Self {
        let refusal = match rejection {
            Rejection::PathAmbiguous(_) | Rejection::PathNotAdmitted(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "path_ambiguous",
                "The path can be read in more than one way. Send it without dot segments, backslashes, `;`, control \
                 characters and needless percent encoding, in the letter case the API documents.",
            ),
            Rejection::HostInvalid => Self::new(
                StatusCode::BAD_REQUEST,
                "host_invalid",
                "The request must name exactly one well-formed host, the same in its target and in Host.",
            ),
            Rejection::EndpointNotFound => {
                Self::new(StatusCode::NOT_FOUND, "endpoint_not_found", "There is no such endpoint here.")
            }
            Rejection::MethodNotAllowed { allowed } => {
                let mut methods: Vec<&str> = Vec::new();
                for method in allowed {
                    methods.push(method.as_str());
                    if *method == http::Method::GET && !allowed.contains(&http::Method::HEAD) {
                        methods.push("HEAD");
                    }
                }
                let allow = methods.join(", ");
                let mut refusal = Self::new(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "method_not_allowed",
                    format!("This endpoint takes: {allow}."),
                );
                refusal.allow = Some(allow);
                refusal
            }
            Rejection::CredentialMalformed(fault) => Self::of_malformed(*fault),
            Rejection::KeyRejected(_) => Self::rejected(),
            Rejection::TooManyFailures => Self {
                retry_after_seconds: Some(1),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too_many_failures",
                    "Too many API keys that are not good came from your address. Check your key, and wait before you try again.",
                )
            },
            Rejection::IdentityMalformed => Self::new(
                StatusCode::BAD_REQUEST,
                "identity_malformed",
                "The headers that name the end user are malformed or repeated.",
            ),
            Rejection::Denied(denial) => Self::of_denial(denial),
            Rejection::BodyTooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "The body is larger than this endpoint takes.",
            ),
            Rejection::KeysNotLoaded => Self {
                retry_after_seconds: Some(1),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "keys_not_loaded",
                    "The gateway is not ready yet. Try again shortly.",
                )
            },
        };
        Self { exact_code: rejection.code(), ..refusal }
    }

    /// A limit was reached. It is named, so that whoever is told can ask for more of it.
    pub(super) fn of_limit(exceeded: &Exceeded, limits: &Limits) -> Self {
        let worst = &limits.all[exceeded.worst().policy];
        let seconds = u32::try_from(exceeded.wait().as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
        let detail = match &worst.measure {
            Measure::Concurrent { most } => {
                format!(
                    "No more than {most} requests may be under way at once (limit `{}`). Try again when one is done.",
                    worst.name
                )
            }
            Measure::Calendar { most, calendar } => {
                let unit = calendar.unit().as_str();
                format!(
                    "The quota `{}` of {most} requests in a {unit} is used up. It begins anew in {seconds} seconds.",
                    worst.name
                )
            }
            measure => format!("The limit `{}` is {measure}. Try again in {seconds} seconds.", worst.name),
        };
        let reached = exceeded.standings.iter().filter(|standing| !standing.reading.passes());
        let mut policies = vec![Arc::clone(&worst.name)];
        for policy in reached.map(|standing| &limits.all[standing.policy]).filter(|policy| !policy.is_shadow) {
            if policy.name != worst.name {
                policies.push(Arc::clone(&policy.name));
            }
        }
        Self {
            retry_after_seconds: limits.headers.retry_after.then_some(seconds),
            policies,
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT_EXCEEDED, detail)
        }
    }

    /// One text for every key that is not good: it says nothing about which keys exist.
    fn rejected() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "credential_rejected",
            "The API key is not accepted. Check that it is complete, and ask its issuer whether it is still good.",
        )
        .challenge(Challenge::InvalidToken)
    }

    fn of_malformed(fault: MalformedCredential) -> Self {
        let (code, detail) = match fault {
            MalformedCredential::Empty | MalformedCredential::TooLong => return Self::rejected(),
            MalformedCredential::Ambiguous => (
                "credential_ambiguous",
                "The request shows more than one API key, or one place holds several. Send one key in one place.",
            ),
            MalformedCredential::NotAscii => ("credential_malformed", "The API key holds characters that no key has."),
            MalformedCredential::NotBearer => (
                "credential_malformed",
                "Authorization holds an API key without its scheme. Write `Authorization: Bearer <key>`.",
            ),
        };
        Self::new(StatusCode::BAD_REQUEST, code, detail).challenge(Challenge::InvalidRequest)
    }

    fn of_denial(denial: &Denial) -> Self {
        let forbidden = |code, detail: String| Self::new(StatusCode::FORBIDDEN, code, detail);
        let list = |words: Vec<&str>| words.join(", ");
        match denial {
            Denial::CredentialMissing => Self::new(
                StatusCode::UNAUTHORIZED,
                "credential_missing",
                "This endpoint needs an API key, and the request shows none.",
            )
            .challenge(Challenge::Plain),
            Denial::UserRequired => Self::new(
                StatusCode::UNAUTHORIZED,
                "user_required",
                "This endpoint needs a signed-in user besides the API key.",
            )
            .challenge(Challenge::Plain),
            Denial::HttpsRequired => {
                forbidden("https_required", "This endpoint is only reachable over HTTPS.".to_owned())
            }
            Denial::KeyTypeNotAllowed { required } => {
                let types: Vec<&str> = required.iter().map(|key_type| key_type.as_str()).collect();
                forbidden("key_type_not_allowed", format!("This endpoint takes keys of type {}.", list(types.clone())))
                    .required(json!({ "key_types": types }))
            }
            Denial::ClientTypeNotAllowed { required } => {
                let types: Vec<&str> = required.iter().map(|client_type| client_type.as_str()).collect();
                forbidden(
                    "client_type_not_allowed",
                    format!("This endpoint is for clients of type {}.", list(types.clone())),
                )
                .required(json!({ "client_types": types }))
            }
            Denial::PermissionMissing { required } => {
                let permissions: Vec<&str> = required.iter().map(|permission| permission.as_str()).collect();
                forbidden(
                    "permission_missing",
                    format!("The API key lacks the permission {}.", list(permissions.clone())),
                )
                .required(json!({ "permissions": permissions }))
                .challenge(Challenge::InsufficientScope)
            }
            Denial::ReadOnly => {
                forbidden("read_only_key", "The API key is read only: it may use GET, HEAD and OPTIONS.".to_owned())
                    .required(json!({ "methods": ["GET", "HEAD", "OPTIONS"] }))
                    .challenge(Challenge::InsufficientScope)
            }
            Denial::TenantMismatch => {
                forbidden("tenant_mismatch", "The API key belongs to another tenant than the one asked for.".to_owned())
            }
            Denial::NetworkNotAllowed => {
                forbidden("network_not_allowed", "The API key may not be used from this network.".to_owned())
            }
            Denial::OriginNotAllowed => {
                forbidden("origin_not_allowed", "The API key may not be used from this origin.".to_owned())
            }
            Denial::ExpressionFalse => {
                forbidden("rule_not_satisfied", "The rule of this endpoint does not admit this caller.".to_owned())
            }
        }
    }

    /// An upstream's fault. The caller is told what it means for the caller; what exactly went wrong is for the log.
    pub(super) fn of_upstream(fault: &ForwardError) -> Self {
        if let ForwardError::RequestBody(RequestBodyError::KeyWithdrawn) = fault {
            return Self { exact_code: fault.code(), ..Self::rejected() };
        }
        let code = match fault {
            ForwardError::NoServer | ForwardError::Busy => "upstream_unavailable",
            ForwardError::ConnectRefused(_)
            | ForwardError::ConnectFailed(_)
            | ForwardError::Tls(_)
            | ForwardError::NoHttp2(_) => "upstream_unreachable",
            ForwardError::Closed(_)
            | ForwardError::BadResponse(_)
            | ForwardError::Reset(_)
            | ForwardError::BodyCut(_) => "upstream_bad_response",
            ForwardError::ConnectTimeout
            | ForwardError::ResponseTimeout
            | ForwardError::SendTimeout
            | ForwardError::ExchangeTimeout
            | ForwardError::BodyTimeout => "upstream_timeout",
            ForwardError::RequestBody(_) | ForwardError::NoUpgrade => fault.code(),
        };
        Self { exact_code: fault.code(), ..Self::of_fault(fault.status(), code) }
    }

    /// Why a key was not changed as its holder asked for.
    pub(super) fn of_management(refused: &Refused) -> Self {
        let detail = refused.to_string();
        match refused {
            Refused::Invalid(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail),
            Refused::Conflict { code, .. } => Self::new(StatusCode::CONFLICT, code, detail),
            Refused::NoStore => {
                Self::new(StatusCode::CONFLICT, "no_store", "Keys of this gateway cannot be changed by their holders.")
            }
            Refused::NotFound { .. } => Self::rejected(),
            Refused::Store(_) | Refused::NoRandomness(_) => Self {
                retry_after_seconds: Some(1),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store_unavailable",
                    "The key could not be looked up or changed, and is as it was. Try again shortly.",
                )
            },
            Refused::Stale { .. } | Refused::RoleTooLow { .. } | Refused::ClaimReused | Refused::ClaimSpent { .. } => {
                Self::internal()
            }
        }
    }

    /// A holder may not.
    pub(super) fn of_holder(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    /// What a holder asks for cannot be read or taken.
    pub(super) fn malformed_for_holder(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// Something so malformed that it never became a request.
    pub(super) fn of_violation(violation: Violation) -> Self {
        let text = violation.text();
        let mut detail = String::with_capacity(text.len() + 1);
        detail.extend(text.chars().next().map(|first| first.to_ascii_uppercase()));
        detail.extend(text.chars().skip(1).chain(['.']));
        let allow = (violation.status() == StatusCode::METHOD_NOT_ALLOWED).then(|| ORDINARY_METHODS.to_owned());
        Self { allow, ..Self::new(violation.status(), violation.code(), detail) }
    }

    /// A fault of ours. It says nothing about what it was.
    pub(super) fn internal() -> Self {
        Self::of_fault(StatusCode::INTERNAL_SERVER_ERROR, "internal_error")
    }

    /// Something that is no rejection, by its status and code.
    pub(super) fn of_fault(status: StatusCode, code: &'static str) -> Self {
        let detail = match status {
            StatusCode::BAD_GATEWAY => "The service behind the gateway cannot be reached or gave no usable answer.",
            StatusCode::GATEWAY_TIMEOUT => "The service behind the gateway did not answer in time.",
            StatusCode::SERVICE_UNAVAILABLE => {
                "The service behind the gateway is not available now. Try again shortly."
            }
            StatusCode::PAYLOAD_TOO_LARGE => "The body is larger than this endpoint takes.",
            StatusCode::REQUEST_TIMEOUT => "The request's body did not arrive in time.",
            StatusCode::BAD_REQUEST => "The request's body is not well-formed HTTP.",
            StatusCode::NOT_IMPLEMENTED => "This endpoint cannot switch to another protocol, such as WebSocket.",
            _ => "Something went wrong in the gateway.",
        };
        let retry_after_seconds = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { retry_after_seconds, ..Self::new(status, code, detail) }
    }

    /// Writes the answer for a caller that speaks gRPC; see [`grpc`].
    pub(super) fn into_grpc_response(self, style: ErrorStyle) -> Response<Vec<u8>> {
        let code = if style.full_detail { self.exact_code } else { self.code };
        let mut response = Response::new(Vec::new());
        *response.status_mut() = self.status;
        grpc::write_status(response.headers_mut(), self.status, code, &self.detail);
        response
    }

    /// Writes the answer.
    pub(super) fn into_response(
        self,
        style: ErrorStyle,
        extractor: Option<&Extractor>,
        request_id: &RequestId,
    ) -> Response<Vec<u8>> {
        let code = if style.full_detail { self.exact_code } else { self.code };
        let (content_type, body) = match style.format {
            ErrorFormat::Problem => ("application/problem+json", self.problem(code, request_id)),
            ErrorFormat::Envelope => ("application/json", self.envelope(code).into_bytes()),
            ErrorFormat::Bkend => ("application/json", self.bkend(code).into_bytes()),
            ErrorFormat::Billabear => ("application/json", self.billabear().into_bytes()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        // All that may stand here, what the gateway adds included.
        headers.reserve(6);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge {
            for value in extractor.map_or(&*ANYWHERE, Extractor::challenges).of(challenge) {
                headers.append(WWW_AUTHENTICATE, value.clone());
            }
        }
        if let Some(value) = self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            headers.insert(ALLOW, value);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// RFC 9457, section 3. Written piece by piece: callers without a good key are many, and must not be dear.
    fn problem(&self, code: &str, request_id: &RequestId) -> Vec<u8> {
        let mut body = Vec::with_capacity(448);
        let mut push = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| body.extend_from_slice(piece));
        // Codes, reasons and ids are plain words: there is nothing in them to be escaped.
        let title = self.status.canonical_reason().unwrap_or("Refused");
        push(&[b"{\"type\":\"urn:keygate:error:", code.as_bytes(), b"\",\"title\":\"", title.as_bytes()]);
        push(&[
            b"\",\"status\":",
            self.status.as_str().as_bytes(),
            b",\"detail\":\"",
            escaped(&self.detail).as_bytes(),
        ]);
        push(&[b"\",\"code\":\"", code.as_bytes(), b"\",\"request_id\":\"", request_id.as_bytes(), b"\""]);
        if let Some(required) = &self.required {
            push(&[b",\"required\":", required.to_string().as_bytes()]);
        }
        if let Some(policy) = self.policies.first() {
            let violated = json!(self.policies.iter().map(|name| &**name).collect::<Vec<_>>()).to_string();
            push(&[b",\"policy\":\"", escaped(policy).as_bytes(), b"\",\"violated-policies\":", violated.as_bytes()]);
        }
        push(&[b"}"]);
        body
    }

    fn envelope(&self, code: &str) -> String {
        let mut error = json!({ "code": code, "message": self.detail });
        if let Some(required) = &self.required {
            error["required"] = required.clone();
        }
        if let Some(policy) = self.policies.first() {
            error["policy"] = Value::from(&**policy);
        }
        json!({ "error": error }).to_string()
    }

    fn bkend(&self, code: &str) -> String {
        let mut body = json!({
            "statusCode": self.status.as_u16(),
            "error": code.to_ascii_uppercase(),
            "message": self.detail,
        });
        if let Some(required) = &self.required {
            body["required"] = required.clone();
        }
        if let Some(policy) = self.policies.first() {
            body["policy"] = Value::from(&**policy);
        }
        body.to_string()
    }

    fn billabear(&self) -> String {
        if self.status == StatusCode::UNAUTHORIZED {
            "[]".to_owned()
        } else {
            json!({ "errors": { "request": self.detail } }).to_string()
        }
    }
}

/// What is told where no endpoint says how it takes keys.
static ANYWHERE: LazyLock<Challenges> = LazyLock::new(|| Challenges::new(&[]));

/// The code of every limit on requests, as Målbar, CodeQR and others have it.
const RATE_LIMIT_EXCEEDED: &str = "rate_limit_exceeded";

/// What is said to a method that no endpoint could admit.
const ORDINARY_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// A text as it stands between the quotes of JSON.
fn escaped(text: &str) -> Cow<'_, str> {
    // Without an early way out the loop is done many bytes at a time.
    let is_plain =
        text.bytes().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\'));
    if is_plain {
        return Cow::Borrowed(text);
    }
    let quoted = Value::from(text).to_string();
    Cow::Owned(quoted[1..quoted.len() - 1].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_json_whatever_stands_in_its_texts() {
        for detail in ["Send one key.", "a \"word\" and a \\", "naïve\n", ""] {
            for required in [None, Some(json!({ "permissions": ["a\"b"] }))] {
                let mut refusal = Refusal::new(StatusCode::FORBIDDEN, "permission_missing", detail);
                refusal.required = required.clone();
                let mut expected = json!({
                    "type": "urn:keygate:error:permission_missing",
                    "title": "Forbidden",
                    "status": 403,
                    "detail": detail,
                    "code": "permission_missing",
                    "request_id": "0198c7de-6b5c-7b5e-8f0e-3f1f6f5d9b10",
                });
                if let Some(required) = required {
                    expected["required"] = required;
                }
                let id = RequestId::Sent("0198c7de-6b5c-7b5e-8f0e-3f1f6f5d9b10".into());
                let body = refusal.problem("permission_missing", &id);
                assert_eq!(String::from_utf8(body).expect("text"), expected.to_string());
            }
        }
    }
}
