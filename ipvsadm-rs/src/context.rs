//! The options common to all verbs, and the client, the journal and the output that they select.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use ipvs::{Client, Namespace};

use crate::file::limit::Limit;
use crate::file::write::{self, Written};
use crate::hints;
use crate::journal::{Folder, Journal};
use crate::network::module;
use crate::terminal::color::{Color, Palette};
use crate::terminal::exit::print_error;
use crate::terminal::{stdout, text};

/// The heading of the common options in the help.
pub(crate) const COMMON: &str = "Common options";

/// The default directory of the journal.
pub(crate) const STATE_DIR: &str = "/var/lib/ipvsadm-rs";

/// Parses a duration of at most 30 days, such as `90s` or `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    match humantime::parse_duration(text) {
        Ok(duration) if duration > MAX => Err("longer than 30 days".into()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("not a duration, such as 30s or 5m".into()),
    }
}

/// Parses a duration as [`duration`] does. Fails for 0.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() { Err("must be longer than 0".into()) } else { Ok(duration) }
}

/// The options that all verbs have.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = COMMON)]
pub(crate) struct Context {
    /// Use the table of another network namespace: a name known to `ip netns`, a path, or a process ID
    #[arg(long, global = true, value_name = "NAME|PATH|PID")]
    pub(crate) netns: Option<Namespace>,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colour the output
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Keep the journal and the weights of drained servers in DIR
    #[arg(long, global = true, value_name = "DIR", default_value = STATE_DIR)]
    pub(crate) state_dir: PathBuf,
    /// Wait for at most DURATION while another ipvsadm-rs changes the table; 0s fails at once
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration, default_value = "20s")]
    pub(crate) lock_timeout: Duration,
    /// Refuse input larger than SIZE bytes; K, M and G multiply by powers of 1024; 0 means no limit
    ///
    /// The default is the value of the environment variable IPVSADM_MAX_INPUT, or 256M.
    #[arg(long, global = true, value_name = "SIZE")]
    pub(crate) max_input: Option<Limit>,
}

/// The error of a failed write to standard output.
#[derive(Debug)]
pub(crate) struct StdoutError(pub(crate) std::io::Error);

impl std::fmt::Display for StdoutError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot write to standard output: {}", self.0)
    }
}

impl std::error::Error for StdoutError {}

/// Exit codes of the verbs.
pub(crate) mod code {
    pub(crate) const DONE: u8 = 0;
    pub(crate) const ERROR: u8 = 1;
    /// The exit code of `plan` if there are changes to make, and of `check` if the file has errors.
    pub(crate) const CHANGES: u8 = 2;
    /// The exit code if a time limit was reached before all connections had ended.
    pub(crate) const TIME_OVER: u8 = 3;
    /// The exit code of `apply` and `plan` if services with errors were skipped, as requested.
    pub(crate) const SKIPPED: u8 = 4;
}

impl Context {
    /// Returns the defaults of a command line.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            netns: None,
            json: false,
            color: Color::default(),
            state_dir: PathBuf::new(),
            lock_timeout: Duration::ZERO,
            max_input: None,
        }
    }

    /// Returns a common option.
    pub(crate) fn argument(id: &str) -> clap::Arg {
        let command = Self::augment_args(clap::Command::new("common"));
        let found = command.get_arguments().find(|argument| argument.get_id() == id).cloned();
        found.unwrap_or_else(|| clap::Arg::new(id.to_owned()))
    }

    /// Opens the table.
    pub(crate) fn open(&self) -> anyhow::Result<Client> {
        let client = match &self.netns {
            Some(namespace) => Client::open_in(namespace),
            None => Client::open(),
        };
        Ok(client?)
    }

    /// Opens the table of a verb that only reads it. `None`: IPVS is not in the kernel. [`open`](Self::open) would load it.
    pub(crate) fn open_if_loaded(&self) -> anyhow::Result<Option<Client>> {
        module::is_loaded().then(|| self.open()).transpose()
    }

    /// Opens the table as [`open_if_loaded`](Self::open_if_loaded) does. Fails with a hint if IPVS is not in the kernel.
    pub(crate) fn open_loaded(&self) -> anyhow::Result<Client> {
        let not_loaded = || anyhow!("cannot read the table: the module ip_vs is not loaded\n{}", hints::NOT_LOADED);
        self.open_if_loaded()?.ok_or_else(not_loaded)
    }

    /// Returns the sysctl `net.ipv4.vs.expire_quiescent_template` of the namespace. `None`: it cannot be read.
    pub(crate) fn expires_quiescent_templates(&self) -> Option<bool> {
        self.open().ok()?.expires_quiescent_templates().ok()
    }

    /// Returns the directory of the namespace's journal.
    pub(crate) fn folder(&self) -> anyhow::Result<Folder> {
        Folder::of(&self.state_dir, self.netns.as_ref())
    }

    /// Locks the journal, and with it the right to change the table.
    pub(crate) fn journal(&self) -> anyhow::Result<Journal> {
        Journal::open(self.folder()?, self.lock_timeout)
    }

    /// Returns the maximum size of a file to read.
    pub(crate) fn input_limit(&self) -> anyhow::Result<Limit> {
        self.max_input.map_or_else(Limit::from_environment, Ok).map_err(anyhow::Error::msg)
    }

    /// Returns the colours for standard output.
    pub(crate) fn palette(&self) -> Palette {
        Palette::of(self.color, &std::io::stdout())
    }

    /// Writes to standard output and flushes it.
    pub(crate) fn write(&self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> anyhow::Result<()> {
        let mut out = stdout::standard();
        write(&mut out).and_then(|()| out.flush()).map_err(|error| StdoutError(error).into())
    }

    /// Writes as [`write`](Self::write) does. Returns false if the reader of standard output has exited.
    pub(crate) fn write_while_read(
        &self,
        write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> anyhow::Result<bool> {
        match self.write(write) {
            Ok(()) => Ok(true),
            Err(error) => match error.downcast::<StdoutError>() {
                Ok(StdoutError(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
                Ok(error) => Err(error.into()),
                Err(error) => Err(error),
            },
        }
    }

    /// Writes bytes to a file, or to standard output if there is no path.
    pub(crate) fn write_file(&self, path: Option<&Path>, bytes: &[u8]) -> anyhow::Result<()> {
        match path.map_or(Ok(Written::Stdout), |path| write::write(path, bytes))? {
            Written::Done => Ok(()),
            Written::InPlace(reason) => {
                let path = text::path(path.unwrap_or(Path::new("-")));
                print_error(&format!("note: {path} was overwritten, not replaced: {reason}"));
                Ok(())
            }
            Written::Stdout => self.write(|out| out.write_all(bytes)),
        }
    }

    /// Writes a value to standard output as JSON.
    pub(crate) fn write_json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value).context("cannot write JSON")?;
        self.write(|out| writeln!(out, "{}", text::json(&text)))
    }
}
