//! keepalived's table is the one of `convert`, for its samples, for written and for random configurations.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipvs_tests::command::{Running, run, start};

use super::daemons::compare;
use crate::under_test;

ipvs_tests::tests! {
    samples_have_the_table_of_keepalived, needs = "keepalived", seconds = 900;
    written_files_have_the_table_of_keepalived, needs = "keepalived", seconds = 900;
    random_files_have_the_table_of_keepalived, needs = "keepalived", seconds = 900;
}

const SAMPLES: &str = "/usr/share/doc/keepalived/samples";
const CHECKS: [&str; 10] = [
    "BFD_CHECK",
    "DNS_CHECK",
    "FILE_CHECK",
    "HTTP_GET",
    "MISC_CHECK",
    "PING_CHECK",
    "SMTP_CHECK",
    "SSL_GET",
    "TCP_CHECK",
    "UDP_CHECK",
];

/// Starts keepalived without VRRP, in the foreground.
fn keepalived(file: &str, options: &str) -> Running {
    start(&format!("keepalived -n -D -G -l -C -f {file} -p keepalived.pid -c checkers.pid {options}"))
}

#[track_caller]
fn same_table(file: &str) {
    compare(file, "--config-id main", Duration::from_secs(20), || keepalived(file, "-i main"));
}

/// Returns a configuration without its checks, so that all servers are up.
fn without_checks(text: &str) -> String {
    let (mut kept, mut depth) = (String::new(), 0);
    for line in text.lines() {
        let statement = line.split(['#', '!']).next().unwrap_or_default();
        let starts = CHECKS.contains(&statement.split_ascii_whitespace().next().unwrap_or_default());
        if depth > 0 || starts {
            depth += statement.matches('{').count();
            depth -= statement.matches('}').count();
        } else {
            kept += line;
        }
        kept.push('\n');
    }
    kept
}

fn install() {
    under_test::install();
    under_test::modprobe();
}

fn samples_have_the_table_of_keepalived() {
    install();
    let mut samples: Vec<PathBuf> = fs::read_dir(SAMPLES).unwrap().map(|entry| entry.unwrap().path()).collect();
    samples.sort();
    let mut compared = 0;
    for sample in samples {
        let Ok(text) = fs::read_to_string(&sample) else { continue };
        if !text.lines().any(|line| line.starts_with("virtual_server ")) {
            continue;
        }
        let name = sample.file_name().and_then(|name| name.to_str()).unwrap();
        fs::write(name, without_checks(&text)).unwrap();
        let format = format!("--format keepalived --config-id main {}", sample.display());
        // The checks of the sample itself change nothing while they succeed.
        let converted = run(&format!("ipvsadm-rs convert --format keepalived --config-id main {}", sample.display()));
        assert_eq!(converted.code, Some(0), "{converted}");
        compare(name, "", Duration::from_secs(20), || keepalived(name, "-i main"));
        assert!(Path::new(name).exists(), "{format}");
        compared += 1;
    }
    assert!(compared >= 15, "only {compared} samples have services");
}

/// A service with servers.
fn service(head: &str, settings: &str, servers: &[&str]) -> String {
    let mut text = format!("virtual_server {head} {{\n{settings}\n");
    for server in servers {
        let (address, settings) = server.split_once(';').unwrap_or((server, ""));
        let _ = writeln!(text, "real_server {address} {{\n{}\n}}", settings.replace(';', "\n"));
    }
    text + "}\n"
}

fn written_files_have_the_table_of_keepalived() {
    install();
    fs::create_dir("conf.d").unwrap();
    fs::write("conf.d/1.conf", service("fwmark 1", "lvs_sched rr\nlvs_method DR", &["10.0.0.1"])).unwrap();
    fs::write("conf.d/2.conf", service("fwmark 2", "lvs_sched rr\nlvs_method NAT", &["10.0.0.1 80"])).unwrap();
    let tcp = |settings: &str| format!("protocol TCP\nlvs_sched wrr\n{settings}");
    let group = |entries: &str, settings: &str, servers: &[&str]| {
        format!("virtual_server_group g {{\n{entries}\n}}\n{}", service("group g", settings, servers))
    };
    let servers = &["10.0.0.1 80;weight 3", "10.0.0.2 80;weight 0;uthreshold 100;lthreshold 50"];
    let files = [
        service("192.0.2.1 80", &tcp("lb_kind NAT"), servers),
        service("192.0.2.1 80", &tcp("lb_kind DR\nweight 5"), &["10.0.0.1 80", "10.0.0.2"]),
        // Neither protocol, scheduler nor method.
        service("192.0.2.1 80", "", &["10.0.0.1 80"]),
        service("192.0.2.1", "protocol TCP", &["10.0.0.1"]),
        service("192.0.2.1 80", &tcp("persistence_timeout"), servers),
        service("192.0.2.1 80", &tcp("persistence_timeout 50\npersistence_granularity 255.255.255.0"), servers),
        service("2001:db8::1 80", &tcp("persistence_granularity 64"), &["2001:db8::2 80"]),
        service("192.0.2.1 5060", "protocol UDP\nlvs_sched sh\nsh-port\nsh-fallback\nops", &["10.0.0.1 5060"]),
        service("192.0.2.1 80", "protocol TCP\nlvs_sched mh\nmh-port\nmh-fallback\nhashed", servers),
        service("192.0.2.1 80", &tcp("flag-1\nflag-2\nflag-3\nops"), servers),
        service("192.0.2.1 80", "protocol SCTP\nlb_algo lc\nlb_kind TUN", servers),
        service(
            "192.0.2.1 80",
            &tcp("lvs_method TUN type gue port 6080 remcsum"),
            &["10.0.0.1 80", "10.0.0.2 80;lvs_method TUN type gre csum", "2001:db8::2 80", "10.0.0.4 80;lvs_method DR"],
        ),
        // Only NAT changes the port.
        service("192.0.2.1 80", &tcp("lvs_method DR"), &["10.0.0.1 8080", "10.0.0.2 8080;lvs_method NAT"]),
        service("192.0.2.1 80", &tcp("quorum 9\nhysteresis 3\nalpha\nomega\nsorry_server 127.0.0.1 80"), servers),
        service("192.0.2.1 80", &tcp("sorry_server 10.0.0.9 80\nsorry_server_inhibit"), &["10.0.0.1 80;weight 0"]),
        service("192.0.2.1 80", &tcp("sorry_server 10.0.0.9 80\nsorry_server_inhibit"), servers),
        service("192.0.2.1 80", &tcp("sorry_server 10.0.0.9 80\ninhibit_on_failure\nquorum 3\nhysteresis 1"), servers),
        service("192.0.2.1 80", &tcp("sorry_server 10.0.0.9 80\nquorum 2\nhysteresis 1"), servers),
        service("fwmark 7", "protocol TCP\nlvs_method TUN", &["2001:db8::2", "2001:db8::3"]),
        service("fwmark 7", "lvs_method TUN", &["2001:db8::2", "10.0.0.3"]),
        service("fwmark 7", "lvs_method TUN\nip_family inet6", &["10.0.0.3 80"]),
        service("fwmark 7", "lvs_method NAT", &["2001:db8::2 8080", "2001:db8::3"]),
        group("192.0.2.1-3 80\n192.0.2.8/30 443\n198.51.100.1-198.51.100.2 53\nfwmark 9", &tcp("lb_kind DR"), servers),
        group("2001:db8::8-a 80\n2001:db8::10/126 443\nfwmark 9 inet6", &tcp("lb_kind NAT"), &["2001:db8::2 8080"]),
        group("192.0.2.1\n192.0.2.2 0", &tcp("persistence_granularity 255.255.0.0"), &["10.0.0.1"]),
        group("192.0.2.1 80\n2001:db8::1 80", &tcp("lvs_method TUN"), &["10.0.0.1 80", "2001:db8::2 80"]),
        format!(
            "global_defs {{\nlvs_timeouts tcp 7200 tcpfin 60 udp 30\n}}\n{}",
            service("192.0.2.1 80", &tcp(""), servers)
        ),
        format!(
            "global_defs {{\nlvs_sync_daemon lo id 5 maxlen 1400 port 9000 ttl 2 group 224.0.0.99\n}}\n{}",
            service("192.0.2.1 80", &tcp(""), servers)
        ),
        "include conf.d/*.conf\n".to_owned(),
        "includea conf.d/{2,1}.conf # both\n".to_owned(),
        "\
$NET=10.0.0
$RS= \\
real_server ${NET}.${N} $PORT { \\
    weight ${N} \\
}

$VS= \\
virtual_server 192.0.2.${V} $PORT { \\
    protocol TCP \\
    @main lvs_sched wlc \\
    @^main lvs_sched rr \\
    $N=1 \\
    $RS \\
    $N=2 \\
    $RS \\
}
~LST({V, PORT}, {1, 80}, {2, 443}) $VS
"
        .to_owned(),
        "\
virtual_server_group g {
    ~SEQ(N, 1, 2, 7) 192.0.2.${N} 80
    ~SEQx(N6, 0x8, 0xb) 2001:db8::${N6} 80
    ~LST(P, 81, 82) 198.51.100.1 ${P}
}
virtual_server group g {
    protocol \"TCP\" ! quoted
    lvs_sched rr   # comment
    lvs_method TUN
    real_server 10.0.0.1 80 { weight 4 }
}
"
        .to_owned(),
        "! c\nvirtual_server 192.0.2.1 80\n{\nprotocol TCP lvs\nlvs_sched rr\nreal_server 10.0.0.1 80\n{\n}\n}\n"
            .replace("TCP lvs", "TCP"),
    ];
    for (index, text) in files.iter().enumerate() {
        let name = format!("{index}.conf");
        fs::write(&name, text).unwrap();
        let format = fs::read_to_string(&name).unwrap();
        let check = run(&format!("ipvsadm-rs convert --format keepalived --config-id main {name}"));
        assert_eq!(check.code, Some(0), "{format}\n{check}");
        fs::copy(&name, "keepalived.conf").unwrap();
        same_table("keepalived.conf");
        // keepalived does not reset these.
        ipvs_tests::command::ok("ipvsadm --set 900 120 300");
    }
}

/// Pseudo-random numbers: the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn of<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[self.below(words.len())]
    }
}

fn random_file(numbers: &mut Numbers) -> String {
    let mut text = String::new();
    for index in 0..=numbers.below(6) {
        let is_v6 = numbers.below(3) == 0;
        let (address, server) = if is_v6 { ("2001:db8::", "fd00::") } else { ("192.0.2.", "10.0.0.") };
        let head = match numbers.below(4) {
            0 => format!("fwmark {}", index + 1),
            _ => format!("{address}{} {}", index + 1, numbers.of(&["80", "443", "53"])),
        };
        let granularity = if is_v6 { "persistence_granularity 64" } else { "persistence_granularity 255.255.0.0" };
        let settings = [
            numbers.of(&[
                "lvs_sched rr",
                "lb_algo wlc",
                "lvs_sched sh\nsh-port",
                "lvs_sched mh\nmh-fallback",
                "lb_algo nq",
                "",
            ]),
            numbers.of(&["protocol TCP", "protocol UDP", "protocol SCTP", ""]),
            numbers.of(&["lvs_method NAT", "lb_kind DR", "lvs_method TUN", "lvs_method TUN type gue port 6080", ""]),
            numbers.of(&["", "persistence_timeout", "persistence_timeout 77", granularity]),
            numbers.of(&["", "ops", "flag-3", "alpha", "quorum 4", "inhibit_on_failure", "weight 9"]),
        ];
        let servers: Vec<String> = (0..=numbers.below(4))
            .map(|number| {
                let port = numbers.of(&["", " 80", " 8080"]);
                let settings = numbers.of(&["", "weight 7", "weight 0", "uthreshold 9;lthreshold 3", "lvs_method NAT"]);
                format!("{server}{}{port};{settings}", number + 1)
            })
            .collect();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        text += &service(&head, &settings.join("\n"), &servers);
    }
    text
}

fn random_files_have_the_table_of_keepalived() {
    install();
    let mut numbers = Numbers(1);
    for _ in 0..15 {
        fs::write("keepalived.conf", random_file(&mut numbers)).unwrap();
        same_table("keepalived.conf");
    }
}
