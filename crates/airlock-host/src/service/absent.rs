//! Where a host has no such service.

use airlock_core::{
    Ended, Events, Exec, GetMail, Gotten, Http, HttpRequest, HttpResponse, ListMail, Listed, Mail, MailError,
    MailFuture, Memory, MemoryEntry, Metadata, NamePattern, OutputSink, Permit, ProgramRun, Replied,
    ReplyMail, SearchMail, Searched, SendMail, Sent, ServiceError, ServiceFuture, Subscription, SyncMail,
    Synced, ToolInfo, Tools,
};
use serde_json::{Map, Value};

/// Says of everything that the host does not have it, granted or not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Absent;

fn unavailable() -> ServiceError {
    ServiceError::Unavailable("this host does not have it".to_owned())
}

fn failing<'a, T: Send + 'a>() -> ServiceFuture<'a, T> {
    Box::pin(std::future::ready(Err(unavailable())))
}

impl Http for Absent {
    fn send<'a>(&'a self, _permit: &'a Permit, _request: HttpRequest) -> ServiceFuture<'a, HttpResponse> {
        failing()
    }
}

/// Says so in PRX's words, whose plugins are the ones that ask.
impl Memory for Absent {
    fn store<'a>(
        &'a self,
        _permit: &'a Permit,
        _text: &'a str,
        _category: &'a str,
    ) -> ServiceFuture<'a, String> {
        Box::pin(std::future::ready(Err(no_memory())))
    }

    fn recall<'a>(
        &'a self,
        _permit: &'a Permit,
        _query: &'a str,
        _limit: u32,
    ) -> ServiceFuture<'a, Vec<MemoryEntry>> {
        Box::pin(std::future::ready(Err(no_memory())))
    }
}

fn no_memory() -> ServiceError {
    ServiceError::Unavailable("memory backend not configured".to_owned())
}

impl Exec for Absent {
    fn run<'a>(
        &'a self,
        _permit: &'a Permit,
        _run: &'a ProgramRun,
        _sink: &'a mut OutputSink<'a>,
    ) -> ServiceFuture<'a, Ended> {
        failing()
    }
}

impl Events for Absent {
    fn publish(&self, _permit: &Permit, _topic: &str, _payload: &[u8]) -> Result<usize, ServiceError> {
        Err(unavailable())
    }

    fn subscribe(
        &self,
        _permit: &Permit,
        _topics: &NamePattern,
    ) -> Result<Box<dyn Subscription>, ServiceError> {
        Err(unavailable())
    }
}

impl Metadata for Absent {
    fn facts<'a>(
        &'a self,
        _permit: &'a Permit,
        _keys: &'a [&'a str],
    ) -> ServiceFuture<'a, Map<String, Value>> {
        failing()
    }
}

impl Tools for Absent {
    fn list(&self, _permit: &Permit) -> Vec<ToolInfo> {
        Vec::new()
    }

    fn call<'a>(&'a self, _permit: &'a Permit, _name: &'a str, _input: &'a str) -> ServiceFuture<'a, String> {
        failing()
    }
}

fn no_mailbox<'a, T: Send + 'a>() -> MailFuture<'a, T> {
    Box::pin(std::future::ready(Err(MailError::no_mailbox())))
}

impl Mail for Absent {
    fn sync<'a>(&'a self, _permit: &'a Permit, _request: &'a SyncMail) -> MailFuture<'a, Synced> {
        no_mailbox()
    }

    fn list<'a>(&'a self, _permit: &'a Permit, _request: &'a ListMail) -> MailFuture<'a, Listed> {
        no_mailbox()
    }

    fn get<'a>(&'a self, _permit: &'a Permit, _request: &'a GetMail) -> MailFuture<'a, Gotten> {
        no_mailbox()
    }

    fn search<'a>(&'a self, _permit: &'a Permit, _request: &'a SearchMail) -> MailFuture<'a, Searched> {
        no_mailbox()
    }

    fn send<'a>(&'a self, _permit: &'a Permit, _request: &'a SendMail) -> MailFuture<'a, Sent> {
        no_mailbox()
    }

    fn reply<'a>(&'a self, _permit: &'a Permit, _request: &'a ReplyMail) -> MailFuture<'a, Replied> {
        no_mailbox()
    }
}
