//! `ipvsadm-rs metrics --listen`.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use ipvs_tests::command::{Running, ok, run, start};
use ipvs_tests::guest::modules;
use ipvs_tests::lab::topology::Nat;
use ipvs_tests::wait;
use rustix::process::{Resource, Rlimit, Signal, kill_process, prlimit};

use super::{Values, numbers, values};
use crate::under_test;
use crate::verbs::{WEB, director};

ipvs_tests::tests! {
    serves_the_table_without_root;
    serves_another_namespace;
    serves_a_socket_in_the_file_system;
    survives_hostile_clients;
    serves_while_no_thread_can_be_started;
    counts_failed_readings, own_kernel = true;
    refuses_addresses_that_are_in_use;
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A program that listens.
pub(crate) struct Server {
    running: Running,
    pub(crate) address: String,
}

impl Server {
    /// Starts the program with these options, and waits until it listens.
    pub(crate) fn start(options: &str) -> Self {
        let running = start(&format!("ipvsadm-rs metrics {options}"));
        let address = wait::until(PATIENCE, || {
            let output = running.output();
            let address = output.lines().find_map(|line| line.strip_prefix("listening on ")).map(str::to_owned);
            address.ok_or(output)
        });
        Self { running, address }
    }

    /// Scrapes the metrics.
    pub(crate) fn scrape(&self) -> Values {
        values(&get(&mut TcpStream::connect(&self.address).unwrap()))
    }

    /// Returns the lines of `/proc/PID/task/TID/status` with these names, of all threads.
    fn status(&self, names: &[&str]) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.running.pid().as_raw_nonzero())).unwrap();
        let texts = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default());
        let is_wanted = |line: &&str| line.split_once(':').is_some_and(|(name, _)| names.contains(&name));
        texts
            .flat_map(|text| text.lines().filter(is_wanted).map(str::to_owned).collect::<Vec<_>>())
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    }
}

/// Requests the metrics, and returns the body of the reply.
pub(crate) fn get(stream: &mut (impl Read + Write)) -> String {
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{reply:?}"));
    assert_eq!(head.split(' ').nth(1), Some("200"), "{head}");
    body.to_owned()
}

/// Returns the values without those of the scrape itself.
fn of_the_table(mut values: Values) -> Values {
    values.retain(|series, _| !series.starts_with("ipvs_scrape_"));
    values
}

fn serves_the_table_without_root() {
    director(WEB);
    let server = Server::start("--listen 127.0.0.1:0");
    assert_eq!(of_the_table(server.scrape()), of_the_table(values(&ok("ipvsadm-rs metrics"))));
    // 1000 is CAP_NET_ADMIN. A thread that reads the kernel may have ended meanwhile.
    let mut status = server.status(&["Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs"]);
    status.sort();
    status.dedup();
    assert_eq!(
        status,
        [
            "CapAmb: 0000000000000000",
            "CapEff: 0000000000001000",
            "CapInh: 0000000000000000",
            "CapPrm: 0000000000001000",
            "Gid: 65534 65534 65534 65534",
            "Groups:",
            "NoNewPrivs: 1",
            "Uid: 65534 65534 65534 65534",
        ]
    );

    ok("ipvsadm -e -t 192.0.2.1:80 -r 10.0.0.2:8080 -m -w 0");
    ok("ipvsadm -A -f 7 -s rr");
    wait::until(PATIENCE, || {
        let values = server.scrape();
        let seen = numbers(&values, ["ipvs_services", "ipvs_servers{state=\"drained\"}"], "");
        if seen == [2, 1] { Ok(()) } else { Err(format!("{values:#?}")) }
    });
    // A service manager ends it with this signal.
    kill_process(server.running.pid(), Signal::TERM).unwrap();
    let mut running = server.running;
    wait::until(PATIENCE, || if running.is_running() { Err("it still runs".into()) } else { Ok(()) });
}

fn serves_another_namespace() {
    let nat = Nat::new().unwrap();
    under_test::install();
    for command in ["ipvsadm -A -t 10.1.0.100:80 -s rr", "ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11 -m"] {
        nat.director.ok(command);
    }
    // The socket is that of this namespace, and the table that of the director.
    let server = Server::start("--listen 127.0.0.1:0 --netns director");
    let first = server.scrape();
    assert_eq!(first["ipvs_servers{state=\"up\"}"], "1");
    assert!(first.contains_key("ipvs_connections_total"), "{first:#?}");
    // Without CAP_SYS_ADMIN, no namespace can be entered any more.
    nat.director.ok("ipvsadm -C");
    wait::until(PATIENCE, || {
        let values = server.scrape();
        if values["ipvs_services"] == "0" && values["ipvs_up"] == "1" { Ok(()) } else { Err(format!("{values:#?}")) }
    });
}

fn serves_a_socket_in_the_file_system() {
    director(WEB);
    for _ in 0..2 {
        // The second one replaces the socket of the first.
        let server = Server::start("--listen unix:socket --detail totals");
        assert_eq!(server.address, "unix:socket");
        let reply = get(&mut UnixStream::connect("socket").unwrap());
        assert!(reply.contains("\nipvs_services 1\n"), "{reply}");
    }
}

fn survives_hostile_clients() {
    director(WEB);
    let mut server = Server::start("--listen 127.0.0.1:0");
    let connect = || TcpStream::connect(&server.address).unwrap();
    let _idle: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
    let mut texts: Vec<Vec<u8>> = ["GET /metrics", "POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nx"]
        .map(|text| text.as_bytes().to_vec())
        .into();
    texts.push(vec![0xff; 100_000]);
    texts.push(b"GET / HTTP/1.1\r\n".iter().copied().chain((0..100_000).map(|_| b'x')).collect());
    texts.push(b"GET /metrics HTTP/1.1\r\n\r\n".repeat(1000));
    let mut streams = Vec::new();
    for text in &texts {
        let mut stream = connect();
        // The server may close the connection before everything is sent.
        let _ = stream.write_all(text);
        streams.push(stream);
    }
    // A scrape is served at once, although the other clients keep their connections.
    assert_eq!(server.scrape()["ipvs_up"], "1");
    drop(streams);
    assert_eq!(server.scrape()["ipvs_up"], "1");
    assert!(server.running.is_running());
    assert_eq!(server.running.output().lines().count(), 1, "{}", server.running.output());
}

/// Other processes of the user nobody can use up the limit of its processes.
fn serves_while_no_thread_can_be_started() {
    director(WEB);
    let mut server = Server::start("--listen 127.0.0.1:0");
    assert_eq!(server.scrape()["ipvs_up"], "1");
    let one = Rlimit { current: Some(1), maximum: Some(1) };
    prlimit(Some(server.running.pid()), Resource::Nproc, one).unwrap();
    // A thread that has nothing to do could end after 10 seconds.
    std::thread::sleep(Duration::from_secs(12));
    assert_eq!(server.scrape()["ipvs_up"], "1");
    assert!(server.running.is_running());
}

fn counts_failed_readings() {
    director("");
    let server = Server::start("--listen 127.0.0.1:0 --detail totals");
    assert_eq!(numbers(&server.scrape(), ["ipvs_up", "ipvs_scrape_errors_total"], ""), [1, 0]);
    ok("ipvsadm -C");
    {
        let _unloaded = modules::unload("ip_vs").unwrap().block_loading().unwrap();
        wait::until(PATIENCE, || {
            let values = server.scrape();
            let [up, errors] = numbers(&values, ["ipvs_up", "ipvs_scrape_errors_total"], "");
            assert!(!values.contains_key("ipvs_services") || up == 1, "{values:#?}");
            if up == 0 && errors > 0 { Ok(()) } else { Err(format!("{values:#?}")) }
        });
    }
    // The files of the new module are opened again.
    wait::until(PATIENCE, || {
        let values = server.scrape();
        let is_up = values["ipvs_up"] == "1" && values.contains_key("ipvs_connections_total");
        if is_up { Ok(()) } else { Err(format!("{values:#?}")) }
    });
}

fn refuses_addresses_that_are_in_use() {
    director("");
    let server = Server::start("--listen 127.0.0.1:0");
    let ran = run(&format!("ipvsadm-rs metrics --listen {}", server.address));
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.starts_with(&format!("error: cannot listen on {}: ", server.address)), "{ran}");
    let ran = run("ipvsadm-rs metrics --listen systemd");
    assert_eq!(ran.code, Some(1), "{ran}");
    assert!(ran.stderr.starts_with("error: systemd passed no socket\n"), "{ran}");
    for options in ["--listen 10580", "--listen unix:", "--listen 127.0.0.1:1 --textfile x.prom"] {
        assert_eq!(run(&format!("ipvsadm-rs metrics {options}")).code, Some(1), "{options}");
    }
}
