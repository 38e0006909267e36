//! `d`: drains servers as the verb `drain` does.

use std::io::{self, BufRead, Write};

use ipvs::{DestinationKey, Selector, ServiceKey, ServiceState};

use super::rows::Item;
use crate::context::Context;
use crate::terminal::exit::print_error;
use crate::terminal::plural::count;
use crate::terminal::question;
use crate::verbs::drain::Drain;
use crate::verbs::print_failure;

/// The servers to drain, all of one service.
pub(super) struct Targets {
    service: ServiceKey,
    servers: Vec<DestinationKey>,
}

impl Targets {
    /// Returns a server, or all servers of a service.
    pub(super) fn of(item: Item, services: &[ServiceState]) -> Self {
        let service = item.service();
        let servers = match item {
            Item::Server(_, server) => vec![server],
            Item::Service(key) => {
                let found = services.iter().find(|service| service.service.key == key);
                let servers = found.into_iter().flat_map(|service| service.destinations.iter().rev());
                servers.map(|server| server.destination.key).collect()
            }
        };
        Self { service, servers }
    }

    /// Returns the command that does the same.
    fn command(&self, context: &Context) -> String {
        let namespace = context.netns.as_ref().map(|namespace| format!(" --netns {namespace}")).unwrap_or_default();
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        format!("ipvsadm-rs{namespace} drain {} --in {}", servers.join(","), Selector::Service(self.service))
    }

    fn question(&self) -> String {
        match &self.servers[..] {
            [server] => format!("Drain {server} in {}?", self.service),
            servers => format!("Drain the {} of {}?", count(servers.len(), "server"), self.service),
        }
    }
}

/// Asks whether to drain, and drains. The verb asks, too, if clients would be refused.
pub(super) fn ask(context: &Context, targets: &Targets) {
    print_error(&targets.command(context));
    match question::ask(&targets.question()) {
        Ok(true) => match Drain::of(&targets.servers, targets.service).run(context) {
            Ok(_) => {}
            Err(error) => print_failure(&error),
        },
        Ok(false) => print_error("nothing was changed"),
        Err(error) => print_error(&format!("error: cannot read the answer: {error}")),
    }
    let _ = write!(io::stderr(), "Press enter to return to the screen. ");
    let _ = io::stdin().lock().read_line(&mut String::new());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::testing::state;

    #[test]
    fn targets_are_servers_of_one_service() {
        let state = state("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1\n-a -t 192.0.2.1:80 -r 10.0.0.2\n");
        let web = state.services[0].service.key;
        let one = Targets::of(Item::Server(web, DestinationKey::new([10, 0, 0, 1], 80)), &state.services);
        let mut context = Context::for_tests();
        assert_eq!(one.command(&context), "ipvsadm-rs drain 10.0.0.1:80 --in tcp:192.0.2.1:80");
        assert_eq!(one.question(), "Drain 10.0.0.1:80 in TCP 192.0.2.1:80?");
        let all = Targets::of(Item::Service(web), &state.services);
        context.netns = Some("blue".parse().expect("a name"));
        assert_eq!(
            all.command(&context),
            "ipvsadm-rs --netns blue drain 10.0.0.1:80,10.0.0.2:80 --in tcp:192.0.2.1:80"
        );
        assert_eq!(all.question(), "Drain the 2 servers of TCP 192.0.2.1:80?");
    }
}
