//! Random numbers and mutations.

/// The maximum length of a mutated input.
const MAX_LENGTH: usize = 8 * 1024;

/// Random numbers (SplitMix64). The same seed gives the same numbers on every machine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`. Returns 0 if `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.number() % limit as u64) as usize }
    }

    /// Returns one of the items, or `None` if there are none.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.below(items.len()))
    }
}

/// Changes an input in 1 to 6 places.
pub fn mutate(input: &[u8], others: &[Vec<u8>], dictionary: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    // Most often once, because every change makes an error more probable.
    let times = 1 + rng.below(6).min(rng.below(6));
    for _ in 0..times {
        once(&mut bytes, others, dictionary, rng);
    }
    bytes.truncate(MAX_LENGTH);
    bytes
}

fn once(bytes: &mut Vec<u8>, others: &[Vec<u8>], dictionary: &[Vec<u8>], rng: &mut Rng) {
    let at = rng.below(bytes.len() + 1);
    let short = rng.below(16).min(bytes.len() - at);
    let word = |rng: &mut Rng| rng.pick(dictionary).cloned().unwrap_or_default();
    match rng.below(12) {
        // Flip a bit.
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.below(8);
            }
        }
        // Replace a byte.
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.number() as u8;
            }
        }
        // Truncate.
        3 => bytes.truncate(at),
        // Delete some bytes.
        4 => drop(bytes.drain(at..at + short)),
        // Insert random bytes.
        5 => {
            let random: Vec<u8> = (0..1 + rng.below(8)).map(|_| rng.number() as u8).collect();
            bytes.splice(at..at, random);
        }
        // Repeat a part.
        6 => {
            let part = bytes[at..at + rng.below(bytes.len() - at + 1)].to_vec();
            let to = rng.below(bytes.len() + 1);
            bytes.splice(to..to, part);
        }
        // Continue with the end of another input.
        7 => {
            if let Some(other) = rng.pick(others) {
                bytes.truncate(at);
                bytes.extend(&other[rng.below(other.len() + 1)..]);
            }
        }
        // Insert a line of another input.
        8 => {
            let lines: Vec<&[u8]> =
                rng.pick(others).map_or(&b""[..], |other| other).split_inclusive(|b| *b == b'\n').collect();
            let line = rng.pick(&lines).map_or(Vec::new(), |line| line.to_vec());
            let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            bytes.splice(start..start, line);
        }
        // Replace a word.
        9 | 10 => {
            let (start, end) = word_around(bytes, at);
            bytes.splice(start..end, word(rng));
        }
        // Insert a word, with the blank or NUL that separates words here.
        _ => {
            let separator = if bytes.contains(&0) { 0 } else { b' ' };
            let (start, _) = word_around(bytes, at);
            let mut inserted = word(rng);
            inserted.push(separator);
            bytes.splice(start..start, inserted);
        }
    }
}

/// Returns the start and the end of the word around a byte.
fn word_around(bytes: &[u8], at: usize) -> (usize, usize) {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"\0\",=".contains(byte);
    let start = bytes[..at].iter().rposition(is_end).map_or(0, |end| end + 1);
    let end = bytes[at..].iter().position(is_end).map_or(bytes.len(), |end| at + end);
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs() {
        let others = [b"-A -t 192.0.2.1:80\n-C\n".to_vec(), b"{}".to_vec(), Vec::new()];
        let words = [b"--drain".to_vec(), b"65536".to_vec()];
        let inputs = |seed| {
            let mut rng = Rng::new(seed);
            (0..1000).map(|number| mutate(&others[number % 3], &others, &words, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }
}
