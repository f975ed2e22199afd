//! Conditions: of all who try, one wins; the others look again.
//!
//!     cargo run --example cas -- http://127.0.0.1:7420

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use lentic_client::{Client, Error, ErrorKind, Table, TableOptions, WriteBatch};
use tokio::task::JoinSet;

const SELLERS: usize = 8;
const SEATS: u32 = 20;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7420".to_owned());
    let client = Client::connect([&address]).await?;
    client.create_table("seats", TableOptions::default()).await?;
    let table = client.table("seats");
    table.put("free", SEATS.to_string()).await?;

    let mut sellers: JoinSet<Result<u32, Error>> = JoinSet::new();
    for seller in 0..SELLERS {
        let table = table.clone();
        sellers.spawn(async move {
            let mut sold = 0;
            while sell(&table, seller).await? {
                sold += 1;
            }
            Ok(sold)
        });
    }
    let mut sold = 0;
    while let Some(done) = sellers.join_next().await {
        sold += done.expect("a task does not panic")?;
    }
    println!("sold {sold} of {SEATS} seats, none twice");
    client.drop_table("seats").await
}

/// Sells one seat; `false` when there is none left.
async fn sell(table: &Table, seller: usize) -> Result<bool, Error> {
    loop {
        let found = table.get("free").await?.expect("it was put at the start");
        let free: u32 = String::from_utf8_lossy(&found.value).parse().expect("a number");
        if free == 0 {
            return Ok(false);
        }
        let sale = WriteBatch::new()
            .if_version("free", found.version)
            .put("free", (free - 1).to_string())
            .put(format!("seat {free}"), format!("seller {seller}"));
        match table.write(sale).await {
            Ok(_) => return Ok(true),
            // Another seller was faster.
            Err(error) if error.kind() == ErrorKind::ConditionFailed => {}
            Err(error) => return Err(error),
        }
    }
}
