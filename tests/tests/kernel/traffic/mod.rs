//! Real packets: clients, directors and servers in namespaces, set up with our own `ipvsadm` as an operator would type
//! it. `cargo test --test kernel traffic`; with `-- --include-ignored` also those that need a package of Debian's.
//!
//! | | |
//! |---|---|
//! | the three ways to forward, IPv4 and IPv6 | `nat`, `dr`, `tun` |
//! | servers that need no route back | `fullnat` |
//! | who is chosen, and kept | `schedulers`, `persistence`, `fwmark` |
//! | servers that leave | `draining` |
//! | SCTP, FTP, SIP | `protocols` |
//! | two directors | `sync`, `keepalived`, `pacemaker` |

mod dr;
mod draining;
mod fullnat;
mod fwmark;
mod hashes;
mod keepalived;
mod nat;
mod pacemaker;
mod persistence;
mod protocols;
mod schedulers;
mod sync;
mod tun;

use ipvs_tests::harness::Test;

/// The tests of all of them.
pub(crate) fn tests() -> Vec<Test> {
    [
        // It waits for most of a minute, while others can run beside it.
        pacemaker::tests(),
        nat::tests(),
        dr::tests(),
        tun::tests(),
        fullnat::tests(),
        fwmark::tests(),
        schedulers::tests(),
        hashes::tests(),
        persistence::tests(),
        draining::tests(),
        protocols::tests(),
        sync::tests(),
        keepalived::tests(),
    ]
    .concat()
}
