//! Everything that is proven on a kernel, in one binary: `cargo test --test kernel`.
//!
//! One file per concept; each lists its tests at its head, and here is the list of files.

mod callers;
mod captured;
mod cases;
mod client;
mod connection;
mod documents;
mod edges;
mod guest;
mod hitless;
mod matrix;
mod model;
mod operations;
mod plan;
mod random;
mod shipped;
mod traffic;
mod under_test;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    ipvs_tests::runner::main(
        [
            guest::tests(),
            connection::tests(),
            captured::tests(),
            client::tests(),
            model::tests(),
            plan::tests(),
            cases::tests(),
            matrix::tests(),
            random::tests(),
            edges::tests(),
            traffic::tests(),
            callers::tests(),
            verbs::tests(),
            operations::tests(),
            hitless::tests(),
            documents::tests(),
            shipped::tests(),
        ]
        .concat(),
    )
}
