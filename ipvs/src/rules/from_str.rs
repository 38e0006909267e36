//! `FromStr` of changes, services, sync daemons and destinations: reads the text that `Display` prints.

use std::str::FromStr;

use super::address;
use super::command::Command;
use super::error::ParseError;
use super::options::Word;
use super::read::{Line, LineError, Lines, column};
use super::resolver::Numeric;
use super::scan::{Scanner, Token};
use super::words::Words;
use crate::change::Change;
use crate::daemon::SyncDaemon;
use crate::destination::Destination;
use crate::service::Service;

/// Reads one line, as [`Lines`] does, without names of hosts and ports.
///
/// ```
/// use ipvs::{Change, ServiceKey};
///
/// let change: Change = "-D -t 192.0.2.1:80".parse()?;
/// assert_eq!(change, Change::DeleteService(ServiceKey::tcp([192, 0, 2, 1], 80)));
/// # Ok::<_, ipvs::rules::LineError>(())
/// ```
impl FromStr for Change {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        let failed = |number, error| LineError { number, column: 1, text: text.to_owned(), error };
        let mut names = Numeric;
        let mut lines = Lines::new(text.as_bytes(), &mut names);
        let Line { number, command } = lines.next().ok_or_else(|| failed(1, ParseError::NoCommand))??;
        let Command::Change(change) = command else { return Err(failed(number, ParseError::NotAChange)) };
        match lines.next() {
            None => Ok(change),
            Some(second) => Err(failed(second?.number, ParseError::SecondLine)),
        }
    }
}

/// Reads the ipvsadm line that adds the service.
///
/// ```
/// use ipvs::{Scheduler, Service, ServiceKey};
///
/// let service: Service = "-A -t 192.0.2.1:80 -s rr".parse()?;
/// assert_eq!(service, Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR));
/// # Ok::<_, ipvs::rules::LineError>(())
/// ```
impl FromStr for Service {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        match text.parse()? {
            Change::AddService(service) => Ok(service),
            _ => Err(LineError { number: 1, column: 1, text: text.to_owned(), error: ParseError::NotAService }),
        }
    }
}

/// Reads the ipvsadm line that starts the daemon.
///
/// ```
/// use ipvs::{Interface, Role, SyncDaemon};
///
/// let daemon: SyncDaemon = "--start-daemon master --mcast-interface eth0 --syncid 7".parse()?;
/// assert_eq!(daemon, SyncDaemon::new(Role::Master, Interface::new("eth0")?, 7));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
impl FromStr for SyncDaemon {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        match text.parse()? {
            Change::StartDaemon(daemon) => Ok(daemon),
            _ => Err(LineError { number: 1, column: 1, text: text.to_owned(), error: ParseError::NotADaemon }),
        }
    }
}

/// Reads ipvsadm's options for a server: `-r 10.0.0.1:80 -m -w 1`. The port is required, because there is no service
/// that has a default.
///
/// ipvsadm has no options for [`Forwarding::Local`], [`Forwarding::Bypass`] and [`Forwarding::Other`]. `Display` prints
/// `-g` for them, as ipvsadm does, which is read as [`Forwarding::DirectRoute`].
///
/// [`Forwarding::Local`]: crate::Forwarding::Local
/// [`Forwarding::Bypass`]: crate::Forwarding::Bypass
/// [`Forwarding::Other`]: crate::Forwarding::Other
/// [`Forwarding::DirectRoute`]: crate::Forwarding::DirectRoute
///
/// ```
/// use ipvs::{Destination, Forwarding};
///
/// let server: Destination = "-r 10.0.0.1:80 -m".parse()?;
/// assert_eq!(server, Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade));
/// # Ok::<_, ipvs::rules::LineError>(())
/// ```
impl FromStr for Destination {
    type Err = LineError;

    fn from_str(text: &str) -> Result<Self, LineError> {
        // Each server fits a service of its own family. A mark is such a service.
        let prefix = if text.contains('[') { "-a -f 1 -6 " } else { "-a -f 1 " };
        match format!("{prefix}{text}").parse() {
            Ok(Change::AddDestination(_, server)) => match server_without_port(text) {
                None => Ok(server),
                Some(value) => Err(LineError {
                    number: 1,
                    column: column(text.as_bytes(), Some(value)),
                    text: text.to_owned(),
                    error: ParseError::NoServerPort,
                }),
            },
            Ok(_) => Err(LineError { number: 1, column: 1, text: text.to_owned(), error: ParseError::NotAServer }),
            Err(error) => Err(LineError {
                column: error.column.saturating_sub(prefix.len()).max(1),
                text: text.to_owned(),
                ..error
            }),
        }
    }
}

/// Returns the value of `-r` in valid options, if it has no port.
fn server_without_port(options: &str) -> Option<&[u8]> {
    let line = options.lines().next()?;
    let mut scanner = Scanner::new(Words::of(line.as_bytes()), false);
    while let Ok(Some(token)) = scanner.next() {
        if let Token::Word(Word::Option(row, _), Some(value)) = token
            && row.long == "real-server"
        {
            let endpoint = address::endpoint(value, None, &mut Numeric);
            return endpoint.is_ok_and(|endpoint| endpoint.port.is_none()).then_some(value);
        }
    }
    None
}
