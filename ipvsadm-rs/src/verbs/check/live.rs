//! `check --live`: checks the table in the kernel, for a person or for Nagios.

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::document::SCHEMA;
use ipvs::plan::Options;
use ipvs::{Config, Scope, Selector, ServiceKey, ServiceState, State};
use serde::{Serialize, Serializer};

use super::nagios;
use crate::context::{Context, code};
use crate::file::Input;
use crate::plan::report::ServiceName;
use crate::sight::condition::{Assessment, Condition, Problem, states_of};
use crate::sight::reading;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::text;

/// The options of `--live`.
#[derive(Args, Debug)]
pub(super) struct Live {
    /// Check the table in the kernel, and whether it matches FILE if there is one
    #[arg(long, conflicts_with = "strict")]
    pub(super) live: bool,
    /// Print only services with problems
    #[arg(long, requires = "live")]
    problems: bool,
    /// Print the result as a plugin of Nagios: a line with performance data, and a line for each problem
    #[arg(long, requires = "live")]
    pub(super) nagios: bool,
    /// Check only these services; can be repeated
    #[arg(long, value_name = "SCOPE", requires = "live")]
    only: Vec<Selector>,
    /// Ignore services that FILE does not list
    #[arg(long, requires = "live", requires = "file")]
    listed_only: bool,
    /// Ignore weights that differ from those of FILE, such as those set by health checks
    #[arg(long, requires = "live", requires = "file")]
    keep_weights: bool,
}

/// The result of a check. The numbers are the exit codes of plugins of Nagios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl Status {
    pub(super) fn of(problem: Problem) -> Self {
        match problem {
            Problem::NoServers | Problem::AllWeight0 | Problem::RefusesAll => Self::Critical,
            Problem::RefusesSome | Problem::Full => Self::Warning,
            // Somebody drains a server on purpose.
            Problem::Draining => Self::Ok,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }
}

/// A service that was checked.
#[derive(Debug, Serialize)]
pub(super) struct Checked {
    #[serde(serialize_with = "as_name")]
    pub(super) service: ServiceKey,
    pub(super) status: Status,
    /// The first problem. `null`: the service has none.
    pub(super) problem: Option<&'static str>,
    pub(super) message: String,
}

/// The difference of the table from a file.
#[derive(Debug, Serialize)]
pub(super) struct Drift {
    pub(super) file: String,
    /// The changes that would make the table match the file, as lines of ipvsadm.
    pub(super) changes: Vec<String>,
}

/// The result for a table.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    schema: u32,
    pub(super) status: Status,
    /// The number of services that were checked.
    pub(super) services: usize,
    /// The number of services with each problem, by name.
    #[serde(serialize_with = "as_map")]
    pub(super) problems: Vec<(&'static str, usize)>,
    /// The number of servers in each state, by name.
    #[serde(serialize_with = "as_map")]
    pub(super) servers: Vec<(&'static str, usize)>,
    pub(super) active_connections: u64,
    pub(super) inactive_connections: u64,
    /// The services, sorted by status. The worst come first.
    pub(super) checked: Vec<Checked>,
    /// Absent if there is no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) drift: Option<Drift>,
}

fn as_name<S: Serializer>(service: &ServiceKey, serializer: S) -> Result<S::Ok, S::Error> {
    ServiceName::from(*service).serialize(serializer)
}

fn as_map<S: Serializer>(pairs: &[(&'static str, usize)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

/// Returns the exit code for a command line that cannot be parsed. For `check --live` it is that of a plugin of Nagios.
pub(in crate::verbs) fn usage_error_code(words: &[OsString]) -> u8 {
    let has = |word: &str| words.iter().any(|found| found == word);
    if has("check") && has("--live") { Status::Unknown as u8 } else { code::ERROR }
}

impl Live {
    /// Checks the table and prints the result. Returns the exit code.
    pub(super) fn run(self, context: &Context, file: Option<anyhow::Result<Input>>) -> anyhow::Result<u8> {
        match self.verdict(context, file) {
            Ok(verdict) => {
                self.print(context, &verdict)?;
                Ok(verdict.status as u8)
            }
            Err(error) if self.nagios => {
                context.write(|out| out.write_all(nagios::unknown(&error).as_bytes()))?;
                Ok(Status::Unknown as u8)
            }
            Err(error) => {
                print_error(&text::lines(&format!("error: {}", crate::verbs::sentence(&error))));
                print_error(crate::verbs::hint(&error).unwrap_or_default());
                Ok(Status::Unknown as u8)
            }
        }
    }

    fn verdict(&self, context: &Context, file: Option<anyhow::Result<Input>>) -> anyhow::Result<Verdict> {
        if self.nagios && context.json {
            bail!("--nagios and --json exclude each other");
        }
        let desired = file.transpose()?.map(|input| self.desired(input)).transpose()?;
        let state = reading::read(&mut context.open()?)?;
        let drift = desired.map(|(file, config)| self.drift(file, &config, &state));
        let mut verdict = Verdict::new(&state.services, &self.only, drift);
        verdict.checked.retain(|checked| !self.problems || checked.problem.is_some());
        Ok(verdict)
    }

    fn desired(&self, input: Input) -> anyhow::Result<(String, Config)> {
        let name = input.name.clone();
        if !self.nagios {
            input.print_diagnostics();
            input.print_left();
        }
        let errors = |errors: Vec<_>| anyhow::anyhow!("{name}: {}", count(errors.len(), "error"));
        let config = input.config.map_err(errors).context("cannot compare the table with the file")?;
        Ok((name, config))
    }

    fn drift(&self, file: String, desired: &Config, state: &State) -> Drift {
        let scope = Scope { only: self.only.clone(), listed: self.listed_only, ..Scope::default() };
        let options = Options::default().scope(scope).keep_weights(self.keep_weights);
        let plan = ipvs::plan(desired, state, &options);
        Drift { file, changes: plan.changes.iter().map(ToString::to_string).collect() }
    }

    fn print(&self, context: &Context, verdict: &Verdict) -> anyhow::Result<()> {
        if self.nagios {
            return context.write(|out| out.write_all(nagios::text(verdict).as_bytes()));
        }
        if context.json {
            return context.write_json(&verdict);
        }
        context.write(|out| {
            for Checked { service, status, message, .. } in &verdict.checked {
                writeln!(out, "{service}: {}: {message}", status.name())?;
            }
            for line in verdict.drift.iter().flat_map(Drift::lines) {
                writeln!(out, "{line}")?;
            }
            writeln!(out, "{}: {}", verdict.status.name(), verdict.summary())
        })
    }
}

impl Drift {
    /// Returns lines for people: a summary, and at most 20 changes. No lines if there is no difference.
    pub(super) fn lines(&self) -> Vec<String> {
        const SHOWN: usize = 20;
        if self.changes.is_empty() {
            return Vec::new();
        }
        let status = self.status().name();
        let mut lines = vec![format!("{}: {status}: the table differs: {}", self.file, self.summary())];
        lines.extend(self.changes.iter().take(SHOWN).map(|change| format!("  {}", text::escaped(change))));
        let rest = self.changes.len().saturating_sub(SHOWN);
        lines.extend((rest > 0).then(|| format!("  and {} more", count(rest as u64, "change"))));
        lines
    }

    fn summary(&self) -> String {
        let verb = if self.changes.len() == 1 { "is" } else { "are" };
        format!("{} {verb} needed", count(self.changes.len() as u64, "change"))
    }

    fn status(&self) -> Status {
        if self.changes.is_empty() { Status::Ok } else { Status::Warning }
    }
}

impl Verdict {
    pub(super) fn new(services: &[ServiceState], only: &[Selector], drift: Option<Drift>) -> Self {
        let is_selected = |key: &ServiceKey| only.is_empty() || only.iter().any(|selector| selector.selects(key));
        let services: Vec<_> = services.iter().filter(|service| is_selected(&service.service.key)).collect();
        let assessments: Vec<Assessment> = services.iter().map(|service| Assessment::of(service)).collect();
        let checked = services.iter().zip(&assessments).map(|(service, assessment)| Checked::new(service, assessment));
        let mut checked: Vec<Checked> = checked.collect();
        checked.sort_by_key(|checked| (std::cmp::Reverse(checked.status), checked.service));
        let servers = || services.iter().flat_map(|service| &service.destinations);
        let worst = checked.iter().map(|checked| checked.status).chain(drift.iter().map(Drift::status)).max();
        let with_problem =
            |problem: Problem| assessments.iter().filter(|assessment| assessment.problem == Some(problem)).count();
        let in_condition = |condition| servers().filter(|server| Condition::of(server) == condition).count();
        Self {
            schema: SCHEMA,
            status: worst.unwrap_or(Status::Ok),
            services: services.len(),
            problems: Problem::ALL.map(|problem| (problem.name(), with_problem(problem))).into(),
            servers: Condition::ALL.map(|condition| (condition.name(), in_condition(condition))).into(),
            active_connections: servers().map(|server| u64::from(server.active_connections)).sum(),
            inactive_connections: servers().map(|server| u64::from(server.inactive_connections)).sum(),
            checked,
            drift,
        }
    }

    /// Returns the problems in one line, or the numbers of services and servers if there are none.
    pub(super) fn summary(&self) -> String {
        let texts = Problem::ALL.iter().zip(&self.problems).filter(|(_, (_, services))| *services > 0);
        let mut texts: Vec<String> = texts.map(|(problem, (_, services))| with_problem(*problem, *services)).collect();
        texts.extend(
            self.drift
                .iter()
                .filter(|drift| !drift.changes.is_empty())
                .map(|drift| format!("{} to match {}", drift.summary(), drift.file)),
        );
        let servers: usize = self.servers.iter().map(|(_, count)| count).sum();
        texts.push(format!(
            "{} and {} checked",
            count(self.services as u64, "service"),
            count(servers as u64, "server")
        ));
        texts.join(", ")
    }
}

/// Returns the number of services with a problem as text.
fn with_problem(problem: Problem, services: usize) -> String {
    let (verb, have) = if services == 1 { ("s", "has") } else { ("", "have") };
    let rest = match problem {
        Problem::NoServers => format!("{have} no servers"),
        Problem::AllWeight0 => format!("{have} only servers of weight 0"),
        Problem::RefusesAll => format!("refuse{verb} all new clients"),
        Problem::RefusesSome => format!("refuse{verb} some new clients"),
        Problem::Full => format!("{have} full servers"),
        Problem::Draining => format!("{have} draining servers"),
    };
    format!("{} {rest}", count(services as u64, "service"))
}

impl Checked {
    fn new(service: &ServiceState, assessment: &Assessment) -> Self {
        let Assessment { problem, refusal } = assessment;
        Self {
            service: service.service.key,
            status: problem.map_or(Status::Ok, Status::of),
            problem: problem.map(Problem::name),
            message: refusal.clone().unwrap_or_else(|| states_of(service.destinations.iter())),
        }
    }
}
