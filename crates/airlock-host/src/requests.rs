//! What a plugin asks for: what its manifest says, and what it could use by what it imports.

use airlock_core::{Capability, CapabilityKind, Manifest, Request};
use airlock_engine::Shape;

use crate::wasi;

/// Imports that ask for a capability: a module and functions of it.
const IMPLIED: [(CapabilityKind, &str, &[&str]); 21] = [
    (CapabilityKind::Clock, wasi::PREVIEW1, &["clock_time_get", "poll_oneoff"]),
    (CapabilityKind::Random, wasi::PREVIEW1, &["random_get"]),
    (
        CapabilityKind::FsRead,
        wasi::PREVIEW1,
        &["path_open", "path_filestat_get", "path_readlink", "fd_readdir"],
    ),
    (
        CapabilityKind::FsWrite,
        wasi::PREVIEW1,
        &[
            "path_open",
            "path_create_directory",
            "path_filestat_set_times",
            "path_link",
            "path_remove_directory",
            "path_rename",
            "path_symlink",
            "path_unlink_file",
        ],
    ),
    (CapabilityKind::Env, wasi::PREVIEW1, &["environ_get"]),
    (CapabilityKind::Stdin, wasi::PREVIEW1, &["fd_read"]),
    (CapabilityKind::Stdout, wasi::PREVIEW1, &["fd_write"]),
    (CapabilityKind::Log, "env", &["host_log"]),
    (CapabilityKind::Config, "env", &["host_get_config", "host_set_config"]),
    (
        CapabilityKind::Kv,
        "env",
        &["host_get_state", "host_set_state", "host_storage_get", "host_storage_set", "host_storage_delete"],
    ),
    (CapabilityKind::Clock, "env", &["host_get_time_ms", "host_now_ms", "host_sleep_ms"]),
    (CapabilityKind::Random, "env", &["host_random", "host_random_bytes"]),
    (CapabilityKind::EventsPublish, "env", &["host_send_message"]),
    (CapabilityKind::ToolsCall, "env", &["host_call_tool"]),
    (CapabilityKind::Net, "env", &["host_http_request"]),
    // What it sends may ask for anything that there are messages for.
    (CapabilityKind::Kv, "fledge", &["store_get", "store_set", "send"]),
    (CapabilityKind::Exec, "fledge", &["exec", "send"]),
    (CapabilityKind::Env, "fledge", &["exec", "metadata", "send"]),
    (CapabilityKind::Metadata, "fledge", &["metadata", "send", "recv"]),
    (CapabilityKind::Net, "fledge", &["http", "send"]),
    (CapabilityKind::Stdout, "fledge", &["send"]),
];

/// Interfaces, each with functions of it.
type Interfaces = &'static [(&'static str, &'static [&'static str])];

/// The same for components.
const IMPLIED_BY_INTERFACES: [(CapabilityKind, Interfaces); 8] = [
    (
        CapabilityKind::Clock,
        &[
            ("wasi:clocks/wall-clock", &["now"]),
            ("wasi:clocks/monotonic-clock", &["now", "subscribe-instant", "subscribe-duration"]),
        ],
    ),
    (
        CapabilityKind::Random,
        &[
            ("wasi:random/random", &["get-random-bytes", "get-random-u64"]),
            ("wasi:random/insecure", &["get-insecure-random-bytes", "get-insecure-random-u64"]),
            ("wasi:random/insecure-seed", &["insecure-seed"]),
        ],
    ),
    (
        CapabilityKind::FsRead,
        &[(
            "wasi:filesystem/types",
            &[
                "[method]descriptor.open-at",
                "[method]descriptor.stat-at",
                "[method]descriptor.readlink-at",
                "[method]descriptor.read-directory",
                "[method]descriptor.metadata-hash-at",
            ],
        )],
    ),
    (
        CapabilityKind::FsWrite,
        &[(
            "wasi:filesystem/types",
            &[
                "[method]descriptor.open-at",
                "[method]descriptor.create-directory-at",
                "[method]descriptor.set-times-at",
                "[method]descriptor.link-at",
                "[method]descriptor.remove-directory-at",
                "[method]descriptor.rename-at",
                "[method]descriptor.symlink-at",
                "[method]descriptor.unlink-file-at",
            ],
        )],
    ),
    (CapabilityKind::Env, &[("wasi:cli/environment", &["get-environment"])]),
    (CapabilityKind::Stdin, &[("wasi:cli/stdin", &["get-stdin"])]),
    (CapabilityKind::Stdout, &[("wasi:cli/stdout", &["get-stdout"])]),
    (
        CapabilityKind::Net,
        &[
            ("wasi:sockets/tcp", &["[method]tcp-socket.start-connect"]),
            ("wasi:sockets/udp", &["[method]udp-socket.stream"]),
            ("wasi:sockets/ip-name-lookup", &["resolve-addresses"]),
            ("wasi:http/outgoing-handler", &["handle"]),
        ],
    ),
];

/// Interfaces of PRX's host, of either name, whose functions all ask for the same.
const IMPLIED_BY_PRX: [(CapabilityKind, &str); 18] = [
    (CapabilityKind::Log, "prx:host/log"),
    (CapabilityKind::Config, "prx:host/config"),
    (CapabilityKind::Kv, "prx:host/kv"),
    (CapabilityKind::Net, "prx:host/http-outbound"),
    (CapabilityKind::Memory, "prx:host/memory"),
    (CapabilityKind::EventsPublish, "prx:host/events"),
    (CapabilityKind::EventsSubscribe, "prx:host/events"),
    (CapabilityKind::EmailRead, "prx:host/email"),
    (CapabilityKind::EmailSearch, "prx:host/email"),
    (CapabilityKind::EmailSync, "prx:host/email"),
    (CapabilityKind::EmailSend, "prx:host/email"),
    (CapabilityKind::EmailReply, "prx:host/email"),
    (CapabilityKind::EmailRead, "prx:plugin/host-calls"),
    (CapabilityKind::EmailSearch, "prx:plugin/host-calls"),
    (CapabilityKind::EmailSync, "prx:plugin/host-calls"),
    (CapabilityKind::EmailSend, "prx:plugin/host-calls"),
    (CapabilityKind::EmailReply, "prx:plugin/host-calls"),
    (CapabilityKind::ToolsCall, "prx:plugin/host-calls"),
];

/// What those ask for that are imported, each with the first import that does.
fn by_prx(shape: &Shape) -> impl Iterator<Item = (CapabilityKind, String)> {
    IMPLIED_BY_PRX.into_iter().filter_map(|(kind, interface)| {
        let of_it = |module: &str| module.split('@').next() == Some(interface);
        let import = shape.imports.iter().find(|import| shape.is_component && of_it(&import.module))?;
        Some((kind, format!("{interface}.{}", import.name)))
    })
}

/// What the imports of a module or component could use, each with the first import that could.
pub(crate) fn uses(shape: &Shape) -> Vec<(CapabilityKind, String)> {
    let of_modules = IMPLIED.iter().filter_map(|&(kind, module, names)| {
        let name = names.iter().find(|name| shape.imports_item(module, name))?;
        Some((kind, format!("{module}.{name}")))
    });
    let of_interfaces = IMPLIED_BY_INTERFACES.iter().filter_map(|&(kind, interfaces)| {
        let all =
            interfaces.iter().flat_map(|(interface, names)| names.iter().map(move |name| (interface, name)));
        let mut used = all.filter(|(interface, name)| shape.imports_of_interface(interface, name));
        used.next().map(|(interface, name)| (kind, format!("{interface}.{name}")))
    });
    of_modules.chain(of_interfaces).chain(by_prx(shape)).collect()
}

/// Bytes that a component of PRX's keeps which has no manifest to say how many.
const PRX_KV: &str = "kv=10MiB";

/// Kinds that no manifest of PRX's has a permission for: its email plugin imports what it needs.
const WITHOUT_PERMISSION: [CapabilityKind; 6] = [
    CapabilityKind::EmailRead,
    CapabilityKind::EmailSearch,
    CapabilityKind::EmailSync,
    CapabilityKind::EmailSend,
    CapabilityKind::EmailReply,
    CapabilityKind::ToolsCall,
];

/// What a component of PRX's asks for by its imports. One with a manifest has what that declares, and
/// nothing else that there is a permission for, as in PRX.
fn implied_by_prx(manifest: Option<&Manifest>, shape: &Shape) -> Vec<Request> {
    let has_manifest = manifest.is_some_and(|manifest| manifest.prx.is_some());
    let is_implied =
        |(kind, _): &(CapabilityKind, String)| !has_manifest || WITHOUT_PERMISSION.contains(kind);
    let request = |(kind, _)| Request {
        capability: match kind {
            CapabilityKind::Kv => PRX_KV.parse().expect("written here"),
            kind => Capability::all_of(kind),
        },
        required: false,
    };
    by_prx(shape).filter(is_implied).map(request).collect()
}

/// What a plugin asks for: in its manifest, and by what it imports of the application and, with the
/// rest of its imports, of the host.
pub(crate) fn requests(
    manifest: Option<&Manifest>,
    of_application: Vec<Request>,
    shape: &Shape,
) -> Vec<Request> {
    let implied = IMPLIED.iter().filter_map(|&(kind, module, names)| {
        // What is printed by anything but a program is a log.
        let streams = matches!(kind, CapabilityKind::Stdin | CapabilityKind::Stdout);
        let is_program = shape.function("_start").is_some();
        let asks = names.iter().any(|name| shape.imports_item(module, name)) && (is_program || !streams);
        asks.then(|| Request { capability: Capability::all_of(kind), required: false })
    });
    let is_program = shape.exports_interface("wasi:cli/run").is_some();
    let by_interfaces = IMPLIED_BY_INTERFACES.iter().filter_map(|&(kind, interfaces)| {
        if matches!(kind, CapabilityKind::Stdin | CapabilityKind::Stdout) && !is_program {
            return None;
        }
        let asks = interfaces
            .iter()
            .any(|(interface, names)| names.iter().any(|name| shape.imports_of_interface(interface, name)));
        asks.then(|| Request { capability: Capability::all_of(kind), required: false })
    });
    manifest
        .map(|manifest| manifest.requests.clone())
        .unwrap_or_default()
        .into_iter()
        .chain(of_application)
        .chain(implied)
        .chain(by_interfaces)
        .chain(implied_by_prx(manifest, shape))
        .collect()
}
