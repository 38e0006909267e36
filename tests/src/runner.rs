//! The `main` of a test binary: its options and output are those of libtest, and each test runs in a guest.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use libtest_mimic::{Arguments, Trial};

use crate::entry_points;
use crate::harness::Test;
use crate::host::kernel::Kernel;
use crate::host::pool::Pool;
use crate::host::qemu::{Cloud, Machine};

/// The command line: libtest's, with any number of filters.
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    arguments: Arguments,
    /// More filters. A test runs if its name contains one of them
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl CommandLine {
    /// Removes the tests that no filter selects, if there are several filters. libtest-mimic supports only one.
    fn select(self, mut tests: Vec<Test>) -> (Arguments, Vec<Test>) {
        let CommandLine { mut arguments, mut filters } = self;
        if !filters.is_empty() {
            filters.extend(arguments.filter.take());
            let selects = |filter: &String, name: &str| {
                if arguments.exact { filter == name } else { name.contains(filter) }
            };
            tests.retain(|test| filters.iter().any(|filter| selects(filter, &test.name)));
        }
        (arguments, tests)
    }
}

/// Runs as the `main` of a test binary.
pub fn main(tests: Vec<Test>) -> ExitCode {
    if let Some(code) = entry_points::run(&tests) {
        return code;
    }
    let (mut arguments, tests) = CommandLine::parse().select(tests);
    let show = arguments.nocapture || arguments.show_output;
    let pool = Arc::new(Pool::of_usual_size().showing(show));
    let machine = tests
        .iter()
        .filter_map(|test| test.cloud)
        .flatten()
        .fold(Machine::new(), |machine, program| machine.program(program));
    let cloud =
        Arc::new(Pool::of_size(1).showing(show).finding(move || Cloud::find(machine.clone()).map(Kernel::Cloud)));
    arguments.test_threads.get_or_insert(pool.size());
    let host = std::env::var_os("IPVS_KERNEL").is_some_and(|kernel| kernel == "host");
    let trial = |test: Test| {
        let pool = if test.cloud.is_some() { cloud.clone() } else { pool.clone() };
        let needs = (!test.needs.is_empty()).then(|| format!("needs {}", test.needs.join(", ")));
        let not_here = (test.own_kernel && host).then(|| "needs its own kernel".to_owned());
        let kind = needs.or(not_here);
        let ignored = kind.is_some();
        Trial::test(test.name.clone(), move || Ok(pool.run(&test)?))
            .with_kind(kind.unwrap_or_default())
            .with_ignored_flag(ignored)
    };
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect());
    pool.close();
    cloud.close();
    conclusion.exit_code()
}
