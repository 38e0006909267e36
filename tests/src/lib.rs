//! Everything proven on a real kernel.
//!
//! `cargo test` boots user-mode-linux, a kernel that is an ordinary process, on the read-only file system of this
//! machine, and runs each test in it: in a process, a network namespace and a root directory of its own. No root, no
//! container and no installed package is needed; what is missing is fetched from Debian into `target/ipvs-lab`.
//!
//! | part | modules |
//! |---|---|
//! | what a test author uses | [`harness`], [`topology`], [`netns`], [`serve`], [`client`], [`command`], [`wait`], [`reference`] |
//! | which kernel, and where it comes from | [`kernel`], [`provision`] |
//! | the guest, from outside | [`uml`], [`pool`] |
//! | the guest, from inside | [`guest`], [`roles`] |
//! | what they say to each other | [`line`] |
//! | the demo | [`demo`] |

pub mod client;
pub mod command;
pub mod demo;
pub mod guest;
pub mod harness;
pub mod kernel;
pub mod line;
pub mod netns;
pub mod pool;
pub mod provision;
pub mod reference;
pub mod roles;
pub mod rtnl;
pub mod serve;
pub mod topology;
pub mod uml;
pub mod wait;
