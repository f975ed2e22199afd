//! Counters that many tasks add to at the same time: the server adds, and a retry adds once.
//!
//!     cargo run --example counters -- http://127.0.0.1:7420

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use lentic_client::{Client, Error, TableOptions};
use tokio::task::JoinSet;

const TASKS: i64 = 100;
const ADDITIONS: i64 = 100;
const COUNTERS: i64 = 10;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7420".to_owned());
    let client = Client::connect([&address]).await?;
    client.create_table("counters", TableOptions { shards: 4, ..TableOptions::default() }).await?;
    let table = client.table("counters");

    let mut tasks: JoinSet<Result<(), Error>> = JoinSet::new();
    for task in 0..TASKS {
        let table = table.clone();
        tasks.spawn(async move {
            for addition in 0..ADDITIONS {
                table.add_i64(format!("counter {}", (task + addition) % COUNTERS), 1).await?;
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a task does not panic")?;
    }

    let mut total = 0;
    let mut rows = table.scan_prefix("counter ").start();
    while let Some(row) = rows.next().await {
        let row = row?;
        let count = row.as_i64().expect("a counter has 8 bytes");
        println!("{}: {count}", row.key.escape_ascii());
        total += count;
    }
    println!("total: {total}, expected {}", TASKS * ADDITIONS);
    client.drop_table("counters").await
}
