//! Makes the table of the console's files: what a browser asks for, plain and compressed.
//!
//! The sources below `src/console/` are modules and style sheets that any browser takes as they stand. Sent one by one they
//! would be fifty answers, each with its headers, found one after the other; so the modules are joined into `console.js`
//! and the style sheets into `console.css`, without comments and indentation, and the page names those. Nothing is renamed,
//! nothing is fetched, and no tool is needed: a module becomes a function that gives what it exports, in the order in which
//! they need each other. What does not look as expected stops the build.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Where everything begins.
const ENTRY: &str = "main.js";

fn main() {
    let source = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/console");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/console");
    let read = |path: &str| read(&source, path);
    let written = read("index.html");
    let (page, styles) = page(&written);
    let style = styles.iter().fold(String::new(), |all, path| all + &bare(&read(path)));
    let mut modules = Modules { source: &source, numbers: BTreeMap::new(), joined: String::new() };
    modules.add(ENTRY);
    let files = [
        ("index.html", "text/html; charset=utf-8", page),
        ("console.js", "text/javascript; charset=utf-8", modules.joined),
        ("console.css", "text/css; charset=utf-8", style),
        ("theme.js", "text/javascript; charset=utf-8", bare(&read("theme.js"))),
        ("mark.svg", "image/svg+xml", read("mark.svg")),
    ];
    let mut table = String::from("&[\n");
    for (path, media_type, text) in files {
        let forms = [
            (out.join(path), text.as_bytes().to_vec()),
            (out.join(format!("{path}.gz")), compressed_by_gzip(text.as_bytes())),
            (out.join(format!("{path}.br")), compressed_by_brotli(text.as_bytes())),
        ];
        let [plain, gzip, brotli] = forms.map(|(file, bytes)| {
            fs::write(&file, bytes).expect("the output folder takes it");
            file
        });
        writeln!(
            table,
            "    Asset {{ path: {path:?}, media_type: {media_type:?}, plain: include_bytes!({plain:?}), \
             gzip: include_bytes!({gzip:?}), brotli: include_bytes!({brotli:?}) }},"
        )
        .expect("a String takes all that is written");
    }
    table.push_str("]\n");
    fs::write(out.join("console.rs"), table).expect("the output folder takes it");
}

/// No name and no time goes in: the same file gives the same bytes.
fn compressed_by_gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn compressed_by_brotli(text: &[u8]) -> Vec<u8> {
    let settings = brotli::enc::BrotliEncoderParams { quality: 11, size_hint: text.len(), ..Default::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &*text, &mut compressed, &settings).expect("memory takes it");
    compressed
}

fn read(source: &Path, path: &str) -> String {
    fs::read_to_string(source.join(path)).unwrap_or_else(|error| panic!("src/console/{path}: {error}"))
}

/// The page with one style sheet and one script in place of those it names, and the style sheets it named.
fn page(text: &str) -> (String, Vec<&str>) {
    let mut styles = Vec::new();
    let mut page = String::new();
    for line in text.lines() {
        let sheet =
            line.trim().strip_prefix("<link rel=\"stylesheet\" href=\"").and_then(|rest| rest.strip_suffix("\">"));
        if let Some(sheet) = sheet {
            if styles.is_empty() {
                page.push_str("<link rel=\"stylesheet\" href=\"console.css\">\n");
            }
            styles.push(sheet);
        } else {
            page.push_str(line.trim());
            page.push('\n');
        }
    }
    let entry = format!("src=\"{ENTRY}\"");
    assert!(!styles.is_empty() && page.contains(&entry), "src/console/index.html names no style sheet, or not {ENTRY}");
    (page.replace(&entry, "src=\"console.js\""), styles)
}

/// A source without comments and indentation: those that have lines of their own, so that nothing has to be understood of
/// the language.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut in_comment = false;
    for line in text.lines().map(str::trim) {
        if in_comment || line.starts_with("/*") {
            in_comment = !line.ends_with("*/");
        } else if !line.is_empty() && !line.starts_with("//") {
            bare.push_str(line);
            bare.push('\n');
        }
    }
    bare
}

/// Modules, each behind those it needs.
struct Modules<'a> {
    source: &'a Path,
    /// The number of each that was added; none while it is being added.
    numbers: BTreeMap<String, Option<usize>>,
    joined: String,
}

impl Modules<'_> {
    /// Adds a module and what it needs, and gives its number.
    fn add(&mut self, path: &str) -> usize {
        match self.numbers.get(path) {
            Some(Some(number)) => return *number,
            Some(None) => panic!("src/console/{path} needs itself, by way of what it imports"),
            None => {}
        }
        self.numbers.insert(path.to_owned(), None);
        let text = read(self.source, path);
        let text = if path.starts_with("vendor/") { text } else { bare(&text) };
        let (mut body, mut exports) = (String::new(), Vec::new());
        let mut rest = text.as_str();
        while let Some((before, word, after)) = statement(rest) {
            body.push_str(before);
            rest = if word == "import" {
                self.import(path, after, &mut body)
            } else {
                self.export(path, after, &mut body, &mut exports)
            };
        }
        body.push_str(rest);
        let number = self.numbers.values().flatten().count();
        let exports = exports.join(",");
        writeln!(self.joined, "const $m{number}=(()=>{{\n{body}\nreturn {{{exports}}};\n}})();")
            .expect("a String takes all that is written");
        self.numbers.insert(path.to_owned(), Some(number));
        number
    }

    /// Reads what stands behind `import`, and writes what takes its place.
    fn import<'t>(&mut self, path: &str, after: &'t str, body: &mut String) -> &'t str {
        let (names, rest) = after.split_once("from").unwrap_or_else(|| panic!("src/console/{path}: an odd import"));
        let (number, rest) = self.from(path, rest);
        let names = match braced(names) {
            Some(names) => names.iter().map(|(name, here)| format!("{name}:{here}")).collect::<Vec<_>>().join(","),
            None => format!("default:{}", names.trim()),
        };
        write!(body, "const {{{names}}}=$m{number};").expect("a String takes all that is written");
        rest
    }

    /// Reads what stands behind `export`, and writes what takes its place.
    fn export<'t>(&mut self, path: &str, after: &'t str, body: &mut String, exports: &mut Vec<String>) -> &'t str {
        let after = after.trim_start();
        if after.starts_with('{') {
            let end = after.find('}').unwrap_or_else(|| panic!("src/console/{path}: an odd export")) + 1;
            let names = braced(&after[..end]).unwrap_or_default();
            let behind = after[end..].trim_start();
            let Some(source) = behind.strip_prefix("from") else {
                exports.extend(names.iter().map(|(here, name)| format!("{name}:{here}")));
                return &after[end..];
            };
            let (number, rest) = self.from(path, source);
            exports.extend(names.iter().map(|(there, name)| format!("{name}:$m{number}.{there}")));
            return rest;
        }
        if let Some(value) = after.strip_prefix("default ") {
            exports.push("default:$default".to_owned());
            body.push_str("const $default=");
            return value;
        }
        let declared =
            ["const ", "function ", "async function ", "class "].iter().find_map(|word| after.strip_prefix(word));
        let declared = declared.unwrap_or_else(|| panic!("src/console/{path}: an odd export"));
        let end =
            declared.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(declared.len());
        exports.push(declared[..end].to_owned());
        after
    }

    /// Reads the address of a module, and gives its number and what stands behind.
    fn from<'t>(&mut self, path: &str, text: &'t str) -> (usize, &'t str) {
        let text = text.trim_start();
        let quote = text.chars().next().filter(|letter| matches!(letter, '\'' | '"'));
        let quote = quote.unwrap_or_else(|| panic!("src/console/{path}: an import from nowhere"));
        let (address, rest) =
            text[1..].split_once(quote).unwrap_or_else(|| panic!("src/console/{path}: an odd import"));
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let full = match (address.strip_prefix("./"), address.strip_prefix("../")) {
            (Some(beside), _) if folder.is_empty() => beside.to_owned(),
            (Some(beside), _) => format!("{folder}/{beside}"),
            (_, Some(above)) => above.to_owned(),
            _ => panic!("src/console/{path}: `{address}` is no address of a module here"),
        };
        (self.add(&full), rest.strip_prefix(';').unwrap_or(rest))
    }
}

/// The next import or export: what stands before it, which word it is, and what stands behind.
fn statement(text: &str) -> Option<(&str, &str, &str)> {
    let found = text.match_indices("import").chain(text.match_indices("export")).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        let after = text[at + 6..].chars().next();
        matches!(before, None | Some('\n' | ';' | '}')) && matches!(after, Some(' ' | '{'))
    });
    let (at, word) = found.min_by_key(|(at, _)| *at)?;
    Some((&text[..at], word, &text[at + 6..]))
}

/// The names between braces, each with the name behind `as`.
fn braced(text: &str) -> Option<Vec<(&str, &str)>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let names = inner.split(',').map(str::trim).filter(|name| !name.is_empty());
    Some(names.map(|name| name.split_once(" as ").unwrap_or((name, name))).collect())
}
