//! Adds one service, which measures the start of a process.

use anyhow::Result;
use ipvs_tests::harness::Test;

use crate::guests::QUICK;
use crate::programs::Program;
use crate::{namespace, profile, time};

const TASK: &str = "one -A";
const ROUNDS: usize = 9;

pub(crate) fn jobs() -> Vec<Test> {
    ["", QUICK].map(|kind| Test::new(format!("{kind}{TASK}"), measure)).to_vec()
}

fn measure() -> Result<()> {
    namespace::fresh(|| {
        for round in 0..ROUNDS {
            let results = Program::each(round, |program| {
                let service = format!("10.{}.0.{round}:80", program as u8);
                time::run(TASK, program, &["-A", "-t", &service, "-s", "rr"], "")
            });
            results.into_iter().try_for_each(|result| result.map(drop))?;
        }
        for program in Program::ALL {
            let service = format!("10.{}.1.0:80", program as u8);
            profile::run(TASK, program, &["-A", "-t", &service, "-s", "rr"], "")?;
        }
        Ok(())
    })
}
