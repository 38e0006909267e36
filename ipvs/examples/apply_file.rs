//! Applies a table from a file: JSON, TOML, or rules as `ipvsadm-save` prints them. Prints the changes, and makes them
//! after a confirmation or with `--yes`.
//!
//! ```text
//! cargo run -p ipvs-rs --example apply_file --features serde -- table.json
//! cargo run -p ipvs-rs --example apply_file --features serde -- table.rules --yes
//! ```

use anyhow::{Context, Result, bail};
use ipvs::apply::apply_plan;
use ipvs::plan::Options;
use ipvs::rules::{Numeric, read_config};
use ipvs::{ApplyError, Client, Config, plan};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context("usage: apply_file FILE [--yes]")?;
    let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
    let desired: Config = match file.rsplit_once('.') {
        Some((_, "json")) => serde_json::from_str(&text)?,
        Some((_, "toml")) => toml::from_str(&text)?,
        _ => {
            let read = read_config(text.as_bytes(), &mut Numeric)?;
            read.warnings.iter().for_each(|(line, warning)| eprintln!("line {line}: {warning}"));
            read.config
        }
    };

    let mut client = Client::open()?;
    let options = Options::default();
    let before = client.state()?;
    let plan = plan(&desired, &before, &options);
    print!("{plan}");
    if plan.is_empty() {
        println!("nothing to change");
        return Ok(());
    }
    if arguments.next().as_deref() != Some("--yes") {
        println!("make {} changes? [y/N]", plan.changes.len());
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if answer.trim() != "y" {
            bail!("nothing was changed");
        }
    }
    match apply_plan(&mut client, &desired, &options, before, plan) {
        Ok(applied) => println!("made {} changes", applied.plan.changes.len()),
        Err(ApplyError::NotReached { refused, remaining }) => {
            refused.iter().for_each(|(_, error)| eprintln!("{error}"));
            bail!("missing changes: {}", remaining.len());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
