//! The terminal: raw mode, the alternate screen, and keys.
//!
//! The terminal is restored when the screen is left or dropped, and if this process panics.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use ratatui::backend::TermionBackend;
use ratatui::layout::Rect;
use ratatui::{Frame, Terminal, TerminalOptions, Viewport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr};
use termion::event::Key;
use termion::{clear, cursor, screen, style};

use super::keys;

/// The settings of a terminal before it was changed.
struct Saved {
    input: File,
    output: File,
    settings: Termios,
}

/// The terminal to restore. `None`: it is not changed.
static SAVED: Mutex<Option<Saved>> = Mutex::new(None);

/// Restores the terminal, if it is changed. Errors are ignored, because there is nothing else to try.
fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Saved { input, mut output, settings }) = saved {
        let _ = write!(output, "{}{}{}", style::Reset, cursor::Show, screen::ToMainScreen);
        let _ = tcsetattr(&input, OptionalActions::Now, &settings);
    }
}

/// Restores the terminal before the message of a panic. The release build does not unwind, so nothing is dropped then.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            print(panic);
        }));
    });
}

/// A terminal that is used as a screen.
pub(super) struct Screen {
    input: File,
    output: File,
    drawn: Drawn,
}

/// The screen as it was drawn last.
struct Drawn {
    terminal: Terminal<TermionBackend<BufWriter<File>>>,
    area: Rect,
}

impl Drawn {
    /// Returns an empty screen.
    fn empty(output: &File, area: Rect) -> io::Result<Self> {
        let backend = TermionBackend::new(BufWriter::with_capacity(1 << 16, output.try_clone()?));
        // Not the viewport that follows the size of the terminal, because some terminals report 0.
        let options = TerminalOptions { viewport: Viewport::Fixed(area) };
        Ok(Self { terminal: Terminal::with_options(backend, options)?, area })
    }
}

impl Screen {
    /// Takes over a terminal, of which both descriptors are open.
    pub(super) fn enter(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        restore_on_panic();
        let (input, output) = (File::from(input), File::from(output));
        let drawn = Drawn::empty(&output, Rect::ZERO)?;
        let mut screen = Self { input, output, drawn };
        screen.take_over()?;
        Ok(screen)
    }

    fn take_over(&mut self) -> io::Result<()> {
        let settings = tcgetattr(&self.input)?;
        let mut raw = settings.clone();
        raw.make_raw();
        let saved = Saved { input: self.input.try_clone()?, output: self.output.try_clone()?, settings };
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        tcsetattr(&self.input, OptionalActions::Now, &raw)?;
        write!(self.output, "{}{}", screen::ToAlternateScreen, cursor::Hide)?;
        self.clear(self.drawn.area)
    }

    /// Erases everything, so that the next frame is drawn as a whole.
    fn clear(&mut self, area: Rect) -> io::Result<()> {
        self.drawn = Drawn::empty(&self.output, area)?;
        write!(self.output, "{}", clear::All)
    }

    /// Restores the terminal, until [`resume`](Self::resume).
    pub(super) fn leave(&mut self) {
        restore();
    }

    /// Takes the terminal over again, and draws everything with the next frame.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        // If it was not left, the settings from before are still known.
        restore();
        self.take_over()
    }

    /// Draws a frame of this size.
    pub(super) fn draw(&mut self, area: Rect, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if self.drawn.area != area {
            self.clear(area)?;
        }
        self.drawn.terminal.draw(draw).map(drop)
    }

    /// Discards the keys that were pressed and not read.
    pub(super) fn discard_keys(&self) {
        // A terminal that was closed has none.
        let _ = tcflush(&self.input, QueueSelector::IFlush);
    }

    /// Reads the keys that were pressed. `None`: the terminal was closed.
    pub(super) fn keys(&mut self) -> io::Result<Option<Vec<Key>>> {
        /// The time after which an escape character is a key and not the start of a sequence.
        const REST: Duration = Duration::from_millis(50);
        let mut bytes = Vec::new();
        loop {
            let mut piece = [0; 1024];
            match rustix::io::read(&self.input, &mut piece) {
                Ok(0) => return Ok(None),
                Ok(length) => bytes.extend_from_slice(&piece[..length]),
                Err(Errno::INTR) => continue,
                // Another program on this terminal may have switched blocking off.
                Err(Errno::AGAIN) => return Ok(Some(keys::parse(&bytes))),
                Err(error) => return Err(error.into()),
            }
            if !keys::is_unfinished(&bytes) || !is_readable(self.input.as_fd(), REST)? {
                return Ok(Some(keys::parse(&bytes)));
            }
        }
    }
}

/// The terminal's input.
impl AsFd for Screen {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn is_readable(input: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&limit)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    /// Returns the two sides of a pseudo-terminal.
    fn pseudo_terminal() -> (File, File) {
        let side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&side).and_then(|()| unlockpt(&side)).expect("a terminal");
        let name = ptsname(&side, Vec::new()).expect("a name");
        let other =
            rustix::fs::open(name, rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY, rustix::fs::Mode::empty());
        (side.into(), other.expect("the other side").into())
    }

    fn is_raw(terminal: &File) -> bool {
        !tcgetattr(terminal).expect("settings").local_modes.contains(LocalModes::ICANON)
    }

    /// Reads the output of the terminal up to a text.
    fn read_to(side: &mut File, text: &str) {
        let mut output = String::new();
        while !output.contains(text) {
            let mut bytes = [0; 4096];
            let length = side.read(&mut bytes).expect("output");
            output += &String::from_utf8_lossy(&bytes[..length]);
        }
    }

    /// One test, because the state to restore belongs to the process.
    #[test]
    fn the_terminal_is_restored() {
        let (mut side, terminal) = pseudo_terminal();
        let enter = || {
            let copy = || OwnedFd::from(terminal.try_clone().expect("a copy"));
            Screen::enter(copy(), copy()).expect("a screen")
        };
        let mut screen = enter();
        assert!(is_raw(&terminal));
        read_to(&mut side, "\x1b[?1049h\x1b[?25l");
        screen
            .draw(Rect::new(0, 0, 20, 2), |frame| {
                frame.buffer_mut().set_string(0, 1, "shown", ratatui::style::Style::new())
            })
            .expect("drawn");
        read_to(&mut side, "shown");
        side.write_all(b"y\r").expect("input");
        assert!(is_readable(screen.as_fd(), Duration::from_secs(30)).expect("a terminal"));
        screen.discard_keys();
        assert!(!is_readable(screen.as_fd(), Duration::from_millis(100)).expect("a terminal"));
        screen.leave();
        assert!(!is_raw(&terminal));
        read_to(&mut side, "\x1b[?25h\x1b[?1049l");
        screen.resume().expect("a screen");
        assert!(is_raw(&terminal));
        drop(screen);
        assert!(!is_raw(&terminal));
        read_to(&mut side, "\x1b[?1049l");
        let panicked = std::panic::catch_unwind(|| {
            let screen = enter();
            assert!(is_raw(&terminal));
            // As in the release build, which does not unwind.
            std::mem::forget(screen);
            panic!("expected");
        });
        assert!(panicked.is_err() && !is_raw(&terminal));
        read_to(&mut side, "\x1b[?1049l");
    }
}
