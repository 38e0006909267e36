//! Ours against the reference and against a floor: `cargo bench --package ipvs-tests --bench compare`.
//!
//! | part | |
//! |---|---|
//! | [`programs`] | the three, as they are shipped or built |
//! | [`guests`] | the two kernels that are the rulers: user-mode-linux (time), QEMU (instructions) |
//! | [`tables`], [`connections`], [`process`], [`unchanged`] | what is measured, in the guest |
//! | [`rules`] | the tables that are restored |
//! | [`namespace`] | a place for each measurement |
//! | [`time`] | one run of a program: how long it takes |
//! | [`profile`] | another: what it asks of the kernel; what it does itself |
//! | [`figures`] | what was measured, as lines from the guest, and in order |
//! | [`report`] | the same as tables |
//! | [`recorded`] | the ratios below which a change must not fall |
//!
//! | option | |
//! |---|---|
//! | `--quick` | instructions of small tasks only; fails when a ratio is more than 5 % below the recorded one |
//! | `--record` | the same, and records the ratios |
//! | `--uml`, `--qemu` | with this ruler alone |
//! | `--profile` | under QEMU: prints for each task where the programs spend their time |
//! | WORD | only tasks with this word in their name |

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

/// Everything that can be measured.
fn jobs() -> Vec<Test> {
    [tables::jobs(), process::jobs(), connections::jobs(), unchanged::jobs()].concat()
}

/// What was asked for on the command line.
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
                // Cargo says this to every benchmark.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--record" => (options.quick, options.record) = (true, true),
                "--profile" => options.profile = true,
                "--uml" => options.rulers.push(Ruler::Time),
                "--qemu" => options.rulers.push(Ruler::Instructions),
                word if word.starts_with('-') => bail!("{word}: known are --quick, --record, --uml, --qemu, --profile"),
                word => options.words.push(word.to_owned()),
            }
        }
        if options.rulers.is_empty() {
            options.rulers = if options.quick { vec![Ruler::Instructions] } else { Ruler::ALL.to_vec() };
        }
        Ok(options)
    }
}

/// Whether nothing has become slower.
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
            // The kernel has work of its own that may have come in between each time.
            println!("once more, before that is believed");
            measure(&mut figures)?;
            good &= recorded::check(&figures)?;
        }
    }
    Ok(good)
}
