//! Everything proven on a real kernel.
//!
//! `cargo test` boots user-mode-linux, a kernel that is an ordinary process, on the read-only file system of this
//! machine, and runs each test in it: in a process, a network namespace and a root directory of its own. No root, no
//! container and no installed package is needed; what is missing is fetched from Debian into `target/ipvs-lab`.
//!
//! | folder or file | contents |
//! |---|---|
//! | [`harness`] | how a test is declared |
//! | [`runner`] | the `main` of a test binary: runs each test in a guest |
//! | [`lab`] | networks: hosts, segments, containers, clusters |
//! | [`traffic`] | servers, clients and captured packets |
//! | [`net`] | network namespaces and rtnetlink |
//! | [`command`], [`wait`] | run programs; wait for a condition |
//! | [`oracle`] | compares ours with the reference |
//! | [`random`], [`promises`], [`property`] | random values, and properties that hold for all of them |
//! | [`host`] | outside the guest: kernels, packages, booting, the pool of guests |
//! | [`guest`] | inside the guest: process 1, its jobs, modules, and the protocol it speaks with the host |
//! | [`entry_points`] | the main functions of this executable, by the name it is started under |
//! | [`demo`] | `cargo demo` |
//!
//! | variable | meaning |
//! |---|---|
//! | `IPVS_KERNEL` | `6.1` (if nothing is said), `6.12`, `7.2`, `/path/to/linux`, or `host` for the machine's own |
//! | `IPVS_KERNEL_MODULES` | the modules of `/path/to/linux`, if they are not beside it |
//! | `IPVS_TEST_SECONDS` | how long a test may take (60) |
//! | `IPVS_GUESTS` | how many guests run side by side (2, or 1 on one core) |
//! | `IPVS_GUEST_MEMORY` | of each (512M; what is not used is not taken) |
//! | `IPVS_PROGRAM` | the program that is tested, by its path; cargo's own build if nothing is said |
//! | `IPVS_SEED` | the seed of random values, as a failure tells it |
//! | `IPVS_LAB` | where fetched packages are kept (`target/ipvs-lab`) |
//! | any other `IPVS…`, `PROPTEST_…` | passed on to the tests in the guest, as those above are |

pub mod command;
pub mod demo;
pub mod entry_points;
pub mod guest;
pub mod harness;
pub mod host;
pub mod lab;
pub mod net;
pub mod oracle;
pub mod property;
pub mod runner;
pub mod traffic;
pub mod wait;

// With the library's own property tests, which need no kernel.
#[path = "../../ipvs/tests/properties/promises.rs"]
pub mod promises;
#[path = "../../ipvs/tests/properties/random.rs"]
pub mod random;
