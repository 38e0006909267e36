//! The firewall mark of the packets.

use ipvs::{Client, Family, ServiceKey};

use super::report::{Finding, Steps};
use super::rule;
use super::subject::{self, options_of};
use crate::network::firewall::{Candidate, Firewall, Hook, Packet, Place, field_name, has_ingress_filters};
use crate::terminal::commands::Command;

/// Checks that the packet has the mark of the service.
pub(super) fn check(
    firewall: &Firewall,
    arriving: &Packet,
    mark: u32,
    found: Option<u32>,
    director: &mut Client,
    key: &ServiceKey,
    steps: &mut Steps<'_>,
) -> anyhow::Result<()> {
    if found == Some(mark) {
        let by = firewall.walk(Hook::Prerouting, arriving).mark_by;
        let by = by.map_or_else(String::new, |place| format!(", by {}", rule::name(&place)));
        steps.add(Finding::good("mark", format!("the firewall sets mark {mark}{by}")));
        return Ok(());
    }
    let candidates: Vec<Candidate> = firewall.rules_setting_mark(mark, arriving);
    // Traffic control can set marks, too, and its filters are not read.
    let has_packets = subject::find(director, key)?.is_some_and(|state| state.stats.incoming_packets > 0);
    let may_be_set = has_ingress_filters();
    if !firewall.not_read.is_empty() || found.is_none() || has_packets || may_be_set != Ok(false) {
        if may_be_set == Ok(true) && candidates.is_empty() {
            let text =
                format!("mark {mark} was not checked: filters of tc may set it, and no rule of the firewall does");
            steps.add(Finding::unknown("mark", text));
        } else if let Err(error) = may_be_set {
            steps.add(Finding::unknown("mark", format!("mark {mark} was not checked: {error}")));
        } else {
            steps.add(Finding::unknown("mark", format!("it is not known whether the packet gets mark {mark}")));
        }
        return Ok(());
    }
    let protocol = rule::protocol_name(arriving);
    let address = arriving.destination.map_or_else(String::new, |address| address.to_string());
    let (family, version, program) = match key.family() {
        Family::V6 => ("ip6", "ip6", "ip6tables"),
        Family::V4 => ("ip", "ip", "iptables"),
    };
    let port = arriving.destination_port.map_or_else(String::new, |port| format!(" --dport {port}"));
    let (text, why) = match candidates.first() {
        None => (
            format!("no rule of the firewall sets mark {mark}"),
            "The service gets only packets with its mark.".to_owned(),
        ),
        Some(candidate) => {
            let rule = candidate.place.rule.clone().unwrap_or_default();
            let text = match candidate.differs {
                Some(field) => {
                    format!("{} sets mark {mark} for another {}", rule::name(&candidate.place), field_name(field))
                }
                None => format!(
                    "{} sets mark {mark}, and packets do not reach it before IPVS",
                    rule::name(&candidate.place)
                ),
            };
            (text, format!("The service gets only packets with its mark. The rule is: {rule}"))
        }
    };
    let finding = Finding::broken("mark", text, why);
    steps.add(if !firewall.prefers_nft() {
        let command =
            format!("{program} -t mangle -A PREROUTING -d {address} -p {protocol}{port} -j MARK --set-mark {mark}");
        finding.cure(Command::director(command))
    } else {
        let port = arriving.destination_port.map_or_else(String::new, |port| format!(" {protocol} dport {port}"));
        let chain = "'{ type filter hook prerouting priority mangle; }'";
        finding
            .cure(Command::director(format!("nft add table {family} ipvs-mark")))
            .cure(Command::director(format!("nft add chain {family} ipvs-mark in {chain}")))
            .cure(Command::director(format!(
                "nft add rule {family} ipvs-mark in {version} daddr {address}{port} meta mark set {mark}"
            )))
    });
    Ok(())
}

/// Checks that no service of the packet's mark takes it. `by` is the rule that sets the mark.
pub(super) fn check_others(
    director: &mut Client,
    family: Family,
    mark: u32,
    by: Option<&Place>,
    steps: &mut Steps<'_>,
) -> anyhow::Result<()> {
    let Some(other) = ServiceKey::fwmark(mark, family) else { return Ok(()) };
    if subject::find(director, &other)?.is_some() {
        steps.add(taken(&other, mark, by));
    }
    Ok(())
}

/// Describes a service that takes the packets. Only the operator knows which of the rule and the service is unintended, so
/// the commands list both.
fn taken(other: &ServiceKey, mark: u32, by: Option<&Place>) -> Finding {
    let text = format!("the firewall sets mark {mark}, so {other} takes the packets");
    let why = "IPVS searches for a service of the mark first. Delete the rule, or use the service of the mark.";
    let finding =
        Finding::broken("mark", text, why).cure(Command::director(format!("ipvsadm -Ln {}", options_of(*other))));
    match by {
        Some(place) => finding.cure(Command::director(rule::list(place))),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::tests::nft;
    use super::*;

    #[test]
    fn a_service_that_takes_the_packets_is_listed_and_not_deleted() {
        let other = ServiceKey::fwmark(7, Family::V6).expect("not 0");
        let finding = taken(&other, 7, Some(&nft()));
        assert_eq!(
            finding.cures.iter().map(Command::text).collect::<Vec<_>>(),
            ["ipvsadm -Ln -f 7 -6", "nft -a list chain inet f c"]
        );
    }
}
