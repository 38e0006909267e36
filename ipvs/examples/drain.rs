//! Drains a server: sets its weight to 0, waits for its connections to end, and deletes it. After a time limit in
//! seconds, the server is deleted with its connections. Ctrl-C restores the weight.
//!
//! ```text
//! cargo run -p ipvs-rs --example drain -- tcp:192.0.2.1:80 10.0.0.1:8080 300
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipvs::drain::Drain;
use ipvs::{Client, DestinationKey, ServiceKey};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [service, server, limit] = &arguments[..] else {
        bail!("usage: drain SERVICE SERVER SECONDS");
    };
    let service: ServiceKey = service.parse()?;
    let server: DestinationKey = server.parse()?;
    let limit = limit.parse().with_context(|| format!("`{limit}' is not a number of seconds"))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))?;

    let mut client = Client::open()?;
    client.destination(&service, &server)?;
    let start = Instant::now();
    let mut drain = Drain::new(Some(Duration::from_secs(limit)));
    drain.start(service, server, start.elapsed());
    while !drain.is_done() {
        if interrupted.load(Ordering::Relaxed) {
            let Some(restore) = drain.cancel(&service, &server) else {
                bail!("interrupted: there is no weight to restore");
            };
            client.change(restore)?;
            bail!("interrupted: the weight is restored");
        }
        let step = drain.step(&client.state()?, start.elapsed());
        client.submit(&step.changes)?.into_result()?;
        for waiting in &step.waiting {
            let refuses = if waiting.refuses_clients { ", new clients are refused" } else { "" };
            println!("{} active, {} inactive{refuses}", waiting.active_connections, waiting.inactive_connections);
        }
        for ended in &step.ended {
            match ended.dropped_connections {
                Some(count) => println!("deleted, dropped connections: {count}"),
                None => println!("deleted by another program"),
            }
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
