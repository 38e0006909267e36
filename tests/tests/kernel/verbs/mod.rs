//! The verbs of `ipvsadm-rs`, run from the command line.

mod apply;
mod arguments;
mod changing;
mod check;
mod check_live;
pub(crate) mod confirm;
mod connections;
pub(crate) mod drain;
mod history;
mod kills;
mod large;
mod limits;
mod maintenance;
pub(crate) mod metrics;
mod monitor;
mod numbers;
mod parallel;
mod plan;
mod rs_setup;
mod save;
mod saved;
mod scope;
mod set;
mod show;
mod top;
mod undo;

use std::fs;

use ipvs_tests::command::{ok, shell};
use ipvs_tests::harness::Test;

use crate::under_test;

/// Returns the tests of all verbs.
pub(crate) fn tests() -> Vec<Test> {
    [
        plan::tests(),
        apply::tests(),
        arguments::tests(),
        scope::tests(),
        drain::tests(),
        confirm::tests(),
        history::tests(),
        kills::tests(),
        limits::tests(),
        maintenance::tests(),
        monitor::tests(),
        saved::tests(),
        parallel::tests(),
        undo::tests(),
        save::tests(),
        check::tests(),
        check_live::tests(),
        show::tests(),
        connections::tests(),
        metrics::tests(),
        metrics::server::tests(),
        top::tests(),
        changing::tests(),
        large::tests(),
        numbers::tests(),
        metrics::prometheus::tests(),
        set::tests(),
        rs_setup::tests(),
    ]
    .concat()
}

/// Rules of a service with two real servers.
pub(crate) const WEB: &str = "\
-A -t 192.0.2.1:80 -s wrr
-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -m -w 3
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 1 -x 100 -y 50
";

/// Installs our programs and restores these rules. The journal stays empty.
pub(crate) fn director(rules: &str) {
    under_test::install();
    write("rules", rules);
    shell("IPVSADM_HISTORY=no ipvsadm-restore < rules").ok();
}

/// Writes a file in the test's working directory.
pub(crate) fn write(name: &str, text: &str) {
    fs::write(name, text).unwrap();
}

/// Returns the director's rules.
pub(crate) fn rules() -> String {
    ok("ipvsadm-save -n")
}
