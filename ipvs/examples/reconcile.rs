//! Keeps the table as a rules file describes it, also after edits of the file. Servers that are removed from the file
//! are drained for at most a number of seconds, and then deleted.
//!
//! ```text
//! cargo run -p ipvs-rs --example reconcile -- /etc/ipvsadm.rules 300
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ipvs::drain::Drain;
use ipvs::plan::{Departing, Options};
use ipvs::rules::{Numeric, read_config};
use ipvs::{Client, apply};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, limit] = &arguments[..] else {
        bail!("usage: reconcile FILE SECONDS");
    };
    let mut client = Client::open()?;
    let mut drain = Drain::new(Some(Duration::from_secs(limit.parse().context("SECONDS")?)));
    let start = Instant::now();
    loop {
        if let Err(error) = reconcile(file, &mut client, &mut drain, start.elapsed()) {
            eprintln!("{error:#}");
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Makes one pass.
fn reconcile(file: &str, client: &mut Client, drain: &mut Drain, now: Duration) -> Result<()> {
    let text = std::fs::read(file).with_context(|| file.to_owned())?;
    let wanted = read_config(&text, &mut Numeric)?.config;
    let options = Options::default().departing(Departing::DrainThenDelete);
    let applied = apply(client, &wanted, &options)?;
    for change in &applied.plan {
        println!("{}", change.describe());
    }
    drain.set(applied.plan.draining, now);
    let step = drain.step(&applied.after, now);
    for change in &step.changes {
        println!("{}", change.describe());
    }
    client.submit(&step.changes)?.into_result()?;
    Ok(())
}
