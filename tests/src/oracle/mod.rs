//! Ours against the reference: the same command lines in two network namespaces, and what they say, how they end and
//! what the kernel holds then must be the same.
//!
//! | part | |
//! |---|---|
//! | [`case`] | cases as they are written; see there for the format |
//! | [`shell`] | runs a line as it is typed |
//! | [`actions`] | runs what the laboratory does itself |
//! | [`table`] | what the kernel holds, as text |
//! | [`mask`] | what no two runs have in common |
//! | [`run`] | one side of a case |
//! | [`compare`] | compares the two sides |
//! | [`diff`](mod@diff) | shows where they differ |
//! | [`pair`] | both sides at once, for many lines |
//! | [`rng`] | numbers that look random and are the same every time |

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

/// With this set, what the reference does is printed: `IPVS_SHOW=1 cargo test … -- --show-output cases::usage`.
const SHOW: &str = "IPVS_SHOW";

/// The tests of some files of cases: one for each case, under the file's name. `install` puts ours at /sbin.
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

/// Runs a case on both sides; a difference is a panic that shows it.
pub fn check(case: &Case, install: fn()) -> Result<()> {
    /// A race the reference loses nearly always: on a machine with much else to do, not each time.
    const RACES: usize = 10;
    case.check().map_err(anyhow::Error::msg)?;
    run::write_names()?;
    let luck = case.before.is_some_and(|before| kernel::running() >= before);
    let mut reference = if luck { None } else { Some(of_reference(case)?) };
    install();
    let ours = run::transcript("ours", case)?;
    let compare = |reference: &Option<Transcript>| match reference {
        Some(reference) => compare::report(case, reference, &ours),
        None => compare::report(case, &ours.unknown(), &ours),
    };
    // Only the reference is run again: ours has one chance.
    let mut left = if case.before.is_some() && !luck { RACES } else { 0 };
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
