//! The headers that a tunnel adds to a packet.

use ipvs::{Family, GueChecksum, Tunnel};

/// Returns the length of the outer headers, in bytes. `outer` is the family of the server's address.
pub(crate) fn overhead(tunnel: Tunnel, outer: Family) -> u16 {
    const UDP: u16 = 8;
    const GUE: u16 = 4;
    const REMOTE_CHECKSUM: u16 = 8;
    let ip = match outer {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    ip + match tunnel {
        Tunnel::Ipip | Tunnel::Other { .. } => 0,
        Tunnel::Gue { checksum: GueChecksum::Remote, .. } => UDP + GUE + REMOTE_CHECKSUM,
        Tunnel::Gue { .. } => UDP + GUE,
        Tunnel::Gre { checksum: true } => 8,
        Tunnel::Gre { checksum: false } => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_depend_on_the_tunnel_and_the_family() {
        let gue = |checksum| Tunnel::Gue { port: std::num::NonZero::<u16>::MIN, checksum };
        for (tunnel, outer, bytes) in [
            (Tunnel::Ipip, Family::V4, 20),
            (Tunnel::Ipip, Family::V6, 40),
            (gue(GueChecksum::Full), Family::V4, 32),
            (gue(GueChecksum::Remote), Family::V4, 40),
            (Tunnel::Gre { checksum: false }, Family::V4, 24),
            (Tunnel::Gre { checksum: true }, Family::V6, 48),
        ] {
            assert_eq!(overhead(tunnel, outer), bytes, "{tunnel:?}");
        }
    }
}
