//! The error numbers of Linux that IPVS returns in a [`Refusal`](crate::Refusal), on every target.
//!
//! <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/asm-generic/errno.h>

use std::io;

/// Defines numbers, with one row `NAME = number, text;` for each. A few architectures of Linux have numbers of their
/// own, so the numbers of the C library are used there.
macro_rules! numbers {
    ( $( $(#[$row:meta])* $name:ident = $number:literal, $text:literal; )* ) => {
        $(
            $(#[$row])*
            #[cfg(target_os = "linux")]
            pub const $name: i32 = libc::$name;
            $(#[$row])*
            #[cfg(not(target_os = "linux"))]
            pub const $name: i32 = $number;
        )*

        #[cfg(not(target_os = "linux"))]
        fn text(errno: i32) -> Option<&'static str> {
            match errno {
                $( $number => Some($text), )*
                _ => None,
            }
        }

        #[test]
        #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
        fn numbers_and_texts_are_those_of_linux() {
            $( assert_eq!(io_error($name).to_string(), format!("{} (os error {})", $text, $number)); )*
        }
    };
}

numbers! {
    /// No `CAP_NET_ADMIN` in the initial user namespace.
    EPERM = 1, "Operation not permitted";
    /// No such destination, scheduler, persistence engine or netlink family.
    ENOENT = 2, "No such file or directory";
    /// No such service, or no such sync daemon runs.
    ESRCH = 3, "No such process";
    /// The service, destination or sync daemon exists already.
    EEXIST = 17, "File exists";
    /// No such multicast interface.
    ENODEV = 19, "No such device";
    /// A value is missing or invalid.
    EINVAL = 22, "Invalid argument";
    /// A value is out of range.
    ERANGE = 34, "Numerical result out of range";
    /// The module is being removed.
    ENOPROTOOPT = 92, "Protocol not available";
    /// The command cannot be used in this way (get or dump).
    EOPNOTSUPP = 95, "Operation not supported";
    /// An unknown address family, or no IPv6 in the kernel.
    EAFNOSUPPORT = 97, "Address family not supported by protocol";
}

/// Returns the error with a number of Linux. Other systems have other numbers, so the error has only a text there.
pub fn io_error(errno: i32) -> io::Error {
    #[cfg(target_os = "linux")]
    return io::Error::from_raw_os_error(errno);
    #[cfg(not(target_os = "linux"))]
    io::Error::other(format!("{} (os error {errno})", text(errno).unwrap_or("Unknown error")))
}
