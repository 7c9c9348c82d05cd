//! What components' functions are called with by their Rust types: wasmtime's own types, by their names.
//!
//! [`bindgen!`] makes Rust types of a WIT package, which [`Session::component_func`] takes and gives as
//! they are, with nothing in between. What is here is of the version of wasmtime that this crate is built
//! with, and changes with it; nothing else in this crate's interface does.
//!
//! ```
//! mod values {
//!     airlock_host::component::bindgen!({
//!         path: "../../plugins/wit-values/wit",
//!         world: "values",
//!         wasmtime_crate: airlock_host::component::wasmtime,
//!     });
//! }
//! use values::exports::airlock::values::math::{Point, Problem};
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! let host = airlock_host::Host::new()?;
//! let options = airlock_host::LoadOptions::new();
//! let plugin = host.load_blocking("../../plugins/wit-values/wit_values.wasm", options)?;
//! let mut session = plugin.session_blocking()?;
//! let distance = session.component_func::<(Point, Point), (f64,)>("airlock:values/math.distance")?;
//! let (origin, target) = (Point { x: 0, y: 0 }, Point { x: 3, y: 4 });
//! assert_eq!(distance.call_blocking(&mut session, (origin, target))?, (5.0,));
//! let divide = session.component_func::<(i32, i32), (Result<i32, Problem>,)>("divide")?;
//! let (quotient,) = divide.call_blocking(&mut session, (1, 0))?;
//! assert!(matches!(quotient, Err(Problem::DivisionByZero)));
//! # Ok(())
//! # }
//! ```
//!
//! [`Session::component_func`]: crate::Session::component_func

pub use wasmtime;
pub use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower, ResourceAny, bindgen, flags};
