use super::*;
use crate::convert::NoteKind;
use crate::rules::write_config;

/// Files by name.
struct Files(&'static [(&'static str, &'static str)]);

impl Include for Files {
    fn include(&mut self, pattern: &str, _: &str) -> Result<Vec<IncludedFile>, String> {
        let files = self.0.iter().filter(|(name, _)| name.starts_with(pattern.trim_end_matches('*')));
        Ok(files.map(|(name, text)| IncludedFile { name: (*name).into(), text: (*text).into() }).collect())
    }
}

fn parse(text: &str) -> Result<Converted, Errors<ConvertError>> {
    let files = [
        ("one.conf", "virtual_server fwmark 1 {\nlvs_sched rr\nlvs_method DR\nreal_server 10.0.0.1 {\n}\n}\n"),
        ("bad.conf", "\n  virtual_sever 192.0.2.1 80 {\n}\n"),
        ("loop.conf", "include loop.conf\n"),
    ];
    let files: &'static [(&'static str, &'static str)] = Box::leak(Box::new(files));
    read("f", text.as_bytes(), &Options::default().config_id("main"), &mut Files(files))
}

#[track_caller]
fn rules(text: &str) -> String {
    let converted = parse(text).unwrap_or_else(|errors| panic!("{errors}"));
    let mut rules = Vec::new();
    write_config(&mut rules, &converted.config);
    String::from_utf8(rules).expect("ASCII")
}

#[track_caller]
fn errors(text: &str) -> Vec<String> {
    parse(text).expect_err("errors").iter().map(ToString::to_string).collect()
}

/// A virtual server with one server, and further lines.
fn service(lines: &str) -> String {
    format!("virtual_server 192.0.2.1 80 {{\nprotocol TCP\nlvs_sched rr\n{lines}\nreal_server 10.0.0.1 80 {{\n}}\n}}\n")
}

#[test]
fn settings_of_services() {
    for (lines, expected) in [
        ("", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n"),
        (
            "lb_kind DR\nlb_algo sh\nsh-port",
            "-A -t 192.0.2.1:80 -s sh -b sh-port\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -g -w 1\n",
        ),
        (
            "lvs_method TUN type gue port 6080 csum\npersistence_timeout",
            "-A -t 192.0.2.1:80 -s rr -p 360\n\
             -a -t 192.0.2.1:80 -r 10.0.0.1:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-csum\n",
        ),
        (
            "persistence_granularity 255.255.255.0\nweight 7",
            "-A -t 192.0.2.1:80 -s rr -p 360 -M 255.255.255.0\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 7\n",
        ),
        ("ops", "-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n"),
        ("ops\nprotocol udp", "-A -u 192.0.2.1:80 -s rr -o\n-a -u 192.0.2.1:80 -r 10.0.0.1:80 -m -w 1\n"),
    ] {
        assert_eq!(rules(&service(lines)), expected, "{lines}");
    }
}

#[test]
fn groups_have_a_service_for_each_address() {
    let text = "virtual_server_group web {\n192.0.2.254-192.0.3.0 80\n2001:db8::fe-100 443\n198.51.100.4/31 53\n}\n\
                virtual_server_group marks {\nfwmark 7\nfwmark 8 inet6\n}\n\
                virtual_server group web {\nlvs_method TUN\nlvs_sched rr\nprotocol TCP\nreal_server 10.0.0.1 {\n}\n}\n\
                virtual_server group marks {\nlvs_method TUN\nlvs_sched rr\nreal_server 10.0.0.1 99 {\n}\n}\n";
    let rules = rules(text);
    let services: Vec<&str> = rules.lines().filter(|line| line.starts_with("-A")).collect();
    assert_eq!(
        services,
        [
            "-A -t 192.0.2.254:80 -s rr",
            "-A -t 192.0.2.255:80 -s rr",
            "-A -t 192.0.3.0:80 -s rr",
            "-A -t [2001:db8::fe]:443 -s rr",
            "-A -t [2001:db8::ff]:443 -s rr",
            "-A -t [2001:db8::100]:443 -s rr",
            "-A -t 198.51.100.4:53 -s rr",
            "-A -t 198.51.100.5:53 -s rr",
            "-A -f 7 -s rr",
            "-A -f 8 -6 -s rr",
        ]
    );
    // Only NAT changes the port.
    assert!(rules.contains("-a -t 198.51.100.4:53 -r 10.0.0.1:53 -i -w 1 --tun-type ipip\n"), "{rules}");
    assert!(rules.contains("-a -f 7 -r 10.0.0.1:0 -i -w 1 --tun-type ipip\n"), "{rules}");
}

#[test]
fn definitions_conditions_and_sequences() {
    let text = "\
$PORT=80
@main $BASE=10.0
@other $BASE=10.9
$RS= \\
    real_server ${BASE}.0.${N} $PORT { \\
        weight ${N} \\
    }

$SERVER= \\
virtual_server 192.0.2.${V} $PORT { \\
    protocol TCP \\
    @^main lvs_sched rr \\
    @main lvs_sched wrr \\
    $N=1 \\
    $RS \\
    $N=2 \\
    $RS \\
}
~SEQ(V, 8, 2, 10) $SERVER
~LST({V, PORT}, {1, 81}, {2, 82}) $SERVER
";
    let rules = rules(text);
    let expected = [(8, 80), (10, 80), (1, 81), (2, 82)].map(|(service, port)| {
        let service = format!("192.0.2.{service}:{port}");
        format!(
            "-A -t {service} -s wrr\n-a -t {service} -r 10.0.0.1:{port} -m -w 1\n-a -t {service} -r 10.0.0.2:{port} -m -w 2\n"
        )
    });
    assert_eq!(rules, expected.concat());
}

#[test]
fn includes_comments_and_quotes() {
    let text = "! comment {\ninclude one.conf # comment\ninclude none*\nvirtual_server \"192.0.2.1\" 80 { lvs_sched rr\n\
                protocol TCP quorum_up \"/bin/a { b\"\n}\n";
    let converted = parse(&text.replace("protocol TCP ", "protocol TCP\n")).expect("reads");
    // The second has no servers.
    assert_eq!(converted.config.services.len(), 1);
    let notes: Vec<String> = converted.notes.iter().map(|note| format!("{} {}", note.position, note.text)).collect();
    assert_eq!(
        notes,
        [
            "f:3:1 no file matches none*",
            "f:4:1 keepalived ignores the virtual server, because it has no real_server",
            "f:6:1 quorum_up",
        ]
    );
}

#[test]
fn ignored_parts_have_notes() {
    let text = "virtual_server_group one {\nfwmark 1\n}\n@other SSL\n@^main SSL\n@main SSL\n@ SSL\n@alone\n";
    let notes = |text: &str| -> Vec<String> {
        let converted = parse(text).expect("reads");
        converted.notes.iter().map(|note| format!("{} {}", note.position, note.text)).collect()
    };
    assert_eq!(
        notes(text),
        [
            "f:1:1 keepalived ignores the group one, because no virtual_server uses it",
            "f:4:1 keepalived skips 3 lines from here on, because the config-id is main",
            "f:6:7 SSL",
        ]
    );
    assert_eq!(notes("@other SSL\n"), ["f:1:1 keepalived skips this line, because the config-id is main"]);
}

#[test]
fn checks_are_managed() {
    let text = "virtual_server 192.0.2.1 80 {\nlvs_sched rr\nprotocol TCP\nquorum 9\nalpha\nsorry_server 127.0.0.1 80\n\
                real_server 10.0.0.1 80 {\ninhibit_on_failure\nMISC_CHECK {\nmisc_path /bin/true\nmisc_dynamic\n}\n}\n\
                real_server 10.0.0.2 80 {\nweight 2\n}\n}\n";
    let converted = parse(text).expect("reads");
    let [managed] = &converted.managed[..] else { panic!("{:?}", converted.managed) };
    assert_eq!(managed.fallback.expect("a server").to_string(), "-r 127.0.0.1:80 -m -w 1");
    assert_eq!((managed.quorum, managed.alpha, managed.omega), (3, true, false));
    let [checked] = managed.checked[..] else { panic!("{managed:?}") };
    assert_eq!(
        (checked.server.to_string().as_str(), checked.keeps_failed, checked.sets_weight),
        ("10.0.0.1:80", true, true)
    );
    let left: Vec<&str> =
        converted.notes.iter().filter(|note| note.kind == NoteKind::Left).map(|note| &*note.text).collect();
    assert_eq!(left, ["quorum", "alpha", "sorry_server", "inhibit_on_failure", "MISC_CHECK"]);
}

#[test]
fn timeouts_and_sync_daemons() {
    let global = |line: &str| rules(&format!("global_defs {{\n{line}\n}}\n"));
    assert_eq!(global("lvs_timeouts tcp 7200 udp 60"), "--set 7200 0 60\n");
    assert_eq!(
        global("lvs_sync_daemon eth0 id 5 port 9000"),
        "--start-daemon master --mcast-interface eth0 --syncid 5 --mcast-port 9000\n\
         --start-daemon backup --mcast-interface eth0 --syncid 5 --mcast-port 9000\n"
    );
    assert_eq!(global("lvs_sync_daemon eth0 VI_1 id 5"), "");
}

#[test]
fn errors_have_positions() {
    for (text, expected) in [
        ("virtual_sever 1 {\n}\n", "f:1:1: unknown keyword `virtual_sever'"),
        (&service("  lvs_schd rr"), "f:4:3: unknown keyword `lvs_schd'"),
        (
            &service("lvs_sched fair"),
            "f:4:11: `fair' is not one of rr, wrr, lc, wlc, lblc, sh, mh, dh, fo, ovf, lblcr, sed, nq, twos",
        ),
        (&service("sh-port"), "f:4:1: `sh-port' needs `lvs_sched sh' before it, or keepalived ignores it"),
        (&service("inhibit_on_failure no"), "f:4:20: `no' is not used by `inhibit_on_failure'"),
        (&service("ops 3"), "f:4:5: `3' is not used by `ops'"),
        (&service("lvs_method TUN type gue"), "f:4:1: a GUE tunnel needs a port"),
        (&service("real_server ::1 80 {\n}"), "f:4:13: ::1 is not an IPv4 address, as the virtual server needs"),
        (
            &service("real_server 10.0.0.1 80 {\n}"),
            "f:6:1: 10.0.0.1:80 is already a server of TCP 192.0.2.1:80 at f:4:1",
        ),
        (&service("real_server 10.0.0.2 80 { weight x }"), "f:4:34: `x' is not a number from 0 to 2147483647"),
        ("include bad.conf\n", "bad.conf:2:3: unknown keyword `virtual_sever'"),
        (
            "virtual_server {\nreal_server 10.0.0.1 80 {\n}\n}\n",
            "f:1:1: `virtual_server' needs an address, `fwmark' with a mark, or `group' with a name",
        ),
        ("global_defs {\n", "f:1:1: the block has no closing `}'"),
        ("}\n", "f:1:1: `}' does not close a block"),
        ("{\n", "f:1:1: `{' does not follow a keyword"),
        ("$A=x$A\n$A\n", "f:2:1: definitions contain each other without end"),
        ("$A= \\\nb \\\n$A\n\n$A\n", "f:5:1: too many definitions inside each other"),
        ("router_id $_RANDOM\n", "f:1:1: $_RANDOM is not supported"),
        ("~SEQ(A, 1, 0, 3) b\n", "f:1:1: the sequence from 1 does not reach 3 in steps of 0"),
        ("~SEQ(A, 1, 600000) b\n", "f:1:1: definitions and sequences produce more than 500000 lines"),
        ("include loop.conf\n", "loop.conf:1:1: too many files include each other"),
        ("virtual_server group web {\nreal_server 10.0.0.1 {\n}\n}\n", "f:1:1: there is no virtual_server_group web"),
        (
            "virtual_server_group a {\n192.0.2.0/33 80\n}\n",
            "f:2:1: `192.0.2.0/33' is not a network: the length is not 1 to 32",
        ),
    ] {
        let errors = errors(text);
        assert_eq!(errors.last().map(String::as_str), Some(expected), "{text}: {errors:?}");
    }
    assert_eq!(errors("a\nb\nc\n").len(), 3);
}

#[test]
fn large_ranges_are_refused() {
    let text = "virtual_server_group a {\n10.0.0.0/8 80\n}\nvirtual_server group a {\nprotocol TCP\nlvs_sched rr\n\
                real_server 10.0.0.1 80 {\n}\n}\n";
    assert_eq!(errors(text), ["f:4:1: more than 300000 services and servers are not supported"]);
}
