//! Lists the services in async code, without blocking a thread. The socket belongs to the program, and this crate
//! encodes and decodes the messages.
//!
//! ```text
//! cargo run -p ipvs-sys --example async_fd
//! ```

use std::error::Error;
use std::io;
use std::os::fd::OwnedFd;

use ipvs_sys::Request;
use ipvs_sys::message::{Content, Mode, encode, encode_family_lookup, family_id, replies};
use ipvs_sys::uapi::{Command, CommandAttrs};
use ipvs_sys::wire::Wire;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Receives the next datagram.
async fn receive<'a>(socket: &AsyncFd<OwnedFd>, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let read = |socket: &OwnedFd| Ok(recv(socket, &mut *buffer, RecvFlags::empty())?.0);
    let length = socket.async_io(Interest::READABLE, read).await?;
    Ok(&buffer[..length])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(netlink::GENERIC))?;
    // `new` is deprecated for descriptors that may be closed meanwhile, which an `OwnedFd` is not.
    #[allow(deprecated)]
    let socket = AsyncFd::new(socket)?;
    // No datagram is larger.
    let mut buffer = vec![0; 32 * 1024];

    let mut message = Vec::new();
    encode_family_lookup(&mut message, 1);
    send(&socket, &message, SendFlags::empty())?;
    let reply = replies(receive(&socket, &mut buffer).await?).next().ok_or("no reply")??;
    let Content::Data { attributes, .. } = reply.content else { return Err("the kernel has no IPVS".into()) };
    let family = family_id(attributes)?;

    message.clear();
    encode(&mut message, &Request::new(Command::GetService), Mode::Dump, family, 2)?;
    send(&socket, &message, SendFlags::empty())?;
    loop {
        for reply in replies(receive(&socket, &mut buffer).await?) {
            match reply?.content {
                Content::Data { attributes, .. } => println!("{:?}", CommandAttrs::read(attributes)?.service),
                Content::End(None) => return Ok(()),
                Content::End(Some(refusal)) | Content::Refused(refusal) => return Err(refusal.to_string().into()),
                _ => {}
            }
        }
    }
}
