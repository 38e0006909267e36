//! How a test is declared.
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
//! and in `main.rs`: `fn main() -> ExitCode { runner::main([services::tests(), nat::tests()].concat()) }`.
//!
//! A test with `needs` (more than one, if need be) names a Debian package that the machine must have; it is ignored unless
//! asked for with `--ignored` or `--include-ignored`. One with `cloud = &["/usr/sbin/nft"]` runs on Debian's cloud kernel
//! under QEMU ([`crate::host::qemu`]), with these programs beside. One with `own_kernel = true` changes the kernel itself; it is
//! ignored with `IPVS_KERNEL=host`.

use std::fmt::Debug;
use std::sync::Arc;

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
