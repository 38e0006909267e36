//! A cluster of Corosync and Pacemaker, each node a container in this one guest.
//!
//! ```ignore
//! let mut cluster = Cluster::start(&[(&first, "10.9.0.1"), (&second, "10.9.0.2")])?;
//! cluster.add_resource(r#"<primitive id="web" class="ocf" provider="…" type="…"/>"#);
//! cluster.wait_until_runs_on("web", "first", Duration::from_secs(60));
//! cluster.fail("first");
//! cluster.wait_until_runs_on("web", "second", Duration::from_secs(60));
//! ```
//!
//! Fencing is off at first. It is not needed if nodes fail by [`Cluster::fail`], which kills all processes of a node.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::command::{self, Ran, Running, run_command};
use crate::lab::container::Container;
use crate::lab::topology::Host;
use crate::wait;

const CONFIGURATION: &str = "/etc/corosync/corosync.conf";
const HOSTS: &str = "/etc/hosts";
const FOLDERS: [&str; 2] = ["/var/lib/pacemaker", "/var/lib/corosync"];
const CIB: &str = "/var/lib/pacemaker/cib";

/// A running cluster.
#[derive(Debug)]
pub struct Cluster<'a> {
    nodes: Vec<Node<'a>>,
}

#[derive(Debug)]
struct Node<'a> {
    // Fields are dropped in this order: daemons end before the machine they run on.
    pacemaker: Running,
    corosync: Running,
    machine: Container<'a>,
}

impl<'a> Cluster<'a> {
    /// Starts a cluster on hosts, each with the address it uses for the cluster. Waits until all have joined.
    pub fn start(hosts: &[(&'a Host, &str)]) -> Result<Cluster<'a>> {
        fs::write(CONFIGURATION, corosync(hosts)).context(CONFIGURATION)?;
        Cluster::start_nodes(hosts)
    }

    /// Starts a cluster with the configuration that `pcs cluster setup` writes: knet with encryption.
    pub fn start_with_pcs(hosts: &[(&'a Host, &str)]) -> Result<Cluster<'a>> {
        let nodes: Vec<String> =
            hosts.iter().map(|(host, address)| format!("{} addr={address}", host.name())).collect();
        // With --corosync_conf, pcs needs no daemon. It then neither copies the configuration nor makes a key.
        let options = format!("totem token=1000 --corosync_conf {CONFIGURATION} --overwrite");
        patient_shell(&format!("pcs cluster setup lab {} {options}", nodes.join(" "))).ok();
        command::ok("corosync-keygen -l");
        Cluster::start_nodes(hosts)
    }

    fn start_nodes(hosts: &[(&'a Host, &str)]) -> Result<Cluster<'a>> {
        name_nodes(hosts)?;
        let nodes: Vec<Node<'a>> = hosts.iter().map(|(host, _)| Node::start(host)).collect::<Result<_>>()?;
        let cluster = Cluster { nodes };
        cluster.wait_until_online();
        Ok(cluster)
    }

    /// Adds a resource or a group: a `<primitive …>` or `<group …>` element of the CIB.
    ///
    /// Waits until it runs and the cluster has nothing left to do. Otherwise, Pacemaker might overlook for minutes a
    /// failure that happens while another resource starts.
    #[track_caller]
    pub fn add_resource(&self, xml: &str) {
        let text = xml.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        let mut create = Command::new("cibadmin");
        create.args(["--create", "--scope", "resources", "--xml-text", &text]);
        self.run_patiently(&mut create);
        self.settle();
    }

    /// Sets a property of the cluster.
    #[track_caller]
    pub fn set_property(&self, name: &str, value: &str) {
        let line = format!("crm_attribute --type crm_config --name {name} --update {value}");
        self.any_node().machine.enter(|| command::ok(&line));
        self.settle();
    }

    /// Waits until the cluster has nothing left to do.
    #[track_caller]
    pub fn settle(&self) {
        self.run_patiently(Command::new("crm_resource").args(["--wait", "--timeout", "90s"]));
    }

    #[track_caller]
    fn run_patiently(&self, command: &mut Command) {
        let ran = self.any_node().machine.enter(|| run_command(command, Duration::from_secs(100)));
        ran.expect("Pacemaker is installed").ok();
    }

    /// Waits until a resource runs on this node only. Returns the time until then.
    #[track_caller]
    pub fn wait_until_runs_on(&self, resource: &str, node: &str, limit: Duration) -> Duration {
        let start = std::time::Instant::now();
        wait::until(limit, || {
            let found = self.nodes_of(resource);
            if found == [node] {
                Ok(())
            } else {
                Err(format!("{resource} runs on {found:?}\n{}{}", self.status(), self.log()))
            }
        });
        start.elapsed()
    }

    /// Returns the nodes that a resource runs on.
    pub fn nodes_of(&self, resource: &str) -> Vec<String> {
        let ran = self
            .any_node()
            .machine
            .enter(|| command::run(&format!("crm_resource --quiet --locate --resource {resource}")));
        ran.stdout.split_whitespace().map(str::to_owned).collect()
    }

    /// Returns the output of `crm_mon`.
    pub fn status(&self) -> String {
        self.any_node().machine.enter(|| command::run("crm_mon --one-shot --inactive --exclude=times")).to_string()
    }

    /// Returns the output of the daemons of all nodes so far.
    pub fn log(&self) -> String {
        let of = |node: &Node<'_>| {
            let name = node.machine.host().name();
            format!("\n{name}: corosync\n{}\n{name}: pacemaker\n{}", node.corosync.output(), node.pacemaker.output())
        };
        self.nodes.iter().map(of).collect()
    }

    /// Runs a line of words on a node; it must succeed. Returns its standard output.
    #[track_caller]
    pub fn ok_on(&self, node: &str, line: &str) -> String {
        self.node(node).machine.enter(|| command::ok(line))
    }

    /// Runs a function inside the container of a node.
    pub fn enter<T: Send>(&self, node: &str, inside: impl FnOnce() -> T + Send) -> T {
        self.node(node).machine.enter(inside)
    }

    /// Runs a command line with the shell on a node, in UTF-8.
    #[track_caller]
    pub fn shell_on(&self, node: &str, line: &str) -> Ran {
        self.node(node).machine.enter(|| patient_shell(&format!("export LC_ALL=C.UTF-8\n{line}")))
    }

    /// Kills all processes of a node at once. The caller must unplug its interfaces, because the kernel is shared and
    /// keeps running.
    pub fn fail(&mut self, node: &str) {
        self.nodes.retain(|candidate| candidate.machine.host().name() != node);
    }

    /// Starts a node again that has failed. Waits until it has joined.
    pub fn start_again(&mut self, host: &'a Host) -> Result<()> {
        Cluster::turn_on(host.name());
        self.nodes.push(Node::start(host)?);
        self.wait_until_online();
        Ok(())
    }

    /// Returns the names of the nodes that run.
    pub fn names(&self) -> Vec<&'a str> {
        self.nodes.iter().map(|node| node.machine.host().name()).collect()
    }

    fn wait_until_online(&self) {
        let mut names = self.names();
        names.sort_unstable();
        wait::until(Duration::from_secs(90), || {
            let status = self.status();
            let all = status.contains(&format!("Online: [ {} ]", names.join(" ")));
            if all && status.contains("partition with quorum") { Ok(()) } else { Err(status + &self.log()) }
        });
    }

    fn node(&self, name: &str) -> &Node<'a> {
        let found = self.nodes.iter().find(|node| node.machine.host().name() == name);
        found.unwrap_or_else(|| panic!("the cluster has no node {name}"))
    }

    /// Returns any node that runs. Each node reports the state of the whole cluster.
    fn any_node(&self) -> &Node<'a> {
        self.nodes.first().expect("at least one node runs")
    }
}

impl<'a> Node<'a> {
    fn start(host: &'a Host) -> Result<Node<'a>> {
        let machine = Container::start(host, &FOLDERS)?;
        machine.enter(first_configuration)?;
        let corosync = machine.enter(|| command::start("corosync -f"));
        wait::until(Duration::from_secs(30), || {
            let ran = machine.enter(|| command::run("corosync-cfgtool -s"));
            if ran.code == Some(0) { Ok(()) } else { Err(format!("{ran}\n{}", corosync.output())) }
        });
        let pacemaker = machine.enter(|| command::start("env PCMK_logfile=/var/log/pacemaker.log pacemakerd"));
        Ok(Node { pacemaker, corosync, machine })
    }
}

/// Runs a command line with the shell. The shells of clusters are slow to start.
pub fn patient_shell(line: &str) -> Ran {
    let ran = run_command(Command::new("/bin/sh").arg("-c").arg(line), Duration::from_secs(100));
    Ran { command: line.to_owned(), ..ran.expect("a shell") }
}

/// Makes the names of the nodes known. `crm node standby` skips a node that does not answer `ping`, and succeeds.
fn name_nodes(hosts: &[(&Host, &str)]) -> Result<()> {
    let mut text = fs::read_to_string(HOSTS).unwrap_or_default();
    for (host, address) in hosts {
        let _ = writeln!(text, "{address} {}", host.name());
    }
    // It may be a link.
    let _ = fs::remove_file(HOSTS);
    fs::write(HOSTS, text).context(HOSTS)
}

fn corosync(hosts: &[(&Host, &str)]) -> String {
    // Two nodes have no majority if one of them fails.
    let two_node = u8::from(hosts.len() == 2);
    let mut text = format!(
        "totem {{\n  version: 2\n  cluster_name: lab\n  transport: udpu\n  crypto_cipher: none\n  \
         crypto_hash: none\n  token: 1000\n}}\n\
         quorum {{\n  provider: corosync_votequorum\n  two_node: {two_node}\n  wait_for_all: 0\n}}\n\
         logging {{\n  to_stderr: yes\n  to_syslog: no\n}}\nnodelist {{\n"
    );
    for (number, (host, address)) in (1..).zip(hosts) {
        let name = host.name();
        let _ = writeln!(text, "  node {{\n    ring0_addr: {address}\n    name: {name}\n    nodeid: {number}\n  }}");
    }
    text + "}\n"
}

/// Writes a first configuration. With Pacemaker's defaults, nodes would wait long for each other, and nothing would
/// start without fencing.
fn first_configuration() -> Result<()> {
    let options = [("stonith-enabled", "false"), ("dc-deadtime", "4s"), ("no-quorum-policy", "ignore")];
    let nvpairs: String = options
        .iter()
        .map(|(name, value)| format!(r#"<nvpair id="option-{name}" name="{name}" value="{value}"/>"#))
        .collect();
    let text = format!(
        r#"<cib validate-with="pacemaker-3.0" epoch="1" num_updates="0" admin_epoch="0"><configuration><crm_config>
<cluster_property_set id="options">{nvpairs}</cluster_property_set>
</crm_config><nodes/><resources/><constraints/></configuration><status/></cib>
"#
    );
    let path = format!("{CIB}/cib.xml");
    fs::write(&path, text).with_context(|| path.clone())?;
    let folder = fs::metadata(CIB)?;
    chown(&path, Some(folder.uid()), Some(folder.gid()))?;
    Ok(fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?)
}
