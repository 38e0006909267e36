//! `ipvs::Model` answers as the kernel does: both are told the same.

use ipvs::{Change, Client, Director, Error, Info, Model, Role, State, Timeouts};
use ipvs_tests::property::holds;
use ipvs_tests::random;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::client::ethernet;

ipvs_tests::tests! {
    model_matches_kernel_for_random_changes;
}

/// More than 2000 changes in all.
const SEQUENCES: u32 = 60;

fn model_matches_kernel_for_random_changes() {
    ethernet();
    holds(SEQUENCES, vec(random::change(), 1..80), |changes| {
        let (mut kernel, mut model) = (empty(), Model::new());
        for batch in changes.chunks(8) {
            let (said, foretold) = (kernel.submit(batch).unwrap(), model.submit(batch).unwrap());
            prop_assert_eq!(words(&said), words(&foretold));
            prop_assert_eq!(held(&mut kernel), held(&mut model));
        }
        Ok(())
    });
}

/// The kernel as it starts, but for the servers it has deleted and keeps in memory for a while.
pub(crate) fn empty() -> Client {
    let mut client = Client::open().unwrap();
    let changes = [
        Change::Flush,
        Change::StopDaemon(Role::Master),
        Change::StopDaemon(Role::Backup),
        Change::SetTimeouts(Timeouts::KERNEL_DEFAULT),
    ];
    // A daemon that does not run cannot be stopped.
    client.submit(&changes).unwrap();
    client
}

/// Which were refused, and in what words: asked, kind and the kernel's own.
fn words(refused: &[(usize, Error)]) -> Vec<(usize, String)> {
    refused.iter().map(|(index, error)| (*index, error.to_string())).collect()
}

/// Everything that is held, to the order of the servers; that of the services means nothing.
fn held(director: &mut impl Director) -> State {
    let mut state = director.state().unwrap();
    state.services.sort_by_key(|state| state.service.key);
    State { info: Info::default(), ..state }
}
