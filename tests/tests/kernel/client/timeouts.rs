//! Connection timeouts.

use ipvs::{Change, Client, ErrorKind, Timeouts};

use super::{refused_with, submit};

ipvs_tests::tests! {
    kernel_defaults;
    read_as_written;
    zero_keeps_the_current_value;
    too_long_is_refused;
}

fn kernel_defaults() {
    assert_eq!(Client::open().unwrap().timeouts().unwrap(), Timeouts::KERNEL_DEFAULT);
}

fn read_as_written() {
    let mut client = Client::open().unwrap();
    // The longest timeouts that do not overflow in the kernel, for every clock rate (HZ).
    for timeouts in [Timeouts { tcp: 1, tcp_fin: 2, udp: 3 }, Timeouts { tcp: 2_147_483, tcp_fin: 2_147_482, udp: 1 }] {
        submit(&mut client, [Change::SetTimeouts(timeouts)]);
        assert_eq!(client.timeouts().unwrap(), timeouts);
    }
}

fn zero_keeps_the_current_value() {
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

/// The kernel checks all values before it sets one.
fn too_long_is_refused() {
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
