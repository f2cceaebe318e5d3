//! `/v1/imports`: keys from elsewhere, many at once.

use axum::extract::{Extension, Request, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Context;
use super::body::{Answer, Query, blocking, media_type, message, read};
use super::problem::{PartError, Problem};
use super::shape::ImportRow;
use crate::management::{Actor, Fault, ImportLine, Refused, RefusedLine};

/// The largest body.
const MAX_BODY: usize = 64 << 20;
/// Refused lines that one answer tells of.
const MAX_TOLD: usize = 10_000;

/// How keys are brought in.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportParameters {
    /// `true`: say what would come of it, and change nothing.
    pub dry_run: Option<bool>,
    /// The number of the first line, for the report. Default: 1.
    #[param(minimum = 1)]
    pub first_line: Option<usize>,
    /// What the audit log calls where the keys come from, such as the name of a file.
    #[param(max_length = 200)]
    pub source: Option<String>,
}

/// What came of an import.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct ImportReport {
    /// Keys that came in, or would.
    pub imported: usize,
    /// Clients that were made for them, or would be.
    pub clients_created: usize,
    /// Lines that were left out.
    pub refused: usize,
    /// Why they were, for the first 10000 of them.
    pub refused_lines: Vec<RefusedRow>,
}

/// A line that was left out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct RefusedRow {
    /// Where it stands, from 1; what the line itself says, if it says so.
    pub line: usize,
    /// Why.
    pub errors: Vec<PartError>,
}

/// Bring keys in
///
/// As JSON lines, or as CSV whose first line names the columns: the fields of `ImportRow`, lists separated by blanks or
/// semicolons. Each line holds the key itself or its digest. Lines that cannot be taken are reported and left out, the
/// others come in; send at most 64 MiB at a time, some ten thousand lines being a good measure.
#[utoipa::path(
    post, path = "/v1/imports", tag = "keys", params(ImportParameters),
    request_body(content((ImportRow = "application/x-ndjson"), (String = "text/csv"))),
    responses((status = 200, body = ImportReport))
)]
pub(super) async fn import_keys(
    State(context): State<Context>,
    Extension(actor): Extension<Actor>,
    Query(asked): Query<ImportParameters>,
    request: Request,
) -> Result<Answer<ImportReport>, Problem> {
    let (parts, body) = request.into_parts();
    let media_type = media_type(&parts.headers);
    let format = match media_type.as_deref() {
        Some("application/x-ndjson" | "application/jsonl") => ImportFormat::JsonLines,
        Some("text/csv") => ImportFormat::Csv,
        _ => {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "media_type_unsupported",
                "send JSON lines as `application/x-ndjson`, or CSV as `text/csv`",
            ));
        }
    };
    let source = asked.source.unwrap_or_else(|| "a request".to_owned());
    if source.chars().count() > 200 || source.chars().any(char::is_control) {
        let detail = "a source has 200 characters at most, all of which can be printed".to_owned();
        return Err(Problem::unreadable("/source".to_owned(), "parameter_invalid", detail));
    }
    let bytes = read(body, MAX_BODY).await?;
    let report = blocking(move || {
        let before = asked.first_line.unwrap_or(1).saturating_sub(1);
        let lines = read_import(&bytes, format, before).map_err(Refused::Invalid)?;
        drop(bytes);
        context.management.import(&actor, lines, &source, asked.dry_run.unwrap_or(false))
    })
    .await?;
    let refused = report.refused.len();
    let told = report
        .refused
        .into_iter()
        .take(MAX_TOLD)
        .map(|line| RefusedRow { line: line.line, errors: line.faults.into_iter().map(PartError::from).collect() });
    let answer = ImportReport {
        imported: report.imported,
        clients_created: report.clients_created,
        refused,
        refused_lines: told.collect(),
    };
    Ok(Answer(StatusCode::OK, answer))
}

type Line = Result<ImportLine, RefusedLine>;

/// How the keys of an import are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportFormat {
    /// A JSON object on each line.
    JsonLines,
    /// CSV whose first line names the columns.
    Csv,
}

/// Reads the keys of an import, each line by itself. The lines are counted on from those that came `before`.
///
/// # Errors
/// What is wrong with all of them: the first line of CSV does not name the columns.
pub fn read_import(bytes: &[u8], format: ImportFormat, before: usize) -> Result<Vec<Line>, Vec<Fault>> {
    match format {
        ImportFormat::JsonLines => Ok(lines_of_json(bytes, before)),
        ImportFormat::Csv => lines_of_csv(bytes, before),
    }
}

fn lines_of_json(bytes: &[u8], before: usize) -> Vec<Line> {
    let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !is_blank(line));
    lines
        .map(|(index, line)| {
            let number = before.saturating_add(index + 1);
            let row = serde_json::from_slice::<ImportRow>(line).map_err(|error| RefusedLine {
                line: number,
                faults: vec![Fault::new("", "line_unreadable", message(&error))],
            });
            row?.read(number)
        })
        .collect()
}

fn lines_of_csv(bytes: &[u8], before: usize) -> Result<Vec<Line>, Vec<Fault>> {
    let counted = |line: usize| before.saturating_add(line);
    let lines: Vec<Line> = ImportRow::of_csv(bytes)
        .map(|(line, row)| match row {
            Ok(row) => row.read(counted(line)),
            Err(refused) => Err(RefusedLine { line: counted(line), ..refused }),
        })
        .collect();
    match lines.as_slice() {
        // The first line names the columns: without them nothing can be read.
        [Err(only)] if only.line == counted(1) => Err(only.faults.clone()),
        _ => Ok(lines),
    }
}
