//! `ipvsadm-rs rs-setup`: prints the setup of a real server.

mod steps;

use std::fmt::Write as _;
use std::net::{AddrParseError, IpAddr};
use std::num::NonZeroU16;

use anyhow::bail;
use clap::{Args, ValueEnum};
use ipvs::{Family, GueChecksum, Interface, InvalidValue, Tunnel};

use crate::context::{Context, code};
use crate::network::tunnel;
use steps::{Setup, Step};

/// Print the setup of a real server for direct routing or tunnels
///
/// Packets that are forwarded by direct routing or through a tunnel arrive with the virtual address as their
/// destination. The server needs that address, and must not answer ARP requests for it.
///
/// A masqueraded server needs only a route back through the director. Nothing on this machine is changed.
#[derive(Args, Debug)]
#[command(after_long_help = EXIT_CODES)]
pub(super) struct RsSetup {
    /// Forwarding method of the server
    #[arg(long, value_enum)]
    mode: Mode,
    /// Virtual address; can be repeated
    #[arg(long, required = true, value_name = "ADDRESS", value_parser = address_of_a_machine)]
    vip: Vec<IpAddr>,
    /// Address of the server, used as the tunnel endpoint
    ///
    /// The tunnel has the family of this address. Without this option, it has the family of the virtual address.
    #[arg(long, value_name = "ADDRESS", value_parser = address_of_a_machine)]
    own: Option<IpAddr>,
    /// UDP port of the GUE tunnel (1 to 65535) [default: 6080]
    #[arg(long, value_name = "PORT")]
    tun_port: Option<NonZeroU16>,
    /// Set up the tunnel for packets with checksums (tun-gre, tun-gue)
    #[arg(long, conflicts_with = "tun_remcsum")]
    tun_csum: bool,
    /// Set up the tunnel for remote checksum offload (tun-gue)
    #[arg(long)]
    tun_remcsum: bool,
    /// Device for the virtual address; any device other than lo is created as a dummy device
    #[arg(long, value_name = "DEVICE", default_value = "lo", value_parser = device)]
    device: String,
    /// MTU of the path from the director to the server, for a suggested TCP segment size (576 to 65535; with IPv6 at
    /// least 1280)
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(576..))]
    mtu: u16,
    /// Format of the output
    #[arg(long = "for", value_enum, default_value = "shell", value_name = "FORMAT")]
    form: OutputFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Mode {
    /// Direct routing (-g)
    Dr,
    /// IP-in-IP tunnel (-i)
    TunIpip,
    /// GRE tunnel (-i --tun-type gre)
    TunGre,
    /// Tunnel with generic UDP encapsulation (-i --tun-type gue)
    TunGue,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum OutputFormat {
    /// Shell commands
    Shell,
    /// Files for systemd-networkd, systemd-sysctl and systemd-modules-load
    SystemdNetworkd,
    /// Stanza for /etc/network/interfaces
    Ifupdown,
    /// Kernel settings only, for /etc/sysctl.d
    Sysctl,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  Done
  1  Error, or the options contradict each other";

/// Parses the name of a device. Only safe characters are accepted, because the output is run by a root shell.
fn device(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let name: Interface = text.parse().map_err(|error: InvalidValue| error.to_string())?;
    if text.starts_with(['.', '-']) || !text.bytes().all(is_plain) {
        return Err(
            "a device name consists of letters, digits, `_`, `-` and `.`, and does not begin with `-` or `.`".into()
        );
    }
    Ok(name.to_string())
}

fn address_of_a_machine(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|error: AddrParseError| error.to_string())?;
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || address.is_loopback() || is_broadcast {
        return Err("not a unicast address that other machines can reach".into());
    }
    Ok(address)
}

impl RsSetup {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let setup = self.setup()?;
        if context.json {
            context.write_json(&setup)?;
            return Ok(code::DONE);
        }
        let text = match self.form {
            OutputFormat::Shell => setup.shell(),
            OutputFormat::SystemdNetworkd => setup.networkd()?,
            OutputFormat::Ifupdown => setup.ifupdown(),
            OutputFormat::Sysctl => setup.sysctl(),
        };
        context.write(|out| out.write_all(text.as_bytes()))?;
        Ok(code::DONE)
    }

    fn setup(&self) -> anyhow::Result<Setup> {
        self.check()?;
        let mut setup = Setup::new(self.title());
        let has_v4 = self.vip.iter().any(IpAddr::is_ipv4);
        if has_v4 {
            // These settings precede the address. IPv6 needs none, because the kernel does not answer neighbour
            // solicitations for addresses of lo.
            setup.step(Step::sysctl("net.ipv4.conf.all.arp_ignore", 1, "do not answer ARP for the virtual address"));
            setup.step(Step::sysctl(
                "net.ipv4.conf.all.arp_announce",
                2,
                "do not use the virtual address as the source of ARP requests",
            ));
        }
        if self.mode != Mode::Dr {
            for family_is_4 in [true, false] {
                if self.vip.iter().any(|vip| vip.is_ipv4() == family_is_4) {
                    self.tunnel(&mut setup, family_is_4)?;
                }
            }
        }
        if self.device != "lo" {
            setup.step(Step::Dummy { device: self.device.clone() });
        }
        for vip in &self.vip {
            setup.step(Step::Address { device: self.device.clone(), address: *vip });
        }
        self.advise(&mut setup);
        Ok(setup)
    }

    /// Fails if an option does not apply to the mode, or if the MTU is too small for IPv6.
    fn check(&self) -> anyhow::Result<()> {
        let is_tunnel = self.mode != Mode::Dr;
        let (is_gre, is_gue) = (self.mode == Mode::TunGre, self.mode == Mode::TunGue);
        for (option, is_given, is_meant, mode) in [
            ("--own", self.own.is_some(), is_tunnel, "tun-ipip, tun-gre or tun-gue"),
            ("--tun-port", self.tun_port.is_some(), is_gue, "tun-gue"),
            ("--tun-csum", self.tun_csum, is_gre || is_gue, "tun-gre or tun-gue"),
            ("--tun-remcsum", self.tun_remcsum, is_gue, "tun-gue"),
        ] {
            if is_given && !is_meant {
                bail!("{option} requires --mode {mode}");
            }
        }
        // The minimum MTU of IPv6 (RFC 8200, section 5).
        if self.mtu < 1280 && self.vip.iter().any(IpAddr::is_ipv6) {
            bail!("--mtu must be at least 1280 with IPv6");
        }
        Ok(())
    }

    fn title(&self) -> String {
        let vips: Vec<String> = self.vip.iter().map(IpAddr::to_string).collect();
        let how = match self.mode {
            Mode::Dr => "direct routing",
            Mode::TunIpip => "IP-in-IP tunnel",
            Mode::TunGre => "GRE tunnel",
            Mode::TunGue => "GUE tunnel",
        };
        format!("Real server for {}, reached by {how}", vips.join(", "))
    }

    fn outer_is_4(&self, inner_is_4: bool) -> bool {
        self.own.map_or(inner_is_4, |own| own.is_ipv4())
    }

    /// Adds the steps for the device that decapsulates. The devices that the kernel creates with a module, such as
    /// tunl0, accept packets from any address.
    fn tunnel(&self, setup: &mut Setup, inner_is_4: bool) -> anyhow::Result<()> {
        let outer_is_4 = self.outer_is_4(inner_is_4);
        if self.mode == Mode::TunGue {
            // The module fou removes UDP and GUE, for both families. The IP-in-IP device then processes the packets.
            // The module fou6 only sends, and does not load fou.
            setup.step(Step::Module { module: "fou" });
            setup.step(Step::FooOverUdp { port: self.tun_port.map_or(GUE_PORT, NonZeroU16::get), ipv6: !outer_is_4 });
        }
        let is_gre = self.mode == Mode::TunGre;
        let device = match (is_gre, self.tun_csum, outer_is_4, inner_is_4) {
            (false, _, true, true) => existing(setup, "ipip", "tunl0"),
            (false, _, true, false) => existing(setup, "sit", "sit0"),
            (false, _, false, false) => existing(setup, "ip6_tunnel", "ip6tnl0"),
            // ip6tnl0 accepts IPv6 in IPv6 only.
            (false, _, false, true) => self.added(setup, "ip6_tunnel", "ip6tnl", Some("any"), false)?,
            (true, false, true, _) => existing(setup, "ip_gre", "gre0"),
            (true, false, false, _) => existing(setup, "ip6_gre", "ip6gre0"),
            // A GRE device accepts either packets with checksums or packets without.
            (true, true, true, _) => self.added(setup, "ip_gre", "gre", None, true)?,
            (true, true, false, _) => self.added(setup, "ip6_gre", "ip6gre", None, true)?,
        };
        if inner_is_4 {
            // The kernel uses the greater value of `all` and the device (IN_DEV_RPFILTER,
            // https://elixir.bootlin.com/linux/v6.12/source/include/linux/inetdevice.h).
            let why = "accept client packets from the tunnel, although replies take another route";
            setup.step(Step::sysctl("net.ipv4.conf.all.rp_filter", 0, why));
            setup.step(Step::sysctl(&format!("net.ipv4.conf.{device}.rp_filter"), 0, ""));
        }
        Ok(())
    }

    fn added(
        &self,
        setup: &mut Setup,
        module: &'static str,
        kind: &'static str,
        mode: Option<&'static str>,
        checksum: bool,
    ) -> anyhow::Result<String> {
        let Some(own) = self.own else { bail!("this tunnel needs the server's own address\nUse --own ADDRESS.") };
        const DEVICE: &str = "lvs-tunnel";
        setup.step(Step::Module { module });
        setup.step(Step::Tunnel { device: DEVICE.into(), kind, mode, local: own, checksum });
        Ok(DEVICE.into())
    }

    /// Adds advice on the TCP segment size, because the tunnel adds headers to each packet.
    fn advise(&self, setup: &mut Setup) {
        for vip in &self.vip {
            let outer = if self.outer_is_4(vip.is_ipv4()) { Family::V4 } else { Family::V6 };
            let tunnel = match self.mode {
                Mode::Dr => return,
                Mode::TunIpip => Tunnel::Ipip,
                Mode::TunGre => Tunnel::Gre { checksum: self.tun_csum },
                Mode::TunGue => {
                    let checksum = if self.tun_remcsum { GueChecksum::Remote } else { GueChecksum::None };
                    Tunnel::Gue { port: NonZeroU16::MIN, checksum }
                }
            };
            let overhead = tunnel::overhead(tunnel, outer);
            let headers = if vip.is_ipv4() { 40 } else { 60 };
            let segment = self.mtu.saturating_sub(overhead + headers);
            let family = if vip.is_ipv4() { "ip" } else { "ip6" };
            let mut advice = String::new();
            // Writing to a string does not fail.
            let _ = write!(
                advice,
                "The tunnel makes packets to {vip} {overhead} bytes longer. If the path MTU is only {mtu} bytes and ICMP may \
                 be filtered, limit the TCP segments of clients to {segment} bytes:\n\
                 nft 'add table {family} lvs; add chain {family} lvs out {{ type filter hook output priority 0; }}; \
                 add rule {family} lvs out {family} saddr {vip} tcp flags syn tcp option maxseg size set {segment}'",
                mtu = self.mtu,
            );
            setup.advise(advice);
        }
    }
}

/// The port that IANA has assigned to GUE.
const GUE_PORT: u16 = 6080;

fn existing(setup: &mut Setup, module: &'static str, device: &'static str) -> String {
    setup.step(Step::Module { module });
    setup.step(Step::LinkUp { device });
    device.into()
}
