//! A line in the system's log, for what happens when nobody looks.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

/// How much it matters: the numbers of syslog(3), of a daemon.
#[derive(Clone, Copy)]
pub(crate) enum Priority {
    Error = 3 << 3 | 3,
    Notice = 3 << 3 | 5,
}

/// To the system's logger; where there is none, to the kernel's log. If there is neither, nothing is to be done about it.
pub(crate) fn log(priority: Priority, text: &str) {
    let line = format!("<{}>ipvsadm-rs[{}]: {text}", priority as u8, std::process::id());
    if to_logger(&line).is_err() {
        let _ = to_kernel(&line);
    }
}

fn to_logger(line: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    // Nothing waits for a logger that hangs.
    socket.set_nonblocking(true)?;
    socket.send_to(line.as_bytes(), "/dev/log").map(drop)
}

fn to_kernel(line: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open("/dev/kmsg")?.write_all(line.as_bytes())
}
