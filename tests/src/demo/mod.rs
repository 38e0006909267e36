//! `cargo demo`: a director, a client and two web servers in a kernel of their own.
//!
//! This one program is the host program and process 1 of the guest. Links in the guest make it also `ipvsadm`,
//! `ipvsadm-save` and `ipvsadm-restore`. `cargo run --bin demo` builds only this program, so the demo never runs an
//! outdated `ipvsadm`.

mod guest;
mod shell;
mod walk;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::entry_points;
use crate::guest::protocol::End;
use crate::harness::Test;
use crate::host::uml::Boot;

const HELP: &str = "\
cargo demo             an LVS-NAT director with two servers, step by step
cargo demo -- shell    a prompt on that director; `on client`, `on web1`, … run commands on the others

IPVS_KERNEL=6.1|6.12|7.2|/path/to/linux|host   the kernel (6.1); Debian's are fetched on first use, without root
IPVSADM_UNDER_TEST=/path/to/ipvsadm            another ipvsadm than this project's; `reference` is Debian's 1.31
";

/// Runs as the `main` of the demo.
pub fn main() -> ExitCode {
    if guest::IPVSADM.contains(&entry_points::own_name().as_str()) {
        return ipvsadm_rs::main();
    }
    let jobs = [Test::new("walk", walk::walk), Test::new("shell", shell::shell)];
    if let Some(code) = entry_points::run(&jobs) {
        return code;
    }
    // The alias `cargo demo` ends in `--`.
    let words: Vec<String> = std::env::args().skip(1).skip_while(|word| word == "--").collect();
    let outcome = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => show(),
        ["shell"] => shell::on_this_terminal(),
        ["-h" | "--help" | "help"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(End::Exit(code)) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Ok(End::Signal(number)) => {
            eprintln!("signal {number} ended the demo");
            ExitCode::FAILURE
        }
        Ok(End::TimedOut) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<End> {
    let mut guest = guest::boot(Boot::default())?;
    let mut stdout = std::io::stdout();
    // Errors are ignored, because a closed pipe (`cargo demo | head`) must not end the demo early.
    guest.run("walk", Duration::from_secs(120), |bytes| drop(stdout.write_all(bytes).and_then(|()| stdout.flush())))
}
