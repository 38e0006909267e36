//! A subset of FTP, for tests of ip_vs_ftp, which translates addresses and ports in its commands. RFC 959, RFC 2428
//!
//! A server has one file, which contains its name. A client fetches it with each of the four commands that set up the
//! data connection.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Error, Lines, Read, Result, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_reuseaddr, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::net::netns::Netns;

/// The command that sets up the data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `PASV`: the client connects to an IPv4 address and port of the reply.
    Passive,
    /// `PORT`: the server connects to an IPv4 address and port of the command.
    Active,
    /// `EPSV`: the client connects to a port of the reply.
    ExtendedPassive,
    /// `EPRT`: the server connects to an address of either family and port of the command.
    ExtendedActive,
}

/// Starts a server on port 21 of all addresses of a host. It runs until its process ends.
pub fn serve(host: &Netns) -> anyhow::Result<()> {
    let listener = host.enter(|| TcpListener::bind("[::]:21"))?;
    let host_name = host.name().to_owned();
    let netns = host.clone();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let (name, netns) = (host_name.clone(), netns.clone());
            // Inside, because this thread opens the data connections, too.
            std::thread::spawn(move || netns.enter(|| converse(&stream, &name)));
        }
    });
    Ok(())
}

/// A way to open the data connection.
enum Data {
    Wait(TcpListener),
    Connect(SocketAddr),
}

impl Data {
    fn open(self, own: IpAddr) -> Result<TcpStream> {
        match self {
            Data::Wait(listener) => Ok(listener.accept()?.0),
            Data::Connect(address) => from_port_20(own, address),
        }
    }
}

/// Serves one client until it quits.
fn converse(control: &TcpStream, name: &str) -> Result<()> {
    let send_reply = |text: &str| -> Result<()> { { control }.write_all(format!("{text}\r\n").as_bytes()) };
    let own = control.local_addr()?.ip().to_canonical();
    let mut data = None;
    send_reply("220 ready")?;
    for line in BufReader::new(control).lines() {
        let line = line?;
        let (command, argument) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "USER" => send_reply("230 logged in")?,
            "PASV" | "EPSV" => {
                let listener = TcpListener::bind((own, 0))?;
                let at = listener.local_addr()?;
                send_reply(&match command {
                    "PASV" => format!("227 Entering Passive Mode ({})", comma_words(at)),
                    _ => format!("229 Entering Extended Passive Mode (|||{}|)", at.port()),
                })?;
                data = Some(Data::Wait(listener));
            }
            "PORT" | "EPRT" => {
                let address = if command == "PORT" { read_comma_words(argument) } else { read_bars(argument) };
                data = Some(Data::Connect(address?));
                send_reply("200 noted")?;
            }
            "RETR" => {
                send_reply("150 here it comes")?;
                let data = data.take().ok_or_else(|| Error::other("no command set up the data connection"))?;
                let mut stream = data.open(own)?;
                stream.write_all(format!("file of {name}\n").as_bytes())?;
                drop(stream);
                send_reply("226 done")?;
            }
            "QUIT" => return send_reply("221 bye"),
            _ => send_reply("502 not known here")?,
        }
    }
    Ok(())
}

/// Opens a data connection from port 20, the server's port for data.
fn from_port_20(own: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::new(own, 20))?;
    connect(&socket, &to)?;
    Ok(socket.into())
}

/// Fetches the file. Returns its text, and the reply to the command that set up the data connection.
pub fn fetch(host: &Netns, server: &str, mode: Mode) -> Result<(String, String)> {
    let server: SocketAddr = server.parse().map_err(Error::other)?;
    host.enter(|| {
        let control = Control::open(server)?;
        control.expect("220")?;
        control.request("USER anonymous", "230")?;
        let own = control.stream.local_addr()?.ip();
        let listener = TcpListener::bind((own, 0))?;
        set_socket_timeout(listener.as_fd(), Timeout::Recv, Some(LIMIT))?;
        let listening = listener.local_addr()?;
        let family = if own.is_ipv4() { 1 } else { 2 };
        let agreed = match mode {
            Mode::Passive => control.request("PASV", "227")?,
            Mode::ExtendedPassive => control.request("EPSV", "229")?,
            Mode::Active => control.request(&format!("PORT {}", comma_words(listening)), "200")?,
            Mode::ExtendedActive => control.request(&format!("EPRT |{family}|{own}|{}|", listening.port()), "200")?,
        };
        control.request("RETR file", "150")?;
        let mut stream = match mode {
            Mode::Passive => TcpStream::connect_timeout(&read_comma_words(&agreed)?, LIMIT)?,
            Mode::ExtendedPassive => {
                let port = agreed.split('|').nth(3).and_then(|port| port.parse().ok());
                let port = port.ok_or_else(|| Error::other(agreed.clone()))?;
                TcpStream::connect_timeout(&SocketAddr::new(server.ip(), port), LIMIT)?
            }
            Mode::Active | Mode::ExtendedActive => listener.accept()?.0,
        };
        let mut file = String::new();
        stream.set_read_timeout(Some(LIMIT))?;
        stream.read_to_string(&mut file)?;
        control.expect("226")?;
        Ok((file, agreed))
    })
}

const LIMIT: Duration = Duration::from_secs(30);

/// The control connection of a client.
struct Control {
    stream: TcpStream,
    replies: RefCell<Lines<BufReader<TcpStream>>>,
}

impl Control {
    fn open(server: SocketAddr) -> Result<Control> {
        let stream = TcpStream::connect_timeout(&server, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let replies = RefCell::new(BufReader::new(stream.try_clone()?).lines());
        Ok(Control { stream, replies })
    }

    fn request(&self, line: &str, code: &str) -> Result<String> {
        { &self.stream }.write_all(format!("{line}\r\n").as_bytes())?;
        self.expect(code)
    }

    fn expect(&self, code: &str) -> Result<String> {
        let reply = self.replies.borrow_mut().next().ok_or_else(|| Error::other("the server closed"))??;
        if reply.starts_with(code) { Ok(reply) } else { Err(Error::other(reply)) }
    }
}

/// Writes an address and a port as `10,1,0,10,156,64`.
fn comma_words(address: SocketAddr) -> String {
    let [high, low] = address.port().to_be_bytes();
    format!("{},{high},{low}", address.ip().to_string().replace('.', ","))
}

fn read_comma_words(text: &str) -> Result<SocketAddr> {
    let words = text.rsplit(['(', ' ']).next().unwrap_or_default().trim_end_matches(')');
    let bytes: Vec<u8> = words.split(',').map_while(|word| word.parse().ok()).collect();
    let [a, b, c, d, high, low] = bytes[..] else { return Err(Error::other(text.to_owned())) };
    Ok(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low]))))
}

/// Reads `|2|fd01::10|40000|`.
fn read_bars(text: &str) -> Result<SocketAddr> {
    let bad = || Error::other(text.to_owned());
    let [_, _, ip, port, _] = text.split('|').collect::<Vec<_>>()[..] else { return Err(bad()) };
    Ok(SocketAddr::new(ip.parse().map_err(|_| bad())?, port.parse().map_err(|_| bad())?))
}
