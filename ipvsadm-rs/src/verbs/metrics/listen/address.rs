//! The addresses on which the server listens.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, bail};
use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::terminal::text;

/// The value of `--listen`.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::verbs::metrics) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// The sockets that systemd passes to a service.
    Systemd,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected ADDRESS:PORT, unix:PATH or systemd";
        match (text, text.strip_prefix("unix:")) {
            ("systemd", _) => Ok(Self::Systemd),
            (_, Some("")) => Err(EXPECTED.into()),
            (_, Some(path)) => Ok(Self::Unix(path.into())),
            _ => text.parse().map(Self::Tcp).map_err(|_| EXPECTED.into()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", text::path(path)),
            Self::Systemd => f.write_str("systemd"),
        }
    }
}

/// A socket that listens.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Fails if the socket does not listen, such as a connection that systemd accepted.
    fn listening(self) -> anyhow::Result<Self> {
        let listens = match &self {
            Self::Tcp(listener) => socket_acceptconn(listener),
            Self::Unix(listener) => socket_acceptconn(listener),
        };
        match listens.context("cannot use a socket from systemd")? {
            true => Ok(self),
            false => bail!("cannot use a socket from systemd: it does not listen\nThe unit must have Accept=no."),
        }
    }

    /// Returns the address, for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            Self::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix:{}", path.map(text::path).unwrap_or_default())
            }
        }
    }
}

impl Address {
    /// Opens the sockets. There are several only for systemd.
    pub(super) fn open(&self) -> anyhow::Result<Vec<Listener>> {
        let failed = || format!("cannot listen on {self}");
        match self {
            Self::Tcp(address) => Ok(vec![Listener::Tcp(TcpListener::bind(address).with_context(failed)?)]),
            Self::Unix(path) => Ok(vec![Listener::Unix(bind_unix(path).with_context(failed)?)]),
            Self::Systemd => of_systemd(),
        }
    }
}

/// Binds a socket to a path. The socket of a process that has ended is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).err().is_some_and(refused)
}

/// Takes the sockets that systemd passed, sd_listen_fds(3).
fn of_systemd() -> anyhow::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        bail!("systemd passed no socket\nStart the unit of the socket, such as ipvsadm-rs-metrics.socket.");
    }
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        // The socket stays if it has another type.
        let listener = match passed.take_tcp_listener(index) {
            Ok(listener) => listener.map(Listener::Tcp),
            Err(_) => passed
                .take_unix_listener(index)
                .context("cannot use a socket from systemd: it must have ListenStream=")?
                .map(Listener::Unix),
        };
        if let Some(listener) = listener {
            listeners.push(listener.listening()?);
        }
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::testing::Place;

    #[test]
    fn addresses_are_read() {
        for text in ["127.0.0.1:9100", "[::1]:9100", "unix:/run/ipvs.sock", "systemd"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        for text in ["", "9100", ":9100", "localhost", "unix:", "::1:9100", "127.0.0.1:99999"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn sockets_must_listen() {
        use std::os::fd::OwnedFd;

        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let connection =
            std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        assert!(Listener::Tcp(listener).listening().is_ok());
        let (pair, _other) = UnixStream::pair().expect("sockets");
        for connected in [Listener::Tcp(OwnedFd::from(connection).into()), Listener::Unix(OwnedFd::from(pair).into())] {
            let error = connected.listening().err().expect("it does not listen").to_string();
            assert!(error.starts_with("cannot use a socket from systemd: it does not listen\n"), "{error}");
        }
    }

    #[test]
    fn an_abandoned_socket_is_replaced() {
        let place = Place::new("listen");
        let path = place.path().join("socket");
        let address = Address::Unix(path.clone());
        let first = address.open().expect("a socket");
        let error = address.open().err().expect("in use").to_string();
        assert!(error.starts_with("cannot listen on unix:"), "{error}");
        drop(first);
        assert!(path.exists());
        address.open().expect("replaced");
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "precious").expect("a file");
        assert!(address.open().is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "precious");
    }
}
