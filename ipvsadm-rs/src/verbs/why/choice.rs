//! The service and the choice of a server.

use ipvs::rules::program::flag_names;
use ipvs::{
    Change, Client, Destination, DestinationState, Forwarding, Protocol, Scheduler, SchedulerFlags, Service,
    ServiceKey, ServiceState,
};

use super::report::{Finding, Steps};
use super::subject::{self, Subject, options_of};
use crate::sight::condition::{Assessment, Condition, Problem, states_of};
use crate::terminal::commands::{Command, quoted, quoted_line};
use crate::terminal::plural::count;

/// Returns the service that takes the packets to `key`. `None`: there is none, and the reason is in the steps.
pub(super) fn find(
    director: &mut Client,
    key: &ServiceKey,
    steps: &mut Steps<'_>,
) -> anyhow::Result<Option<ServiceState>> {
    if let Some(found) = subject::find(director, key)? {
        steps.add(Finding::good("service", format!("the service {key} exists")));
        return Ok(Some(found));
    }
    let ServiceKey::Address { protocol, address, port } = *key else {
        let other = match *key {
            ServiceKey::Fwmark { mark, family } => {
                let other = if family == ipvs::Family::V4 { ipvs::Family::V6 } else { ipvs::Family::V4 };
                ServiceKey::fwmark(mark.get(), other)
            }
            ServiceKey::Address { .. } => None,
        };
        let has_other = match other {
            Some(other) => subject::find(director, &other)?.map(|_| other),
            None => None,
        };
        let why = has_other.map(|other| format!("{other} exists, which is for packets of the other family."));
        steps.add(missing(key, why.unwrap_or_default()));
        return Ok(None);
    };
    // The kernel's order (`ip_vs_service_find`,
    // https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c).
    const FTP: u16 = 21;
    const FTP_DATA: u16 = 20;
    let ftp = ServiceKey::new(protocol, address, FTP);
    let takes_data = protocol == Protocol::Tcp && (port == FTP_DATA || port >= 1024);
    let any = ServiceKey::new(protocol, address, 0);
    for other in takes_data.then_some(ftp).into_iter().chain((port != 0).then_some(any)) {
        if let Some(found) = subject::find(director, &other)? {
            let text = format!("no service {key} exists, but {other} takes its packets");
            steps.add(Finding::good("service", text));
            return Ok(Some(found));
        }
    }
    let mut why = String::new();
    for other in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().filter(|other| *other != protocol) {
        let other = ServiceKey::new(other, address, port);
        if subject::find(director, &other)?.is_some() {
            why = format!("{other} exists, which is for packets of another protocol.");
        }
    }
    steps.add(missing(key, why));
    Ok(None)
}

fn missing(key: &ServiceKey, why: String) -> Finding {
    let service = options_of(*key);
    Finding::broken("service", format!("the service {key} does not exist"), why)
        .cure(Command::director(format!("ipvsadm -A {service} -s wlc")))
        .cure(Command::director(format!("ipvsadm -a {service} -r SERVER -m")))
}

/// Checks that the service can choose a server.
pub(super) fn check(subject: &Subject, steps: &mut Steps<'_>) {
    let state = &subject.state;
    let service = options_of(state.service.key);
    if let ServiceKey::Address { protocol, port, .. } = state.service.key {
        if let Protocol::Other(number) = protocol {
            let text = format!("IPVS does not schedule packets of protocol {number}");
            steps.add(Finding::broken("protocol", text, "It schedules TCP, UDP and SCTP only."));
        }
        if port == 0 && state.service.persistence.is_none() {
            let why = "A service with port 0 must be persistent. Otherwise the kernel refuses each packet.";
            /// The default of ipvsadm, in seconds.
            const TIMEOUT: u32 = 300;
            let finding = Finding::broken("any_port", "the service has port 0 and is not persistent", why);
            steps.add(finding.cure(edited(Service { persistence: Some(TIMEOUT), ..state.service })));
        }
    }
    let Assessment { problem, refusal } = Assessment::of(state);
    if problem.is_some_and(Problem::refuses) {
        steps.add(refused(state, &service, problem, refusal.unwrap_or_default()));
    } else {
        steps.add(Finding::good("choice", choices(state)));
    }
    check_client(subject, steps);
    let is_one_packet =
        state.service.one_packet && !matches!(subject.followed.protocol, Some(Protocol::Tcp | Protocol::Sctp));
    let masquerades = |server: &DestinationState| server.destination.forwarding == Forwarding::Masquerade;
    if is_one_packet && state.destinations.iter().any(masquerades) {
        let why = "With one-packet scheduling (-o) the kernel keeps no connection, so it cannot give the replies of \
                   masqueraded servers the virtual address as their source. Clients drop them.";
        let finding = Finding::broken("one_packet", "one-packet scheduling does not work with masquerading", why);
        steps.add(finding.cure(edited(Service { one_packet: false, ..state.service })));
    }
}

/// Returns the command that replaces the settings of a service.
fn edited(service: Service) -> Command {
    Command::director(format!("ipvsadm {}", quoted_line(&Change::EditService(service).to_string())))
}

/// Returns the number of servers that can be chosen. If there are others, their states follow.
fn choices(state: &ServiceState) -> String {
    let can_be_chosen = |server: &&DestinationState| Condition::of(server) == Condition::Up;
    let up = state.destinations.iter().filter(can_be_chosen).count();
    let text = format!("{} can choose one of {}", state.service.scheduler, count(up, "server"));
    if up == state.destinations.len() {
        text
    } else {
        format!("{text}; the service has {}", states_of(state.destinations.iter()))
    }
}

fn refused(state: &ServiceState, service: &str, problem: Option<Problem>, refusal: String) -> Finding {
    let finding = Finding::broken("choice", refusal, "");
    let first_in = |condition| state.destinations.iter().rev().find(|server| Condition::of(server) == condition);
    match problem {
        Some(Problem::NoServers) => finding.cure(Command::director(format!("ipvsadm -a {service} -r SERVER -m"))),
        Some(Problem::AllWeight0) => {
            let server = state.destinations.last().map(|server| quoted(&server.destination.key.to_string()));
            let server = server.unwrap_or_default();
            let why = "If it was drained, `ipvsadm-rs undrain` restores its weight.".to_owned();
            let command = format!("ipvsadm-rs set {service} -r {server} --weight 1");
            Finding { why, ..finding }.cure(Command::director(command))
        }
        _ => match first_in(Condition::Full) {
            Some(server) => {
                let limit = server.destination.upper_threshold.saturating_mul(2).min(Destination::MAX);
                let key = quoted(&server.destination.key.to_string());
                finding.cure(Command::director(format!("ipvsadm-rs set {service} -r {key} -x {limit}")))
            }
            None if [Scheduler::SH, Scheduler::MH].contains(&state.service.scheduler) => {
                let flags = state.service.flags | SchedulerFlags::FALLBACK;
                let flags: Vec<&str> = flag_names(state.service.scheduler, flags).collect();
                finding.cure(Command::director(format!("ipvsadm-rs set {service} --sched-flags {}", flags.join(","))))
            }
            None => finding.cure(Command::director(format!("ipvsadm-rs set {service} -s wlc"))),
        },
    }
}

/// Checks the connections and templates of the client.
fn check_client(subject: &Subject, steps: &mut Steps<'_>) {
    let Some(client) = subject.followed.client else { return };
    let Some(entry) = subject.connection.as_ref().or(subject.template.as_ref()) else { return };
    let kind = if entry.is_template() { "a persistence template" } else { "a connection" };
    let key = ipvs::DestinationKey::from(entry.destination);
    let found = subject.state.destinations.iter().find(|server| {
        let other = server.destination.key;
        other.address == key.address && (other.port == key.port || other.port == 0 || key.port == 0)
    });
    let text = format!("{kind} sends {} to {key}", client.ip());
    steps.add(match found {
        Some(_) => Finding::good("client", text),
        None if entry.is_template() => Finding::unknown("client", format!("{text}, which the service does not have")),
        None => {
            let why = "The server was deleted. The kernel drops the packets of its connections until they expire, \
                       unless net.ipv4.vs.expire_nodest_conn is 1.";
            Finding::broken("client", format!("{text}, which the service does not have"), why)
                .cure(Command::director("sysctl -w net.ipv4.vs.expire_nodest_conn=1"))
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::subject::tests::subject;
    use super::*;

    #[test]
    fn commands_keep_the_other_settings_of_the_service() {
        let of = |rules: &str| edited(subject(rules, None, None).state.service).text().to_owned();
        assert_eq!(
            of("-A -u 10.0.0.1:53 -s sh -b sh-port -p 60 -M 255.255.255.0\n"),
            "ipvsadm -E -u 10.0.0.1:53 -s sh -p 60 -M 255.255.255.0 -b sh-port"
        );
        assert_eq!(of("-A -t [fd01::1]:80 -s rr\n"), "ipvsadm -E -t '[fd01::1]:80' -s rr");
        assert_eq!(of("-A -f 7 -6 -s rr\n"), "ipvsadm -E -f 7 -6 -s rr");
    }

    #[test]
    fn a_fallback_keeps_the_other_flags() {
        let rules = "-A -t 10.0.0.1:80 -s sh -b sh-port\n-a -t 10.0.0.1:80 -r 10.1.0.1 -w 0\n";
        let state = subject(rules, None, None).state;
        let finding = refused(&state, "-t 10.0.0.1:80", Some(Problem::RefusesSome), String::new());
        let commands: Vec<&str> = finding.cures.iter().map(Command::text).collect();
        assert_eq!(commands, ["ipvsadm-rs set -t 10.0.0.1:80 --sched-flags sh-fallback,sh-port"]);
    }

    #[test]
    fn drained_servers_cannot_be_chosen() {
        let rules = "-A -f 7 -s rr\n-a -f 7 -r 10.1.0.1\n-a -f 7 -r 10.1.0.2 -w 0\n";
        assert_eq!(
            choices(&subject(rules, None, None).state),
            "rr can choose one of 1 server; the service has 2 servers: 1 up, 1 drained"
        );
        let rules = "-A -f 7 -s rr\n-a -f 7 -r 10.1.0.1\n-a -f 7 -r 10.1.0.2\n";
        assert_eq!(choices(&subject(rules, None, None).state), "rr can choose one of 2 servers");
    }
}
