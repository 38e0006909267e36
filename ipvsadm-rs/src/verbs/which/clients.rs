//! The clients to look up.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;

use anyhow::bail;
use ipvs::{Family, ServiceKey};

use crate::file::limit::Limit;
use crate::file::{name_of, read_bytes};
use crate::sight::server_name::address_and_port;
use crate::terminal::text;

/// The maximum number of clients in one run. All answers are in memory.
const MAX: usize = 100_000;

/// A client to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

/// Reads the clients of the options and of the file, without duplicates.
pub(super) fn read(options: &[String], path: Option<&Path>, limit: Limit) -> anyhow::Result<Vec<Wanted>> {
    let mut clients = Vec::new();
    for text in options {
        match wanted(text) {
            Some(client) => clients.push(client),
            None => bail!("invalid client `{}': expected ADDRESS or ADDRESS:PORT", text::escaped(text)),
        }
    }
    if let Some(path) = path {
        let before = clients.len();
        read_file(path, &read_bytes(path, limit)?, &mut clients)?;
        if clients.len() == before {
            bail!("{}: the file contains no clients", name_of(path));
        }
    }
    let mut seen = HashSet::new();
    clients.retain(|client| seen.insert(*client));
    Ok(clients)
}

/// Reads a client on each line. Blank lines and lines that start with `#` are skipped.
fn read_file(path: &Path, bytes: &[u8], clients: &mut Vec<Wanted>) -> anyhow::Result<()> {
    for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some(client) = wanted(line) else {
            let shown: String = line.chars().take(60).collect();
            bail!("{}:{number}: `{}': expected ADDRESS or ADDRESS:PORT", name_of(path), text::escaped(&shown));
        };
        clients.push(client);
        if clients.len() > MAX {
            bail!("{}:{number}: more than {MAX} clients", name_of(path));
        }
    }
    Ok(())
}

fn wanted(text: &str) -> Option<Wanted> {
    let (address, port) = address_and_port(text)?;
    // A client whose address is written as an IPv4-mapped IPv6 address sends IPv4 packets.
    let address = address.to_canonical();
    // Port 0 is no port of a client: the entry is a template.
    (port != Some(0)).then_some(Wanted { address, port })
}

/// Fails if a client is not of the family of the service.
pub(super) fn ensure_family(clients: &[Wanted], service: ServiceKey) -> anyhow::Result<()> {
    let family = service.family();
    match clients.iter().find(|client| Family::of(client.address) != family) {
        Some(client) => bail!("client {} is not an {family} address, as the service {service} needs", client.address),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Vec<String>, String> {
        let mut clients = Vec::new();
        read_file(Path::new("clients"), text.as_bytes(), &mut clients).map_err(|error| error.to_string())?;
        Ok(clients.iter().map(|client| super::super::endpoint(client.address, client.port)).collect())
    }

    #[test]
    fn lines_are_clients() {
        let read = file("# office\n203.0.113.9\r\n\n 203.0.113.9:40001 \n[2001:db8::9]:1\n2001:db8::9\n::ffff:1.2.3.4");
        let expected = ["203.0.113.9", "203.0.113.9:40001", "[2001:db8::9]:1", "2001:db8::9", "1.2.3.4"];
        assert_eq!(read.expect("clients"), expected);
    }

    #[test]
    fn other_lines_are_errors() {
        for line in ["203.0.113", "web", "203.0.113.9:0", "203.0.113.9:99999", "203.0.113.0/24", "\u{1b}[31m"] {
            let error = file(&format!("203.0.113.9\n{line}\n")).expect_err(line);
            assert!(error.starts_with("clients:2: `"), "{error}");
            assert!(!error.contains('\u{1b}'), "{error}");
        }
        let many = "203.0.113.9\n".repeat(MAX + 1);
        assert_eq!(file(&many).expect_err("too many"), "clients:100001: more than 100000 clients");
    }

    #[test]
    fn options_and_duplicates() {
        let read = |options: &[&str]| {
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            super::read(&options, None, Limit::default())
        };
        assert_eq!(read(&["1.2.3.4", "1.2.3.4:1", "1.2.3.4"]).expect("clients").len(), 2);
        assert_eq!(
            read(&["x"]).expect_err("no client").to_string(),
            "invalid client `x': expected ADDRESS or ADDRESS:PORT"
        );
    }
}
