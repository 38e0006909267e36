//! Lists the services and their destinations, with the kernel's names.
//!
//! ```text
//! cargo run -p ipvs-sys --example dump [NAMESPACE]
//! ```

use ipvs_sys::uapi::{Command, CommandAttrs};
use ipvs_sys::{Error, Namespace, Request, Socket};

fn open() -> Result<Socket, Error> {
    match std::env::args().nth(1) {
        None => Socket::open(),
        Some(text) => {
            let Ok(namespace) = text.parse::<Namespace>();
            Socket::open_in(&namespace)
        }
    }
}

fn main() -> Result<(), Error> {
    // A socket has one dump at a time. The second one dumps the destinations meanwhile.
    let (mut first, mut second) = (open()?, open()?);
    for reply in first.dump(&Request::new(Command::GetService))? {
        let service = reply?.service;
        println!("{service:?}");
        let attributes = CommandAttrs { service, ..CommandAttrs::default() };
        for reply in second.dump(&Request { command: Command::GetDest, attributes })? {
            println!("  {:?}", reply?.dest);
        }
    }
    Ok(())
}
