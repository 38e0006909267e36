//! The effects of a plan on clients: they get another server, are refused, or keep a server of weight 0.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use ipvs::estimate::{Assumption, Compared, Effect, Refusal, Scenarios, Scheduling, Selection};
use ipvs::hash::{LookupTable, TableSizes};
use ipvs::rules::program::flag_names;
use ipvs::{Change, DestinationKey, Plan, Scheduler, SchedulerFlags, ServiceKey};
use serde::Serialize;

use crate::context::Context;
use crate::plan::impact::TableIndex;
use crate::terminal::color::Palette;
use crate::terminal::plural::count;
use crate::terminal::text;

/// The maximum time for estimates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For one service. The first part of a comparison is completed in any case. With the largest table of mh, that part
    /// takes about this time.
    service: Duration,
    /// For a plan. Services with a hashing scheduler after it are not estimated.
    plan: Duration,
    /// The maximum number of servers of a service with a hashing scheduler. Filling the largest table of mh with 10,000
    /// servers takes 16 ms, and with 131,071 servers 53 ms.
    servers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { service: Duration::from_millis(50), plan: Duration::from_secs(2), servers: 20_000 }
    }
}

/// The effects of a plan on clients. Each list is empty if no client is affected.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct ClientEffects {
    /// Services that send some new clients to another server than before.
    remapped_clients: Vec<Affected>,
    /// Services that refuse new clients that they served before.
    refused_clients: Vec<Refused>,
    /// Services that serve new clients that they refused before.
    served_clients: Vec<Affected>,
    /// Servers that get weight 0 and have persistence templates.
    persistent_clients: Vec<Kept>,
    /// Services with a hashing scheduler whose new clients were not compared, because it would take too long or because
    /// the kernel's table is unknown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    clients_not_estimated: Vec<String>,
}

/// A share of the new clients of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Affected {
    service: String,
    /// The share, 0 to 1. The maximum if it is a range.
    share: f64,
    /// The minimum, if the share depends on a value that the kernel does not report.
    #[serde(skip_serializing_if = "Option::is_none")]
    min_share: Option<f64>,
    /// The value that the kernel does not report, and the assumption in its place. Absent unless the share is a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    /// The number of clients that the share was estimated from, if there was no time to compare all.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_from: Option<usize>,
}

/// New clients that are refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Refused {
    #[serde(flatten)]
    clients: Affected,
    /// The share that was refused before, and still is. The maximum if it is a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    already_refused_share: Option<f64>,
    /// Whether all new clients are refused after the changes.
    every_client: bool,
    reason: String,
    /// A way to avoid it: a command, or text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// The known clients of a server that gets weight 0.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Kept {
    service: String,
    server: String,
    persistence_templates: u32,
    /// Whether the templates still send their clients to the server. Absent: the sysctl
    /// `net.ipv4.vs.expire_quiescent_template` cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_connecting: Option<bool>,
    /// The persistence timeout in seconds.
    timeout: u32,
}

impl Affected {
    fn new(service: ServiceKey, (min, share): (f64, f64)) -> Self {
        let min_share = (min < share).then_some(min);
        Self { service: service.to_string(), share, min_share, unknown: None, estimated_from: None }
    }

    /// Returns the share as text: `33.6 %`, `0 to 33.6 %` or `about 34 %`.
    fn percent(&self) -> String {
        let (least, most) = (self.min_share.unwrap_or(self.share) * 100.0, self.share * 100.0);
        match (self.estimated_from, self.min_share) {
            (None, None) => format!("{} %", rounded(most, 1)),
            (None, Some(_)) => format!("{} to {} %", rounded(least, 1), rounded(most, 1)),
            (Some(_), None) => format!("about {} %", rounded(most, 0)),
            (Some(_), Some(_)) => format!("about {} to {} %", rounded(least, 0), rounded(most, 0)),
        }
    }

    /// Returns the number of clients that an estimate is made from, as a remark.
    fn origin(&self) -> String {
        let from = self.estimated_from.map(|clients| format!(" (estimated from {})", count(clients, "client")));
        from.unwrap_or_default()
    }

    fn write_unknown(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        let style = colors.remark;
        self.unknown.iter().try_for_each(|unknown| writeln!(out, "{style}#   {unknown}{style:#}"))
    }

    fn write_text(&self, out: &mut dyn Write, colors: &Palette, effect: &str) -> io::Result<()> {
        let style = colors.remark;
        let Self { service, .. } = self;
        writeln!(out, "{style}# {service}: {} {effect}{}{style:#}", self.percent(), self.origin())?;
        self.write_unknown(out, colors)
    }
}

/// Returns a percentage as text. Shows that it is not 0, or not 100, even if it would be rounded to that.
pub(crate) fn rounded(percent: f64, digits: usize) -> String {
    let step = 10_f64.powi(-(digits as i32));
    match percent {
        percent if percent <= 0.0 => "0".into(),
        percent if percent < step => format!("less than {step}"),
        percent if percent < 100.0 && percent > 100.0 - step / 2.0 => format!("more than {}", 100.0 - step),
        percent => format!("{percent:.digits$}"),
    }
}

impl Refused {
    fn write_text(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        let Self { clients, reason, .. } = self;
        let service = &clients.service;
        if self.every_client {
            let style = colors.bad;
            writeln!(out, "{style}# {service}: every new client is refused: {reason}{style:#}")?;
        } else {
            let style = colors.remove;
            let up_to = if clients.unknown.is_some() { "up to " } else { "" };
            let already = self
                .already_refused_share
                .map(|share| format!(", in addition to {up_to}{} % that already are", rounded(share * 100.0, 1)));
            let (percent, origin, already) = (clients.percent(), clients.origin(), already.unwrap_or_default());
            writeln!(
                out,
                "{style}# {service}: {percent} of new clients are refused{already}{origin}: {reason}{style:#}"
            )?;
            clients.write_unknown(out, colors)?;
        }
        let style = colors.remark;
        self.advice.iter().try_for_each(|advice| writeln!(out, "{style}#   to avoid it: {advice}{style:#}"))
    }
}

impl Kept {
    fn write_text(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        let style = colors.remark;
        let Self { service, server, persistence_templates, timeout, .. } = self;
        let templates = count(*persistence_templates, "persistence template");
        let keep = format!("keep connecting to it as long as they return within {timeout} s");
        let end = "are scheduled as new clients";
        let sysctl = "net.ipv4.vs.expire_quiescent_template";
        let effect = match self.keep_connecting {
            Some(true) => format!("{keep} ({sysctl} is 0)"),
            Some(false) => format!("{end} ({sysctl} is 1)"),
            None => format!("{keep} if {sysctl} is 0, and {end} if it is 1"),
        };
        writeln!(out, "{style}# {service}: {server} gets weight 0; the clients of {templates} {effect}{style:#}")
    }
}

impl ClientEffects {
    /// Estimates the effects of a plan on the clients of a table. This takes at most the time of the limits.
    pub(crate) fn new(
        plan: &Plan,
        held: &TableIndex<'_>,
        sizes: TableSizes,
        limits: Limits,
        context: &Context,
    ) -> Self {
        let changes = changes_by_service(plan).into_iter();
        let of_table = |(key, changes)| Some((Scheduling::new(held.service(&key)?), changes));
        Self::of_services(changes.filter_map(of_table), sizes, limits, context)
    }

    /// Works like [`new`](Self::new), for services with changes of each.
    pub(crate) fn of_services<'c>(
        services: impl Iterator<Item = (Scheduling, Vec<&'c Change>)>,
        sizes: TableSizes,
        limits: Limits,
        context: &Context,
    ) -> Self {
        let start = Instant::now();
        let mut effects = Self::default();
        for (before, changes) in services {
            let key = before.service().key;
            let Some(after) = before.after(changes) else { continue };
            effects.persistent_clients.extend(kept(&before, &after));
            if [&before, &after].iter().any(|side| LookupTable::exists_for(side.service())) {
                let most = after.len().max(before.len());
                if most > limits.servers || start.elapsed() >= limits.plan {
                    effects.clients_not_estimated.push(key.to_string());
                    continue;
                }
            }
            let deadline = Instant::now() + limits.service;
            match Scenarios::new(&before, &after, sizes) {
                Some(scenarios) => effects.add(&before, &after, &scenarios, deadline, context),
                None => effects.clients_not_estimated.push(key.to_string()),
            }
        }
        if !effects.persistent_clients.is_empty() {
            let expires = context.expires_quiescent_templates();
            effects
                .persistent_clients
                .iter_mut()
                .for_each(|kept| kept.keep_connecting = expires.map(|expires| !expires));
        }
        effects
    }

    fn add(
        &mut self,
        before: &Scheduling,
        after: &Scheduling,
        scenarios: &Scenarios,
        deadline: Instant,
        context: &Context,
    ) {
        let (effect, is_whole) = compare_until(deadline, scenarios);
        let affected = |range| Affected {
            unknown: Some(unknown(before, after)).filter(|unknown| !unknown.is_empty() && is_range(range)),
            estimated_from: (!is_whole).then(|| effect.clients()),
            ..Affected::new(after.service().key, range)
        };
        let is_any = |(_, most): (f64, f64)| most > 0.0;
        if is_any(effect.moved()) {
            self.remapped_clients.push(affected(effect.moved()));
        }
        if is_any(effect.served()) {
            self.served_clients.push(affected(effect.served()));
        }
        if is_any(effect.refused()) {
            let already = effect.still_refused().1;
            self.refused_clients.push(Refused {
                clients: affected(effect.refused()),
                already_refused_share: (already > 0.0).then_some(already),
                every_client: effect.refused_after().0 >= 1.0,
                reason: reason(after),
                advice: advice(after, context),
            });
        }
    }

    /// Returns the effects as lines of text. Empty if no client is affected.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut text = Vec::new();
        // A vector accepts every write.
        let _ = self.write_text(&mut text, &Palette::default());
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().map(|line| line.strip_prefix("# ").unwrap_or(line).to_owned()).collect()
    }

    /// Writes a remark for each service that is affected.
    pub(crate) fn write_text(&self, out: &mut dyn Write, colors: &Palette) -> io::Result<()> {
        let style = colors.remark;
        write_first(out, colors, &self.refused_clients, "new clients are refused", |out, refused| {
            refused.write_text(out, colors)
        })?;
        write_first(out, colors, &self.remapped_clients, "new clients get another server", |out, moved| {
            moved.write_text(out, colors, "of new clients get another server")
        })?;
        write_first(out, colors, &self.served_clients, "new clients are served again", |out, served| {
            served.write_text(out, colors, "of new clients were refused and are served")
        })?;
        write_first(out, colors, &self.persistent_clients, "a server with templates gets weight 0", |out, kept| {
            kept.write_text(out, colors)
        })?;
        if !self.clients_not_estimated.is_empty() {
            let services = count(self.clients_not_estimated.len(), "service");
            writeln!(
                out,
                "{style}# {services} with a hashing scheduler: the effects on clients were not estimated, because there \
                 are too many services or servers{style:#}"
            )?;
        }
        Ok(())
    }
}

/// Writes the first remarks of a kind, and the number of the others.
fn write_first<T>(
    out: &mut dyn Write,
    colors: &Palette,
    remarks: &[T],
    effect: &str,
    write: impl Fn(&mut dyn Write, &T) -> io::Result<()>,
) -> io::Result<()> {
    const MAX_SHOWN: usize = 20;
    remarks.iter().take(MAX_SHOWN).try_for_each(|remark| write(out, remark))?;
    match remarks.len().saturating_sub(MAX_SHOWN) {
        0 => Ok(()),
        more => {
            let (style, more) = (colors.remark, count(more, "more service"));
            writeln!(out, "{style}# {more}: {effect}{style:#}")
        }
    }
}

fn is_range((least, most): (f64, f64)) -> bool {
    least < most
}

/// Returns the servers that get weight 0 while templates send clients to them.
fn kept(before: &Scheduling, after: &Scheduling) -> Vec<Kept> {
    let already: HashSet<DestinationKey> = before.kept_by_templates().map(|(server, _)| server).collect();
    let service = after.service();
    let servers = after.kept_by_templates().filter(|(server, _)| !already.contains(server));
    let kept = |(server, persistence_templates): (DestinationKey, u32)| Kept {
        service: service.key.to_string(),
        server: server.to_string(),
        persistence_templates,
        keep_connecting: None,
        timeout: service.persistence.unwrap_or_default(),
    };
    servers.map(kept).collect()
}

/// Returns the share of new clients that a service refuses, as a sentence. Returns `None` if it refuses nobody, or if the
/// share is unknown.
pub(crate) fn refused_now(service: &Scheduling) -> Option<String> {
    if service.refusal(Assumption::Worst) == Refusal::Nobody || service.len() > Limits::default().servers {
        return None;
    }
    if service.refusal(Assumption::Best) == Refusal::Everybody {
        return Some("every new client is refused".into());
    }
    let scenarios = Scenarios::new(service, service, TableSizes::default())?;
    let refused = scenarios.effect().refused_after();
    let share = Affected::new(service.service().key, refused);
    (refused.1 > 0.0).then(|| format!("{} of new clients are refused", share.percent()))
}

/// Returns the reason why a service refuses new clients.
pub(crate) fn reason(after: &Scheduling) -> String {
    let scheduler = after.service().scheduler;
    if scheduler == Scheduler::NONE {
        return "the scheduler none selects no server".into();
    }
    if after.is_empty() {
        return "the service has no servers".into();
    }
    if after.has_only_weight_0() {
        return "all servers have weight 0".into();
    }
    if after.refusal(Assumption::Worst) != Refusal::Some {
        return match scheduler {
            Scheduler::OVF => "all servers with a weight above 0 are full, or have more connections than their weight",
            Scheduler::SH | Scheduler::MH => "the servers that the hash table lists are not available",
            _ => "all servers with a weight above 0 are full",
        }
        .into();
    }
    let servers = match (after.has_weight_0(), after.has_full()) {
        (true, true) => "servers that have weight 0 or are full",
        (false, true) => "servers that are full",
        _ => "servers of weight 0",
    };
    match scheduler {
        Scheduler::DH => format!("dh also selects {servers}"),
        _ => format!("{scheduler} without {scheduler}-fallback also selects {servers}"),
    }
}

/// Returns a way to serve all new clients. `None` unless the service refuses only some of them.
fn advice(after: &Scheduling, context: &Context) -> Option<String> {
    let service = after.service();
    if after.refusal(Assumption::Worst) != Refusal::Some {
        return None;
    }
    if service.scheduler == Scheduler::DH {
        return Some("delete such servers, because dh has no fallback".into());
    }
    let flags = service.flags | SchedulerFlags::FALLBACK;
    let flags: Vec<&str> = flag_names(service.scheduler, flags).collect();
    let netns = context.netns.as_ref().map(|netns| format!(" --netns {}", text::escaped(&netns.to_string())));
    let (netns, name) = (netns.unwrap_or_default(), options_of(service.key));
    Some(format!("ipvsadm-rs set{netns} {name} --sched-flags {}", flags.join(",")))
}

/// Returns the options that specify a service: `-t 192.0.2.1:80`.
pub(crate) fn options_of(service: ServiceKey) -> String {
    Change::Zero(Some(service)).to_string().trim_start_matches("-Z ").to_owned()
}

/// Returns the values that the kernel does not report, and the assumptions in their place. Empty if all is known.
pub(crate) fn unknown(before: &Scheduling, after: &Scheduling) -> String {
    let mut seen = HashSet::new();
    let servers: Vec<DestinationKey> = after
        .unknown_last_weights()
        .chain(before.unknown_last_weights())
        .filter(|server| seen.insert(*server))
        .collect();
    let servers = match servers.as_slice() {
        [] if before.service().scheduler == Scheduler::LBLC => {
            return "lblc keeps the server of an address that it has seen, even if the server is full".into();
        }
        [] => return "the kernel does not report whether a server between its thresholds accepts connections".into(),
        [server] => server.to_string(),
        servers => count(servers.len(), "server"),
    };
    let assumed = before.assumed_last_weight();
    format!("the kernel does not report the weight of {servers} before weight 0: 0 (none) to {assumed} was assumed")
}

/// Returns the services of a plan in its order, each with its changes.
fn changes_by_service(plan: &Plan) -> Vec<(ServiceKey, Vec<&Change>)> {
    let mut services: Vec<(ServiceKey, Vec<&Change>)> = Vec::new();
    let mut places = HashMap::new();
    for change in &plan.changes {
        let Some(key) = change.service() else { continue };
        let place = *places.entry(key).or_insert_with(|| {
            services.push((key, Vec::new()));
            services.len() - 1
        });
        services[place].1.push(change);
    }
    services
}

/// Compares at least a part of each scenario. Returns whether the comparison was completed, too.
fn compare_until(deadline: Instant, scenarios: &Scenarios) -> (Effect, bool) {
    let mut is_whole = true;
    let compare = |(before, after): &(Selection, Selection)| {
        let mut parts = before.compare(after);
        let mut compared = Compared::default();
        while let Some(part) = parts.next() {
            compared = [compared, part].into_iter().sum();
            if parts.size_hint() != (0, Some(0)) && Instant::now() >= deadline {
                is_whole = false;
                break;
            }
        }
        compared
    };
    let effect = Effect::of(scenarios.pairs().map(compare));
    (effect, is_whole)
}

#[cfg(test)]
mod tests {
    use ipvs::State;

    use super::*;
    use crate::plan::testing::{config, state as table};

    const NO_LIMITS: Limits =
        Limits { service: Duration::from_secs(1000), plan: Duration::from_secs(1000), servers: 20_000 };

    fn effects(from: &State, to: &str, limits: Limits) -> ClientEffects {
        let plan = ipvs::plan(&config(to), from, &Default::default());
        ClientEffects::new(&plan, &TableIndex::new(from), TableSizes::default(), limits, &Context::for_tests())
    }

    fn text(from: &State, to: &str) -> String {
        let mut out = Vec::new();
        effects(from, to, NO_LIMITS).write_text(&mut out, &Palette::default()).expect("memory takes all");
        String::from_utf8(out).expect("text")
    }

    fn rules(service: &str, weights: &[u32]) -> String {
        let server = |(last, weight): (usize, &u32)| format!("-a -t 192.0.2.1:80 -r 10.0.0.{last} -m -w {weight}\n");
        let servers: String = (1..).zip(weights).map(server).collect();
        format!("-A -t 192.0.2.1:80 {service}\n{servers}")
    }

    #[test]
    fn clients_are_moved() {
        let four = table(&rules("-s sh", &[1; 4]));
        assert_eq!(
            text(&four, &rules("-s sh", &[1; 3])),
            "# TCP 192.0.2.1:80: 75.4 % of new clients get another server\n"
        );
        for unchanged in
            [rules("-s sh", &[1; 4]), rules("-s rr", &[1; 3]), rules("-s rr", &[1, 0, 1, 0]), String::new()]
        {
            assert_eq!(text(&four, &unchanged), "", "{unchanged}");
        }
    }

    #[test]
    fn clients_are_refused_by_hashes() {
        let refused = |share, scheduler, advice| {
            format!(
                "# TCP 192.0.2.1:80: {share} % of new clients are refused: {scheduler} without {scheduler}-fallback also \
                 selects servers of weight 0\n\
                 #   to avoid it: ipvsadm-rs set -t 192.0.2.1:80 --sched-flags {advice}\n"
            )
        };
        let weight_0 = [1, 1, 0];
        let sh = table(&rules("-s sh", &[1; 3]));
        assert_eq!(text(&sh, &rules("-s sh", &weight_0)), refused("33.6", "sh", "sh-fallback"));
        let mh = table(&rules("-s mh -b mh-port", &[1; 3]));
        assert_eq!(text(&mh, &rules("-s mh -b mh-port", &weight_0)), refused("33.3", "mh", "mh-fallback,mh-port"));
        // A server that is added.
        let moved = "# TCP 192.0.2.1:80: 33.6 % of new clients get another server\n";
        assert_eq!(
            text(&table(&rules("-s sh", &[1; 2])), &rules("-s sh", &weight_0)),
            refused("33.6", "sh", "sh-fallback") + moved
        );
        assert_eq!(text(&table(&rules("-s mh", &[1; 2])), &rules("-s mh", &weight_0)), "", "no slots");
        assert_eq!(text(&table(""), &rules("-s sh", &weight_0)), "", "warnings about the file report it");
        // In the other direction.
        let sh = table(&rules("-s sh", &weight_0));
        let served = "# TCP 192.0.2.1:80: 33.6 % of new clients were refused and are served\n";
        assert_eq!(text(&sh, &rules("-s sh -b sh-fallback", &weight_0)), served);
        let less = text(&sh, &rules("-s sh", &[1, 0, 0]));
        assert!(less.starts_with(
            "# TCP 192.0.2.1:80: 33.2 % of new clients are refused, in addition to 33.6 % that already are: sh without"
        ), "{less}");
    }

    #[test]
    fn last_server_is_lost() {
        for scheduler in ["rr", "sh", "mh", "dh", "mh -b mh-fallback"] {
            let one = table(&rules(&format!("-s {scheduler}"), &[3]));
            let refused = |reason| format!("# TCP 192.0.2.1:80: every new client is refused: {reason}\n");
            assert_eq!(text(&one, &rules(&format!("-s {scheduler}"), &[0])), refused("all servers have weight 0"));
            assert_eq!(text(&one, &rules(&format!("-s {scheduler}"), &[])), refused("the service has no servers"));
        }
    }

    #[test]
    fn unknown_memory_is_a_range() {
        let mh = table(&rules("-s mh", &[1, 1, 0]));
        assert_eq!(
            text(&mh, &rules("-s mh -b mh-fallback", &[1, 1, 0])),
            "# TCP 192.0.2.1:80: 0 to 33.4 % of new clients were refused and are served\n\
             #   the kernel does not report the weight of 10.0.0.3:80 before weight 0: 0 (none) to 1 was assumed\n"
        );
        let document = serde_json::to_value(effects(&mh, &rules("-s mh -b mh-fallback", &[1, 1, 0]), NO_LIMITS));
        assert_eq!(document.expect("writes")["served_clients"][0]["min_share"], 0.0);
    }

    #[test]
    fn full_servers_refuse() {
        let mut sh = table(&rules("-s sh", &[1; 2]));
        sh.services[0].destinations.iter_mut().for_each(|server| server.active_connections = 5);
        let limited = rules("-s sh", &[1; 2]).replace("10.0.0.1 -m -w 1", "10.0.0.1 -m -w 1 -x 5");
        let text_of = |scheduler: &str, rules: &str| {
            sh_with(&sh, scheduler, |state| text(state, &rules.replace("-s sh", scheduler)))
        };
        assert!(text_of("-s sh", &limited).starts_with(
            "# TCP 192.0.2.1:80: 50.0 % of new clients are refused: sh without sh-fallback also selects servers that are full\n"
        ));
        assert_eq!(text_of("-s wlc", &limited), "");
        let all = limited.replace("10.0.0.2 -m -w 1", "10.0.0.2 -m -w 1 -x 5");
        let refused = "# TCP 192.0.2.1:80: every new client is refused: all servers with a weight above 0 are full\n";
        assert_eq!(text_of("-s wlc", &all), refused);
        assert!(text_of("-s lblc", &all).starts_with("# TCP 192.0.2.1:80: 0 to 100.0 % of new clients are refused: "));
    }

    fn sh_with<T>(state: &State, scheduler: &str, act: impl FnOnce(&State) -> T) -> T {
        let mut state = state.clone();
        state.services[0].service.scheduler = scheduler.trim_start_matches("-s ").parse().expect("a scheduler");
        act(&state)
    }

    #[test]
    fn persistence_keeps_clients() {
        let mut rr = table(&rules("-s rr -p 300", &[1; 2]));
        rr.services[0].destinations[0].persistent_connections = 2;
        let mut effects = effects(&rr, &rules("-s rr -p 300", &[0, 0]), NO_LIMITS);
        for (keep, expected) in [
            (
                Some(true),
                "keep connecting to it as long as they return within 300 s (net.ipv4.vs.expire_quiescent_template is 0)",
            ),
            (Some(false), "are scheduled as new clients (net.ipv4.vs.expire_quiescent_template is 1)"),
            (
                None,
                "keep connecting to it as long as they return within 300 s if net.ipv4.vs.expire_quiescent_template is 0, \
                 and are scheduled as new clients if it is 1",
            ),
        ] {
            effects.persistent_clients[0].keep_connecting = keep;
            let mut out = Vec::new();
            effects.write_text(&mut out, &Palette::default()).expect("memory takes all");
            assert_eq!(
                String::from_utf8(out).expect("text"),
                format!(
                    "# TCP 192.0.2.1:80: every new client is refused: all servers have weight 0\n\
                     # TCP 192.0.2.1:80: 10.0.0.2:80 gets weight 0; the clients of 2 persistence templates {expected}\n"
                )
            );
        }
        assert_eq!(effects.persistent_clients.len(), 1, "the other server has no templates");
    }

    #[test]
    fn estimates_stop_at_their_limits() {
        let service = "-s mh -b mh-fallback";
        let (state, drained) = (table(&rules(service, &[1; 4])), rules(service, &[1, 1, 1, 0]));
        let remapped = |limits| effects(&state, &drained, limits).remapped_clients.remove(0);
        let whole = remapped(NO_LIMITS);
        assert!(whole.estimated_from.is_none() && (whole.share - 0.25).abs() < 0.02, "{whole:?}");
        // One part is compared in any case.
        let part = remapped(Limits { service: Duration::ZERO, ..NO_LIMITS });
        assert!(part.estimated_from == Some(2048) && (part.share - 0.25).abs() < 0.05, "{part:?}");
        let mut out = Vec::new();
        part.write_text(&mut out, &Palette::default(), "of new clients get another server").expect("memory takes all");
        let line = String::from_utf8(out).expect("text");
        assert!(line.starts_with("# TCP 192.0.2.1:80: about 2"), "{line}");
        assert!(line.ends_with(" % of new clients get another server (estimated from 2048 clients)\n"), "{line}");
        for limits in [Limits { plan: Duration::ZERO, ..NO_LIMITS }, Limits { servers: 3, ..NO_LIMITS }] {
            let clients_not_estimated = vec!["TCP 192.0.2.1:80".to_owned()];
            let effects = effects(&state, &drained, limits);
            assert_eq!(effects, ClientEffects { clients_not_estimated, ..ClientEffects::default() });
            let mut out = Vec::new();
            effects.write_text(&mut out, &Palette::default()).expect("memory takes all");
            assert!(
                String::from_utf8(out).expect("text").starts_with("# 1 service with a hashing scheduler: the effects")
            );
        }
    }

    #[test]
    fn percentages_are_not_rounded_to_all_or_nothing() {
        let rounded = |percent| rounded(percent, 1);
        assert_eq!(
            [0.0, 0.02, 33.64, 99.98, 100.0].map(rounded),
            ["0", "less than 0.1", "33.6", "more than 99.9", "100.0"]
        );
    }
}
