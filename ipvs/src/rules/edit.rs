//! Edits of single settings, with the options of the language.

use super::check;
use super::draft::{Draft, Limits};
use super::error::ParseError;
use super::options::{OPTIONS, Value, Verb, first_of_name};
use super::resolver::Resolver;
use crate::destination::Destination;
use crate::family::Family;
use crate::key::ServiceKey;
use crate::service::Service;

/// Returns `current` with the settings in `options`, and all other settings unchanged.
///
/// Each option is a long spelling that `--edit-service` accepts, without the dashes, with its value. Flags have the
/// value `on`. Some settings have the value `off`, which disables them.
///
/// # Errors
///
/// Fails as [`parse`](super::parse) does: for options that `--edit-service` does not accept, for values out of range,
/// and for settings that exclude each other.
///
/// ```
/// use ipvs::rules::{self, Numeric};
/// use ipvs::{Scheduler, Service, ServiceKey};
///
/// let current = Service { persistence: Some(60), ..Service::new(ServiceKey::tcp([192, 0, 2, 1], 80), Scheduler::WLC) };
/// let edited = rules::edit_service(&current, &[("scheduler", "rr"), ("persistent", "off")], &mut Numeric).unwrap();
/// assert_eq!(edited, Service::new(current.key, Scheduler::RR));
/// ```
pub fn edit_service(
    current: &Service,
    options: &[(&str, &str)],
    resolver: &mut dyn Resolver,
) -> Result<Service, ParseError> {
    let mut draft = Draft { key: Some(current.key), service: *current, ..Draft::new(Limits::OF_THE_KERNEL) };
    draft.ipv6 = matches!(current.key, ServiceKey::Fwmark { family: Family::V6, .. });
    draft.take_all(Verb::EditService, options, resolver)?;
    let flags = draft.scheduler_flags()?;
    let edited = draft.service_settings(current.key, flags, resolver)?;
    match check::validate_service(&edited) {
        // Another program may have set values that ipvsadm refuses. Such values do not prevent this edit.
        Err(problem) if check::validate_service(current).is_ok() => Err(problem),
        _ => Ok(edited),
    }
}

/// Returns `current`, a destination of the service `key`, with the settings in `options`, and all other settings
/// unchanged.
///
/// Each option is a long spelling that `--edit-server` accepts, without the dashes, with its value. Flags have the
/// value `on`. A tunnel keeps its port and checksum if its type does not change.
///
/// # Errors
///
/// Fails as [`parse`](super::parse) does: for options that `--edit-server`, the forwarding method or the tunnel does
/// not accept, and for values out of range.
///
/// ```
/// use ipvs::rules::{self, Numeric};
/// use ipvs::{Destination, Forwarding, ServiceKey};
///
/// let current = Destination::new(([10, 0, 0, 1], 80), Forwarding::DirectRoute);
/// let key = ServiceKey::tcp([192, 0, 2, 1], 80);
/// let edited = rules::edit_destination(&key, &current, &[("weight", "0")], &mut Numeric).unwrap();
/// assert_eq!(edited, Destination { weight: 0, ..current });
/// ```
pub fn edit_destination(
    key: &ServiceKey,
    current: &Destination,
    options: &[(&str, &str)],
    resolver: &mut dyn Resolver,
) -> Result<Destination, ParseError> {
    let mut draft = Draft { key: Some(*key), destination: *current, ..Draft::new(Limits::OF_THE_KERNEL) };
    draft.take_all(Verb::EditServer, options, resolver)?;
    draft.server_settings(key, current.key)
}

impl<'a> Draft<'a> {
    fn take_all(
        &mut self,
        verb: Verb,
        options: &[(&str, &'a str)],
        resolver: &mut dyn Resolver,
    ) -> Result<(), ParseError> {
        for &(long, value) in options {
            let row = OPTIONS.iter().position(|row| row.long == long && row.allowed.contains(&verb));
            let Some(row) = row else { return Err(ParseError::UnknownOption(long.into())) };
            let (option, bit) = (&OPTIONS[row], 1 << first_of_name(row));
            match (option.off, value) {
                (Some(off), "off") => off(self),
                // ipvsadm interprets an empty name as the default. Here only a list of flags may be empty.
                (_, "") if option.long != "sched-flags" => {
                    return Err(ParseError::MissingValue(format!("--{long}").into()));
                }
                _ if option.value == Value::None && value != "on" => {
                    return Err(ParseError::UnwantedValue(value.into()));
                }
                _ => self.take(option, bit, Some(value.as_bytes()), resolver)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::destination::{Forwarding, GueChecksum, Tunnel};
    use crate::name::Scheduler;
    use crate::rules::Numeric;

    const PORT: std::num::NonZeroU16 = std::num::NonZeroU16::new(6080).unwrap();

    fn service() -> Service {
        Service::new(ServiceKey::udp([192, 0, 2, 1], 53), Scheduler::WLC)
    }

    fn edit(current: Forwarding, options: &[(&str, &str)]) -> Result<Forwarding, String> {
        let current = Destination { weight: 7, ..Destination::new(([10, 0, 0, 1], 53), current) };
        let edited =
            edit_destination(&service().key, &current, options, &mut Numeric).map_err(|error| error.to_string())?;
        assert_eq!(edited, Destination { forwarding: edited.forwarding, ..current });
        Ok(edited.forwarding)
    }

    #[test]
    fn settings_are_switched_off() {
        let current = Service { one_packet: true, engine: "sip".parse().ok(), persistence: Some(60), ..service() };
        let options = [("ops", "off"), ("pe", "off"), ("persistent", "off")];
        assert_eq!(edit_service(&current, &options, &mut Numeric), Ok(service()));
        assert_eq!(edit_service(&current, &[], &mut Numeric), Ok(current));
        for options in [("weight", "1"), ("nosuch", "1"), ("scheduler", ""), ("ops", "maybe"), ("tcp-service", "::1")] {
            assert!(edit_service(&current, &[options], &mut Numeric).is_err(), "{options:?}");
        }
    }

    /// Another program has set values that ipvsadm refuses.
    #[test]
    fn settings_that_ipvsadm_refuses_stay_editable() {
        let current = Service::new(ServiceKey::tcp([192, 0, 2, 1], 0), Scheduler::WLC);
        let edited = Service { scheduler: Scheduler::RR, ..current };
        assert_eq!(edit_service(&current, &[("scheduler", "rr")], &mut Numeric), Ok(edited));
        let persistent = Service { persistence: Some(60), ..current };
        assert_eq!(edit_service(&persistent, &[("persistent", "off")], &mut Numeric), Err(ParseError::ZeroPort));
    }

    #[test]
    fn a_tunnel_of_the_same_type_keeps_the_rest() {
        let gue = |checksum| Forwarding::Tunnel(Tunnel::Gue { port: PORT, checksum });
        let current = gue(GueChecksum::Remote);
        assert_eq!(edit(current, &[]), Ok(current));
        assert_eq!(edit(current, &[("ipip", "on"), ("tun-type", "gue")]), Ok(current));
        assert_eq!(edit(current, &[("tun-csum", "on")]), Ok(gue(GueChecksum::Full)));
        assert_eq!(edit(current, &[("tun-nocsum", "on")]), Ok(gue(GueChecksum::None)));
        assert_eq!(edit(current, &[("tun-type", "ipip")]), Ok(Forwarding::IPIP));
        let gre = |checksum| Forwarding::Tunnel(Tunnel::Gre { checksum });
        assert_eq!(edit(current, &[("tun-type", "gre")]), Ok(gre(false)));
        assert_eq!(edit(gre(true), &[("ipip", "on")]), Ok(gre(true)));
        assert_eq!(edit(current, &[("masquerading", "on")]), Ok(Forwarding::Masquerade));
        let strange = Forwarding::Tunnel(Tunnel::Other { kind: 9, port: 1, flags: 1 });
        for other in [Forwarding::Local, Forwarding::Bypass, Forwarding::Other(5), strange] {
            assert_eq!(edit(other, &[]), Ok(other));
        }
        assert!(edit(strange, &[("tun-csum", "on")]).is_err());
        assert!(edit(Forwarding::Masquerade, &[("tun-port", "6080")]).is_err());
    }
}
