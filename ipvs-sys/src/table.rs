//! The macros for the tables of [`crate::uapi`]. A row of a table defines a constant, a field with its encoding and
//! decoding, a variant for the visitor, and the debug output.

/// Defines a list of netlink attributes, with one row `number KERNEL_NAME => Variant, field: wire type;` for each.
///
/// Makes a struct with an `Option` for each row, since an attribute may be absent, and an enum with a variant for each
/// row. Attributes that are not in the table are kept in `unknown`. Rows with `skip` are ignored in replies: padding,
/// and values that this crate does not need.
macro_rules! attributes {
    (
        $(#[$meta:meta])*
        $name:ident, $one:ident {
            $( $(#[$row:meta])* $number:literal $kernel:ident => $variant:ident, $field:ident: $wire:ty; )*
            $( skip $skipped_number:literal $skipped_kernel:ident; )*
        }
    ) => {
        $( $(#[$row])* pub const $kernel: u16 = $number; )*
        $(
            #[doc = "Ignored in replies: padding, or a value that this crate does not need."]
            pub const $skipped_kernel: u16 = $skipped_number;
        )*

        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$row])* #[doc = concat!("\n\n`", stringify!($kernel), "`")] pub $field: Option<$wire>, )*
            /// Attributes of a newer kernel that this table does not have.
            pub unknown: $crate::wire::Unknown,
        }

        impl $crate::wire::Attributes for $name {
            const TABLE: &'static [(u16, &'static str)] = &[
                $( ($number, stringify!($kernel)), )*
                $( ($skipped_number, stringify!($skipped_kernel)), )*
            ];

            // If this is inlined where the list is built, absent attributes cost nothing.
            #[inline(always)]
            fn write(&self, out: &mut Vec<u8>) {
                $( if let Some(value) = &self.$field {
                    $crate::wire::Wire::write_as(value, $number, out);
                } )*
                self.unknown.write(out);
            }
        }

        impl $crate::wire::Wire for $name {
            #[inline(always)]
            fn write_as(&self, number: u16, out: &mut Vec<u8>) {
                let start = $crate::wire::open_attribute(out, number);
                $crate::wire::Attributes::write(self, out);
                $crate::wire::close_attribute(out, start);
            }

            type View<'a> = &'a [u8];

            fn view(bytes: &[u8]) -> Result<&[u8], $crate::decode_error::DecodeError> {
                Ok(bytes)
            }

            fn read(bytes: &[u8]) -> Result<Self, $crate::decode_error::DecodeError> {
                let mut list = Self::default();
                <Self as $crate::wire::Attributes>::each(bytes, |number, value| {
                    match number {
                        $( $number => list.$field = Some(<$wire as $crate::wire::Wire>::read(value)?), )*
                        $( $skipped_number => {} )*
                        _ => list.unknown.push(number, value),
                    }
                    Ok(())
                })?;
                Ok(list)
            }
        }

        #[doc = concat!("One attribute of [`", stringify!($name), "`], as [`visit`](Self::visit) passes it.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $one<'a> {
            $( $(#[$row])* #[doc = concat!("\n\n`", stringify!($kernel), "`")]
            $variant(<$wire as $crate::wire::Wire>::View<'a>), )*
            /// The number and the bytes of an attribute of a newer kernel that this table does not have.
            Unknown(u16, &'a [u8]),
        }

        impl<'a> $one<'a> {
            /// Calls `visit` with each attribute of a list, in order, without building the list.
            ///
            /// If a number occurs twice, the kernel uses the last value. Match without `_`, so that the compiler points
            /// to the places that have to read a new attribute.
            ///
            /// # Errors
            ///
            /// Fails if the bytes are not a list of attributes, if a value is too short, or if `visit` fails. The error
            /// names the attribute.
            #[inline]
            pub fn visit(
                bytes: &'a [u8],
                mut visit: impl FnMut(Self) -> Result<(), $crate::decode_error::DecodeError>,
            ) -> Result<(), $crate::decode_error::DecodeError> {
                <$name as $crate::wire::Attributes>::each(bytes, |number, value| {
                    visit(match number {
                        $( $number => Self::$variant(<$wire as $crate::wire::Wire>::view(value)?), )*
                        $( $skipped_number => return Ok(()), )*
                        _ => Self::Unknown(number, value),
                    })
                })
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $( if let Some(value) = &self.$field {
                    shown.field(stringify!($kernel), value);
                } )*
                if !self.unknown.is_empty() {
                    shown.field("unknown", &self.unknown);
                }
                shown.finish()
            }
        }
    };
}

/// Defines the commands of the family, with one row `number KERNEL_NAME => Variant,` for each.
macro_rules! commands {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$row:meta])* $number:literal $kernel:ident => $variant:ident, )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $( $(#[$row])* #[doc = concat!("\n\n`", stringify!($kernel), "`")] $variant = $number, )*
        }

        impl $name {
            /// The number and the kernel's name of every command.
            pub const TABLE: &'static [(u8, &'static str)] = &[ $( ($number, stringify!($kernel)), )* ];

            /// Returns the command's number in messages.
            pub fn number(self) -> u8 {
                self as u8
            }

            /// Returns the command with a number, or `None` if the family has no such command.
            pub fn from_number(number: u8) -> Option<Self> {
                match number {
                    $( $number => Some(Self::$variant), )*
                    _ => None,
                }
            }

            /// Returns the kernel's name of the command, such as `IPVS_CMD_NEW_SERVICE`.
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($kernel), )* }
            }
        }
    };
}

/// Defines numbers, with one row `KERNEL_NAME = value,` for each.
macro_rules! constants {
    ( $(#[$meta:meta])* $table:ident { $( $(#[$row:meta])* $kernel:ident = $value:expr, )* } ) => {
        $( $(#[$row])* pub const $kernel: u32 = $value; )*

        $(#[$meta])*
        pub const $table: &[(&str, u32)] = &[ $( (stringify!($kernel), $kernel), )* ];
    };
}

pub(crate) use {attributes, commands, constants};
