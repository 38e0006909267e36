//! The front of a test binary: it looks like libtest, and every test runs in a guest.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::entry_points;
use crate::harness::Test;
use crate::host::kernel::Kernel;
use crate::host::pool::Pool;
use crate::host::qemu::{Cloud, Machine};

/// The main function of a test binary.
pub fn main(tests: Vec<Test>) -> ExitCode {
    if let Some(code) = entry_points::run(&tests) {
        return code;
    }
    let mut arguments = Arguments::from_args();
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
        let not_here = (test.own_kernel && host).then(|| "wants a kernel of its own".to_owned());
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
