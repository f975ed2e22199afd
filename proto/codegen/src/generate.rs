//! From .proto files to the contents of the generated ones, in memory.

use std::path::Path;

use prost_build::{Config, Module};
use protox::Compiler;

/// The .proto files with services, for clients and for nodes, below the contract's folder.
const PUBLIC: &[&str] = &[
    "lentic/v1/common.proto",
    "lentic/v1/kv.proto",
    "lentic/v1/owners.proto",
    "lentic/v1/tables.proto",
    "lentic/v1/history.proto",
    "lentic/v1/cluster.proto",
    "lentic/v1/pipe.proto",
];

/// Those of which only messages are generated: nodes exchange them as frames.
const INTERNAL: &[&str] = &["lentic/internal/v1/peer.proto"];

/// Where the generated files are, below the contract's folder.
const FOLDER: &str = "src/generated";

/// A generated file.
#[derive(Debug)]
pub(crate) struct Generated {
    /// Below the contract's folder.
    pub(crate) path: String,
    /// All of it.
    pub(crate) content: Vec<u8>,
}

/// Everything that is made from the .proto files below the folder `proto`: one file of Rust per package, and the
/// descriptors of the public services, which a node serves for reflection.
pub(crate) fn generate(proto: &Path) -> Result<Vec<Generated>, String> {
    let mut with_services = config();
    // Without transport: channels are the business of those who dial.
    with_services.service_generator(tonic_prost_build::configure().build_transport(false).service_generator());
    let mut public = compile(proto, PUBLIC)?;
    let mut files = rust(&mut with_services, &public)?;
    files.extend(rust(&mut config(), &compile(proto, INTERNAL)?)?);
    let descriptors = public.include_source_info(false).encode_file_descriptor_set();
    files.push(Generated { path: format!("{FOLDER}/lentic.v1.binpb"), content: descriptors });
    Ok(files)
}

fn config() -> Config {
    let mut config = Config::new();
    config.bytes(["."]);
    // A failure is the error of most results: without its rare route it is small enough to be passed by value.
    config.boxed(".lentic.v1.Failure.shard");
    config
}

/// Parses and checks `files`, and keeps their comments.
fn compile(proto: &Path, files: &[&str]) -> Result<Compiler, String> {
    let describe = |error: protox::Error| format!("{error:?}");
    let mut compiler = Compiler::new([proto]).map_err(describe)?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files).map_err(describe)?;
    Ok(compiler)
}

/// One file of Rust per package.
fn rust(config: &mut Config, compiled: &Compiler) -> Result<Vec<Generated>, String> {
    let files = compiled.file_descriptor_set().file;
    let requests = files.into_iter().map(|file| (Module::from_protobuf_package_name(file.package()), file)).collect();
    let modules = config.generate(requests).map_err(|error| error.to_string())?;
    let mut files: Vec<_> = modules
        .into_iter()
        .map(|(module, text)| Generated {
            path: format!("{FOLDER}/{}", module.to_file_name_or("_")),
            content: text.into_bytes(),
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
