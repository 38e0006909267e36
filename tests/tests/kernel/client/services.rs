//! Virtual services.

use std::net::Ipv4Addr;

use ipvs::{Change, Client, Director, Scheduler, Service, ServiceKey};

ipvs_tests::tests! {
    a_list_right_after_many_were_added;
}

/// Since 7.1 the kernel fits its table to what is in it, a moment later, and a list that is read meanwhile lacks some.
fn a_list_right_after_many_were_added() {
    let mut client = Client::open().unwrap();
    for _ in 0..4 {
        let key = |port| ServiceKey::tcp(Ipv4Addr::new(192, 0, 2, 1), port);
        let added: Vec<Change> =
            (1..=1000).map(|port| Change::AddService(Service::new(key(port), Scheduler::RR))).collect();
        assert!(client.submit(&added).unwrap().is_empty());
        for _ in 0..3 {
            let mut ports: Vec<u16> =
                client.services().unwrap().iter().map(|state| state.service.key.port().unwrap()).collect();
            ports.sort_unstable();
            assert_eq!(ports, (1..=1000).collect::<Vec<u16>>());
        }
        assert!(client.submit(&[Change::Flush]).unwrap().is_empty());
    }
}
