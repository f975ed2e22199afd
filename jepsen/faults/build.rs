//! Compiles the library that is loaded before libc, and the program that probes and tests load it into.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where to write"));
    compile("preload/lib.rs", "cdylib", &out.join("liblentic_preload.so"));
    compile("preload/subject.rs", "bin", &out.join("lentic-subject"));
    for path in ["build.rs", "preload", "src/process/layout.rs"] {
        println!("cargo::rerun-if-changed={path}");
    }
}

/// Compiles one file, with the compiler, the linker and the target of the crate itself.
fn compile(source: &str, kind: &str, to: &Path) {
    let variable = |name: &str| env::var(name).expect("cargo tells its build scripts");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "-O", "-C", "panic=abort", "-C", "strip=debuginfo", "--crate-type", kind, source]);
    rustc.arg("-o").arg(to);
    let (host, target) = (variable("HOST"), variable("TARGET"));
    if host != target {
        rustc.args(["--target", &target]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    let status = rustc.status().expect("the compiler that compiled this script starts");
    assert!(status.success(), "compiling {source}: {status}");
}
