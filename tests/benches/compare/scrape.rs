//! Prints the metrics of a table, and scrapes them from a server. The reference runs in a script that writes some of these
//! metrics: the usual way for a collector of text files.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipvs_tests::harness::Test;
use ipvs_tests::host::reference::Ipvsadm;

use crate::figures::{self, Kind};
use crate::guests::QUICK;
use crate::programs::Program;
use crate::rules::{self, Size};
use crate::{namespace, profile, time};

const SIZE: Size = Size { services: 1000, servers: 10 };
const QUICK_SIZE: Size = Size { services: 100, servers: 5 };

/// The time for which the server uses a reading again, and a bit more.
const LIFETIME: Duration = Duration::from_millis(1100);

/// Prints eight values of each server, from the two listings that have them. Only ours has those of each service, the
/// thresholds, the templates and the states.
const SCRIPT: &str = r#"
ipvsadm -Ln | awk '
    $1 == "->" && $2 != "RemoteAddress:Port" {
        labels = "{service=\"" service "\",server=\"" $2 "\"} "
        print "server_weight" labels $4
        print "server_active" labels $5
        print "server_inactive" labels $6
    }
    $1 != "->" { service = $1 " " $2 }'
ipvsadm -Ln --stats --exact | awk '
    $1 == "->" && $2 != "RemoteAddress:Port" {
        labels = "{service=\"" service "\",server=\"" $2 "\"} "
        print "server_connections_total" labels $3
        print "server_incoming_packets_total" labels $4
        print "server_outgoing_packets_total" labels $5
        print "server_incoming_bytes_total" labels $6
        print "server_outgoing_bytes_total" labels $7
    }
    $1 != "->" { service = $1 " " $2 }'
"#;

pub(crate) fn jobs() -> Vec<Test> {
    let job = |name: &str, size: Size| Test::new(format!("{name}scrape {size}"), move || measure(size));
    vec![job("", SIZE), job(QUICK, QUICK_SIZE)]
}

fn measure(size: Size) -> Result<()> {
    let text = rules::text(size);
    let [once, scrape] = ["metrics", "scrape"].map(|task| format!("{task} {size}"));
    let servers = (size.services * size.servers) as usize;
    namespace::fresh(|| {
        time::take_time(Program::Ours.command().arg("-R"), &text)?;
        let server = Server::start()?;
        for _ in 0..3 {
            let (took, output) = time::take_time(&mut script(), "")?;
            let lines = output.iter().filter(|byte| **byte == b'\n').count();
            ensure!(lines == 8 * servers, "{lines} lines for {servers} servers");
            for task in [&once, &scrape] {
                figures::print(Kind::Whole, task, Program::Reference, took.as_nanos() as u64);
            }
            time::run(&once, Program::Ours, &["metrics"], "")?;
            std::thread::sleep(LIFETIME);
            figures::print(Kind::Whole, &scrape, Program::Ours, server.scrape(servers)?.as_nanos() as u64);
        }
        profile::run(&once, Program::Ours, &["metrics"], "")
    })
}

/// Returns the command of the script.
fn script() -> Command {
    let ipvsadm = Ipvsadm::get();
    let path = format!("{}:/usr/bin:/bin", ipvsadm.dir.display());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SCRIPT]).env("PATH", path).env("LD_LIBRARY_PATH", &ipvsadm.library_path);
    command
}

/// A server of metrics. It is killed when this is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Result<Server> {
        let mut command = Program::Ours.command();
        let mut child = command.args(["metrics", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stderr.take().context("a pipe")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").with_context(|| line.clone())?.to_owned();
        Ok(Server { child, address })
    }

    /// Scrapes the server. The reply must have a line of 100 bytes for each of 13 metrics of a server.
    fn scrape(&self, servers: usize) -> Result<Duration> {
        const LEAST: usize = 1000;
        let start = Instant::now();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
        let (mut part, mut size) = (vec![0; 1 << 16], 0);
        loop {
            match stream.read(&mut part)? {
                0 => break,
                length => size += length,
            }
        }
        let took = start.elapsed();
        ensure!(size > servers * LEAST, "{size} bytes");
        Ok(took)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
