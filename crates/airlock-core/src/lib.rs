//! The words of Airlock and everything that says yes or no.
//!
//! This crate knows neither wasmtime nor the file system. It holds the types that
//! the other crates pass to each other, and the decisions made over them:
//!
//! - [`Digest`] names an artifact by its bytes.
//! - [`Manifest`] is what a plugin says of itself, whichever file said it.
//! - [`Capability`] is one thing a plugin may ask for; [`Approval`] has it decided and
//!   [`GrantStore`] keeps the decision; [`Policy`] is what a plugin got, and the only thing
//!   enforcement reads.
//! - [`Limits`] are the bounds of every phase, one table from which flags, TOML keys
//!   and docs are made.
//! - [`Error`] says who is at fault, with a stable code and an exit code.
//! - [`Gate`] is a call's way to the services, which are traits here; each of their methods
//!   takes a [`Permit`] that only a gate gives.
//! - [`Outcome`] is what a call gave back, with its [`Usage`].

#![forbid(unsafe_code)]

mod abi;
mod address;
mod approval;
mod audit;
mod capability;
mod digest;
mod error;
mod gate;
mod grant;
mod limits;
mod manifest;
mod outcome;
mod policy;
mod service;
mod suggest;
mod text;
mod uses;
mod value;

// The public interface is:
pub use abi::AbiId;
pub use address::special;
pub use approval::{
    Approval, Ci, NoPrompt, Permissive, Prompt, Question, RecordedQuestion, RecordingPrompt, Settled,
    Standard, Strategy, Strict, TrustAll, Verdict, allow_arguments,
};
pub use audit::{AuditEvent, AuditSink, MailTask, MemoryAudit, OnAuditFailure};
pub use capability::{
    CAPABILITIES, Capability, CapabilityKind, CapabilityRow, CommandPattern, Grammar, HostPattern,
    NamePattern, OriginPattern, PathBase, PathScope, PortPattern, Quota, Risk, Scheme, Scope,
};
pub use digest::{Digest, NotADigest};
pub use error::{Culprit, Error, ErrorKind, Location, Phase, Printed, Result, TrapFrame, TrapKind};
pub use gate::{Gate, Need, Permit};
pub use grant::{Grant, GrantStore, Identity, Lasting, MemoryGrants};
pub use limits::{LIMITS, LimitKind, LimitRow, Limits, Overrides, Unit};
pub use manifest::{
    Allocator, ArgSpec, CommandEntry, CommandSpec, Manifest, ManifestFormat, MemoryRequest, PrxCapability,
    PrxKind, PrxManifest, Request, SenCapabilities, Streams, ToolParam, ToolSpec, fledge_capabilities,
};
pub use outcome::{Outcome, Usage};
pub use policy::{Basis, Ceiling, Place, Policy};
pub use service::{
    AttachmentSource, Config, Credential, Delivery, EVENT_DEPTH, EVENT_PAYLOAD, EVENT_TOPIC, Ended, Event,
    Events, Exec, GetMail, Gotten, HOP_BY_HOP, Http, HttpBody, HttpRequest, HttpResponse, KV_KEY, Kv,
    KvChange, ListMail, Listed, Log, LogLevel, MAIL_LIMIT, MAIL_NETWORK_VARIABLE, MEMORY_CATEGORY,
    MEMORY_LIMIT, MEMORY_TEXT, Mail, MailAnswer, MailAttachment, MailCode, MailError, MailFuture,
    MailMessage, MailRequest, MailTool, Memory, MemoryEntry, MemoryKv, Metadata, NoSecrets, OutputSink,
    ProgramRun, Redactor, Replied, ReplyMail, SearchMail, SearchSyntax, Searched, Secret, Secrets, SendMail,
    Sent, ServiceError, ServiceFuture, Stream, Subscription, SyncMail, Synced, Tool, ToolInfo, Tools,
    mail_network,
};
pub use suggest::nearest;
pub use text::{escape_json, shell_quoted, visible};
pub use uses::Uses;
pub use value::{Value, ValueType};
