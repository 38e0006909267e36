//! Declares tests.
//!
//! A file has the tests of one concept, and lists them at its head:
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
//! | option | meaning |
//! |---|---|
//! | `seconds = N` | time limit [default: 120] |
//! | `needs = "PACKAGE"` | a Debian package that the machine must have; may be repeated. The test runs only with `--ignored` or `--include-ignored` |
//! | `cloud = &["/usr/sbin/nft"]` | runs on Debian's cloud kernel under QEMU ([`crate::host::qemu`]), with these programs |
//! | `own_kernel = true` | changes the kernel itself; ignored with `IPVS_KERNEL=host` |

use std::fmt::Debug;
use std::sync::Arc;

/// A function that process 1 of a guest runs by name.
#[derive(Clone)]
pub struct Test {
    /// The name after that of its module: `services::add_and_list`
    pub name: String,
    /// The function of the test, which runs in the guest and returns the exit status of its process.
    pub run: Arc<dyn Fn() -> i32 + Send + Sync>,
    /// Its time limit in seconds; `None` for the default.
    pub seconds: Option<u64>,
    /// The Debian packages that it needs.
    pub needs: Vec<&'static str>,
    /// Programs of this machine for a guest under QEMU; `None` if it runs in any guest.
    pub cloud: Option<&'static [&'static str]>,
    /// Whether it changes the kernel itself, for example unloads modules.
    pub own_kernel: bool,
}

impl Test {
    /// Makes a test from a function or closure. The guest finds it by name, so every run must make the same tests.
    pub fn new<O: Outcome>(name: impl Into<String>, run: impl Fn() -> O + Send + Sync + 'static) -> Test {
        let run = Arc::new(move || run().code());
        Test { name: name.into(), run, seconds: None, needs: Vec::new(), cloud: None, own_kernel: false }
    }

    /// Sets the time limit in seconds.
    pub fn seconds(self, seconds: u64) -> Test {
        Test { seconds: Some(seconds), ..self }
    }

    /// Adds a Debian package that it needs.
    pub fn needs(mut self, package: &'static str) -> Test {
        self.needs.push(package);
        self
    }

    /// Makes it run on Debian's cloud kernel under QEMU, with these programs of this machine.
    pub fn cloud(self, programs: &'static [&'static str]) -> Test {
        Test { cloud: Some(programs), ..self }
    }

    /// Sets whether it changes the kernel itself, for example unloads modules.
    pub fn own_kernel(self, own_kernel: bool) -> Test {
        Test { own_kernel, ..self }
    }
}

/// A return value of a test.
pub trait Outcome {
    /// Returns the exit status, 0 for success. Prints an error.
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

/// Lists the tests of a module and defines its function `tests()`. See [`crate::harness`].
#[macro_export]
macro_rules! tests {
    ($($name:ident $(, $option:ident = $value:expr)*);* $(;)?) => {
        /// Returns the tests of this module.
        pub(crate) fn tests() -> Vec<$crate::harness::Test> {
            // The module's path without the name of the binary.
            let module = module_path!().split_once("::").map_or("", |(_, rest)| rest);
            vec![$(
                $crate::harness::Test::new(format!("{module}::{}", stringify!($name)), $name)$(.$option($value))*
            ),*]
        }
    };
}
