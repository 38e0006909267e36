//! The netlink socket with small buffers, and addresses that the kernel refuses.

ipvs_tests::tests! {}
