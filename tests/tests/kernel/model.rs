//! Compares `ipvs::Model` with the kernel: both get the same random changes.

use ipvs::testing::fields::same_table;
use ipvs::{Change, Client, Config, Director, Error, ErrorKind, Info, Model, Role, State, Timeouts};
use ipvs_tests::property::holds;
use ipvs_tests::random;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::client::ethernet;

ipvs_tests::tests! {
    model_matches_kernel_for_random_changes;
}

const PLACES: &str = "ipvs/src/model.rs; for an attribute that this kernel does not know, \
    step 9 of \"Adding an attribute\" in ARCHITECTURE.md";

/// Number of sequences. Each has 1 to 79 changes; together they have more than 2000.
const SEQUENCES: u32 = 60;

fn model_matches_kernel_for_random_changes() {
    ethernet();
    holds(SEQUENCES, vec(random::change(), 1..80), |changes| {
        let (mut kernel, mut model) = (empty(), Model::new());
        for batch in changes.chunks(8) {
            let (refused, predicted) = (kernel.submit(batch).unwrap(), model.submit(batch).unwrap());
            prop_assert_eq!(messages(&refused), messages(&predicted));
            let (kernel, model) = (sorted_state(&mut kernel), sorted_state(&mut model));
            same_table(&Config::from(&model), &Config::from(&kernel), "kernel", PLACES)?;
            prop_assert_eq!(kernel, model);
        }
        Ok(())
    });
}

/// Returns a client with the kernel's initial state. (The kernel may still keep deleted servers in memory.)
pub(crate) fn empty() -> Client {
    let mut client = Client::open().unwrap();
    let changes = [
        Change::Flush,
        Change::StopDaemon(Role::Master),
        Change::StopDaemon(Role::Backup),
        Change::SetTimeouts(Timeouts::KERNEL_DEFAULT),
    ];
    let refused = client.submit(&changes).unwrap().except(|error| matches!(error.kind(), ErrorKind::NoDaemon));
    assert!(refused.is_empty(), "{refused:?}");
    client
}

/// Returns index and message of each refusal. The message has the change, the kind and the kernel's own text.
fn messages(refused: &[(usize, Error)]) -> Vec<(usize, String)> {
    refused.iter().map(|(index, error)| (*index, error.to_string())).collect()
}

/// Returns the state, including the order of servers. The order of services has no meaning, so they are sorted.
fn sorted_state(director: &mut impl Director) -> State {
    let mut state = director.state().unwrap();
    state.services.sort_by_key(|state| state.service.key);
    state.info = Info::default();
    state
}
