//! Reads Debian's mirrors, and the keys that sign them, from the system's apt sources.
//!
//! `apt-get indextargets` lists the mirrors, but not the option `Signed-By` (apt 2.6).

use std::fs;
use std::path::Path;

/// A mirror of Debian, as fields of a `.sources` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The field `URIs`.
    pub uris: String,
    /// The field `Signed-By`: a path, or a key of several lines. `None` if the field is missing.
    pub signed_by: Option<String>,
}

/// One entry of the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    uris: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// Debian's suites. Other archives use some of these names, too: see [`mirrors`].
const SUITES: [&str; 13] = [
    "stable",
    "oldstable",
    "oldoldstable",
    "testing",
    "unstable",
    "sid",
    "experimental",
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "buster",
];

/// Returns the mirrors that may be Debian's, the most likely first. A vendor's archive may have `stable main`, too, but
/// not Debian's key or a path that ends in `/debian`.
pub fn mirrors(etc_apt: &Path) -> Vec<Mirror> {
    let mut entries: Vec<Entry> = files(etc_apt)
        .iter()
        .flat_map(|(name, text)| if name.ends_with(".sources") { stanzas(text) } else { lines(text) })
        .filter(|entry| entry.components.iter().any(|component| component == "main"))
        .filter(|entry| entry.suites.iter().any(|suite| SUITES.contains(&suite.as_str())))
        .collect();
    entries.sort_by_key(|entry| {
        let key = entry.signed_by.as_deref().unwrap_or("debian-archive");
        let path = entry.uris.trim_end_matches('/');
        (!key.contains("debian-archive"), !(path.ends_with("/debian") || path.ends_with("debian.list")))
    });
    let mut mirrors: Vec<Mirror> = Vec::new();
    for Entry { uris, signed_by, suites: _, components: _ } in entries {
        let mirror = Mirror { uris, signed_by };
        if !mirrors.contains(&mirror) {
            mirrors.push(mirror);
        }
    }
    mirrors
}

fn files(etc_apt: &Path) -> Vec<(String, String)> {
    let parts = fs::read_dir(etc_apt.join("sources.list.d")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = parts.chain([etc_apt.join("sources.list")]).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let name = path.to_string_lossy().into_owned();
        let wanted = name.ends_with(".sources") || name.ends_with(".list");
        wanted.then(|| fs::read_to_string(path).ok().map(|text| (name, text)))?
    };
    paths.iter().filter_map(read).collect()
}

/// Reads the deb822 format: stanzas of `Field: value`, continued on indented lines. sources.list(5)
fn stanzas(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for stanza in text.split("\n\n") {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in stanza.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
        let words =
            |name: &str| field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let off = matches!(field("enabled").as_deref(), Some("no" | "false" | "0"));
        if !off && words("types").iter().any(|kind| kind == "deb") {
            entries.push(Entry {
                uris: field("uris").unwrap_or_default(),
                suites: words("suites"),
                components: words("components"),
                signed_by: field("signed-by"),
            });
        }
    }
    entries
}

/// Reads the one-line format: `deb [option=value …] URI suite component…`.
fn lines(text: &str) -> Vec<Entry> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Entry> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracket) => bracket.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
    Some(Entry {
        uris: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}
