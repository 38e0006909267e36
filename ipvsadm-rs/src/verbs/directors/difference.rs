//! A difference between two directors, as text and as JSON.

use std::io::{self, Write};

use ipvs::estimate::Difference;
use ipvs::rules::program::flag_names;
use ipvs::{DestinationKey, Scheduler, SchedulerFlags};
use serde::Serialize;

use crate::terminal::width::folded_after;

/// The maximum number of servers whose order is printed. JSON has all of them.
const SHOWN: usize = 8;

/// A difference, with the values as text.
#[derive(Debug, Serialize)]
pub(super) struct Described {
    pub(super) what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server: Option<String>,
    pub(super) here: Option<Value>,
    pub(super) there: Option<Value>,
}

/// A value on one of the directors.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
}

impl Described {
    /// Describes a difference. The schedulers of both directors name the flags.
    pub(super) fn new(difference: &Difference, (one, other): (Scheduler, Scheduler)) -> Self {
        let of_service = |what, here: String, there: String| Self {
            what,
            server: None,
            here: Some(Value::Text(here)),
            there: Some(Value::Text(there)),
        };
        let of_server = |what, server: &DestinationKey, here: Option<String>, there: Option<String>| Self {
            what,
            server: Some(server.to_string()),
            here: here.map(Value::Text),
            there: there.map(Value::Text),
        };
        let flags = |scheduler, flags: SchedulerFlags| {
            let names: Vec<&str> = flag_names(scheduler, flags).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(",") }
        };
        let seconds = |timeout: Option<u32>| timeout.map_or_else(|| "none".into(), |timeout| format!("{timeout} s"));
        let thresholds = |(upper, lower): (u32, u32)| format!("upper {upper}, lower {lower}");
        let keys = |keys: &[DestinationKey]| Some(Value::List(keys.iter().map(ToString::to_string).collect()));
        let present = |server: &DestinationKey| Some(server.to_string());
        match difference {
            Difference::Scheduler(here, there) => of_service("scheduler", here.to_string(), there.to_string()),
            Difference::Flags(here, there) => of_service("flags", flags(one, *here), flags(other, *there)),
            Difference::Persistence(here, there) => of_service("persistence", seconds(*here), seconds(*there)),
            Difference::Netmask(here, there) => of_service("netmask", here.to_string(), there.to_string()),
            Difference::Engine(here, there) => {
                let name =
                    |engine: &Option<ipvs::Engine>| engine.map_or_else(|| "none".into(), |name| name.to_string());
                of_service("persistence engine", name(here), name(there))
            }
            Difference::OnePacket(here, there) => of_service("one-packet scheduling", on(*here), on(*there)),
            Difference::OnlyFirst(server) => of_server("server", server, present(server), None),
            Difference::OnlySecond(server) => of_server("server", server, None, present(server)),
            Difference::Weight(server, here, there) => {
                of_server("weight", server, Some(here.to_string()), Some(there.to_string()))
            }
            Difference::Thresholds(server, here, there) => {
                of_server("thresholds", server, Some(thresholds(*here)), Some(thresholds(*there)))
            }
            Difference::Order(here, there) => {
                Self { what: "order", server: None, here: keys(here), there: keys(there) }
            }
            _ => of_service("another setting", "unknown".into(), "unknown".into()),
        }
    }

    pub(super) fn write_text(&self, out: &mut dyn Write, width: Option<usize>) -> io::Result<()> {
        let Self { what, server, here, there } = self;
        let text = match (here, there) {
            (Some(Value::List(here)), Some(Value::List(there))) => {
                write_folded(out, width, "  ", "order of servers, the oldest first")?;
                write_folded(out, width, "    ", &format!("here: {}", listed(here)))?;
                return write_folded(out, width, "    ", &format!("there: {}", listed(there)));
            }
            (Some(Value::Text(here)), Some(Value::Text(there))) => {
                let of = server.as_ref().map(|server| format!(" of {server}")).unwrap_or_default();
                format!("{what}{of}: {here} here, {there} there")
            }
            (Some(Value::Text(name)), None) => format!("{what} only here: {name}"),
            (None, Some(Value::Text(name))) => format!("{what} only there: {name}"),
            _ => return Ok(()),
        };
        write_folded(out, width, "  ", &text)
    }
}

fn on(is_on: bool) -> String {
    if is_on { "on".into() } else { "off".into() }
}

fn listed(servers: &[String]) -> String {
    let shown = servers.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let rest = servers.len().saturating_sub(SHOWN);
    if rest == 0 { shown } else { format!("{shown} and {rest} more") }
}

/// Writes a text with an indent. Further lines are indented more.
pub(super) fn write_folded(out: &mut dyn Write, width: Option<usize>, indent: &str, text: &str) -> io::Result<()> {
    let rest = format!("{indent}  ");
    let width = width.map(|width| width.max(rest.len() + 20));
    out.write_all(folded_after(indent, &rest, text, width).as_bytes())
}
