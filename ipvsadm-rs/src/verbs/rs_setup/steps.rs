//! The steps that set up a real server, and their output formats.

use std::net::IpAddr;

use anyhow::bail;
use ipvs::document::SCHEMA;
use serde::Serialize;

/// The setup of a real server.
#[derive(Debug, Serialize)]
pub(crate) struct Setup {
    schema: u32,
    title: String,
    steps: Vec<Step>,
    /// Further settings that may be needed. The steps do not include them.
    advice: Vec<String>,
}

/// A step of the setup.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    /// Load a kernel module.
    Module { module: &'static str },
    /// Set a kernel setting.
    Sysctl {
        /// The name, with dots.
        key: String,
        value: u32,
        /// The reason for the setting. Empty if it is the same as that of the previous step.
        reason: String,
    },
    /// Decapsulate packets that arrive at a UDP port.
    FooOverUdp {
        port: u16,
        /// Whether the outer packets are IPv6.
        ipv6: bool,
    },
    /// Bring up an existing device.
    LinkUp { device: &'static str },
    /// Create a tunnel device, and bring it up.
    Tunnel {
        device: String,
        /// The type of the device for `ip link add`.
        kind: &'static str,
        /// `any` for a device that accepts IPv4 and IPv6 packets. Absent for types without modes.
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<&'static str>,
        /// The tunnel endpoint on this server.
        local: IpAddr,
        /// Whether packets have checksums.
        checksum: bool,
    },
    /// Create a dummy device for the virtual addresses, and bring it up.
    Dummy { device: String },
    /// Add an address to a device.
    Address { device: String, address: IpAddr },
}

impl Step {
    pub(crate) fn sysctl(key: &str, value: u32, reason: &str) -> Self {
        Self::Sysctl { key: key.into(), value, reason: reason.into() }
    }

    /// Returns the command, and the one that reverts it. The latter is `None` for modules and kernel settings, which
    /// are not reverted.
    fn commands(&self) -> (String, Option<String>) {
        match self {
            Self::Module { module } => (format!("modprobe {module}"), None),
            Self::Sysctl { key, value, .. } => (format!("sysctl -qw {key}={value}"), None),
            Self::FooOverUdp { port, ipv6 } => {
                let family = if *ipv6 { " -6" } else { "" };
                let undo = format!("ip fou del port {port}{family}");
                (format!("ip fou add port {port} gue{family}"), Some(undo))
            }
            Self::LinkUp { device } => (format!("ip link set {device} up"), Some(format!("ip link set {device} down"))),
            Self::Tunnel { device, kind, mode, local, checksum } => {
                let mode = mode.map(|mode| format!(" mode {mode}")).unwrap_or_default();
                let checksum = if *checksum { " icsum" } else { "" };
                let command =
                    format!("ip link add {device} type {kind}{mode} local {local}{checksum}; ip link set {device} up");
                (command, Some(format!("ip link del {device}")))
            }
            Self::Dummy { device } => (
                format!("ip link add {device} type dummy; ip link set {device} up"),
                Some(format!("ip link del {device}")),
            ),
            Self::Address { device, address } => {
                let (net, quiet) = (net(address), if address.is_ipv6() { " nodad" } else { "" });
                let undo = format!("ip address del {net} dev {device}");
                (format!("ip address replace {net} dev {device}{quiet}"), Some(undo))
            }
        }
    }

    /// Returns the name of the module that the step loads. `None` for other steps.
    fn module(&self) -> Option<&str> {
        if let Self::Module { module } = self { Some(module) } else { None }
    }

    /// Returns the files of systemd-networkd for the device of this step, with their paths.
    fn networkd_files(&self) -> anyhow::Result<Vec<(String, String)>> {
        let path = |name: &str| format!("/etc/systemd/network/50-{name}");
        Ok(match self {
            Self::Module { .. } | Self::Sysctl { .. } | Self::Address { .. } => Vec::new(),
            Self::FooOverUdp { port, ipv6 } => {
                let (name, family) = if *ipv6 { ("lvs-fou6", "Local=::\n") } else { ("lvs-fou", "") };
                let unit = format!(
                    "[NetDev]\nName={name}\nKind=fou\n\n[FooOverUDP]\nEncapsulation=GenericUDPEncapsulation\nPort={port}\n{family}"
                );
                vec![(path(&format!("{name}.netdev")), unit)]
            }
            Self::LinkUp { device } => vec![(path(&format!("lvs-{device}.network")), up(device))],
            Self::Tunnel { checksum: true, .. } => {
                bail!("systemd-networkd cannot create a GRE device with checksums\nUse --for shell or --for ifupdown.")
            }
            Self::Tunnel { device, kind, mode, local, checksum: false } => {
                let mode = mode.map(|mode| format!("Mode={mode}\n")).unwrap_or_default();
                let unit =
                    format!("[NetDev]\nName={device}\nKind={kind}\n\n[Tunnel]\nLocal={local}\nIndependent=yes\n{mode}");
                vec![(path(&format!("{device}.netdev")), unit), (path(&format!("{device}.network")), up(device))]
            }
            Self::Dummy { device } => {
                vec![(path("lvs.netdev"), format!("[NetDev]\nName={device}\nKind=dummy\n"))]
            }
        })
    }
}

/// Returns an address with the prefix length of a single host.
fn net(address: &IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 })
}

impl Setup {
    pub(crate) fn new(title: String) -> Self {
        Self { schema: SCHEMA, title, steps: Vec::new(), advice: Vec::new() }
    }

    /// Adds a step, unless an equal one exists.
    pub(crate) fn step(&mut self, step: Step) {
        if !self.steps.contains(&step) {
            self.steps.push(step);
        }
    }

    pub(crate) fn advise(&mut self, advice: String) {
        if !self.advice.contains(&advice) {
            self.advice.push(advice);
        }
    }

    /// Formats the steps as shell commands.
    pub(crate) fn shell(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        for step in &self.steps {
            if let Step::Sysctl { reason, .. } = step
                && !reason.is_empty()
            {
                text += &format!("# {reason}\n");
            }
            text += &format!("{}\n", step.commands().0);
        }
        text + &self.comments()
    }

    /// Formats only the kernel settings, for /etc/sysctl.d.
    pub(crate) fn sysctl(&self) -> String {
        let mut text = format!("# {}\n", self.title);
        for step in &self.steps {
            if let Step::Sysctl { key, value, reason } = step {
                if !reason.is_empty() {
                    text += &format!("# {reason}\n");
                }
                text += &format!("{key} = {value}\n");
            }
        }
        text
    }

    /// Formats the steps as a stanza for /etc/network/interfaces.
    pub(crate) fn ifupdown(&self) -> String {
        let mut text = format!("# {}\nauto lo:lvs\niface lo:lvs inet manual\n", self.title);
        for step in &self.steps {
            text += &format!("    up {}\n", step.commands().0);
        }
        for undo in self.steps.iter().rev().filter_map(|step| step.commands().1) {
            text += &format!("    down {undo} || true\n");
        }
        text + &self.comments()
    }

    /// Formats the steps as configuration files for systemd, one after the other.
    pub(crate) fn networkd(&self) -> anyhow::Result<String> {
        let mut files = Vec::new();
        let modules: Vec<&str> = self.steps.iter().filter_map(Step::module).collect();
        if !modules.is_empty() {
            files.push(("/etc/modules-load.d/lvs.conf".to_owned(), modules.join("\n") + "\n"));
        }
        let settings = self.sysctl();
        if settings.contains(" = ") {
            files.push(("/etc/sysctl.d/50-lvs.conf".to_owned(), settings));
        }
        let mut addresses = String::new();
        let mut address_device = "lo";
        for step in &self.steps {
            if let Step::Address { device, address } = step {
                address_device = device;
                let quiet = if address.is_ipv6() { "DuplicateAddressDetection=none\n" } else { "" };
                addresses += &format!("\n[Address]\nAddress={}\n{quiet}", net(address));
            }
            files.extend(step.networkd_files()?);
        }
        let network = format!("[Match]\nName={address_device}\n{addresses}");
        files.push(("/etc/systemd/network/50-lvs.network".to_owned(), network));
        let files: String = files.iter().map(|(path, content)| format!("\n# {path}\n{content}")).collect();
        Ok(format!("# {}\n{files}{}", self.title, self.comments()))
    }

    fn comments(&self) -> String {
        let comment = |advice: &String| advice.lines().map(|line| format!("# {line}\n")).collect::<String>();
        self.advice.iter().map(|advice| format!("#\n{}", comment(advice))).collect()
    }
}

/// Returns the file that brings up a device without addresses.
fn up(device: &str) -> String {
    format!(
        "[Match]\nName={device}\n\n[Link]\nActivationPolicy=always-up\nRequiredForOnline=no\n\n[Network]\nLinkLocalAddressing=no\n"
    )
}
