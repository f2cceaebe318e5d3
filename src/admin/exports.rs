//! `/v1/audit` and `/v1/export`: what was done, and everything there is, without a secret.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http_body_util::channel::{Channel, Sender};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::body::{Answer, Query, blocking};
use super::keys::{ListKeys, check_part};
use super::problem::Problem;
use super::shape::{Key, Permissions, Preset, time};
use crate::keys::Timestamp;
use crate::management::{Asked, Management, Refused, now};
use crate::store::{AuditFilter, AuditRecord};

/// How many are read from the store at a time.
const PART: usize = 200;

/// Which records of the audit log.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListAudit {
    /// How many; 50 if nothing is said.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<usize>,
    /// `next_cursor` of the part before.
    pub cursor: Option<String>,
    /// The id of what was changed.
    pub target: Option<String>,
    /// Who did it, such as `token:ops`.
    pub actor: Option<String>,
    /// What was done, such as `key.created`, or `key` for all that was done to keys.
    pub action: Option<String>,
    /// Not before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<String>,
    /// Before this moment.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<String>,
}

impl ListAudit {
    fn filter(&self) -> Result<AuditFilter, Problem> {
        let moment = |text: &Option<String>, pointer: &str| {
            text.as_deref()
                .map(str::parse::<Timestamp>)
                .transpose()
                .map_err(|why| Problem::unreadable(pointer.to_owned(), "parameter_invalid", why.to_string()))
        };
        Ok(AuditFilter {
            target: self.target.clone(),
            actor: self.actor.clone(),
            action: self.action.clone(),
            since: moment(&self.since, "/since")?,
            until: moment(&self.until, "/until")?,
        })
    }
}

/// Something that was done.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct AuditEntry {
    /// In the order of events.
    pub number: i64,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
    /// Who: `token:` and a name, `local:` and a user of the machine, `key:` and an id, or `keygate` itself.
    pub actor: String,
    /// With which role.
    pub role: String,
    /// How: `api`, `command_line`, `key` or `keygate`.
    pub via: String,
    /// From which address, if it came over a network.
    pub address: Option<String>,
    /// What, such as `key.created`.
    pub action: String,
    /// To what: `key`, `client`, `admin_token`, `import`.
    pub kind: String,
    /// Its id.
    pub target: String,
    /// What it was called.
    pub name: Option<String>,
    /// What was there before, without secrets.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// What was there then, without secrets.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
    /// Why, or how much.
    pub note: Option<String>,
}

impl AuditEntry {
    fn of(record: AuditRecord) -> Self {
        Self {
            number: record.number,
            at: time(record.at),
            actor: record.actor,
            role: record.role,
            via: record.via,
            address: record.address,
            action: record.action,
            kind: record.kind,
            target: record.target,
            name: record.name,
            before: record.before,
            after: record.after,
            note: record.note,
        }
    }
}

/// A part of the audit log.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The newest first.
    pub items: Vec<AuditEntry>,
    /// What to ask for as `cursor` to get the next part; null on the last one.
    pub next_cursor: Option<String>,
}

/// List what was done
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(ListAudit), responses((status = 200, body = AuditPage)))]
pub(super) async fn list_audit(
    State(context): State<Context>,
    Query(asked): Query<ListAudit>,
) -> Result<Answer<AuditPage>, Problem> {
    check_part(asked.limit, None)?;
    let filter = asked.filter()?;
    let page = blocking(move || {
        let part = Asked { cursor: asked.cursor.as_deref(), limit: asked.limit.unwrap_or(50) };
        context.management.audit(&filter, part)
    })
    .await?;
    let items = page.items.into_iter().map(AuditEntry::of).collect();
    Ok(Answer(StatusCode::OK, AuditPage { items, next_cursor: page.next }))
}

/// Export the audit log
///
/// All of it that the parameters name, the newest first, as JSON lines. `limit` and `cursor` are not for an export.
#[utoipa::path(
    get, path = "/v1/export/audit", tag = "audit", params(ListAudit),
    responses((status = 200, body = AuditEntry, content_type = "application/x-ndjson"))
)]
pub(super) async fn export_audit(
    State(context): State<Context>,
    Query(asked): Query<ListAudit>,
) -> Result<Response, Problem> {
    whole(asked.limit, asked.cursor.as_deref())?;
    let filter = asked.filter()?;
    Ok(export("audit.jsonl", "application/x-ndjson", move |lines| {
        let mut cursor: Option<String> = None;
        loop {
            let page = context.management.audit(&filter, Asked { cursor: cursor.as_deref(), limit: PART })?;
            for record in page.items {
                lines.json(&AuditEntry::of(record));
            }
            if !lines.send() {
                return Ok(());
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
    }))
}

/// Export keys
///
/// All keys that the parameters name, as they are listed: without their secrets, and without digests. `limit` and `cursor`
/// are not for an export. Who accepts `text/csv` gets a table, everybody else JSON lines.
#[utoipa::path(
    get, path = "/v1/export/keys", tag = "keys",
    params(ListKeys, ("Accept" = Option<String>, Header, description = "`text/csv` for a table")),
    responses((status = 200, content((Key = "application/x-ndjson"), (String = "text/csv"))))
)]
pub(super) async fn export_keys(
    State(context): State<Context>,
    headers: HeaderMap,
    Query(asked): Query<ListKeys>,
) -> Result<Response, Problem> {
    whole(asked.limit, asked.cursor.as_deref())?;
    if asked.usage_days.is_some() {
        let detail = "an export tells no usage by day: leave `usage_days` out".to_owned();
        return Err(Problem::unreadable("/usage_days".to_owned(), "parameter_invalid", detail));
    }
    let at = now();
    let filter = asked.filter(at)?;
    let each = move |management: &Management, take: &mut dyn FnMut(Vec<Key>) -> bool| {
        management.freshen_usage();
        let (order, descending) = asked.order();
        let mut cursor: Option<String> = None;
        loop {
            let part = Asked { cursor: cursor.as_deref(), limit: PART };
            let page = management.keys(&filter, order, descending, part, at)?;
            let is_wanted = take(page.items.iter().map(|detail| Key::of(detail, at)).collect());
            match page.next {
                Some(next) if is_wanted => cursor = Some(next),
                _ => return Ok::<_, Refused>(()),
            }
        }
    };
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepted.split([',', ';']).any(|part| part.trim().eq_ignore_ascii_case("text/csv")) {
        return Ok(export("keys.csv", "text/csv; charset=utf-8; header=present", move |lines| {
            lines.row(&CSV_COLUMNS.map(|(name, _)| name.to_owned()));
            each(&context.management, &mut |keys| {
                for key in &keys {
                    lines.row(&CSV_COLUMNS.map(|(_, cell)| cell(key)));
                }
                lines.send()
            })
        }));
    }
    Ok(export("keys.jsonl", "application/x-ndjson", move |lines| {
        each(&context.management, &mut |keys| {
            keys.iter().for_each(|key| lines.json(key));
            lines.send()
        })
    }))
}

/// An export is all there is.
fn whole(limit: Option<usize>, cursor: Option<&str>) -> Result<(), Problem> {
    if limit.is_some() || cursor.is_some() {
        let detail = "an export is all there is: leave `limit` and `cursor` out".to_owned();
        return Err(Problem::unreadable("/limit".to_owned(), "parameter_invalid", detail));
    }
    Ok(())
}

type Cell = fn(&Key) -> String;

/// The columns of a table of keys. Those that an import knows have its names.
const CSV_COLUMNS: [(&str, Cell); 22] = [
    ("id", |key| key.id.clone()),
    ("name", |key| key.name.clone()),
    ("description", |key| key.description.clone().unwrap_or_default()),
    ("client", |key| key.client.clone()),
    ("client_name", |key| key.client_name.clone()),
    ("client_type", |key| key.client_type.clone()),
    ("tenant", |key| key.tenant.clone().unwrap_or_default()),
    ("type", |key| key.r#type.as_str().to_owned()),
    ("environment", |key| key.environment.clone().unwrap_or_default()),
    ("status", |key| key.status.as_str().to_owned()),
    ("active", |key| key.active.to_string()),
    ("not_before", |key| key.not_before.clone().unwrap_or_default()),
    ("expires_at", |key| key.expires_at.clone().unwrap_or_default()),
    ("permissions", |key| match &key.permissions {
        Permissions::Preset(Preset::All) => "all".to_owned(),
        Permissions::Preset(Preset::ReadOnly) => "read_only".to_owned(),
        Permissions::List(list) => list.join(" "),
    }),
    ("networks", |key| key.networks.join(" ")),
    ("origins", |key| key.origins.join(" ")),
    ("plan", |key| key.plan.clone().unwrap_or_default()),
    ("masked", |key| key.masked.clone()),
    ("source", |key| key.source.as_str().to_owned()),
    ("created_at", |key| key.created_at.clone()),
    ("created_by", |key| key.created_by.clone()),
    ("last_used_at", |key| key.last_used_at.clone().unwrap_or_default()),
];

/// What is sent as it is read.
struct Lines {
    pending: Vec<u8>,
    sender: Sender<Bytes, std::io::Error>,
    runtime: tokio::runtime::Handle,
}

impl Lines {
    fn json(&mut self, value: &impl Serialize) {
        // Vec takes all that is written, and what is written is plain data.
        let _ = serde_json::to_writer(&mut self.pending, value);
        self.pending.push(b'\n');
    }

    fn row(&mut self, cells: &[String]) {
        let mut writer = csv::Writer::from_writer(&mut self.pending);
        let _ = writer.write_record(cells.iter().map(|cell| inert(cell).into_owned()));
        let _ = writer.flush();
    }

    /// Whether anybody is still there for more.
    fn send(&mut self) -> bool {
        let bytes = Bytes::from(std::mem::take(&mut self.pending));
        bytes.is_empty() || self.runtime.block_on(self.sender.send_data(bytes)).is_ok()
    }
}

/// A cell that no spreadsheet takes for a formula.
fn inert(cell: &str) -> std::borrow::Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}").into() } else { cell.into() }
}

/// Answers with what `write` writes, a part at a time; whoever reads slowly is waited for.
fn export(
    file: &str,
    content_type: &'static str,
    write: impl FnOnce(&mut Lines) -> Result<(), Refused> + Send + 'static,
) -> Response {
    let (sender, body) = Channel::<Bytes, std::io::Error>::new(2);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut lines = Lines { pending: Vec::new(), sender, runtime };
        match write(&mut lines) {
            Ok(()) => {
                lines.send();
            }
            Err(error) => {
                // An answer that breaks off must not look whole.
                tracing::error!(error = %error, "an export broke off");
                lines.sender.abort(std::io::Error::other("the store failed"));
            }
        }
    });
    let mut response = Body::new(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn no_cell_is_a_formula() {
        for (cell, expected) in
            [("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@x", "'@x"), ("a=b", "a=b"), ("", "")]
        {
            assert_eq!(inert(cell), expected);
        }
    }
}
