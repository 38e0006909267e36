//! A stand-in for Consul, because no Debian package has it. It follows the documented rules of the key-value store:
//! <https://developer.hashicorp.com/consul/api-docs/kv>,
//! <https://developer.hashicorp.com/consul/api-docs/features/blocking>

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A cluster: the state that all of its servers have.
#[derive(Clone, Default)]
pub(super) struct Consul(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Default)]
pub(super) struct State {
    index: u64,
    /// The values, and the index of the last change of each.
    keys: BTreeMap<String, (Vec<u8>, u64)>,
    /// The number of times that a backup was restored.
    restored: u64,
    /// The tokens that can read and write. `None`: everybody can.
    tokens: Option<Vec<String>>,
    /// The requests that were answered: method and target.
    requests: Vec<String>,
}

/// A server of the cluster.
pub(super) struct Server {
    listener: TcpListener,
    connections: Arc<Mutex<Vec<TcpStream>>>,
}

impl Consul {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no panic in a server")
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.0.changed.notify_all();
        changed
    }

    pub(super) fn put(&self, key: &str, value: &str) {
        self.change(|state| state.put(key, value.as_bytes().to_owned()));
    }

    pub(super) fn delete(&self, key: &str) {
        self.change(|state| {
            state.index += 1;
            state.keys.remove(key);
        });
    }

    /// Returns the value of a key.
    pub(super) fn value(&self, key: &str) -> String {
        let state = self.state();
        let value = state.keys.get(key).map(|(value, _)| value.as_slice());
        String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
    }

    /// Returns a backup.
    pub(super) fn backup(&self) -> State {
        self.state().clone()
    }

    /// Restores a backup. Its index is lower. All blocking queries are answered.
    pub(super) fn restore(&self, backup: State) {
        self.change(|state| {
            let restored = state.restored + 1;
            *state = State { restored, requests: std::mem::take(&mut state.requests), ..backup };
        });
    }

    /// Lets only the owners of these tokens read and write.
    pub(super) fn allow(&self, tokens: &[&str]) {
        let tokens = tokens.iter().map(|token| (*token).to_owned()).collect();
        self.change(|state| state.tokens = Some(tokens));
    }

    /// Returns the requests since the last call.
    pub(super) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().requests)
    }

    /// Starts a server at an address.
    pub(super) fn serve(&self, address: &str) -> Server {
        let listener = TcpListener::bind(address).expect(address);
        let connections: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (consul, copy, known) = (self.clone(), listener.try_clone().expect("a copy"), connections.clone());
        thread::spawn(move || {
            while let Ok((stream, _)) = copy.accept() {
                known.lock().expect("a list").push(stream.try_clone().expect("a copy"));
                let consul = consul.clone();
                thread::spawn(move || consul.converse(&stream));
            }
        });
        Server { listener, connections }
    }

    /// Answers the requests of a connection.
    fn converse(&self, mut stream: &TcpStream) -> Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head)? == 0 {
                    return Ok(());
                }
            }
            let header = |name: &str| {
                let mut headers = head.lines().filter_map(|line| line.split_once(':'));
                headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
            };
            let length = header("content-length").map_or(0, |length| length.parse().expect("a length"));
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let mut words = head.split(' ');
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (status, index, body) = self.answer(method, target, header("x-consul-token"), body);
            self.state().requests.push(format!("{method} {target}"));
            let length = body.len();
            let index = index.map(|index| format!("X-Consul-Index: {index}\r\nX-Consul-Knownleader: true\r\n"));
            let index = index.unwrap_or_default();
            write!(stream, "HTTP/1.1 {status}\r\n{index}Content-Length: {length}\r\n\r\n{body}")?;
        }
    }

    /// Returns status, index and body.
    fn answer(
        &self,
        method: &str,
        target: &str,
        token: Option<&str>,
        body: Vec<u8>,
    ) -> (&'static str, Option<u64>, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some(key) = path.strip_prefix("/v1/kv/").map(decoded) else {
            return ("404 Not Found", None, String::new());
        };
        let tokens = self.state().tokens.clone();
        let known = |token: &str| tokens.as_ref().is_none_or(|tokens| tokens.iter().any(|known| known == token));
        if token.is_some_and(|token| !known(token)) {
            return ("403 Forbidden", None, "ACL not found".to_owned());
        }
        // Without a token, a request is anonymous.
        let is_allowed = token.is_some() || tokens.is_none();
        match method {
            "PUT" if !is_allowed => {
                let reason = format!("Permission denied: anonymous token lacks permission 'key:write' on \"{key}\"");
                ("403 Forbidden", None, reason)
            }
            "PUT" => {
                self.change(|state| state.put(&key, body));
                ("200 OK", None, "true".to_owned())
            }
            "GET" => {
                let (state, index) = self.wait(query);
                let is_found = |name: &str| name == key || query.contains("recurse") && name.starts_with(&key);
                // Of a list, the keys that the token cannot read are left out.
                let found = state.keys.iter().filter(|(name, _)| is_allowed && is_found(name));
                let pairs: Vec<String> = found.map(|(name, (value, index))| pair(name, value, *index)).collect();
                let status = if pairs.is_empty() { "404 Not Found" } else { "200 OK" };
                let body = if pairs.is_empty() { String::new() } else { format!("[{}]", pairs.join(",")) };
                (status, Some(index), body)
            }
            _ => ("405 Method Not Allowed", None, String::new()),
        }
    }

    /// Waits as a blocking query does. Returns the state, and the index for the client.
    fn wait(&self, query: &str) -> (State, u64) {
        let parameter = |name: &str| {
            let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
            parameters.find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let after: u64 = parameter("index").map_or(0, |index| index.parse().expect("an index"));
        let wait = parameter("wait").map_or(Duration::from_secs(300), |wait| {
            Duration::from_millis(wait.strip_suffix("ms").and_then(|wait| wait.parse().ok()).expect("a time in ms"))
        });
        let deadline = Instant::now() + wait + wait / 16;
        let mut state = self.state();
        let restored = state.restored;
        // The index is that of the store. It rises also with changes of other keys, which a client must expect.
        while after > 0 && state.index <= after && state.restored == restored {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.changed.wait_timeout(state, left).expect("no panic in a server").0;
        }
        // Never 0: a client would not wait with it.
        (state.clone(), state.index.max(1))
    }
}

impl State {
    fn put(&mut self, key: &str, value: Vec<u8>) {
        self.index += 1;
        self.keys.insert(key.to_owned(), (value, self.index));
    }
}

impl Server {
    /// Ends the server and its connections.
    pub(super) fn stop(self) {
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
        for stream in self.connections.lock().expect("a list").iter() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pair(key: &str, value: &[u8], index: u64) -> String {
    let value = if value.is_empty() { "null".to_owned() } else { format!("\"{}\"", STANDARD.encode(value)) };
    format!(
        "{{\"LockIndex\":0,\"Key\":{key:?},\"Flags\":0,\"Value\":{value},\"CreateIndex\":1,\"ModifyIndex\":{index}}}"
    )
}

/// Decodes `%2F` and the like.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).expect("two digits");
        decoded.push(char::from(u8::from_str_radix(hex, 16).expect("hexadecimal digits")));
        decoded.push_str(rest);
    }
    decoded
}
