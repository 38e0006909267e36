//! Files of the kernel with values that netlink does not report.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use ipvs::Stats;

/// A file below /proc. It stays open, because it may need more privileges than the program has later.
#[derive(Debug)]
struct KernelFile {
    path: &'static str,
    file: Option<File>,
}

impl KernelFile {
    fn new(path: &'static str) -> Self {
        Self { path, file: None }
    }

    /// Reads the file. Returns `None` if this kernel does not have it, or if the caller may not read it.
    fn read(&mut self) -> Option<String> {
        let read = |file: &File| read_from_start(file).ok();
        // If the module was loaded again, the open file is that of the old module.
        if let Some(text) = self.file.as_ref().and_then(read) {
            return Some(text);
        }
        self.file = File::open(self.path).ok();
        self.file.as_ref().and_then(read)
    }
}

fn read_from_start(file: &File) -> io::Result<String> {
    const PIECE: usize = 4096;
    let mut bytes = Vec::new();
    loop {
        let length = bytes.len();
        bytes.resize(length + PIECE, 0);
        let read = file.read_at(&mut bytes[length..], length as u64)?;
        bytes.truncate(length + read);
        if read == 0 {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// The files of the network namespace of the thread that first reads them.
#[derive(Debug)]
pub(super) struct KernelFiles {
    stats: KernelFile,
    status: KernelFile,
    connection_limit: KernelFile,
    estimation: KernelFile,
}

/// The values in these files. `None`: this kernel does not have the value, or the caller may not read it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct KernelValues {
    /// The counters of the network namespace. They include deleted services.
    pub(super) counters: Option<Stats>,
    /// The number of entries in the connection table, since Linux 7.1. The file is only for root.
    pub(super) connections: Option<u64>,
    /// The maximum number of entries in the connection table, since Linux 7.2.
    pub(super) max_connections: Option<u64>,
    /// Whether counters are updated, since Linux 5.16.
    pub(super) updates_counters: Option<bool>,
}

impl KernelFiles {
    pub(super) fn new() -> Self {
        Self {
            // Not /proc/self: each thread has a namespace of its own.
            stats: KernelFile::new("/proc/thread-self/net/ip_vs_stats"),
            status: KernelFile::new("/proc/thread-self/net/ip_vs_status"),
            connection_limit: KernelFile::new("/proc/sys/net/ipv4/vs/conn_max"),
            estimation: KernelFile::new("/proc/sys/net/ipv4/vs/run_estimation"),
        }
    }

    pub(super) fn read(&mut self) -> KernelValues {
        KernelValues {
            counters: self.stats.read().and_then(|text| counters(&text)),
            connections: self.status.read().and_then(|text| connections(&text)),
            max_connections: self.connection_limit.read().and_then(|text| text.trim().parse().ok()),
            updates_counters: self.estimation.read().map(|text| text.trim() != "0"),
        }
    }
}

/// Reads the third line of ip_vs_stats: connections, packets and bytes, in hexadecimal.
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c> (`ip_vs_stats_show`)
fn counters(text: &str) -> Option<Stats> {
    let mut numbers = text.lines().nth(2)?.split_ascii_whitespace().map(|word| u64::from_str_radix(word, 16).ok());
    let mut next = || numbers.next().flatten();
    let mut stats = Stats::default();
    stats.connections = next()?;
    stats.incoming_packets = next()?;
    stats.outgoing_packets = next()?;
    stats.incoming_bytes = next()?;
    stats.outgoing_bytes = next()?;
    Some(stats)
}

/// Reads the number of entries from ip_vs_status.
fn connections(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Conns:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read() {
        let text = "   Total Incoming Outgoing         Incoming         Outgoing\n   \
                    Conns  Packets  Packets            Bytes            Bytes\n      \
                    1F       A0        B    123456789              FF\n\n \
                    Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s\n       0        0        0  0  0\n";
        let stats = counters(text).expect("counters");
        assert_eq!((stats.connections, stats.incoming_packets, stats.outgoing_packets), (31, 160, 11));
        assert_eq!((stats.incoming_bytes, stats.outgoing_bytes), (0x1_2345_6789, 255));
        assert_eq!(connections("Conns:\t12\nConn buckets:\t256 (8 bits, lfactor -4)\n"), Some(12));
        for text in ["", "a\nb\n", "a\nb\n1 2 3 4\n", "a\nb\n1 2 3 4 x\n"] {
            assert_eq!(counters(text), None);
            assert_eq!(connections(text), None);
        }
    }

    #[test]
    fn missing_files_have_no_value() {
        assert_eq!(KernelFile::new("/proc/no-such-file").read(), None);
        let mut file = KernelFile::new("/proc/thread-self/status");
        let first = file.read().expect("a file");
        assert_eq!(
            file.read().map(|text| text.lines().next().map(str::to_owned)),
            Some(first.lines().next().map(str::to_owned))
        );
    }
}
