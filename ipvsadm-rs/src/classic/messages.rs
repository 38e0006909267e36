//! Messages and exit codes of ipvsadm, for lines with errors and for changes that the kernel refuses.

use ipvs::rules::ParseError;
use ipvs::{Change, Error, ErrorKind, Invalid};
use libc::{
    EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EBUSY, EINVAL, EMSGSIZE, ENETUNREACH, ENODEV, ENOMEM, ENOPROTOOPT,
    EOPNOTSUPP, EPERM, ERANGE,
};

use crate::hints;
use crate::terminal::exit::{Failure, code};

/// Returns the failure for a command line that cannot be parsed: the sentence of ipvsadm, and a hint if there is one.
pub(crate) fn parse_error(program: &str, error: &ParseError, words: &[&[u8]]) -> Failure {
    Failure::Message(with_hint(sentence(program, error), hints::for_words(error, words)), exit_code(error))
}

fn with_hint(sentence: String, hint: Option<String>) -> String {
    hint.map_or(sentence.clone(), |hint| format!("{sentence}\n{hint}"))
}

fn sentence(program: &str, error: &ParseError) -> String {
    match error {
        ParseError::NoCommand => format!("Try `{program} -h' or '{program} --help' for more information."),
        other => other.to_string(),
    }
}

/// Returns the exit code of ipvsadm for an error in a line.
pub(crate) fn exit_code(error: &ParseError) -> u8 {
    match error {
        ParseError::NoCommand
        | ParseError::UnknownOption(_)
        | ParseError::MissingValue(_)
        | ParseError::UnwantedValue(_)
        // The kernel would refuse these changes.
        | ParseError::Invalid(_)
        | ParseError::ServiceExists(_)
        | ParseError::ServerExists(_)
        | ParseError::NoSuchService
        | ParseError::NoSuchServer
        | ParseError::DaemonRuns(_)
        | ParseError::NoDaemon => code::REFUSED,
        _ => code::MEANING,
    }
}

/// Returns the failure for a refused change.
pub(crate) fn refused(change: &Change, error: &Error) -> Failure {
    let message = || with_hint(refusal(change, error), hints::for_refusal(change, error));
    no_ipvs(error).unwrap_or_else(|| Failure::Message(message(), code::REFUSED))
}

/// Returns ipvsadm's message for a refused change. If the reason is known and the message does not state it, it is
/// appended.
pub(crate) fn refusal(change: &Change, error: &Error) -> String {
    match error.kind() {
        ErrorKind::ServiceExists => "Service already exists".into(),
        ErrorKind::DestinationExists => "Destination already exists".into(),
        ErrorKind::SchedulerNotFound { .. } => "Scheduler or persistence engine not found".into(),
        ErrorKind::NoSuchDestination => "No such destination".into(),
        ErrorKind::NoSuchService => match change {
            Change::AddDestination(..) | Change::EditDestination(..) | Change::DeleteDestination(..) => {
                "Service not defined".into()
            }
            _ => "No such service".into(),
        },
        ErrorKind::DaemonRuns => "Daemon has already run".into(),
        ErrorKind::NoDaemon => "No daemon is running".into(),
        ErrorKind::Invalid(why) => format!("{}: {why}", general(errno_of(why)).unwrap_or_default()),
        ErrorKind::NotAccepted(known) => {
            let known = known.map_or_else(String::new, |known| format!(": {known}"));
            format!("{}{known}", error.errno().and_then(general).unwrap_or_else(|| error.kind().to_string()))
        }
        ErrorKind::FamilyNotSupported => "Operation not supported with specified address family".into(),
        kind => error.errno().and_then(general).unwrap_or_else(|| kind.to_string()),
    }
}

/// Returns the failure for a listing that could not be read.
pub(crate) fn read_error(error: &Error) -> Failure {
    if let Some(failure) = no_ipvs(error) {
        return failure;
    }
    let text = match error.kind() {
        ErrorKind::NoSuchService => "No such service".into(),
        _ => error.errno().and_then(general).unwrap_or_else(|| error.to_string()),
    };
    Failure::Message(text, code::LISTING)
}

/// Returns the failure if IPVS is not loaded or the caller has no permission. `None` for other errors. All commands
/// report these two in the same way.
fn no_ipvs(error: &Error) -> Option<Failure> {
    let next = hints::for_read(error)?;
    let why = match error.kind() {
        ErrorKind::NoPermission => "Permission denied (you must be root)",
        _ => "Protocol not available",
    };
    let text = format!(
        "Can't initialize ipvs: {why}\nAre you sure that IP Virtual Server is built in the kernel or as module?\n{next}"
    );
    Some(Failure::Message(text, code::MEANING))
}

/// Returns ipvsadm's message for an error number. `None` for 0.
fn general(errno: i32) -> Option<String> {
    let text = match errno {
        0 => return None,
        EPERM => "Permission denied (you must be root)",
        EINVAL => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
        ENOPROTOOPT => "Protocol not available",
        ENOMEM => "Memory allocation problem",
        EOPNOTSUPP => "Operation not supported with IPv6",
        EAFNOSUPPORT => "Operation not supported with specified address family",
        EMSGSIZE => "Module is wrong version",
        // Further errors whose text in musl differs from that in glibc. 1.31 prints the text of glibc.
        EBUSY => "Device or resource busy",
        ERANGE => "Numerical result out of range",
        ENODEV => "No such device",
        EADDRINUSE => "Address already in use",
        EADDRNOTAVAIL => "Cannot assign requested address",
        ENETUNREACH => "Network is unreachable",
        other => {
            let text = std::io::Error::from_raw_os_error(other).to_string();
            return Some(text.split(" (os error").next().unwrap_or(&text).to_owned());
        }
    };
    Some(text.to_owned())
}

/// Returns the error number with which the kernel would refuse a value that is rejected before it is sent.
fn errno_of(why: &Invalid) -> i32 {
    match why {
        Invalid::Weight(_) | Invalid::LowerAlone(_) | Invalid::LowerAboveUpper { .. } => ERANGE,
        _ => EINVAL,
    }
}
