//! Lists all services with their servers.
//!
//! ```text
//! cargo run -p ipvs-rs --example list
//! ```

use anyhow::Result;
use ipvs::Client;

fn main() -> Result<()> {
    let mut state = Client::open()?.state()?;
    println!("IPVS {}, services: {}", state.info.version, state.services.len());
    if state.is_uncertain {
        eprintln!("the kernel is resizing its table: services may be missing");
    }
    state.services.sort_by_key(|state| state.service.key);
    for state in state.services {
        println!("{} {}, {} connections so far", state.service.key, state.service.scheduler, state.stats.connections);
        // The kernel lists the newest first.
        for server in state.destinations.iter().rev() {
            let settings = server.destination;
            println!(
                "  {:<24} weight {:<5} active {:<6} inactive {:<6} {}",
                settings.key,
                settings.weight,
                server.active_connections,
                server.inactive_connections,
                settings.forwarding
            );
        }
    }
    Ok(())
}
