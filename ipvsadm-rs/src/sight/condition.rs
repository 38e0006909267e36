//! The condition of a server, and the problems of a service.

use anstyle::Style;
use ipvs::estimate::{Assumption, Refusal, Scheduling};
use ipvs::{DestinationState, ServiceState};
use unicode_width::UnicodeWidthStr;

use crate::plan::clients;
use crate::terminal::color::Palette;
use crate::terminal::plural::count;
use crate::terminal::text;
use crate::terminal::width::folded;

/// The importance of a condition or a problem, which decides the colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Usual,
    Warning,
    Bad,
}

impl Severity {
    pub(crate) fn style(self, colors: &Palette) -> Style {
        match self {
            Self::Usual => Style::new(),
            Self::Warning => colors.change,
            Self::Bad => colors.bad,
        }
    }
}

/// The condition of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// It can get new connections.
    Up,
    /// It has as many connections as its upper threshold, and gets no new ones.
    Full,
    /// It has weight 0, and still has connections or persistence templates.
    Draining,
    /// It has weight 0, and neither connections nor persistence templates.
    Drained,
}

impl Condition {
    pub(crate) const ALL: [Self; 4] = [Self::Up, Self::Full, Self::Draining, Self::Drained];

    pub(crate) fn of(server: &DestinationState) -> Self {
        let connections = u64::from(server.active_connections) + u64::from(server.inactive_connections);
        let limit = u64::from(server.destination.upper_threshold);
        match server.destination.weight {
            0 if connections == 0 && server.persistent_connections == 0 => Self::Drained,
            0 => Self::Draining,
            _ if limit > 0 && connections >= limit => Self::Full,
            _ => Self::Up,
        }
    }

    /// Returns the name, which is also the value in JSON and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Full => "full",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }

    pub(crate) fn severity(self) -> Severity {
        match self {
            Self::Up => Severity::Usual,
            Self::Draining | Self::Drained => Severity::Warning,
            Self::Full => Severity::Bad,
        }
    }
}

/// The reason why a service needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Problem {
    /// It has no servers.
    NoServers,
    /// All its servers have weight 0.
    AllWeight0,
    /// It refuses all new clients, for another reason.
    RefusesAll,
    /// It refuses some new clients, or may do so.
    RefusesSome,
    /// It serves all new clients, but servers are full.
    Full,
    /// It serves all new clients, but servers are draining.
    Draining,
}

impl Problem {
    pub(crate) const ALL: [Self; 6] =
        [Self::NoServers, Self::AllWeight0, Self::RefusesAll, Self::RefusesSome, Self::Full, Self::Draining];

    /// Returns the name, which is also the value in JSON and in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NoServers => "no_servers",
            Self::AllWeight0 => "all_weight_0",
            Self::RefusesAll => "refuses_all",
            Self::RefusesSome => "refuses_some",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }

    /// Returns whether new clients are refused.
    pub(crate) fn refuses(self) -> bool {
        matches!(self, Self::NoServers | Self::AllWeight0 | Self::RefusesAll | Self::RefusesSome)
    }

    pub(crate) fn severity(self) -> Severity {
        if self.refuses() { Severity::Bad } else { Severity::Warning }
    }
}

/// The state of a service for new clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assessment {
    /// The first problem, in the order of [`Problem::ALL`].
    pub(crate) problem: Option<Problem>,
    /// A sentence with the share of new clients that are refused, and the reason. `None` if all of them are served.
    pub(crate) refusal: Option<String>,
}

impl Assessment {
    /// Assesses a service. For a hashing scheduler, this compares its table with the servers, which takes milliseconds.
    pub(crate) fn of(service: &ServiceState) -> Self {
        let servers = &service.destinations;
        let scheduling = Scheduling::new(service);
        let share = clients::refused_now(&scheduling);
        let refusal = share.map(|share| format!("{share}: {}", clients::reason(&scheduling)));
        let has = |condition| servers.iter().any(|server| Condition::of(server) == condition);
        let problem = if servers.is_empty() {
            Some(Problem::NoServers)
        } else if servers.iter().all(|server| server.destination.weight == 0) {
            Some(Problem::AllWeight0)
        } else if scheduling.refusal(Assumption::Best) == Refusal::Everybody {
            Some(Problem::RefusesAll)
        } else if refusal.is_some() {
            Some(Problem::RefusesSome)
        } else if has(Condition::Full) {
            Some(Problem::Full)
        } else {
            has(Condition::Draining).then_some(Problem::Draining)
        };
        Self { problem, refusal }
    }
}

/// Returns the number of servers, and of those in each state: `3 servers: 1 up, 2 full`.
pub(crate) fn states_of<'s>(servers: impl Iterator<Item = &'s DestinationState> + Clone) -> String {
    let states = Condition::ALL.map(|condition| {
        let number = servers.clone().filter(|server| Condition::of(server) == condition).count();
        (number > 0).then(|| format!("{number} {}", condition.name()))
    });
    let states: Vec<String> = states.into_iter().flatten().collect();
    let colon = if states.is_empty() { "" } else { ": " };
    format!("{}{colon}{}", count(servers.count(), "server"), states.join(", "))
}

/// Returns a refusal in lines of this width: the share of new clients, and the reason below it if one line is too short.
pub(crate) fn refusal_lines(refusal: &str, width: Option<usize>) -> Vec<String> {
    const INDENT: usize = 2;
    let refusal = text::escaped(refusal);
    match refusal.split_once(": ") {
        Some((share, reason)) if width.is_some_and(|width| refusal.width() > width) => {
            let reason = folded(reason, width.map(|width| width.saturating_sub(INDENT)));
            let reason = reason.into_iter().map(|line| format!("{:INDENT$}{line}", ""));
            std::iter::once(format!("{share}:")).chain(reason).collect()
        }
        _ => vec![refusal.into_owned()],
    }
}

#[cfg(test)]
mod tests {
    use ipvs::rules::{Numeric, read_config};
    use ipvs::{Director, Model, apply, plan};

    use super::*;

    fn service(rules: &str) -> ServiceState {
        let mut director = Model::new();
        let desired = read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config;
        apply(&mut director, &desired, &plan::Options::default()).expect("applies");
        director.state().expect("a model").services.remove(0)
    }

    #[test]
    fn conditions_depend_on_weight_and_connections() {
        let rules = "-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1 -x 10\n";
        let mut server = service(rules).destinations.remove(0);
        let mut of = |weight, active, inactive, templates| {
            server.destination.weight = weight;
            (server.active_connections, server.inactive_connections) = (active, inactive);
            server.persistent_connections = templates;
            Condition::of(&server).name()
        };
        assert_eq!([of(1, 0, 0, 0), of(1, 5, 4, 9), of(1, 6, 4, 0)], ["up", "up", "full"]);
        assert_eq!([of(0, 0, 0, 0), of(0, 0, 1, 0), of(0, 0, 0, 1)], ["drained", "draining", "draining"]);
    }

    #[test]
    fn a_long_refusal_has_several_lines() {
        let refusal = "25.0 % of new clients are refused: sh also selects servers of weight 0";
        assert_eq!(refusal_lines(refusal, Some(70)), [refusal]);
        assert_eq!(refusal_lines(refusal, None), [refusal]);
        assert_eq!(
            refusal_lines(refusal, Some(34)),
            ["25.0 % of new clients are refused:", "  sh also selects servers of", "  weight 0"]
        );
    }

    #[test]
    fn problems_are_ordered() {
        let of = |servers: &str, scheduler: &str| {
            let lines: String = servers.lines().map(|line| format!("-a -f 1 -r {line}\n")).collect();
            Assessment::of(&service(&format!("-A -f 1 -s {scheduler}\n{lines}"))).problem.map(Problem::name)
        };
        assert_eq!(of("", "rr"), Some("no_servers"));
        assert_eq!(of("10.0.0.1 -w 0\n10.0.0.2 -w 0", "rr"), Some("all_weight_0"));
        assert_eq!(of("10.0.0.1 -w 0\n10.0.0.2", "sh"), Some("refuses_some"));
        assert_eq!(of("10.0.0.1 -w 0\n10.0.0.2", "rr"), None, "drained servers are no problem");
        assert_eq!(of("10.0.0.1", "none"), Some("refuses_all"));
        assert_eq!(of("10.0.0.1", "rr"), None);
        let mut busy = service("-A -f 1 -s rr\n-a -f 1 -r 10.0.0.1 -w 0\n-a -f 1 -r 10.0.0.2 -x 5\n");
        for server in &mut busy.destinations {
            server.active_connections = 3;
        }
        assert_eq!(Assessment::of(&busy).problem, Some(Problem::Draining));
        busy.destinations.iter_mut().for_each(|server| server.active_connections = 5);
        assert_eq!(Assessment::of(&busy).problem, Some(Problem::RefusesAll), "the only server with a weight is full");
        let refusal = Assessment::of(&busy).refusal.expect("a refusal");
        assert!(refusal.starts_with("every new client is refused: "), "{refusal}");
    }
}
