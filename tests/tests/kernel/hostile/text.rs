//! Control bytes in names, files, arguments and packets, on their way to a terminal.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use ipvs_tests::command::{ok, run, shell};
use ipvs_tests::wait;

use crate::verbs::{WEB, director, rules, write};

ipvs_tests::tests! {
    names_in_dns_are_names_or_numbers;
    names_in_files_are_names_or_numbers;
    line_break_in_a_document_changes_no_other_service;
    file_names_on_a_terminal;
    file_contents_on_a_terminal;
    arguments_on_a_terminal;
    program_name_on_a_terminal;
    persistence_data_on_a_terminal;
    line_breaks_in_persistence_data;
    names_in_messages;
    pipes_get_the_bytes_of_the_reference;
    a_name_server_that_does_not_answer_is_asked_once;
    failures_of_name_servers_are_distinguished;
    verbs_look_servers_up_as_ipvsadm_does;
    check_warns_of_addresses_that_the_kernel_refuses;
}

/// Erases the screen, and ends with the bell.
const ERASE: &str = "\u{1b}[2J\u{7}";

/// Runs a command line on a terminal. Returns everything that it prints, with LF as line ends.
#[track_caller]
fn on_terminal(line: &str) -> String {
    write("line", line);
    let ran = shell("script -qc 'sh line' /dev/null < /dev/null");
    ran.stdout.replace("\r\n", "\n")
}

/// Checks that a text has no control characters except line breaks and tabs.
#[track_caller]
fn assert_harmless(text: &str) {
    let harmful = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}');
    assert!(!text.contains(harmful), "{text:?}");
    assert!(!text.is_empty());
}

/// A DNS server on 127.0.0.1, in a thread that runs until the test ends.
struct Dns {
    /// The names that were asked for.
    asked: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

impl Dns {
    /// Starts the server, and makes it the only source of names. `answer` gets the type and the name of a question (as
    /// in the packet), and returns the data of the answer. Without data, there is no answer.
    fn start(answer: impl Fn(u16, &[u8]) -> Option<Vec<u8>> + Send + 'static) -> Self {
        // One of these may be a link to another directory.
        for (name, text) in [
            ("hosts", "127.0.0.1 localhost\n"),
            ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
            ("nsswitch.conf", "hosts: files dns\nservices: files\n"),
        ] {
            let path = format!("/etc/{name}");
            let _ = fs::remove_file(&path);
            fs::write(path, text).unwrap();
        }
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, client)) = socket.recv_from(&mut packet) {
                let question = &packet[12..length];
                let end = 1 + question.iter().position(|byte| *byte == 0).unwrap();
                let kind = u16::from_be_bytes([question[end], question[end + 1]]);
                let name = &question[..end];
                log.lock().unwrap().insert(name.to_vec());
                let Some(data) = answer(kind, name) else { continue };
                // A response without an error, to one question, with one answer unless the data are empty.
                let mut reply = [&packet[..2], &[0x85, 0x80, 0, 1, 0, u8::from(!data.is_empty()), 0, 0, 0, 0]].concat();
                reply.extend(&question[..end + 4]);
                if !data.is_empty() {
                    // The name of the question, the type, the class, and 60 s.
                    reply.extend([0xc0, 12, question[end], question[end + 1], 0, 1, 0, 0, 0, 60]);
                    reply.extend((data.len() as u16).to_be_bytes());
                    reply.extend(data);
                }
                let _ = socket.send_to(&reply, client);
            }
        });
        Self { asked }
    }
}

/// Returns a name as in a DNS packet.
fn labels(labels: &[&str]) -> Vec<u8> {
    let label = |label: &&str| [&[label.len() as u8], label.as_bytes()].concat();
    labels.iter().flat_map(label).chain([0]).collect()
}

/// Only a static program prints such names without this check: glibc checks them itself.
fn names_in_dns_are_names_or_numbers() {
    const PTR: u16 = 12;
    director("");
    let _dns = Dns::start(|kind, name| {
        let of = |number: &str| name.starts_with(&labels(&[number, "0", "66", "10"])[..10 + number.len() - 1]);
        Some(match kind {
            PTR if of("1") => labels(&[ERASE, "test"]),
            PTR if of("2") => labels(&["x\n-C\n#"]),
            PTR if of("3") => labels(&["10", "0", "0", "9"]),
            PTR if of("4") => labels(&["-C", "test"]),
            PTR if of("5") => labels(&["good-name", "test"]),
            _ if name == labels(&["good-name", "test"]) && kind == 1 => vec![10, 66, 0, 5],
            _ => Vec::new(),
        })
    });
    let services: String = (1..=5).map(|i| format!("-A -t 10.66.0.{i}:80 -s rr\n")).collect();
    write("rules", &services);
    shell("ipvsadm-restore < rules").ok();
    for line in ["ipvsadm -L", "ipvsadm -S", "ipvsadm-save", "ipvsadm-rs show --names"] {
        let listed = ok(line);
        assert_harmless(&listed);
        for name in ["10.66.0.1:", "10.66.0.2:", "10.66.0.3:", "10.66.0.4:", "good-name.test:"] {
            assert!(listed.contains(name), "{line}: {name}: {listed}");
        }
    }
    shell("ipvsadm-save | ipvsadm -R").code.unwrap();
    assert_eq!(rules(), services);
}

fn names_in_files_are_names_or_numbers() {
    director("-A -t 10.66.0.1:4242 -s rr\n-A -t 10.66.0.2:4243 -s rr\n-A --sctp-service 10.66.0.3:4244 -s rr\n");
    let _ = fs::remove_file("/etc/hosts");
    let _ = fs::remove_file("/etc/services");
    write("/etc/hosts", &format!("10.66.0.1 {ERASE}.test\n10.66.0.2 10.0.0.9\n10.66.0.3 good-name.test\n"));
    write("/etc/services", &format!("{ERASE} 4242/tcp\nwhois++ 4243/tcp\n{ERASE} 4244/sctp\n"));
    for line in ["ipvsadm -L", "ipvsadm -S", "ipvsadm-rs show --names"] {
        let listed = ok(line);
        assert_harmless(&listed);
        for name in ["10.66.0.1:4242", "10.66.0.2:whois++", "good-name.test:4244"] {
            assert!(listed.contains(name), "{line}: {name}: {listed}");
        }
    }
}

fn line_break_in_a_document_changes_no_other_service() {
    director(WEB);
    write(
        "forged.json",
        r#"{"services": [{"protocol": "tcp", "address": "198.51.100.1", "port": 80, "scheduler": "rr\n-C"}]}"#,
    );
    write(
        "forged.toml",
        "[[services]]\nprotocol = \"udp\"\naddress = \"198.51.100.1\"\nport = 53\npersistence = 60\nengine = \"sip\\n-C\"\n",
    );
    write("interface.toml", "[[daemons]]\nrole = \"backup\"\ninterface = \"lo\\n-C\"\n");
    write("blank.toml", "[[services]]\nfwmark = 1\nscheduler = \"rr -p 60\"\n");
    for file in ["forged.json", "forged.toml", "interface.toml", "blank.toml"] {
        shell(&format!("ipvsadm-rs plan {file} --only 198.51.100.0/24 --only fwmark | ipvsadm -R"));
        assert_eq!(rules(), WEB, "{file}");
        let checked = run(&format!("ipvsadm-rs check {file}"));
        assert_eq!(checked.code, Some(2), "{checked}");
        let error = checked.stderr.lines().next().unwrap();
        assert!(error.ends_with(" contains blanks or control characters"), "{checked}");
        assert!(error.starts_with(&format!("{file}:1:")), "{checked}");
        assert_eq!(run(&format!("ipvsadm-rs apply {file} --allow-empty")).code, Some(1));
        assert_eq!(rules(), WEB, "{file}");
    }
}

fn file_names_on_a_terminal() {
    director(WEB);
    write(&format!("a{ERASE}\u{202e}\nb"), "-A -t 192.0.2.1:80 -s rr\n");
    write(&format!("c{ERASE}\nd"), "-A -t no%where\n");
    for (line, shown) in [
        ("ipvsadm-rs check a*", r"a\x1b[2J\x07\u{202e}\nb: no errors, 1 warning: 1 service, 0 servers"),
        ("ipvsadm-rs check c*", r"c\x1b[2J\x07\nd:1:7: error: "),
        ("ipvsadm-rs plan c*", r"c\x1b[2J\x07\nd:1:7: error: "),
        ("ipvsadm-rs plan \"$(echo c*)/x\"", r"cannot read c\x1b[2J\x07\nd/x: Not a directory"),
        ("ipvsadm-rs save -o \"$(echo c*)/x\"", r"cannot write c\x1b[2J\x07\nd/x: "),
    ] {
        let printed = on_terminal(line);
        assert_harmless(&printed);
        assert!(printed.contains(shown), "{line}: {printed}");
    }
}

fn file_contents_on_a_terminal() {
    director(WEB);
    write("rules", &format!("-A -t 192.0.2.9:80 -s {ERASE}\n-A -s {ERASE}\u{9b}日 -t no%where\n"));
    write("table.json", r#"{"services": [{"fwmark": 1, "a\n\u001b[2J": 1}]}"#);
    for line in [
        "ipvsadm-rs check rules",
        "ipvsadm-rs plan rules",
        "ipvsadm-restore < rules",
        "ipvsadm -R < rules",
        "ipvsadm -R --stream < rules",
    ] {
        let printed = on_terminal(line);
        assert_harmless(&printed);
        assert!(printed.contains(r"-A -s \x1b[2J\x07\u{9b}日 -t no%where"), "{line}: {printed}");
    }
    let printed = on_terminal("ipvsadm-rs check table.json");
    assert_harmless(&printed);
    assert!(printed.contains(r"unknown key `a\n\x1b[2J'"), "{printed}");
    // The mark is below the word with the error.
    let printed = on_terminal("ipvsadm-rs check rules");
    let lines: Vec<&str> = printed.lines().collect();
    let at = lines.iter().position(|line| line.contains("日")).unwrap();
    let columns = |text: &str| text.chars().map(|c| if c == '日' { 2 } else { 1 }).sum::<usize>();
    let (before, _) = lines[at].split_once("no%where").unwrap();
    assert_eq!(lines[at + 1].find('^'), Some(columns(before)), "{printed}");
}

fn arguments_on_a_terminal() {
    director(WEB);
    // clap's own styles are control characters, too.
    for line in
        ["--lock-timeout \"$1\" show", "show \"$1\"", "\"$1\"", "--color \"$1\" show", "plan --format \"$1\" rules"]
    {
        write("args", &format!("ipvsadm-rs {line}\n"));
        let printed = on_terminal("sh args \"$(printf 'x\\033[2J\\007')\"");
        assert!(!printed.contains(ERASE), "{line}: {printed:?}");
        assert!(printed.contains(r"x\x1b[2J\x07"), "{line}: {printed:?}");
    }
    for line in ["-A -t \"$1\"", "-L \"$1\"", "-A -t 192.0.2.9:80 -s \"$1\"", "--\"$1\""] {
        write("args", &format!("ipvsadm {line}\n"));
        assert_harmless(&on_terminal("sh args \"$(printf 'x\\033[2J\\007')\""));
    }
}

fn program_name_on_a_terminal() {
    director("");
    symlink("/usr/sbin/ipvsadm-rs", format!("p{ERASE}")).unwrap();
    for (line, shown) in [("./p* -h", r"  ./p\x1b[2J\x07 -A|E "), ("./p* -n", r"Try `./p\x1b[2J\x07 -h'")] {
        let printed = on_terminal(line);
        assert_harmless(&printed);
        assert!(printed.contains(shown), "{printed}");
    }
}

/// Returns a sync message with a persistence template of the engine `sip`. Version 1 of the format is described in
/// <https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_sync.c>.
fn template(data: &[u8]) -> Vec<u8> {
    const TEMPLATE: u32 = 0x1000;
    const UDP: u8 = 17;
    let name = b"sip";
    let options = [&[2, data.len() as u8], data, &[3, name.len() as u8], name].concat();
    let size = 36 + options.len() as u16;
    let mut connection = vec![0, UDP];
    connection.extend(size.to_be_bytes());
    connection.extend(TEMPLATE.to_be_bytes());
    // State, client port, service port, server port.
    for number in [0u16, 0, 5060, 5060] {
        connection.extend(number.to_be_bytes());
    }
    // Firewall mark, time in seconds.
    connection.extend(0u32.to_be_bytes());
    connection.extend(300u32.to_be_bytes());
    connection.extend([[10, 9, 0, 1], [192, 0, 2, 1], [10, 0, 0, 1]].concat());
    connection.extend(options);
    // Each connection is padded to 4 bytes, except the last.
    let total = 8 + connection.len() as u16;
    let mut message = vec![0, 0];
    message.extend(total.to_be_bytes());
    message.extend([1, 1, 0, 0]);
    message.extend(connection);
    message
}

/// Starts a backup daemon, and sends it persistence data until the connection table has a text.
fn sync(data: &str, text: &str) {
    director("-A -u 192.0.2.1:5060 -s rr -p 60 --pe sip\n-a -u 192.0.2.1:5060 -r 10.0.0.1:5060 -m\n");
    ok("ip route add 224.0.0.0/4 dev lo");
    ok("ipvsadm --start-daemon backup --mcast-interface lo");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let seconds = std::time::Duration::from_secs(30);
    wait::until(seconds, || {
        socket.send_to(&template(data.as_bytes()), "224.0.0.81:8848").unwrap();
        let table = fs::read("/proc/net/ip_vs_conn").unwrap();
        let table = String::from_utf8_lossy(&table).into_owned();
        if table.contains(text) { Ok(()) } else { Err(table) }
    });
    ok("ipvsadm --stop-daemon backup");
}

fn persistence_data_on_a_terminal() {
    let data = format!("call{ERASE}id");
    sync(&data, &data);
    for command in ["ipvsadm -Lnc --persistent-conn", "ipvsadm-rs --color never connections"] {
        let printed = on_terminal(command);
        assert_harmless(&printed);
        assert!(printed.contains(r"call\x1b[2J\x07id"), "{command}: {printed}");
    }
}

/// The kernel writes persistence data into its table as they are.
fn line_breaks_in_persistence_data() {
    sync(&format!("call\n{ERASE}id"), "\n\u{1b}");
    let warning = r#"warning: 1 line of the connection table skipped: unexpected format of ip_vs_conn: "\u{1b}[2J"#;
    for options in ["", "--json", "--json-lines", "--by state", "--count", "--sort client --limit 9"] {
        let ran = run(&format!("ipvsadm-rs connections {options}"));
        assert_eq!(ran.code, Some(0), "{options}: {ran}");
        assert!(ran.stderr.starts_with(warning) && !ran.stdout.is_empty(), "{options}: {ran}");
    }
    assert_eq!(ok("ipvsadm-rs connections --count"), "1\n");
    let line = ok("ipvsadm-rs top --once --json-lines");
    assert!(!line.contains("unexpected format"), "{line}");
    // The template is left at the time limit.
    let ran = run("ipvsadm-rs drain 10.0.0.1 --allow-refused --timeout 3s");
    assert_eq!(ran.code, Some(3), "{ran}");
}

fn names_in_messages() {
    director(WEB);
    write("table.json", r#"{"services": [{"fwmark": 1, "scheduler": "\u001b[2J"}]}"#);
    write("flags.json", r#"{"services": [{"fwmark": 1, "flags": ["\u001b[2J\n"]}]}"#);
    write("address.json", r#"{"services": [{"fwmark": 1, "destinations": [{"address": "\u001b[2J\n"}]}]}"#);
    for file in ["table", "flags", "address"] {
        for verb in ["check", "plan", "apply"] {
            let printed = on_terminal(&format!("ipvsadm-rs {verb} {file}.json"));
            assert_harmless(&printed);
            assert!(printed.contains("error: services[0]") || file == "address", "{printed}");
        }
    }
    for line in ["set -t 192.0.2.1:80 --scheduler \"$1\"", "undo \"$1\"", "--netns \"$1\" show", "snat-rules -t \"$1\""]
    {
        write("args", &format!("ipvsadm-rs {line}\n"));
        let printed = on_terminal("sh args \"$(printf 'x\\033[2J\\007')\"");
        assert!(!printed.contains(ERASE), "{line}: {printed:?}");
    }
}

/// The reference prints these bytes as they are.
fn pipes_get_the_bytes_of_the_reference() {
    director(WEB);
    let ran = shell("ipvsadm -L \"$(printf '\\033[2J')\"");
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), "unexpected argument \u{1b}[2J\n"));
}

fn a_name_server_that_does_not_answer_is_asked_once() {
    const SERVICES: usize = 24;
    director("");
    let services: String = (1..=SERVICES).map(|i| format!("-A -t 10.66.0.{i}:80 -s rr\n")).collect();
    write("rules", &services);
    shell("ipvsadm-restore < rules").ok();
    write("names", &services.replace("10.66.0.", "host-"));
    // It never answers, and each lookup fails after a second.
    let dns = Dns::start(|_, _| None);
    let listed = run("ipvsadm -L");
    assert_eq!(listed.code, Some(0), "{listed}");
    assert!(listed.stdout.contains(&format!("10.66.0.{SERVICES}:http ")), "{listed}");
    assert_eq!(
        listed.stderr,
        "note: the name server sent no usable answer; the other addresses are shown as numbers\n\
         To look up no names, use -n, or omit --names.\n"
    );
    let checked = run("ipvsadm-rs check names");
    let failed = |why: &str| {
        let line = format!("error: illegal virtual server address[:port] specified: {why}\n");
        checked.stderr.matches(&line).count()
    };
    assert_eq!(failed("the name server sent no usable answer"), 1, "{checked}");
    let others = failed("not looked up, because the name server sent no usable answer for earlier names");
    assert_eq!(others, SERVICES - 1, "{checked}");
    assert_eq!(checked.stderr.matches("Use addresses instead of names").count(), 1, "{checked}");
    let asked = dns.asked.lock().unwrap();
    let addresses = asked.iter().filter(|name| name.ends_with(&labels(&["in-addr", "arpa"]))).count();
    assert_eq!((addresses, asked.len()), (1, 2), "{asked:?}");
}

fn failures_of_name_servers_are_distinguished() {
    director("");
    let add = |host: &str| run(&format!("ipvsadm -A -t {host}:80 -s rr")).stderr;
    let sentence = "illegal virtual server address[:port] specified: ";
    // An answer without an address.
    let dns = Dns::start(|_, name| (name == labels(&["known"])).then(Vec::new));
    assert_eq!(add("known"), format!("{sentence}no such host\n"));
    let asked = dns.asked.lock().unwrap().len();
    assert_eq!(asked, 1);
    let hint = "Use addresses instead of names, or check the name server in /etc/resolv.conf.\n";
    assert_eq!(add("silent"), format!("{sentence}the name server sent no usable answer\n{hint}"));
    // Nobody listens on this address.
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.2\n").unwrap();
    let failure = "the name server reported a failure or cannot be reached";
    assert_eq!(add("web"), format!("{sentence}{failure}\n{hint}"));
    assert_eq!(run("ipvsadm-rs drain web").stderr, format!("error: server web: {failure}\n{hint}"));
    assert_eq!(run("ipvsadm-rs set -r web -w 1").stderr, format!("error: server web: {failure}\n{hint}"));
}

fn verbs_look_servers_up_as_ipvsadm_does() {
    const AAAA: u16 = 28;
    let v6 = "-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r [2001:db8::2]:80 -m -w 2\n";
    let both = format!("{WEB}{v6}");
    director(&both);
    let dns = Dns::start(|kind, name| match kind {
        _ if name == labels(&["silent"]) => None,
        1 if name == labels(&["both"]) => Some(vec![10, 0, 0, 1]),
        AAAA if name == labels(&["both"]) => Some([&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[2]].concat()),
        _ => Some(Vec::new()),
    });
    ok("ipvsadm-rs drain both --allow-refused");
    assert_eq!(rules(), both.replace("-w 3", "-w 0").replace("-w 2", "-w 0"), "all addresses of both families");
    ok("ipvsadm-rs undrain both");
    assert_eq!(rules(), both);
    let hint = "Use addresses instead of names, or check the name server in /etc/resolv.conf.\n";
    for (name, error) in
        [("unknown", "no such host\n".to_owned()), ("silent", format!("the name server sent no usable answer\n{hint}"))]
    {
        for verb in
            ["drain NAME", "undrain NAME,other", "shift --from NAME --to NAME --over 0s", "set -r NAME --weight 1"]
        {
            let ran = run(&format!("ipvsadm-rs {}", verb.replace("NAME", name)));
            assert_eq!((ran.code, ran.stderr), (Some(1), format!("error: server {name}: {error}")), "{verb}");
        }
    }
    assert!(!dns.asked.lock().unwrap().contains(&labels(&["other"])));
    // Nobody listens on this address.
    fs::write("/etc/resolv.conf", "nameserver 127.0.0.2\n").unwrap();
    let ran = run("ipvsadm-rs drain web");
    assert_eq!(
        ran.stderr,
        format!("error: server web: the name server reported a failure or cannot be reached\n{hint}")
    );
    assert_eq!(rules(), both);
}

fn check_warns_of_addresses_that_the_kernel_refuses() {
    director("");
    for (address, kind) in [("::ffff:10.0.0.1", "an IPv4-mapped"), ("fe80::1", "a link-local")] {
        write("rules", &format!("-A -t [2001:db8::1]:80 -s rr\n-a -t [2001:db8::1]:80 -r [{address}]:80 -m\n"));
        let checked = run("ipvsadm-rs check rules");
        let warning = format!(
            "rules:2:1: warning: the kernel refuses server {address} unless it is an address of the director: it is \
             {kind} address\n"
        );
        assert!(checked.stderr.starts_with(&warning), "{checked}");
        assert_eq!(run("ipvsadm-rs apply rules").code, Some(1));
        assert_eq!(rules(), "");
    }
}
