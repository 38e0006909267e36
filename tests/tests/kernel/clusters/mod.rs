//! Directors as nodes of clusters, set up as their users do it. All need Debian packages, so `cargo kernel clusters`
//! runs them with `--include-ignored`.
//!
//! | | |
//! |---|---|
//! | the resource agent under Pacemaker and Corosync | `pacemaker` |
//! | nodes that hang, and nodes without quorum | `fencing`, `three_nodes` |
//! | the shells of clusters, with the commands of docs/operations.md | `pcs`, `crmsh` |

mod crmsh;
mod fencing;
mod pacemaker;
mod pair;
mod pcs;
mod three_nodes;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [pacemaker::tests(), fencing::tests(), three_nodes::tests(), pcs::tests(), crmsh::tests()].concat()
}
