//! Functions with Rust types, some of them made from the plugin's WIT.

use airlock_host::component::{ComponentStore, ComponentType, Lift, Lower, wasmtime};

use super::values_on;
use crate::support::{MODES, Mode, host, limits, text};

mod bindings {
    airlock_host::component::bindgen!({
        path: "../../plugins/wit-values/wit",
        world: "values",
        wasmtime_crate: airlock_host::component::wasmtime,
    });
}

/// The same world for calls on a fiber.
mod world {
    airlock_host::component::bindgen!({
        path: "../../plugins/wit-values/wit",
        world: "values",
        exports: { default: async },
        wasmtime_crate: airlock_host::component::wasmtime,
    });
}

use bindings::exports::airlock::values::all::{Point, Shape};
use bindings::exports::airlock::values::math::Problem;

#[derive(Debug, Clone, Copy, PartialEq, ComponentType, Lift, Lower)]
#[component(record)]
struct OwnPoint {
    x: i32,
    y: i32,
}

#[test]
fn types_of_bindings_and_of_ones_own_are_taken_in_every_mode() {
    let plugin = values_on(&host(), limits(&[]));
    for mode in MODES {
        let mut session = plugin.session_blocking().unwrap();
        let distance = session.component_func::<(OwnPoint, OwnPoint), (f64,)>("distance").unwrap();
        let points = (OwnPoint { x: 0, y: 0 }, OwnPoint { x: 3, y: 4 });
        let (found,) = match mode {
            Mode::Blocking => distance.call_blocking(&mut session, points).unwrap(),
            _ => mode.wait(distance.call(&mut session, points)).unwrap(),
        };
        assert_eq!(found, 5.0, "{mode:?}");
    }
    let mut session = plugin.session_blocking().unwrap();
    let echo = session.component_func::<(Shape,), (Shape,)>("echo-shape").unwrap();
    let shape = Shape::Polygon(vec![Point { x: 1, y: 2 }]);
    let (back,) = echo.call_blocking(&mut session, (shape,)).unwrap();
    assert!(matches!(back, Shape::Polygon(points) if (points[0].x, points[0].y) == (1, 2)));
    let divide = session.component_func::<(i32, i32), (Result<i32, Problem>,)>("divide").unwrap();
    assert!(matches!(divide.call_blocking(&mut session, (1, 0)).unwrap(), (Err(Problem::DivisionByZero),)));
    assert!(session.is_alive());
}

#[test]
fn other_types_and_other_sessions_are_refused() {
    let plugin = values_on(&host(), limits(&[("timeout", "200ms"), ("output", "1MiB"), ("input", "1MiB")]));
    let mut session = plugin.session_blocking().unwrap();
    let error = session.component_func::<(u32,), (u32,)>("add").unwrap_err();
    assert_eq!(error.to_string(), "export `add` cannot be called: it is a func(a: u32, b: u32) -> u32");
    assert_eq!(session.component_func::<(), ()>("nothing").unwrap_err().code(), "unknown-function");
    let add = session.component_func::<(u32, u32), (u32,)>("add").unwrap();
    let mut other = plugin.session_blocking().unwrap();
    assert_eq!(add.call_blocking(&mut other, (1, 2)).unwrap_err().code(), "invalid-setting");
    // Its limits are every call's.
    let bytes = session.component_func::<(u32,), (Vec<u8>,)>("airlock:values/hostile.bytes").unwrap();
    assert_eq!(bytes.call_blocking(&mut session, (1 << 20,)).unwrap().0.len(), 1 << 20);
    assert_eq!(bytes.call_blocking(&mut session, (9 << 20,)).unwrap_err().code(), "limit-output");
    assert_eq!(add.call_blocking(&mut session, (1, 2)).unwrap_err().code(), "session-ended");
    let spin = other.component_func::<(), ()>("spin").unwrap();
    assert_eq!(spin.call_blocking(&mut other, ()).unwrap_err().code(), "deadline");
}

#[test]
fn a_world_of_bindings_is_called_between_dynamic_calls_of_the_same_session() {
    use world::exports::airlock::values::{all, math};

    let plugin = values_on(&host(), limits(&[]));
    for mode in MODES {
        let mut session = plugin.session_blocking().unwrap();
        let counter: serde_json::Value = session.call_blocking("[constructor]counter", &(1,)).unwrap().value;
        let calls = async |mut store: ComponentStore<'_>, instance: &wasmtime::component::Instance| {
            let world = world::Values::new(&mut store, instance)?;
            let sum = world.call_add(&mut store, 40, 2).await?;
            let greeting = world.call_greet(&mut store, "Ada", Some("Ciao")).await?;
            let math = world.airlock_values_math();
            let quotient = math.call_divide(&mut store, 1, 0).await?;
            let by_zero = matches!(quotient, Err(math::Problem::DivisionByZero));
            let shape = all::Shape::Polygon(vec![all::Point { x: 1, y: 2 }]);
            let shape = world.airlock_values_all().call_echo_shape(&mut store, &shape).await?;
            let is_same =
                matches!(shape, all::Shape::Polygon(points) if (points[0].x, points[0].y) == (1, 2));
            let counters = world.airlock_values_counters();
            let own = counters.counter().call_constructor(&mut store, 10).await?;
            let value = counters.counter().call_increment(&mut store, own, 5).await?;
            own.resource_drop_async(&mut store).await?;
            let alive = counters.call_alive(&mut store).await?;
            Ok((sum, greeting, by_zero, is_same, value, alive))
        };
        let found = match mode {
            Mode::Blocking => session.with_component_blocking(calls),
            _ => mode.wait(session.with_component(calls)),
        };
        assert_eq!(found.unwrap(), (42, "Ciao, Ada!".to_owned(), true, true, 15, 1), "{mode:?}");
        // What was there before is there after it.
        let by = serde_json::json!({ "self": counter, "by": 6 });
        let count: u32 = session.call_blocking("counter.increment", &by).unwrap().value;
        assert_eq!(count, 7, "{mode:?}");
    }
}

#[test]
fn calls_of_a_world_are_within_the_limits_of_one_call() {
    let plugin = values_on(&host(), limits(&[("timeout", "200ms"), ("memory", "8MiB")]));
    for mode in MODES {
        let mut session = plugin.session_blocking().unwrap();
        let spin = async |mut store: ComponentStore<'_>, instance: &wasmtime::component::Instance| {
            let world = world::Values::new(&mut store, instance)?;
            world.airlock_values_hostile().call_spin(&mut store).await
        };
        let error = match mode {
            Mode::Blocking => session.with_component_blocking(spin),
            _ => mode.wait(session.with_component(spin)),
        };
        assert_eq!(error.unwrap_err().code(), "deadline", "{mode:?}");
        let nothing = async |_: ComponentStore<'_>, _: &wasmtime::component::Instance| Ok(());
        assert_eq!(session.with_component_blocking(nothing).unwrap_err().code(), "session-ended");
    }
    let mut session = plugin.session_blocking().unwrap();
    let hold = session.with_component_blocking(async |mut store, instance| {
        world::Values::new(&mut store, instance)?
            .airlock_values_hostile()
            .call_hold(&mut store, 9_000_000)
            .await
    });
    assert_eq!(hold.unwrap_err().code(), "limit-memory");
    let fuel = values_on(&host(), limits(&[("fuel", "2_000_000")]));
    let mut session = fuel.session_blocking().unwrap();
    let add = async |mut store: ComponentStore<'_>, instance: &wasmtime::component::Instance| {
        world::Values::new(&mut store, instance)?.call_add(&mut store, 1, 2).await
    };
    assert_eq!(session.with_component_blocking(add).unwrap(), 3);
    assert!(session.usage().unwrap().fuel.is_some_and(|fuel| fuel > 0));
    let spin = session.with_component_blocking(async |mut store, instance| {
        world::Values::new(&mut store, instance)?.airlock_values_hostile().call_spin(&mut store).await
    });
    assert_eq!(spin.unwrap_err().code(), "limit-fuel");
}

#[test]
fn what_fails_in_calls_of_a_world_ends_the_session_and_a_module_has_none() {
    let plugin = values_on(&host(), limits(&[]));
    let mut session = plugin.session_blocking().unwrap();
    let kept = session.with_component_blocking(async |_, _| Ok(Err::<(), _>("a value")));
    assert_eq!(kept.unwrap(), Err("a value"));
    assert!(session.is_alive());
    let trapped = session.with_component_blocking(async |mut store, instance| {
        world::Values::new(&mut store, instance)?.airlock_values_hostile().call_trap(&mut store).await
    });
    assert_eq!(trapped.unwrap_err().code(), "trap");
    assert!(!session.is_alive());
    let module = crate::support::load(&host(), r#"(module (func (export "f")))"#, text());
    let mut session = module.session_blocking().unwrap();
    let error = session.with_component_blocking(async |_, _| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "`with_component`: the plugin is a module, and no component");
}
