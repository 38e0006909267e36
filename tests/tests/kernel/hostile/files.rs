//! Files and directories: links, mount points, devices, owners, full disks, endless input.

ipvs_tests::tests! {}
