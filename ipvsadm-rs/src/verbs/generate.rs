//! `ipvsadm-rs generate`: prints manual pages and completions.

use clap::{Args, ValueEnum};

use crate::context::{Context, code};
use crate::generate::commands;
use crate::generate::man;

/// Print a manual page or shell completions
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct Generate {
    /// Kind of output
    #[arg(value_enum)]
    output: Output,
    /// Program to document or complete
    #[arg(long = "for", value_enum, default_value = "ipvsadm", value_name = "PROGRAM")]
    program: Program,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// Manual page in the format of man(7)
    Man,
    /// Completions for bash
    Bash,
    /// Completions for zsh
    Zsh,
    /// Completions for fish
    Fish,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    /// ipvsadm
    Ipvsadm,
    /// ipvsadm-save
    IpvsadmSave,
    /// ipvsadm-restore
    IpvsadmRestore,
    /// ipvsadm-rs and its verbs
    IpvsadmRs,
}

impl Generate {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let (command, page) = match self.program {
            Program::Ipvsadm => (commands::ipvsadm(), include_str!("../../manual/ipvsadm.md")),
            Program::IpvsadmSave => (commands::save(), include_str!("../../manual/ipvsadm-save.md")),
            Program::IpvsadmRestore => (commands::restore(), include_str!("../../manual/ipvsadm-restore.md")),
            Program::IpvsadmRs => (super::command(), include_str!("../../manual/ipvsadm-rs.md")),
        };
        let script = |text: &str| text.replace("@PROGRAM@", command.get_name()).into_bytes();
        let text = match self.output {
            Output::Man => {
                let mut text = Vec::new();
                man::write(&mut text, page, &command)?;
                text
            }
            Output::Bash => script(include_str!("../../dist/completions/bash")),
            Output::Zsh => script(include_str!("../../dist/completions/zsh")),
            Output::Fish => script(include_str!("../../dist/completions/fish")),
        };
        context.write(|out| out.write_all(&text))?;
        Ok(code::DONE)
    }
}
