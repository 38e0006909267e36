//! Reports: the state of each director, written to a key or an URL for the others and for `fleet`.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::follower::Event;
use super::status::Status;
use crate::journal::now_text;
use crate::store::{Snapshot, Store, StoredDocument};
use crate::terminal::text;

/// The report of a director.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    pub(crate) status: Status,
    /// Counts the reports of this director, so that readers see that it still writes some. Their clocks may differ.
    pub(crate) beat: u64,
    /// The time at which it was written, in the form of RFC 3339.
    pub(crate) written: String,
    /// The maximum time between two reports, in seconds.
    pub(crate) interval: u32,
    /// The table as rules, to compare directors. Absent if it is longer than [`MOST_RULES`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<String>,
}

/// The maximum length of the rules in a report, in bytes. etcd refuses values of more than 1.5 MiB, and Consul those of
/// more than 512 KiB.
pub(crate) const MOST_RULES: usize = 256 * 1024;

/// The maximum time between two reports, and between two readings of the others.
const INTERVAL: Duration = Duration::from_secs(5);

/// The thread that writes and reads reports.
pub(super) struct Reporter {
    reports: Sender<(Status, Option<String>)>,
}

impl Reporter {
    /// Starts the thread. It sends the reports of the others if `reads` is set.
    pub(super) fn start(store: Box<dyn Store>, events: Sender<Event>, reads: bool) -> anyhow::Result<Self> {
        let (reports, received) = mpsc::channel();
        let work = move || work(store, &received, &events, reads);
        thread::Builder::new().name("reports".into()).spawn(work).context("cannot start a thread")?;
        Ok(Self { reports })
    }

    /// Writes a report soon. An earlier one that was not written yet is dropped.
    pub(super) fn write(&self, status: Status, rules: Option<String>) {
        // The thread ends only with the process.
        let _ = self.reports.send((status, rules.filter(|rules| rules.len() <= MOST_RULES)));
    }
}

fn work(mut store: Box<dyn Store>, received: &Receiver<(Status, Option<String>)>, events: &Sender<Event>, reads: bool) {
    let mut last: Option<Report> = None;
    let mut next = Instant::now();
    let mut failed = None;
    loop {
        match received.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(first) => {
                let (status, rules) = received.try_iter().last().unwrap_or(first);
                let beat = last.as_ref().map_or_else(first_beat, |last| last.beat);
                last =
                    Some(Report { status, beat, written: String::new(), interval: INTERVAL.as_secs() as u32, rules });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        next = Instant::now() + INTERVAL;
        let written = last.as_mut().map_or(Ok(()), |report| {
            report.beat += 1;
            report.written = now_text();
            let bytes = serde_json::to_vec(report)?;
            store.write(&report.status.host, &bytes)
        });
        let read = if reads { store.read().map(Some) } else { Ok(None) };
        let event = match (written, read) {
            (Err(error), _) | (_, Err(error)) => {
                let error = format!("{error:#}");
                if failed.as_ref() == Some(&error) {
                    continue;
                }
                failed = Some(error.clone());
                Event::ReportFailed(error)
            }
            (Ok(()), Ok(None)) => continue,
            (Ok(()), Ok(Some(snapshot))) => {
                failed = None;
                Event::Reports(parse(&snapshot).into_iter().filter_map(Result::ok).collect())
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
}

/// Returns the first beat of this process. An earlier process of the same host had other ones.
fn first_beat() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_secs()
}

/// Returns the reports in a snapshot. Those that cannot be read are errors with the name of their document.
pub(crate) fn parse(snapshot: &Snapshot) -> Vec<anyhow::Result<Report>> {
    let read = |document: &StoredDocument| {
        let name = document.name.rsplit('/').next().unwrap_or_default();
        let report: Report = serde_json::from_slice(&document.bytes)
            .with_context(|| format!("{} is not a report", text::escaped(&document.name)))?;
        anyhow::ensure!(report.status.host == name, "{} is the report of another host", text::escaped(&document.name));
        Ok(report)
    };
    snapshot.documents.iter().map(read).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::verbs::follow::revision::{Digest, RevisionId};
    use crate::verbs::follow::status::{Applied, Phase};

    /// Returns a report about a revision.
    pub(in crate::verbs::follow) fn report(host: &str, digest: &Digest, phase: Phase, beat: u64) -> Report {
        let id = RevisionId { revision: "7".to_owned(), digest: digest.clone() };
        let time = "2026-01-02T03:04:05Z".to_owned();
        let status = Status {
            schema: 1,
            host: host.to_owned(),
            source: "etcd://h/x".to_owned(),
            time: time.clone(),
            phase,
            reason: Some("because".to_owned()),
            wanted: Some(id.clone()),
            applied: Some(Applied { id, time, plan: None }),
            drift: None,
            draining: 0,
            drained: 0,
            store_error: None,
            report_error: None,
        };
        Report { status, beat, written: "2026-01-02T03:04:05Z".to_owned(), interval: 5, rules: None }
    }

    #[test]
    fn reports_are_parsed() {
        let good = report("lb1", &Digest::from("1"), Phase::Good, 1);
        let bytes = serde_json::to_vec(&good).expect("JSON");
        let document = |name: &str, bytes: &[u8]| StoredDocument { name: name.to_owned(), bytes: bytes.to_vec() };
        let documents = vec![document("/r/lb1", &bytes), document("/r/lb2", &bytes), document("/r/lb3", b"{}")];
        let parsed = parse(&Snapshot::new(None, documents).expect("few"));
        assert_eq!(parsed[0].as_ref().expect("a report"), &good);
        assert!(parsed[1].as_ref().is_err_and(|error| error.to_string() == "/r/lb2 is the report of another host"));
        assert!(parsed[2].as_ref().is_err_and(|error| error.to_string() == "/r/lb3 is not a report"));
    }
}
