//! What was measured, as tables that can stand in a document.

use std::fmt::Write as _;

use crate::report::{Cost, Report, Row};
use crate::rig::syscalls::{RECEIVING, SENDING, WAITING, sum};

/// All tables of a run.
pub fn render(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = format!(
        "\n{}, {} cores, {}, Linux {}, {}\n",
        machine.processor, machine.cores, machine.system, machine.kernel, machine.date
    );
    let versions: Vec<String> =
        report.proxies.iter().map(|proxy| format!("{} {}", proxy.name, proxy.version)).collect();
    let _ = writeln!(text, "{}; one worker on one core each, medians of {} rounds", versions.join(", "), report.rounds);
    compare(&mut text, report, "CPU, microseconds for each request", 2, |cost| Some(cost.cpu.as_ref()?.median));
    compare(&mut text, report, "User-land instructions for each request", 0, |cost| cost.instructions);
    compare(&mut text, report, "Received, sent and waited, system calls for each request", 2, |cost| {
        let calls = cost.calls.as_ref()?;
        Some([&RECEIVING[..], &SENDING, &WAITING].iter().map(|names| sum(calls, names)).sum())
    });
    calls(&mut text, report);
    growth(&mut text, report);
    for what in &report.left_out {
        let _ = writeln!(text, "\nleft out: {what}");
    }
    text
}

/// One figure of every proxy, and what that of the first is of each other's.
fn compare(text: &mut String, report: &Report, what: &str, digits: usize, figure: impl Fn(&Cost) -> Option<f64>) {
    let Some((first, others)) = report.proxies.split_first() else { return };
    let of = |row: &Row, name: &str| row.costs.get(name).and_then(&figure);
    let rows: Vec<&Row> = report.rows.iter().filter(|row| of(row, &first.name).is_some()).collect();
    if rows.is_empty() {
        return;
    }
    let mut cells = vec![vec![String::new(), what.to_owned()]];
    cells[0].extend(report.proxies.iter().map(|proxy| proxy.name.clone()));
    cells[0].extend(others.iter().map(|proxy| format!("/ {}", proxy.name)));
    for row in rows {
        let mut line = vec![row.scenario.to_owned(), row.title.to_owned()];
        let show =
            |figure: Option<f64>, digits| figure.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"));
        line.extend(report.proxies.iter().map(|proxy| show(of(row, &proxy.name), digits)));
        line.extend(others.iter().map(|other| {
            let ratio = of(row, &first.name).zip(of(row, &other.name)).map(|(ours, theirs)| ours / theirs);
            show(ratio, 2)
        }));
        cells.push(line);
    }
    table(text, &cells);
}

/// What keygate's system calls are.
fn calls(text: &mut String, report: &Report) {
    let mut cells =
        vec![["", "System calls for each request", "received", "sent", "waited", "other"].map(str::to_owned).to_vec()];
    for row in &report.rows {
        for proxy in &report.proxies {
            let Some(calls) = row.costs.get(&proxy.name).and_then(|cost| cost.calls.as_ref()) else { continue };
            let known = [&RECEIVING[..], &SENDING, &WAITING].map(|names| sum(calls, names));
            let other = calls.values().sum::<f64>() - known.iter().sum::<f64>();
            let mut line = vec![row.scenario.to_owned(), proxy.name.clone()];
            line.extend(known.iter().chain([&other]).map(|figure| format!("{figure:.2}")));
            cells.push(line);
        }
    }
    if cells.len() > 1 {
        table(text, &cells);
    }
}

/// What keys, endpoints and connections add, and what else was seen.
fn growth(text: &mut String, report: &Report) {
    let titles = ["", "", "CPU us", "lowest", "highest", "req/s", "core busy", "start s", "memory MiB"];
    let mut cells = vec![titles.map(str::to_owned).to_vec()];
    for row in &report.rows {
        for proxy in &report.proxies {
            let Some(cost) = row.costs.get(&proxy.name) else { continue };
            let Some(cpu) = &cost.cpu else { continue };
            let mut line = vec![row.scenario.to_owned(), proxy.name.clone()];
            line.extend([cpu.median, cpu.lowest, cpu.highest].map(|value| format!("{value:.2}")));
            let figures = [(cost.per_second, 0), (cost.busy, 2), (cost.start_seconds, 2), (cost.memory, 1)];
            line.extend(figures.map(|(value, digits)| format!("{:.digits$}", value.unwrap_or_default())));
            cells.push(line);
        }
    }
    if cells.len() > 1 {
        table(text, &cells);
    }
}

/// Lines of cells, the first one a title, the first two columns of words and all others of numbers.
fn table(text: &mut String, cells: &[Vec<String>]) {
    let columns = cells.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            cells.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    text.push('\n');
    for (number, line) in cells.iter().enumerate() {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let _ = if column < 2 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(text, "|{}{}", "-".repeat(width + 1), if column < 2 { "-" } else { ":" });
            }
            text.push_str("|\n");
        }
    }
}
