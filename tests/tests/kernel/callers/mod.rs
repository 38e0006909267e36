//! The programs that call ipvsadm, with the reference at /sbin and with ours: they must not notice.

mod files;
mod ldirectord;
mod salt;

use ipvs_sys::Socket;
use ipvs_tests::harness::Test;
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::lab::topology::Host;
use ipvs_tests::oracle::table;

use crate::under_test;

/// The tests of all of them.
pub(crate) fn tests() -> Vec<Test> {
    [ldirectord::tests(), files::tests(), salt::tests()].concat()
}

/// Whose ipvsadm is at /sbin.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Reference,
    Ours,
}

impl Side {
    const BOTH: [Side; 2] = [Side::Reference, Side::Ours];

    fn install(self) {
        match self {
            Side::Reference => Ipvsadm::get().install().unwrap(),
            Side::Ours => under_test::install(),
        }
    }
}

/// What the kernel holds for a host.
fn held(host: &Host) -> String {
    host.enter(|| table::table(&mut Socket::open()?)).unwrap()
}
