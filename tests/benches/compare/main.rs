//! Compares our program with the reference and a lower bound: `cargo bench --package ipvs-tests --bench compare`.
//!
//! | part | |
//! |---|---|
//! | [`programs`] | the three programs |
//! | [`guests`] | the two kernels that measure: user-mode-linux (time), QEMU (instructions) |
//! | [`tables`], [`connections`], [`process`], [`unchanged`], [`screen`], [`scrape`] | the tasks, in the guest |
//! | [`rules`] | the tables that are restored |
//! | [`namespace`] | a network namespace for each measurement |
//! | [`time`] | measures the duration of a run |
//! | [`profile`] | runs a program again: system calls, or the instructions of the program itself |
//! | [`figures`] | the results, as lines from the guest and as values |
//! | [`report`] | prints the results as tables |
//! | [`recorded`] | the recorded ratios, which a change must not lower |
//!
//! | option | |
//! |---|---|
//! | `--quick` | only instructions of small tasks; fails if a ratio is more than 5 % below the recorded one |
//! | `--record` | as `--quick`, but records the ratios |
//! | `--uml`, `--qemu` | measure only time, or only instructions |
//! | `--profile` | under QEMU: print for each task where the programs spend their time |
//! | WORD | only tasks with this text in their name |

mod connections;
mod figures;
mod guests;
mod namespace;
mod process;
mod profile;
mod programs;
mod recorded;
mod report;
mod rules;
mod scrape;
mod screen;
mod tables;
mod time;
mod unchanged;

use std::process::ExitCode;

use anyhow::{Result, bail};
use ipvs_tests::entry_points;
use ipvs_tests::harness::Test;

use figures::Figures;
use guests::Ruler;

fn main() -> ExitCode {
    let jobs = jobs();
    if let Some(code) = entry_points::run(&jobs) {
        return code;
    }
    match run(&jobs) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns all jobs.
fn jobs() -> Vec<Test> {
    [tables::jobs(), process::jobs(), connections::jobs(), unchanged::jobs(), screen::jobs(), scrape::jobs()].concat()
}

/// The options of the command line.
#[derive(Default)]
struct Options {
    quick: bool,
    record: bool,
    profile: bool,
    rulers: Vec<Ruler>,
    words: Vec<String>,
}

impl Options {
    fn read() -> Result<Options> {
        let mut options = Options::default();
        for word in std::env::args().skip(1) {
            match word.as_str() {
                // Cargo passes this to every benchmark.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--record" => (options.quick, options.record) = (true, true),
                "--profile" => options.profile = true,
                "--uml" => options.rulers.push(Ruler::Time),
                "--qemu" => options.rulers.push(Ruler::Instructions),
                word if word.starts_with('-') => {
                    bail!("{word}: unknown option; the options are --quick, --record, --uml, --qemu, --profile")
                }
                word => options.words.push(word.to_owned()),
            }
        }
        if options.rulers.is_empty() {
            options.rulers = if options.quick { vec![Ruler::Instructions] } else { Ruler::ALL.to_vec() };
        }
        Ok(options)
    }
}

/// Measures and prints. Returns whether all ratios are at least the recorded ones.
fn run(jobs: &[Test]) -> Result<bool> {
    let options = Options::read()?;
    let programs = programs::find()?;
    let mut good = true;
    for ruler in &options.rulers {
        let wanted = |job: &&Test| {
            let is_quick = job.name.starts_with(guests::QUICK);
            options.quick == is_quick
                && (options.words.is_empty() || options.words.iter().any(|word| job.name.contains(word.as_str())))
        };
        let names: Vec<&str> = jobs.iter().filter(wanted).map(|job| job.name.as_str()).collect();
        let mut figures = Figures::default();
        let measure = |figures: &mut Figures| {
            guests::measure(*ruler, &programs, &names, options.profile, figures)?;
            report::print(*ruler, figures);
            anyhow::Ok(())
        };
        measure(&mut figures)?;
        if options.record {
            recorded::write(&figures)?;
        } else if options.quick && !recorded::check(&figures)? {
            // Background work of the kernel may have disturbed the measurement.
            println!("measuring again to confirm");
            measure(&mut figures)?;
            good &= recorded::check(&figures)?;
        }
    }
    Ok(good)
}
