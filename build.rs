//! Makes the table of the console's files: each file below `src/console/` that a browser asks for, as it is and compressed.
//! A new file is in the table by being there. Nothing else is made, and nothing is fetched.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use flate2::Compression;
use flate2::write::GzEncoder;

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
    let mut table = String::from("&[\n");
    for (number, file) in files.iter().enumerate() {
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if matches!(extension, "md" | "txt" | "LICENSE") {
            continue;
        }
        let media_type = media_type(extension)
            .unwrap_or_else(|| panic!("{}: no media type is known for this file: see build.rs", file.display()));
        let text = fs::read(file).expect("it is readable");
        let gzip = out.join(format!("console-{number}.gz"));
        fs::write(&gzip, compressed_by_gzip(&text)).expect("the output folder takes it");
        let brotli = out.join(format!("console-{number}.br"));
        fs::write(&brotli, compressed_by_brotli(&text)).expect("the output folder takes it");
        let path = file.strip_prefix(&source).expect("it is below").to_str().expect("its name is text");
        writeln!(
            table,
            "    Asset {{ path: {path:?}, media_type: {media_type:?}, plain: include_bytes!({file:?}), \
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
