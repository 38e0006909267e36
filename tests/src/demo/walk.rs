//! The LVS tutorial, typed and answered: what `cargo demo` shows.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::guest::install_programs;
use crate::lab::topology::Nat;
use crate::traffic::server::Protocol::Http;

const VIP: &str = "10.1.0.100:80";

/// The job in the guest.
pub(super) fn walk() -> Result<()> {
    install_programs()?;
    let lab = Nat::new()?;
    lab.web1.serve(Http, "10.2.0.11:80")?;
    lab.web2.serve(Http, "10.2.0.12:80")?;
    println!("{}", Nat::DRAWING);

    say("A virtual service, round robin, and the two servers behind it (-m: by NAT).");
    typed(&lab, "ipvsadm -A -t 10.1.0.100:80 -s rr")?;
    typed(&lab, "ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.11:80 -m")?;
    typed(&lab, "ipvsadm -a -t 10.1.0.100:80 -r 10.2.0.12:80 -m")?;
    typed(&lab, "ipvsadm -Ln")?;
    let pages = pages(&lab, 6);
    ensure!(alternate(&pages), "the servers did not take turns: {pages:?}");

    say("What the director remembers of it: connections, and (the kernel counts every two seconds) statistics.");
    typed(&lab, "ipvsadm -Lnc")?;
    std::thread::sleep(Duration::from_millis(2500));
    typed(&lab, "ipvsadm -Ln --stats")?;

    say("The rules as text; then web1 is drained: weight 0 takes no new connections.");
    typed(&lab, "ipvsadm-save -n > rules")?;
    typed(&lab, "cat rules")?;
    typed(&lab, "ipvsadm -e -t 10.1.0.100:80 -r 10.2.0.11:80 -m -w 0")?;
    typed(&lab, "ipvsadm -Ln")?;
    let drained = self::pages(&lab, 3);
    ensure!(drained == ["web2"; 3], "web1 is drained, and yet: {drained:?}");

    say("And all is as it was saved.");
    typed(&lab, "ipvsadm-restore < rules")?;
    typed(&lab, "ipvsadm -Ln")?;
    let restored = self::pages(&lab, 4);
    ensure!(alternate(&restored), "the servers did not take turns: {restored:?}");

    typed(&lab, "ipvsadm -C")?;
    println!("`cargo demo -- shell` gives you a prompt on this director.");
    Ok(())
}

fn say(words: &str) {
    println!("{words}\n");
}

/// Runs a line on the director as if somebody typed it there.
fn typed(lab: &Nat, line: &str) -> Result<()> {
    println!("# {line}");
    let ran = lab.director.shell(line);
    if !(ran.stdout.is_empty() && ran.stderr.is_empty()) {
        println!("{}{}", ran.stdout, ran.stderr);
    }
    if ran.code != Some(0) {
        bail!("that should have worked: {}", ran.end);
    }
    Ok(())
}

/// The client fetches the page so many times; who answered.
fn pages(lab: &Nat, count: usize) -> Vec<String> {
    let url = format!("http://{VIP}/");
    println!("The client asks for {url}, {count} times:\n");
    let answers = lab.client.client().pages(count, VIP);
    answers.who.iter().for_each(|name| println!("{name}"));
    println!();
    answers.who
}

/// Whether the two servers took turns.
fn alternate(names: &[String]) -> bool {
    names.iter().all(|name| name.starts_with("web")) && names.windows(2).all(|pair| pair[0] != pair[1])
}
