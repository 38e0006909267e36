//! Calls the blocking client from async code. Each line `SERVICE SERVER WEIGHT` from a TCP connection sets a weight. It
//! asks for no password, so use only a loopback address.
//!
//! ```text
//! cargo run -p ipvs-rs --example tokio -- 127.0.0.1:9101
//! echo tcp:192.0.2.1:80 10.0.0.1:8080 5 | nc -N 127.0.0.1 9101
//! ```

use std::sync::Arc;

use anyhow::{Context, Result};
use ipvs::{Client, Ensured};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

fn set_weight(client: &mut Client, line: &str) -> Result<Ensured> {
    let mut words = line.split_whitespace();
    let mut next = || words.next().context("expected SERVICE SERVER WEIGHT");
    let (service, server, weight) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    Ok(client.update_destination(&service, &server, |server| server.weight = weight)?)
}

async fn serve(mut stream: TcpStream, client: Arc<Mutex<Client>>) -> Result<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        // The client blocks its thread until the kernel has replied.
        let client = Arc::clone(&client);
        let reply = spawn_blocking(move || set_weight(&mut client.blocking_lock(), &line)).await?;
        let reply = reply.map_or_else(|error| format!("error: {error:#}\n"), |ensured| format!("{ensured}\n"));
        writer.write_all(reply.as_bytes()).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).context("usage: tokio ADDRESS:PORT")?;
    let client = Arc::new(Mutex::new(Client::open()?));
    let listener = TcpListener::bind(&address).await.context(address)?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let served = serve(stream, Arc::clone(&client));
        tokio::spawn(async move { served.await.unwrap_or_else(|error| eprintln!("{peer}: {error:#}")) });
    }
}
