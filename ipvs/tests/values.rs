//! Single values as text, JSON and TOML, in the structs of a program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;

use ipvs::document::{Document, ForwardingMethod};
use ipvs::testing::{expressible, random};
use ipvs::{
    Change, ConnectionEntry, Connections, Destination, DestinationKey, Director, Engine, Family, Forwarding,
    GueChecksum, Interface, Model, Netmask, Plan, Protocol, Role, Scheduler, Selector, Service, ServiceConfig,
    ServiceKey, State, SyncDaemon, Timeouts, Tunnel,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The settings of a program.
#[derive(Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
struct Settings {
    vip: ServiceKey,
    server: DestinationKey,
    only: Vec<Selector>,
    scheduler: Scheduler,
    forwarding: Forwarding,
    fallback: Forwarding,
    engine: Option<Engine>,
    interface: Interface,
    protocol: Protocol,
    family: Family,
    netmask: Netmask,
    role: Role,
    service: Service,
    destination: Destination,
    daemon: SyncDaemon,
    changes: Vec<Change>,
}

const SETTINGS: &str = r#"
vip = "tcp:192.0.2.1:80"
server = "10.0.0.1:8080"
only = ["192.0.2.0/24", "fwmark", "udp:[2001:db8::1]:53"]
scheduler = "wlc"
forwarding = "masquerade"
fallback = "tunnel:gue:6080:full"
engine = "sip"
interface = "eth0"
protocol = "tcp"
family = "ipv6"
netmask = 64
role = "master"
service = { fwmark = 7, scheduler = "rr" }
destination = { address = "10.0.0.1", port = 80, forwarding = "masquerade" }
daemon = { role = "backup", interface = "eth1" }
changes = [{ change = "delete_service", service = "fwmark:7:IPv6" }, { change = "zero" }, { change = "flush" }]
"#;

fn settings() -> Settings {
    let mark = ServiceKey::fwmark(7, Family::V4).expect("not 0");
    Settings {
        vip: ServiceKey::tcp([192, 0, 2, 1], 80),
        server: DestinationKey::new([10, 0, 0, 1], 8080),
        only: ["192.0.2.0/24", "fwmark", "udp:[2001:db8::1]:53"].map(|text| text.parse().expect("one")).into(),
        scheduler: Scheduler::WLC,
        forwarding: Forwarding::Masquerade,
        fallback: Forwarding::Tunnel(Tunnel::Gue {
            port: 6080.try_into().expect("not 0"),
            checksum: GueChecksum::Full,
        }),
        engine: Some("sip".parse().expect("a name")),
        interface: "eth0".parse().expect("a name"),
        protocol: Protocol::Tcp,
        family: Family::V6,
        netmask: Netmask::V6(64),
        role: Role::Master,
        service: Service::new(mark, Scheduler::RR),
        destination: Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade),
        daemon: SyncDaemon::new(Role::Backup, "eth1".parse().expect("a name"), 0),
        changes: vec![
            Change::DeleteService(ServiceKey::fwmark(7, Family::V6).expect("not 0")),
            Change::Zero(None),
            Change::Flush,
        ],
    }
}

#[test]
fn settings_of_a_program_are_read() {
    assert_eq!(toml::from_str::<Settings>(SETTINGS).expect("valid"), settings());
    let json = serde_json::to_value(settings()).expect("writes");
    assert_eq!(serde_json::from_value::<Settings>(json.clone()).expect("reads"), settings());
    assert_eq!((&json["vip"], &json["server"]), (&"tcp:192.0.2.1:80".into(), &"10.0.0.1:8080".into()));
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).expect("writes");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    assert!(
        schema.is_valid(&json),
        "{:?}",
        schema.iter_errors(&json).map(|error| error.to_string()).collect::<Vec<_>>()
    );
}

#[test]
fn invalid_values_are_explained() {
    fn error<T: DeserializeOwned + Debug>(json: serde_json::Value) -> String {
        serde_json::from_value::<T>(json).expect_err("invalid").to_string()
    }
    for (found, expected) in [
        (
            error::<ServiceKey>(json!("tcp")),
            "`tcp' is not a service: PROTOCOL:ADDRESS:PORT, fwmark:MARK, fwmark:MARK:IPv6",
        ),
        (error::<ServiceKey>(json!(80)), "invalid type: integer `80`, expected a text"),
        (error::<DestinationKey>(json!("[fe80::1%2]:80")), "`[fe80::1%2]:80' is not a server: ADDRESS:PORT"),
        (error::<Destination>(json!({ "address": "10.0.0.1" })), "the port is missing"),
        (
            error::<Destination>(json!({ "address": "10.0.0.1", "port": 80, "wieght": 2 })),
            "unknown field `wieght`, expected one of ",
        ),
        (
            error::<Destination>(json!({ "address": "10.0.0.1", "port": 80, "weight": 2_147_483_648_u32 })),
            "a weight must be 0 to 2147483647, not 2147483648",
        ),
        (
            error::<Service>(json!({ "fwmark": 7, "destinations": [{ "address": "10.0.0.1", "port": 0 }] })),
            "invalid value: destinations, expected a service without destinations",
        ),
        (
            error::<Service>(json!({ "port": 80 })),
            "a service must have either protocol, address and port, or a fwmark greater than 0",
        ),
        (error::<Netmask>(json!(129)), "a prefix length must be 1 to 128"),
        (error::<Change>(json!({ "change": "renew" })), "unknown variant `renew`, expected one of "),
        (error::<Change>(json!({ "change": "flush", "service": "fwmark:1" })), "unknown field `service`"),
    ] {
        assert!(found.contains(expected), "{found}");
    }
    for (found, expected) in [
        (
            "-A -t 192.0.2.1:80 -s rr\n-C".parse::<Change>().unwrap_err().to_string(),
            "line 2, column 1: the text must be one line",
        ),
        ("".parse::<Change>().unwrap_err().to_string(), "line 1, column 1: a line must begin with a command"),
        (
            "-D -t 192.0.2.1:80".parse::<Service>().unwrap_err().to_string(),
            "line 1, column 1: the line does not add a service",
        ),
        (
            "-C".parse::<SyncDaemon>().unwrap_err().to_string(),
            "line 1, column 1: the line does not start a sync daemon",
        ),
        ("-m -r 10.0.0.1".parse::<Destination>().unwrap_err().to_string(), "line 1, column 7: the port is missing"),
        (
            "-r [2001:db8::1] -m".parse::<Destination>().unwrap_err().to_string(),
            "line 1, column 4: the port is missing",
        ),
        ("-mr10.0.0.1".parse::<Destination>().unwrap_err().to_string(), "line 1, column 4: the port is missing"),
        ("-r 10.0.0.1:80 -x ten".parse::<Destination>().unwrap_err().to_string(), "line 1, column 19: "),
    ] {
        assert!(found.starts_with(expected), "{found}");
    }
}

/// Port 0 is the port of the client's packet, and is not a missing port.
#[test]
fn a_server_can_have_port_0() {
    let server = Destination::new(([10, 0, 0, 1], 0), Forwarding::Masquerade);
    for text in ["-r 10.0.0.1:0 -m", "--real-server=10.0.0.1:0 -m", "-mr10.0.0.1:0"] {
        assert_eq!(text.parse(), Ok(server), "{text}");
    }
}

/// A document has the same words in `forwarding`.
#[test]
fn methods_are_the_words_of_a_document() {
    use Forwarding::{Bypass, DirectRoute, Local, Masquerade, Other};
    for method in [Masquerade, Local, DirectRoute, Bypass, Forwarding::IPIP, Other(5), Other(6), Other(7)] {
        let word = serde_json::to_value(ForwardingMethod::from(method)).expect("writes");
        assert_eq!(serde_json::to_value(method).expect("writes"), word);
        assert_eq!(method.to_string(), word);
    }
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let json = serde_json::to_string(value).expect("writes");
    let read: T = serde_json::from_str(&json).map_err(|error| TestCaseError::fail(format!("{json}: {error}")))?;
    prop_assert_eq!(&read, value, "{}", json);
    same_toml(value)
}

/// The value is a field, because a TOML document is a table.
fn same_toml<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let text = toml::to_string(&BTreeMap::from([("value", value)])).expect("writes");
    let read: BTreeMap<String, T> =
        toml::from_str(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
    prop_assert_eq!(&read["value"], value, "{}", text);
    Ok(())
}

fn same_text<T: Display + FromStr<Err: Debug> + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let text = value.to_string();
    let read: T = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error:?}")))?;
    prop_assert_eq!(&read, value, "{}", text);
    Ok(())
}

fn selector() -> impl Strategy<Value = Selector> {
    let net = (any::<IpAddr>(), 0..=32_u8)
        .prop_map(|(address, length)| Selector::Net(ipvs::IpNet::new(address, length).expect("fits both families")));
    prop_oneof![
        any::<u16>().prop_map(|number| Selector::Protocol(Protocol::from_number(number))),
        net,
        Just(Selector::Fwmarks),
        any::<NonZeroU32>().prop_map(Selector::Fwmark),
        random::service_key().prop_map(Selector::Service),
    ]
}

proptest! {
    #[test]
    fn keys_and_selectors_round_trip(service in random::service_key(), server in random::server_key()) {
        same(&service)?;
        same(&server)?;
        same_text(&service)?;
        same_text(&server)?;
        same(&BTreeMap::from([(service, BTreeMap::from([(server, 1)]))]))?;
        let selector = Selector::from(service);
        same(&selector)?;
        same_text(&selector)?;
        prop_assert_eq!(selector.to_string().parse::<ServiceKey>().expect("a key"), service);
    }

    #[test]
    fn selectors_round_trip(selector in selector()) {
        same(&selector)?;
        same_text(&selector)?;
    }

    #[test]
    fn methods_round_trip(tunnel in random::tunnel()) {
        same(&Forwarding::Tunnel(tunnel))?;
        same_text(&Forwarding::Tunnel(tunnel))?;
    }

    #[test]
    fn changes_round_trip(change in random::change()) {
        // A name with blanks or control characters is the only reason to refuse a valid change.
        let one_word = !change.to_string().contains(['\\', '#']);
        if change.validate().is_ok() && one_word {
            same(&change)?;
        }
    }

    #[test]
    fn expressible_changes_are_their_line(change in expressible::change()) {
        same_text(&change)?;
        match change {
            Change::AddService(service) => same_text(&service)?,
            Change::AddDestination(_, server) => same_text(&server)?,
            Change::StartDaemon(daemon) => same_text(&daemon)?,
            _ => {}
        }
    }
}

#[test]
fn plans_are_read() {
    let web = ServiceKey::tcp([192, 0, 2, 1], 80);
    let mut plan = Plan::from(vec![Change::DeleteService(web), Change::Flush]);
    same(&plan).expect("is the same");
    plan.order_kept.push(web);
    plan.order_fixed.push(web);
    plan.out_of_scope.push(ServiceKey::fwmark(7, Family::V6).expect("not 0"));
    plan.draining.push((web, DestinationKey::new([10, 0, 0, 1], 8080)));
    same(&plan).expect("is the same");
    let schema = serde_json::to_value(schemars::schema_for!(Plan)).expect("writes");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    assert!(schema.is_valid(&serde_json::to_value(&plan).expect("writes")));
    for (json, expected) in [
        (json!({ "draining": [] }), "missing field `changes`"),
        (json!({ "changes": [], "order": [] }), "unknown field `order`, expected one of "),
        (
            json!({ "changes": [{ "change": "add_service", "service": { "fwmark": 1, "scheduler": "a b" } }] }),
            "the scheduler name \"a b\" contains blanks or control characters",
        ),
    ] {
        let error = serde_json::from_value::<Plan>(json).expect_err("invalid").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn plans_and_entries_are_written() {
    let web = ServiceKey::tcp([192, 0, 2, 1], 80);
    let server = DestinationKey::new([10, 0, 0, 1], 8080);
    let mut plan = Plan::from(vec![Change::DeleteDestination(web, server)]);
    let change =
        json!({ "change": "delete_destination", "service": "tcp:192.0.2.1:80", "destination": "10.0.0.1:8080" });
    assert_eq!(serde_json::to_value(&plan).expect("writes"), json!({ "changes": [change] }));
    plan.draining.push((web, server));
    assert_eq!(
        serde_json::to_value(&plan).expect("writes")["draining"],
        json!([["tcp:192.0.2.1:80", "10.0.0.1:8080"]])
    );

    let table = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
                 TCP C0000201 C350 C0000202 0050 0A000001 1F90 ESTABLISHED     899\n";
    let entry = Connections::new(table.as_bytes()).expect("a table").next().expect("one").expect("valid");
    assert_eq!(
        serde_json::to_value(&entry).expect("writes"),
        json!({
            "protocol": "tcp",
            "client": "192.0.2.1:50000",
            "service": "192.0.2.2:80",
            "destination": "10.0.0.1:8080",
            "state": "ESTABLISHED",
            "expires": 899,
        })
    );
}

/// `ipvsadm show --json` prints the same.
#[test]
fn states_are_written_as_documents() {
    let mut director = Model::new();
    let web = Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::RR);
    director.add_service(&web).expect("valid");
    director.add_destination(&web.key, &Destination::new(([10, 0, 0, 1], 80), Forwarding::Masquerade)).expect("valid");
    let state = director.state().expect("a table");
    let json = serde_json::to_value(&state).expect("writes");
    assert_eq!(json, serde_json::to_value(Document::from(&state)).expect("writes"));
    assert_eq!(json["ipvs"], serde_json::to_value(state.info).expect("writes"));
    assert_eq!(json["services"][0], serde_json::to_value(&state.services[0]).expect("writes"));
    assert_eq!(
        json["services"][0]["destinations"][0],
        serde_json::to_value(&state.services[0].destinations[0]).expect("writes")
    );
    let version = state.info.version.to_string();
    assert_eq!(json["ipvs"], json!({ "version": version, "connection_table_size": state.info.connection_table_size }));
}

/// Programs keep these values in maps and sets, and move them between threads.
#[test]
fn values_have_the_common_traits() {
    fn value<T: Clone + Debug + Eq + Ord + Hash + Send + Sync + Unpin + 'static>() {}
    fn observed<T: Clone + Debug + PartialEq + Send + Sync + 'static>() {}
    value::<ServiceKey>();
    value::<DestinationKey>();
    value::<Selector>();
    value::<Service>();
    value::<Destination>();
    value::<SyncDaemon>();
    value::<Timeouts>();
    value::<Change>();
    value::<Plan>();
    value::<ConnectionEntry>();
    value::<Scheduler>();
    value::<Engine>();
    value::<Interface>();
    value::<Forwarding>();
    value::<Protocol>();
    value::<Family>();
    value::<Netmask>();
    value::<Role>();
    observed::<State>();
    observed::<ServiceConfig>();
    let changes: BTreeSet<Change> = [Change::Flush, Change::Zero(None), Change::Flush].into();
    assert_eq!(changes.len(), 2);
}
