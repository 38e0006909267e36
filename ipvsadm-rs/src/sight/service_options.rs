//! The options that select services.

use clap::Args;
use ipvs::Selector;

/// The services to show. All if nothing is specified.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServiceOptions {
    /// Select these services [default: all]: tcp, udp, sctp, fwmark, ADDRESS, ADDRESS/LENGTH, PROTOCOL:ADDRESS:PORT or
    /// fwmark:N
    #[arg(value_name = "SCOPE")]
    scopes: Vec<Selector>,
    /// Select this TCP service; can be repeated, as can -u, --sctp-service and -f
    #[arg(short = 't', long, value_name = "ADDRESS:PORT", value_parser = tcp)]
    tcp_service: Vec<Selector>,
    /// Select this UDP service
    #[arg(short = 'u', long, value_name = "ADDRESS:PORT", value_parser = udp)]
    udp_service: Vec<Selector>,
    /// Select this SCTP service
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = sctp)]
    sctp_service: Vec<Selector>,
    /// Select the services of this firewall mark
    #[arg(short = 'f', long, value_name = "MARK", value_parser = fwmark)]
    fwmark_service: Vec<Selector>,
}

fn tcp(text: &str) -> Result<Selector, String> {
    service("tcp", text)
}

fn udp(text: &str) -> Result<Selector, String> {
    service("udp", text)
}

fn sctp(text: &str) -> Result<Selector, String> {
    service("sctp", text)
}

fn service(protocol: &str, text: &str) -> Result<Selector, String> {
    let selector = format!("{protocol}:{text}").parse().ok();
    selector.ok_or_else(|| "expected ADDRESS:PORT, with an IPv6 address in brackets".into())
}

fn fwmark(text: &str) -> Result<Selector, String> {
    format!("fwmark:{text}").parse().map_err(|_| "expected a mark from 1 to 4294967295".into())
}

impl ServiceOptions {
    /// Returns the selection of all options. Empty: all services.
    pub(crate) fn selectors(self) -> Vec<Selector> {
        let Self { scopes, tcp_service, udp_service, sctp_service, fwmark_service } = self;
        [scopes, tcp_service, udp_service, sctp_service, fwmark_service].concat()
    }
}
