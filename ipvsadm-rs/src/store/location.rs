//! Locations of documents, as typed on a command line.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::store::StoreArguments;
use crate::store::url::Url;
use crate::terminal::text;

/// The location of documents.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Location {
    /// A file, or a directory of files.
    File(PathBuf),
    /// A page of a web server.
    Http(Url),
    /// A key of etcd, and the keys below it.
    Etcd(Place),
    /// A key of Consul, and the keys below it.
    Consul(Place),
}

/// A key in a store with several servers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    /// `etcds://` or `consuls://`.
    pub(super) is_encrypted: bool,
    /// Host and port, at least one. IPv6 addresses have brackets.
    pub(super) endpoints: Vec<String>,
    /// Without a slash at the end. Keys of etcd begin with a slash, and those of Consul do not.
    pub(super) key: String,
}

/// All endpoints are tried, each with a time limit, so their number limits the time of a call.
const MOST_ENDPOINTS: usize = 9;

const KNOWN: &str =
    "\nLocations are a path, https://HOST/PATH, etcd://HOST[:PORT],…/KEY and consul://HOST[:PORT],…/KEY.";

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((scheme, rest)) = text.split_once("://") else { return file(text) };
        let place = |is_encrypted, port, slash| Place::parse(rest, is_encrypted, port, slash);
        match scheme {
            "file" if rest.starts_with('/') => file(rest),
            "http" | "https" => Ok(Self::Http(Url::parse(text)?)),
            "etcd" => place(false, 2379, "/").map(Self::Etcd),
            "etcds" => place(true, 2379, "/").map(Self::Etcd),
            "consul" => place(false, 8500, "").map(Self::Consul),
            "consuls" => place(true, 8501, "").map(Self::Consul),
            _ => Err(format!("unknown kind of location{KNOWN}")),
        }
    }
}

fn file(path: &str) -> Result<Location, String> {
    match path {
        "" => Err("the path is empty".into()),
        "-" => Err("standard input cannot be followed\nUse a file.".into()),
        path => Ok(Location::File(PathBuf::from(path))),
    }
}

impl Place {
    fn parse(rest: &str, is_encrypted: bool, port: u16, slash: &str) -> Result<Self, String> {
        let Some((hosts, key)) = rest.split_once('/') else { return Err("a key is missing, such as /lvs/web".into()) };
        if hosts.contains('@') {
            return Err("passwords are visible in the list of processes\nUse --user-file instead.".into());
        }
        let mut endpoints = Vec::new();
        for host in hosts.split(',') {
            let endpoint = endpoint(host, port)?;
            if !endpoints.contains(&endpoint) {
                endpoints.push(endpoint);
            }
        }
        if endpoints.len() > MOST_ENDPOINTS {
            return Err(format!("more than {MOST_ENDPOINTS} servers"));
        }
        let key = key.trim_matches('/');
        if key.is_empty() {
            return Err("a key is missing, such as /lvs/web".into());
        }
        if key.len() > 1024 || key.chars().any(|c| c.is_control() || "?#".contains(c)) {
            return Err("the key is longer than 1024 bytes, or contains ?, # or control characters".into());
        }
        Ok(Self { is_encrypted, endpoints, key: format!("{slash}{key}") })
    }
}

/// Returns host and port.
fn endpoint(text: &str, default: u16) -> Result<String, String> {
    let wrong = || format!("{} is not HOST or HOST:PORT; IPv6 addresses have brackets", text::escaped(text));
    let (host, port) = match text.rfind(']').and_then(|end| text.split_at_checked(end + 1)) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_address = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').is_some_and(is_address),
        None => !host.is_empty() && host.len() <= 253 && host.bytes().all(is_name),
    };
    let port = match port {
        None => default,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port.parse().map_err(|_| wrong())?,
        Some(_) => return Err(wrong()),
    };
    if !is_host || port == 0 {
        return Err(wrong());
    }
    Ok(format!("{host}:{port}"))
}

/// As on a command line. The query of a URL is omitted, because it may contain a password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, place, slash) = match self {
            Self::File(path) => return f.write_str(&text::path(path)),
            Self::Http(url) => return url.fmt(f),
            Self::Etcd(place) => ("etcd", place, ""),
            Self::Consul(place) => ("consul", place, "/"),
        };
        let s = if place.is_encrypted { "s" } else { "" };
        write!(f, "{scheme}{s}://{}{slash}{}", place.endpoints.join(","), text::escaped(&place.key))
    }
}

impl Location {
    /// Returns whether nobody on the network can read or change the documents. Files are not sent.
    pub(crate) fn is_encrypted(&self, arguments: &StoreArguments) -> bool {
        match self {
            Self::File(_) => true,
            Self::Http(url) => url.is_https(),
            Self::Etcd(place) | Self::Consul(place) => place.is_encrypted || arguments.has_certificates(),
        }
    }

    /// Returns whether all requests go to the servers of `other`. Then they may contain the same secrets.
    pub(crate) fn has_servers_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => one.origin() == other.origin(),
            (Self::Etcd(one), Self::Etcd(other)) | (Self::Consul(one), Self::Consul(other)) => {
                let is_known = |endpoint: &String| other.endpoints.contains(endpoint);
                one.is_encrypted == other.is_encrypted && one.endpoints.iter().all(is_known)
            }
            _ => false,
        }
    }

    /// Returns the same location with an absolute path, which has the same meaning in each working directory.
    pub(crate) fn absolute(self) -> std::io::Result<Self> {
        match self {
            Self::File(path) => std::path::absolute(path).map(Self::File),
            other => Ok(other),
        }
    }

    /// Returns the path of a file or directory.
    pub(crate) fn path(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_compared() {
        let same = |one: &str, other: &str| {
            let [one, other]: [Location; 2] = [one, other].map(|text| text.parse().expect("a location"));
            one.has_servers_of(&other)
        };
        assert!(same("etcd://b/reports", "etcd://a,b/lvs"));
        assert!(same("https://a/x", "https://a/y?z"));
        for (one, other) in [
            ("etcd://a,c/reports", "etcd://a,b/lvs"),
            ("etcd://a:1/x", "etcd://a/x"),
            ("etcd://a/x", "etcds://a/x"),
            ("consul://a:2379/x", "etcd://a/x"),
            ("http://a/x", "https://a/x"),
            ("https://a:8443/x", "https://a/x"),
            ("/a", "/a"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn locations() {
        for (typed, shown) in [
            ("/etc/ipvsadm.rules", "/etc/ipvsadm.rules"),
            ("file:///etc/x", "/etc/x"),
            ("rules\n", r"rules\n"),
            ("https://example.org/a?token=1", "https://example.org/a?…"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
            ("etcd://h1:2379,h2,[::1]:99,h1/lvs/web/", "etcd://h1:2379,h2:2379,[::1]:99/lvs/web"),
            ("etcds://h//lvs", "etcds://h:2379/lvs"),
            ("consul://h/lvs/web", "consul://h:8500/lvs/web"),
            ("consuls://[2001:db8::1]/lvs", "consuls://[2001:db8::1]:8501/lvs"),
        ] {
            let location: Location = typed.parse().expect(typed);
            assert_eq!(location.to_string(), shown);
            if !typed.contains(['?', '\n']) {
                assert_eq!(shown.parse(), Ok(location), "{shown}");
            }
        }
        let key = |text: &str| match text.parse() {
            Ok(Location::Etcd(place) | Location::Consul(place)) => place.key,
            other => panic!("{other:?}"),
        };
        assert_eq!(key("etcd://h/lvs/web"), "/lvs/web");
        assert_eq!(key("consul://h/lvs/web"), "lvs/web");
    }

    #[test]
    fn invalid_locations() {
        let many = format!("etcd://{}/x", (0..10).map(|i| format!("h{i}")).collect::<Vec<_>>().join(","));
        for typed in [
            "",
            "-",
            "ftp://h/x",
            "file://x",
            "etcd://h",
            "etcd://h/",
            "etcd:///x",
            "etcd://h,/x",
            "etcd://h:0/x",
            "etcd://h:+1/x",
            "etcd://h:65536/x",
            "etcd://::1/x",
            "etcd://[::1/x",
            "etcd://[::1]2/x",
            "etcd://[h]/x",
            "etcd://u:p@h/x",
            "etcd://h/a?b",
            "etcd://h/a\tb",
            "etcd://h\u{1b}/x",
            "https://",
            "https:///x",
            "https://u:p@h/x",
            "https://h/a b",
            "http://h:99999/",
            "consul://h",
            many.as_str(),
        ] {
            let error = typed.parse::<Location>().expect_err(typed);
            assert!(!error.contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn options_of_tls_encrypt() {
        let with = StoreArguments { cacert: Some("ca.pem".into()), ..StoreArguments::default() };
        for (typed, plain, encrypted) in [
            ("etcd://h/x", false, true),
            ("etcds://h/x", true, true),
            ("consul://h/x", false, true),
            ("http://h/x", false, false),
            ("https://h/x", true, true),
            ("file", true, true),
        ] {
            let location: Location = typed.parse().expect(typed);
            assert_eq!(location.is_encrypted(&StoreArguments::default()), plain, "{typed}");
            assert_eq!(location.is_encrypted(&with), encrypted, "{typed}");
        }
    }
}
