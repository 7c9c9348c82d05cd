//! Plugins of the `fledge-v1` protocol.
//!
//! Such a plugin is a program with a `main`. Its host sends it one message at the start,
//! [`Init`], with the arguments and where it runs. From then on the plugin speaks, and the
//! host answers where there is something to answer. [`Plugin`] is that connection.
//!
//! What a method can do depends on the plugin's `[capabilities]` in `plugin.toml` and on
//! what was granted of them. A denied request is answered too, and the method says with
//! what.
//!
//! # Where it runs
//!
//! As WebAssembly the messages go through the functions that the host gives the module.
//! Built for any other target, the same program speaks fledge's native form of the
//! protocol: a line of JSON for each message, on standard input and output. So a plugin can
//! be tried without a host:
//!
//! ```sh
//! echo '{"type":"init","protocol":"fledge-v1","args":["Ada"]}' | cargo run
//! ```
//!
//! # Testing
//!
//! Put the work into a function that takes a plugin over any [`Transport`], and give it a
//! [`testing::Script`], which plays the host:
//!
//! ```
//! use airlock_sdk::fledge::testing::{self, Script};
//! use airlock_sdk::fledge::{Error, Exec, Plugin, Transport};
//!
//! /// Prints the last commit; the exit code is that of git.
//! fn last_commit<T: Transport>(plugin: &mut Plugin<T>) -> Result<i32, Error> {
//!     let git = plugin.exec(Exec::new("git log --oneline -1").timeout(5))?;
//!     plugin.output(if git.success() { &git.stdout } else { "no commit\n" })?;
//!     Ok(git.code)
//! }
//!
//! let script = Script::new(testing::init(["--short"]))
//!     .answer(serde_json::json!({ "code": 0, "stdout": "1f2e3d Tidy up\n", "stderr": "" }));
//! let mut plugin = Plugin::connect(script)?;
//! assert_eq!(last_commit(&mut plugin)?, 0);
//! assert_eq!(plugin.transport().output(), "1f2e3d Tidy up\n");
//! # Ok::<(), Error>(())
//! ```
//!
//! `main` is then three lines: [`Plugin::start`], the function, [`Plugin::exit`].

mod error;
mod fields;
mod http;
#[cfg(target_arch = "wasm32")]
mod imports;
mod init;
mod lines;
mod message;
mod plugin;
#[cfg(not(target_arch = "wasm32"))]
mod stdio;
pub mod testing;
mod transport;

// The public interface is:
pub use error::Error;
pub use http::{Request, Response};
#[cfg(target_arch = "wasm32")]
pub use imports::Host;
pub use init::{Capabilities, Git, Identity, Init, Project};
pub use message::{Confirm, Exec, ExecResult, Level, MultiSelect, Progress, Prompt, Select, Validate};
pub use plugin::Plugin;
#[cfg(not(target_arch = "wasm32"))]
pub use stdio::Host;
pub use transport::Transport;

/// The name of the protocol, as it is in [`Init`] and in `plugin.toml`.
pub const PROTOCOL: &str = "fledge-v1";
