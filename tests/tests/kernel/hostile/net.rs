//! The rollback of a pending plan: signals, terminals, full pipes, full disks, the end of units and containers.

ipvs_tests::tests! {}
