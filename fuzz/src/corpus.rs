//! The inputs to start from. Most are files of other tests.

use std::fs;
use std::path::{Path, PathBuf};

use ipvs::rules::program::{COMMANDS, OPTIONS};
use ipvs::rules::{Numeric, read_config};

use crate::targets::DESIRED;

/// Number of seeds of random tables.
const SEEDS: u8 = 64;

/// Returns the inputs of a target.
///
/// # Errors
///
/// Fails if a directory cannot be read or the corpus is empty.
pub fn of(target: &str) -> Result<Vec<Vec<u8>>, String> {
    let inputs = match target {
        "command_line" => [command_lines()?, cases()?].concat(),
        "restore_lines" => rules()?,
        "netlink_replies" => files_below("ipvs-sys/tests/captured", "bin")?,
        "connection_table" => files_below("fuzz/seeds/connection_table", "")?,
        "documents" => documents()?,
        "plans" => [seeds(), plans()?].concat(),
        "saved_tables" => [seeds(), rules()?, documents()?].concat(),
        "keepalived" => files_below("fuzz/seeds/keepalived", "")?,
        "ldirectord" => files_below("fuzz/seeds/ldirectord", "")?,
        other => return Err(format!("{other} is not a target")),
    };
    if inputs.is_empty() { Err(format!("the corpus of {target} is empty")) } else { Ok(inputs) }
}

/// Returns words to insert: options, keys, and values at the limits.
pub fn dictionary(inputs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    const VALUES: [&str; 40] = [
        "0",
        "1",
        "-1",
        "127",
        "128",
        "255",
        "256",
        "32767",
        "65507",
        "65535",
        "65536",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "1e9",
        "0x10",
        "00",
        "+1",
        "",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "::1",
        "::ffff:192.0.2.1",
        "ff02::1",
        "[::]:0",
        "192.0.2.1:http",
        "/0",
        "/128",
        "null",
        "true",
        "[]",
        "{}",
        "\u{1b}[2J",
        "\u{202e}",
        "\u{feff}",
    ];
    let letters = |shorts: &str| shorts.chars().map(|letter| format!("-{letter}")).collect::<Vec<_>>();
    let commands = COMMANDS.iter().flat_map(|row| [vec![format!("--{}", row.long)], letters(row.shorts)].concat());
    let options = OPTIONS.iter().flat_map(|row| [vec![format!("--{}", row.long)], letters(row.shorts)].concat());
    let mut words: Vec<Vec<u8>> = commands.chain(options).map(String::into_bytes).collect();
    words.extend(VALUES.map(|value| value.as_bytes().to_vec()));
    // Control bytes, and blanks of several kinds.
    words.extend(
        [&b"\0"[..], b"\n", b"\r\n", b"\t", b"\x0b", b"\x7f", b"\x9b", b"\xff", b"#", b"\"", b"\\u0000"]
            .map(<[u8]>::to_vec),
    );
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.:/[]".contains(byte);
    let of_inputs = inputs.iter().flat_map(|input| input.split(|byte| !is_word(byte)));
    words.extend(of_inputs.filter(|word| (2..40).contains(&word.len())).map(<[u8]>::to_vec));
    words.sort_unstable();
    words.dedup();
    words
}

fn seeds() -> Vec<Vec<u8>> {
    (0..SEEDS).map(|number| vec![0x80, number]).collect()
}

fn rules() -> Result<Vec<Vec<u8>>, String> {
    Ok([files_below("ipvs/tests/plan", "rules")?, files_below("ipvs-sys/tests/captured", "rules")?].concat())
}

/// Returns the lines of all rules as command lines.
fn command_lines() -> Result<Vec<Vec<u8>>, String> {
    let rules = rules()?.concat();
    let mut lines: Vec<Vec<u8>> =
        rules.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"-")).map(joined_by_nul).collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines)
}

/// Returns the command lines of the cases that are compared with the reference.
fn cases() -> Result<Vec<Vec<u8>>, String> {
    let text = files_below("tests/cases", "cases")?.concat();
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"ipvsadm "));
    Ok(lines.map(joined_by_nul).collect())
}

fn joined_by_nul(line: &[u8]) -> Vec<u8> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).collect();
    words.join(&0)
}

/// Returns the tables of all rules as JSON and TOML.
fn documents() -> Result<Vec<Vec<u8>>, String> {
    let mut documents = Vec::new();
    for text in rules()? {
        let Ok(read) = read_config(&text, &mut Numeric) else { continue };
        let failed = |error: &dyn std::fmt::Display| format!("a table cannot be written: {error}");
        documents.push(serde_json::to_vec(&read.config).map_err(|error| failed(&error))?);
        documents.push(toml::to_string(&read.config).map_err(|error| failed(&error))?.into_bytes());
    }
    Ok(documents)
}

/// Returns the examples of plans as texts.
fn plans() -> Result<Vec<Vec<u8>>, String> {
    let mut plans = Vec::new();
    for example in sorted(&root().join("ipvs/tests/plan"))? {
        let file = |name: &str| fs::read(example.join(name)).unwrap_or_default();
        let options = String::from_utf8_lossy(&file("options")).replace("--previous", "--former").replace('\n', " ");
        let line = format!("{DESIRED} {options}\n").into_bytes();
        plans.push([file("current.rules"), line, file("desired.rules")].concat());
    }
    Ok(plans)
}

/// Returns the root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns the contents of all files below a directory of the repository. An empty ending means all files.
fn files_below(directory: &str, ending: &str) -> Result<Vec<Vec<u8>>, String> {
    let mut contents = Vec::new();
    let mut rest = vec![root().join(directory)];
    while let Some(path) = rest.pop() {
        if path.is_dir() {
            rest.extend(sorted(&path)?);
        } else if ending.is_empty() || path.extension().is_some_and(|extension| extension == ending) {
            contents.push(fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?);
        }
    }
    Ok(contents)
}

fn sorted(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error| format!("cannot read {}: {error}", directory.display());
    let entries = fs::read_dir(directory).map_err(failed)?;
    let mut paths =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}
