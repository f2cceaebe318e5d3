//! Makes the table of the console's files: each file below `src/console/` that a browser asks for, plain and compressed.
//!
//! A new file is in the table by being there. What is sent is the source without its comments and indentation, which a
//! browser does not read and which are a seventh of the size; what is vendored goes as it is. The page names every module
//! beforehand, in place of a marked line, so that a browser asks for all of them at once. Nothing is fetched.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Where the page names its modules.
const PRELOAD: &str = "<!-- modulepreload -->\n";

/// Media types by the end of a file's name. `md`, `txt` and `LICENSE` are for the reader of the source.
fn media_type(extension: &str) -> Option<&'static str> {
    Some(match extension {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "json" => "application/json",
        _ => return None,
    })
}

fn main() {
    let source = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("src/console");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/console");
    let mut files = Vec::new();
    collect(&source, &mut files);
    files.sort();
    let modules = preload(&source, &files);
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if matches!(extension, "md" | "txt" | "LICENSE") {
            continue;
        }
        let media_type = media_type(extension)
            .unwrap_or_else(|| panic!("{}: no media type is known for this file: see build.rs", file.display()));
        let compressed = out.join(format!("console-{number}.gz"));
        let path = file.strip_prefix(&source).expect("it is below").to_str().expect("its name is text");
        let text = fs::read(file).expect("it is readable");
        let text = match extension {
            _ if path.starts_with("vendor/") => text,
            "js" | "css" => bare(&String::from_utf8(text).expect("sources are UTF-8")).into_bytes(),
            "html" => String::from_utf8(text).expect("pages are UTF-8").replace(PRELOAD, &modules).into_bytes(),
            _ => text,
        };
        let plain = out.join(format!("console-{number}"));
        fs::write(&plain, &text).expect("the output folder takes it");
        // No name and no time goes in: the same file gives the same bytes.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&text).expect("memory takes it");
        fs::write(&compressed, encoder.finish().expect("memory takes it")).expect("the output folder takes it");
        writeln!(
            table,
            "    Asset {{ path: {path:?}, media_type: {media_type:?}, plain: include_bytes!({plain:?}), \
             gzip: include_bytes!({compressed:?}) }},"
        )
        .expect("a String takes all that is written");
    }
    table.push_str("]\n");
    fs::write(out.join("console.rs"), table).expect("the output folder takes it");
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

/// A line of the page for each module; `theme.js` is none.
fn preload(source: &Path, files: &[PathBuf]) -> String {
    let mut lines = String::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "js")) {
        let path = file.strip_prefix(source).expect("it is below").to_str().expect("its name is text");
        if path != "theme.js" && path != "main.js" {
            writeln!(lines, "<link rel=\"modulepreload\" href=\"{path}\">")
                .expect("a String takes all that is written");
        }
    }
    lines
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() {
            collect(&path, files);
        } else if !is_hidden {
            files.push(path);
        }
    }
}
