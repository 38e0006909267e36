//! TABLE: the options that each kind of tunnel accepts.

use std::num::NonZeroU16;

use super::error::ParseError;
use crate::destination::{GueChecksum, Tunnel};

/// A kind of tunnel that has a name in the language.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Ipip,
    Gue,
    Gre,
}

/// Each kind with its name and its options, in the order of [`Kind`].
const KINDS: [(Kind, &str, &[&str]); 3] = [
    (Kind::Ipip, "ipip", &[]),
    (Kind::Gue, "gue", &["tun-port", "tun-nocsum", "tun-csum", "tun-remcsum"]),
    (Kind::Gre, "gre", &["tun-nocsum", "tun-csum"]),
];

impl Kind {
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        KINDS.iter().find(|(_, known, _)| known.as_bytes() == name).map(|(kind, ..)| *kind)
    }

    fn of(tunnel: Tunnel) -> Self {
        match tunnel {
            Tunnel::Gue { .. } => Self::Gue,
            Tunnel::Gre { .. } => Self::Gre,
            Tunnel::Ipip | Tunnel::Other { .. } => Self::Ipip,
        }
    }
}

/// A checksum option: `--tun-nocsum`, `--tun-csum` or `--tun-remcsum`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Checksum {
    None,
    Full,
    Remote,
}

const CHECKSUMS: [(Checksum, &str); 3] =
    [(Checksum::None, "tun-nocsum"), (Checksum::Full, "tun-csum"), (Checksum::Remote, "tun-remcsum")];

/// The tunnel options of a line.
#[derive(Clone, Copy, Default)]
pub(super) struct TunnelOptions {
    pub(super) kind: Option<Kind>,
    pub(super) port: Option<NonZeroU16>,
    /// Whether each checksum option is given, in the order of [`CHECKSUMS`].
    checksums: [bool; 3],
}

impl TunnelOptions {
    pub(super) fn add(&mut self, checksum: Checksum) {
        self.checksums[checksum as usize] = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kind.is_none() && self.port.is_none() && self.checksums == [false; 3]
    }

    /// Returns the tunnel that results when the options are applied to `held`. A tunnel of the same kind keeps its port
    /// and checksum unless they are given.
    pub(super) fn over(&self, held: Tunnel) -> Result<Tunnel, ParseError> {
        if self.is_empty() {
            return Ok(held);
        }
        let kind = self.kind.unwrap_or(Kind::of(held));
        let held = if Kind::of(held) == kind { held } else { Tunnel::Ipip };
        let (_, tunnel, takes) = KINDS[kind as usize];
        let held_port = if let Tunnel::Gue { port, .. } = held { Some(port) } else { None };
        let port = match (kind, self.port.or(held_port)) {
            (Kind::Gue, None) => return Err(ParseError::MissingForTunnel { option: "tun-port", tunnel }),
            (_, port) => port,
        };
        if self.port.is_some() && !takes.contains(&"tun-port") {
            return Err(ParseError::IllegalForTunnel { option: "tun-port", tunnel });
        }
        let checksum = self.checksum(tunnel, takes)?;
        Ok(match (kind, port) {
            (Kind::Gue, Some(port)) => Tunnel::Gue { port, checksum: gue_checksum(checksum, held) },
            (Kind::Gre, _) => Tunnel::Gre {
                checksum: match checksum {
                    None => held == Tunnel::Gre { checksum: true },
                    Some(checksum) => checksum == Checksum::Full,
                },
            },
            (Kind::Ipip | Kind::Gue, _) => Tunnel::Ipip,
        })
    }

    /// Returns the checksum option, or `None` if none is given.
    fn checksum(&self, tunnel: &'static str, takes: &[&str]) -> Result<Option<Checksum>, ParseError> {
        let mut earlier = None;
        let given = CHECKSUMS.iter().zip(self.checksums).filter(|(_, given)| *given);
        for ((checksum, option), _) in given {
            if !takes.contains(option) {
                return Err(ParseError::IllegalForTunnel { option, tunnel });
            }
            if let Some((_, with)) = earlier {
                return Err(ParseError::ConflictInTunnel { option, with, tunnel });
            }
            earlier = Some((*checksum, *option));
        }
        Ok(earlier.map(|(checksum, _)| checksum))
    }
}

fn gue_checksum(given: Option<Checksum>, held: Tunnel) -> GueChecksum {
    match (given, held) {
        (None, Tunnel::Gue { checksum, .. }) => checksum,
        (None | Some(Checksum::None), _) => GueChecksum::None,
        (Some(Checksum::Full), _) => GueChecksum::Full,
        (Some(Checksum::Remote), _) => GueChecksum::Remote,
    }
}
