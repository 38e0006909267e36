//! URLs of web pages, and their redirects.

use std::fmt;

use ureq::http::Uri;

use crate::terminal::text;

/// The URL of a web page, without a user or a password.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Url(String);

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is not a URL", text::escaped(text.split(['?', '#']).next().unwrap_or_default()));
        if text.len() > 4096 {
            return Err("the URL is longer than 4096 bytes".into());
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let Some(authority) = uri.authority() else { return Err(wrong()) };
        if authority.as_str().contains('@') {
            return Err(
                "passwords are visible in the list of processes\nUse --user-file or --token-file instead.".into()
            );
        }
        let has_valid_port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
            _ => true,
        };
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if authority.host().is_empty() || !has_valid_port || !is_http || text.contains('#') {
            return Err(wrong());
        }
        Ok(Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_https(&self) -> bool {
        self.0.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"))
    }

    /// Returns the scheme, the host and the port.
    pub(super) fn origin(&self) -> &str {
        let start = self.0.find("://").map_or(0, |at| at + 3);
        let end = self.0[start..].find(['/', '?']).map_or(self.0.len(), |at| start + at);
        &self.0[..end]
    }

    /// Returns the URL of a document below this one, if this one ends with a slash.
    pub(super) fn below(&self, name: &str) -> String {
        if self.0.ends_with('/') { format!("{}{}", self.0, encoded(name)) } else { self.0.clone() }
    }

    /// Returns the target of a redirect.
    ///
    /// # Errors
    ///
    /// A redirect from https:// to http:// is refused, because the target could be forged.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, String> {
        let (origin, path) = (self.origin(), self.0.split('?').next().unwrap_or_default());
        let target = if location.starts_with("//") {
            format!("{}:{location}", origin.split(':').next().unwrap_or_default())
        } else if location.starts_with('/') {
            format!("{origin}{location}")
        } else if location.contains("://") {
            location.to_owned()
        } else {
            let directory = path.rfind('/').filter(|at| *at >= origin.len()).map_or(origin, |at| &path[..at]);
            format!("{directory}/{location}")
        };
        // The fragment is for browsers.
        let target = Self::parse(target.split('#').next().unwrap_or_default())?;
        if self.is_https() && !target.is_https() {
            return Err(format!("redirected from https:// to {target}, which is not encrypted"));
        }
        Ok(target)
    }
}

/// The query is omitted, because it may contain a password.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once('?') {
            Some((page, _)) => write!(f, "{}?…", text::escaped(page)),
            None => f.write_str(&text::escaped(&self.0)),
        }
    }
}

/// Returns a path with `%XX` for all bytes that have a meaning in URLs, except for slashes.
pub(super) fn encoded(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_resolved() {
        let page = Url::parse("https://h:8443/a/b?c=/d").expect("valid");
        for (location, target) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "https://other/x"),
            ("/x?y", "https://h:8443/x?y"),
            ("x#part", "https://h:8443/a/x"),
        ] {
            assert_eq!(page.redirected(location), Url::parse(target), "{location}");
        }
        for location in ["http://h/x", "ftp://h/x", "https://", "https://u:p@h/", "x y", "https://h:0/"] {
            page.redirected(location).expect_err(location);
        }
        let bare = Url::parse("http://h").expect("valid");
        assert_eq!(bare.redirected("x"), Url::parse("http://h/x"));
        assert_eq!(bare.redirected("https://h/"), Url::parse("https://h/"));
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("lvs/a b%?#\u{e4}"), "lvs/a%20b%25%3F%23%C3%A4");
        let url = |text| Url::parse(text).expect("valid");
        assert_eq!(url("https://h/reports/").below("2001:db8::1"), "https://h/reports/2001%3Adb8%3A%3A1");
        assert_eq!(url("https://h/report").below("lb1"), "https://h/report");
    }
}
