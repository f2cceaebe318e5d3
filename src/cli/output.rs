//! What commands print: tables, moments in words, questions.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets};
use serde_json::Value;

use super::{USAGE, fail};
use crate::config;
use crate::keys::Timestamp;
use crate::management::now;

/// Prints rows under their headings, for people.
pub(super) fn print_table(headings: &[&str], rows: Vec<Vec<String>>) -> u8 {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|cell| printable(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    super::print_line(&text.join("\n"))
}

/// Prints names with what belongs to them; what is empty is left out.
pub(super) fn print_facts(facts: &[(&str, String)]) -> u8 {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let bold = Style::new().bold();
    let mut out = anstream::stdout();
    for (name, text) in facts.iter().filter(|(_, text)| !text.is_empty()) {
        // A pipe that was closed early is not an error.
        if writeln!(out, "{bold}{name:<width$}{bold:#}  {}", printable(text)).is_err() {
            break;
        }
    }
    0
}

/// A text that moves no cursor and rings no bell, whoever wrote it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Says something on stderr.
pub(super) fn say(text: &str) {
    // If stderr is gone there is nobody left to tell.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Says each of the warnings in an answer.
pub(super) fn say_warnings(answer: &Value) {
    let yellow = AnsiColor::Yellow.on_default();
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        say(&format!("{yellow}warning{yellow:#}: {}", text(&warning["detail"])));
    }
}

/// A JSON string as it is, anything else in JSON; nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A moment as a distance from now, such as `3 d ago` or `in 5 h`; `otherwise` for null.
pub(super) fn moment(value: &Value, otherwise: &str) -> String {
    let Some(moment) = value.as_str().and_then(|text| text.parse::<Timestamp>().ok()) else {
        return otherwise.to_owned();
    };
    distance(moment.as_millis() - now().as_millis())
}

fn distance(millis: i64) -> String {
    let seconds = millis.unsigned_abs() / 1000;
    let amount = match seconds {
        0..90 => format!("{seconds} s"),
        90..5_400 => format!("{} min", (seconds + 30) / 60),
        5_400..129_600 => format!("{} h", (seconds + 1_800) / 3_600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    };
    if millis < 0 { format!("{amount} ago") } else { format!("in {amount}") }
}

/// Asks whether something that cannot be undone is meant. `is_meant` says that it was said on the command line.
pub(super) fn confirm(question: &str, is_meant: bool) -> Result<(), u8> {
    if is_meant {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        fail(&format!("{question}\nnobody is there to be asked: say --yes if it is meant"));
        return Err(USAGE);
    }
    let _ = write!(anstream::stderr(), "{question}\nType yes to go on: ");
    let mut answer = String::new();
    match io::stdin().read_line(&mut answer) {
        Ok(_) if matches!(answer.trim(), "yes" | "y") => Ok(()),
        _ => Err(fail("nothing was done")),
    }
}

/// A moment on the command line: RFC 3339, a day, or a duration from now. Given back as RFC 3339.
pub(super) fn read_moment(text: &str) -> Result<String, String> {
    let form = "write a moment such as `2027-01-31T12:00:00Z`, a day such as `2027-01-31`, or a duration from now such as `90d`";
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment.to_string());
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>()
        && let Ok(start) = day.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(Timestamp::from_millis(start.timestamp().as_millisecond()).to_string());
    }
    let duration = config::parse_duration(text).map_err(|_| form.to_owned())?;
    let millis = i64::try_from(duration.as_millis()).map_err(|_| form.to_owned())?;
    Ok(Timestamp::from_millis(now().as_millis() + millis).to_string())
}

/// The same, or null for `never`.
pub(super) fn read_moment_or_never(text: &str) -> Result<Value, String> {
    if text == "never" { Ok(Value::Null) } else { read_moment(text).map(Value::from) }
}

/// A duration in seconds, `0` included.
pub(super) fn read_seconds(text: &str) -> Result<u64, String> {
    if matches!(text, "0" | "0s" | "0d") {
        Ok(0)
    } else {
        config::parse_duration(text).map(|duration| duration.as_secs())
    }
}

/// A duration in whole days.
pub(super) fn read_days(text: &str) -> Result<u32, String> {
    let days = read_seconds(text)? / 86_400;
    u32::try_from(days).ok().filter(|days| *days > 0).ok_or_else(|| "write days, such as `30d`".to_owned())
}

/// Permissions on the command line: `all`, `read_only`, `none`, or a list.
pub(super) fn read_permissions(text: &str) -> Result<Value, String> {
    match text {
        "all" | "read_only" => Ok(Value::from(text)),
        "read-only" => Ok(Value::from("read_only")),
        "none" => Ok(Value::Array(Vec::new())),
        "" => Err("write `all`, `read_only`, `none` or permissions such as `orders.read,orders.list`".to_owned()),
        list => Ok(list.split(',').map(str::trim).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_told_in_one_unit() {
        for (seconds, expected) in [
            (0, "in 0 s"),
            (-89, "89 s ago"),
            (90, "in 2 min"),
            (-5_399, "90 min ago"),
            (5_400, "in 2 h"),
            (129_599, "in 36 h"),
            (-129_600, "2 d ago"),
            (-86_400 * 40, "40 d ago"),
        ] {
            assert_eq!(distance(seconds * 1000), expected);
        }
    }

    #[test]
    fn moments_are_read_in_three_forms() {
        assert_eq!(read_moment("2027-01-31").unwrap(), "2027-01-31T00:00:00Z");
        assert_eq!(read_moment("2027-01-31T12:00:00+02:00").unwrap(), "2027-01-31T10:00:00Z");
        let ahead: Timestamp = read_moment("90d").unwrap().parse().unwrap();
        let distance = ahead.as_millis() - now().as_millis();
        assert!((distance - 90 * 86_400_000).abs() < 5_000, "{distance}");
        assert!(read_moment("tomorrow").is_err());
        assert_eq!(read_moment_or_never("never").unwrap(), Value::Null);
    }

    #[test]
    fn nothing_that_is_printed_moves_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\nc"), "a [2Jb c");
    }
}
