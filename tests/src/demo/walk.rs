//! The LVS tutorial, as `cargo demo` shows it: commands and their output.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::guest::install_programs;
use crate::lab::topology::Nat;
use crate::traffic::server::Protocol::Http;

const VIP: &str = "10.1.0.100:80";

/// Runs the tutorial, in the guest.
pub(super) fn walk() -> Result<()> {
    install_programs()?;
    let lab = Nat::new()?;
    lab.web1.serve(Http, "10.2.0.11:80")?;
    lab.web2.serve(Http, "10.2.0.12:80")?;
    println!("{}", Nat::DRAWING);

    explain("A virtual service with scheduler rr (round robin), and its two real servers, reached by NAT (-m).");
    run_and_print(&lab, "ipvsadm -A -t 10.1.0.100:80 -s rr")?;
    run_and_print(&lab, "ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m")?;
    run_and_print(&lab, "ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m")?;
    run_and_print(&lab, "ipvsadm -Ln")?;
    let pages = pages(&lab, 6);
    ensure!(alternate(&pages), "the servers did not alternate: {pages:?}");

    explain("The director's connections, and the statistics, which the kernel updates every two seconds.");
    run_and_print(&lab, "ipvsadm -Lnc")?;
    std::thread::sleep(Duration::from_millis(2500));
    run_and_print(&lab, "ipvsadm -Ln --stats")?;

    explain("The rules as text. Then web1 is drained: with weight 0 it gets no new connections.");
    run_and_print(&lab, "ipvsadm-save -n > rules")?;
    run_and_print(&lab, "cat rules")?;
    run_and_print(&lab, "ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 0")?;
    run_and_print(&lab, "ipvsadm -Ln")?;
    let drained = self::pages(&lab, 3);
    ensure!(drained == ["web2"; 3], "web1 is drained, but the replies are from {drained:?}");

    explain("The saved rules are restored.");
    run_and_print(&lab, "ipvsadm-restore < rules")?;
    run_and_print(&lab, "ipvsadm -Ln")?;
    let restored = self::pages(&lab, 4);
    ensure!(alternate(&restored), "the servers did not alternate: {restored:?}");

    run_and_print(&lab, "ipvsadm -C")?;
    println!("`cargo demo -- shell` starts a prompt on this director.");
    Ok(())
}

fn explain(words: &str) {
    println!("{words}\n");
}

/// Runs a line on the director and prints it with its output.
fn run_and_print(lab: &Nat, line: &str) -> Result<()> {
    println!("# {line}");
    let ran = lab.director.shell(line);
    if !(ran.stdout.is_empty() && ran.stderr.is_empty()) {
        println!("{}{}", ran.stdout, ran.stderr);
    }
    if ran.code != Some(0) {
        bail!("the command failed: {}", ran.end);
    }
    Ok(())
}

/// Fetches the page `count` times from the client. Returns the names of the servers that replied.
fn pages(lab: &Nat, count: usize) -> Vec<String> {
    let url = format!("http://{VIP}/");
    println!("The client fetches {url} {count} times:\n");
    let replies = lab.client.client().pages(count, VIP);
    replies.servers.iter().for_each(|name| println!("{name}"));
    println!();
    replies.servers
}

/// Returns whether the two servers alternate.
fn alternate(names: &[String]) -> bool {
    names.iter().all(|name| name.starts_with("web")) && names.windows(2).all(|pair| pair[0] != pair[1])
}
