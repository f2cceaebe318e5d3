//! A key to be brought in, as a line of JSON or of CSV.

use std::collections::BTreeMap;
use std::io::Read;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::key::{KeyKind, environment, grants, moment, plan};
use super::{Permissions, Preset, each, word};
use crate::client::{ClientId, ClientType, Grants, Group, Tenant, parse_network, parse_origin};
use crate::credential::{KeyDigest, Secret};
use crate::keys::KeyId;
use crate::management::{self, ClientChoice, Fault, ImportLine, ImportSecret, RefusedLine};

/// One key to be brought in: the key itself or its digest, and its client by id. If there is no client of that id, one is
/// made of what the line says of it; if there is one, it stays as it is.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ImportRow {
    /// Where it stands in the file it comes from, for the report. Default: its place in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key's id. Default: a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it is for, in a few words; unique among the keys of one tenant.
    #[schema(required, min_length = 1, max_length = 100)]
    pub name: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The key itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Or its digest: `blake3:`, `sha256:` or `blake3-keyed:` and 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What may be shown of a key of which only the digest is known, such as `mb_live_…a1B2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub masked: Option<String>,
    /// The id of its client.
    #[schema(required)]
    pub client: String,
    /// The type of the client, if it is to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_type: Option<String>,
    /// The name of the client, if it is to be made. Default: its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The tenant of the client, if it is to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The permissions of the client, if it is to be made. Default: all that its type may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_permissions: Option<Permissions>,
    /// The groups of the client, if it is to be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Where the key may be kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<KeyKind>,
    /// Where it is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// `false` brings it in switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Refused before this moment.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// Refused from this moment on.
    #[schema(format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// What it may do at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Permissions>,
    /// Networks it may be used from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Web pages it may be used from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
    /// The plan whose limits hold for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl ImportRow {
    /// What `management` takes; `line` counts where the row itself does not say where it stands.
    pub(in crate::admin) fn read(self, line: usize) -> Result<ImportLine, RefusedLine> {
        let line = self.line.unwrap_or(line);
        let mut faults = Vec::new();
        let secret = self.secret(&mut faults);
        let id = self.id.as_deref().and_then(|text| word(text, "/id", &mut faults, KeyId::parse));
        let environment = environment(self.environment.as_deref(), &mut faults);
        let not_before = moment(self.not_before.as_deref(), "/not_before", &mut faults);
        let expires_at = moment(self.expires_at.as_deref(), "/expires_at", &mut faults);
        let grants = grants(self.permissions.as_ref(), &mut faults);
        let networks = each(&self.networks.unwrap_or_default(), "/networks", &mut faults, parse_network);
        let origins = each(&self.origins.unwrap_or_default(), "/origins", &mut faults, parse_origin);
        let plan = plan(self.plan.as_deref(), "/plan", &mut faults);
        let client_id = word(&self.client, "/client", &mut faults, ClientId::parse);
        let client_type =
            self.client_type.as_deref().and_then(|text| word(text, "/client_type", &mut faults, ClientType::parse));
        let tenant = self.tenant.as_deref().and_then(|text| word(text, "/tenant", &mut faults, Tenant::parse));
        let groups = each(&self.groups.unwrap_or_default(), "/groups", &mut faults, Group::parse);
        let client_grants = self
            .client_permissions
            .map_or(Grants::Unrestricted, |permissions| permissions.read("/client_permissions", &mut faults));
        let client = client_id.map(|id| match client_type {
            None => ClientChoice::Existing(id),
            Some(client_type) => ClientChoice::Ensured(Box::new(management::CreateClient {
                id,
                name: self.client_name,
                client_type,
                tenant,
                owner: None,
                groups,
                grants: client_grants,
                plan: None,
                metadata: BTreeMap::new(),
            })),
        });
        match (secret, client) {
            (Some(secret), Some(client)) if faults.is_empty() => Ok(ImportLine {
                line,
                id,
                name: self.name,
                description: self.description,
                client,
                key_type: self.r#type.unwrap_or_default().into(),
                environment,
                is_disabled: self.active == Some(false),
                not_before,
                expires_at,
                grants,
                networks,
                origins,
                plan,
                secret,
            }),
            _ => Err(RefusedLine { line, faults }),
        }
    }

    fn secret(&self, faults: &mut Vec<Fault>) -> Option<ImportSecret> {
        match (&self.key, &self.digest) {
            (Some(key), None) => Some(ImportSecret::Plain(Secret::owned(key.clone().into_bytes()))),
            (None, Some(digest)) => {
                // The text is not repeated: it may be a key in the wrong column.
                let parsed = KeyDigest::parse(digest).ok();
                if parsed.is_none() {
                    let detail = "a digest is `blake3:`, `sha256:` or `blake3-keyed:` and 64 hexadecimal digits";
                    faults.push(Fault::new("/digest", "digest_invalid", detail));
                }
                parsed.map(|digest| ImportSecret::Digest(digest, self.masked.clone()))
            }
            _ => {
                let detail = "a line holds either the key, in `key`, or its digest, in `digest`";
                faults.push(Fault::new("/key", "key_or_digest", detail));
                None
            }
        }
    }

    /// The rows of a CSV file, each with its line. If the header cannot be taken, that is the only thing there is.
    pub(crate) fn of_csv(input: impl Read) -> impl Iterator<Item = (usize, Result<Self, RefusedLine>)> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(input);
        let (columns, fault) = match reader.headers().cloned() {
            Ok(headers) => columns(&headers).map_or_else(|fault| (Vec::new(), Some(fault)), |known| (known, None)),
            Err(_) => (Vec::new(), Some(Fault::new("", "line_unreadable", "the first line is not CSV in UTF-8"))),
        };
        let has_header = fault.is_none();
        let refused = fault.map(|fault| (1, Err(RefusedLine { line: 1, faults: vec![fault] })));
        let records = has_header.then(|| reader.into_records()).into_iter().flatten();
        let rows = records.map(move |record| match record {
            Ok(record) => {
                let line = record.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(0));
                (line, Self::of_record(&columns, &record).map_err(|faults| RefusedLine { line, faults }))
            }
            Err(error) => {
                let line = error.position().map_or(0, |position| usize::try_from(position.line()).unwrap_or(0));
                let fault = Fault::new("", "line_unreadable", "the line is not CSV in UTF-8");
                (line, Err(RefusedLine { line, faults: vec![fault] }))
            }
        });
        refused.into_iter().chain(rows)
    }

    fn of_record(columns: &[Column], record: &csv::StringRecord) -> Result<Self, Vec<Fault>> {
        if record.len() != columns.len() {
            let detail = format!("the line has {} fields, and the first line names {}", record.len(), columns.len());
            return Err(vec![Fault::new("", "field_count", detail)]);
        }
        let mut row = Self::default();
        let mut faults = Vec::new();
        for (column, cell) in columns.iter().zip(record).filter(|(_, cell)| !cell.is_empty()) {
            if let Err(detail) = (column.set)(&mut row, cell) {
                faults.push(Fault::new(format!("/{}", column.name), "field_invalid", detail));
            }
        }
        if faults.is_empty() { Ok(row) } else { Err(faults) }
    }
}

/// A column of a CSV file.
#[derive(Clone, Copy)]
struct Column {
    name: &'static str,
    set: fn(&mut ImportRow, &str) -> Result<(), &'static str>,
}

/// Every column there can be.
const COLUMNS: [Column; 22] = [
    Column { name: "line", set: |row, cell| number(cell).map(|line| row.line = Some(line)) },
    Column { name: "id", set: |row, cell| text(&mut row.id, cell) },
    Column {
        name: "name",
        set: |row, cell| {
            cell.clone_into(&mut row.name);
            Ok(())
        },
    },
    Column { name: "description", set: |row, cell| text(&mut row.description, cell) },
    Column { name: "key", set: |row, cell| text(&mut row.key, cell) },
    Column { name: "digest", set: |row, cell| text(&mut row.digest, cell) },
    Column { name: "masked", set: |row, cell| text(&mut row.masked, cell) },
    Column {
        name: "client",
        set: |row, cell| {
            cell.clone_into(&mut row.client);
            Ok(())
        },
    },
    Column { name: "client_type", set: |row, cell| text(&mut row.client_type, cell) },
    Column { name: "client_name", set: |row, cell| text(&mut row.client_name, cell) },
    Column { name: "tenant", set: |row, cell| text(&mut row.tenant, cell) },
    Column { name: "client_permissions", set: |row, cell| permissions(&mut row.client_permissions, cell) },
    Column { name: "groups", set: |row, cell| list(&mut row.groups, cell) },
    Column {
        name: "type",
        set: |row, cell| {
            row.r#type = Some(match cell {
                "secret" => KeyKind::Secret,
                "publishable" => KeyKind::Publishable,
                _ => return Err("write `secret` or `publishable`"),
            });
            Ok(())
        },
    },
    Column { name: "plan", set: |row, cell| text(&mut row.plan, cell) },
    Column { name: "environment", set: |row, cell| text(&mut row.environment, cell) },
    Column {
        name: "active",
        set: |row, cell| {
            row.active = Some(match cell {
                "true" => true,
                "false" => false,
                _ => return Err("write `true` or `false`"),
            });
            Ok(())
        },
    },
    Column { name: "not_before", set: |row, cell| text(&mut row.not_before, cell) },
    Column { name: "expires_at", set: |row, cell| text(&mut row.expires_at, cell) },
    Column { name: "permissions", set: |row, cell| permissions(&mut row.permissions, cell) },
    Column { name: "networks", set: |row, cell| list(&mut row.networks, cell) },
    Column { name: "origins", set: |row, cell| list(&mut row.origins, cell) },
];

/// The columns that a first line names.
fn columns(headers: &csv::StringRecord) -> Result<Vec<Column>, Fault> {
    let known = || COLUMNS.map(|column| column.name).join(", ");
    let mut found: Vec<Column> = Vec::with_capacity(headers.len());
    for (index, name) in headers.iter().enumerate() {
        let name = name.trim_start_matches('\u{feff}');
        let Some(column) = COLUMNS.into_iter().find(|column| column.name == name) else {
            // The name is not repeated: a file without a first line of names begins with a key.
            let detail = format!("column {} is none of those that are known: {}", index + 1, known());
            return Err(Fault::new("", "column_unknown", detail));
        };
        if found.iter().any(|other| other.name == name) {
            return Err(Fault::new("", "column_repeated", format!("column {} was there before: `{name}`", index + 1)));
        }
        found.push(column);
    }
    Ok(found)
}

fn number(cell: &str) -> Result<usize, &'static str> {
    cell.parse().map_err(|_| "write a number")
}

fn text(field: &mut Option<String>, cell: &str) -> Result<(), &'static str> {
    *field = Some(cell.to_owned());
    Ok(())
}

fn words(cell: &str) -> Vec<String> {
    let is_separator = |c: char| c.is_whitespace() || c == ';';
    cell.split(is_separator).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn list(field: &mut Option<Vec<String>>, cell: &str) -> Result<(), &'static str> {
    *field = Some(words(cell));
    Ok(())
}

fn permissions(field: &mut Option<Permissions>, cell: &str) -> Result<(), &'static str> {
    *field = Some(match cell {
        "all" => Permissions::Preset(Preset::All),
        "read_only" => Permissions::Preset(Preset::ReadOnly),
        _ => Permissions::List(words(cell)),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusals(csv: &str) -> Vec<(usize, Vec<(String, &'static str)>)> {
        let rows = ImportRow::of_csv(csv.as_bytes());
        rows.filter_map(|(line, row)| row.and_then(|row| row.read(line)).err())
            .map(|refused| {
                let faults = refused.faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect();
                (refused.line, faults)
            })
            .collect()
    }

    #[test]
    fn a_line_of_csv_says_what_a_line_of_json_says() {
        let csv = "name,key,client,client_type,permissions,networks,expires_at,active\n\
            \"shop, main\",k-1,shop,partner,orders.read; orders.list,10.0.0.0/8 192.0.2.1,2100-01-01T00:00:00Z,false\n";
        let (line, row) = ImportRow::of_csv(csv.as_bytes()).next().unwrap();
        let of_csv = row.and_then(|row| row.read(line)).unwrap();
        let json = r#"{"line":2,"name":"shop, main","key":"k-1","client":"shop","client_type":"partner","active":false,
            "permissions":["orders.read","orders.list"],"networks":["10.0.0.0/8","192.0.2.1"],
            "expires_at":"2100-01-01T00:00:00Z"}"#;
        let of_json = serde_json::from_str::<ImportRow>(json).unwrap().read(1).unwrap();
        assert_eq!(of_csv.line, 2);
        assert_eq!(format!("{of_csv:?}"), format!("{of_json:?}"));
    }

    #[test]
    fn what_cannot_be_taken_is_told_by_line_and_part() {
        let header = "name,key,digest,client,active,type,expires_at\n";
        for (line, expected) in [
            ("n,,,c,,,", vec![("/key", "key_or_digest")]),
            ("n,k,blake3:00,c,,,", vec![("/key", "key_or_digest")]),
            ("n,,blake3:00,c,,,", vec![("/digest", "digest_invalid")]),
            ("n,k,,c,yes,public,", vec![("/active", "field_invalid"), ("/type", "field_invalid")]),
            ("n,k,,c,,,tomorrow", vec![("/expires_at", "word_invalid")]),
            ("n,k,,,,,", vec![("/client", "word_invalid")]),
            ("n,k,,c", vec![("", "field_count")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(pointer, code)| (pointer.to_owned(), code)).collect();
            assert_eq!(refusals(&format!("{header}a,k1,,c,,,\n{line}\n")), [(3, expected)], "{line}");
        }
        assert_eq!(refusals("name,secret\nn,k\n"), [(1, vec![(String::new(), "column_unknown")])]);
        assert_eq!(refusals("name,name\nn,k\n"), [(1, vec![(String::new(), "column_repeated")])]);
        assert_eq!(refusals(""), []);
    }

    #[test]
    fn lines_are_counted_where_a_field_spans_some() {
        let csv = "name,description,key,client\na,\"two\nlines\",k,c\nb,,,c\n";
        assert_eq!(refusals(csv), [(4, vec![("/key".to_owned(), "key_or_digest")])]);
    }
}
