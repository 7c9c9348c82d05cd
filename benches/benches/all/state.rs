//! What is kept: deciding a policy, recording calls, installing and listing.

use std::process::{Command, Stdio};
use std::sync::Arc;

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::{
    AuditEvent, AuditSink, Basis, Capability, Ceiling, Host, Identity, LoadOptions, OnAuditFailure, Place,
    Plugin, Policy, Request,
};
use airlock_store::{AuditLog, Store};

use crate::guests::repository;
use crate::process::airlock;

pub(crate) fn run(report: &mut Report) {
    policy(report);
    audit(report);
    command(report);
}

/// A plugin that asks for a dozen things and was granted each, under a ceiling.
fn policy(report: &mut Report) {
    let texts = [
        "clock",
        "random",
        "kv=64KiB",
        "fs.read=data",
        "fs.write=out",
        "env=MY_*",
        "net=https://api.example.com",
        "net=https://*.example.org",
        "exec=git log *",
        "events.publish=build",
        "tools.call=search",
        "log",
    ];
    let grants: Vec<Capability> = texts.iter().map(|text| text.parse().unwrap()).collect();
    let requests: Vec<Request> =
        grants.iter().map(|capability| Request { capability: capability.clone(), required: true }).collect();
    let ceiling = Ceiling::new().deny(["fs.read=/etc".parse().unwrap(), "net=10.0.0.0/8".parse().unwrap()]);
    let place = Place { working: "/srv/app".into(), home: Some("/home/me".into()), ..Place::default() };
    let decide = |requests: &[Request], grants: &[Capability]| {
        let basis = Basis { requests, grants, baseline: &[], ceiling: &ceiling, place: &place };
        std::hint::black_box(Policy::decide(basis));
    };
    report.compare(
        "deciding a policy",
        Clock::Thread,
        vec![
            Contender::new("three requests", || decide(&requests[..3], &grants[..3]))
                .target(Target::Nanos(5e3)),
            Contender::new("a dozen", || decide(&requests, &grants)),
        ],
    );
}

fn audit(report: &mut Report) {
    let home = tempfile::tempdir().unwrap();
    let wasm = wat::parse_str(crate::guests::ECHO).unwrap();
    let load = |sink: Option<Arc<dyn AuditSink>>| {
        let builder = Host::builder();
        let builder = match sink {
            Some(sink) => builder.audit(sink, OnAuditFailure::Refuse),
            None => builder,
        };
        builder.build().unwrap().load_blocking(wasm.as_slice(), LoadOptions::new()).unwrap()
    };
    let call = |plugin: &Plugin| {
        plugin
            .call_blocking::<_, serde_json::Value>("f", &"a text of some length, to be given back")
            .unwrap();
    };
    let log = Arc::new(AuditLog::open(home.path(), None).unwrap());
    let (off, in_log) = (load(None), load(Some(log.clone())));
    let in_store = load(Some(Arc::new(Store::open(home.path()).unwrap())));
    report.compare(
        "one call, 40 bytes, wall time",
        Clock::Wall,
        vec![
            Contender::new("audit off", || call(&off)),
            Contender::new("recorded in the log", || call(&in_log)).target(Target::Nanos(25e3)),
            Contender::new("recorded in the store", || call(&in_store)),
        ],
    );
    let identity = Identity { name: "bench".to_owned(), digest: off.digest() };
    let event = || AuditEvent::Called { function: "echo".to_owned(), outcome: "ok".to_owned(), usage: None };
    report.compare(
        "one record, eight threads at once, wall time",
        Clock::Wall,
        vec![
            Contender::batched("recorded in the log", |times| {
                std::thread::scope(|scope| {
                    for _ in 0..8 {
                        scope.spawn(|| {
                            for _ in 0..times.div_ceil(8) {
                                log.record(&identity, &[event()]).unwrap();
                            }
                        });
                    }
                });
            })
            .target(Target::Nanos(20e3)),
        ],
    );
}

fn command(report: &mut Report) {
    let home = tempfile::tempdir().unwrap();
    let sources = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(airlock());
        command.args(arguments).env("AIRLOCK_HOME", home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "{arguments:?}");
    };
    let wasm = std::fs::read(repository("plugins/text-processor/text_processor.wasm")).unwrap();
    for index in 0..200 {
        let source = sources.path().join(format!("plugin{index}"));
        std::fs::create_dir_all(&source).unwrap();
        std::fs::write(source.join("plugin.wasm"), &wasm).unwrap();
        let manifest = format!(r#"{{"name":"plugin{index}","version":"1.0.0","entryPoint":"plugin.wasm"}}"#);
        std::fs::write(source.join("cortex.json"), manifest).unwrap();
        run(&["install", source.to_str().unwrap()]);
    }
    let script = repository("plugins/script");
    let script = script.to_str().unwrap();
    let pair = || {
        run(&["install", script]);
        run(&["remove", "script"]);
    };
    pair();
    report.compare(
        "whole process, 200 plugins installed, wall time",
        Clock::Wall,
        vec![
            Contender::new("airlock list", || run(&["list"])).target(Target::Nanos(10e6)),
            Contender::new("airlock info", || run(&["info", "plugin7"])),
            Contender::new("airlock grants", || run(&["grants"])),
            Contender::new("airlock install and remove, compiled before", pair).target(Target::Nanos(300e6)),
        ],
    );
}
