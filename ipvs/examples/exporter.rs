//! Serves the counters of all servers to Prometheus, or prints them once (`--once`).
//!
//! ```text
//! cargo run -p ipvs-rs --example exporter -- 127.0.0.1:9100
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, Result};
use ipvs::{Client, DestinationState};

type Value = fn(&DestinationState) -> u64;
const METRICS: [(&str, &str, Value); 6] = [
    ("ipvs_weight", "The weight.", |state| state.destination.weight.into()),
    ("ipvs_active_connections", "Established connections.", |state| state.active_connections.into()),
    ("ipvs_inactive_connections", "Other connections.", |state| state.inactive_connections.into()),
    ("ipvs_connections_total", "Scheduled connections.", |state| state.stats.connections),
    ("ipvs_incoming_bytes_total", "Bytes from clients.", |state| state.stats.incoming_bytes),
    ("ipvs_outgoing_bytes_total", "Bytes to clients.", |state| state.stats.outgoing_bytes),
];

fn metrics(client: &mut Client) -> Result<String> {
    let state = client.state()?;
    let mut text = String::new();
    for (name, help, value) in METRICS {
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for service in &state.services {
            for server in &service.destinations {
                // Keys contain no characters that must be escaped.
                let (service, key) = (service.service.key, server.destination.key);
                text += &format!("{name}{{service=\"{service}\",server=\"{key}\"}} {}\n", value(server));
            }
        }
    }
    Ok(text)
}

fn answer(mut stream: TcpStream, client: &mut Client) -> Result<()> {
    stream.set_read_timeout(Some(std::time::Duration::from_secs(5)))?;
    let request = BufReader::new((&stream).take(8192)).lines();
    request.take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).for_each(drop);
    let head = "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4";
    Ok(write!(stream, "{head}\r\n\r\n{}", metrics(client)?)?)
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1).context("usage: exporter ADDRESS:PORT | --once")?;
    let mut client = Client::open()?;
    if address == "--once" {
        print!("{}", metrics(&mut client)?);
        return Ok(());
    }
    for stream in TcpListener::bind(&address).context(address)?.incoming() {
        answer(stream?, &mut client).unwrap_or_else(|error| eprintln!("{error:#}"));
    }
    Ok(())
}
