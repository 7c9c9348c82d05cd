//! Fuel, time and memory, for each call.

use airlock_host::{CallOptions, Input, LimitKind, LoadOptions};
use serde_json::json;

use super::{World, managed_probe, wasm};

fn managed(options: LoadOptions) -> (World, airlock_host::manager::Managed) {
    let world = World::new();
    let managed = world.manager().load_blocking("t", wasm("prx-tool"), options).unwrap();
    (world, managed)
}

#[test]
fn fuel_is_each_calls_own_and_not_the_instances_for_its_life() {
    let (_world, managed) = managed(LoadOptions::new().limit(LimitKind::Fuel, 500_000));
    let input = || Input::json(&json!({ "do": "config.get", "args": ["x"], "times": 200 })).unwrap();
    let mut used = 0;
    for _ in 0..20 {
        used += managed.invoke_blocking("execute", input()).unwrap().usage.fuel.unwrap();
    }
    assert!(used > 500_000, "together more than one has: {used}");
    assert_eq!(
        managed_probe(&managed, "count", &json!([])).unwrap(),
        json!(21),
        "one instance served them all"
    );
}

#[test]
fn a_loop_ends_at_its_fuel_and_the_next_call_is_served() {
    let (_world, managed) = managed(LoadOptions::new());
    assert_eq!(managed_probe(&managed, "spin", &json!([])).unwrap_err().code(), "limit-fuel");
    assert_eq!(managed_probe(&managed, "count", &json!([])).unwrap(), json!(1));
}

#[test]
fn a_loop_ends_at_its_time_and_the_next_call_is_served() {
    let options = LoadOptions::new().limit(LimitKind::Fuel, u64::MAX).limit(LimitKind::Timeout, 50_000_000);
    let (_world, managed) = managed(options);
    assert_eq!(managed_probe(&managed, "spin", &json!([])).unwrap_err().code(), "deadline");
    let options = CallOptions::new();
    let input = Input::json(&json!({ "do": "count" })).unwrap();
    let outcome = managed.invoke_blocking_with("execute", input, &options);
    // Making an instance may take longer than that on a busy machine.
    assert!(
        outcome
            .map_or_else(|error| error.code() == "deadline", |outcome| outcome.value.to_json_text() == "1")
    );
}

#[test]
fn memory_does_not_grow_beyond_64_mib() {
    let (_world, managed) = managed(LoadOptions::new());
    let error = managed_probe(&managed, "grow", &json!([])).unwrap_err();
    assert_eq!(error.code(), "limit-memory", "{error}");
    assert_eq!(managed_probe(&managed, "count", &json!([])).unwrap(), json!(1));
}
