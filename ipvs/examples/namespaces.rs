//! Lists all network namespaces, each with its names and the number of its services.
//!
//! ```text
//! cargo run -p ipvs-rs --example namespaces
//! ```

use anyhow::Result;
use ipvs::{Client, Namespace};

fn main() -> Result<()> {
    let found = Namespace::find_all()?;
    for (namespace, error) in &found.unreadable {
        eprintln!("process {namespace}: {error}");
    }
    for namespace in found {
        let names = namespace.names.iter().take(3).map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let own = if namespace.is_own { ", this one" } else { "" };
        match Client::open_in(namespace.name()).and_then(|mut client| client.services()) {
            Ok(services) => println!("{names}, services: {}{own}", services.len()),
            // Meanwhile, it may have ended.
            Err(error) => println!("{names}: {error}{own}"),
        }
    }
    Ok(())
}
