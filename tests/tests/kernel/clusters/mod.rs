//! Directors as nodes of clusters, set up as their users do it. All need Debian packages, so `cargo kernel clusters`
//! runs them with `--include-ignored`.
//!
//! | | |
//! |---|---|
//! | the resource agent under Pacemaker and Corosync | `pacemaker` |
//! | nodes that hang, and nodes without quorum | `fencing`, `three_nodes` |
//! | the table on all nodes | `clone` |
//! | ldirectord as a resource | `ldirectord` |
//! | the shells of clusters, with the commands of docs/operations.md | `pcs`, `crmsh` |

mod clone;
mod crmsh;
mod fencing;
mod ldirectord;
mod pacemaker;
mod pair;
mod pcs;
mod three_nodes;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [
        pacemaker::tests(),
        fencing::tests(),
        three_nodes::tests(),
        clone::tests(),
        ldirectord::tests(),
        pcs::tests(),
        crmsh::tests(),
    ]
    .concat()
}
