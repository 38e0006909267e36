//! Programs that call ipvsadm. They must behave the same with the reference in /sbin and with our program.

mod files;
mod ldirectord;
mod salt;

use ipvs_sys::Socket;
use ipvs_tests::harness::Test;
use ipvs_tests::host::reference::Ipvsadm;
use ipvs_tests::lab::topology::Host;
use ipvs_tests::oracle::table;

use crate::under_test;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [ldirectord::tests(), files::tests(), salt::tests()].concat()
}

/// The ipvsadm in /sbin.
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

/// Returns the table of a host as the kernel reports it.
fn table_of(host: &Host) -> String {
    host.enter(|| table::table(&mut Socket::open()?)).unwrap()
}
