//! Real packets: clients, directors and servers in namespaces, set up with our own `ipvsadm` as an operator would type
//! it. `cargo test --test kernel traffic`.

mod dr;
mod draining;
mod fullnat;
mod fwmark;
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
        persistence::tests(),
        draining::tests(),
        protocols::tests(),
        sync::tests(),
        keepalived::tests(),
    ]
    .concat()
}
