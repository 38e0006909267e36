//! The person who runs this process, for the history.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// The user who logged in, and the host that the user logged in from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Author {
    /// The user who logged in, also after `sudo` or `su`. If nobody logged in, the user of this process.
    uid: u32,
    /// The name of that user. Absent if /etc/passwd does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Whether this process belongs to a login session. Services and cron jobs do not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_login: bool,
    /// The address of the client of the SSH connection. Absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ssh: Option<IpAddr>,
}

impl Author {
    /// Returns the author of what this process does.
    pub(crate) fn of_this_process() -> Self {
        static AUTHOR: OnceLock<Author> = OnceLock::new();
        AUTHOR.get_or_init(Self::find).clone()
    }

    fn find() -> Self {
        // The kernel keeps it from the login on, and reports -1 if there was none (proc_pid_loginuid(5)).
        let login = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
        let login = login.filter(|uid| *uid != u32::MAX);
        let uid = login.unwrap_or_else(|| rustix::process::getuid().as_raw());
        Self { uid, user: user(uid), is_login: login.is_some(), ssh: ssh_client(login.is_some()) }
    }

    /// Returns the name of the user, or the number if it has no name.
    pub(crate) fn name(&self) -> String {
        self.user.clone().unwrap_or_else(|| format!("uid {}", self.uid))
    }
}

/// Formats as `alice (uid 1000), by SSH from 192.0.2.7`.
impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{user} (uid {})", self.uid)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        self.ssh.map_or(Ok(()), |client| write!(f, ", by SSH from {client}"))
    }
}

/// Returns the name of a user in /etc/passwd.
fn user(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    user_in(&users, uid)
}

fn user_in(users: &str, uid: u32) -> Option<String> {
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })?;
    // A name is printed to terminals and logs.
    let is_plain = !name.is_empty() && name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| name.to_owned())
}

/// Returns the client in SSH_CONNECTION, which sshd(8) sets. `sudo` removes it from the environment of this process, but
/// not from that of its shell. Without a login, the parents are not read.
fn ssh_client(is_login: bool) -> Option<IpAddr> {
    /// The maximum number of parents that are read.
    const PARENTS: usize = 16;
    let own = std::env::var("SSH_CONNECTION").ok();
    let most = if is_login { PARENTS } else { 0 };
    let parents = std::iter::successors((most > 0).then(|| parent("self")).flatten(), |pid| parent(pid)).take(most);
    own.into_iter().chain(parents.filter_map(|pid| variable(&pid))).find_map(|value| client_in(&value))
}

/// Returns the address at the start of `192.0.2.7 50000 192.0.2.1 22`. Anybody can set the variable, so it must have
/// exactly this form.
fn client_in(connection: &str) -> Option<IpAddr> {
    let words: Vec<&str> = connection.split(' ').collect();
    let [client, client_port, server, server_port] = words[..] else { return None };
    let is_port = |text: &str| text.parse::<u16>().is_ok();
    let is_valid = is_port(client_port) && is_port(server_port) && server.parse::<IpAddr>().is_ok();
    client.parse().ok().filter(|_| is_valid)
}

fn parent(pid: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
    (parent != "0").then(|| parent.to_owned())
}

fn variable(pid: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment.split(|&byte| byte == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))?;
    String::from_utf8(value.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_users() {
        let users =
            "root:x:0:0:root:/root:/bin/sh\n+\n\nweb admin:x:7:7::/:\nalice:x:1000:1000::/:\n\u{1b}[31m:x:8:8::/:\n";
        assert_eq!((user_in(users, 0), user_in(users, 1000)), (Some("root".to_owned()), Some("alice".to_owned())));
        assert_eq!([7, 8, 9].map(|uid| user_in(users, uid)), [None, None, None]);
    }

    #[test]
    fn reads_only_whole_connections() {
        assert_eq!(client_in("192.0.2.7 50000 192.0.2.1 22"), Some([192, 0, 2, 7].into()));
        assert_eq!(
            client_in("2001:db8::7 50000 2001:db8::1 22").map(|client| client.to_string()),
            Some("2001:db8::7".to_owned())
        );
        for text in ["", "192.0.2.7", "192.0.2.7 1 192.0.2.1 99999", "web 1 192.0.2.1 22", "192.0.2.7 1 192.0.2.1 22 x"]
        {
            assert_eq!(client_in(text), None, "{text}");
        }
    }

    #[test]
    fn this_process_has_an_author() {
        let author = Author::of_this_process();
        let json = serde_json::to_string(&author).expect("JSON");
        assert_eq!(serde_json::from_str::<Author>(&json).expect("reads"), author);
        assert!(!author.name().is_empty() && author.to_string().contains("uid "), "{author}");
    }
}
