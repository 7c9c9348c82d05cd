//! Functions with Rust types, some of them made from the plugin's WIT.

use airlock_host::component::{ComponentType, Lift, Lower};

use super::values_on;
use crate::support::{MODES, Mode, host, limits};

mod bindings {
    airlock_host::component::bindgen!({
        path: "../../plugins/wit-values/wit",
        world: "values",
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
