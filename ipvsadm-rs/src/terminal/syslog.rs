//! Messages to the system log, for a process without a terminal.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

/// Priorities of syslog(3), combined with the facility LOG_DAEMON.
#[derive(Clone, Copy)]
pub(crate) enum Priority {
    Error = 3 << 3 | 3,
    Warning = 3 << 3 | 4,
    Notice = 3 << 3 | 5,
}

/// Sends a message to the system's logger, or to the kernel log if there is none. Errors are ignored, because there is
/// nowhere to report them.
pub(crate) fn log(priority: Priority, text: &str) {
    let line = line(priority, text);
    if to_logger(&line).is_err() {
        let _ = to_kernel(&line);
    }
}

/// Sends a notice to the system's logger. Without a logger, it is lost.
pub(crate) fn audit(text: &str) {
    let _ = to_logger(&line(Priority::Notice, text));
}

fn line(priority: Priority, text: &str) -> String {
    format!("<{}>ipvsadm-rs[{}]: {text}", priority as u8, std::process::id())
}

fn to_logger(line: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // A logger that hangs must not block this process.
    socket.set_nonblocking(true)?;
    socket.send_to(line.as_bytes(), "/dev/log").map(drop)
}

fn to_kernel(line: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open("/dev/kmsg")?.write_all(line.as_bytes())
}
