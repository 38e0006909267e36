//! Fencing: a power switch that the nodes of a [`Cluster`] can use.
//!
//! ```ignore
//! cluster.enable_fencing();
//! cluster.hang("first");
//! cluster.wait_until_fenced("first", Duration::from_secs(60), || lab.unplug(&first, "eth0").unwrap());
//! ```
//!
//! The fence agent asks for it with a file, because it runs in a container and cannot end the processes of another one.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::command::{self, install_script};
use crate::lab::cluster::Cluster;
use crate::wait;

/// The fence agent, where Pacemaker looks for it.
const AGENT: &str = "/usr/sbin/fence_lab";

/// All containers see this directory. The agent makes a file in it with the name of the node to turn off.
const REQUESTS: &str = "/srv/ipvs-lab-power";

const SCRIPT: &str = r#"#!/bin/sh
# Pacemaker passes lines on standard input, and people options.
action=reboot
plug=
if [ $# -gt 0 ]; then
    while [ $# -gt 0 ]; do
        case $1 in
        -o | --action) action=$2 && shift ;;
        -n | --plug) plug=$2 && shift ;;
        esac
        shift
    done
else
    while IFS='=' read -r name value; do
        case $name in
        action | option) action=$value ;;
        plug | port | nodename) plug=$value ;;
        esac
    done
fi
case $action in
metadata | meta-data)
    cat <<END
<?xml version="1.0"?>
<resource-agent name="fence_lab" shortdesc="Power switch of the lab">
<longdesc>Turns off a node of the lab.</longdesc>
<parameters>
<parameter name="action" required="1"><content type="string" default="reboot"/><shortdesc lang="en">Action</shortdesc></parameter>
<parameter name="plug" required="1"><content type="string"/><shortdesc lang="en">Node</shortdesc></parameter>
</parameters>
<actions>
<action name="on" automatic="0"/><action name="off"/><action name="reboot"/><action name="status"/>
<action name="monitor"/><action name="metadata"/>
</actions>
</resource-agent>
END
    ;;
on | monitor) exit 0 ;;
status) [ ! -e "/srv/ipvs-lab-power/$plug.off" ] || exit 2 ;;
off | reboot)
    : > "/srv/ipvs-lab-power/$plug" || exit 1
    for _ in $(seq 200); do
        [ ! -e "/srv/ipvs-lab-power/$plug.off" ] || exit 0
        sleep 0.1
    done
    exit 1
    ;;
*) exit 1 ;;
esac
"#;

fn request(node: &str) -> PathBuf {
    PathBuf::from(REQUESTS).join(node)
}

fn answer(node: &str) -> PathBuf {
    PathBuf::from(REQUESTS).join(format!("{node}.off"))
}

impl Cluster<'_> {
    /// Adds a stonith resource with the power switch, and enables fencing.
    #[track_caller]
    pub fn enable_fencing(&self) {
        install_script(AGENT, SCRIPT).expect("the fence agent");
        fs::create_dir_all(REQUESTS).expect(REQUESTS);
        let nodes = self.names().join(" ");
        // A node that was turned off stays off, until the test starts it.
        let parameters: String = [("pcmk_host_list", nodes.as_str()), ("pcmk_reboot_action", "off")]
            .iter()
            .map(|(name, value)| format!(r#"<nvpair id="power-{name}" name="{name}" value="{value}"/>"#))
            .collect();
        self.add_resource(&format!(
            r#"<primitive id="power" class="stonith" type="fence_lab">
               <instance_attributes id="power-parameters">{parameters}</instance_attributes>
               </primitive>"#
        ));
        self.set_property("stonith-enabled", "true");
    }

    /// Stops the execution of all processes of a node, as on a machine that hangs. Its kernel still forwards packets.
    pub fn hang(&self, node: &str) {
        // kill(2) sends a signal to -1 neither to process 1 nor to its caller.
        self.enter(node, || command::shell("kill -STOP -1").ok());
    }

    /// Waits until the cluster asks to turn off a node. Kills its processes, and runs `cut`, which must unplug it, before
    /// the cluster is told that it is off. Returns the time until the request.
    #[track_caller]
    pub fn wait_until_fenced(&mut self, node: &str, limit: Duration, cut: impl FnOnce()) -> Duration {
        let start = Instant::now();
        wait::until(
            limit,
            || if request(node).exists() { Ok(()) } else { Err(format!("no request to turn off {node}")) },
        );
        let time = start.elapsed();
        self.fail(node);
        cut();
        fs::write(answer(node), "").expect("an answer to the fence agent");
        time
    }

    /// Forgets that a node was turned off.
    pub(crate) fn turn_on(node: &str) {
        for path in [request(node), answer(node)] {
            let _ = fs::remove_file(path);
        }
    }
}
