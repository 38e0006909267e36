//! A web server for tests, which follows a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::file::limit::Limit;
use crate::store::{Location, Snapshot, Store, StoreArguments, Times, open_with};

/// A request that is expected, and its response.
pub(super) struct Step {
    /// Texts that the request contains, in its head or its body. A text that begins with `!` must not be in it.
    expected: Vec<String>,
    answer: Vec<u8>,
    /// The time before the connection is closed.
    hold: Duration,
}

/// Returns a step with a whole response. `head` is the status and further headers.
pub(super) fn step(expected: &[&str], head: &str, body: &str) -> Step {
    let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    raw(expected, answer.as_bytes())
}

/// Returns a step with a stream of lines that does not end for `hold`.
pub(super) fn stream(expected: &[&str], lines: &[&str], hold: Duration) -> Step {
    let mut answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_owned();
    for line in lines {
        answer.push_str(&format!("{:x}\r\n{line}\n\r\n", line.len() + 1));
    }
    Step { hold, ..raw(expected, answer.as_bytes()) }
}

/// Returns a step with these bytes.
pub(super) fn raw(expected: &[&str], answer: &[u8]) -> Step {
    let expected = expected.iter().map(|text| (*text).to_owned()).collect();
    Step { expected, answer: answer.to_owned(), hold: Duration::ZERO }
}

/// A server on a port of its own.
pub(super) struct Server {
    pub(super) address: String,
    thread: JoinHandle<()>,
}

impl Server {
    /// Starts a server that expects these requests, in this order, each on a connection of its own.
    pub(super) fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let thread = std::thread::spawn(move || {
            for (number, step) in steps.into_iter().enumerate() {
                let (stream, _) = listener.accept().expect("a connection");
                serve(stream, number, step);
            }
        });
        Self { address, thread }
    }

    /// Waits until all requests were received. Panics if one was different.
    pub(super) fn end(self) {
        self.thread.join().expect("the expected requests");
    }
}

fn serve(stream: TcpStream, number: usize, step: Step) {
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let mut reader = BufReader::new(&stream);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let start = request.len();
        assert!(reader.read_line(&mut request).expect("a request") > 0, "no request {number}");
        let line = request[start..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    request.push_str(&String::from_utf8_lossy(&body));
    for expected in &step.expected {
        let is_right = match expected.strip_prefix('!') {
            Some(absent) => !request.to_ascii_lowercase().contains(&absent.to_ascii_lowercase()),
            None => request.to_ascii_lowercase().contains(&expected.to_ascii_lowercase()),
        };
        assert!(is_right, "request {number} does not match {expected:?}:\n{request}");
    }
    // The client may have closed the connection already.
    let _ = (&stream).write_all(&step.answer);
    std::thread::sleep(step.hold);
}

/// Time limits for tests.
pub(super) fn times() -> Times {
    Times {
        connect: Duration::from_secs(2),
        request: Duration::from_secs(4),
        wait: Duration::from_secs(1),
        pause: Duration::from_millis(10),
        look: Duration::from_millis(100),
    }
}

/// Opens a store with a limit of 100,000 bytes.
pub(super) fn open(location: &str, arguments: &StoreArguments) -> Box<dyn Store> {
    let location: Location = location.parse().expect(location);
    let limit: Limit = "100000".parse().expect("a limit");
    open_with(&location, arguments, limit, times()).expect("a store")
}

/// Returns the revision, and the documents as `name=contents`.
pub(super) fn shown(snapshot: &Snapshot) -> String {
    let documents = snapshot.documents.iter();
    let documents = documents.map(|found| format!(" {}={}", found.name, String::from_utf8_lossy(&found.bytes)));
    format!("{}:{}", snapshot.revision, documents.collect::<String>())
}

/// Returns the next documents as text, `-` if nothing has changed, or the error.
pub(super) fn next(store: &mut dyn Store) -> String {
    match store.next() {
        Ok(Some(snapshot)) => shown(&snapshot),
        Ok(None) => "-".into(),
        Err(error) => format!("{error:#}"),
    }
}
