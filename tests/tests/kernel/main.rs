//! All tests that need a kernel, in one binary: `cargo test --test kernel`.
//!
//! There is one file per concept. Each lists its tests at the top; `main` lists the files.

mod callers;
mod captured;
mod cases;
mod client;
mod clusters;
mod convert;
mod doctor;
mod documents;
mod edges;
mod follow;
mod guest;
mod hitless;
mod hostile;
mod library;
mod matrix;
mod model;
mod operations;
mod plan;
mod random;
mod shipped;
mod socket;
mod traffic;
mod under_test;
mod verbs;
mod which;
mod why;

use std::process::ExitCode;

fn main() -> ExitCode {
    ipvs_tests::runner::main(
        [
            // First, because they wait for most of a minute while others can run.
            clusters::tests(),
            guest::tests(),
            socket::tests(),
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
            convert::tests(),
            verbs::tests(),
            doctor::tests(),
            operations::tests(),
            why::tests(),
            follow::tests(),
            hitless::tests(),
            hostile::tests(),
            library::tests(),
            documents::tests(),
            shipped::tests(),
            which::tests(),
        ]
        .concat(),
    )
}
