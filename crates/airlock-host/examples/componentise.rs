//! Makes the component of a module that says its world, as Airlock does with such a module when it is loaded.
//!
//! ```text
//! componentise [MODULE COMPONENT]
//! ```
//!
//! Without arguments it looks whether the one of `plugins/prx-email` is what its module makes.

use std::error::Error;
use std::path::{Path, PathBuf};

use airlock_host::componentised;

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args_os().skip(1).map(PathBuf::from);
    let made = |module: &Path| {
        let component = componentised(&std::fs::read(module)?)?;
        component.ok_or_else(|| Box::<dyn Error>::from("the module says no world"))
    };
    if let (Some(module), Some(component)) = (words.next(), words.next()) {
        std::fs::write(component, made(&module)?)?;
        return Ok(());
    }
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prx-email");
    let component = std::fs::read(plugin.join("plugin.wasm"))?;
    match made(&plugin.join("prx_email_plugin.wasm"))? == component {
        true => Ok(()),
        false => Err("plugin.wasm is not what prx_email_plugin.wasm makes".into()),
    }
}
