//! The options for the servers of a store.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::context::duration;

const HEADING: &str = "Options for the servers of a store";

/// The default of [`StoreArguments::interval`].
pub(crate) const INTERVAL: Duration = Duration::from_secs(30);

/// The options for the servers of a store.
#[derive(Args, Clone, Debug)]
pub(crate) struct StoreArguments {
    /// Accept servers whose certificate is signed by a certificate in FILE (PEM) [default: those of the system]
    ///
    /// With this option or --cert, etcd:// and consul:// are encrypted.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,
    /// Send the certificate in FILE (PEM) to servers
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,
    /// Read the key of the certificate from FILE (PEM) [default: the file of --cert]
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Send the token in FILE to servers: the token of Consul, or a bearer token for https://
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Log in to etcd or to a web server as the user in FILE, which contains USER:PASSWORD
    #[arg(long, help_heading = HEADING, value_name = "FILE", conflicts_with = "token_file")]
    pub(crate) user_file: Option<PathBuf>,
    /// The time between two requests of an https:// page. Only a program that waits for changes needs it.
    #[arg(skip = INTERVAL)]
    pub(crate) interval: Duration,
}

impl StoreArguments {
    /// Returns the same options without token and password, for other servers.
    pub(crate) fn without_secrets(&self) -> Self {
        Self { token_file: None, user_file: None, ..self.clone() }
    }

    /// Returns whether there is a token or a password.
    pub(crate) fn has_secrets(&self) -> bool {
        self.token_file.is_some() || self.user_file.is_some()
    }

    /// Returns whether TLS was requested.
    pub(super) fn has_certificates(&self) -> bool {
        self.cacert.is_some() || self.cert.is_some()
    }
}

/// Parses the value of `--interval`.
pub(crate) fn interval(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        short if short < Duration::from_secs(1) => Err("must be at least 1s".into()),
        interval => Ok(interval),
    }
}

#[cfg(test)]
impl Default for StoreArguments {
    fn default() -> Self {
        Self { cacert: None, cert: None, key: None, token_file: None, user_file: None, interval: INTERVAL }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_a_minimum() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("999ms"), Err("must be at least 1s".into()));
        assert!(interval("31days").is_err());
        assert!(interval("often").is_err());
    }
}
