//! Plugins of MoFA, and what its documents promise.

mod imports;
mod page;
mod replay;
