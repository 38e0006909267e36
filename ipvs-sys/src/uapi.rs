//! The tables of commands, attributes and flags, in the order and with the names of `linux/ip_vs.h`.
//!
//! They are complete up to Linux 7.3. The header has had no new command or attribute since 5.3. A test compares the
//! tables with the installed header.
//!
//! Each table of attributes, such as [`DestAttrs`], is a struct with one optional field for each attribute. An enum,
//! such as [`DestAttr`], has one variant for each, for reading a list without building the struct.
//!
//! - Names and numbers: <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/ip_vs.h>
//! - Types, and attributes that a command requires: `ip_vs_svc_policy`, `ip_vs_genl_parse_service` and others in
//!   <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::table::{attributes, commands, constants};
use crate::wire::{Address, Be16, Counter, FlagsMask, Name};

/// The name of the generic netlink family.
#[doc(alias = "IPVS_GENL_NAME")]
pub const FAMILY_NAME: &str = "IPVS";
/// The version of the family, in requests. The kernel ignores it.
#[doc(alias = "IPVS_GENL_VERSION")]
pub const FAMILY_VERSION: u8 = 1;

commands! {
    /// The commands of the family.
    Command {
        /// Add a virtual service. Requires scheduler, flags, timeout and netmask, as `SetService` does.
        1 IPVS_CMD_NEW_SERVICE => NewService,
        /// Replace all settings of a virtual service. A persistence engine that is absent is removed.
        2 IPVS_CMD_SET_SERVICE => SetService,
        /// Delete a virtual service and its destinations.
        3 IPVS_CMD_DEL_SERVICE => DelService,
        /// Get one virtual service, or dump all of them.
        4 IPVS_CMD_GET_SERVICE => GetService,
        /// Add a destination to a virtual service. Requires method, weight and thresholds, as `SetDest` does.
        5 IPVS_CMD_NEW_DEST => NewDest,
        /// Replace all settings of a destination. Absent attributes of a tunnel are reset to 0.
        6 IPVS_CMD_SET_DEST => SetDest,
        /// Delete a destination.
        7 IPVS_CMD_DEL_DEST => DelDest,
        /// Dump the destinations of one virtual service. The dump is empty if the service does not exist.
        8 IPVS_CMD_GET_DEST => GetDest,
        /// Start a sync daemon. Requires state, interface and sync id.
        9 IPVS_CMD_NEW_DAEMON => NewDaemon,
        /// Stop a sync daemon. Requires its state.
        10 IPVS_CMD_DEL_DAEMON => DelDaemon,
        /// Dump the running sync daemons, the master first.
        11 IPVS_CMD_GET_DAEMON => GetDaemon,
        /// Set connection timeouts. A timeout that is 0 or absent is not changed.
        12 IPVS_CMD_SET_CONFIG => SetConfig,
        /// Get the connection timeouts.
        13 IPVS_CMD_GET_CONFIG => GetConfig,
        /// The reply to `GetInfo`. Not a request.
        14 IPVS_CMD_SET_INFO => SetInfo,
        /// Get the version of IPVS and the size of the connection table.
        15 IPVS_CMD_GET_INFO => GetInfo,
        /// Set the counters of one service and its destinations to 0, or the counters of all services.
        16 IPVS_CMD_ZERO => Zero,
        /// Delete all services and destinations of the network namespace.
        17 IPVS_CMD_FLUSH => Flush,
    }
}

impl Command {
    /// Returns whether the command changes something. [`Socket::submit`](crate::Socket::submit) sends these commands.
    pub fn is_change(self) -> bool {
        match self {
            Self::NewService
            | Self::SetService
            | Self::DelService
            | Self::NewDest
            | Self::SetDest
            | Self::DelDest
            | Self::NewDaemon
            | Self::DelDaemon
            | Self::SetConfig
            | Self::Zero
            | Self::Flush => true,
            Self::GetService | Self::GetDest | Self::GetDaemon | Self::GetConfig | Self::SetInfo | Self::GetInfo => {
                false
            }
        }
    }

    /// Returns whether the command gets one item. [`Socket::get`](crate::Socket::get) sends these commands.
    pub fn is_get(self) -> bool {
        matches!(self, Self::GetService | Self::GetConfig | Self::GetInfo)
    }

    /// Returns whether the command dumps a list. [`Socket::dump`](crate::Socket::dump) sends these commands.
    pub fn is_dump(self) -> bool {
        matches!(self, Self::GetService | Self::GetDest | Self::GetDaemon)
    }
}

attributes! {
    /// The top-level attributes of every message except the reply to [`Command::GetInfo`].
    CommandAttrs, CommandAttr {
        /// A virtual service.
        1 IPVS_CMD_ATTR_SERVICE => Service, service: ServiceAttrs;
        /// A destination (real server).
        2 IPVS_CMD_ATTR_DEST => Dest, dest: DestAttrs;
        /// A sync daemon.
        3 IPVS_CMD_ATTR_DAEMON => Daemon, daemon: DaemonAttrs;
        /// Timeout of idle established TCP connections, in seconds.
        4 IPVS_CMD_ATTR_TIMEOUT_TCP => TimeoutTcp, timeout_tcp: u32;
        /// Timeout of TCP connections after a FIN, in seconds.
        5 IPVS_CMD_ATTR_TIMEOUT_TCP_FIN => TimeoutTcpFin, timeout_tcp_fin: u32;
        /// Timeout of idle UDP flows, in seconds.
        6 IPVS_CMD_ATTR_TIMEOUT_UDP => TimeoutUdp, timeout_udp: u32;
    }
}

attributes! {
    /// A virtual service. Its identity is the address family with either the firewall mark, or protocol, address and
    /// port.
    ServiceAttrs, ServiceAttr {
        /// Address family: `AF_INET` (2) or `AF_INET6` (10).
        1 IPVS_SVC_ATTR_AF => Af, af: u16;
        /// IP protocol number. The kernel accepts any, and schedules TCP, UDP and SCTP. Absent with a mark.
        2 IPVS_SVC_ATTR_PROTOCOL => Protocol, protocol: u16;
        /// Virtual IP address. Absent with a mark.
        3 IPVS_SVC_ATTR_ADDR => Addr, addr: Address;
        /// Virtual port; 0 is every port, and needs persistence. Absent with a mark.
        4 IPVS_SVC_ATTR_PORT => Port, port: Be16;
        /// Firewall mark, 1 to 4294967295. If it is present, protocol, address and port are ignored. With 0 the service
        /// becomes TCP 0.0.0.0:0.
        5 IPVS_SVC_ATTR_FWMARK => Fwmark, fwmark: u32;
        /// Name of the scheduler, at most 15 bytes. `none` schedules no connections.
        6 IPVS_SVC_ATTR_SCHED_NAME => SchedName, sched_name: Name;
        /// Flags `IP_VS_SVC_F_*`, with a mask of those to change.
        7 IPVS_SVC_ATTR_FLAGS => Flags, flags: FlagsMask;
        /// Persistence timeout in seconds. Used with `IP_VS_SVC_F_PERSISTENT`.
        8 IPVS_SVC_ATTR_TIMEOUT => Timeout, timeout: u32;
        /// Persistence treats clients with equal addresses under this mask as one. For IPv4 a mask in network byte
        /// order, for IPv6 a prefix length of 1 to 128.
        9 IPVS_SVC_ATTR_NETMASK => Netmask, netmask: u32;
        /// Counters. Only the byte counters have 64 bits; the others wrap at 32 bits.
        10 IPVS_SVC_ATTR_STATS => Stats, stats: StatsAttrs;
        /// Name of the persistence engine, at most 16 bytes. Absent or empty is none.
        11 IPVS_SVC_ATTR_PE_NAME => PeName, pe_name: Name;
        /// Counters of 64 bits. Since Linux 4.1.
        12 IPVS_SVC_ATTR_STATS64 => Stats64, stats64: StatsAttrs;
    }
}

attributes! {
    /// A destination (real server) of a service. Its identity is the address family, address and port.
    DestAttrs, DestAttr {
        /// Address of the server.
        1 IPVS_DEST_ATTR_ADDR => Addr, addr: Address;
        /// Port of the server. 0 keeps the destination port of the client's packets.
        2 IPVS_DEST_ATTR_PORT => Port, port: Be16;
        /// Forwarding method: `IP_VS_CONN_F_MASQ`, `_TUNNEL`, `_DROUTE` and others.
        3 IPVS_DEST_ATTR_FWD_METHOD => FwdMethod, fwd_method: u32;
        /// Weight, 0 to 2147483647. With 0 the server receives no new connections.
        4 IPVS_DEST_ATTR_WEIGHT => Weight, weight: u32;
        /// Upper threshold: the server receives no new connections while it has this number or more. 0 is no limit.
        5 IPVS_DEST_ATTR_U_THRESH => UThresh, u_thresh: u32;
        /// Lower threshold: the server receives new connections again when it has fewer. 0 is ¾ of the upper threshold.
        6 IPVS_DEST_ATTR_L_THRESH => LThresh, l_thresh: u32;
        /// Number of active (established) connections. Only in replies.
        7 IPVS_DEST_ATTR_ACTIVE_CONNS => ActiveConns, active_conns: u32;
        /// Number of other connections: opening, closing, or of UDP. Only in replies.
        8 IPVS_DEST_ATTR_INACT_CONNS => InactConns, inact_conns: u32;
        /// Number of persistence templates. Only in replies.
        9 IPVS_DEST_ATTR_PERSIST_CONNS => PersistConns, persist_conns: u32;
        /// Counters. Only the byte counters have 64 bits; the others wrap at 32 bits.
        10 IPVS_DEST_ATTR_STATS => Stats, stats: StatsAttrs;
        /// Address family. Absent or 0 is the family of the service. Since Linux 3.18.
        11 IPVS_DEST_ATTR_ADDR_FAMILY => AddrFamily, addr_family: u16;
        /// Counters of 64 bits. Since Linux 4.1.
        12 IPVS_DEST_ATTR_STATS64 => Stats64, stats64: StatsAttrs;
        /// Tunnel type: `IP_VS_CONN_F_TUNNEL_TYPE_*`. Since Linux 5.2.
        13 IPVS_DEST_ATTR_TUN_TYPE => TunType, tun_type: u8;
        /// UDP port of a GUE tunnel. Since Linux 5.2.
        14 IPVS_DEST_ATTR_TUN_PORT => TunPort, tun_port: Be16;
        /// Checksums of the tunnel: `IP_VS_TUNNEL_ENCAP_FLAG_*`. Since Linux 5.3.
        15 IPVS_DEST_ATTR_TUN_FLAGS => TunFlags, tun_flags: u16;
    }
}

attributes! {
    /// A sync daemon. Its identity is the state.
    DaemonAttrs, DaemonAttr {
        /// Role: `IP_VS_STATE_MASTER` or `IP_VS_STATE_BACKUP`.
        1 IPVS_DAEMON_ATTR_STATE => State, state: u32;
        /// Name of the multicast interface, at most 15 bytes.
        2 IPVS_DAEMON_ATTR_MCAST_IFN => McastIfn, mcast_ifn: Name;
        /// Sync id, 0 to 255: packets have 8 bits for it. A backup with 0 accepts all ids.
        3 IPVS_DAEMON_ATTR_SYNC_ID => SyncId, sync_id: u32;
        /// Largest UDP payload of a sync packet, in bytes. 0 or absent is the kernel's default. This and the following
        /// attributes: since Linux 4.3.
        4 IPVS_DAEMON_ATTR_SYNC_MAXLEN => SyncMaxlen, sync_maxlen: u16;
        /// IPv4 multicast group. If neither group is present, the kernel uses 224.0.0.81.
        5 IPVS_DAEMON_ATTR_MCAST_GROUP => McastGroup, mcast_group: Ipv4Addr;
        /// IPv6 multicast group.
        6 IPVS_DAEMON_ATTR_MCAST_GROUP6 => McastGroup6, mcast_group6: Ipv6Addr;
        /// Multicast UDP port; 0 is 8848. In the byte order of the machine, unlike all other ports.
        7 IPVS_DAEMON_ATTR_MCAST_PORT => McastPort, mcast_port: u16;
        /// Time to live of sync packets, in hops; 0 is 1.
        8 IPVS_DAEMON_ATTR_MCAST_TTL => McastTtl, mcast_ttl: u8;
    }
}

attributes! {
    /// Counters and rates of a service or destination. The kernel updates them every 2 seconds.
    StatsAttrs, StatsAttr {
        /// Connections that were scheduled.
        1 IPVS_STATS_ATTR_CONNS => Conns, conns: Counter;
        /// Packets from clients.
        2 IPVS_STATS_ATTR_INPKTS => Inpkts, inpkts: Counter;
        /// Packets to clients that pass through the director.
        3 IPVS_STATS_ATTR_OUTPKTS => Outpkts, outpkts: Counter;
        /// Bytes from clients.
        4 IPVS_STATS_ATTR_INBYTES => Inbytes, inbytes: Counter;
        /// Bytes to clients that pass through the director.
        5 IPVS_STATS_ATTR_OUTBYTES => Outbytes, outbytes: Counter;
        /// Connections per second.
        6 IPVS_STATS_ATTR_CPS => Cps, cps: Counter;
        /// Packets from clients per second.
        7 IPVS_STATS_ATTR_INPPS => Inpps, inpps: Counter;
        /// Packets to clients per second.
        8 IPVS_STATS_ATTR_OUTPPS => Outpps, outpps: Counter;
        /// Bytes from clients per second.
        9 IPVS_STATS_ATTR_INBPS => Inbps, inbps: Counter;
        /// Bytes to clients per second.
        10 IPVS_STATS_ATTR_OUTBPS => Outbps, outbps: Counter;
        skip 11 IPVS_STATS_ATTR_PAD;
    }
}

attributes! {
    /// The top-level attributes of the reply to [`Command::GetInfo`]. Their numbers overlap with those of
    /// [`CommandAttrs`].
    InfoAttrs, InfoAttr {
        /// Version of IPVS: 0x010201 is 1.2.1.
        1 IPVS_INFO_ATTR_VERSION => Version, version: u32;
        /// Number of buckets of the connection table. Up to Linux 7.0 all network namespaces share the table. Since 7.1
        /// each network namespace has its own, which grows and shrinks. It is 0 before the first service.
        2 IPVS_INFO_ATTR_CONN_TAB_SIZE => ConnTabSize, conn_tab_size: u32;
    }
}

constants! {
    /// The flags and limits, with the kernel's names.
    CONSTANTS {
        /// The version of IPVS in the header: 1.2.1. [`Command::GetInfo`] returns that of the kernel.
        IP_VS_VERSION_CODE = 0x01_02_01,

        /// Service: persistence. All connections of a client are sent to the same server.
        IP_VS_SVC_F_PERSISTENT = 0x0001,
        /// Service: in the hash table. Set by the kernel in every reply, and ignored in requests.
        IP_VS_SVC_F_HASHED = 0x0002,
        /// Service: each UDP packet is scheduled separately.
        IP_VS_SVC_F_ONEPACKET = 0x0004,
        /// Service: flag 1 of the scheduler.
        IP_VS_SVC_F_SCHED1 = 0x0008,
        /// Service: flag 2 of the scheduler.
        IP_VS_SVC_F_SCHED2 = 0x0010,
        /// Service: flag 3 of the scheduler. No scheduler uses it.
        IP_VS_SVC_F_SCHED3 = 0x0020,
        /// Flag of the schedulers sh and mh: if the selected server is unavailable, another is selected.
        IP_VS_SVC_F_SCHED_SH_FALLBACK = IP_VS_SVC_F_SCHED1,
        /// Flag of the schedulers sh and mh: the hash includes the client's port.
        IP_VS_SVC_F_SCHED_SH_PORT = IP_VS_SVC_F_SCHED2,

        /// No sync daemon.
        IP_VS_STATE_NONE = 0,
        /// Sync daemon that sends connections.
        IP_VS_STATE_MASTER = 1,
        /// Sync daemon that receives connections.
        IP_VS_STATE_BACKUP = 2,

        /// The first number of the old socket options, which this crate does not use.
        IP_VS_BASE_CTL = 64 + 1024 + 64,
        /// Socket option of the old interface.
        IP_VS_SO_SET_NONE = IP_VS_BASE_CTL,
        /// Socket option of the old interface.
        IP_VS_SO_SET_INSERT = IP_VS_BASE_CTL + 1,
        /// Socket option of the old interface.
        IP_VS_SO_SET_ADD = IP_VS_BASE_CTL + 2,
        /// Socket option of the old interface.
        IP_VS_SO_SET_EDIT = IP_VS_BASE_CTL + 3,
        /// Socket option of the old interface.
        IP_VS_SO_SET_DEL = IP_VS_BASE_CTL + 4,
        /// Socket option of the old interface.
        IP_VS_SO_SET_FLUSH = IP_VS_BASE_CTL + 5,
        /// Socket option of the old interface.
        IP_VS_SO_SET_LIST = IP_VS_BASE_CTL + 6,
        /// Socket option of the old interface.
        IP_VS_SO_SET_ADDDEST = IP_VS_BASE_CTL + 7,
        /// Socket option of the old interface.
        IP_VS_SO_SET_DELDEST = IP_VS_BASE_CTL + 8,
        /// Socket option of the old interface.
        IP_VS_SO_SET_EDITDEST = IP_VS_BASE_CTL + 9,
        /// Socket option of the old interface.
        IP_VS_SO_SET_TIMEOUT = IP_VS_BASE_CTL + 10,
        /// Socket option of the old interface.
        IP_VS_SO_SET_STARTDAEMON = IP_VS_BASE_CTL + 11,
        /// Socket option of the old interface.
        IP_VS_SO_SET_STOPDAEMON = IP_VS_BASE_CTL + 12,
        /// Socket option of the old interface.
        IP_VS_SO_SET_RESTORE = IP_VS_BASE_CTL + 13,
        /// Socket option of the old interface.
        IP_VS_SO_SET_SAVE = IP_VS_BASE_CTL + 14,
        /// Socket option of the old interface.
        IP_VS_SO_SET_ZERO = IP_VS_BASE_CTL + 15,
        /// Socket option of the old interface.
        IP_VS_SO_SET_MAX = IP_VS_SO_SET_ZERO,
        /// Socket option of the old interface.
        IP_VS_SO_GET_VERSION = IP_VS_BASE_CTL,
        /// Socket option of the old interface.
        IP_VS_SO_GET_INFO = IP_VS_BASE_CTL + 1,
        /// Socket option of the old interface.
        IP_VS_SO_GET_SERVICES = IP_VS_BASE_CTL + 2,
        /// Socket option of the old interface.
        IP_VS_SO_GET_SERVICE = IP_VS_BASE_CTL + 3,
        /// Socket option of the old interface.
        IP_VS_SO_GET_DESTS = IP_VS_BASE_CTL + 4,
        /// Socket option of the old interface.
        IP_VS_SO_GET_DEST = IP_VS_BASE_CTL + 5,
        /// Socket option of the old interface.
        IP_VS_SO_GET_TIMEOUT = IP_VS_BASE_CTL + 6,
        /// Socket option of the old interface.
        IP_VS_SO_GET_DAEMON = IP_VS_BASE_CTL + 7,
        /// Socket option of the old interface.
        IP_VS_SO_GET_MAX = IP_VS_SO_GET_DAEMON,

        /// Destination: available for scheduling. Removed from newer headers.
        IP_VS_DEST_F_AVAILABLE = 0x0001,
        /// Destination: above its upper threshold. Removed from newer headers.
        IP_VS_DEST_F_OVERLOAD = 0x0002,

        /// The bits of the forwarding method.
        IP_VS_CONN_F_FWD_MASK = 0x0007,
        /// Masquerading (NAT).
        IP_VS_CONN_F_MASQ = 0x0000,
        /// Local: the director itself is the server.
        IP_VS_CONN_F_LOCALNODE = 0x0001,
        /// Tunnelling.
        IP_VS_CONN_F_TUNNEL = 0x0002,
        /// Direct routing.
        IP_VS_CONN_F_DROUTE = 0x0003,
        /// Bypass: the packet is sent to its original destination (transparent cache).
        IP_VS_CONN_F_BYPASS = 0x0004,
        /// Connection: received from a sync daemon.
        IP_VS_CONN_F_SYNC = 0x0020,
        /// Connection: in the hash table.
        IP_VS_CONN_F_HASHED = 0x0040,
        /// Connection: packets to the client do not pass through the director.
        IP_VS_CONN_F_NOOUTPUT = 0x0080,
        /// Connection: not established.
        IP_VS_CONN_F_INACTIVE = 0x0100,
        /// Connection: sequence numbers to the client are adjusted.
        IP_VS_CONN_F_OUT_SEQ = 0x0200,
        /// Connection: sequence numbers to the server are adjusted.
        IP_VS_CONN_F_IN_SEQ = 0x0400,
        /// Connection: sequence numbers in either direction are adjusted.
        IP_VS_CONN_F_SEQ_MASK = 0x0600,
        /// Connection: the port of the client is not known yet.
        IP_VS_CONN_F_NO_CPORT = 0x0800,
        /// Connection: a persistence template.
        IP_VS_CONN_F_TEMPLATE = 0x1000,
        /// Connection: for one packet only.
        IP_VS_CONN_F_ONE_PACKET = 0x2000,
        /// The flags of a new connection that a backup accepts from the master.
        IP_VS_CONN_F_BACKUP_MASK = IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_NOOUTPUT | IP_VS_CONN_F_INACTIVE
            | IP_VS_CONN_F_SEQ_MASK | IP_VS_CONN_F_NO_CPORT | IP_VS_CONN_F_TEMPLATE,
        /// The flags of a known connection that a backup accepts from the master.
        IP_VS_CONN_F_BACKUP_UPD_MASK = IP_VS_CONN_F_INACTIVE | IP_VS_CONN_F_SEQ_MASK,
        /// Connection: also tracked by netfilter.
        IP_VS_CONN_F_NFCT = 1 << 16,
        /// The flags of connections that a destination may set.
        IP_VS_CONN_F_DEST_MASK = IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_ONE_PACKET | IP_VS_CONN_F_NFCT,

        /// Maximum length of a scheduler's name in bytes, with a NUL.
        IP_VS_SCHEDNAME_MAXLEN = 16,
        /// Maximum length of a persistence engine's name in bytes, without a NUL.
        IP_VS_PENAME_MAXLEN = 16,
        /// Maximum length of an interface's name in bytes, with a NUL.
        IP_VS_IFNAME_MAXLEN = 16,
        /// Maximum length of a persistence engine's data, in bytes.
        IP_VS_PEDATA_MAXLEN = 255,

        /// IP in IP.
        IP_VS_CONN_F_TUNNEL_TYPE_IPIP = 0,
        /// Generic UDP encapsulation.
        IP_VS_CONN_F_TUNNEL_TYPE_GUE = 1,
        /// Generic routing encapsulation.
        IP_VS_CONN_F_TUNNEL_TYPE_GRE = 2,
        /// Tunnel without checksums.
        IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM = 0,
        /// Tunnel with checksums.
        IP_VS_TUNNEL_ENCAP_FLAG_CSUM = 1 << 0,
        /// Tunnel with remote checksum offload.
        IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM = 1 << 1,
    }
}
