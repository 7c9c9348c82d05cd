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
//!
//! What it makes of the world as a whole, a type with a method for each export, wants wasmtime's store.
//! [`Session::with_component`] hands that over for one call:
//!
//! ```
//! mod values {
//!     airlock_host::component::bindgen!({
//!         path: "../../plugins/wit-values/wit",
//!         world: "values",
//!         exports: { default: async },
//!         wasmtime_crate: airlock_host::component::wasmtime,
//!     });
//! }
//!
//! # fn main() -> Result<(), airlock_host::Error> {
//! # let host = airlock_host::Host::new()?;
//! # let options = airlock_host::LoadOptions::new();
//! let plugin = host.load_blocking("../../plugins/wit-values/wit_values.wasm", options)?;
//! let mut session = plugin.session_blocking()?;
//! let value = session.with_component_blocking(async |mut store, instance| {
//!     let world = values::Values::new(&mut store, instance)?;
//!     let counters = world.airlock_values_counters().counter();
//!     let counter = counters.call_constructor(&mut store, 40).await?;
//!     counters.call_increment(&mut store, counter, 2).await
//! })?;
//! assert_eq!(value, 42);
//! # Ok(())
//! # }
//! ```
//!
//! [`Session::component_func`]: crate::Session::component_func
//! [`Session::with_component`]: crate::Session::with_component

pub use crate::session::ComponentStore;
pub use wasmtime;
pub use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower, ResourceAny, bindgen, flags};
