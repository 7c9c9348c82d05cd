//! Calls within calls: a plugin's function as a tool that another plugin's call needs.
//!
//! The guest gets at a tool through what it keeps: here that is another plugin's to say.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use airlock_host::service::{PluginTool, Services, ToolRegistry};
use airlock_host::{
    Basis, Capability, CapabilityKind, Ceiling, Gate, Host, Kv, KvChange, Need, Permit, Place, Plugin,
    Policy, Request, ServiceError, ServiceFuture, ToolInfo, Tools,
};

use crate::support::{MODES, limits, source};

const GUEST: &str = include_str!("../guests/services.wat");

/// Answers what a tool says that belongs to the plugin which asks.
#[derive(Debug, Default)]
struct ByTool {
    tools: ToolRegistry,
    policy: Arc<Policy>,
    of: BTreeMap<&'static str, &'static str>,
    failed: Mutex<Vec<ServiceError>>,
}

impl Kv for ByTool {
    fn get<'a>(&'a self, permit: &'a Permit, _key: &'a str) -> ServiceFuture<'a, Option<Vec<u8>>> {
        Box::pin(async move {
            let Some(tool) = self.of.get(permit.caller().name.as_str()) else { return Ok(None) };
            // The application calls it for the plugin.
            let gate = Gate::nested(permit.caller().clone().into(), permit.limits().clone().into(), permit);
            let need = Need::Name(CapabilityKind::ToolsCall, tool);
            let permit = gate.permit(&self.policy, permit.deadline(), need)?;
            match self.tools.call(&permit, tool, "7").await {
                Ok(answer) => Ok(Some(answer.trim_matches('"').as_bytes().to_vec())),
                Err(error) => {
                    self.failed.lock().unwrap().push(error.clone());
                    Err(error)
                }
            }
        })
    }

    fn keys<'a>(
        &'a self,
        _permit: &'a Permit,
        _prefix: &'a str,
        _after: Option<&'a str>,
        _count: usize,
    ) -> ServiceFuture<'a, Vec<String>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn apply<'a>(
        &'a self,
        _permit: &'a Permit,
        _changes: &'a [KvChange<'a>],
    ) -> ServiceFuture<'a, Vec<bool>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn usage<'a>(&'a self, _permit: &'a Permit) -> ServiceFuture<'a, u64> {
        Box::pin(std::future::ready(Ok(0)))
    }
}

/// A host with one slot, whose plugins get at tools this way.
fn host(of: &[(&'static str, &'static str)]) -> (Host, Arc<ByTool>) {
    let tools: Capability = "tools.call=*".parse().unwrap();
    let requests = [Request { capability: tools.clone(), required: true }];
    let policy = Policy::decide(Basis {
        requests: &requests,
        grants: &[tools],
        baseline: &[],
        ceiling: &Ceiling::new(),
        place: &Place::default(),
    });
    let (of, policy) = (of.iter().copied().collect(), Arc::new(policy));
    let kept = Arc::new(ByTool { of, policy, ..ByTool::default() });
    let mut services = Services::default();
    services.kv = kept.clone();
    (Host::builder().slots(1).services(services).build().unwrap(), kept)
}

fn load(host: &Host, name: &str, timeout: &str) -> Plugin {
    let options = limits(&[("timeout", timeout)]).name(name).allow("kv".parse().unwrap());
    host.load_blocking(source(GUEST), options).unwrap()
}

fn offer(kept: &ByTool, name: &str, plugin: &Plugin, function: &str) {
    let info = ToolInfo { name: name.to_owned(), description: name.to_owned(), input_schema: None };
    kept.tools.register(Arc::new(PluginTool::new(plugin.clone(), function, info))).unwrap();
}

#[test]
fn slot_starvation_a_tool_runs_within_the_slot_of_the_call_that_needs_it() {
    let (host, kept) = host(&[("outer", "inner")]);
    let (outer, inner) = (load(&host, "outer", "30s"), load(&host, "inner", "30s"));
    offer(&kept, "inner", &inner, "version");
    for mode in MODES {
        let answer = mode.invoke(&outer, "get", &["7"]).unwrap().value.to_json_text();
        assert_eq!(answer, r#""01""#, "{mode:?}: {:?}", kept.failed.lock().unwrap());
    }
}

#[test]
fn nested_deadline_a_tool_has_the_rest_of_its_callers_time() {
    let (host, kept) = host(&[("outer", "spin")]);
    let (outer, inner) = (load(&host, "outer", "150ms"), load(&host, "inner", "30s"));
    let spin = r#"(module (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) (i32.const 16))
        (func (export "spin") (param i32 i32) (result i32) (loop $again (br $again)) unreachable))"#;
    let spinning = host.load_blocking(source(spin), limits(&[("timeout", "30s")]).name("spinning")).unwrap();
    offer(&kept, "spin", &spinning, "spin");
    offer(&kept, "version", &inner, "version");
    for mode in MODES {
        let error = mode.invoke(&outer, "get", &["7"]).unwrap_err();
        assert_eq!(error.to_string(), "stopped while running: the deadline of 150ms passed", "{mode:?}");
        assert_eq!(host.memory_used(), 0, "{mode:?}: nothing of either is left");
    }
}

#[test]
fn a_tool_that_takes_longer_than_its_own_time_has_failed_and_its_caller_goes_on() {
    let (host, kept) = host(&[("outer", "spin")]);
    let outer = load(&host, "outer", "30s");
    let spin = r#"(module (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) (i32.const 16))
        (func (export "spin") (param i32 i32) (result i32) (loop $again (br $again)) unreachable))"#;
    let spinning = host.load_blocking(source(spin), limits(&[("timeout", "50ms")]).name("spinning")).unwrap();
    offer(&kept, "spin", &spinning, "spin");
    for mode in MODES {
        assert_eq!(mode.invoke(&outer, "get", &["7"]).unwrap().value.to_json_text(), r#""1""#, "{mode:?}");
    }
    assert_eq!(*kept.failed.lock().unwrap(), [const { ServiceError::TimedOut }; 4]);
}

#[test]
fn reenter_two_plugins_that_call_each_other_end_at_the_circle() {
    let (host, kept) = host(&[("outer", "inner"), ("inner", "outer")]);
    let (outer, inner) = (load(&host, "outer", "30s"), load(&host, "inner", "30s"));
    offer(&kept, "inner", &inner, "get");
    offer(&kept, "outer", &outer, "get");
    for mode in MODES {
        // The outermost gets what the one inside of it gets, and so on to the circle.
        let answer = mode.invoke(&outer, "get", &["7"]).unwrap().value.to_json_text();
        assert_eq!(answer, r#""001""#, "{mode:?}");
    }
    let failed = kept.failed.lock().unwrap();
    let circle = "tools call each other in a circle: inner > outer > inner";
    assert_eq!(failed.len(), 4);
    assert!(failed.iter().all(|error| error.to_string() == circle), "{failed:?}");
}
