//! `cargo demo`; see [`ipvs_tests::demo`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ipvs_tests::demo::main()
}
