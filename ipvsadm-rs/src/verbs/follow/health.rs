//! The health of a director after a revision was applied: a command or URL, and the new connections of its services.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use ipvs::{ServiceKey, State};
use rustix::process::{Pid, Signal, kill_process_group};

use super::ROLLOUT;
use super::follower::Event;
use crate::context::{duration, positive_duration};
use crate::file::limit::Limit;
use crate::store::{self, Location, StoreArguments};

#[derive(Args, Clone, Debug)]
pub(super) struct HealthArguments {
    /// After applying a revision, run COMMAND with `sh -c`, or request URL; a failure means bad health
    ///
    /// It is repeated every --health-interval during --good-after. Three failures in a row are bad health. A command
    /// fails if it takes longer than 10s. Its environment contains IPVSADM_REVISION. URL is http:// or https://. A
    /// request has no token or password, and fails if the status is not 200.
    #[arg(long, help_heading = ROLLOUT, value_name = "COMMAND|URL")]
    pub(super) health: Option<Check>,
    /// Time between two runs of --health
    #[arg(long, help_heading = ROLLOUT, value_name = "DURATION", value_parser = positive_duration, default_value = "5s")]
    pub(super) health_interval: Duration,
    /// Report a revision as good when DURATION has passed in good health; 0s reports it at once
    ///
    /// Bad health rolls the table back to the last good revision. So does a service that had new connections in each of
    /// the two minutes before, and has none during DURATION; for this, DURATION must be at least 20s.
    #[arg(long, help_heading = ROLLOUT, value_name = "DURATION", value_parser = duration, default_value = "0s", default_value_if("health", clap::builder::ArgPredicate::IsPresent, "30s"))]
    pub(super) good_after: Duration,
}

/// A check of the health.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Command(String),
    Url(Location),
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the command is empty".to_owned());
        }
        match text.starts_with("http://") || text.starts_with("https://") {
            true => text.parse().map(Self::Url),
            false => Ok(Self::Command(text.to_owned())),
        }
    }
}

/// The number of failures in a row that are bad health.
const FAILURES: u32 = 3;

/// The time limit of a command.
const LIMIT: Duration = Duration::from_secs(10);

/// The minimum time without new connections that is bad health.
pub(super) const SILENCE: Duration = Duration::from_secs(20);

/// Makes a check once, in a thread. Sends the result.
pub(super) fn check(check: &Check, store: &StoreArguments, revision: &str, events: Sender<Event>) {
    let (check, store, revision) = (check.clone(), store.clone(), revision.to_owned());
    let run = move || {
        let result = match &check {
            Check::Command(command) => run(command, &revision),
            Check::Url(location) => request(location, &store),
        };
        let _ = events.send(Event::Health(result.map_err(|error| format!("{error:#}"))));
    };
    // Without a thread, there is no result, and the health is checked again later.
    let _ = thread::Builder::new().name("health".into()).spawn(run);
}

fn request(location: &Location, store: &StoreArguments) -> anyhow::Result<()> {
    let page = store::open(location, store, Limit::default())?.read()?;
    anyhow::ensure!(!page.documents.is_empty(), "{location}: not found");
    Ok(())
}

fn run(command: &str, revision: &str) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .env("IPVSADM_REVISION", revision)
        .stdin(Stdio::null())
        // The output of the command is in the log, next to the messages of this process.
        .process_group(0)
        .spawn()
        .context("cannot run /bin/sh")?;
    let end = Instant::now() + LIMIT;
    loop {
        match child.try_wait().context("cannot wait for the command")? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("the command of --health failed: {status}"),
            None if Instant::now() > end => {
                // All processes that the command started.
                let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                group.map(|group| kill_process_group(group, Signal::KILL));
                let _ = child.wait();
                bail!("the command of --health took longer than {}", humantime::format_duration(LIMIT));
            }
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// The checks of one revision.
#[derive(Debug)]
pub(super) struct Checking {
    pub(super) since: Duration,
    /// The time of the next run of the command.
    pub(super) next: Duration,
    /// The command is running. No second one is started.
    pub(super) is_running: bool,
    failures: u32,
    /// The services that had new connections before, with their counters when the revision was applied.
    busy: HashMap<ServiceKey, u64>,
}

impl Checking {
    pub(super) fn new(now: Duration, busy: HashMap<ServiceKey, u64>) -> Self {
        Self { since: now, next: now, is_running: false, failures: 0, busy }
    }

    /// Records a result of the command. Returns the reason if the health is bad.
    pub(super) fn record(&mut self, result: Result<(), String>) -> Option<String> {
        self.is_running = false;
        match result {
            Ok(()) => {
                self.failures = 0;
                None
            }
            Err(reason) => {
                self.failures += 1;
                (self.failures >= FAILURES).then_some(reason)
            }
        }
    }

    /// Returns whether the command has failed since it last succeeded.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Returns the reason if a service that was busy before has had no new connection since.
    pub(super) fn silent(&self, state: &State, now: Duration) -> Option<String> {
        let silence = now.saturating_sub(self.since);
        if silence < SILENCE {
            return None;
        }
        let counters = connections(state);
        let mut silent: Vec<ServiceKey> = self
            .busy
            .iter()
            .filter(|(key, before)| counters.get(key).is_some_and(|after| after == *before))
            .map(|(key, _)| *key)
            .collect();
        silent.sort_unstable();
        let first = silent.first()?;
        let seconds = silence.as_secs();
        Some(format!("{first} had new connections before, and none in {seconds} s since"))
    }
}

/// The counters of new connections in the past, to know the services that are always busy.
#[derive(Debug, Default)]
pub(super) struct Past {
    samples: Vec<(Duration, HashMap<ServiceKey, u64>)>,
}

impl Past {
    /// The time between two samples.
    pub(super) const INTERVAL: Duration = Duration::from_secs(20);
    /// The number of samples: those of two minutes.
    const SAMPLES: usize = 7;

    /// Returns whether a sample is due.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.samples.last().is_none_or(|(at, _)| now >= *at + Self::INTERVAL)
    }

    pub(super) fn record(&mut self, state: &State, now: Duration) {
        if self.samples.len() >= Self::SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push((now, connections(state)));
    }

    /// Returns the services that had new connections between all samples of two minutes, with their counters in `state`.
    pub(super) fn busy(&self, state: &State) -> HashMap<ServiceKey, u64> {
        if self.samples.len() < Self::SAMPLES {
            return HashMap::new();
        }
        let mut now = connections(state);
        now.retain(|key, _| {
            self.samples.windows(2).all(|pair| match (pair[0].1.get(key), pair[1].1.get(key)) {
                (Some(before), Some(after)) => after > before,
                _ => false,
            })
        });
        now
    }
}

/// Returns the number of connections of each service so far.
fn connections(state: &State) -> HashMap<ServiceKey, u64> {
    state.services.iter().map(|service| (service.service.key, service.stats.connections)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::state;

    const SECOND: Duration = Duration::from_secs(1);

    fn with_connections(number: u64) -> State {
        let mut state = state("-A -t 192.0.2.1:80 -s rr\n");
        state.services[0].stats.connections = number;
        state
    }

    #[test]
    fn three_failures_are_bad_health() {
        let mut checking = Checking::new(SECOND, HashMap::new());
        let failure = || Err("no".to_owned());
        assert_eq!([checking.record(failure()), checking.record(failure())], [None, None]);
        assert!(checking.is_failing());
        assert_eq!([checking.record(Ok(())), checking.record(failure())], [None, None]);
        assert_eq!([checking.record(failure()), checking.record(failure())], [None, Some("no".to_owned())]);
    }

    #[test]
    fn silence_is_bad_health_of_busy_services() {
        let mut past = Past::default();
        for sample in 0..6 {
            past.record(&with_connections(10 * sample), Past::INTERVAL * u32::try_from(sample).expect("small"));
        }
        assert!(past.busy(&with_connections(60)).is_empty(), "less than two minutes");
        past.record(&with_connections(60), Past::INTERVAL * 6);
        let busy = past.busy(&with_connections(61));
        assert_eq!(busy.len(), 1);
        let checking = Checking::new(1000 * SECOND, busy);
        assert_eq!(checking.silent(&with_connections(61), 1019 * SECOND), None, "too early");
        let reason = checking.silent(&with_connections(61), 1020 * SECOND).expect("silence");
        assert_eq!(reason, "TCP 192.0.2.1:80 had new connections before, and none in 20 s since");
        assert_eq!(checking.silent(&with_connections(62), 1020 * SECOND), None);
        // A pause in the past.
        past.record(&with_connections(60), Past::INTERVAL * 7);
        assert!(past.busy(&with_connections(61)).is_empty());
    }

    #[test]
    fn commands_have_a_result() {
        run("test \"$IPVSADM_REVISION\" = 7", "7").expect("success");
        assert_eq!(
            run("exit 3", "").expect_err("a failure").to_string(),
            "the command of --health failed: exit status: 3"
        );
    }
}
