//! What was typed → a command: legality, cross-checks, defaults. In ipvsadm's order, so that of several mistakes the
//! same one is complained of.

use super::address::{self, Endpoint};
use super::command::{Columns, Command, Listing, Subject};
use super::draft::{Checksum, Draft, Limits, Method, Server, TunnelKind, protocol};
use super::error::Reason;
use super::error::{Problem, ProblemKind, Row, text};
use super::flags::read_flags;
use super::number::strtol;
use super::options::{CommandRow, LEGAL, OPTIONS, OptionRow, Value, Verb, Word, first_of_name};
use super::resolver::Resolver;
use super::scan::{Scanner, Token};
use crate::change::Change;
use crate::daemon::{Role, SyncDaemon};
use crate::destination::{Destination, Forwarding, GueChecksum, Tunnel};
use crate::family::{Family, Protocol};
use crate::key::{DestinationKey, ServiceKey};
use crate::name::Interface;
use crate::service::{Netmask, SchedulerFlags, Service};
use crate::timeouts::Timeouts;

/// `-p` without a value. ipvsadm's manual says 300; this is what it does.
const DEFAULT_PERSISTENCE: &[u8] = b"360";
const DEFAULT_INTERFACE: &str = "eth0";
/// What ipvsadm looks at of a list of flags.
const LONGEST_FLAGS: usize = 127;

/// Understand the words of one line.
pub(super) fn parse<'a>(
    words: impl Iterator<Item = &'a [u8]> + Clone,
    posix: bool,
    limits: Limits,
    resolver: &mut dyn Resolver,
) -> Result<Command, Problem> {
    let mut scanner = Scanner::new(words, posix);
    let mut judge = Judge { draft: Draft { limits, ..Draft::default() }, loose: Vec::new() };
    let mut command = None;
    loop {
        match (scanner.next(), command) {
            (Ok(Some(Token::Loose(word))), _) => judge.loose.push((word, scanner.last())),
            (Ok(Some(Token::Word(Word::Option(row, bit), value))), Some(_)) => {
                judge.draft.take(row, bit, value, resolver).map_err(|kind| Problem { kind, word: scanner.last() })?;
            }
            (Ok(Some(Token::Word(Word::Command(row), value))), None) => {
                match row.verb {
                    // These act at once: what follows is not even looked at.
                    Verb::Help => return Ok(Command::Help),
                    Verb::Version => return Ok(Command::Version),
                    _ => command = Some((row, read_role(row, value, scanner.last())?)),
                }
            }
            // The first option is the command, or there is none; words may stand before it.
            (_, None) => return Err(Problem { kind: ProblemKind::NoCommand, word: scanner.last() }),
            (Ok(Some(Token::Word(Word::Command(_), _))), Some(_)) => {
                let kind = ProblemKind::SecondCommand(text(scanner.last_word()));
                return Err(Problem { kind, word: scanner.last() });
            }
            (Err(problem), Some(_)) => return Err(*problem),
            (Ok(None), Some((row, role))) => return judge.command(row, role, scanner.taken(), resolver),
        }
    }
}

/// The role that follows a command, if it takes one.
#[inline]
fn read_role(row: &CommandRow, value: Option<&[u8]>, word: usize) -> Result<Option<Role>, Problem> {
    match value {
        None => Ok(None),
        Some(b"master") => Ok(Some(Role::Master)),
        Some(b"backup") => Ok(Some(Role::Backup)),
        Some(value) => Err(Problem { kind: ProblemKind::BadRole { command: row.name, value: text(value) }, word }),
    }
}

impl<'a> Draft<'a> {
    /// Take in one option.
    #[inline(always)]
    fn take(
        &mut self,
        option: &'static OptionRow,
        bit: u64,
        value: Option<&'a [u8]>,
        resolver: &mut dyn Resolver,
    ) -> Result<(), ProblemKind> {
        // Options without a name may be repeated.
        if self.given & bit != 0 && !option.name.is_empty() {
            return Err(ProblemKind::Repeated(option.name));
        }
        self.given |= bit;
        let value = value.unwrap_or(if option.value == Value::None { b"" } else { DEFAULT_PERSISTENCE });
        (option.read)(self, value, resolver).map_err(|reason| ProblemKind::BadValue {
            option: Row(option),
            value: text(value),
            reason,
        })
    }
}

struct Judge<'a> {
    draft: Draft<'a>,
    /// Words that belong to no option, each with its number. Only `--set` has any.
    loose: Vec<(&'a [u8], usize)>,
}

impl Judge<'_> {
    /// The command that all `words` make.
    fn command(
        &self,
        row: &'static CommandRow,
        role: Option<Role>,
        words: usize,
        resolver: &mut dyn Resolver,
    ) -> Result<Command, Problem> {
        let timeouts = if row.verb == Verb::Set { Some(self.timeouts(words)?) } else { None };
        if let Some((word, at)) = self.loose.get(if timeouts.is_some() { 3 } else { 0 }) {
            return Err(Problem { kind: ProblemKind::UnexpectedWord(text(word)), word: *at });
        }
        // Everything that follows is about the line as a whole.
        self.whole(row, role, timeouts, resolver).map_err(|kind| Problem { kind, word: words })
    }

    /// The three words of `--set`.
    fn timeouts(&self, words: usize) -> Result<Timeouts, Problem> {
        let [tcp, tcp_fin, udp, ..] = self.loose[..] else {
            return Err(Problem { kind: ProblemKind::SetNeedsThree, word: words });
        };
        let seconds = |(value, word)| {
            let bad = |_| Problem { kind: ProblemKind::BadTimeout(text(value)), word };
            strtol(value, 0, self.draft.limits.timeout).map_err(bad)
        };
        Ok(Timeouts { tcp: seconds(tcp)?, tcp_fin: seconds(tcp_fin)?, udp: seconds(udp)? })
    }

    fn whole(
        &self,
        row: &CommandRow,
        role: Option<Role>,
        timeouts: Option<Timeouts>,
        resolver: &mut dyn Resolver,
    ) -> Result<Command, ProblemKind> {
        let key = self.service()?;
        let flags = self.scheduler_flags()?;
        self.legality(row)?;
        let draft = &self.draft;
        // Legality has seen to it that what a command needs is there.
        let missing = || ProblemKind::NoCommand;
        let change = match row.verb {
            Verb::AddService => Change::AddService(self.service_settings(key.ok_or_else(missing)?, flags, resolver)?),
            Verb::EditService => {
                Change::EditService(self.service_settings(key.ok_or_else(missing)?, flags, resolver)?)
            }
            Verb::DeleteService => Change::DeleteService(key.ok_or_else(missing)?),
            Verb::AddServer | Verb::EditServer => {
                let key = key.ok_or_else(missing)?;
                let server = self.server_settings(&key, resolver)?;
                match row.verb {
                    Verb::AddServer => Change::AddDestination(key, server),
                    _ => Change::EditDestination(key, server),
                }
            }
            Verb::DeleteServer => {
                let key = key.ok_or_else(missing)?;
                Change::DeleteDestination(key, self.server(&key, resolver)?)
            }
            Verb::Flush => Change::Flush,
            Verb::Zero => Change::Zero(key),
            Verb::Set => Change::SetTimeouts(timeouts.unwrap_or_default()),
            Verb::StartDaemon => Change::StartDaemon(SyncDaemon {
                role: role.ok_or_else(missing)?,
                interface: draft
                    .interface
                    .or_else(|| Interface::new(DEFAULT_INTERFACE).ok())
                    .ok_or(ProblemKind::NoCommand)?,
                sync_id: draft.sync_id,
                max_length: draft.max_length,
                group: draft.group,
                port: draft.multicast_port,
                ttl: draft.ttl,
            }),
            Verb::StopDaemon => Change::StopDaemon(role.ok_or_else(missing)?),
            Verb::List => return self.listing(key).map(Command::List),
            Verb::Save => return Ok(Command::Save { numeric: draft.numeric }),
            Verb::Restore => return Ok(Command::Restore { stream: draft.stream }),
            Verb::Help => return Ok(Command::Help),
            Verb::Version => return Ok(Command::Version),
        };
        Ok(Command::Change(change))
    }

    /// The service, and whether `-6` fits it.
    fn service(&self) -> Result<Option<ServiceKey>, ProblemKind> {
        match (self.draft.service, self.draft.ipv6) {
            (key, false) => Ok(key),
            (Some(ServiceKey::Fwmark { mark, .. }), true) => Ok(Some(ServiceKey::Fwmark { mark, family: Family::V6 })),
            (_, true) => Err(ProblemKind::Ipv6WithoutMark),
        }
    }

    fn scheduler_flags(&self) -> Result<SchedulerFlags, ProblemKind> {
        let list = self.draft.scheduler_flags;
        if list.is_empty() {
            return Ok(SchedulerFlags::empty());
        }
        let list = &list[..list.len().min(LONGEST_FLAGS)];
        let names = list.split(|&byte| byte == b',').filter(|name| !name.is_empty());
        read_flags(names, self.draft.scheduler.unwrap_or_default()).map_err(ProblemKind::Flag)
    }

    /// Whether the command takes all options that were given, and was given all that it needs.
    fn legality(&self, row: &CommandRow) -> Result<(), ProblemKind> {
        let legal = LEGAL[row.verb as usize];
        let given = self.draft.given;
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
                    return Err(ProblemKind::Missing { option: name, command });
                }
                continue;
            }
            if legal.allowed & bit == 0 {
                return Err(ProblemKind::Illegal { option: name, command });
            }
            if legal.exclusive & bit != 0 {
                if let Some(with) = earlier {
                    return Err(ProblemKind::Conflict { option: name, with, command });
                }
                earlier = Some(name);
            }
        }
        Ok(())
    }

    fn service_settings(
        &self,
        key: ServiceKey,
        flags: SchedulerFlags,
        resolver: &mut dyn Resolver,
    ) -> Result<Service, ProblemKind> {
        let draft = &self.draft;
        if let ServiceKey::Address { protocol, port, .. } = key {
            if port == 0 && draft.persistence.is_none() {
                return Err(ProblemKind::ZeroPort);
            }
            if draft.one_packet && protocol != Protocol::Udp {
                return Err(ProblemKind::OnePacketNotUdp);
            }
        }
        let family = key.family();
        let netmask = match draft.netmask {
            Some(value) => address::netmask(value, family, resolver).map_err(|reason| bad("netmask", value, reason))?,
            None => Netmask::host(family),
        };
        Ok(Service {
            key,
            scheduler: draft.scheduler.unwrap_or_default(),
            flags,
            persistence: draft.persistence,
            netmask,
            engine: draft.engine,
            one_packet: draft.one_packet,
        })
    }

    /// The server that is named; a port that is left out is the service's.
    #[inline]
    fn server(&self, key: &ServiceKey, resolver: &mut dyn Resolver) -> Result<DestinationKey, ProblemKind> {
        let Endpoint { address, port } = match self.draft.server {
            Some(Server::Read(endpoint)) => endpoint,
            Some(Server::Later(value)) => address::endpoint(value, Some(protocol(key)), resolver)
                .map_err(|reason| bad("real-server", value, reason))?,
            None => return Err(ProblemKind::NoCommand),
        };
        Ok(DestinationKey { address, port: port.or(key.port()).unwrap_or(0) })
    }

    #[inline]
    fn server_settings(&self, key: &ServiceKey, resolver: &mut dyn Resolver) -> Result<Destination, ProblemKind> {
        let draft = &self.draft;
        let mut server = self.server(key, resolver)?;
        let method = draft.method.unwrap_or(Method::DirectRoute);
        if Family::of(server.address) != key.family() && method != Method::Tunnel {
            return Err(ProblemKind::MixedFamily);
        }
        // Only masquerading changes ports.
        if let (Some(port), true) = (key.port(), method != Method::Masquerade) {
            server.port = port;
        }
        Ok(Destination {
            key: server,
            forwarding: self.forwarding(method)?,
            weight: draft.weight.unwrap_or(1),
            upper_threshold: draft.upper_threshold,
            lower_threshold: draft.lower_threshold,
        })
    }

    fn forwarding(&self, method: Method) -> Result<Forwarding, ProblemKind> {
        let draft = &self.draft;
        match method {
            Method::Tunnel => self.tunnel().map(Forwarding::Tunnel),
            _ if draft.given & TUNNEL_OPTIONS != 0 => Err(ProblemKind::TunnelOptionsWithoutTunnel),
            Method::DirectRoute => Ok(Forwarding::DirectRoute),
            Method::Masquerade => Ok(Forwarding::Masquerade),
        }
    }

    fn tunnel(&self) -> Result<Tunnel, ProblemKind> {
        let draft = &self.draft;
        let tunnel = match draft.tunnel {
            TunnelKind::Ipip => "ipip",
            TunnelKind::Gue => "gue",
            TunnelKind::Gre => "gre",
        };
        let given = |bit| draft.given & bit != 0;
        match (draft.tunnel, given(TUNNEL_PORT)) {
            (TunnelKind::Gue, false) => return Err(ProblemKind::MissingForTunnel { option: "tun-port", tunnel }),
            (TunnelKind::Ipip | TunnelKind::Gre, true) => {
                return Err(ProblemKind::IllegalForTunnel { option: "tun-port", tunnel });
            }
            _ => {}
        }
        let mut earlier = None;
        for (option, _) in TUNNEL_CHECKSUMS.into_iter().filter(|(_, bit)| given(*bit)) {
            if draft.tunnel == TunnelKind::Ipip || (draft.tunnel == TunnelKind::Gre && option == "tun-remcsum") {
                return Err(ProblemKind::IllegalForTunnel { option, tunnel });
            }
            if let Some(with) = earlier {
                return Err(ProblemKind::ConflictInTunnel { option, with, tunnel });
            }
            earlier = Some(option);
        }
        Ok(match (draft.tunnel, draft.tunnel_port) {
            (TunnelKind::Gue, Some(port)) => Tunnel::Gue { port, checksum: self.gue_checksum() },
            (TunnelKind::Gre, _) => Tunnel::Gre { checksum: draft.checksum == Some(Checksum::Full) },
            (TunnelKind::Ipip | TunnelKind::Gue, _) => Tunnel::Ipip,
        })
    }

    fn gue_checksum(&self) -> GueChecksum {
        match self.draft.checksum {
            None | Some(Checksum::None) => GueChecksum::None,
            Some(Checksum::Full) => GueChecksum::Full,
            Some(Checksum::Remote) => GueChecksum::Remote,
        }
    }

    fn listing(&self, key: Option<ServiceKey>) -> Result<Listing, ProblemKind> {
        let draft = &self.draft;
        let subject = draft.subject.or(key.map(Subject::Service)).unwrap_or(Subject::Table);
        let counts = draft.stats || draft.rate || draft.thresholds;
        let conflict = match subject {
            Subject::Connections => counts,
            Subject::Timeouts | Subject::Daemons => counts || draft.persistent_connections,
            Subject::Table | Subject::Service(_) => false,
        };
        if conflict {
            return Err(ProblemKind::ListingConflict);
        }
        let columns = [
            (draft.stats, Columns::Stats),
            (draft.rate, Columns::Rates),
            (draft.thresholds, Columns::Thresholds),
            (draft.persistent_connections, Columns::PersistentConnections),
            (draft.tunnel_info, Columns::Tunnels),
        ];
        let first = columns.into_iter().find(|(given, _)| *given);
        Ok(Listing {
            subject,
            columns: first.map_or(Columns::Default, |(_, columns)| columns),
            numeric: draft.numeric,
            exact: draft.exact,
            sorted: !draft.no_sort,
        })
    }
}

/// The bit of the option with that long name.
const fn bit_of(long: &str) -> u64 {
    let mut row = 0;
    while row < OPTIONS.len() {
        let (name, long) = (OPTIONS[row].long.as_bytes(), long.as_bytes());
        let mut i = 0;
        while i < name.len() && i < long.len() && name[i] == long[i] {
            i += 1;
        }
        if i == name.len() && i == long.len() {
            return 1 << first_of_name(row);
        }
        row += 1;
    }
    0
}

const TUNNEL_PORT: u64 = bit_of("tun-port");
const TUNNEL_CHECKSUMS: [(&str, u64); 3] =
    [("tun-nocsum", bit_of("tun-nocsum")), ("tun-csum", bit_of("tun-csum")), ("tun-remcsum", bit_of("tun-remcsum"))];
const TUNNEL_OPTIONS: u64 =
    bit_of("tun-type") | TUNNEL_PORT | TUNNEL_CHECKSUMS[0].1 | TUNNEL_CHECKSUMS[1].1 | TUNNEL_CHECKSUMS[2].1;

fn bad(long: &str, value: &[u8], reason: Reason) -> ProblemKind {
    let row = bit_of(long).trailing_zeros() as usize;
    ProblemKind::BadValue { option: Row(&OPTIONS[row]), value: text(value), reason }
}
