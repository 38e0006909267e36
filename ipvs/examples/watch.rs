//! Prints each change of the table, by any program, until Ctrl-C.
//!
//! ```text
//! cargo run -p ipvs-rs --example watch
//! ```

use std::time::Duration;

use anyhow::Result;
use ipvs::{Client, Observation, Watch};

fn main() -> Result<()> {
    for observation in Watch::new(Client::open()?, Duration::from_secs(1)) {
        match observation {
            Observation::Snapshot(state) => println!("services: {}", state.services.len()),
            Observation::Events(events) => events.iter().for_each(|event| println!("{event}")),
            Observation::Lost(reason) => eprintln!("{reason}"),
            _ => {}
        }
    }
    Ok(())
}
