//! `ipvsadm-rs show`: prints the table.

mod table;

use clap::Args;
use ipvs::rules::{Namer, Numeric};

use crate::context::{Context, code};
use crate::plan::unconfirmed::Unconfirmed;
use crate::resolver::System;

/// Show the table
///
/// The column STATE marks servers that are full, and servers of weight 0: these are draining, or have drained. A service
/// that refuses new clients has a line with the reason.
///
/// With --json, the output is one document with all settings, counters, rates, timeouts and sync daemons. `plan`,
/// `apply` and `check` accept it as FILE.
///
/// A plan that is pending, that was never confirmed, or whose rollback failed is reported on standard error.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Show {
    /// Show names of hosts and ports instead of numbers
    #[arg(long)]
    names: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

impl Show {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let mut state = context.open()?.state()?;
        state.services.sort_by_key(|service| service.service.key);
        if context.json {
            context.write_json(&state)?;
        } else {
            let mut names: Box<dyn Namer> = if self.names { Box::new(System::default()) } else { Box::new(Numeric) };
            context.write(|out| table::write(out, &state, &mut *names, &context.palette()))?;
        }
        Unconfirmed::read(context).print();
        Ok(code::DONE)
    }
}
