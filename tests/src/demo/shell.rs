//! `cargo demo -- shell`: a prompt on the director, on the terminal the demo was started from.
//!
//! The guest gets this terminal as its tty1. Bytes pass through raw; the guest's line discipline handles editing,
//! signals and job control.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::guest::{boot, install_programs};
use crate::guest::protocol::End;
use crate::host::uml::Boot;
use crate::lab::topology::Nat;
use crate::traffic::server::Protocol::Http;

const HOME: &str = "/run/home";
/// Variable that passes the type of the terminal to the guest.
const TERM: &str = "IPVS_DEMO_TERM";
/// Variable that passes the size of the terminal to the guest: `ROWS COLUMNS`.
const SIZE: &str = "IPVS_DEMO_SIZE";

const WELCOME: &str = "
You are root on the director. The web servers on web1 and web2 reply with their
names.
  ipvsadm -A -t 10.1.0.100:80 -s rr
  ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11 -m
  ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12 -m
  on client get http://10.1.0.100/
`on HOST COMMAND` runs a command on a host.
Nothing that you change here affects your machine. `exit` ends the demo.

";

/// Runs the shell on this terminal, in the host program.
pub(super) fn on_this_terminal() -> Result<End> {
    // Without CLOEXEC, so that the guest inherits it.
    let terminal = rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY, Mode::empty())
        .context("`shell` needs a terminal")?;
    let settings = tcgetattr(&terminal)?;
    let size = tcgetwinsize(&terminal)?;
    let ours = terminal.try_clone()?;
    let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
    let extra = vec![(TERM, term), (SIZE, format!("{} {}", size.ws_row, size.ws_col))];
    let mut guest = boot(Boot { terminal: Some(terminal), extra, ..Boot::default() })?;
    let week = Duration::from_secs(7 * 86_400);
    let end = guest.run("shell", week, |bytes| drop(std::io::stderr().write_all(bytes)));
    drop(guest);
    // The guest sets it to raw mode, and does not restore it if it dies.
    tcsetattr(&ours, OptionalActions::Now, &settings)?;
    end
}

/// Runs the shell, in the guest.
pub(super) fn shell() -> Result<()> {
    install_programs()?;
    let lab = Nat::new()?;
    lab.web1.serve(Http, "10.2.0.11:80")?;
    lab.web2.serve(Http, "10.2.0.12:80")?;
    rustix::system::sethostname(b"director")?;
    fs::create_dir(HOME)?;

    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty1")?;
    // This process leads its session and has no controlling terminal yet.
    rustix::process::ioctl_tiocsctty(&terminal).context("the terminal")?;
    let size = std::env::var(SIZE).unwrap_or_default();
    if let Some((rows, columns)) = size.split_once(' ') {
        let (ws_row, ws_col) = (rows.parse()?, columns.parse()?);
        tcsetwinsize(&terminal, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })?;
    }
    write!(terminal, "{}{WELCOME}", Nat::DRAWING)?;

    let mut command = if Path::new("/bin/bash").exists() {
        let mut bash = Command::new("/bin/bash");
        // The startup files of this machine would set prompt and PATH.
        bash.args(["--norc", "--noprofile", "-i"]);
        bash
    } else {
        let mut sh = Command::new("/bin/sh");
        sh.arg("-i");
        sh
    };
    command
        .current_dir(HOME)
        .env("HOME", HOME)
        .env("PS1", "director# ")
        .env("TERM", std::env::var(TERM).unwrap_or_default())
        .stdin(Stdio::from(terminal.try_clone()?))
        .stdout(terminal.try_clone()?)
        .stderr(terminal);
    // Ignored, because the exit status of the shell's last command is not an error of the demo.
    lab.director.enter(|| command.status()).context("start a shell")?;
    Ok(())
}
