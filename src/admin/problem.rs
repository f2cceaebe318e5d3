//! Refusals of the admin API: problems as RFC 9457 describes them, each with a stable code.

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::management::{Fault, Refused};
use crate::store::StoreError;

/// Why a request was not carried out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `urn:keygate:error:` and the code.
    pub r#type: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What happened, and what to do.
    pub detail: String,
    /// A stable word for it.
    pub code: String,
    /// What is wrong with the parts of the request, where that can be said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<PartError>,
    /// The least role that may, where the role was too low.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_role: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    pub retry_after_seconds: Option<u64>,
}

/// What is wrong with one part of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct PartError {
    /// The part, as a JSON pointer (RFC 6901); `/name` for a parameter of that name.
    pub pointer: String,
    /// A stable word for it.
    pub code: String,
    /// What is wrong, and how to mend it.
    pub detail: String,
}

impl From<Fault> for PartError {
    fn from(fault: Fault) -> Self {
        Self { pointer: fault.pointer, code: fault.code.to_owned(), detail: fault.detail }
    }
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            r#type: format!("urn:keygate:error:{code}"),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            errors: Vec::new(),
            required_role: None,
            retry_after_seconds: None,
        }
    }

    /// A request whose parts are wrong.
    pub(super) fn invalid(faults: Vec<Fault>) -> Self {
        let detail = match faults.as_slice() {
            [only] => only.detail.clone(),
            _ => format!("{} parts of the request cannot be taken", faults.len()),
        };
        Self {
            errors: faults.into_iter().map(PartError::from).collect(),
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
        }
    }

    /// A request of which one part cannot even be read.
    pub(super) fn unreadable(pointer: String, code: &str, detail: String) -> Self {
        let error = PartError { pointer, code: code.to_owned(), detail: detail.clone() };
        Self { errors: vec![error], ..Self::new(StatusCode::BAD_REQUEST, code, detail) }
    }

    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "something went wrong; the log says what")
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let text = refused.to_string();
        match refused {
            Refused::Invalid(faults) if faults.iter().all(|fault| fault.code == "cursor_invalid") => {
                let fault = faults.into_iter().next();
                let pointer = fault.as_ref().map_or("/cursor", |fault| &fault.pointer).to_owned();
                Self::unreadable(pointer, "cursor_invalid", fault.map_or(text, |fault| fault.detail))
            }
            Refused::Invalid(faults) => Self::invalid(faults),
            Refused::NotFound { kind, .. } => {
                let code = match kind {
                    "key" => "key_not_found",
                    "client" => "client_not_found",
                    "owner" => "owner_not_found",
                    _ => "admin_token_not_found",
                };
                Self::new(StatusCode::NOT_FOUND, code, text)
            }
            Refused::Conflict { code, detail } => Self::new(StatusCode::CONFLICT, code, detail),
            Refused::Stale { .. } => Self::new(StatusCode::PRECONDITION_FAILED, "version_stale", text),
            Refused::RoleTooLow { needed, .. } => Self {
                required_role: Some(needed.as_str().to_owned()),
                ..Self::new(StatusCode::FORBIDDEN, "role_too_low", text)
            },
            Refused::NoStore => Self::new(StatusCode::CONFLICT, "no_store", text),
            Refused::ClaimReused => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", text),
            Refused::ClaimSpent { .. } => Self::new(StatusCode::CONFLICT, "idempotency_key_spent", text),
            Refused::NoRandomness(_) => Self::unavailable("no_randomness", text),
            Refused::Store(error) => match error {
                StoreError::Locked | StoreError::Full | StoreError::ReadOnly | StoreError::Damaged => {
                    Self::unavailable("store_unavailable", text)
                }
                StoreError::NotUnique(_) => Self::new(StatusCode::CONFLICT, "not_unique", text),
                StoreError::Failed(cause) => {
                    tracing::error!(error = %cause, "the store failed");
                    Self::internal()
                }
            },
        }
    }
}

impl Problem {
    fn unavailable(code: &str, detail: String) -> Self {
        Self { retry_after_seconds: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, serde_json::to_string(&self).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        let mut set = |name: HeaderName, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(name, value);
            }
        };
        set(CACHE_CONTROL, "no-store");
        if status == StatusCode::UNAUTHORIZED {
            set(WWW_AUTHENTICATE, "Bearer realm=\"keygate admin\"");
        }
        if let Some(seconds) = self.retry_after_seconds {
            set(RETRY_AFTER, &seconds.to_string());
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
