//! A table, a few keys, a scan, and a look at the past.
//!
//!     cargo run --example hello -- http://127.0.0.1:7420

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use lentic_client::{Client, Error, TableOptions};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7420".to_owned());
    let client = Client::connect([&address]).await?;
    client.create_table("hello", TableOptions { shards: 2, ..TableOptions::default() }).await?;
    let table = client.table("hello");

    for (key, value) in [("de", "Hallo"), ("en", "Hello"), ("fr", "Bonjour")] {
        let version = table.put(key, value).await?;
        println!("put {key} at {version}");
    }
    if let Some(found) = table.get("fr").await? {
        println!("fr is {} since {}", found.value.escape_ascii(), found.version);
    }

    // A version is a name for a moment: what is written later does not change what is read there.
    let before = client.now().await?;
    table.put("en", "Good morning").await?;
    table.delete("de").await?;
    for (words, scan) in [("now", table.scan_prefix("")), ("before", table.scan_prefix("").at(before))] {
        let mut rows = scan.start();
        while let Some(row) = rows.next().await {
            let row = row?;
            println!("{words}: {} = {}", row.key.escape_ascii(), row.value.escape_ascii());
        }
    }
    client.drop_table("hello").await
}
