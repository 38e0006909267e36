//! `ipvsadm-rs why`: each test breaks a working network, and the verdict names the break. Where the verdict has
//! commands for the director or for a server, they are run, and connections work again.

mod dr;
mod firewall;
mod firewall_predictions;
mod nat;
mod nat_network;
mod tun;

use std::time::Duration;

use ipvs_tests::harness::Test;
use ipvs_tests::lab::topology::{Host, Lab};
use ipvs_tests::wait;
use serde_json::Value;

/// Returns the tests of all modules.
pub(crate) fn tests() -> Vec<Test> {
    [nat::tests(), nat_network::tests(), dr::tests(), tun::tests(), firewall::tests(), firewall_predictions::tests()]
        .concat()
}

/// A network in which connections of the client to a service work.
struct Rig {
    lab: Lab,
    client: Host,
    director: Host,
    web1: Host,
    web2: Host,
    /// The options of `why`.
    why: String,
    /// The address and port to which the client connects.
    target: String,
}

impl Rig {
    /// Checks that connections work, and that `why` finds nothing.
    fn works(&self) -> &Self {
        let replies = self.client.client().pages(4, &self.target).to_string();
        assert_eq!(replies, "web1=2 web2=2", "{}", self.state());
        self.is_not_broken();
        self
    }

    /// Returns the tables of the kernels that decide about connections, for the message of a failure.
    fn state(&self) -> String {
        const DIRECTOR: &str = "ip neigh; iptables-legacy-save -c -t nat; \
                                cat /proc/net/nf_conntrack /proc/net/ip_vs_conn; sysctl net.ipv4.vs.conntrack";
        let of = |host: &Host, line| format!("{}: {}\n", host.name(), host.shell(line));
        let others = [&self.client, &self.web1, &self.web2].map(|host| of(host, "ip neigh; cat /proc/net/tcp"));
        of(&self.director, DIRECTOR) + &others.concat()
    }

    fn is_not_broken(&self) {
        let found = self.json("");
        assert!(found["verdict"].is_null(), "{found:#}");
        let text = self.director.ok(&format!("ipvsadm-rs why {}", self.why));
        assert!(text.ends_with("Nothing broken was found.\n"), "{text}");
    }

    /// Checks that connections fail, at least some of them.
    fn fails(&self) {
        // The table has whole seconds. The connections that fail must be later than those that were answered.
        std::thread::sleep(Duration::from_millis(1200));
        let replies = self.client.client().patience(Duration::from_millis(400)).pages(4, &self.target);
        assert!(replies.servers.iter().any(|name| !name.starts_with("web")), "{replies}");
    }

    /// Runs `why` with further options. Returns its JSON.
    fn json(&self, options: &str) -> Value {
        let ran = self.director.run(&format!("ipvsadm-rs why {} {options} --json", self.why));
        let found: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran}"));
        assert_eq!(ran.code, Some(if found["verdict"].is_null() { 0 } else { 2 }), "{ran}");
        found
    }

    /// Waits until the verdict has this identifier. Returns the verdict.
    fn verdict(&self, id: &str, options: &str) -> Value {
        // The table can change between the two runs. They agree as soon as no connection changes its state.
        let (verdict, ran) = wait::until(Duration::from_secs(30), || {
            let verdict = self.json(options)["verdict"].take();
            let ran = self.director.run(&format!("ipvsadm-rs why {} {options}", self.why));
            let broken = ran.stdout.lines().find_map(|line| line.strip_prefix("Broken: "));
            let agree =
                broken.is_some_and(|broken| verdict["text"].as_str().is_some_and(|text| text.starts_with(broken)));
            if verdict["id"] == id && agree { Ok((verdict, ran)) } else { Err(format!("{verdict:#}\n{ran}")) }
        });
        let is_long = |line: &&str| line.chars().count() > 80 && !line.contains("# ");
        assert_eq!(ran.stdout.lines().find(is_long), None, "{ran}");
        println!("{}", ran.stdout);
        verdict
    }

    /// Checks that connections fail, and that the verdict has this identifier. Returns the verdict.
    fn is_broken(&self, id: &str) -> Value {
        self.fails();
        // Failures in the second of the last answer do not count. Further ones do.
        for _ in 0..10 {
            if self.json("")["verdict"]["id"] == id {
                break;
            }
            self.fails();
        }
        self.verdict(id, "")
    }

    /// Runs the commands of a verdict. `server` is the host for those of servers.
    fn mend(&self, verdict: &Value, server: &Host) {
        let commands = verdict["commands"].as_array().unwrap_or_else(|| panic!("no commands: {verdict:#}"));
        for command in commands {
            let host = if command["on"] == "director" { &self.director } else { server };
            let line = command["command"].as_str().unwrap();
            host.shell(line).ok();
        }
    }

    /// Checks that the service is broken, runs the commands of the verdict, and checks that it works.
    fn is_mended_by_its_commands(&self, id: &str) -> Value {
        let verdict = self.is_broken(id);
        self.mend(&verdict, &self.web1);
        self.forget_neighbours();
        self.works();
        verdict
    }

    /// Makes client and director ask for neighbours again. They remember for seconds that nobody has an address.
    fn forget_neighbours(&self) {
        for host in [&self.client, &self.director] {
            host.run("ip neigh flush all");
            host.run("ip -6 neigh flush all");
        }
    }
}

/// Returns the texts of a verdict as one line.
fn text(verdict: &Value) -> String {
    format!("{} {}", verdict["text"].as_str().unwrap_or_default(), verdict["why"].as_str().unwrap_or_default())
}
