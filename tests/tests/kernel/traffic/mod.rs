//! Tests with real packets: clients, directors and servers in namespaces, set up with our `ipvsadm` as by an operator.
//! `cargo kernel traffic` runs them; `--include-ignored` adds those that need a Debian package.
//!
//! | | |
//! |---|---|
//! | the three forwarding methods, IPv4 and IPv6 | `nat`, `dr`, `tun` |
//! | servers that need no route back | `fullnat` |
//! | the choice of the server | `schedulers`, `hashes`, `persistence`, `fwmark` |
//! | servers that are drained or deleted | `draining` |
//! | the effects of a change on clients | `costs` |
//! | SCTP, FTP, SIP | `protocols` |
//! | two directors | `sync`, `keepalived` |

mod costs;
mod dr;
mod draining;
pub(crate) mod fullnat;
mod fwmark;
mod hashes;
mod keepalived;
mod nat;
mod persistence;
mod protocols;
mod schedulers;
mod sync;
mod tun;

use ipvs_tests::harness::Test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [
        nat::tests(),
        dr::tests(),
        tun::tests(),
        fullnat::tests(),
        fwmark::tests(),
        schedulers::tests(),
        hashes::tests(),
        costs::tests(),
        persistence::tests(),
        draining::tests(),
        protocols::tests(),
        sync::tests(),
        keepalived::tests(),
    ]
    .concat()
}
