//! `ipvsadm-rs confirm`: what was applied for a time stays.

use anyhow::bail;
use clap::Args;

use super::{Context, code};
use crate::journal;

/// Keep what was applied with --confirm-within
#[derive(Args, Debug)]
pub(super) struct Confirm {}

impl Confirm {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let Some(pending) = journal::take_pending(&context.state_dir, context.netns.as_ref(), None)? else {
            bail!("nothing waits for confirmation");
        };
        if context.json {
            context.write_json(&pending)?;
        } else {
            context.write(|out| writeln!(out, "plan {} stays", pending.number))?;
        }
        Ok(code::DONE)
    }
}
