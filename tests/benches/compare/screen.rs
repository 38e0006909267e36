//! Refreshes the screen of `top`. The reference lists rates, which people repeat with watch(1).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_tests::harness::Test;
use ipvs_tests::terminal::OnTerminal;

use crate::figures::{self, Kind};
use crate::programs::Program;
use crate::rules::{self, Size};
use crate::{namespace, time};

const SIZE: Size = Size { services: 500, servers: 20 };

/// The number of refreshes that are measured. The time of a process is counted in ticks of 10 ms.
const REFRESHES: u32 = 10;

/// The time between two refreshes.
const INTERVAL: Duration = Duration::from_secs(2);

pub(crate) fn jobs() -> Vec<Test> {
    vec![Test::new(format!("screen {SIZE}"), measure)]
}

/// Measures the time of the processor, because `top` sleeps most of the time.
fn measure() -> Result<()> {
    let task = format!("one refresh of top {SIZE}");
    let text = rules::text(SIZE);
    namespace::fresh(|| {
        time::take_time(Program::Ours.command().arg("-R"), &text)?;
        let reference = processor_time(|| {
            (0..REFRESHES)
                .try_for_each(|_| time::take_time(Program::Reference.command().args(["-Ln", "--rate"]), "").map(drop))
        })?;
        figures::print(Kind::Whole, &task, Program::Reference, reference.as_nanos() as u64 / u64::from(REFRESHES));
        let ours = processor_time(|| {
            let program = Program::Ours.command();
            let program = program.get_program().to_str().context("a path")?;
            let mut top = OnTerminal::start(&format!("{program} top"), 24, 80)?;
            top.wait_for("500 services, 10000 servers");
            std::thread::sleep(INTERVAL * REFRESHES);
            top.press("q");
            ensure!(top.end().success(), "{}", top.contents());
            Ok(())
        })?;
        // The first reading, and those after each interval.
        figures::print(Kind::Whole, &task, Program::Ours, ours.as_nanos() as u64 / u64::from(REFRESHES + 1));
        Ok(())
    })
}

/// Returns the time of the processor that the processes of a function took. They have ended.
fn processor_time(run: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let before = of_children()?;
    run()?;
    Ok(of_children()? - before)
}

/// Returns the time of the processor of all processes that this one started, and that have ended. proc_pid_stat(5)
fn of_children() -> Result<Duration> {
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("no name of the program")?;
    // The fields are numbered from 1, and the first one here is the third.
    let ticks =
        |number: usize| -> Result<u32> { Ok(fields.split(' ').nth(number - 3).context("too few fields")?.parse()?) };
    Ok(TICK * (ticks(16)? + ticks(17)?))
}
