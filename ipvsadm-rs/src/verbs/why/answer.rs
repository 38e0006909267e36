//! The host that answers ARP or neighbour solicitations for the address of the service.

use super::report::{Finding, Steps};
use super::servers::Way;
use super::subject::Subject;
use super::symptoms;
use crate::network::Network;
use crate::terminal::commands::Command;

/// Checks the link-layer address that a client uses for the address of the service. A server that answers ARP for it gets
/// the packets of this client in place of the director.
pub(super) fn check(
    network: &mut Network,
    subject: &Subject,
    ways: &[Way],
    hardware: &[u8],
    steps: &mut Steps<'_>,
) -> anyhow::Result<()> {
    let Some(target) = subject.followed.target.filter(|_| !hardware.is_empty()) else { return Ok(()) };
    for way in ways.iter().filter(|way| !way.is_local() && way.route.gateway.is_none()) {
        let server = way.server.destination.key;
        let Ok(neighbour) = network.neighbour(way.route.device, server.address) else { continue };
        if neighbour.hardware != hardware {
            continue;
        }
        let why = "The client sends its packets to the server in place of the director. Afterwards, flush the neighbours \
                   of the client, or wait until it asks again.";
        let finding = Finding::broken("arp_of_server", format!("answers ARP for {}", target.ip()), why);
        let cure = symptoms::setup(subject, &way.server).map(Command::server);
        let finding = cure.map_or_else(|| finding.clone(), |cure| finding.clone().cure(cure));
        steps.add_all(vec![(server, finding)]);
        return Ok(());
    }
    Ok(())
}
