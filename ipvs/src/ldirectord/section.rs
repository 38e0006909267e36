//! A section: `virtual` with its directives.

use super::lines::Directive;
use super::values::{SECTION, Value, first_number, form_of};
use crate::convert::Report;
use crate::family::Family;

/// The type of checks, as far as it determines the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// Servers are added and never taken out.
    On,
    /// Servers are never added.
    Off,
    /// `negotiate`, which does nothing without a `service`.
    Negotiate,
    Other,
}

pub(super) struct Section<'t> {
    pub(super) virtual_: Directive<'t>,
    pub(super) family: Family,
    pub(super) reals: Vec<Directive<'t>>,
    pub(super) fallback: Option<Directive<'t>>,
    pub(super) scheduler: String,
    pub(super) scheduler_flags: Option<&'t str>,
    /// In seconds, as it is written.
    pub(super) persistent: Option<String>,
    pub(super) netmask: Option<Directive<'t>>,
    pub(super) protocol: Option<Directive<'t>>,
    pub(super) one_packet: Option<Directive<'t>>,
    pub(super) check: Check,
    /// The protocol of checks.
    pub(super) service: Option<&'t str>,
    pub(super) is_quiescent: Option<bool>,
}

impl<'t> Section<'t> {
    pub(super) fn new(virtual_: Directive<'t>) -> Self {
        Self {
            family: if virtual_.name == "virtual6" { Family::V6 } else { Family::V4 },
            virtual_,
            reals: Vec::new(),
            fallback: None,
            scheduler: "wrr".into(),
            scheduler_flags: None,
            persistent: None,
            netmask: None,
            protocol: None,
            one_packet: None,
            check: Check::Negotiate,
            service: None,
            is_quiescent: None,
        }
    }

    /// Takes a directive of the section.
    pub(super) fn take(&mut self, directive: Directive<'t>, report: &mut Report) {
        let (name, value) = (directive.name, directive.value.trim_end());
        match name {
            "real" | "real6" | "fallback" | "fallback6" => return self.server(directive, report),
            "scheduler" => {
                let letters = |text: &str| text.chars().take_while(char::is_ascii_lowercase).collect::<String>();
                match value.find(|c: char| c.is_ascii_lowercase()) {
                    Some(start) => self.scheduler = letters(&value[start..]),
                    None => report.error(directive.at_value(), "`scheduler' needs lower-case letters"),
                }
                if self.scheduler != value {
                    let sentence = format!("ldirectord uses the scheduler {}", self.scheduler);
                    report.adjusted(directive.at_value(), sentence);
                }
                return;
            }
            "schedflags" => {
                match value.split_ascii_whitespace().next() {
                    Some(flags) => self.scheduler_flags = Some(flags),
                    None => report.error(directive.position, "`schedflags' needs a value"),
                }
                return;
            }
            "persistent" => {
                match first_number(value) {
                    Some(seconds) => self.persistent = Some(seconds.to_string()),
                    None => report.error(directive.at_value(), "`persistent' needs a number of seconds"),
                }
                return;
            }
            "netmask" => {
                self.netmask = Some(directive);
                return;
            }
            "protocol" => {
                self.protocol = Some(directive);
                return;
            }
            "ops" => {
                Value::check(Value::YesOrNo, &directive, report);
                self.one_packet = (value == "yes").then_some(directive);
                return;
            }
            "checktype" => {
                self.check = match value {
                    "on" => Check::On,
                    "off" => Check::Off,
                    "negotiate" => Check::Negotiate,
                    "connect" | "ping" | "external" | "external-perl" => Check::Other,
                    number if first_number(number).is_some() => Check::Other,
                    _ => {
                        let names = "negotiate, connect, ping, external, external-perl, on, off, or a number";
                        return report.error(directive.at_value(), format_args!("`checktype' needs one of {names}"));
                    }
                };
                return report.left(directive.position, name);
            }
            "service" => self.service = Some(value),
            "quiescent" => self.is_quiescent = Some(value == "yes"),
            _ => {}
        }
        match form_of(name, SECTION) {
            Some(form) => {
                form.check(&directive, report);
                report.left(directive.position, name);
            }
            None => report.error(directive.position, format_args!("unknown directive `{name}' of a virtual service")),
        }
    }

    fn server(&mut self, directive: Directive<'t>, report: &mut Report) {
        let is_v6 = directive.name.ends_with('6');
        if is_v6 != (self.family == Family::V6) {
            let name = directive.name.trim_end_matches('6');
            let number = if is_v6 { "" } else { "6" };
            let message = format!("a section of `{}' needs `{name}{number}'", self.virtual_.name);
            return report.error(directive.position, message);
        }
        if directive.name.starts_with("real") {
            self.reals.push(directive);
        } else {
            report.left(directive.position.clone(), directive.name);
            self.fallback = Some(directive);
        }
    }
}
