//! Calls that are kept in the audit log.

use std::sync::Arc;

use airlock_core::{AuditEvent, AuditSink, Error, Identity, OnAuditFailure, Result, Usage};

use crate::plugin::Plugin;

/// Where calls are recorded, and what becomes of one that cannot be.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    pub(crate) sink: Arc<dyn AuditSink>,
    pub(crate) on_failure: OnAuditFailure,
}

impl Plugin {
    /// Records what a call used and how it ended, when calls are recorded. A call that cannot be recorded has
    /// failed, unless the embedder chose otherwise; its own error goes before that.
    #[inline]
    pub(crate) fn recorded<T>(
        &self,
        function: &str,
        result: Result<T>,
        usage: impl FnOnce(&T) -> Option<Usage>,
        uses: impl FnOnce() -> Vec<AuditEvent>,
    ) -> Result<T> {
        match &self.host().0.recorder {
            None => result,
            Some(recorder) => self.record(recorder, function, result, usage, uses()),
        }
    }

    #[cold]
    fn record<T>(
        &self,
        recorder: &Recorder,
        function: &str,
        result: Result<T>,
        usage: impl FnOnce(&T) -> Option<Usage>,
        mut events: Vec<AuditEvent>,
    ) -> Result<T> {
        let outcome = result.as_ref().map_or_else(Error::code, |_| "ok").to_owned();
        let usage = result.as_ref().ok().and_then(usage);
        events.push(AuditEvent::Called { function: function.to_owned(), outcome, usage });
        let identity = Identity { name: self.name().to_owned(), digest: self.digest() };
        match (recorder.sink.record(&identity, &events), recorder.on_failure) {
            (Err(error), OnAuditFailure::Refuse) => result.and(Err(error)),
            (Err(error), OnAuditFailure::Continue) => {
                tracing::warn!(%error, "a call is not in the audit log");
                result
            }
            (Ok(()), _) => result,
        }
    }
}
