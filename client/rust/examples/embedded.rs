//! A node in this process, without a server: what is written is there the next time.
//!
//!     cargo run -p lentic-client --features embedded --example embedded -- /tmp/lentic-embedded

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use lentic_client::{Client, Error, ErrorKind, TableOptions};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "lentic-embedded".to_owned());
    let client = Client::embedded(&path).await?;
    match client.create_table("runs", TableOptions::default()).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let runs = client.table("runs");
    let version = runs.add_i64("count", 1).await?;
    let count = runs.get("count").await?.and_then(|found| found.as_i64());
    println!("{path} was opened {} times; the last is at {version}", count.unwrap_or_default());
    client.close().await
}
