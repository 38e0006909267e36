//! Runs a case on one side. The reference and our program run one after the other in the same directory.

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

/// The working directory of a case. It is empty, and has the same name on both sides, because it may be printed.
const FOLDER: &str = "/run/work/case";

/// The only host and service names in a guest. Neither the machine's own names nor DNS may influence an output.
const NAMES: [(&str, &str); 5] = [
    ("hosts", include_str!("../../names/hosts")),
    ("services", include_str!("../../names/services")),
    ("nsswitch.conf", include_str!("../../names/nsswitch.conf")),
    ("host.conf", "multi on\n"),
    // No server. A static program queries DNS in spite of nsswitch.conf, and must fail soon.
    ("resolv.conf", "options timeout:1 attempts:1\n"),
];

/// The outputs and the final table of one side.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The outcomes, one for each step.
    pub outcomes: Vec<Outcome>,
    /// The kernel's table at the end, as text.
    pub table: String,
}

impl Transcript {
    /// Returns a copy to use in place of the transcript of a reference that did not run. The exit status of each
    /// command is unknown.
    pub fn unknown(&self) -> Transcript {
        let unknown = |outcome: &Outcome| Outcome { end: "not run".to_owned(), ..outcome.clone() };
        Transcript { outcomes: self.outcomes.iter().map(unknown).collect(), table: self.table.clone() }
    }
}

/// Replaces the machine's files of names in /etc.
pub fn write_names() -> Result<()> {
    for (name, text) in NAMES {
        let path = Path::new("/etc").join(name);
        // It may be a link to another directory.
        let _ = fs::remove_file(&path);
        fs::write(&path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Waits until the thread of every sync daemon runs, for at most 10 s. A request to stop one before that is never
/// acknowledged, so the reference would wait forever. `ip_vs_genl_set_cmd` returns the EINTR of `kthread_stop`, and
/// `netlink_rcv_skb` does not acknowledge a request that fails with EINTR.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netlink/af_netlink.c>
pub fn wait_for_sync_threads() -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let processes = fs::read_dir("/proc")?.flatten().map(|entry| entry.path().join("stat"));
        // A thread that has begun to run sleeps or is idle.
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

/// Runs a case with the installed program in a network namespace of its own.
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
                wait_for_sync_threads()?;
            }
            outcomes.push(outcome);
        }
        Ok(Transcript { outcomes, table: table(&mut Socket::open()?)? })
    })
}
