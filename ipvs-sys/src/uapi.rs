//! TABLE: commands, attributes and flag bits, in the order and with the names of `linux/ip_vs.h`.
//!
//! Complete for every kernel up to 7.3: the header has had no new command and no new attribute since 5.3. A test holds
//! these tables against the installed header.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::table::{attributes, commands, constants};
use crate::wire::{Address, Be16, Counter, FlagsMask, Name};

/// The name of the generic-netlink family.
#[doc(alias = "IPVS_GENL_NAME")]
pub const FAMILY_NAME: &str = "IPVS";
/// The version that requests carry; the kernel does not look at it.
#[doc(alias = "IPVS_GENL_VERSION")]
pub const FAMILY_VERSION: u8 = 1;

commands! {
    /// What the family can be asked to do.
    Command {
        /// Add a virtual service.
        1 IPVS_CMD_NEW_SERVICE => NewService,
        /// Replace everything of a virtual service but its identity.
        2 IPVS_CMD_SET_SERVICE => SetService,
        /// Delete a virtual service and its destinations.
        3 IPVS_CMD_DEL_SERVICE => DelService,
        /// Get one virtual service, or dump them all.
        4 IPVS_CMD_GET_SERVICE => GetService,
        /// Add a destination to a virtual service.
        5 IPVS_CMD_NEW_DEST => NewDest,
        /// Replace everything of a destination but its identity.
        6 IPVS_CMD_SET_DEST => SetDest,
        /// Delete a destination.
        7 IPVS_CMD_DEL_DEST => DelDest,
        /// Dump the destinations of one virtual service. A service that does not exist is an empty dump.
        8 IPVS_CMD_GET_DEST => GetDest,
        /// Start a sync daemon.
        9 IPVS_CMD_NEW_DAEMON => NewDaemon,
        /// Stop a sync daemon.
        10 IPVS_CMD_DEL_DAEMON => DelDaemon,
        /// Dump the running sync daemons, the master first.
        11 IPVS_CMD_GET_DAEMON => GetDaemon,
        /// Set connection timeouts; 0 keeps a value.
        12 IPVS_CMD_SET_CONFIG => SetConfig,
        /// Get the connection timeouts.
        13 IPVS_CMD_GET_CONFIG => GetConfig,
        /// Only as the answer to `GetInfo`.
        14 IPVS_CMD_SET_INFO => SetInfo,
        /// Get version and connection-table size.
        15 IPVS_CMD_GET_INFO => GetInfo,
        /// Set counters to zero: of one service and its destinations, or all.
        16 IPVS_CMD_ZERO => Zero,
        /// Delete every service and destination of the namespace.
        17 IPVS_CMD_FLUSH => Flush,
    }
}

attributes! {
    /// The first level of every message but the answer to [`Command::GetInfo`].
    CommandAttrs, CommandAttr {
        /// A virtual service.
        1 IPVS_CMD_ATTR_SERVICE => Service, service: ServiceAttrs;
        /// A destination (real server).
        2 IPVS_CMD_ATTR_DEST => Dest, dest: DestAttrs;
        /// A sync daemon.
        3 IPVS_CMD_ATTR_DAEMON => Daemon, daemon: DaemonAttrs;
        /// Seconds an established TCP connection may be idle.
        4 IPVS_CMD_ATTR_TIMEOUT_TCP => TimeoutTcp, timeout_tcp: u32;
        /// Seconds a TCP connection is kept after a FIN.
        5 IPVS_CMD_ATTR_TIMEOUT_TCP_FIN => TimeoutTcpFin, timeout_tcp_fin: u32;
        /// Seconds a UDP flow may be idle.
        6 IPVS_CMD_ATTR_TIMEOUT_UDP => TimeoutUdp, timeout_udp: u32;
    }
}

attributes! {
    /// A virtual service. Identity: address family and either mark or protocol, address and port.
    ServiceAttrs, ServiceAttr {
        /// `AF_INET` (2) or `AF_INET6` (10).
        1 IPVS_SVC_ATTR_AF => Af, af: u16;
        /// IP protocol number; the kernel takes any. Absent with a mark.
        2 IPVS_SVC_ATTR_PROTOCOL => Protocol, protocol: u16;
        /// Virtual address; IPv4 in the first four bytes. Absent with a mark.
        3 IPVS_SVC_ATTR_ADDR => Addr, addr: Address;
        /// Port, 0 for every port. Absent with a mark.
        4 IPVS_SVC_ATTR_PORT => Port, port: Be16;
        /// Firewall mark; 0 is not a mark.
        5 IPVS_SVC_ATTR_FWMARK => Fwmark, fwmark: u32;
        /// Scheduler: at most 15 bytes.
        6 IPVS_SVC_ATTR_SCHED_NAME => SchedName, sched_name: Name;
        /// `IP_VS_SVC_F_*`, and which of them are meant.
        7 IPVS_SVC_ATTR_FLAGS => Flags, flags: FlagsMask;
        /// Persistence timeout in seconds.
        8 IPVS_SVC_ATTR_TIMEOUT => Timeout, timeout: u32;
        /// Which clients persistence takes for one. IPv4: the mask in network byte order; IPv6: the prefix length.
        9 IPVS_SVC_ATTR_NETMASK => Netmask, netmask: u32;
        /// Counters, the low 32 bits of some of them.
        10 IPVS_SVC_ATTR_STATS => Stats, stats: StatsAttrs;
        /// Persistence engine: at most 16 bytes; "" is none.
        11 IPVS_SVC_ATTR_PE_NAME => PeName, pe_name: Name;
        /// Counters whole; since 4.1.
        12 IPVS_SVC_ATTR_STATS64 => Stats64, stats64: StatsAttrs;
    }
}

attributes! {
    /// A destination (real server) of a service. Identity: address family, address and port.
    DestAttrs, DestAttr {
        /// Address; IPv4 in the first four bytes.
        1 IPVS_DEST_ATTR_ADDR => Addr, addr: Address;
        /// Port, 0 to keep the client's.
        2 IPVS_DEST_ATTR_PORT => Port, port: Be16;
        /// Forwarding method: `IP_VS_CONN_F_FWD_MASK`.
        3 IPVS_DEST_ATTR_FWD_METHOD => FwdMethod, fwd_method: u32;
        /// Weight; 0 takes no new connections.
        4 IPVS_DEST_ATTR_WEIGHT => Weight, weight: u32;
        /// No new connections from this many on; 0 is no limit.
        5 IPVS_DEST_ATTR_U_THRESH => UThresh, u_thresh: u32;
        /// New connections again below this many; 0 is three quarters of the upper threshold.
        6 IPVS_DEST_ATTR_L_THRESH => LThresh, l_thresh: u32;
        /// Active connections.
        7 IPVS_DEST_ATTR_ACTIVE_CONNS => ActiveConns, active_conns: u32;
        /// Inactive connections.
        8 IPVS_DEST_ATTR_INACT_CONNS => InactConns, inact_conns: u32;
        /// Persistence templates.
        9 IPVS_DEST_ATTR_PERSIST_CONNS => PersistConns, persist_conns: u32;
        /// Counters, the low 32 bits of some of them.
        10 IPVS_DEST_ATTR_STATS => Stats, stats: StatsAttrs;
        /// Address family; absent or 0 is the service's. Since 3.18.
        11 IPVS_DEST_ATTR_ADDR_FAMILY => AddrFamily, addr_family: u16;
        /// Counters whole; since 4.1.
        12 IPVS_DEST_ATTR_STATS64 => Stats64, stats64: StatsAttrs;
        /// Tunnel type: `IP_VS_CONN_F_TUNNEL_TYPE_*`. Since 5.2.
        13 IPVS_DEST_ATTR_TUN_TYPE => TunType, tun_type: u8;
        /// UDP port of the tunnel, for GUE. Since 5.2.
        14 IPVS_DEST_ATTR_TUN_PORT => TunPort, tun_port: Be16;
        /// Tunnel checksums: `IP_VS_TUNNEL_ENCAP_FLAG_*`. Since 5.3.
        15 IPVS_DEST_ATTR_TUN_FLAGS => TunFlags, tun_flags: u16;
    }
}

attributes! {
    /// A sync daemon. Identity: its state.
    DaemonAttrs, DaemonAttr {
        /// `IP_VS_STATE_MASTER` or `IP_VS_STATE_BACKUP`.
        1 IPVS_DAEMON_ATTR_STATE => State, state: u32;
        /// Multicast interface: at most 15 bytes.
        2 IPVS_DAEMON_ATTR_MCAST_IFN => McastIfn, mcast_ifn: Name;
        /// Sync id; 8 bits on the network.
        3 IPVS_DAEMON_ATTR_SYNC_ID => SyncId, sync_id: u32;
        /// Largest UDP payload of a sync message, in bytes. Since 4.3, like all that follow.
        4 IPVS_DAEMON_ATTR_SYNC_MAXLEN => SyncMaxlen, sync_maxlen: u16;
        /// IPv4 multicast group.
        5 IPVS_DAEMON_ATTR_MCAST_GROUP => McastGroup, mcast_group: Ipv4Addr;
        /// IPv6 multicast group.
        6 IPVS_DAEMON_ATTR_MCAST_GROUP6 => McastGroup6, mcast_group6: Ipv6Addr;
        /// Multicast port; in the machine's byte order, unlike every other port here.
        7 IPVS_DAEMON_ATTR_MCAST_PORT => McastPort, mcast_port: u16;
        /// Multicast time to live.
        8 IPVS_DAEMON_ATTR_MCAST_TTL => McastTtl, mcast_ttl: u8;
    }
}

attributes! {
    /// Counters and rates of a service or destination, as of the last run of the estimator (every 2 seconds).
    StatsAttrs, StatsAttr {
        /// Connections scheduled.
        1 IPVS_STATS_ATTR_CONNS => Conns, conns: Counter;
        /// Packets from clients.
        2 IPVS_STATS_ATTR_INPKTS => Inpkts, inpkts: Counter;
        /// Packets to clients, as far as they pass the director.
        3 IPVS_STATS_ATTR_OUTPKTS => Outpkts, outpkts: Counter;
        /// Bytes from clients.
        4 IPVS_STATS_ATTR_INBYTES => Inbytes, inbytes: Counter;
        /// Bytes to clients, as far as they pass the director.
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
    /// The answer to [`Command::GetInfo`]; its numbers are its own.
    InfoAttrs, InfoAttr {
        /// Version of IPVS: 0x010201 is 1.2.1.
        1 IPVS_INFO_ATTR_VERSION => Version, version: u32;
        /// Buckets of the connection table: of the machine up to 7.0, of this namespace since 7.1.
        2 IPVS_INFO_ATTR_CONN_TAB_SIZE => ConnTabSize, conn_tab_size: u32;
    }
}

constants! {
    /// Flag bits and limits, by the kernel's names.
    CONSTANTS {
        /// The version that this header was written for; the kernel tells its own with [`Command::GetInfo`].
        IP_VS_VERSION_CODE = 0x01_02_01,

        /// Service: connections of one client go to one server.
        IP_VS_SVC_F_PERSISTENT = 0x0001,
        /// Service: in the kernel's table. The kernel's own; every answer shows it.
        IP_VS_SVC_F_HASHED = 0x0002,
        /// Service: every UDP packet is scheduled by itself.
        IP_VS_SVC_F_ONEPACKET = 0x0004,
        /// Service: first flag of the scheduler.
        IP_VS_SVC_F_SCHED1 = 0x0008,
        /// Service: second flag of the scheduler.
        IP_VS_SVC_F_SCHED2 = 0x0010,
        /// Service: third flag of the scheduler.
        IP_VS_SVC_F_SCHED3 = 0x0020,
        /// Scheduler sh (and mh): go on to another server if the chosen one is unavailable.
        IP_VS_SVC_F_SCHED_SH_FALLBACK = IP_VS_SVC_F_SCHED1,
        /// Scheduler sh (and mh): hash the client's port, too.
        IP_VS_SVC_F_SCHED_SH_PORT = IP_VS_SVC_F_SCHED2,

        /// No sync daemon.
        IP_VS_STATE_NONE = 0,
        /// Sync daemon that sends.
        IP_VS_STATE_MASTER = 1,
        /// Sync daemon that receives.
        IP_VS_STATE_BACKUP = 2,

        /// The old socket options start here.
        IP_VS_BASE_CTL = 64 + 1024 + 64,
        /// Socket option.
        IP_VS_SO_SET_NONE = IP_VS_BASE_CTL,
        /// Socket option.
        IP_VS_SO_SET_INSERT = IP_VS_BASE_CTL + 1,
        /// Socket option.
        IP_VS_SO_SET_ADD = IP_VS_BASE_CTL + 2,
        /// Socket option.
        IP_VS_SO_SET_EDIT = IP_VS_BASE_CTL + 3,
        /// Socket option.
        IP_VS_SO_SET_DEL = IP_VS_BASE_CTL + 4,
        /// Socket option.
        IP_VS_SO_SET_FLUSH = IP_VS_BASE_CTL + 5,
        /// Socket option.
        IP_VS_SO_SET_LIST = IP_VS_BASE_CTL + 6,
        /// Socket option.
        IP_VS_SO_SET_ADDDEST = IP_VS_BASE_CTL + 7,
        /// Socket option.
        IP_VS_SO_SET_DELDEST = IP_VS_BASE_CTL + 8,
        /// Socket option.
        IP_VS_SO_SET_EDITDEST = IP_VS_BASE_CTL + 9,
        /// Socket option.
        IP_VS_SO_SET_TIMEOUT = IP_VS_BASE_CTL + 10,
        /// Socket option.
        IP_VS_SO_SET_STARTDAEMON = IP_VS_BASE_CTL + 11,
        /// Socket option.
        IP_VS_SO_SET_STOPDAEMON = IP_VS_BASE_CTL + 12,
        /// Socket option.
        IP_VS_SO_SET_RESTORE = IP_VS_BASE_CTL + 13,
        /// Socket option.
        IP_VS_SO_SET_SAVE = IP_VS_BASE_CTL + 14,
        /// Socket option.
        IP_VS_SO_SET_ZERO = IP_VS_BASE_CTL + 15,
        /// Socket option.
        IP_VS_SO_SET_MAX = IP_VS_SO_SET_ZERO,
        /// Socket option.
        IP_VS_SO_GET_VERSION = IP_VS_BASE_CTL,
        /// Socket option.
        IP_VS_SO_GET_INFO = IP_VS_BASE_CTL + 1,
        /// Socket option.
        IP_VS_SO_GET_SERVICES = IP_VS_BASE_CTL + 2,
        /// Socket option.
        IP_VS_SO_GET_SERVICE = IP_VS_BASE_CTL + 3,
        /// Socket option.
        IP_VS_SO_GET_DESTS = IP_VS_BASE_CTL + 4,
        /// Socket option.
        IP_VS_SO_GET_DEST = IP_VS_BASE_CTL + 5,
        /// Socket option.
        IP_VS_SO_GET_TIMEOUT = IP_VS_BASE_CTL + 6,
        /// Socket option.
        IP_VS_SO_GET_DAEMON = IP_VS_BASE_CTL + 7,
        /// Socket option.
        IP_VS_SO_GET_MAX = IP_VS_SO_GET_DAEMON,

        /// Destination: in use for scheduling. Gone from newer headers.
        IP_VS_DEST_F_AVAILABLE = 0x0001,
        /// Destination: above its upper threshold. Gone from newer headers.
        IP_VS_DEST_F_OVERLOAD = 0x0002,

        /// The bits of the forwarding method.
        IP_VS_CONN_F_FWD_MASK = 0x0007,
        /// Masquerading (NAT).
        IP_VS_CONN_F_MASQ = 0x0000,
        /// Delivered on the director itself.
        IP_VS_CONN_F_LOCALNODE = 0x0001,
        /// Tunnelled to the server.
        IP_VS_CONN_F_TUNNEL = 0x0002,
        /// Direct routing.
        IP_VS_CONN_F_DROUTE = 0x0003,
        /// To the packet's own destination (transparent cache).
        IP_VS_CONN_F_BYPASS = 0x0004,
        /// Connection: came by sync.
        IP_VS_CONN_F_SYNC = 0x0020,
        /// Connection: in the table.
        IP_VS_CONN_F_HASHED = 0x0040,
        /// Connection: its answers do not pass the director.
        IP_VS_CONN_F_NOOUTPUT = 0x0080,
        /// Connection: not established.
        IP_VS_CONN_F_INACTIVE = 0x0100,
        /// Connection: sequence numbers to the client are adjusted.
        IP_VS_CONN_F_OUT_SEQ = 0x0200,
        /// Connection: sequence numbers to the server are adjusted.
        IP_VS_CONN_F_IN_SEQ = 0x0400,
        /// Both of them.
        IP_VS_CONN_F_SEQ_MASK = 0x0600,
        /// Connection: the client's port is not known yet.
        IP_VS_CONN_F_NO_CPORT = 0x0800,
        /// Connection: a persistence template.
        IP_VS_CONN_F_TEMPLATE = 0x1000,
        /// Connection: for one packet.
        IP_VS_CONN_F_ONE_PACKET = 0x2000,
        /// What a backup takes from the master at first.
        IP_VS_CONN_F_BACKUP_MASK = IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_NOOUTPUT | IP_VS_CONN_F_INACTIVE
            | IP_VS_CONN_F_SEQ_MASK | IP_VS_CONN_F_NO_CPORT | IP_VS_CONN_F_TEMPLATE,
        /// What a backup takes from the master afterwards.
        IP_VS_CONN_F_BACKUP_UPD_MASK = IP_VS_CONN_F_INACTIVE | IP_VS_CONN_F_SEQ_MASK,
        /// Connection: tracked by netfilter, too.
        IP_VS_CONN_F_NFCT = 1 << 16,
        /// What may be set for a destination.
        IP_VS_CONN_F_DEST_MASK = IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_ONE_PACKET | IP_VS_CONN_F_NFCT,

        /// Bytes of a scheduler's name with its NUL.
        IP_VS_SCHEDNAME_MAXLEN = 16,
        /// Bytes of a persistence engine's name, without a NUL.
        IP_VS_PENAME_MAXLEN = 16,
        /// Bytes of an interface's name with its NUL.
        IP_VS_IFNAME_MAXLEN = 16,
        /// Bytes of a persistence engine's data.
        IP_VS_PEDATA_MAXLEN = 255,

        /// IP in IP.
        IP_VS_CONN_F_TUNNEL_TYPE_IPIP = 0,
        /// Generic UDP encapsulation.
        IP_VS_CONN_F_TUNNEL_TYPE_GUE = 1,
        /// Generic routing encapsulation.
        IP_VS_CONN_F_TUNNEL_TYPE_GRE = 2,
        /// Tunnel without checksum.
        IP_VS_TUNNEL_ENCAP_FLAG_NOCSUM = 0,
        /// Tunnel with checksum.
        IP_VS_TUNNEL_ENCAP_FLAG_CSUM = 1 << 0,
        /// Tunnel with remote checksum offload.
        IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM = 1 << 1,
    }
}
