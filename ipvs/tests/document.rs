//! Tables as documents: round trips, hand-written documents, errors, and the shipped schema.

use std::sync::OnceLock;

use ipvs::document::Document;
use ipvs::rules::{self, Numeric};
use ipvs::{Config, Director, Model, Order, State};
use similar::TextDiff;

/// A table that uses every feature.
const RULES: &str = "\
# ipvsadm-rs: order=kernel
--set 901 121 301
--start-daemon master --mcast-interface eth0 --syncid 7 --sync-maxlen 1400 --mcast-group 239.1.2.3 --mcast-port 8849 --mcast-ttl 3
-A -t 192.0.2.1:80 -s sh -p 360 -M 255.255.255.0 -b sh-fallback,sh-port
-a -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 10 -x 100 -y 50
-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 0
-A -u [2001:db8::1]:5060 -s rr -p 90 -M 64 --pe sip -o
-a -u [2001:db8::1]:5060 -r [2001:db8:1::1]:5060 -i -w 1 --tun-type gue --tun-port 6080 --tun-remcsum
-a -u [2001:db8::1]:5060 -r [2001:db8:1::2]:5060 -i -w 1 --tun-type gre --tun-csum
-A -f 7 -6 -s mh -b mh-port
-a -f 7 -6 -r [2001:db8:1::1]:0 -i -w 1 --tun-type ipip
-A --sctp-service 192.0.2.1:36412 -s wlc
";

fn config(rules: &str) -> Config {
    rules::read_config(rules.as_bytes(), &mut Numeric).expect("good rules").config
}

/// Returns the table that results when `config` is applied to an empty table.
fn state(config: &Config) -> State {
    let mut director = Model::new();
    let plan = ipvs::plan(config, &director.state().expect("a model"), &Default::default());
    assert!(director.submit(&plan.changes).expect("a model").is_empty());
    director.state().expect("a model")
}

fn toml(text: &str) -> Result<Config, String> {
    let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
    let read = document.to_config();
    read.map(|(config, _)| config).map_err(|problems| problems.iter().map(|p| format!("{p}\n")).collect())
}

fn rules_of(config: &Config) -> String {
    let mut rules = Vec::new();
    rules::write_config(&mut rules, config);
    String::from_utf8(rules).expect("text")
}

#[test]
fn rules_to_json_and_back() {
    let json = serde_json::to_string(&config(RULES)).expect("writes");
    let read: Config = serde_json::from_str(&json).expect("reads");
    assert_eq!(read, config(RULES));
    assert_eq!(rules_of(&read), RULES);
}

#[test]
fn a_state_can_be_read_as_a_config() {
    let state = state(&config(RULES));
    let json = serde_json::to_value(&state).expect("writes");
    assert_eq!(json["services"][0]["destinations"][0]["stats"]["rates"]["incoming_bytes"], 0);
    let read: Config = serde_json::from_value(json).expect("observed values are skipped");
    assert_eq!(read, Config::from(&state));
    assert_eq!(read.order, Order::Kernel);
    assert!(ipvs::plan(&read, &state, &Default::default()).changes.is_empty());
}

#[test]
fn by_hand_with_defaults() {
    let hand = r#"
        # The web.
        [[services]]
        protocol = "tcp"
        address = "192.0.2.1"
        port = 80
        persistence = 360
        netmask = 24

        [[services.destinations]]
        address = "10.0.0.1"
        forwarding = "masquerade"

        [[services.destinations]]
        address = "10.0.0.2"
        port = 80
        weight = 5
        forwarding = "tunnel"
        tunnel = { type = "gue", port = 6080 }

        [[services]]
        fwmark = 7
        scheduler = "sh"
        flags = ["sh-port"]
    "#;
    let rules = "\
        -A -t 192.0.2.1:80 -s wlc -p 360 -M 255.255.255.0\n\
        -a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n\
        -a -t 192.0.2.1:80 -r 10.0.0.2:80 -i -w 5 --tun-type gue --tun-port 6080 --tun-nocsum\n\
        -A -f 7 -s sh -b sh-port\n";
    let found = toml(hand).expect("reads");
    assert_eq!(rules_of(&found), rules);
    assert_eq!((found.timeouts, found.daemons), (None, None), "absent means unchanged");
}

#[test]
fn names_and_numbers() {
    let text = |protocol: &str, netmask: &str| {
        format!("[[services]]\nprotocol = {protocol}\naddress = '192.0.2.1'\nport = 80\nnetmask = {netmask}\n")
    };
    assert_eq!(toml(&text("'TCP'", "24")), toml(&text("6", "'255.255.255.0'")));
    assert!(toml("[[services]]\nfwmark = 1\nfamily = 'IPv6'\n").is_ok());
    for (text, expected) in [
        (text("'icmp'", "24"), "invalid value: string \"icmp\", expected tcp, udp, sctp or the number of a protocol"),
        (text("65536", "24"), "invalid value: integer `65536`, expected tcp, udp, sctp or the number of a protocol"),
        (text("true", "24"), "invalid type: boolean `true`, expected tcp, udp, sctp or the number of a protocol"),
        (text("6", "-1"), "invalid value: integer `-1`, expected an IPv4 mask or a prefix length"),
        (text("6", "'x'"), "invalid value: string \"x\", expected an IPv4 mask or a prefix length"),
        ("[[services]]\nfwmark = 1\nfamily = 4\n".into(), "invalid value: integer `4`, expected ipv4 or ipv6"),
    ] {
        let error = toml(&text).expect_err(&text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

/// A number that has a name is read as the name.
#[test]
fn numbers_become_names() {
    let text = |protocol: &str, tunnel: &str| {
        format!(
            "[[services]]\nprotocol = {protocol}\naddress = '192.0.2.1'\nport = 80\n\
             [[services.destinations]]\naddress = '10.0.0.1'\nforwarding = 'tunnel'\ntunnel = {tunnel}\n"
        )
    };
    let named = toml(&text("'tcp'", "{ type = 'ipip' }")).expect("reads");
    assert_eq!(toml(&text("6", "{ type = 'other', kind = 0, port = 0, flags = 0 }")), Ok(named.clone()));
    let change = ipvs::plan(&named, &state(&Config::default()), &Default::default()).changes[0];
    assert_eq!(change.to_string(), "-A -t 192.0.2.1:80 -s wlc");
}

#[test]
fn errors_have_their_place() {
    let service = "[[services]]\nprotocol = \"tcp\"\naddress = \"192.0.2.1\"\nport = 80\n";
    let server = "[[services.destinations]]\naddress = \"10.0.0.1\"\n";
    for (text, expected) in [
        (
            "[[services]]\nprotocol = \"tcp\"\n",
            "services[0]: a service must have either protocol, address and port, or a fwmark",
        ),
        ("[[services]]\nfwmark = 0\n", "services[0]: a service must have either"),
        (&format!("{service}shedule = \"rr\"\n"), "unknown field `shedule`"),
        (&format!("{service}flags = [\"sh-port\"]\n"), "services[0]: incompatible scheduler flag `sh-port'"),
        (&format!("{service}flags = [\"0x1\"]\n"), "services[0]: 0x1 is not a scheduler flag"),
        (&format!("{service}{service}"), "services[1]: TCP 192.0.2.1:80 is defined twice"),
        (
            &format!("{service}{server}lower_threshold = 5\n"),
            "services[0].destinations[0]: a lower threshold (5) needs an upper threshold",
        ),
        (&format!("{service}{server}tunnel = {{ type = \"ipip\" }}\n"), "destinations[0]: `tunnel' requires"),
        (
            &format!("{service}{server}{server}"),
            "services[0].destinations[1]: server 10.0.0.1:80 of TCP 192.0.2.1:80 is defined twice",
        ),
        (&format!("{service}netmask = 64\n"), "services[0]: prefix length out of range"),
        ("schema = 2\n", "schema: unsupported version 2"),
        (
            "[[daemons]]\nrole = \"master\"\ninterface = \"a-name-that-is-too-long\"\n",
            "daemons[0]: interface name is longer than 15 bytes",
        ),
    ] {
        let error = toml(text).expect_err(text);
        assert!(error.contains(expected), "{text}\n{error}");
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = "schema = 9\n[[services]]\nfwmark = 0\n[[services]]\nfwmark = 1\nscheduler = \"\"\n";
    assert_eq!(toml(text).expect_err("three").lines().count(), 3);
}

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/table.schema.json");

/// The command that writes the current schema to the file.
const ACCEPT: &str = "IPVS_WRITE_SCHEMA=1 cargo test -p ipvs-rs --features schema --test document";

/// Returns the schema of [`Document`]. If `IPVS_WRITE_SCHEMA` is set, writes it to the file that is shipped.
fn schema() -> String {
    static WRITTEN: OnceLock<String> = OnceLock::new();
    let schema = || {
        let schema = serde_json::to_string_pretty(&schemars::schema_for!(Document)).expect("writes") + "\n";
        if std::env::var_os("IPVS_WRITE_SCHEMA").is_some() {
            std::fs::write(SCHEMA, &schema).expect("writable");
        }
        schema
    };
    WRITTEN.get_or_init(schema).clone()
}

#[test]
fn the_shipped_schema_is_up_to_date() {
    let schema = schema();
    let shipped = std::fs::read_to_string(SCHEMA).expect("shipped");
    let difference = TextDiff::from_lines(&shipped, &schema);
    let difference = difference.unified_diff().header("ipvs/table.schema.json", "ipvs/src/document/mod.rs").to_string();
    assert!(shipped == schema, "the shipped schema is out of date:\n{difference}\nTo accept the change:\n  {ACCEPT}");
}

#[test]
fn documents_match_the_schema() {
    let schema = serde_json::from_str(&schema()).expect("JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let config = config(RULES);
    for document in [serde_json::to_value(&config), serde_json::to_value(state(&config))] {
        let document = document.expect("writes");
        let errors: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}\n{document:#}");
    }
    assert!(!schema.is_valid(&serde_json::json!({ "servcies": [] })));
}
