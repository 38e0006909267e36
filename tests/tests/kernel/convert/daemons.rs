//! Runs a daemon with a configuration, and compares the table with it.

use std::time::Duration;

use ipvs_tests::command::{Running, ok, run};
use ipvs_tests::wait;

/// Time limit for a daemon to make the table. ldirectord reads two listings for each change.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the daemon with an empty table, and waits until the table matches the file. All checks are up, or there are
/// none.
#[track_caller]
pub(super) fn compare(file: &str, options: &str, patience: Duration, start: impl FnOnce() -> Running) {
    ok("ipvsadm -C");
    let converted = ok(&format!("ipvsadm-rs convert {options} {file}"));
    assert!(converted.contains("-A "), "{file} has no services: {converted}");
    let mut daemon = start();
    wait::until(PATIENCE, || {
        let ran = run(&format!("ipvsadm-rs diff {options} {file}"));
        match ran.code {
            Some(0) if !ran.stdout.contains("maybe down") => Ok(()),
            _ if !daemon.is_running() => panic!("{file}: the daemon ended\n{ran}\n{}", daemon.output()),
            _ => Err(format!("{file}\n{ran}\nconverted:\n{converted}\noutput of the daemon:\n{}", daemon.output())),
        }
    });
    daemon.stop(patience);
}
