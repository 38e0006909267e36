//! Certificates, tokens and passwords, from files.
//!
//! The files are read again before each request, because certificates and tokens are renewed while the program runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use crate::file::limit::Limit;
use crate::file::open;
use crate::store::StoreArguments;
use crate::terminal::text;

/// The files with credentials, and what was in them.
#[derive(Clone)]
pub(super) struct Credentials {
    files: StoreArguments,
    limit: Limit,
    found: Found,
}

/// The contents of the files.
#[derive(Clone, Default, PartialEq)]
struct Found {
    authorities: Option<Vec<u8>>,
    certificate: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    token: Option<String>,
    user: Option<User>,
}

/// The name and the password of a user.
#[derive(Clone, PartialEq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

/// Without the secrets.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(super) fn load(files: &StoreArguments, limit: Limit) -> anyhow::Result<Self> {
        let mut credentials = Self { files: files.clone(), limit, found: Found::default() };
        credentials.reload()?;
        // Reports errors in them at the start.
        credentials.tls()?;
        Ok(credentials)
    }

    /// Reads the files again. Returns whether the certificates have changed.
    pub(super) fn reload(&mut self) -> anyhow::Result<bool> {
        let read = |path: &Option<PathBuf>| path.as_deref().map(|path| self.read(path)).transpose();
        let files = &self.files;
        let found = Found {
            authorities: read(&files.cacert)?,
            certificate: read(&files.cert)?,
            key: read(files.key.as_ref().map_or(&files.cert, |_| &files.key))?,
            token: files.token_file.as_deref().map(|path| self.read_line(path)).transpose()?,
            user: files.user_file.as_deref().map(|path| self.read_user(path)).transpose()?,
        };
        let old = std::mem::replace(&mut self.found, found);
        let new = &self.found;
        Ok((old.authorities, old.certificate, old.key)
            != (new.authorities.clone(), new.certificate.clone(), new.key.clone()))
    }

    /// Returns whether there is a certificate for servers.
    pub(super) fn has_certificate(&self) -> bool {
        self.files.cert.is_some()
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.found.token.as_deref()
    }

    pub(super) fn user(&self) -> Option<&User> {
        self.found.user.as_ref()
    }

    /// Returns the settings of TLS.
    pub(super) fn tls(&self) -> anyhow::Result<TlsConfig> {
        let roots = match (&self.found.authorities, &self.files.cacert) {
            (Some(pem), Some(path)) => {
                let (certificates, _) = parse(pem, path)?;
                ensure!(!certificates.is_empty(), "cannot use {}: it contains no certificate (PEM)", text::path(path));
                RootCerts::from(certificates)
            }
            // Errors of single files are ignored: the certificate of the server may be signed by another one.
            _ => RootCerts::from(
                rustls_native_certs::load_native_certs()
                    .certs
                    .iter()
                    .map(|found| Certificate::from_der(found).to_owned()),
            ),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = self.client_certificate()?;
        Ok(TlsConfig::builder()
            .root_certs(roots)
            .client_cert(client)
            .unversioned_rustls_crypto_provider(provider)
            .build())
    }

    fn client_certificate(&self) -> anyhow::Result<Option<ClientCert>> {
        let (Some(pem), Some(key_pem)) = (&self.found.certificate, &self.found.key) else { return Ok(None) };
        let Some(path) = &self.files.cert else { return Ok(None) };
        let (certificates, _) = parse(pem, path)?;
        ensure!(!certificates.is_empty(), "cannot use {}: it contains no certificate (PEM)", text::path(path));
        let path = self.files.key.as_ref().unwrap_or(path);
        let (_, key) = parse(key_pem, path)?;
        let Some(key) = key else { bail!("cannot use {}: it contains no private key (PEM)", text::path(path)) };
        Ok(Some(ClientCert::new_with_certs(&certificates, key)))
    }

    fn read(&self, path: &Path) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open::regular(path)
            .and_then(|file| self.limit.read_to_end(file, &mut bytes))
            .with_context(|| format!("cannot read {}", text::path(path)))?;
        Ok(bytes)
    }

    /// Reads a file with one line. Other characters would end the header of a request.
    fn read_line(&self, path: &Path) -> anyhow::Result<String> {
        let bytes = self.read(path)?;
        let line = bytes.trim_ascii_end();
        ensure!(
            !line.is_empty() && line.len() <= 8192 && line.iter().all(|byte| (b' '..=b'~').contains(byte)),
            "cannot use {}: it is not one line of at most 8192 ASCII characters",
            text::path(path)
        );
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    fn read_user(&self, path: &Path) -> anyhow::Result<User> {
        let line = self.read_line(path)?;
        match line.split_once(':') {
            Some((name, password)) if !name.is_empty() => Ok(User { name: name.into(), password: password.into() }),
            _ => bail!("cannot use {}: it does not contain USER:PASSWORD", text::path(path)),
        }
    }
}

/// Returns the certificates and the first key of a PEM file.
fn parse(pem: &[u8], path: &Path) -> anyhow::Result<(Vec<Certificate<'static>>, Option<PrivateKey<'static>>)> {
    let (mut certificates, mut key) = (Vec::new(), None);
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(PemItem::PrivateKey(found)) => key = key.or(Some(found)),
            Ok(_) => {}
            Err(_) => bail!("cannot use {}: it is not a valid PEM file", text::path(path)),
        }
    }
    Ok((certificates, key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::file::testing::Place;

    #[test]
    fn files_are_read_again() {
        let place = Place::new("credentials");
        let path = place.path().join("token");
        fs::write(&path, "one\n").expect("write");
        let arguments = StoreArguments { token_file: Some(path.clone()), ..StoreArguments::default() };
        let mut credentials = Credentials::load(&arguments, Limit::default()).expect("valid");
        assert_eq!(credentials.token(), Some("one"));
        fs::write(&path, "two").expect("write");
        assert!(!credentials.reload().expect("valid"));
        assert_eq!(credentials.token(), Some("two"));
        assert!(!format!("{credentials:?}").contains("two"));
        for wrong in ["", "\n", "a\nb", "a\u{1b}"] {
            fs::write(&path, wrong).expect("write");
            credentials.reload().expect_err(wrong);
        }
    }

    #[test]
    fn invalid_files() {
        let place = Place::new("credentials-invalid");
        let path = place.path().join("file");
        let error = |arguments| Credentials::load(&arguments, Limit::default()).expect_err("invalid").to_string();
        let some = Some(path.clone());
        let with = || StoreArguments::default();
        assert!(error(StoreArguments { cacert: some.clone(), ..with() }).starts_with("cannot read "));
        fs::write(&path, "user").expect("write");
        assert!(error(StoreArguments { user_file: some.clone(), ..with() }).ends_with("not contain USER:PASSWORD"));
        let ending = "it contains no certificate (PEM)";
        assert!(error(StoreArguments { cacert: some.clone(), ..with() }).ends_with(ending));
        assert!(error(StoreArguments { cert: some.clone(), ..with() }).ends_with(ending));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").expect("write");
        assert!(error(StoreArguments { cacert: some.clone(), ..with() }).ends_with("not a valid PEM file"));
        fs::write(&path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").expect("write");
        assert!(error(StoreArguments { cert: some, ..with() }).ends_with("no private key (PEM)"));
    }
}
