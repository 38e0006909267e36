//! Counts connections by server and state, of all services or of one. The table is read as a stream.
//!
//! ```text
//! cargo run --example connections
//! cargo run --example connections -- tcp:192.0.2.1:80
//! cargo run --example connections -- tcp:192.0.2.1:80 192.0.2.0/24
//! ```

use anyhow::{Context, Result};
use ipnet::IpNet;
use ipvs::{Client, ConnectionFilter, ConnectionSums};

fn main() -> Result<()> {
    let mut filter = ConnectionFilter::default().templates(false);
    let mut arguments = std::env::args().skip(1);
    if let Some(service) = arguments.next() {
        filter = filter.service(service.parse()?);
    }
    if let Some(network) = arguments.next() {
        filter = filter.client(network.parse::<IpNet>().context(network)?);
    }
    let sums: ConnectionSums = Client::open()?.connections()?.matching(filter).collect::<Result<_, _>>()?;
    for (server, state, count) in sums.iter() {
        println!("{server:<24} {state:<12} {count}");
    }
    println!("{} connections", sums.total());
    Ok(())
}
