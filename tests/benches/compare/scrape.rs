//! Prints the metrics of a table, and scrapes them from a server. The reference lists counters, which collectors read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipvs_tests::harness::Test;

use crate::figures::{self, Kind};
use crate::programs::Program;
use crate::rules::{self, Size};
use crate::{namespace, time};

const SIZE: Size = Size { services: 1000, servers: 10 };

/// The time for which the server uses a reading again, and a bit more.
const LIFETIME: Duration = Duration::from_millis(1100);

pub(crate) fn jobs() -> Vec<Test> {
    vec![Test::new(format!("scrape {SIZE}"), measure)]
}

fn measure() -> Result<()> {
    let text = rules::text(SIZE);
    let [once, scrape] = ["metrics", "scrape"].map(|task| format!("{task} {SIZE}"));
    namespace::fresh(|| {
        time::take_time(Program::Ours.command().arg("-R"), &text)?;
        let server = Server::start()?;
        for _ in 0..3 {
            let (took, _) = time::take_time(Program::Reference.command().args(["-Ln", "--stats", "--exact"]), "")?;
            for task in [&once, &scrape] {
                figures::print(Kind::Whole, task, Program::Reference, took.as_nanos() as u64);
            }
            time::run(&once, Program::Ours, &["metrics"], "")?;
            std::thread::sleep(LIFETIME);
            figures::print(Kind::Whole, &scrape, Program::Ours, server.scrape()?.as_nanos() as u64);
        }
        Ok(())
    })
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

    fn scrape(&self) -> Result<Duration> {
        let start = Instant::now();
        let mut stream = TcpStream::connect(&self.address)?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply)?;
        let took = start.elapsed();
        let servers = (SIZE.services * SIZE.servers) as usize;
        ensure!(reply.len() > servers * 100, "{} bytes", reply.len());
        Ok(took)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
