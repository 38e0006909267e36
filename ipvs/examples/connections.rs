//! Counts connections by server and state, of all services or of one. The table is read as a stream.
//!
//! ```text
//! cargo run -p ipvs-rs --example connections
//! cargo run -p ipvs-rs --example connections -- tcp:192.0.2.1:80
//! cargo run -p ipvs-rs --example connections -- tcp:192.0.2.1:80 192.0.2.0/24
//! ```

use anyhow::{Context, Result};
use ipvs::{Client, ConnectionFilter, ConnectionSums, IpNet};

fn main() -> Result<()> {
    let mut filter = ConnectionFilter::default().templates(false);
    let mut arguments = std::env::args().skip(1);
    if let Some(service) = arguments.next() {
        filter = filter.service(service.parse()?);
    }
    if let Some(network) = arguments.next() {
        let network: IpNet = network.parse().with_context(|| format!("`{network}' is not a network"))?;
        filter = filter.client(network);
    }
    let sums: ConnectionSums = Client::open()?.connections()?.matching(filter).collect::<Result<_, _>>()?;
    for (server, state, count) in sums.iter() {
        println!("{server:<24} {state:<12} {count}");
    }
    println!("{} connections", sums.total());
    Ok(())
}
