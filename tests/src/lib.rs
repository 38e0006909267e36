//! The laboratory for tests on a real kernel.
//!
//! `cargo test` boots user-mode-linux, a kernel that runs as an ordinary process, on the file system of this machine,
//! mounted read-only. Each test runs in it with its own process, network namespace and root directory. Neither root nor
//! a container nor an installed package is needed, because missing packages are fetched from Debian into
//! `target/ipvs-lab`.
//!
//! | directory or file | contents |
//! |---|---|
//! | [`harness`] | declares tests |
//! | [`runner`] | the `main` of a test binary: runs each test in a guest |
//! | [`lab`] | networks: hosts, segments, containers, clusters |
//! | [`traffic`] | servers, clients and captured packets |
//! | [`net`] | network namespaces and rtnetlink |
//! | [`command`], [`terminal`], [`wait`] | run programs, also on a terminal; wait for a condition |
//! | [`oracle`] | compares our program with the reference |
//! | [`random`], [`promises`], [`property`] | random values, and properties that must hold for all of them |
//! | [`host`] | outside the guest: kernels, packages, booting, the pool of guests |
//! | [`guest`] | inside the guest: process 1, its jobs, modules, and the protocol between guest and host |
//! | [`entry_points`] | the main functions of this executable, by the name it is started under |
//! | [`demo`] | `cargo demo` |
//!
//! | variable | meaning |
//! |---|---|
//! | `IPVS_KERNEL` | `6.1` (default), `6.12`, `7.2`, `/path/to/linux`, or `host` for the machine's own kernel |
//! | `IPVS_KERNEL_MODULES` | the directory of the modules of `/path/to/linux` [default: `../lib/uml/modules/RELEASE`] |
//! | `IPVS_TEST_SECONDS` | time limit of a test in seconds [default: 120] |
//! | `IPVS_GUESTS` | number of guests that run in parallel [default: 2, or 1 on one processor] |
//! | `IPVS_GUEST_MEMORY` | memory of each guest [default: 512M]; unused memory is not allocated |
//! | `IPVS_PROGRAM` | path of the program under test [default: cargo's build] |
//! | `IPVS_SEED` | seed of random values, as a failure prints it |
//! | `IPVS_FOLLOWERS`, `IPVS_KILLS`, `IPVS_PARALLEL`, `IPVS_TABLES`, `IPVS_LINES` | number of repetitions, see CONTRIBUTING.md, *Long runs* |
//! | `IPVS_LAB` | directory of fetched packages [default: `target/ipvs-lab`] |
//! | any other `IPVS…`, `PROPTEST_…` | passed to the tests in the guest, like those above |

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
pub mod repeat;
pub mod runner;
pub mod terminal;
pub mod traffic;
pub mod wait;

// Shared with the library's own property tests, which need no kernel.
pub use ipvs::testing::{promises, random};
