//! A setting that differs between two directors, as text and as JSON.

use std::io::{self, Write};

use ipvs::estimate::Difference;
use ipvs::rules::program::flag_names;
use ipvs::{DestinationKey, Scheduler, SchedulerFlags};
use serde::Serialize;

use crate::plan::report::ServerName;
use crate::terminal::width::folded_after;

/// The maximum number of servers whose order is printed. JSON has all of them.
const SHOWN: usize = 8;

/// A setting as JSON. Settings have the names and values of the table's document.
#[derive(Debug, Serialize)]
pub(super) struct Described {
    setting: &'static str,
    /// The server that has the setting. Absent for a setting of the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<ServerName>,
    here: Value,
    there: Value,
}

/// A value on one of the directors.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Value {
    /// None, such as no persistence.
    Null,
    Bool(bool),
    Number(u32),
    Text(String),
    Names(Vec<&'static str>),
    Thresholds {
        upper_threshold: u32,
        lower_threshold: u32,
    },
    Servers(Vec<ServerName>),
}

impl Value {
    fn number(number: Option<u32>) -> Self {
        number.map_or(Self::Null, Self::Number)
    }

    fn text(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Null, |text| Self::Text(text.to_string()))
    }

    fn thresholds((upper_threshold, lower_threshold): (u32, u32)) -> Self {
        Self::Thresholds { upper_threshold, lower_threshold }
    }

    fn servers(servers: &[DestinationKey]) -> Self {
        Self::Servers(servers.iter().copied().map(ServerName::from).collect())
    }
}

impl Described {
    /// Describes a service that only one director has.
    pub(super) fn missing(is_here: bool) -> Self {
        Self { setting: "service", server: None, here: Value::Bool(is_here), there: Value::Bool(!is_here) }
    }

    /// Describes a difference. The schedulers of both directors name the flags.
    pub(super) fn new(difference: &Difference, (one, other): (Scheduler, Scheduler)) -> Self {
        let of_service = |setting, here, there| Self { setting, server: None, here, there };
        let of_server = |setting, server: &DestinationKey, here, there| Self {
            setting,
            server: Some((*server).into()),
            here,
            there,
        };
        let names = |scheduler, flags| Value::Names(flag_names(scheduler, flags).collect());
        match difference {
            Difference::Scheduler(here, there) => {
                of_service("scheduler", Value::text(Some(here)), Value::text(Some(there)))
            }
            Difference::Flags(here, there) => of_service("flags", names(one, *here), names(other, *there)),
            Difference::Persistence(here, there) => {
                of_service("persistence", Value::number(*here), Value::number(*there))
            }
            Difference::Netmask(here, there) => {
                of_service("netmask", Value::text(Some(here)), Value::text(Some(there)))
            }
            Difference::Engine(here, there) => {
                of_service("engine", Value::text(here.as_ref()), Value::text(there.as_ref()))
            }
            Difference::OnePacket(here, there) => of_service("one_packet", Value::Bool(*here), Value::Bool(*there)),
            Difference::OnlyFirst(server) => of_server("server", server, Value::Bool(true), Value::Bool(false)),
            Difference::OnlySecond(server) => of_server("server", server, Value::Bool(false), Value::Bool(true)),
            Difference::Weight(server, here, there) => {
                of_server("weight", server, Value::Number(*here), Value::Number(*there))
            }
            Difference::Thresholds(server, here, there) => {
                of_server("thresholds", server, Value::thresholds(*here), Value::thresholds(*there))
            }
            Difference::Order(here, there) => of_service("order", Value::servers(here), Value::servers(there)),
            _ => of_service("other", Value::Null, Value::Null),
        }
    }
}

/// Writes a difference as text. The schedulers of both directors name the flags.
pub(super) fn write_difference(
    out: &mut dyn Write,
    width: Option<usize>,
    difference: &Difference,
    (one, other): (Scheduler, Scheduler),
) -> io::Result<()> {
    let both = |setting: &str, here: &dyn ToString, there: &dyn ToString| {
        format!("{setting}: {} here, {} there", here.to_string(), there.to_string())
    };
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".into());
    let seconds = |timeout: &Option<u32>| or_none(timeout.map(|timeout| format!("{timeout} s")));
    let flags = |scheduler, flags: &SchedulerFlags| {
        let names: Vec<&str> = flag_names(scheduler, *flags).collect();
        or_none((!names.is_empty()).then(|| names.join(",")))
    };
    let engine = |engine: &Option<ipvs::Engine>| or_none(engine.map(|engine| engine.to_string()));
    let on = |is_on: &bool| if *is_on { "on" } else { "off" };
    let thresholds = |(upper, lower): &(u32, u32)| format!("upper {upper}, lower {lower}");
    let text = match difference {
        Difference::Scheduler(here, there) => both("scheduler", here, there),
        Difference::Flags(here, there) => both("flags", &flags(one, here), &flags(other, there)),
        Difference::Persistence(here, there) => both("persistence", &seconds(here), &seconds(there)),
        Difference::Netmask(here, there) => both("netmask", here, there),
        Difference::Engine(here, there) => both("persistence engine", &engine(here), &engine(there)),
        Difference::OnePacket(here, there) => both("one-packet scheduling", &on(here), &on(there)),
        Difference::OnlyFirst(server) => format!("server only here: {server}"),
        Difference::OnlySecond(server) => format!("server only there: {server}"),
        Difference::Weight(server, here, there) => both(&format!("weight of {server}"), here, there),
        Difference::Thresholds(server, here, there) => {
            both(&format!("thresholds of {server}"), &thresholds(here), &thresholds(there))
        }
        Difference::Order(here, there) => {
            write_folded(out, width, "  ", "order of servers, the oldest first")?;
            write_folded(out, width, "    ", &format!("here: {}", listed(here)))?;
            return write_folded(out, width, "    ", &format!("there: {}", listed(there)));
        }
        _ => "another setting".into(),
    };
    write_folded(out, width, "  ", &text)
}

fn listed(servers: &[DestinationKey]) -> String {
    let shown = servers.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let rest = servers.len().saturating_sub(SHOWN);
    if rest == 0 { shown } else { format!("{shown} and {rest} more") }
}

/// Writes a text with an indent. Further lines are indented more.
pub(super) fn write_folded(out: &mut dyn Write, width: Option<usize>, indent: &str, text: &str) -> io::Result<()> {
    let rest = format!("{indent}  ");
    let width = width.map(|width| width.max(rest.len() + 20));
    out.write_all(folded_after(indent, &rest, text, width).as_bytes())
}
