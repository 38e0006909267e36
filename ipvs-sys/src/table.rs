//! The macros that read the tables of [`crate::uapi`]: a row becomes a constant, a field, its encoding, its decoding and
//! its line in a debug print.

/// A list of netlink attributes: `number KERNEL_NAME => field: wire type;` a row.
///
/// Every field is an `Option`: present or not, as on the wire. Attributes that the table does not know are kept in
/// `unknown`. Rows behind `skip` are read over.
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
            #[doc = "Padding in front of a 64-bit value; carries nothing."]
            pub const $skipped_kernel: u16 = $skipped_number;
        )*

        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$row])* #[doc = concat!("\n\n`", stringify!($kernel), "`")] pub $field: Option<$wire>, )*
            /// Attributes that this table does not know, as they came: a newer kernel's.
            pub unknown: $crate::wire::Unknown,
        }

        impl $crate::wire::Attributes for $name {
            const TABLE: &'static [(u16, &'static str)] = &[
                $( ($number, stringify!($kernel)), )*
                $( ($skipped_number, stringify!($skipped_kernel)), )*
            ];

            // Of a list that is written where it is made, what is not there costs nothing then.
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

            fn view(bytes: &[u8]) -> Result<&[u8], $crate::error::DecodeError> {
                Ok(bytes)
            }

            fn read(bytes: &[u8]) -> Result<Self, $crate::error::DecodeError> {
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
            /// Number and value of an attribute that this table does not know: a newer kernel's.
            Unknown(u16, &'a [u8]),
        }

        impl<'a> $one<'a> {
            /// Calls `visit` with each attribute of a list, in the order of the bytes. Of two with the same number the
            /// kernel uses the last.
            ///
            /// Cheaper than reading the whole list where only some attributes are wanted. A `match` without `_` makes
            /// the compiler name the places that have to read a new attribute.
            ///
            /// # Errors
            ///
            /// The bytes are no list of attributes, a value is too short, or `visit` fails. The error names the
            /// attribute.
            #[inline]
            pub fn visit(
                bytes: &'a [u8],
                mut visit: impl FnMut(Self) -> Result<(), $crate::error::DecodeError>,
            ) -> Result<(), $crate::error::DecodeError> {
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

/// The commands of the family: `number KERNEL_NAME => Variant, answered by Variant` a row.
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
            /// Every command: number and the kernel's name.
            pub const TABLE: &'static [(u8, &'static str)] = &[ $( ($number, stringify!($kernel)), )* ];

            /// The number on the wire.
            pub fn number(self) -> u8 {
                self as u8
            }

            /// The kernel's name.
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($kernel), )* }
            }
        }
    };
}

/// Plain numbers: `KERNEL_NAME = value,` a row.
macro_rules! constants {
    ( $(#[$meta:meta])* $table:ident { $( $(#[$row:meta])* $kernel:ident = $value:expr, )* } ) => {
        $( $(#[$row])* pub const $kernel: u32 = $value; )*

        $(#[$meta])*
        pub const $table: &[(&str, u32)] = &[ $( (stringify!($kernel), $kernel), )* ];
    };
}

pub(crate) use {attributes, commands, constants};
