//! The names and labels of node_exporter's collector `ipvs`, for dashboards that use them.
//!
//! <https://github.com/prometheus/node_exporter/blob/v1.8.2/collector/ipvs_linux.go>

use std::collections::BTreeMap;

use ipvs::{Destination, DestinationKey, ServiceKey, Stats};

use super::reading::{Reading, ServerRow};
use super::scrape::Detail;
use super::text::{Kind, write_head, write_sample};

/// The name of a metric, its meaning, and its value.
type Metric<T, V> = (&'static str, &'static str, fn(&T) -> V);

/// The counters of the network namespace.
const COUNTERS: [Metric<Stats, u64>; 5] = [
    ("node_ipvs_connections_total", "Connections that were scheduled.", |stats| stats.connections),
    ("node_ipvs_incoming_packets_total", "Packets from clients.", |stats| stats.incoming_packets),
    ("node_ipvs_outgoing_packets_total", "Packets to clients.", |stats| stats.outgoing_packets),
    ("node_ipvs_incoming_bytes_total", "Bytes from clients.", |stats| stats.incoming_bytes),
    ("node_ipvs_outgoing_bytes_total", "Bytes to clients.", |stats| stats.outgoing_bytes),
];

/// The values of a server.
const GAUGES: [Metric<ServerRow, u32>; 3] = [
    ("node_ipvs_backend_connections_active", "Established connections.", |server| server.active_connections),
    ("node_ipvs_backend_connections_inactive", "Other connections.", |server| server.inactive_connections),
    ("node_ipvs_backend_weight", "Weight.", |server| server.destination.weight),
];

/// Returns the text of a reading.
pub(super) fn text(reading: &Reading, detail: Detail) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(counters) = &reading.totals.values.counters {
        for (name, help, value) in COUNTERS {
            write_head(&mut out, name, Kind::Counter, help);
            write_sample(&mut out, name, "", value(counters));
        }
    }
    if detail < Detail::Servers {
        return out;
    }
    // Services of one mark for IPv4 and for IPv6 have the same labels.
    let mut backends: BTreeMap<String, [u64; 3]> = BTreeMap::new();
    for service in &reading.services {
        for server in &service.servers {
            let sums = backends.entry(backend(&service.service.key, &server.destination)).or_default();
            sums.iter_mut().zip(GAUGES).for_each(|(sum, (_, _, value))| *sum += u64::from(value(server)));
        }
    }
    for (at, (name, help, _)) in GAUGES.into_iter().enumerate().filter(|_| !backends.is_empty()) {
        write_head(&mut out, name, Kind::Gauge, help);
        backends.iter().for_each(|(labels, values)| write_sample(&mut out, name, labels, values[at]));
    }
    out
}

/// Returns the labels of a server. A mark has eight hexadecimal digits, and then the address is empty and the port 0.
fn backend(service: &ServiceKey, server: &Destination) -> String {
    let (address, port, protocol, mark) = match service {
        ServiceKey::Address { protocol, address, port } => {
            (address.to_string(), *port, protocol.to_string(), String::new())
        }
        ServiceKey::Fwmark { mark, .. } => (String::new(), 0, "FWM".into(), format!("{mark:08X}")),
    };
    let DestinationKey { address: remote, port: remote_port } = server.key;
    // No value needs escapes.
    format!(
        "local_address=\"{address}\",local_port=\"{port}\",remote_address=\"{remote}\",remote_port=\"{remote_port}\",\
         proto=\"{protocol}\",local_mark=\"{mark}\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::metrics::tests::reading;

    #[test]
    fn has_the_names_and_labels_of_node_exporter() {
        let text = String::from_utf8(text(&reading(), Detail::Servers)).expect("a text");
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let counters =
            [("connections", 7), ("incoming_packets", 0), ("outgoing_packets", 0), ("incoming_bytes", u64::MAX)];
        let mut expected: Vec<String> =
            counters.iter().map(|(name, value)| format!("node_ipvs_{name}_total {value}")).collect();
        expected.push("node_ipvs_outgoing_bytes_total 0".into());
        for (name, values) in
            [("connections_active", [0, 3, 0]), ("connections_inactive", [0, 1, 0]), ("weight", [1, 3, 0])]
        {
            let backends = [
                r#"local_address="",local_port="0",remote_address="10.0.0.1",remote_port="80",proto="FWM",local_mark="0000001F""#,
                r#"local_address="192.0.2.1",local_port="80",remote_address="10.0.0.1",remote_port="8080",proto="TCP",local_mark="""#,
                r#"local_address="192.0.2.1",local_port="80",remote_address="10.0.0.2",remote_port="80",proto="TCP",local_mark="""#,
            ];
            let sample = |(labels, value)| format!("node_ipvs_backend_{name}{{{labels}}} {value}");
            expected.extend(backends.into_iter().zip(values).map(sample));
        }
        assert_eq!(samples, expected);
    }
}
