//! Compares our program with the reference: both run the same command lines, each in a network namespace of its own.
//! Their output, their exit status and the table of the kernel must be the same.
//!
//! | part | |
//! |---|---|
//! | [`case`] | the format of case files, and their parser |
//! | [`shell`] | runs one command line |
//! | [`actions`] | the lines that begin with `%`: traffic, addresses, waits |
//! | [`table`] | the kernel's table as text |
//! | [`mask`] | blanks the parts of an output that differ in every run |
//! | [`run`] | runs a case on one side |
//! | [`compare`] | reports where the two sides differ |
//! | [`diff`](mod@diff) | two texts as `diff -u` shows them |
//! | [`pair`] | runs many lines on both sides, in the same two namespaces |
//! | [`rng`] | reproducible random numbers |

pub mod actions;
pub mod case;
pub mod compare;
pub mod diff;
pub mod mask;
pub mod pair;
pub mod rng;
pub mod run;
pub mod shell;
pub mod table;

use anyhow::{Context, Result};

use crate::harness::Test;
use crate::host::kernel;
use crate::host::reference::Ipvsadm;
use case::Case;
use run::Transcript;

/// Variable that makes a test print the outputs of the reference, as in `IPVS_SHOW=1 cargo test … -- --show-output
/// cases::usage`.
const SHOW: &str = "IPVS_SHOW";

/// Returns one test for each case of some files, named after file and case. `install` puts our program at /sbin.
pub fn tests(module: &str, files: &[(&str, &str)], install: fn()) -> Vec<Test> {
    let test = |case: Case| Test::new(case.name.clone(), move || check(&case, install));
    let read = |(name, text): &(&str, &str)| {
        let name = format!("{module}::{name}");
        match case::parse(&name, text) {
            Ok(cases) => cases.into_iter().map(test).collect(),
            Err(error) => vec![Test::new(name, move || -> () { panic!("{error}") })],
        }
    };
    files.iter().flat_map(read).collect()
}

/// Runs a case on both sides. Panics with the differences if there are any.
pub fn check(case: &Case, install: fn()) -> Result<()> {
    /// Maximum number of runs of the reference in a race that it nearly always loses. On a busy machine it may win
    /// some.
    const RACES: usize = 10;
    case.check().map_err(anyhow::Error::msg)?;
    run::write_names()?;
    let skip_reference = case.before.is_some_and(|before| kernel::running() >= before);
    let mut reference = if skip_reference { None } else { Some(of_reference(case)?) };
    install();
    let ours = run::transcript("ours", case)?;
    let compare = |reference: &Option<Transcript>| match reference {
        Some(reference) => compare::report(case, reference, &ours),
        None => compare::report(case, &ours.unknown(), &ours),
    };
    // Only the reference runs again: our program must be right the first time.
    let mut left = if case.before.is_some() && !skip_reference { RACES } else { 0 };
    let mut report = compare(&reference);
    while report.is_some() && left > 0 {
        reference = Some(of_reference(case)?);
        report = compare(&reference);
        left -= 1;
    }
    report.map_or(Ok(()), |report| panic!("{report}"))
}

fn of_reference(case: &Case) -> Result<Transcript> {
    Ipvsadm::get().install().context("install the reference")?;
    let transcript = run::transcript("reference", case)?;
    if std::env::var_os(SHOW).is_some() {
        println!("{}", compare::show(case, &transcript));
    }
    Ok(transcript)
}
