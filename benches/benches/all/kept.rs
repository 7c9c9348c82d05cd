//! The gate, and what plugins keep.

use std::time::{Duration, Instant};

use airlock_bench::{Clock, Contender, Report, Target};
use airlock_host::{CapabilityKind, Kv, KvChange, MemoryKv, Need, Scheme};
use airlock_store::KvData;

use crate::gated::Call;

/// Bytes of a value.
const VALUE: usize = 100;

pub(crate) fn run(report: &mut Report) {
    gate(report);
    kept(report);
}

fn gate(report: &mut Report) {
    let call = Call::new(&["log", "net=https://api.example.com", "net=https://*.example.org", "kv"]);
    let deadline = Instant::now() + Duration::from_secs(3600);
    let at = |host| Need::Origin { scheme: Scheme::Https, host, port: 443 };
    let permit = |need: Need<'_>| {
        std::hint::black_box(call.permit_until(deadline, need).ok());
    };
    report.compare(
        "asking the gate",
        Clock::Thread,
        vec![
            Contender::new("log, granted", || permit(Need::Kind(CapabilityKind::Log))),
            Contender::new("a host, granted", || permit(at("api.example.com"))),
            Contender::new("a host, denied", || permit(at("evil.example.com"))).target(Target::Nanos(100.0)),
        ],
    );
}

fn kept(report: &mut Report) {
    let home = tempfile::tempdir().unwrap();
    let (data, memory, call) =
        (KvData::open(home.path()).unwrap(), MemoryKv::new(), Call::new(&["kv=64MiB"]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let permit = || call.permit(Need::Kind(CapabilityKind::Kv)).unwrap();
    let value = [7; VALUE];
    for index in 0..1000 {
        let key = format!("key {index}");
        runtime.block_on(data.apply(&permit(), &[KvChange::Set(&key, &value)])).unwrap();
        runtime.block_on(memory.apply(&permit(), &[KvChange::Set(&key, &value)])).unwrap();
    }
    let get = |kv: &dyn Kv| {
        let found = runtime.block_on(kv.get(&permit(), "key 500")).unwrap();
        assert_eq!(found.map(|value| value.len()), Some(VALUE));
    };
    report.compare(
        "kv get of 100 bytes among 1000, wall time",
        Clock::Wall,
        vec![
            Contender::new("in memory", || get(&memory)),
            Contender::new("in the database", || get(&data)).target(Target::Nanos(10e3)),
        ],
    );
    let set = || {
        let were_there = runtime.block_on(data.apply(&permit(), &[KvChange::Set("key 500", &value)]));
        assert_eq!(were_there.unwrap(), [true]);
    };
    let keys: Vec<String> = (0..100).map(|index| format!("key {index}")).collect();
    let changes: Vec<KvChange<'_>> = keys.iter().map(|key| KvChange::Set(key, &value)).collect();
    report.compare(
        "kv set of 100 bytes, wall time",
        Clock::Wall,
        vec![
            Contender::new("one", set).target(Target::Nanos(50e3)),
            Contender::new("a hundred in one batch", || {
                runtime.block_on(data.apply(&permit(), &changes)).unwrap();
            }),
        ],
    );
}
