//! The words of a line → a command: the options that it accepts, cross-checks, defaults. The checks are in ipvsadm's
//! order, so that both report the same one of several mistakes.

use super::address::{self, Endpoint};
use super::command::{Columns, Command, Listing, Subject};
use super::draft::{Draft, Limits, Method, Server, protocol_of_ports};
use super::error::{ParseError, Problem};
use super::flags::read_flags;
use super::number::strtol;
use super::options::{CommandRow, LEGAL, OPTIONS, OptionRow, Read, Verb, Word};
use super::resolver::Resolver;
use super::scan::{Scanner, Token};
use super::value_error::{ValueError, text};
use crate::change::Change;
use crate::daemon::Role;
use crate::destination::{Destination, Forwarding, Tunnel};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::timeouts::Timeouts;

/// The timeout of `-p` without a value, in seconds. ipvsadm's manual says 300; the program uses 360.
const DEFAULT_PERSISTENCE: &[u8] = b"360";
/// The maximum number of bytes that ipvsadm reads of a list of flags. It ignores the rest.
const LONGEST_FLAGS: usize = 127;

/// Reads the words of one line.
pub(super) fn parse<'a>(
    words: impl Iterator<Item = &'a [u8]> + Clone,
    posix: bool,
    limits: Limits,
    resolver: &mut dyn Resolver,
) -> Result<Command, Problem> {
    let mut scanner = Scanner::new(words, posix);
    let mut draft = Draft::new(limits);
    let mut command = None;
    loop {
        match (scanner.next(), command) {
            (Ok(Some(Token::Loose(word))), _) => draft.loose.push((word, scanner.last())),
            (Ok(Some(Token::Word(Word::Option(row, bit), value))), Some(_)) => {
                draft.take(row, bit, value, resolver).map_err(|error| Problem { error, word: scanner.last() })?;
            }
            (Ok(Some(Token::Word(Word::Command(row), value))), None) => {
                match row.verb {
                    // These take effect at once; the words after them are not read.
                    Verb::Help => return Ok(Command::Help),
                    Verb::Version => return Ok(Command::Version),
                    _ => command = Some(row),
                }
                if let Some(value) = value {
                    draft.daemon.role = read_role(row, value, scanner.last())?;
                }
            }
            // The first option must be the command. Other words may precede it.
            (_, None) => return Err(Problem { error: ParseError::NoCommand, word: scanner.last() }),
            (Ok(Some(Token::Word(Word::Command(_), _))), Some(_)) => {
                let error = ParseError::SecondCommand(text(scanner.last_word()));
                return Err(Problem { error, word: scanner.last() });
            }
            (Err(problem), Some(_)) => return Err(*problem),
            (Ok(None), Some(row)) => return draft.into_command(row, scanner.taken(), resolver),
        }
    }
}

/// Reads the role that follows a command.
fn read_role(row: &CommandRow, value: &[u8], word: usize) -> Result<Role, Problem> {
    match value {
        b"master" => Ok(Role::Master),
        b"backup" => Ok(Role::Backup),
        _ => Err(Problem { error: ParseError::BadRole { command: row.name, value: text(value) }, word }),
    }
}

impl<'a> Draft<'a> {
    /// Reads one option.
    #[inline(always)]
    pub(super) fn take(
        &mut self,
        option: &'static OptionRow,
        bit: u64,
        value: Option<&'a [u8]>,
        resolver: &mut dyn Resolver,
    ) -> Result<(), ParseError> {
        // Options without a name may be repeated.
        if self.given & bit != 0 && !option.name.is_empty() {
            return Err(ParseError::Repeated(option.name));
        }
        self.given |= bit;
        match option.read {
            Read::Flag(read) => read(self),
            Read::Value(read) => {
                let value = value.unwrap_or(DEFAULT_PERSISTENCE);
                read(self, value, resolver).map_err(|error| bad_value(option, value, error))?;
            }
        }
        Ok(())
    }
}

impl Draft<'_> {
    /// Returns the command of the line, after all its `words` were read.
    fn into_command(
        self,
        row: &'static CommandRow,
        words: usize,
        resolver: &mut dyn Resolver,
    ) -> Result<Command, Problem> {
        let timeouts = if row.verb == Verb::Set { Some(self.timeouts(words)?) } else { None };
        if let Some((word, at)) = self.loose.get(if timeouts.is_some() { 3 } else { 0 }) {
            return Err(Problem { error: ParseError::UnexpectedWord(text(word)), word: *at });
        }
        // All further errors are about the line as a whole.
        self.command(row, timeouts, resolver).map_err(|error| Problem { error, word: words })
    }

    /// Reads the three words of `--set`.
    fn timeouts(&self, words: usize) -> Result<Timeouts, Problem> {
        let [tcp, tcp_fin, udp, ..] = self.loose[..] else {
            return Err(Problem { error: ParseError::SetNeedsThree, word: words });
        };
        let seconds = |(value, word)| {
            let bad = |_| Problem { error: ParseError::BadTimeout(text(value)), word };
            strtol(value, 0, self.limits.timeout).map_err(bad)
        };
        Ok(Timeouts { tcp: seconds(tcp)?, tcp_fin: seconds(tcp_fin)?, udp: seconds(udp)? })
    }

    fn command(
        &self,
        row: &CommandRow,
        timeouts: Option<Timeouts>,
        resolver: &mut dyn Resolver,
    ) -> Result<Command, ParseError> {
        let key = self.service_key()?;
        let flags = self.scheduler_flags()?;
        self.check_options(row)?;
        // The options that the command requires are present, since this was checked.
        let named = || key.ok_or(ParseError::NoCommand);
        Ok(Command::Change(match row.verb {
            Verb::AddService => Change::AddService(self.new_service(named()?, flags, resolver)?),
            Verb::EditService => Change::EditService(self.new_service(named()?, flags, resolver)?),
            Verb::DeleteService => Change::DeleteService(named()?),
            Verb::AddServer => Change::AddDestination(named()?, self.new_server(&named()?, resolver)?),
            Verb::EditServer => Change::EditDestination(named()?, self.new_server(&named()?, resolver)?),
            Verb::DeleteServer => Change::DeleteDestination(named()?, self.server_key(&named()?, resolver)?),
            Verb::Flush => Change::Flush,
            Verb::Zero => Change::Zero(key),
            Verb::Set => Change::SetTimeouts(timeouts.unwrap_or_default()),
            Verb::StartDaemon => Change::StartDaemon(self.daemon),
            Verb::StopDaemon => Change::StopDaemon(self.daemon.role),
            Verb::List => return self.listing(key).map(Command::List),
            Verb::Save => return Ok(Command::Save { numeric: self.listing.numeric }),
            Verb::Restore => return Ok(Command::Restore { stream: self.stream }),
            Verb::Help => return Ok(Command::Help),
            Verb::Version => return Ok(Command::Version),
        }))
    }

    /// Returns the specified service, or `None` if the line has none. Fails if `-6` is not valid for it.
    fn service_key(&self) -> Result<Option<ServiceKey>, ParseError> {
        match (self.key, self.ipv6) {
            (key, false) => Ok(key),
            (Some(ServiceKey::Fwmark { mark, .. }), true) => Ok(Some(ServiceKey::Fwmark { mark, family: Family::V6 })),
            (_, true) => Err(ParseError::Ipv6WithoutMark),
        }
    }

    pub(super) fn scheduler_flags(&self) -> Result<SchedulerFlags, ParseError> {
        let Some(list) = self.scheduler_flags else { return Ok(self.service.flags) };
        let list = &list[..list.len().min(LONGEST_FLAGS)];
        let names = list.split(|&byte| byte == b',').filter(|name| !name.is_empty());
        read_flags(names, self.service.scheduler).map_err(|error| bad("sched-flags", list, error))
    }

    /// Checks that the command accepts all given options, and that all required options are given.
    fn check_options(&self, row: &CommandRow) -> Result<(), ParseError> {
        let legal = LEGAL[row.verb as usize];
        let given = self.given;
        let is_fine =
            given & !legal.allowed == 0 && legal.required & !given == 0 && (given & legal.exclusive).count_ones() <= 1;
        if is_fine {
            return Ok(());
        }
        let command = row.name;
        let mut earlier = None;
        for (i, option) in OPTIONS.iter().enumerate() {
            let (bit, name) = (1u64 << i, option.name);
            if given & bit == 0 {
                if legal.required & bit != 0 {
                    return Err(ParseError::Missing { option: name, command });
                }
                continue;
            }
            if legal.allowed & bit == 0 {
                return Err(ParseError::Illegal { option: name, command });
            }
            if legal.exclusive & bit != 0 {
                if let Some(with) = earlier {
                    return Err(ParseError::Conflict { option: name, with, command });
                }
                earlier = Some(name);
            }
        }
        Ok(())
    }

    fn new_service(
        &self,
        key: ServiceKey,
        flags: SchedulerFlags,
        resolver: &mut dyn Resolver,
    ) -> Result<Service, ParseError> {
        validate_service(&Service { key, ..self.service })?;
        self.service_settings(key, flags, resolver)
    }

    pub(super) fn service_settings(
        &self,
        key: ServiceKey,
        flags: SchedulerFlags,
        resolver: &mut dyn Resolver,
    ) -> Result<Service, ParseError> {
        let family = key.family();
        let netmask = match self.netmask {
            Some(value) => address::netmask(value, family, resolver).map_err(|error| bad("netmask", value, error))?,
            None if self.service.netmask.family() == family => self.service.netmask,
            None => Netmask::host(family),
        };
        Ok(Service { key, flags, netmask, ..self.service })
    }

    /// Returns the specified server. A missing port is that of the service.
    #[inline]
    fn server_key(&self, key: &ServiceKey, resolver: &mut dyn Resolver) -> Result<DestinationKey, ParseError> {
        let Endpoint { address, port } = match self.server {
            Some(Server::Read(endpoint)) => endpoint,
            Some(Server::Later(value)) => address::endpoint(value, Some(protocol_of_ports(key)), resolver)
                .map_err(|error| bad("real-server", value, error))?,
            None => return Err(ParseError::NoCommand),
        };
        Ok(DestinationKey { address, port: port.or(key.port()).unwrap_or(0) })
    }

    #[inline]
    fn new_server(&self, key: &ServiceKey, resolver: &mut dyn Resolver) -> Result<Destination, ParseError> {
        let mut server = self.server_settings(key, self.server_key(key, resolver)?)?;
        // Only masquerading changes ports.
        if let (Some(port), true) = (key.port(), server.forwarding != Forwarding::Masquerade) {
            server.key.port = port;
        }
        Ok(server)
    }

    #[inline]
    pub(super) fn server_settings(&self, key: &ServiceKey, server: DestinationKey) -> Result<Destination, ParseError> {
        let held = self.destination.forwarding;
        let tunnel = match (self.method, held) {
            (Some(Method::Tunnel) | None, Forwarding::Tunnel(tunnel)) => Some(tunnel),
            (Some(Method::Tunnel), _) => Some(Tunnel::Ipip),
            _ => None,
        };
        if Family::of(server.address) != key.family() && tunnel.is_none() {
            return Err(ParseError::MixedFamily);
        }
        let forwarding = match (tunnel, self.method) {
            (Some(tunnel), _) => Forwarding::Tunnel(self.tunnel.over(tunnel)?),
            (None, _) if !self.tunnel.is_empty() => return Err(ParseError::TunnelOptionsWithoutTunnel),
            (None, None) => held,
            (None, Some(Method::Masquerade)) => Forwarding::Masquerade,
            (None, Some(Method::DirectRoute | Method::Tunnel)) => Forwarding::DirectRoute,
        };
        Ok(Destination { key: server, forwarding, ..self.destination })
    }

    fn listing(&self, key: Option<ServiceKey>) -> Result<Listing, ParseError> {
        let Listing { subject, columns, .. } = self.listing;
        let counts = matches!(columns, Columns::Stats | Columns::Rates | Columns::Thresholds);
        let conflict = match subject {
            Subject::Connections => counts,
            Subject::Timeouts | Subject::Daemons => counts || columns == Columns::PersistentConnections,
            Subject::Table | Subject::Service(_) => false,
        };
        if conflict {
            return Err(ParseError::ListingConflict);
        }
        let subject = match (subject, key) {
            (Subject::Table, Some(key)) => Subject::Service(key),
            (subject, _) => subject,
        };
        Ok(Listing { subject, ..self.listing })
    }
}

/// Checks a service for settings that ipvsadm refuses, though the kernel accepts them.
pub(super) fn validate_service(service: &Service) -> Result<(), ParseError> {
    let ServiceKey::Address { protocol, port, .. } = service.key else { return Ok(()) };
    if port == 0 && service.persistence.is_none() {
        return Err(ParseError::ZeroPort);
    }
    if service.one_packet && protocol != Protocol::Udp {
        return Err(ParseError::OnePacketNotUdp);
    }
    Ok(())
}

fn bad_value(option: &'static OptionRow, value: &[u8], error: ValueError) -> ParseError {
    ParseError::BadValue { option: option.long, complaint: option.complaint, value: text(value), error }
}

fn bad(long: &str, value: &[u8], error: ValueError) -> ParseError {
    match OPTIONS.iter().find(|row| row.long == long) {
        Some(option) => bad_value(option, value, error),
        None => ParseError::UnknownOption(long.into()),
    }
}
