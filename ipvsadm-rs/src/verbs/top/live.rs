//! The loop: reads the table, draws the screen, and waits for keys and signals.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ratatui::layout::Rect;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::SIGTSTP;
use signal_hook::low_level::emulate_default_handler;

use super::assessments::Assessments;
use super::model::{Action, Model, Options};
use super::reading::{Reader, Sample};
use super::screen::Screen;
use super::signals::Signals;
use super::{drain, view};
use crate::context::{Context, StdoutError, code};
use crate::terminal::width::Size;

/// Shows the table until a key or a signal ends it.
pub(super) fn run(context: &Context, mut reader: Reader, options: Options) -> anyhow::Result<u8> {
    let interval = options.interval;
    let mut assessments = Assessments::default();
    let first = reader.read()?;
    options.selected.ensure_found(&first.state.services)?;
    let mut live = Live {
        context,
        model: Model::new(options, Sample::new(first, None, &mut assessments)),
        // Before the terminal is changed, so that no signal finds it changed.
        signals: Signals::catch()?,
        screen: Screen::enter(copy(io::stdin())?, copy(io::stdout())?).map_err(StdoutError)?,
    };
    let mut next = Instant::now() + interval;
    loop {
        if let Some(signal) = live.signals.end() {
            drop(live);
            let _ = emulate_default_handler(signal);
            return Ok(code::ERROR);
        }
        live.draw()?;
        if !live.wait(next)? {
            return Ok(code::DONE);
        }
        if next <= Instant::now() {
            let start = Instant::now();
            match reader.read() {
                Ok(reading) => {
                    let before = &live.model.latest().reading;
                    let sample = Sample::new(reading, Some(before), &mut assessments);
                    live.model.add(sample);
                }
                Err(error) => live.model.fail(error.to_string()),
            }
            next = following(next, interval, start.elapsed());
        }
    }
}

fn copy(stream: impl AsFd) -> io::Result<std::os::fd::OwnedFd> {
    stream.as_fd().try_clone_to_owned()
}

/// Returns the time of the next reading. At most a fifth of the time is spent on readings.
pub(super) fn following(last: Instant, interval: Duration, took: Duration) -> Instant {
    let mut next = last + interval;
    let earliest = Instant::now() + 4 * took;
    while next < earliest {
        next += interval;
    }
    next
}

struct Live<'c> {
    context: &'c Context,
    model: Model,
    signals: Signals,
    screen: Screen,
}

impl Live<'_> {
    fn draw(&mut self) -> anyhow::Result<()> {
        /// The maximum number of columns and rows. A terminal can report any number.
        const MOST: usize = 1000;
        let size = Size::of_stdout().unwrap_or(Size { rows: 24, columns: 80 });
        let within = |length: usize| length.clamp(1, MOST) as u16;
        let area = Rect::new(0, 0, within(size.columns), within(size.rows));
        self.model.set_page(view::page(&self.model, area));
        let model = &self.model;
        self.screen.draw(area, |frame| view::draw(frame, model)).map_err(|error| StdoutError(error).into())
    }

    /// Waits for a key, a signal or the next reading, and processes keys and signals. Returns false at the end.
    fn wait(&mut self, next: Instant) -> anyhow::Result<bool> {
        let left = next.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(&self.screen, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let has_keys = !fds[0].revents().is_empty();
        self.signals.clear();
        if self.signals.must_stop() {
            self.suspend()?;
        } else if self.signals.was_continued() {
            self.screen.resume().map_err(StdoutError)?;
        }
        if !has_keys || self.signals.end().is_some() {
            return Ok(true);
        }
        let Some(keys) = self.screen.keys().map_err(StdoutError)? else { return Ok(false) };
        for key in keys {
            match self.model.press(key) {
                Action::Nothing => {}
                Action::Quit => return Ok(false),
                Action::Suspend => self.suspend()?,
                Action::Drain(item) => {
                    let services = &self.model.latest().reading.state.services;
                    let targets = drain::Targets::of(item, services);
                    // Keys that were pressed before the question, such as in a pasted text, do not answer it.
                    self.screen.discard_keys();
                    self.outside(|context| drain::ask(context, &targets))?;
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    fn suspend(&mut self) -> anyhow::Result<()> {
        self.outside(|_| {
            let _ = emulate_default_handler(SIGTSTP);
        })
    }

    /// Leaves the screen, calls a function, and returns to the screen.
    fn outside(&mut self, act: impl FnOnce(&Context)) -> anyhow::Result<()> {
        self.screen.leave();
        self.signals.set_outside(true);
        act(self.context);
        self.signals.set_outside(false);
        self.screen.resume().map_err(|error| StdoutError(error).into())
    }
}
