//! The protocol between the host program and process 1 of the guest, on a serial line.
//!
//! Messages are lines of text, except the output of a test, whose raw bytes follow a line with their length. The host
//! skips everything before the first [`HELLO`], because the kernel may print there while it boots.
//!
//! | guest sends | host sends |
//! |---|---|
//! | `ipvs-lab hello` | `set KEY VALUE` …, `go` |
//! | `ready RELEASE`, or `failed WHY` | `run SECONDS NAME` |
//! | `out LENGTH` and LENGTH bytes, any number of times | |
//! | `end exit CODE`, `end signal NUMBER`, `end timeout` | the next `run`; the guest powers off when the line closes |

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use crate::wait::readable;

/// The first message of a guest.
pub const HELLO: &str = "ipvs-lab hello";

/// The end of a job in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The exit status of a job that returned or called exit.
    Exit(i32),
    /// The number of the signal that ended the job.
    Signal(i32),
    /// The time limit, at which the job was killed with all its processes.
    TimedOut,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exit(code) => write!(f, "exit {code}"),
            End::Signal(number) => write!(f, "signal {number}"),
            End::TimedOut => write!(f, "timeout"),
        }
    }
}

impl End {
    /// Parses the text that `Display` writes. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<End> {
        match text.split_once(' ') {
            None if text == "timeout" => Some(End::TimedOut),
            Some(("exit", code)) => Some(End::Exit(code.parse().ok()?)),
            Some(("signal", number)) => Some(End::Signal(number.parse().ok()?)),
            _ => None,
        }
    }
}

/// One end of the line.
#[derive(Debug)]
pub struct Line {
    input: OwnedFd,
    output: OwnedFd,
    pending: Vec<u8>,
}

impl Line {
    /// Makes a line that reads from `input` and writes to `output`.
    pub fn new(input: OwnedFd, output: OwnedFd) -> Line {
        Line { input, output, pending: Vec::new() }
    }

    /// Returns the descriptor to poll for messages.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// Sends a message.
    pub fn send(&mut self, text: &str) -> io::Result<()> {
        debug_assert!(!text.contains('\n'), "a line has no newline inside");
        self.write(format!("{text}\n").as_bytes())
    }

    /// Sends a part of a job's output.
    pub fn send_output(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut frame = format!("out {}\n", bytes.len()).into_bytes();
        frame.extend_from_slice(bytes);
        self.write(&frame)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(&self.output, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Returns the next message. Fails with `TimedOut` at the deadline, and with `UnexpectedEof` if the line is closed.
    pub fn receive(&mut self, deadline: Instant) -> io::Result<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned());
            }
            self.fill(deadline)?;
        }
    }

    /// Returns the next `length` bytes. Fails as [`Line::receive`] does.
    pub fn receive_bytes(&mut self, length: usize, deadline: Instant) -> io::Result<Vec<u8>> {
        while self.pending.len() < length {
            self.fill(deadline)?;
        }
        Ok(self.pending.drain(..length).collect())
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        if !readable(self.input.as_fd(), deadline)? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut chunk = [0; 16 << 10];
        match rustix::io::read(&self.input, &mut chunk) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.pending.extend_from_slice(&chunk[..length]);
                Ok(())
            }
            // A serial line returns EIO after the other side has closed it.
            Err(rustix::io::Errno::IO) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
