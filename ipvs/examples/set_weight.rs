//! Sets the weight of a server. Its other settings stay.
//!
//! ```text
//! cargo run -p ipvs-rs --example set_weight -- tcp:192.0.2.1:80 10.0.0.1:8080 5
//! ```

use anyhow::{Context, Result, bail};
use ipvs::{Client, DestinationKey, ServiceKey};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [service, server, weight] = &arguments[..] else {
        bail!("usage: set_weight SERVICE SERVER WEIGHT");
    };
    let service: ServiceKey = service.parse()?;
    let server: DestinationKey = server.parse()?;
    let weight = weight.parse().with_context(|| format!("`{weight}' is not a weight"))?;

    let ensured = Client::open()?.update_destination(&service, &server, |server| server.weight = weight)?;
    println!("{server} of {service}: weight {weight}, {ensured}");
    Ok(())
}
