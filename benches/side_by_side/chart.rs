//! The picture in the README, drawn from a run and from nothing else.
//!
//! On the left, bars: CPU time for each request, scenario by scenario, each scenario on a scale of its own since a handshake
//! takes twenty times as long as a request. On the right, lines: what more keys cost. Below, on what and when.
//!
//! The picture has a ground of its own and two sets of colours, so that it can be read on a light page and on a dark one.

use std::fmt::Write as _;

use crate::report::{Report, Row};
use crate::rig::Result;

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 24.0;
/// Where the bars begin and how long the longest is.
const BARS: f64 = 200.0;
const BAR_LENGTH: f64 = 250.0;
const BAR: f64 = 12.0;
const BETWEEN_SCENARIOS: f64 = 12.0;
const TOP: f64 = 92.0;
/// Where the lines are drawn.
const PLOT_LEFT: f64 = 580.0;
const PLOT_RIGHT: f64 = 860.0;
/// Most proxies that can be told apart.
const COLOURS: usize = 4;

const STYLE: &str = "<style>
  text { font-family: system-ui, -apple-system, 'Segoe UI', sans-serif; font-size: 12px; fill: #1f2328 }
  .ground { fill: #ffffff; stroke: #d1d9e0 } .title { font-size: 15px; font-weight: 600 } .quiet { fill: #59636e }
  .rule { stroke: #d1d9e0; stroke-width: 1 } .line { fill: none; stroke-width: 2.5 } .value { font-size: 11px }
  .fill0 { fill: #0969da } .fill1 { fill: #8c959f } .fill2 { fill: #bf8700 } .fill3 { fill: #8250df }
  .stroke0 { stroke: #0969da } .stroke1 { stroke: #8c959f } .stroke2 { stroke: #bf8700 } .stroke3 { stroke: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .ground { fill: #0d1117; stroke: #3d444d } .quiet { fill: #9198a1 } .rule { stroke: #3d444d }
    .fill0 { fill: #4493f8 } .fill1 { fill: #9198a1 } .fill2 { fill: #d29922 } .fill3 { fill: #ab7df8 }
    .stroke0 { stroke: #4493f8 } .stroke1 { stroke: #9198a1 } .stroke2 { stroke: #d29922 } .stroke3 { stroke: #ab7df8 }
  }
</style>
";

/// The whole picture.
///
/// # Errors
/// CPU time was not measured, or of more proxies than there are colours.
pub fn draw(report: &Report) -> Result<String> {
    let names: Vec<&str> = report.proxies.iter().map(|proxy| proxy.name.as_str()).collect();
    if names.len() > COLOURS {
        return Err(format!("a chart has room for {COLOURS} proxies"));
    }
    let measured = |row: &&Row| names.iter().any(|name| row.cpu(name).is_some());
    // Growth has a place of its own; a scenario that only keygate can do compares nothing.
    let compared: Vec<&Row> = report
        .rows
        .iter()
        .filter(measured)
        .filter(|row| !row.scenario.contains('-') && names.iter().all(|name| row.cpu(name).is_some()))
        .collect();
    let mut by_keys: Vec<&Row> =
        report.rows.iter().filter(measured).filter(|row| matches!(row.scenario, "a" | "b" | "keys-1m")).collect();
    by_keys.sort_by_key(|row| row.keys);
    if compared.is_empty() {
        return Err("a chart needs CPU time of at least one scenario that all proxies were measured in".to_owned());
    }
    let scenario_height = BAR * names.len() as f64 + BETWEEN_SCENARIOS;
    let bottom = TOP + scenario_height * compared.len().max(5) as f64;
    let height = bottom + 56.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-labelledby=\"title\">\n<title id=\"title\">CPU time for each request: {}</title>\n{STYLE}",
        escaped(&names.join(", "))
    );
    let _ = writeln!(
        svg,
        "<rect class=\"ground\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
        WIDTH - 1.0,
        height - 1.0
    );
    text(&mut svg, "title", "start", MARGIN, 34.0, "CPU time for each request, in microseconds (less is better)");
    legend(&mut svg, report);
    bars(&mut svg, &names, &compared, scenario_height);
    if by_keys.len() > 1 {
        lines(&mut svg, &names, &by_keys, bottom);
    }
    let machine = &report.machine;
    let place = format!(
        "{}, {} cores, {}, Linux {}, {}.",
        machine.processor, machine.cores, machine.system, machine.kernel, machine.date
    );
    text(&mut svg, "quiet", "start", MARGIN, bottom + 22.0, &place);
    let how = format!(
        "One worker on one core each, the same job for all, medians of {} interleaved rounds: cargo bench --bench side_by_side",
        report.rounds
    );
    text(&mut svg, "quiet", "start", MARGIN, bottom + 40.0, &how);
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn legend(svg: &mut String, report: &Report) {
    let mut x = MARGIN;
    for (number, proxy) in report.proxies.iter().enumerate() {
        let label = format!("{} {}", proxy.name, proxy.version);
        let _ = writeln!(svg, "<rect class=\"fill{number}\" x=\"{x}\" y=\"50\" width=\"12\" height=\"12\" rx=\"2\"/>");
        text(svg, "", "start", x + 18.0, 61.0, &label);
        x += 40.0 + 7.0 * label.len() as f64;
    }
}

fn bars(svg: &mut String, names: &[&str], rows: &[&Row], scenario_height: f64) {
    for (place, row) in rows.iter().enumerate() {
        let y = TOP + scenario_height * place as f64;
        let costs: Vec<f64> = names.iter().filter_map(|name| row.cpu(name)).collect();
        let dearest = costs.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        text(svg, "", "start", MARGIN, y + BAR * names.len() as f64 / 2.0 + 4.0, row.title);
        for (number, cost) in costs.iter().enumerate() {
            let (y, length) = (y + BAR * number as f64, BAR_LENGTH * cost / dearest);
            let _ = writeln!(
                svg,
                "<rect class=\"fill{number}\" x=\"{BARS}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{:.1}\" rx=\"2\"/>",
                BAR - 2.0
            );
            text(svg, "value", "start", BARS + length + 6.0, y + BAR - 3.0, &figure(*cost));
        }
    }
}

fn lines(svg: &mut String, names: &[&str], rows: &[&Row], bottom: f64) {
    let (top, floor) = (TOP + 16.0, bottom - 40.0);
    let dearest =
        rows.iter().flat_map(|row| names.iter().filter_map(|name| row.cpu(name))).fold(f64::MIN_POSITIVE, f64::max);
    let step = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0].into_iter().find(|step| dearest / step <= 5.0).unwrap_or(200.0);
    let most = (dearest / step).ceil() * step;
    let logarithm = |keys: usize| (keys.max(1) as f64).log10();
    let (least_keys, most_keys) = (logarithm(rows[0].keys), logarithm(rows[rows.len() - 1].keys));
    let x = |keys: usize| {
        PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * (logarithm(keys) - least_keys) / (most_keys - least_keys).max(1.0)
    };
    let y = |cost: f64| floor - (floor - top) * cost / most;
    text(svg, "", "start", PLOT_LEFT - 24.0, TOP - 4.0, "GET, by number of keys");
    let mut mark = 0.0;
    while mark <= most + step / 2.0 {
        let at = y(mark);
        let _ = writeln!(svg, "<path class=\"rule\" d=\"M{PLOT_LEFT} {at:.1}H{PLOT_RIGHT}\"/>");
        text(svg, "quiet value", "end", PLOT_LEFT - 6.0, at + 4.0, &format!("{mark:.0}"));
        mark += step;
    }
    for row in rows {
        let label = match row.keys {
            keys if keys >= 1_000_000 => format!("{} M", keys / 1_000_000),
            keys => format!("{} k", keys / 1_000),
        };
        text(svg, "quiet value", "middle", x(row.keys), floor + 18.0, &label);
    }
    for (number, name) in names.iter().enumerate() {
        let points: Vec<(f64, f64)> = rows.iter().filter_map(|row| Some((x(row.keys), y(row.cpu(name)?)))).collect();
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let _ = writeln!(svg, "<path class=\"line stroke{number}\" d=\"M{}\"/>", path.join("L"));
        for (x, y) in points {
            let _ = writeln!(svg, "<circle class=\"fill{number}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"/>");
        }
    }
}

fn figure(cost: f64) -> String {
    if cost >= 100.0 { format!("{cost:.0}") } else { format!("{cost:.1}") }
}

fn text(svg: &mut String, class: &str, anchor: &str, x: f64, y: f64, content: &str) {
    let content = escaped(content);
    let _ =
        writeln!(svg, "<text class=\"{class}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{content}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
