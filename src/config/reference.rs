//! The reference manual of the configuration, made from the comments of the document's fields.
//!
//! [`schema`] is a JSON schema for editors (`keygate schema`); [`reference()`] is `docs/CONFIGURATION.md`, which a test
//! compares with it, so that neither can say anything that the program does not do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::document::Document;

/// The JSON schema (draft 2020-12) of `gateway.yaml`.
#[must_use]
pub fn schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.meta_schema = Some("https://json-schema.org/draft/2020-12/schema".into());
    let mut schema = ordered_schema(settings);
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "keygate configuration".into());
        root.remove(ORDER);
        for definition in root.get_mut("$defs").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
            definition.as_object_mut().map(|definition| definition.remove(ORDER));
        }
    }
    schema
}

/// Where the macro `shape!` notes the order in which the fields of a map stand in the code.
const ORDER: &str = "x-order";

fn ordered_schema(settings: SchemaSettings) -> Value {
    settings.into_generator().into_root_schema_for::<Document>().to_value()
}

/// The reference manual as Markdown.
#[must_use]
pub fn reference() -> String {
    let schema = ordered_schema(SchemaSettings::draft2020_12());
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut manual = Manual { definitions, sections: Vec::new(), places: BTreeMap::new() };
    manual.section(String::new(), &schema);
    let mut text = include_str!("reference/introduction.md").to_owned();
    for (heading, body) in &manual.sections {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\n## {heading}\n\n{body}");
    }
    text
}

/// The path of every field, such as `endpoints[].routes[].match`; `*` stands for a name that the operator chooses. Fields of
/// a map that can stand in two places are named at the first.
#[cfg(test)]
pub(crate) fn field_paths() -> Vec<String> {
    let schema = ordered_schema(SchemaSettings::draft2020_12());
    let definitions = schema.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut paths = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    collect(&schema, "", &definitions, &mut seen, &mut paths);
    paths
}

#[cfg(test)]
fn collect(
    schema: &Value,
    path: &str,
    definitions: &Map<String, Value>,
    seen: &mut std::collections::BTreeSet<String>,
    paths: &mut Vec<String>,
) {
    for (field, inner) in properties(schema) {
        let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
        paths.push(path.clone());
        for (suffix, name) in maps_below(inner) {
            if let Some(definition) = definitions.get(&name).filter(|_| seen.insert(name)) {
                collect(definition, &format!("{path}{suffix}"), definitions, seen, paths);
            }
        }
    }
}

struct Manual {
    definitions: Map<String, Value>,
    sections: Vec<(String, String)>,
    /// The first path at which a definition is described.
    places: BTreeMap<String, String>,
}

impl Manual {
    /// Describes one map, then the maps below it.
    fn section(&mut self, path: String, schema: &Value) {
        let heading = if path.is_empty() { "The whole file".to_owned() } else { format!("`{path}`") };
        let mut body = format!("{}\n\n", text_of(schema));
        let index = self.sections.len();
        self.sections.push((heading, String::new()));
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut below = Vec::new();
        for (field, inner) in properties(schema) {
            let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
            let mut note = String::new();
            for (suffix, name) in maps_below(inner) {
                let place = format!("{path}{suffix}");
                match self.places.get(&name) {
                    Some(first) => note = format!(" Fields: see `{first}`."),
                    None => {
                        self.places.insert(name.clone(), place.clone());
                        note = format!(" Fields: see `{place}`.");
                        below.push((place, name));
                    }
                }
            }
            let need = if required.contains(&field.as_str()) { ", required" } else { "" };
            let _ = writeln!(body, "- **`{field}`** ({}{need}): {}{note}", kind_of(inner), text_of(inner));
        }
        self.sections[index].1 = body;
        for (place, name) in below {
            if let Some(definition) = self.definitions.get(&name).cloned() {
                self.section(place, &definition);
            }
        }
    }
}

/// The fields of a map, in the order of the code.
fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = schema.get("properties").and_then(Value::as_object).into_iter().flatten().collect();
    let order = schema.get(ORDER).and_then(Value::as_array);
    let rank = |field: &str| {
        order.and_then(|order| {
            order.iter().position(|name| name.as_str().is_some_and(|name| name.trim_start_matches("r#") == field))
        })
    };
    fields.sort_by_key(|(field, _)| rank(field));
    fields
}

fn text_of(schema: &Value) -> String {
    schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ").replace("  ", " ")
}

/// The definitions that a value may be made of, each with what the path to it ends in.
fn maps_below(schema: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next()) {
        found.push((String::new(), name.to_owned()));
    }
    for (field, suffix) in [("items", "[]"), ("additionalProperties", ".*")] {
        if let Some(inner) = schema.get(field).filter(|inner| inner.is_object()) {
            found.extend(maps_below(inner).into_iter().map(|(rest, name)| (format!("{suffix}{rest}"), name)));
        }
    }
    for inner in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        found.extend(maps_below(inner));
    }
    found
}

/// What a value looks like, in words.
fn kind_of(schema: &Value) -> String {
    if let Some(choices) = schema.get("anyOf").and_then(Value::as_array) {
        let mut kinds: Vec<String> = Vec::new();
        for kind in choices.iter().map(kind_of).filter(|kind| !kind.is_empty()) {
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        return kinds.join(" or ");
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return format!("`{word}`");
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    if let Some(title) = schema.get("title").and_then(Value::as_str) {
        return title.to_owned();
    }
    if schema.get("$ref").is_some() {
        return "map".to_owned();
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match kinds.iter().find(|kind| **kind != "null") {
        Some(&"array") => match schema.get("items").map(kind_of) {
            Some(items) => format!("list of {items}"),
            None => "list".to_owned(),
        },
        Some(&"object") => match schema.get("additionalProperties").filter(|inner| inner.is_object()).map(kind_of) {
            Some(values) => format!("map from names to {values}"),
            None => "map".to_owned(),
        },
        Some(&"boolean") => "`true` or `false`".to_owned(),
        Some(&"integer") => "whole number".to_owned(),
        Some(&"string") => "text".to_owned(),
        Some(&"null") | None => String::new(),
        Some(other) => (*other).to_owned(),
    }
}

#[cfg(test)]
mod tests;
