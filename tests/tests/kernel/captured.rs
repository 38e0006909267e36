//! Compares the messages in `ipvs-sys/tests/captured` with the kernel's. The unit tests of `ipvs-sys` read those files.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use ipvs::rules::{Numeric, read_config};
use ipvs::{Client, ServiceKey};
use ipvs_sys::family::{self, FamilyAttrs};
use ipvs_sys::message::{Content, replies};
use ipvs_sys::uapi::{Command, CommandAttrs, InfoAttrs};
use ipvs_sys::wire::{Attributes, Name, Wire};
use ipvs_tests::host::kernel::running;
use ipvs_tests::net::rtnl;
use ipvs_tests::random::steps;
use ipvs_tests::wait;
use rustix::mount::{MountFlags, mount};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use crate::client::ethernet;
use crate::socket::{about, master};

ipvs_tests::tests! {
    captured_messages_match_the_kernel;
}

/// One file for each message. All kernel series send the same content, with more or less padding.
macro_rules! captured {
    ($($name:literal),* $(,)?) => {
        const CAPTURED: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../../../ipvs-sys/tests/captured/6.1/", $name, ".bin")))),*];
    };
}

captured![
    "family",
    "info",
    "timeouts",
    "service",
    "services",
    "servers",
    "daemons",
    "ack",
    "refused",
    "explained",
    "echoed"
];

/// With `IPVS_CAPTURE=/folder` (an absolute path), writes the files to a subfolder for the kernel series instead.
fn captured_messages_match_the_kernel() {
    director();
    let socket = Socket::open();
    let family =
        socket.request(family::GENL_ID_CTRL, libc::NLM_F_REQUEST, family::CTRL_CMD_GETFAMILY, &family_request());
    let id = family_id(&family);
    let request = |command: Command, flags: i32, attributes: &CommandAttrs| {
        socket.request(id, libc::NLM_F_REQUEST | flags, command.number(), attributes)
    };
    let nothing = &CommandAttrs::default();
    let mut dns = about(Command::GetService, 53).attributes;
    dns.service.as_mut().unwrap().protocol = Some(17);
    let web = &about(Command::GetDest, 80).attributes;
    let missing = &about(Command::DelService, 9).attributes;
    let mut too_long = master(Command::NewDaemon).attributes;
    too_long.daemon.as_mut().unwrap().mcast_ifn = Name::new(b"interface-name-x");
    let messages = [
        ("family", family.clone()),
        ("info", request(Command::GetInfo, 0, nothing)),
        ("timeouts", request(Command::GetConfig, 0, nothing)),
        ("service", request(Command::GetService, 0, &dns)),
        ("services", request(Command::GetService, libc::NLM_F_DUMP, nothing)),
        ("servers", request(Command::GetDest, libc::NLM_F_DUMP, web)),
        ("daemons", request(Command::GetDaemon, libc::NLM_F_DUMP, nothing)),
        ("ack", request(Command::Zero, libc::NLM_F_ACK, web)),
        ("refused", request(Command::DelService, 0, missing)),
        ("explained", request(Command::NewDaemon, 0, &too_long)),
        ("echoed", Socket::open_uncapped().request(id, libc::NLM_F_REQUEST, Command::NewDaemon.number(), &too_long)),
    ];
    if let Ok(folder) = std::env::var("IPVS_CAPTURE") {
        return write(&folder, &messages);
    }
    for ((name, messages), (stored_name, stored)) in messages.iter().zip(CAPTURED) {
        assert_eq!(name, stored_name);
        assert_eq!(meaning(name, messages), meaning(name, stored), "{name}");
    }
    assert_eq!(messages.len(), CAPTURED.len());
}

/// Loads table.rules, and sends three datagrams to a service so that its counters are not 0.
fn director() {
    ethernet();
    let rules = include_bytes!("../../../ipvs-sys/tests/captured/table.rules");
    let table = read_config(rules, &mut Numeric).unwrap().config;
    let mut client = Client::open().unwrap();
    let refused = client.submit(&steps(&table)).unwrap();
    assert!(refused.is_empty(), "{refused:?}");

    let socket = rtnl::Socket::open().unwrap();
    socket.add_address("lo", "192.0.2.1/32").unwrap();
    for _ in 0..3 {
        // The server is not reachable; some kernels report that as an error.
        let _ = UdpSocket::bind("192.0.2.1:0").unwrap().send_to(b"?", "192.0.2.1:53");
    }
    let dns = ServiceKey::udp([192, 0, 2, 1], 53);
    wait::until(Duration::from_secs(30), || match client.service(&dns).unwrap().stats {
        stats if stats.connections == 3 => Ok(()),
        stats => Err(format!("{stats:?}")),
    });
}

fn write(folder: &str, messages: &[(&str, Vec<u8>)]) {
    const HERE: &str = "/run/captured";
    fs::create_dir(HERE).unwrap();
    let path = std::ffi::CString::new(folder).unwrap();
    // Mounts the host's directory, because the root directory of the guest is read-only.
    mount("none", HERE, "hostfs", MountFlags::empty(), path.as_c_str()).unwrap();
    let (major, minor) = running();
    let series = format!("{HERE}/{major}.{minor}");
    fs::create_dir_all(&series).unwrap();
    for (name, bytes) in messages {
        fs::write(format!("{series}/{name}.bin"), bytes).unwrap();
    }
}

/// A netlink socket that returns the received bytes unchanged.
struct Socket {
    fd: OwnedFd,
}

impl Socket {
    fn open_uncapped() -> Socket {
        let generic = Some(netlink::GENERIC);
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, generic).unwrap();
        let socket = Socket { fd };
        socket.set(libc::NETLINK_EXT_ACK);
        socket
    }

    fn open() -> Socket {
        let socket = Socket::open_uncapped();
        socket.set(libc::NETLINK_CAP_ACK);
        socket
    }

    fn set(&self, option: libc::c_int) {
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open, and the pointer and length are those of a live integer.
        let result = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        assert_eq!(result, 0);
    }

    /// Sends one request and returns the bytes of all replies.
    fn request(&self, family: u16, flags: i32, command: u8, attributes: &impl Attributes) -> Vec<u8> {
        let mut body = vec![command, 1, 0, 0];
        attributes.write(&mut body);
        let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
        message.extend(family.to_ne_bytes());
        message.extend((flags as u16).to_ne_bytes());
        message.extend(1u32.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        send(&self.fd, &message, SendFlags::empty()).unwrap();
        let mut messages = Vec::new();
        // The kernel replies within `send`, so all replies are already in the socket.
        let mut datagram = vec![0; 32 << 10];
        while let Ok((length, _)) = recv(&self.fd, &mut datagram[..], RecvFlags::DONTWAIT) {
            messages.extend_from_slice(&datagram[..length]);
        }
        assert!(!messages.is_empty(), "no reply to command {command}");
        messages
    }
}

fn family_request() -> FamilyAttrs {
    FamilyAttrs { name: Name::new(b"IPVS"), ..FamilyAttrs::default() }
}

fn family_id(messages: &[u8]) -> u16 {
    match replies(messages).next().unwrap().unwrap().content {
        Content::Data { attributes, .. } => FamilyAttrs::read(attributes).unwrap().id.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Decodes messages to text, sorted because the order of services has no meaning. Values that differ in each run are
/// removed.
fn meaning(name: &str, messages: &[u8]) -> Vec<String> {
    let replies = replies(messages).map(|reply| match reply.unwrap().content {
        Content::Data { attributes, .. } => match name {
            "family" => format!("{:?}", FamilyAttrs { id: None, ..FamilyAttrs::read(attributes).unwrap() }),
            "info" => format!("{:?}", InfoAttrs { conn_tab_size: None, ..InfoAttrs::read(attributes).unwrap() }),
            _ => {
                let mut attributes = CommandAttrs::read(attributes).unwrap();
                if let Some(service) = &mut attributes.service {
                    for stats in [&mut service.stats, &mut service.stats64].into_iter().flatten() {
                        (stats.cps, stats.inpps, stats.inbps) = (None, None, None);
                    }
                }
                format!("{attributes:?}")
            }
        },
        other => format!("{other:?}"),
    });
    let mut meaning: Vec<String> = replies.collect();
    meaning.sort_unstable();
    meaning
}
