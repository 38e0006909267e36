//! Control bytes in names, files, arguments and packets, on their way to a terminal.

ipvs_tests::tests! {}
