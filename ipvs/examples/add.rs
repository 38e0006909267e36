//! Adds a service with masquerading servers. Existing ones get the same settings as new ones.
//!
//! ```text
//! cargo run -p ipvs-rs --example add -- tcp:192.0.2.1:80 wlc 10.0.0.1:8080 10.0.0.2:8080
//! ```

use anyhow::{Result, bail};
use ipvs::{Client, Destination, DestinationKey, Forwarding, Service};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [key, scheduler, servers @ ..] = &arguments[..] else {
        bail!("usage: add SERVICE SCHEDULER [SERVER]...");
    };
    let service = Service::new(key.parse()?, scheduler.parse()?);
    let servers: Vec<DestinationKey> = servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;

    let mut client = Client::open()?;
    println!("{}: {}", service.key, client.ensure_service(&service)?);
    for server in servers {
        let ensured = client.ensure_destination(&service.key, &Destination::new(server, Forwarding::Masquerade))?;
        println!("{server}: {ensured}");
    }
    Ok(())
}
