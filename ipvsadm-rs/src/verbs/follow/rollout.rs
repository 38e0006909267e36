//! Rollouts without a leader: a director applies a revision after others have reported it good.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::ROLLOUT;
use super::bounds::Percent;
use super::pace::share_of_host;
use super::report::Report;
use super::revision::Digest;
use super::status::Phase;
use crate::terminal::text;

#[derive(Args, Clone, Debug)]
pub(super) struct Rollout {
    /// Apply a revision only after HOST has reported it good; separated by commas; can be repeated
    ///
    /// HOST is the name of a director in its report. Needs --report.
    #[arg(long, help_heading = ROLLOUT, value_name = "HOST", value_delimiter = ',', requires = "report")]
    after: Vec<String>,
    /// Directors that apply a revision first; the others wait until all of them have reported it good
    ///
    /// Use the same value on all directors. HOST is that of --after. Needs --report.
    #[arg(long, help_heading = ROLLOUT, value_name = "HOST", value_delimiter = ',', requires = "report", conflicts_with = "canary_percent")]
    canary_group: Vec<String>,
    /// Share of the directors that apply a revision first, chosen by a hash of their names
    ///
    /// The others wait until each of these directors that writes reports has reported it good. There must be at least
    /// one. Use the same value on all directors. Needs --report.
    #[arg(long, help_heading = ROLLOUT, value_name = "PERCENT", requires = "report")]
    canary_percent: Option<Percent>,
}

/// The decision about a revision.
#[derive(Debug, PartialEq)]
pub(super) enum Gate {
    Open,
    /// Other directors have to report first. The text names them.
    Closed(String),
    /// A director reported the revision bad.
    Bad(String),
}

/// The reports of other directors, as this one has seen them.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<String, SeenReport>);

#[derive(Debug)]
struct SeenReport {
    report: Report,
    /// The time at which the beat of the report changed last, by the clock of this director.
    at: Duration,
}

/// A report whose beat has not changed for so many intervals is outdated.
const MISSED_BEATS: u32 = 3;

impl Seen {
    /// Records the reports of a reading.
    pub(super) fn record(&mut self, reports: Vec<Report>, now: Duration) {
        let mut former = std::mem::take(&mut self.0);
        for report in reports {
            let seen = match former.remove(&report.status.host) {
                Some(seen) if seen.report.beat == report.beat => SeenReport { report, at: seen.at },
                _ => SeenReport { report, at: now },
            };
            self.0.insert(seen.report.status.host.clone(), seen);
        }
    }

    /// Returns the report of a director, unless it is outdated.
    fn fresh(&self, host: &str, now: Duration) -> Option<&Report> {
        let seen = self.0.get(host)?;
        let limit = Duration::from_secs(seen.report.interval.into()) * MISSED_BEATS;
        (now < seen.at + limit).then_some(&seen.report)
    }
}

impl Report {
    fn is_about(&self, digest: &Digest) -> bool {
        self.status.wanted.as_ref().is_some_and(|wanted| wanted.digest == *digest)
    }

    fn is_good(&self, digest: &Digest) -> bool {
        let applied = self.status.applied.as_ref().is_some_and(|applied| applied.id.digest == *digest);
        applied && self.status.phase == Phase::Good
    }

    fn is_bad(&self, digest: &Digest) -> bool {
        self.is_about(digest) && self.status.phase == Phase::Bad
    }
}

impl Rollout {
    /// Returns whether other directors have to apply revisions first.
    pub(super) fn is_needed(&self) -> bool {
        !self.after.is_empty() || !self.canary_group.is_empty() || self.canary_percent.is_some()
    }

    /// Decides about a revision.
    pub(super) fn gate(&self, host: &str, digest: &Digest, seen: &Seen, now: Duration) -> Gate {
        if !self.is_needed() {
            return Gate::Open;
        }
        if let Some(bad) = seen.0.values().find(|seen| seen.report.is_bad(digest)) {
            let Report { status, .. } = &bad.report;
            let reason = status.reason.as_deref().unwrap_or_default();
            return Gate::Bad(format!("{} reports it bad: {}", text::escaped(&status.host), text::escaped(reason)));
        }
        let is_good = |host: &str| seen.fresh(host, now).is_some_and(|report| report.is_good(digest));
        let waits_for: Vec<&str> = self.first(host, seen).into_iter().filter(|first| !is_good(first)).collect();
        match &*waits_for {
            [] if self.has_no_canary(host, seen) => Gate::Closed("no director of --canary-percent reports".to_owned()),
            [] => Gate::Open,
            hosts => Gate::Closed(format!("waiting for {}", listed(hosts))),
        }
    }

    /// Returns the directors that apply a revision before this one.
    fn first<'s>(&'s self, host: &str, seen: &'s Seen) -> Vec<&'s str> {
        let mut first: Vec<&str> = self.after.iter().map(String::as_str).collect();
        if !self.canary_group.iter().any(|canary| canary == host) {
            first.extend(self.canary_group.iter().map(String::as_str));
        }
        if !self.is_canary(host) {
            first.extend(seen.0.keys().map(String::as_str).filter(|other| self.is_canary(other)));
        }
        first.retain(|other| *other != host);
        first.sort_unstable();
        first.dedup();
        first
    }

    /// Returns whether a director is one of the share that applies first.
    fn is_canary(&self, host: &str) -> bool {
        self.canary_percent.is_some_and(|share| share_of_host(host) * 100.0 < share.number())
    }

    fn has_no_canary(&self, host: &str, seen: &Seen) -> bool {
        self.canary_percent.is_some() && !self.is_canary(host) && !seen.0.keys().any(|other| self.is_canary(other))
    }
}

/// Returns the first names, and the number of the others.
fn listed(hosts: &[&str]) -> String {
    const MOST: usize = 3;
    let names: Vec<_> = hosts.iter().take(MOST).map(|host| text::escaped(host)).collect();
    let others = hosts.len().saturating_sub(MOST);
    let others = if others > 0 { format!(" and {others} more") } else { String::new() };
    format!("{}{others}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::follow::report::tests::report;

    const SECOND: Duration = Duration::from_secs(1);

    fn rollout(after: &[&str], group: &[&str], percent: Option<&str>) -> Rollout {
        let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        Rollout {
            after: owned(after),
            canary_group: owned(group),
            canary_percent: percent.map(|percent| percent.parse().expect("a share")),
        }
    }

    fn closed(text: &str) -> Gate {
        Gate::Closed(text.to_owned())
    }

    #[test]
    fn others_come_first() {
        let mut seen = Seen::default();
        let (new, old) = (Digest::from("2"), Digest::from("1"));
        let gate = |rollout: &Rollout, seen: &Seen, now: u32| rollout.gate("lb3", &new, seen, now * SECOND);
        let after = rollout(&["lb1", "lb2"], &[], None);
        assert_eq!(gate(&rollout(&[], &[], None), &seen, 0), Gate::Open);
        assert_eq!(gate(&after, &seen, 0), closed("waiting for lb1, lb2"));
        seen.record(vec![report("lb1", &new, Phase::Good, 1), report("lb2", &old, Phase::Good, 1)], SECOND);
        assert_eq!(gate(&after, &seen, 1), closed("waiting for lb2"));
        seen.record(vec![report("lb1", &new, Phase::Good, 2), report("lb2", &new, Phase::Checking, 2)], 2 * SECOND);
        assert_eq!(gate(&after, &seen, 2), closed("waiting for lb2"));
        seen.record(vec![report("lb1", &new, Phase::Good, 3), report("lb2", &new, Phase::Good, 3)], 3 * SECOND);
        assert_eq!(gate(&after, &seen, 3), Gate::Open);
        // The same beats again: these directors have stopped.
        seen.record(vec![report("lb1", &new, Phase::Good, 3), report("lb2", &new, Phase::Good, 4)], 30 * SECOND);
        assert_eq!(gate(&after, &seen, 34), closed("waiting for lb1"));
        seen.record(vec![report("lb9", &new, Phase::Bad, 1)], 35 * SECOND);
        assert_eq!(gate(&after, &seen, 35), Gate::Bad("lb9 reports it bad: because".to_owned()));
        assert_eq!(gate(&rollout(&[], &[], None), &seen, 35), Gate::Open, "no rollout");
    }

    #[test]
    fn canaries_come_first() {
        let (new, mut seen) = (Digest::from("2"), Seen::default());
        let group = rollout(&[], &["lb1", "lb2"], None);
        assert_eq!(group.gate("lb1", &new, &seen, SECOND), Gate::Open, "a canary");
        assert_eq!(group.gate("lb3", &new, &seen, SECOND), closed("waiting for lb1, lb2"));
        let share = rollout(&[], &[], Some("10%"));
        let hosts: Vec<String> = (0..100).map(|number| format!("lb{number}")).collect();
        let (canaries, others): (Vec<&String>, Vec<&String>) = hosts.iter().partition(|host| share.is_canary(host));
        assert!((3..25).contains(&canaries.len()), "{canaries:?}");
        assert_eq!(share.gate(canaries[0], &new, &seen, SECOND), Gate::Open);
        assert_eq!(share.gate(others[0], &new, &seen, SECOND), closed("no director of --canary-percent reports"));
        seen.record(hosts.iter().map(|host| report(host, &Digest::from("1"), Phase::Good, 1)).collect(), SECOND);
        assert!(matches!(share.gate(others[0], &new, &seen, SECOND), Gate::Closed(_)));
        seen.record(canaries.iter().map(|host| report(host, &new, Phase::Good, 2)).collect(), SECOND);
        assert_eq!(share.gate(others[0], &new, &seen, SECOND), Gate::Open);
    }
}
