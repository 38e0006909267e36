//! The two sides of a case: the reference and ours, one after the other in the same place.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipvs_sys::Socket;

use super::actions::Traffic;
use super::case::Case;
use super::shell::{Outcome, run};
use super::table::table;
use crate::net::netns::Netns;

/// Where cases run: an empty folder, of the same name on both sides.
const FOLDER: &str = "/run/work/case";

/// The only names there are, so that no machine's own and no DNS is in the answers.
const NAMES: [(&str, &str); 5] = [
    ("hosts", include_str!("../../names/hosts")),
    ("services", include_str!("../../names/services")),
    ("nsswitch.conf", include_str!("../../names/nsswitch.conf")),
    ("host.conf", "multi on\n"),
    // Nobody. A static program asks, whatever nsswitch.conf says, and is to give up soon.
    ("resolv.conf", "options timeout:1 attempts:1\n"),
];

/// What one side did with a case.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// For each step what it did.
    pub outcomes: Vec<Outcome>,
    /// What the kernel holds in the end.
    pub table: String,
}

impl Transcript {
    /// A reference that nobody asked: the same, but for how its commands end.
    pub fn unknown(&self) -> Transcript {
        let unknown = |outcome: &Outcome| Outcome { end: "not asked".to_owned(), ..outcome.clone() };
        Transcript { outcomes: self.outcomes.iter().map(unknown).collect(), table: self.table.clone() }
    }
}

/// Puts the names in place of the machine's.
pub fn write_names() -> Result<()> {
    for (name, text) in NAMES {
        let path = Path::new("/etc").join(name);
        // It may be a link to somewhere else.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Waits until every sync daemon's thread has begun to run: to stop one before is not answered, and the reference would
/// wait for ever. ip_vs_genl_set_cmd returns the EINTR of kthread_stop, and netlink_rcv_skb sends no answer for that.
pub fn settled() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        let processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path().join("stat"));
        // A thread that waits, idle or asleep, as it does from its first moment on.
        let states = processes.filter_map(|path| fs::read_to_string(path).ok());
        let waits = |stat: &String| stat.contains(") S ") || stat.contains(") I ");
        let of_sync = |stat: &String| ["(ipvs-m:", "(ipvs-b:"].iter().any(|name| stat.contains(name));
        if states.filter(of_sync).all(|stat| waits(&stat)) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Runs a case with the program that is installed, in a network namespace of its own.
pub fn transcript(side: &str, case: &Case) -> Result<Transcript> {
    let _ = fs::remove_dir_all(FOLDER);
    fs::create_dir_all(FOLDER)?;
    std::env::set_current_dir(FOLDER)?;
    Netns::new(side)?.enter(|| {
        let mut traffic = Traffic::default();
        let mut outcomes = Vec::new();
        for step in &case.steps {
            let outcome = match step.typed.strip_prefix('%') {
                Some(line) => Outcome {
                    stdout: traffic.run(line).with_context(|| format!("{side}: {}", step.typed))?,
                    end: "exit 0".to_owned(),
                    ..Outcome::default()
                },
                None => run(&step.typed, case.limit).with_context(|| format!("{side}: {}", step.typed))?,
            };
            if step.typed.contains("--start-daemon") {
                settled()?;
            }
            outcomes.push(outcome);
        }
        Ok(Transcript { outcomes, table: table(&mut Socket::open()?)? })
    })
}
