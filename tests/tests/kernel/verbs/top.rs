//! `ipvsadm-rs top`.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use ipvs::{Change, Client, Scheduler, Service, ServiceKey};
use ipvs_tests::command::{ok, shell};
use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::{Host, Nat};
use ipvs_tests::repeat::repeat_while;
use ipvs_tests::terminal::OnTerminal;
use ipvs_tests::traffic::server::Protocol::Tcp;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::{WEB, director, rules};
use crate::under_test;

ipvs_tests::tests! {
    shows_the_traffic_on_a_terminal, seconds = 240;
    drains_after_a_question, seconds = 240;
    pasted_text_answers_no_question;
    asks_as_drain_does;
    signals_restore_the_terminal, seconds = 240;
    continues_after_a_stop;
    follows_the_size_of_the_terminal;
    reports_a_table_that_cannot_be_read, own_kernel = true;
    prints_one_interval;
    prints_json_lines;
    large_tables_that_change, seconds = 300;
}

const SERVICE: &str = "10.1.0.100:9000";

/// Starts `top` on a terminal of the host.
fn top(host: &Host, options: &str) -> OnTerminal {
    host.enter(|| OnTerminal::start(&format!("ipvsadm-rs top {options}"), 24, 80)).unwrap()
}

fn top_here(options: &str) -> OnTerminal {
    OnTerminal::start(&format!("ipvsadm-rs top {options}"), 24, 80).unwrap()
}

/// Returns the words of the line that contains a text.
fn words<'s>(screen: &'s str, text: &str) -> Vec<&'s str> {
    screen.lines().find(|line| line.contains(text)).unwrap_or_default().split_whitespace().collect()
}

/// Returns a lab whose service has the servers web1 and web2, and one that does not exist.
fn lab() -> Nat {
    let lab = Nat::new().unwrap();
    under_test::install();
    lab.web1.serve(Tcp, "10.2.0.11:9000").unwrap();
    lab.web2.serve(Tcp, "10.2.0.12:9000").unwrap();
    lab.director.ok(&format!("ipvsadm -A -t {SERVICE} -s rr"));
    for server in ["10.2.0.11", "10.2.0.12"] {
        lab.director.ok(&format!("ipvsadm -a -t {SERVICE} -r {server} -m"));
    }
    lab
}

fn shows_the_traffic_on_a_terminal() {
    let lab = lab();
    let _held = lab.client.client().hold(4, SERVICE);
    lab.director.ok("ipvsadm -A -t 10.1.0.100:9001 -s rr");
    lab.director.ok("ipvsadm -a -t 10.1.0.100:9001 -r 10.2.0.99:9000 -m");
    // The server does not exist, so that the handshake is not completed.
    let lost = lab.client.client().patience(Duration::from_secs(1)).hold(2, "10.1.0.100:9001");
    assert_eq!(lost.to_string(), "timeout=2");
    let mut top = top(&lab.director, "");
    let first = top.wait_for("TCP 10.1.0.100:9000");
    assert!(first.starts_with("2 services, 3 servers "), "{first}");
    assert!(!top.is_usual());
    let line = words(&first, "TCP 10.1.0.100:9000");
    assert_eq!((line[2], line[6], line[8]), ("2/2", "4", "0"), "{first}");
    assert_eq!(words(&first, "TCP 10.1.0.100:9001")[8], "2", "SYN_RECV: {first}");
    let busy = top.wait_until(|screen| {
        drop(lab.client.client().hold(3, SERVICE));
        words(screen, "TCP 10.1.0.100:9000").get(3).is_some_and(|rate| rate.parse::<f64>().is_ok_and(|rate| rate > 0.0))
    });
    assert!(words(&busy, "TCP 10.1.0.100:9000")[4].parse::<f64>().is_ok(), "packets: {busy}");
    assert!(busy.contains("CONN/S ") && busy.contains("  max "), "{busy}");
    // Sort by name, select the first service, and open it.
    top.press("n\x1b[B\r");
    let opened = top.wait_for("10.2.0.11:9000");
    assert!(opened.starts_with("TCP 10.1.0.100:9000 rr "), "{opened}");
    assert!(opened.contains("ESTABLISHED") && opened.contains("10.2.0.12:9000"), "{opened}");
    top.press("\x1b");
    top.wait_for("TCP 10.1.0.100:9001");
    top.press("/9001\r");
    top.wait_until(|screen| screen.contains("filter 9001") && !screen.contains("TCP 10.1.0.100:9000"));
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    assert!(top.is_usual(), "{}", top.contents());
}

fn drains_after_a_question() {
    let lab = lab();
    let _held = lab.client.client().hold(2, SERVICE);
    let mut top = top(&lab.director, "--servers --sort name");
    top.wait_for("10.2.0.11:9000");
    top.press("d");
    top.wait_for("select a server or service first");
    top.press("\x1b[Bd");
    let asked = top.wait_for("[y/N]");
    let command = "ipvsadm-rs drain 10.2.0.11:9000 --in tcp:10.1.0.100:9000\n";
    assert!(asked.contains(command) && asked.contains("Drain 10.2.0.11:9000 in TCP 10.1.0.100:9000?"), "{asked}");
    assert!(top.is_usual(), "{asked}");
    top.press("n\r");
    assert!(top.wait_for("Press enter").contains("nothing was changed"));
    assert!(!lab.director.ok("ipvsadm-save -n").contains("-w 0"));
    top.press("\r");
    top.wait_for("SYN_RECV");
    assert!(!top.is_usual());
    top.press("d");
    top.wait_until(|screen| screen.ends_with("Drain 10.2.0.11:9000 in TCP 10.1.0.100:9000? [y/N] "));
    top.press("y\r");
    let drained = top.wait_for("draining 1 server in 1 service: 1 active, 0 inactive connections left");
    assert!(!drained.contains("error"), "{drained}");
    top.press("\r");
    top.wait_for("SYN_RECV");
    // The screen of 80 columns has no column STATE here.
    top.press("\r");
    top.wait_until(|screen| words(screen, "10.2.0.11:9000").get(1..3) == Some(&["draining", "0"]));
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    assert!(lab.director.ok("ipvsadm-rs history").contains(" drain "));
    lab.director.ok("ipvsadm-rs undrain 10.2.0.11");
    assert!(!lab.director.ok("ipvsadm-save -n").contains("-w 0"));
}

/// `top` reads 1024 bytes at once, and the others stay in the terminal.
fn pasted_text_answers_no_question() {
    director(WEB);
    let before = rules();
    let mut top = top_here("--servers --sort name");
    top.wait_for("10.0.0.1:8080");
    top.press("\x1b[B");
    // Otherwise it may read this key together with the others.
    std::thread::sleep(Duration::from_secs(1));
    top.press(&format!("{}dy\n", "x".repeat(1023)));
    top.wait_for("[y/N]");
    top.press("n\r");
    let answered = top.wait_for("Press enter");
    assert!(answered.contains("nothing was changed"), "{answered}");
    assert_eq!(rules(), before);
    top.press("\r");
    top.wait_until(|screen| !screen.contains("Press enter"));
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

/// If clients would be refused, the verb asks a second question.
fn asks_as_drain_does() {
    director(&WEB.replace("-s wrr", "-s sh"));
    let before = rules();
    let mut top = top_here("");
    top.wait_for("TCP 192.0.2.1:80");
    top.press("\x1b[B\r\x1b[Bd");
    top.wait_for("Drain 10.0.0.");
    top.press("y\r");
    let asked = top.wait_for("Drain anyway? [y/N]");
    assert!(asked.contains("sh refuses the new clients of a server with weight 0"), "{asked}");
    top.press("\r");
    assert!(top.wait_for("Press enter").contains("error: nothing was changed"));
    assert_eq!(rules(), before);
    // A signal ends the program as usual while the screen is left.
    kill_process(top.pid(), Signal::TERM).unwrap();
    assert_eq!(top.end().signal(), Some(Signal::TERM.as_raw()));
    assert!(top.is_usual(), "{}", top.contents());
}

fn signals_restore_the_terminal() {
    director(WEB);
    for signal in [Signal::INT, Signal::QUIT, Signal::TERM, Signal::HUP, Signal::USR1, Signal::XCPU] {
        let mut top = top_here("");
        top.wait_for("TCP 192.0.2.1:80");
        assert!(!top.is_usual());
        kill_process(top.pid(), signal).unwrap();
        assert_eq!(top.end().signal(), Some(signal.as_raw()));
        assert!(top.is_usual(), "{signal:?}: {}", top.contents());
    }
    // In raw mode, ^C is a key.
    let mut top = top_here("");
    top.wait_for("TCP 192.0.2.1:80");
    top.press("\x03");
    assert_eq!(top.end().code(), Some(0));
    assert!(top.is_usual(), "{}", top.contents());
}

fn continues_after_a_stop() {
    director(WEB);
    let mut top = top_here("");
    top.wait_for("TCP 192.0.2.1:80");
    for stop in [Signal::TSTP, Signal::STOP] {
        kill_process(top.pid(), stop).unwrap();
        let stat = format!("/proc/{}/stat", top.pid().as_raw_nonzero());
        ipvs_tests::wait::until(Duration::from_secs(30), || {
            let state = std::fs::read_to_string(&stat).unwrap();
            if state.contains(") T ") { Ok(()) } else { Err(state) }
        });
        if stop == Signal::TSTP {
            std::thread::sleep(Duration::from_millis(200));
            assert!(top.is_usual(), "{}", top.contents());
        }
        kill_process(top.pid(), Signal::CONT).unwrap();
        top.wait_for("TCP 192.0.2.1:80");
        top.press("?");
        top.wait_for("press any key");
        top.press("x");
        top.wait_until(|screen| !screen.contains("press any key"));
        assert!(!top.is_usual());
    }
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    assert!(top.is_usual());
}

fn follows_the_size_of_the_terminal() {
    director(WEB);
    let mut top = top_here("");
    assert!(!top.wait_for("BIT/S").contains("BIT/S OUT"));
    top.resize(40, 130).unwrap();
    top.wait_until(|screen| screen.contains("BIT/S OUT"));
    top.resize(3, 20).unwrap();
    top.wait_until(|screen| screen.contains("CONN/S") && !screen.contains("BIT/S OUT"));
    top.resize(24, 80).unwrap();
    top.wait_for("TCP 192.0.2.1:80");
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
}

fn reports_a_table_that_cannot_be_read() {
    director("");
    let mut top = top_here("");
    top.wait_for("nothing to show");
    // Otherwise its next reading would load the module again.
    kill_process(top.pid(), Signal::STOP).unwrap();
    let unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
    kill_process(top.pid(), Signal::CONT).unwrap();
    top.wait_for("cannot read the IPVS version: the kernel has no IPVS");
    drop(unloaded);
    top.wait_until(|screen| !screen.contains("cannot read"));
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    let unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
    let mut failed = top_here("");
    assert_eq!(failed.end().code(), Some(1));
    assert!(failed.is_usual() && failed.contents().contains("modprobe ip_vs"), "{}", failed.contents());
    drop(unloaded);
}

fn prints_one_interval() {
    director(&format!("{WEB}-A -f 7 -s rr\n"));
    let text = ok("ipvsadm-rs top --once --sort name");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("SERVICE ") && lines[0].ends_with("PROBLEM"), "{text}");
    assert!(lines[1].starts_with("TCP 192.0.2.1:80  2/2 "), "{text}");
    assert!(lines[2].starts_with("FWM 7 ") && lines[2].ends_with("no servers"), "{text}");
    assert_eq!(lines[4..6], ["2 services, 2 servers: 1 problem", "0 active, 0 inactive connections, 0 SYN_RECV"]);
    assert!(lines[6].starts_with("0 connections/s, 0 bits/s in, 0 bits/s out, measured over "), "{text}");
    // Without --once, a pipe gets the same.
    assert_eq!(ok("ipvsadm-rs top --sort name").lines().next(), Some(lines[0]));
    assert!(
        ok("ipvsadm-rs top --servers --server 10.0.0.2").lines().nth(1).unwrap().starts_with("10.0.0.2:8080  TCP ")
    );
    let coloured = ok("ipvsadm-rs top --once --color always --problems");
    assert!(coloured.contains("\u{1b}[1m\u{1b}[31mFWM 7"), "{coloured:?}");
    let refused = shell("ipvsadm-rs top udp");
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused}");
    assert!(refused.stderr.contains("error: no service udp"), "{refused}");
    // A terminal that cannot move the cursor.
    let dumb = shell("script -qec 'stty cols 80; TERM=dumb ipvsadm-rs top' /dev/null < /dev/null").stdout;
    assert!(dumb.contains("TCP 192.0.2.1:80") && !dumb.contains('\u{1b}'), "{dumb:?}");
}

fn prints_json_lines() {
    director(WEB);
    let ran = shell("{ ipvsadm-rs top --json-lines; echo $? > status; } | head -n 2").ok();
    let lines: Vec<Value> = ran.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    // On a slow machine, intervals are longer.
    assert_eq!(lines[1]["seconds"].as_f64().map(|seconds| seconds % 2.0), Some(0.0));
    assert_eq!(lines[1]["services"][0]["servers"], 2);
    assert_eq!(lines[1]["services"][0]["per_second"]["connections"], 0.0);
    ipvs_tests::wait::until(Duration::from_secs(60), || match std::fs::read_to_string("status") {
        Ok(status) if status == "0\n" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let once: Value = serde_json::from_str(&ok("ipvsadm-rs top --json-lines --once --servers")).unwrap();
    assert_eq!(once["servers"].as_array().map(Vec::len), Some(2), "{once}");
}

/// 10,000 services, some of which are added and deleted all the time, and 500 services of 20 servers.
fn large_tables_that_change() {
    director("");
    let key = |number: u32| ServiceKey::tcp([192, 0, (2 + number / 200) as u8, (number % 200) as u8], 80);
    let service = |number: u32| Service::new(key(number), Scheduler::RR);
    let mut writer = Client::open().unwrap();
    let changes: Vec<Change> = (0..10_000).map(|number| Change::AddService(service(number))).collect();
    writer.submit(&changes).unwrap().into_result().unwrap();
    let mut top = top_here("");
    let change = || {
        for number in 20_000..20_050 {
            writer.add_service(&service(number)).unwrap();
        }
        for number in 20_000..20_050 {
            writer.delete_service(&key(number)).unwrap();
        }
    };
    repeat_while(change, || {
        // Before Linux 7.1, a list lacks services while others are deleted.
        top.wait_until(|screen| {
            let number = screen.split_once(" services, 0 servers").and_then(|(number, _)| number.parse().ok());
            number.is_some_and(|number| (9_000..=10_050).contains(&number))
        });
        top.wait_for("CONN/S 0 ");
        top.press("\x1b[F");
        top.wait_until(|screen| screen.lines().count() == 24);
        top.press("q");
        assert_eq!(top.end().code(), Some(0));
    });
    ok("ipvsadm -C");
    let mut rules = String::new();
    for number in 0..500 {
        let address = format!("192.0.{}.{}:80", 2 + number / 200, number % 200);
        writeln!(rules, "-A -t {address} -s wlc").unwrap();
        for server in 1..=20 {
            writeln!(rules, "-a -t {address} -r 10.0.{}.{server} -m", number % 200).unwrap();
        }
    }
    director(&rules);
    let mut top = top_here("--servers");
    top.wait_for("10000 servers");
    top.press("/10.0.7.20:\r");
    top.wait_for("3 servers, filter 10.0.7.20:");
    top.press("q");
    assert_eq!(top.end().code(), Some(0));
    let once: Value = serde_json::from_str(&ok("ipvsadm-rs top --json-lines --once --servers")).unwrap();
    assert_eq!(once["servers"].as_array().map(Vec::len), Some(10_000));
}
