//! The files of an entry. Room for its next states is reserved, so that a full disk cannot prevent recording the
//! outcome of a plan.
//!
//! The file of an entry whose outcome is not known yet ends with blanks, and a second file has the same size. The next
//! state is written over the second file, whose blocks exist. Then the two exchange their names. On a file system that
//! never writes over blocks (Btrfs, ZFS) no room can be reserved this way.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::FileExt;

use super::folder::{ENTRY, SPARE, name};
use super::untrusted::ensure_trusted;
use crate::file::directory::{Directory, is_full};

/// The room for what later states add to an entry: a deadline, an error.
const PADDING: usize = 4096;

/// Creates the file of an entry, and reserves as much room again.
pub(super) fn create(directory: &Directory, number: u64, mut bytes: Vec<u8>) -> io::Result<()> {
    bytes.resize(bytes.len() + PADDING, b' ');
    directory.replace(name(number, ENTRY), &bytes, None)?;
    directory.replace(name(number, SPARE), &bytes, None)
}

/// Writes a state of an entry. The room is released with the last one.
pub(super) fn write(directory: &Directory, number: u64, bytes: &[u8], is_last: bool) -> io::Result<()> {
    let (entry, spare) = (name(number, ENTRY), name(number, SPARE));
    if directory.exists(&spare)? {
        let file = directory.create(&spare)?;
        ensure_trusted(&file).map_err(io::Error::other)?;
        fill(file, bytes, is_last)?;
        let exchanged = directory.exchange(&spare, &entry)?;
        directory.sync()?;
        if !is_last && !exchanged {
            // Without the exchange, room for a later state can only be hoped for.
            let mut room = bytes.to_vec();
            room.resize(bytes.len() + PADDING, b' ');
            let _ = directory.replace(&spare, &room, None);
        }
    } else {
        match directory.replace(&entry, bytes, None) {
            Err(full) if is_full(&full) => overwrite_first_line(directory, &entry, bytes, full)?,
            result => result?,
        }
    }
    if is_last {
        let _ = directory.remove(&spare);
    }
    Ok(())
}

/// Writes over the first line of an entry, with blanks at its end. Fails with `full` if there is no room in that line.
/// Readers may see half of the line, so this is only for a full disk. The next state of an old entry fits, because
/// `undone` is shorter than `applied`.
fn overwrite_first_line(directory: &Directory, entry: &str, bytes: &[u8], full: io::Error) -> io::Result<()> {
    let file = directory.create(entry)?;
    ensure_trusted(&file).map_err(io::Error::other)?;
    let room = directory.read(entry)?.iter().position(|&byte| byte == b'\n').unwrap_or(0);
    let mut line: Vec<u8> = bytes.iter().copied().take_while(|&byte| byte != b'\n').collect();
    if line.len() > room {
        return Err(full);
    }
    line.resize(room, b' ');
    file.write_all_at(&line, 0)?;
    file.sync_all()
}

/// Writes over the contents of a file. Its size and its blocks are kept, unless it is the last state.
fn fill(mut file: File, bytes: &[u8], is_last: bool) -> io::Result<()> {
    let size = file.metadata()?.len();
    file.rewind()?;
    file.write_all(bytes)?;
    let rest = size.saturating_sub(bytes.len() as u64);
    if is_last {
        file.set_len(bytes.len() as u64)?;
    } else {
        io::copy(&mut io::Read::take(io::repeat(b' '), rest), &mut file)?;
    }
    file.sync_all()
}

/// Removes all files of an entry.
pub(super) fn remove(directory: &Directory, number: u64) {
    for ending in [ENTRY, SPARE, super::folder::TIMER, super::folder::DRAINING] {
        let _ = directory.remove(name(number, ending));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::testing::Place;

    #[test]
    fn a_first_line_is_overwritten_if_it_is_not_longer() {
        let place = Place::new("overwrite");
        let directory = place.directory();
        directory.replace("000001.json", b"applied\n{}\n", None).unwrap();
        let full = || io::Error::from(io::ErrorKind::QuotaExceeded);
        overwrite_first_line(&directory, "000001.json", b"undone\nother table\n", full()).unwrap();
        assert_eq!(directory.read("000001.json").unwrap(), b"undone \n{}\n");
        let error = overwrite_first_line(&directory, "000001.json", b"too long\n{}\n", full()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(directory.read("000001.json").unwrap(), b"undone \n{}\n");
    }

    #[test]
    fn the_size_is_kept_until_the_last_state() {
        let place = Place::new("room");
        let directory = place.directory();
        create(&directory, 1, b"first\n{}\n".to_vec()).unwrap();
        let size = |ending| directory.metadata(name(1, ending)).unwrap().st_size;
        assert_eq!((size(ENTRY), size(SPARE)), (9 + PADDING as i64, 9 + PADDING as i64));
        write(&directory, 1, b"second state\n{}\n", false).unwrap();
        assert!(directory.read("000001.json").unwrap().starts_with(b"second state\n{}\n    "));
        assert_eq!((size(ENTRY), size(SPARE)), (9 + PADDING as i64, 9 + PADDING as i64));
        write(&directory, 1, b"last\n{}\n", true).unwrap();
        assert_eq!(directory.read("000001.json").unwrap(), b"last\n{}\n");
        assert_eq!(directory.names().unwrap(), ["000001.json"]);
        write(&directory, 1, b"undone\n{}\n", true).unwrap();
        assert_eq!(directory.read("000001.json").unwrap(), b"undone\n{}\n");
        remove(&directory, 1);
        assert_eq!(directory.names().unwrap(), [""; 0]);
    }
}
