//! The weights of drained servers, also if there is no journal that could remember them.

use ipvs::{DestinationKey, ServiceKey};

use crate::context::Context;
use crate::journal::{Remembered, is_fatal};
use crate::plan::transaction::Transaction;

/// The weights from before `drain`, or the reason why they are unknown.
pub(crate) struct OldWeights(anyhow::Result<Remembered>);

impl OldWeights {
    /// Reads the weights. Fails if another user could have written the journal.
    pub(crate) fn read(context: &Context) -> anyhow::Result<Self> {
        match context.folder().and_then(|folder| folder.remembered()) {
            Err(error) if is_fatal(&error) => Err(error),
            read => Ok(Self(read)),
        }
    }

    /// Returns the old weight of a server. `None` if it is unknown.
    pub(crate) fn weight(&self, service: &ServiceKey, server: &DestinationKey) -> Option<u32> {
        self.0.as_ref().ok()?.weight(service, server)
    }

    /// Returns the reason why no old weight is known, as a sentence. `None` if the journal was read.
    pub(crate) fn unknown(&self) -> Option<String> {
        let error = self.0.as_ref().err()?;
        Some(format!("the weights from before `drain` are unknown: {error:#}"))
    }
}

impl From<Remembered> for OldWeights {
    fn from(remembered: Remembered) -> Self {
        Self(Ok(remembered))
    }
}

/// Returns a note for the case that old weights could not be remembered. If there is no journal, another note has the
/// reason.
pub(crate) fn unremembered(transaction: &Transaction, error: &anyhow::Error) -> String {
    let reason = transaction.journal().map(|_| format!(": {error:#}")).unwrap_or_default();
    format!("note: the old weights are not remembered{reason}\n`undrain` needs --weight.")
}
