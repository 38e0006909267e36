//! The two kernels that measure.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipvs_tests::guest::protocol::End;
use ipvs_tests::host::kernel::Kernel;
use ipvs_tests::host::qemu::{Cloud, Machine};
use ipvs_tests::host::reference;
use ipvs_tests::host::uml::{Boot, Guest};

use crate::figures::Figures;
use crate::profile::sample;
use crate::programs::{FLOOR, OURS, Programs};

/// Prefix of the names of quick jobs.
pub(crate) const QUICK: &str = "quick ";
/// Variable with the name of the ruler, for the guest.
const RULER: &str = "IPVS_BENCH_RULER";
/// Time limit of a job. Under QEMU, the reference needs minutes for the largest table.
const LIMIT: Duration = Duration::from_secs(1500);

/// The quantity that is measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ruler {
    /// Time, in user-mode-linux. It emphasises system calls, because each takes 30 to 45 µs there.
    Time,
    /// Instructions, under QEMU, whose clock counts them. The results are repeatable at any load of the host.
    Instructions,
}

impl Ruler {
    pub(crate) const ALL: [Ruler; 2] = [Ruler::Time, Ruler::Instructions];

    fn name(self) -> &'static str {
        match self {
            Ruler::Time => "time",
            Ruler::Instructions => "instructions",
        }
    }

    /// Returns the ruler of this guest.
    pub(crate) fn here() -> Ruler {
        let name = std::env::var(RULER).unwrap_or_default();
        Ruler::ALL.into_iter().find(|ruler| ruler.name() == name).expect("the host sets the ruler")
    }

    fn kernel(self, programs: &Programs) -> Result<Kernel> {
        match self {
            Ruler::Time => Kernel::find(),
            Ruler::Instructions => {
                let machine = Machine::new().counting().program(&programs.floor).program(&programs.ours);
                let machine = machine.program("/usr/bin/awk");
                let machine = reference::files()?.into_iter().fold(machine, Machine::file);
                Cloud::find(machine).map(Kernel::Cloud)
            }
        }
    }
}

/// Boots a guest and runs the jobs in it.
pub(crate) fn measure(
    ruler: Ruler,
    programs: &Programs,
    jobs: &[&str],
    profile: bool,
    figures: &mut Figures,
) -> Result<()> {
    let mut variables =
        vec![(RULER, ruler.name().to_owned()), (FLOOR, path(&programs.floor)), (OURS, path(&programs.ours))];
    if profile {
        variables.push((sample::PROFILE, "yes".to_owned()));
    }
    let boot = Boot { reference: true, extra: variables, ..Boot::default() };
    let mut guest = Guest::boot(&ruler.kernel(programs)?, &boot)?;
    eprintln!("{} on Linux {}", ruler.name(), guest.release());
    for job in jobs {
        eprintln!("  {job}");
        let mut output = Vec::new();
        let end = guest.run(job, LIMIT, |bytes| output.extend_from_slice(bytes))?;
        let output = String::from_utf8(output)?;
        ensure!(end == End::Exit(0), "{job}: {end}\n{output}");
        let (notes, lines): (Vec<_>, Vec<_>) = output.lines().partition(|line| line.starts_with('#'));
        notes.iter().for_each(|note| println!("{note}"));
        lines.iter().try_for_each(|line| figures.add_line(line)).with_context(|| format!("{job}:\n{output}"))?;
    }
    Ok(())
}

fn path(path: &std::path::Path) -> String {
    path.display().to_string()
}
