//! Everything that is proven on a kernel, in one binary: `cargo test --test kernel`.
//!
//! One file per concept; each lists its tests at its head, and here is the list of files.

mod cases;
mod documents;
mod dr;
mod guest;
mod matrix;
mod nat;
mod ours;
mod random;
mod tun;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    ipvs_tests::harness::main(
        [
            cases::tests(),
            matrix::tests(),
            random::tests(),
            guest::tests(),
            nat::tests(),
            dr::tests(),
            tun::tests(),
            verbs::tests(),
            documents::tests(),
        ]
        .concat(),
    )
}
