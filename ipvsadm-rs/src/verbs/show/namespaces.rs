//! `--all-netns`: the tables of all network namespaces.

use anyhow::Context as _;
use ipvs::document::SCHEMA;
use ipvs::{Client, FoundNamespace, Namespace, State};
use serde::Serialize;

use super::{Reading, Show, document, lines};
use crate::context::Context;
use crate::sight::reading;
use crate::sight::selection::Selected;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::text;

#[derive(Serialize)]
struct Document {
    schema: u32,
    namespaces: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    name: String,
    /// The other names of the namespace.
    other_names: Vec<String>,
    table: ipvs::State,
}

/// Reads the table of a namespace.
fn read(namespace: &FoundNamespace) -> anyhow::Result<State> {
    Ok(namespace.within(|| reading::read(&mut Client::open()?))??)
}

/// Shows each table that has services, its own first. Reports namespaces that cannot be entered.
pub(super) fn show(show: &Show, context: &Context, selected: &Selected) -> anyhow::Result<()> {
    let found = Namespace::find_all().context("cannot find the network namespaces")?;
    let mut json = Document { schema: SCHEMA, namespaces: Vec::new() };
    let mut is_first = true;
    for namespace in &found.namespaces {
        let name = text::escaped(&namespace.name().to_string()).into_owned();
        let state = match read(namespace) {
            Ok(state) if state.services.is_empty() => continue,
            Ok(state) => state,
            Err(error) => {
                print_error(&format!("note: network namespace {name} is not shown: {error:#}"));
                continue;
            }
        };
        let reading = Reading { state, rates: None };
        // A selected service need not exist in each namespace.
        let Ok(shown) = show.shown(selected, &reading) else { continue };
        if context.json {
            let other_names = namespace.names.iter().skip(1).map(ToString::to_string).collect();
            json.namespaces.push(Named {
                name,
                other_names,
                table: document(selected, &reading.state, &shown.services),
            });
        } else if show.json_lines {
            lines::write(context, &shown.services, None, Some(&name))?;
        } else {
            let blank = if std::mem::take(&mut is_first) { "" } else { "\n" };
            let title = context.palette().title;
            let own = if namespace.is_own { " (this one)" } else { "" };
            context.write(|out| writeln!(out, "{blank}{title}network namespace {name}{own}{title:#}"))?;
            show.write(context, &reading, &shown)?;
        }
    }
    if context.json {
        context.write_json(&json)?;
    }
    if !found.unreadable.is_empty() {
        print_error(&format!(
            "note: the network namespaces of {} cannot be read",
            count(found.unreadable.len(), "process")
        ));
    }
    Ok(())
}
