//! The front of a test binary: it looks like libtest, and every test runs in a guest.
//!
//! One file of tests per concept, its tests listed once at its head:
//!
//! ```ignore
//! ipvs_tests::tests! {
//!     add_and_list;
//!     sync_takes_over, seconds = 120;
//!     ldirectord_drains, needs = "ldirectord";
//! }
//! ```
//!
//! and in `main.rs`: `fn main() -> ExitCode { harness::main([services::tests(), nat::tests()].concat()) }`.
//!
//! A test with `needs` (more than one, if need be) names a Debian package that the machine must have; it is ignored unless
//! asked for with `--ignored` or `--include-ignored`. One with `cloud = &["/usr/sbin/nft"]` runs on Debian's cloud kernel
//! under QEMU ([`crate::host::qemu`]), with these programs beside. One with `own_kernel = true` changes the kernel itself; it is
//! ignored with `IPVS_KERNEL=host`.

use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::entry_points;
use crate::host::kernel::Kernel;
use crate::host::pool::Pool;
use crate::host::qemu::{Cloud, Machine};

/// A function that process 1 of a guest runs by name.
#[derive(Clone)]
pub struct Test {
    /// `services::add_and_list`
    pub name: String,
    /// Runs it, in the guest; the exit status of its process.
    pub run: Arc<dyn Fn() -> i32 + Send + Sync>,
    /// Its limit, where the usual one is too short.
    pub seconds: Option<u64>,
    /// The Debian packages it cannot do without.
    pub needs: Vec<&'static str>,
    /// It runs under QEMU, with these programs of this machine.
    pub cloud: Option<&'static [&'static str]>,
    /// It changes the kernel itself.
    pub own_kernel: bool,
}

impl Test {
    /// A test by any function or closure. The guest finds it by its name: make the same tests in every run.
    pub fn new<O: Outcome>(name: impl Into<String>, run: impl Fn() -> O + Send + Sync + 'static) -> Test {
        let run = Arc::new(move || run().code());
        Test { name: name.into(), run, seconds: None, needs: Vec::new(), cloud: None, own_kernel: false }
    }

    /// Sets the limit.
    pub fn seconds(self, seconds: u64) -> Test {
        Test { seconds: Some(seconds), ..self }
    }

    /// Names a Debian package it cannot do without.
    pub fn needs(mut self, package: &'static str) -> Test {
        self.needs.push(package);
        self
    }

    /// Has it run on Debian's cloud kernel under QEMU, with these programs of this machine.
    pub fn cloud(self, programs: &'static [&'static str]) -> Test {
        Test { cloud: Some(programs), ..self }
    }

    /// Says whether it wants a kernel to itself, because it unloads modules, say.
    pub fn own_kernel(self, own_kernel: bool) -> Test {
        Test { own_kernel, ..self }
    }
}

/// What a test may return.
pub trait Outcome {
    /// 0 for success; prints what went wrong.
    fn code(self) -> i32;
}

impl Outcome for () {
    fn code(self) -> i32 {
        0
    }
}

impl<E: Debug> Outcome for Result<(), E> {
    fn code(self) -> i32 {
        match self {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("Error: {error:?}");
                1
            }
        }
    }
}

/// Lists the tests of a module: makes its function `tests()`. See [`crate::harness`].
#[macro_export]
macro_rules! tests {
    ($($name:ident $(, $option:ident = $value:expr)*);* $(;)?) => {
        /// The tests of this module.
        pub(crate) fn tests() -> Vec<$crate::harness::Test> {
            // The module's path without the name of the binary.
            let module = module_path!().split_once("::").map_or("", |(_, rest)| rest);
            vec![$(
                $crate::harness::Test::new(format!("{module}::{}", stringify!($name)), $name)$(.$option($value))*
            ),*]
        }
    };
}

/// The main function of a test binary.
pub fn main(tests: Vec<Test>) -> ExitCode {
    if let Some(code) = entry_points::play(&tests) {
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
