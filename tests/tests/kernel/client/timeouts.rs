//! Connection timeouts.

use ipvs::{Change, Client, ErrorKind, Timeouts};

use super::{refused_with, submit};

ipvs_tests::tests! {
    as_the_kernel_starts;
    written_and_read;
    zero_keeps_what_is;
    too_long;
}

fn as_the_kernel_starts() {
    assert_eq!(Client::open().unwrap().timeouts().unwrap(), Timeouts::KERNEL_DEFAULT);
}

fn written_and_read() {
    let mut client = Client::open().unwrap();
    // The longest that fits into the kernel's arithmetic, whatever its clock rate.
    for timeouts in [Timeouts { tcp: 1, tcp_fin: 2, udp: 3 }, Timeouts { tcp: 2_147_483, tcp_fin: 2_147_482, udp: 1 }] {
        submit(&mut client, [Change::SetTimeouts(timeouts)]);
        assert_eq!(client.timeouts().unwrap(), timeouts);
    }
}

fn zero_keeps_what_is() {
    let mut client = Client::open().unwrap();
    let mut expected = Timeouts::KERNEL_DEFAULT;
    for timeouts in [
        Timeouts { tcp: 7200, tcp_fin: 0, udp: 0 },
        Timeouts { tcp: 0, tcp_fin: 60, udp: 0 },
        Timeouts { tcp: 0, tcp_fin: 0, udp: 30 },
        Timeouts { tcp: 0, tcp_fin: 0, udp: 0 },
    ] {
        submit(&mut client, [Change::SetTimeouts(timeouts)]);
        expected = timeouts.over(expected);
        assert_eq!(client.timeouts().unwrap(), expected);
    }
    assert_eq!(expected, Timeouts { tcp: 7200, tcp_fin: 60, udp: 30 });
}

/// All are looked at before one is set.
fn too_long() {
    let mut client = Client::open().unwrap();
    refused_with(
        &mut client,
        Change::SetTimeouts(Timeouts { tcp: 1, tcp_fin: 2, udp: u32::MAX }),
        "set timeouts: the kernel refuses these values: a timeout is too long \
         (IPVS_CMD_SET_CONFIG: Invalid argument (os error 22))",
        |kind| matches!(kind, ErrorKind::NotAccepted(_)),
    );
    assert_eq!(client.timeouts().unwrap(), Timeouts::KERNEL_DEFAULT);
}
