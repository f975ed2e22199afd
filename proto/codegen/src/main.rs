//! Makes the Rust of the wire contract from its .proto files, without protoc.
//!
//! The result is committed, so that a build of the product needs none of this. Run through `cargo xtask codegen`:
//! without an argument it writes the files that differ, with `--check` it only compares.

mod generate;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use generate::Generated;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proto = own.parent().expect("the generator is a folder of the wire contract");
    let generated = generate::generate(proto);
    let done = match words.as_slice() {
        [] => generated.and_then(|files| write(proto, &files)),
        ["--check"] => generated.and_then(|files| compare(proto, &files)),
        _ => Err("expected no argument, or --check".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("codegen: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the files that differ.
fn write(proto: &Path, files: &[Generated]) -> Result<(), String> {
    for file in files.iter().filter(|file| differs(proto, file)) {
        let path = proto.join(&file.path);
        fs::write(&path, &file.content).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        eprintln!("codegen: wrote proto/{}", file.path);
    }
    Ok(())
}

/// Fails if a file differs.
fn compare(proto: &Path, files: &[Generated]) -> Result<(), String> {
    let stale: Vec<_> = files.iter().filter(|file| differs(proto, file)).map(|file| file.path.as_str()).collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("does not agree with the .proto files: {}; run `cargo xtask codegen`", stale.join(", ")))
}

fn differs(proto: &Path, file: &Generated) -> bool {
    fs::read(proto.join(&file.path)).ok().as_deref() != Some(file.content.as_slice())
}
