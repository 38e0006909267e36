//! The HTTP server.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use super::address::Listener;
use super::connections::{Connections, Peer};
use super::reader::{Reader, Readings};
use crate::terminal::exit::print_error;

/// The limits of time for a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For the head of the request.
    head: Duration,
    /// For everything. The default timeout of a scrape is 10 seconds.
    whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head: Duration::from_secs(5), whole: Duration::from_secs(20) }
    }
}

/// The size of the buffer for the head of a request, in bytes.
const BUFFER: usize = 16 * 1024;
/// The number of lines in the head of a request.
const HEADERS: usize = 64;
/// The MIME type of the text format.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

type Reply = Response<Full<Bytes>>;

/// Serves until a signal ends the process.
pub(super) fn run(listeners: Vec<Listener>, reader: Reader, limits: Limits) -> anyhow::Result<()> {
    // Process 1 of a container ignores signals that it does not handle.
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 0, Arc::new(AtomicBool::new(true)))?;
    }
    const FAILED: &str = "cannot start the server";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().context(FAILED)?;
    let readings = Arc::new(Readings::start(reader).context(FAILED)?);
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for listener in listeners {
            tasks.push(tokio::spawn(accept(listener.into_async()?, Arc::clone(&readings), limits)));
        }
        for task in tasks {
            task.await.context("the server has failed")?;
        }
        Ok(())
    })
}

enum AsyncListener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn into_async(self) -> io::Result<AsyncListener> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(AsyncListener::Tcp)
            }
            Self::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(AsyncListener::Unix)
            }
        }
    }
}

/// Accepts connections, and serves each of them in a task.
async fn accept(listener: AsyncListener, readings: Arc<Readings>, limits: Limits) {
    /// Without free descriptors, accepting fails at once, again and again.
    const PAUSE: Duration = Duration::from_millis(100);
    let mut connections = Connections::default();
    let mut was_reported = false;
    loop {
        let readings = Arc::clone(&readings);
        let accepted = match &listener {
            AsyncListener::Tcp(listener) => {
                let accepted = listener.accept().await;
                accepted.map(|(stream, peer)| connections.start(peer.ip().into(), serve(stream, readings, limits)))
            }
            AsyncListener::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                let user = stream.peer_cred().ok().map(|credentials| credentials.uid());
                connections.start(Peer::User(user), serve(stream, readings, limits))
            }),
        };
        if let Err(error) = accepted {
            if !was_reported {
                print_error(&format!("warning: cannot accept a connection: {error}"));
            }
            was_reported = true;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Serves one request of a connection, and closes it. Errors are those of the client, and are ignored.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, readings: Arc<Readings>, limits: Limits) {
    let service = service_fn(|request: Request<Incoming>| {
        let readings = Arc::clone(&readings);
        async move { Ok::<_, Infallible>(reply(&request, &readings).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(limits.whole, connection).await;
}

async fn reply<B>(request: &Request<B>, readings: &Readings) -> Reply {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed\n");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match request.uri().path() {
        "/metrics" => match readings.text().await {
            text if text.is_empty() => plain(StatusCode::SERVICE_UNAVAILABLE, "the table cannot be read\n"),
            text => with_type(StatusCode::OK, METRICS, text),
        },
        "/" => plain(StatusCode::OK, "ipvsadm-rs: the metrics are at /metrics\n"),
        _ => plain(StatusCode::NOT_FOUND, "not found: the metrics are at /metrics\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Reply {
    with_type(status, PLAIN, Bytes::from_static(text.as_bytes()))
}

fn with_type(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use ipvs::Error;

    use super::*;
    use crate::file::testing::Place;
    use crate::verbs::metrics::scrape::{Detail, Options};
    use crate::verbs::metrics::{Prefix, tests};

    /// Time after which a test fails.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A server, and the number of its readings. It runs until the end of the test process.
    struct Server {
        address: SocketAddr,
        readings: Arc<AtomicUsize>,
    }

    impl Server {
        fn start(limits: Limits) -> Self {
            let readings = Arc::new(AtomicUsize::new(0));
            Self { address: listen(reader(Arc::clone(&readings)), limits), readings }
        }

        fn connect(&self) -> TcpStream {
            let stream = TcpStream::connect(self.address).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream
        }

        /// Sends a request. Returns the reply, up to the end of the connection.
        fn reply(&self, request: &str) -> String {
            let mut stream = self.connect();
            stream.write_all(request.as_bytes()).expect("sent");
            reply_of(&mut stream)
        }
    }

    /// Serves readings at an address, until the end of the test process.
    fn listen(reader: Reader, limits: Limits) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || run(vec![Listener::Tcp(listener)], reader, limits));
        address
    }

    /// Connects from another address of this machine.
    fn connect_from(source: &str, address: SocketAddr) -> TcpStream {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::new(source.parse().expect("an address"), 0)).expect("an address");
        connect(&socket, &address).expect("a connection");
        socket.into()
    }

    /// Returns a reader of a table that is large enough to fill the buffers of a connection.
    fn reader(readings: Arc<AtomicUsize>) -> Reader {
        let options = Options { prefix: Prefix::Ipvs, detail: Detail::Servers, max_series: 0, only: Vec::new() };
        Reader::new(options, move || {
            readings.fetch_add(1, Ordering::SeqCst);
            let mut reading = tests::reading();
            for _ in 0..12 {
                let servers = &mut reading.services[0].servers;
                servers.extend(servers.clone());
            }
            (Ok::<_, Error>(reading), Duration::ZERO)
        })
    }

    /// Reads up to the end of a connection, which may be a reset.
    fn reply_of(stream: &mut impl Read) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = stream.read_to_end(&mut bytes) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "not closed by the server");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    const SCRAPE: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn replies() {
        let server = Server::start(Limits::default());
        let reply = server.reply(SCRAPE);
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
        assert!(body.contains("\nipvs_up 1\n") && body.contains("\nipvs_scrape_errors_total 0\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        for (request, status, part) in [
            ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200", "content-length"),
            ("GET /metrics HTTP/1.0\r\n\r\n", "200", "ipvs_up 1"),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "200", "/metrics"),
            ("GET /metrics/../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404", "not found"),
            ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "405", "allow: GET, HEAD"),
            ("GET /metrics HTTP/9\r\n\r\n", "400", ""),
            ("\x16\x03\x01\x02", "400", ""),
        ] {
            let reply = server.reply(request);
            let is_expected = reply.get(9..12) == Some(status) && reply.contains(part);
            assert!(is_expected, "{request:?}: {}", &reply[..reply.len().min(500)]);
        }
    }

    #[test]
    fn scrapes_that_come_together_share_a_reading() {
        let server = Server::start(Limits::default());
        thread::scope(|scope| {
            let scrapes: Vec<_> = (0..8).map(|_| scope.spawn(|| server.reply(SCRAPE))).collect();
            for scrape in scrapes {
                assert!(scrape.join().expect("a reply").contains("ipvs_up 1\n"));
            }
        });
        let readings = server.readings.load(Ordering::SeqCst);
        assert!(readings < 8, "{readings} readings for 8 scrapes");
        // A later scrape has a reading of its own.
        let end = Instant::now() + PATIENCE;
        while server.readings.load(Ordering::SeqCst) == readings {
            assert!(Instant::now() < end, "no new reading");
            server.reply(SCRAPE);
        }
    }

    #[test]
    fn slow_clients_are_disconnected() {
        let limits = Limits { head: Duration::from_millis(300), whole: Duration::from_millis(600) };
        let server = Server::start(limits);
        // One sends nothing, one a part of a head, and one reads nothing.
        let mut silent = server.connect();
        let mut partial = server.connect();
        partial.write_all(b"GET /metrics HTTP/1.1\r\n").expect("sent");
        let mut deaf = server.connect();
        deaf.write_all(SCRAPE.as_bytes()).expect("sent");
        for stream in [&mut silent, &mut partial] {
            assert!(!reply_of(stream).contains("ipvs_up"));
        }
        thread::sleep(limits.whole * 4);
        let reply = reply_of(&mut deaf);
        let length = reply.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        let whole = server.reply(SCRAPE).split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        assert!(length < whole, "{length} of {whole} bytes were sent to a client that does not read");
    }

    #[test]
    fn idle_connections_do_not_lock_out_others() {
        let server = Server::start(Limits::default());
        let idle: Vec<TcpStream> = (0..300).map(|_| server.connect()).collect();
        assert!(server.reply(SCRAPE).contains("ipvs_up 1\n"));
        drop(idle);
    }

    /// A host that opens connections without end does not lock out others, although a reading takes a while.
    #[test]
    fn many_connections_of_another_host_do_not_end_a_scrape() {
        let options = Options { prefix: Prefix::Ipvs, detail: Detail::Totals, max_series: 0, only: Vec::new() };
        let (start, started) = mpsc::channel();
        let slow = Reader::new(options, move || {
            let _ = start.send(());
            thread::sleep(Duration::from_secs(1));
            (Ok(tests::reading()), Duration::ZERO)
        });
        let mut stream = TcpStream::connect(listen(slow, Limits::default())).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(SCRAPE.as_bytes()).expect("sent");
        started.recv_timeout(PATIENCE).expect("a reading");
        let address = stream.peer_addr().expect("an address");
        let _flood: Vec<TcpStream> = (0..300).map(|_| connect_from("127.0.0.2", address)).collect();
        assert!(reply_of(&mut stream).contains("ipvs_up 1\n"));
    }

    #[test]
    fn large_heads_are_refused() {
        let server = Server::start(Limits::default());
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(BUFFER * 4));
        let many = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(HEADERS * 2));
        for request in [long, many] {
            let mut stream = server.connect();
            // The server may close the connection before everything is sent.
            let _ = stream.write_all(request.as_bytes());
            let reply = reply_of(&mut stream);
            assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 431 "), "{reply}");
        }
        assert!(server.reply(SCRAPE).contains("ipvs_up 1\n"));
    }

    #[test]
    fn unix_sockets() {
        let place = Place::new("server");
        let path = place.path().join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
        thread::spawn(move || run(vec![Listener::Unix(listener)], reader(Arc::default()), Limits::default()));
        let mut stream = UnixStream::connect(&path).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(SCRAPE.as_bytes()).expect("sent");
        assert!(reply_of(&mut stream).contains("ipvs_up 1\n"));
    }
}
