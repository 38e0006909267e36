//! Blanks the parts of outputs that differ in every run, before two outputs are compared.

/// A part of an output that is blanked or sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// The time to live of a connection.
    Expire,
    /// The order of connections, which depends on a hash with a random key.
    SortConnections,
    /// The order of services in listings that keep the kernel's order. It also depends on a hash with a random key.
    SortServices,
    /// The counters of `--stats` and `--rate`; their widths are still compared.
    Counters,
    /// The numbers of active and inactive connections of a server.
    Connections,
    /// The size of the connection table. Linux 7.1 and newer allocate it with the first service, and the reference
    /// reads it once.
    Size,
    /// All but the first word of each line, for outputs that describe the program and not the table.
    FirstWords,
}

impl Mask {
    /// Returns the mask with this name in case files, or `None` for an unknown name.
    pub fn named(name: &str) -> Option<Mask> {
        Some(match name {
            "expire" => Mask::Expire,
            "sort-connections" => Mask::SortConnections,
            "sort-services" => Mask::SortServices,
            "counters" => Mask::Counters,
            "connections" => Mask::Connections,
            "size" => Mask::Size,
            "first-words" => Mask::FirstWords,
            _ => return None,
        })
    }

    /// Returns the text with this part blanked or sorted.
    pub fn apply(self, text: &str) -> String {
        match self {
            Mask::Expire => each_line(text, |line| expire(line).unwrap_or_else(|| line.to_owned())),
            Mask::SortConnections => sort_connections(text),
            Mask::SortServices => sort_services(text),
            Mask::Counters => each_line(text, |line| counters(line).unwrap_or_else(|| line.to_owned())),
            Mask::Connections => each_line(text, |line| connections(line).unwrap_or_else(|| line.to_owned())),
            Mask::Size => each_line(text, |line| line.split(" (size=").next().unwrap_or_default().to_owned()),
            Mask::FirstWords => each_line(text, |line| line.split(' ').next().unwrap_or_default().to_owned()),
        }
    }
}

/// Returns the text after all masks, in order.
pub fn apply(masks: &[Mask], text: &str) -> String {
    masks.iter().fold(text.to_owned(), |text, mask| mask.apply(&text))
}

fn each_line(text: &str, mut change: impl FnMut(&str) -> String) -> String {
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => change(line) + "\n",
            None => change(line),
        })
        .collect()
}

/// Blanks the time of `TCP 14:59  ESTABLISHED …` or `IP  14:59  …`. Returns `None` for other lines.
fn expire(line: &str) -> Option<String> {
    let word = line.find(' ')?;
    let at = word + line[word..].find(|c| c != ' ')?;
    let time = line.get(at..at + 5)?;
    let is_time = time.bytes().enumerate().all(|(i, byte)| if i == 2 { byte == b':' } else { byte.is_ascii_digit() });
    is_time.then(|| format!("{}MM:SS{}", &line[..at], &line[at + 5..]))
}

fn sort_connections(text: &str) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    // The heading has two lines.
    if lines.first().is_some_and(|line| line.starts_with("IPVS connection entries")) && lines.len() > 2 {
        lines[2..].sort_unstable();
    }
    lines.concat()
}

/// Sorts services; the servers stay in order below their service.
fn sort_services(text: &str) -> String {
    let begins = |line: &str| ["TCP ", "UDP ", "SCTP ", "FWM ", "IP_", "-A "].iter().any(|word| line.starts_with(word));
    let mut head = String::new();
    let mut blocks: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match blocks.last_mut() {
            _ if begins(line) => blocks.push(line.to_owned()),
            Some(block) => block.push_str(line),
            None => head.push_str(line),
        }
    }
    blocks.sort_unstable();
    head + &blocks.concat()
}

/// Replaces the last five words, which must be numbers, and the blanks before them with as many `#`. Returns `None` for
/// other lines.
fn counters(line: &str) -> Option<String> {
    let numbers = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let is_number = |word: &&str| word.trim_end_matches(['K', 'M', 'G', 'T']).bytes().all(|b| b.is_ascii_digit());
        words.len() == 5 && words.iter().all(is_number)
    };
    // The name may be wider than its column.
    let (name, rest) = (0..line.len()).filter_map(|at| line.split_at_checked(at)).find(|(_, rest)| numbers(rest))?;
    let blank = |c: char| if c == ' ' || c.is_ascii_digit() { '#' } else { c };
    Some(name.to_owned() + &rest.chars().map(blank).collect::<String>())
}

/// Blanks the last two columns of a server's line. Returns `None` for other lines.
fn connections(line: &str) -> Option<String> {
    let is_server = line.starts_with("  -> ");
    let number = |text: &str| -> Option<usize> {
        let text = text.trim_end_matches(' ');
        let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
        (digits > 0).then(|| text.len() - digits)
    };
    let inactive = is_server.then(|| number(line))??;
    let active = number(&line[..inactive])?;
    Some(line[..active].to_owned() + &"#".repeat(line.len() - active))
}
