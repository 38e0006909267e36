//! The lock of the table: its holder, and its removal.

ipvs_tests::tests! {}
