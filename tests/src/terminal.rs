//! Programs on a pseudo-terminal, whose screen is emulated.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use vt100::Parser;

use crate::wait;

/// A program that runs on a terminal. It is killed when this is dropped.
pub struct OnTerminal {
    child: Child,
    /// The side of the program.
    terminal: File,
    /// The side of the person.
    keyboard: File,
    emulator: Arc<Mutex<Parser>>,
}

/// The time limit for the reaction of a program to a key, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

impl OnTerminal {
    /// Starts a command line, split at blanks, in the network namespace of the calling thread. The variable TERM is
    /// `xterm`.
    pub fn start(line: &str, rows: u16, columns: u16) -> Result<OnTerminal> {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&keyboard)?;
        unlockpt(&keyboard)?;
        let name = ptsname(&keyboard, Vec::new())?;
        let terminal = File::from(rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty())?);
        tcsetwinsize(&keyboard, size(rows, columns))?;
        let mut words = line.split_ascii_whitespace();
        let mut command = Command::new(words.next().context("a command")?);
        command.args(words).env("TERM", "xterm").process_group(0);
        command.stdin(terminal.try_clone()?).stdout(terminal.try_clone()?).stderr(terminal.try_clone()?);
        let child = command.spawn().with_context(|| line.to_owned())?;
        let emulator = Arc::new(Mutex::new(Parser::new(not_0(rows), not_0(columns), 100)));
        let (mut output, shared) = (File::from(keyboard.try_clone()?), Arc::clone(&emulator));
        // Ends when the program and this struct have closed their side.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                lock(&shared).process(&bytes[..length]);
            }
        });
        Ok(OnTerminal { child, terminal, keyboard: keyboard.into(), emulator })
    }

    /// Presses keys, as the bytes that a terminal sends.
    pub fn press(&self, keys: &str) {
        (&self.keyboard).write_all(keys.as_bytes()).expect("the terminal is open");
    }

    /// Returns the text on the screen.
    pub fn contents(&self) -> String {
        lock(&self.emulator).screen().contents()
    }

    /// Waits until the screen meets a condition, and returns its text.
    #[track_caller]
    pub fn wait_until(&self, is_met: impl Fn(&str) -> bool) -> String {
        wait::until(LIMIT, || {
            let contents = self.contents();
            if is_met(&contents) { Ok(contents) } else { Err(format!("the screen is\n{contents}")) }
        })
    }

    /// Waits until the screen has a text, and returns the whole text.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(|contents| contents.contains(text))
    }

    /// Sets the size of the terminal, and sends SIGWINCH to the program.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        lock(&self.emulator).screen_mut().set_size(not_0(rows), not_0(columns));
        tcsetwinsize(&self.keyboard, size(rows, columns))?;
        // The kernel sends it only to the processes of a session that has this terminal.
        Ok(kill_process(self.pid(), Signal::WINCH)?)
    }

    /// Returns whether the terminal is as a shell needs it: lines are edited, the cursor is visible, and the usual screen
    /// is shown.
    pub fn is_usual(&self) -> bool {
        let modes = tcgetattr(&self.terminal).map(|settings| settings.local_modes);
        let has_lines = modes.is_ok_and(|modes| modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        let emulator = lock(&self.emulator);
        has_lines && !emulator.screen().alternate_screen() && !emulator.screen().hide_cursor()
    }

    /// Returns the process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        let status = wait::until(LIMIT, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}, the screen is\n{}", lock(&self.emulator).screen().contents())),
        });
        // Its last output may still be on its way to the emulator.
        std::thread::sleep(Duration::from_millis(200));
        status
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lock(emulator: &Mutex<Parser>) -> MutexGuard<'_, Parser> {
    emulator.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The emulator has no screen without rows or columns.
fn not_0(length: u16) -> NonZeroU16 {
    NonZeroU16::new(length).unwrap_or(NonZeroU16::MIN)
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
