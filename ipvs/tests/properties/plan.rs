//! Plans between any two tables, on a table in memory.

use ipvs::plan::{Departing, Options};
use ipvs::testing::promises::{self, is_possible};
use ipvs::testing::random;
use ipvs::{Config, Destination, Director, Forwarding, Model, Order, Scheduler, Service, ServiceConfig, ServiceKey};
use proptest::prelude::*;

/// Generates up to four servers in any order, with weights 0 to 2.
fn servers() -> impl Strategy<Value = Vec<Destination>> {
    let numbers = proptest::sample::subsequence(vec![1, 2, 3, 4], 0..=4).prop_shuffle();
    (numbers, [0..3u32, 0..3, 0..3, 0..3]).prop_map(|(numbers, weights)| {
        let server = |(number, weight): (u8, u32)| Destination {
            weight,
            ..Destination::new(([10, 0, 0, number], 80), Forwarding::Masquerade)
        };
        numbers.into_iter().zip(weights).map(server).collect()
    })
}

proptest! {
    #[test]
    fn promises_are_kept((current, desired) in random::two_tables(), options in random::options()) {
        let mut director = Model::new();
        random::fill(&mut director, &current);
        prop_assume!(is_possible(&director.state().expect("a model"), &desired, &options));
        promises::kept(&mut director, &desired, &options)?;
    }

    /// The servers of a service are moved, and some of them have weight 0.
    #[test]
    fn reordering_keeps_the_promises(
        current in servers(),
        desired in servers(),
        keep_weights in any::<bool>(),
        departing in random::departing(),
    ) {
        let [current, desired] = [current, desired].map(|destinations| {
            let service = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::MH);
            Config {
                services: vec![ServiceConfig { service, destinations }],
                order: Order::Kernel,
                ..Config::default()
            }
        });
        let mut director = Model::new();
        random::fill(&mut director, &current);
        let options = Options::default().keep_weights(keep_weights).departing(departing).reorder(true);
        promises::kept(&mut director, &desired, &options)?;
    }

    /// The servers of a model have no connections, so the second plan deletes those of weight 0.
    #[test]
    fn drained_servers_are_deleted_by_the_next_plan(
        (current, desired) in random::two_tables(),
        options in random::options(),
    ) {
        let options = options.departing(Departing::DrainThenDelete);
        let mut director = Model::new();
        random::fill(&mut director, &current);
        prop_assume!(is_possible(&director.state().expect("a model"), &desired, &options));
        promises::kept(&mut director, &desired, &options)?;
        promises::kept(&mut director, &desired, &options)?;
        let plan = ipvs::plan(&desired, &director.state().expect("a model"), &options.departing(Departing::Delete));
        prop_assert!(plan.is_empty(), "{}", plan);
    }

    /// The plan from a table to itself is empty.
    #[test]
    fn the_plan_to_the_same_table_is_empty(current in random::config(), options in random::options()) {
        let mut director = Model::new();
        random::fill(&mut director, &current);
        let state = director.state().expect("a model");
        let plan = ipvs::plan(&ipvs::Config::from(&state), &state, &options);
        prop_assert!(plan.is_empty() && plan.order_kept.is_empty() && plan.draining.is_empty(), "{:?}", plan);
    }
}
