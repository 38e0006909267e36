//! TABLE: the metrics, with their names, labels and values.
//!
//! The names follow <https://prometheus.io/docs/practices/naming/>.

use ipvs::rules::program::flag_names;
use ipvs::{Role, Service, ServiceKey};

use super::follower::Follower;
use super::reading::{ServerRow, ServiceRow, Totals};
use super::scrape::Scrape;
use super::text::{Item, Kind, Metric, Samples};
use crate::sight::condition::{Condition, Problem};
use crate::verbs::follow::RevisionId;

/// The prefix of all names.
pub(super) const PREFIX: &str = "ipvs_";

const fn counter<T>(name: &'static str, help: &'static str, samples: fn(&T, &mut Samples<'_>)) -> Metric<T> {
    Metric { name, kind: Kind::Counter, help, labels: &[], samples }
}

const fn gauge<T>(name: &'static str, help: &'static str, samples: fn(&T, &mut Samples<'_>)) -> Metric<T> {
    Metric { name, kind: Kind::Gauge, help, labels: &[], samples }
}

/// A gauge with further labels.
const fn labelled<T>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
    samples: fn(&T, &mut Samples<'_>),
) -> Metric<T> {
    Metric { name, kind: Kind::Gauge, help, labels, samples }
}

/// The metrics of the reading itself. They exist even if it failed.
pub(super) const SCRAPE: &[Metric<Scrape>] = &[
    gauge("up", "Whether the table could be read.", |scrape, out| out.add(scrape.is_up)),
    gauge("scrape_duration_seconds", "Time that the reading of the table took.", |scrape, out| {
        out.add(scrape.values.duration.as_secs_f64());
    }),
    counter("scrape_errors_total", "Failed readings since the program started to listen.", |scrape, out| {
        scrape.values.errors.into_iter().for_each(|errors| out.add(errors));
    }),
    gauge(
        "unreadable_namespaces",
        "Network namespaces and processes that could not be read, with --all-netns.",
        |scrape, out| scrape.values.unreadable.into_iter().for_each(|number| out.add(number)),
    ),
    gauge("omitted_series", "Series that are omitted because of --max-series.", |scrape, out| {
        out.add(scrape.omitted.series);
    }),
    gauge("omitted_services", "Services whose series are omitted because of --max-series.", |scrape, out| {
        out.add(scrape.omitted.services);
    }),
    gauge("omitted_servers", "Servers whose series are omitted because of --max-series.", |scrape, out| {
        out.add(scrape.omitted.servers);
    }),
    labelled("exporter_info", "Version of ipvsadm-rs.", &["version"], |_, out| {
        out.add_with(&[("version", &env!("CARGO_PKG_VERSION"))], true);
    }),
];

/// The metrics of the whole table.
pub(super) const TOTALS: &[Metric<Totals>] = &[
    labelled("info", "Version of IPVS in the kernel.", &["version"], |totals, out| {
        out.add_with(&[("version", &totals.info.version)], true);
    }),
    counter(
        "connections_total",
        "Connections that were scheduled, including those of deleted services.",
        |totals, out| {
            totals.values.counters.into_iter().for_each(|stats| out.add(stats.connections));
        },
    ),
    counter("incoming_packets_total", "Packets from clients, including those of deleted services.", |totals, out| {
        totals.values.counters.into_iter().for_each(|stats| out.add(stats.incoming_packets));
    }),
    counter(
        "outgoing_packets_total",
        "Packets to clients that passed through the director, including those of deleted services.",
        |totals, out| totals.values.counters.into_iter().for_each(|stats| out.add(stats.outgoing_packets)),
    ),
    counter("incoming_bytes_total", "Bytes from clients, including those of deleted services.", |totals, out| {
        totals.values.counters.into_iter().for_each(|stats| out.add(stats.incoming_bytes));
    }),
    counter(
        "outgoing_bytes_total",
        "Bytes to clients that passed through the director, including those of deleted services.",
        |totals, out| totals.values.counters.into_iter().for_each(|stats| out.add(stats.outgoing_bytes)),
    ),
    gauge(
        "estimation_enabled",
        "Whether the kernel updates the counters (sysctl net.ipv4.vs.run_estimation).",
        |totals, out| totals.values.updates_counters.into_iter().for_each(|updates| out.add(updates)),
    ),
    gauge("services", "Number of services.", |totals, out| out.add(totals.services)),
    labelled(
        "services_with_problem",
        "Number of services, by their first problem. The order is no_servers, all_weight_0, refuses_all, refuses_some, \
         full, draining.",
        &["problem"],
        |totals, out| {
            for (problem, count) in Problem::ALL.iter().zip(totals.problems) {
                out.add_with(&[("problem", &problem.name())], count);
            }
        },
    ),
    labelled("servers", "Number of servers, by state.", &["state"], |totals, out| {
        add_conditions(&totals.sums.conditions, out);
    }),
    gauge("active_connections", "Established connections.", |totals, out| out.add(totals.sums.active_connections)),
    gauge(
        "inactive_connections",
        "Connections that are not established, such as all UDP connections.",
        |totals, out| {
            out.add(totals.sums.inactive_connections);
        },
    ),
    gauge("persistence_templates", "Persistence templates.", |totals, out| out.add(totals.sums.templates)),
    labelled("sync_daemon_running", "Whether the sync daemon of a role runs.", &["role"], |totals, out| {
        for role in [Role::Master, Role::Backup] {
            let is_running = totals.daemons.iter().any(|daemon| daemon.role == role);
            out.add_with(&[("role", &role)], is_running);
        }
    }),
    labelled(
        "sync_daemon_info",
        "Settings of a sync daemon that runs.",
        &["role", "interface", "sync_id", "group", "port"],
        add_daemons,
    ),
    labelled("timeout_seconds", "Timeout of idle connections.", &["kind"], |totals, out| {
        let timeouts = totals.timeouts;
        for (kind, seconds) in [("tcp", timeouts.tcp), ("tcp_fin", timeouts.tcp_fin), ("udp", timeouts.udp)] {
            out.add_with(&[("kind", &kind)], seconds);
        }
    }),
    gauge("connection_table_buckets", "Buckets of the connection table.", |totals, out| {
        out.add(totals.info.connection_table_size);
    }),
    gauge("connection_table_entries", "Entries of the connection table, including templates.", |totals, out| {
        totals.values.connections.into_iter().for_each(|entries| out.add(entries));
    }),
    gauge(
        "connection_table_max_entries",
        "Maximum number of entries of the connection table (sysctl net.ipv4.vs.conn_max).",
        |totals, out| totals.values.max_connections.into_iter().for_each(|entries| out.add(entries)),
    ),
    gauge(
        "reading_uncertain",
        "Whether services were added or deleted during the reading, so that it may lack some or include deleted ones.",
        |totals, out| out.add(totals.is_uncertain),
    ),
    gauge(
        "follow_running",
        "Whether a process of `follow` runs. Absent if no source was ever followed.",
        |totals, out| {
            totals.follower.iter().for_each(|follower| out.add(follower.is_running));
        },
    ),
    gauge(
        "follow_problem",
        "Whether `follow` has a problem: it does not run, cannot read the source, did not apply the last revision, or the \
         table differs.",
        |totals, out| totals.follower.iter().for_each(|follower| out.add(follower.needs_attention())),
    ),
    labelled(
        "follow_info",
        "Source and revisions of `follow`. Revisions are digests of the documents.",
        &["source", "wanted", "applied"],
        add_revisions,
    ),
    labelled("follow_state", "State of the last revision of `follow`. The value is 1.", &["state"], |totals, out| {
        totals.follower.iter().for_each(|follower| out.add_with(&[("state", &follower.status.phase.name())], true));
    }),
    gauge(
        "follow_applied_timestamp_seconds",
        "Time at which `follow` last changed the table to a revision, since 1970.",
        |totals, out| totals.follower.iter().filter_map(Follower::applied_at).for_each(|time| out.add(time)),
    ),
    counter(
        "follow_drifts_total",
        "Times that `follow` found the table changed by others, since it started.",
        |totals, out| {
            let drifts = |follower: &Follower| follower.status.drift.as_ref().map_or(0, |drift| drift.times);
            totals.follower.iter().for_each(|follower| out.add(drifts(follower)));
        },
    ),
    gauge("follow_draining_servers", "Servers that `follow` drains before it deletes them.", |totals, out| {
        totals.follower.iter().for_each(|follower| out.add(follower.status.draining));
    }),
];

/// The metrics of each service.
pub(super) const SERVICES: &[Metric<ServiceRow>] = &[
    labelled(
        "service_info",
        "Settings of the service.",
        &["protocol", "address", "port", "fwmark", "family", "scheduler", "flags", "persistence", "netmask", "engine"],
        |row, out| add_settings(&row.service, out),
    ),
    counter("service_connections_total", "Connections that were scheduled.", |row, out| out.add(row.stats.connections)),
    counter("service_incoming_packets_total", "Packets from clients.", |row, out| out.add(row.stats.incoming_packets)),
    counter("service_outgoing_packets_total", "Packets to clients that passed through the director.", |row, out| {
        out.add(row.stats.outgoing_packets)
    }),
    counter("service_incoming_bytes_total", "Bytes from clients.", |row, out| out.add(row.stats.incoming_bytes)),
    counter("service_outgoing_bytes_total", "Bytes to clients that passed through the director.", |row, out| {
        out.add(row.stats.outgoing_bytes)
    }),
    gauge("service_active_connections", "Established connections.", |row, out| out.add(row.sums.active_connections)),
    gauge(
        "service_inactive_connections",
        "Connections that are not established, such as all UDP connections.",
        |row, out| {
            out.add(row.sums.inactive_connections);
        },
    ),
    gauge("service_persistence_templates", "Persistence templates.", |row, out| out.add(row.sums.templates)),
    gauge("service_weight", "Sum of the weights of the servers.", |row, out| out.add(row.sums.weight)),
    labelled("service_servers", "Number of servers of the service, by state.", &["state"], |row, out| {
        add_conditions(&row.sums.conditions, out);
    }),
    gauge("service_refusing", "Whether new clients are refused, all or some of them.", |row, out| {
        out.add(row.problem.is_some_and(Problem::refuses));
    }),
    labelled(
        "service_problem",
        "The first problem of a service that has one. The value is 1.",
        &["problem"],
        |row, out| row.problem.iter().for_each(|problem| out.add_with(&[("problem", &problem.name())], true)),
    ),
];

/// The metrics of each server.
pub(super) const SERVERS: &[Metric<ServerRow>] = &[
    labelled("server_info", "Settings of the server.", &["address", "port", "forwarding"], |row, out| {
        let key = row.destination.key;
        let forwarding = row.destination.forwarding;
        out.add_with(&[("address", &key.address), ("port", &key.port), ("forwarding", &forwarding)], true);
    }),
    counter("server_connections_total", "Connections that were scheduled.", |row, out| out.add(row.stats.connections)),
    counter("server_incoming_packets_total", "Packets from clients.", |row, out| out.add(row.stats.incoming_packets)),
    counter("server_outgoing_packets_total", "Packets to clients that passed through the director.", |row, out| {
        out.add(row.stats.outgoing_packets)
    }),
    counter("server_incoming_bytes_total", "Bytes from clients.", |row, out| out.add(row.stats.incoming_bytes)),
    counter("server_outgoing_bytes_total", "Bytes to clients that passed through the director.", |row, out| {
        out.add(row.stats.outgoing_bytes)
    }),
    gauge("server_active_connections", "Established connections.", |row, out| out.add(row.active_connections)),
    gauge(
        "server_inactive_connections",
        "Connections that are not established, such as all UDP connections.",
        |row, out| {
            out.add(row.inactive_connections);
        },
    ),
    gauge("server_persistence_templates", "Persistence templates.", |row, out| out.add(row.templates)),
    gauge("server_weight", "Weight. New connections are not sent to a server of weight 0.", |row, out| {
        out.add(row.destination.weight);
    }),
    gauge(
        "server_upper_threshold",
        "Number of connections at which a server is full. Absent without a limit.",
        |row, out| {
            let threshold = row.destination.upper_threshold;
            (threshold > 0).then_some(threshold).into_iter().for_each(|threshold| out.add(threshold));
        },
    ),
    gauge(
        "server_lower_threshold",
        "Number of connections below which a full server gets new ones again. Absent if it is the default.",
        |row, out| {
            let threshold = row.destination.lower_threshold;
            (threshold > 0).then_some(threshold).into_iter().for_each(|threshold| out.add(threshold));
        },
    ),
    labelled("server_state", "State of the server. The value is 1.", &["state"], |row, out| {
        out.add_with(&[("state", &row.condition.name())], true);
    }),
];

fn add_conditions(counts: &[u64; Condition::ALL.len()], out: &mut Samples<'_>) {
    for (condition, count) in Condition::ALL.iter().zip(counts) {
        out.add_with(&[("state", &condition.name())], *count);
    }
}

fn add_revisions(totals: &Totals, out: &mut Samples<'_>) {
    if let Some(follower) = &totals.follower {
        let digest = |id: Option<&RevisionId>| id.map(|id| id.digest.to_string()).unwrap_or_default();
        let (wanted, applied) = (digest(follower.status.wanted.as_ref()), digest(follower.applied()));
        out.add_with(&[("source", &follower.status.source), ("wanted", &wanted), ("applied", &applied)], true);
    }
}

fn add_daemons(totals: &Totals, out: &mut Samples<'_>) {
    for daemon in &totals.daemons {
        let group = daemon.group.map(|group| group.to_string()).unwrap_or_default();
        let port = daemon.port.map(|port| port.to_string()).unwrap_or_default();
        out.add_with(
            &[
                ("role", &daemon.role),
                ("interface", &daemon.interface),
                ("sync_id", &daemon.sync_id),
                ("group", &group),
                ("port", &port),
            ],
            true,
        );
    }
}

fn add_settings(service: &Service, out: &mut Samples<'_>) {
    let [protocol, address, port, fwmark] = match service.key {
        ServiceKey::Address { protocol, address, port } => {
            [protocol.to_string().to_lowercase(), address.to_string(), port.to_string(), String::new()]
        }
        ServiceKey::Fwmark { mark, .. } => [String::new(), String::new(), String::new(), mark.to_string()],
    };
    let mut flags: Vec<&str> = flag_names(service.scheduler, service.flags).collect();
    flags.extend(service.one_packet.then_some("one-packet"));
    let persistence = service.persistence.map(|seconds| seconds.to_string());
    let netmask = service.persistence.map(|_| service.netmask.to_string());
    let engine = service.engine.map(|engine| engine.to_string());
    out.add_with(
        &[
            ("protocol", &protocol),
            ("address", &address),
            ("port", &port),
            ("fwmark", &fwmark),
            ("family", &service.key.family().to_string().to_lowercase()),
            ("scheduler", &service.scheduler),
            ("flags", &flags.join(",")),
            ("persistence", &persistence.unwrap_or_default()),
            ("netmask", &netmask.unwrap_or_default()),
            ("engine", &engine.unwrap_or_default()),
        ],
        true,
    );
}

/// A metric, for the manual page.
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// A sentence.
    pub(crate) help: &'static str,
    /// All labels that it can have.
    pub(crate) labels: Vec<&'static str>,
}

/// Returns all metrics of this table.
pub(crate) fn all() -> Vec<Known> {
    fn known<T: Item>(metrics: &[Metric<T>]) -> impl Iterator<Item = Known> {
        metrics.iter().map(|metric| Known {
            name: format!("{PREFIX}{}", metric.name),
            kind: metric.kind,
            help: metric.help,
            labels: [T::LABELS, metric.labels].concat(),
        })
    }
    known(SCRAPE).chain(known(TOTALS)).chain(known(SERVICES)).chain(known(SERVERS)).collect()
}
