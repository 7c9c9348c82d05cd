//! Plugins of PRX's from before its components: their tools, which `execute` runs, and what they say of themselves.

use std::sync::Arc;

use airlock_core::{Error, ErrorKind, Manifest, ManifestFormat, Result, ValueType};
use airlock_engine::Shape;

use super::JsonAdapter;
use crate::abi::exports::{TELLS, is_before_components};
use crate::abi::{Adapter, Describer, Failure, GuestFuture};
use crate::answer::{Answer, Input};
use crate::store::Live;

/// What runs a tool.
pub(super) const EXECUTE: &str = "execute";

/// What is run once; 0 where it did well.
pub(super) const INIT: &str = "init";

/// The functions that such a plugin says of itself with.
pub(super) fn tells(shape: &Shape) -> impl Iterator<Item = &'static str> {
    let is_told = |name: &&str| {
        is_before_components(shape) && shape.function(name).is_some_and(|ty| ty.is(&[], &[ValueType::I32]))
    };
    TELLS.into_iter().filter(is_told)
}

/// The tools that are called by their names: those that have no export's.
pub(super) fn names<'a>(shape: &'a Shape, manifest: Option<&'a Manifest>) -> impl Iterator<Item = String> {
    let tools = manifest.filter(|manifest| may_have_tools(shape, Some(manifest)));
    let names = tools.into_iter().flat_map(|manifest| &manifest.tools).map(|tool| &tool.name);
    names.filter(|name| shape.export(name).is_none()).cloned()
}

/// Whether it is such a plugin, and its manifest, where there is one, of the system that has them.
fn may_have_tools(shape: &Shape, manifest: Option<&Manifest>) -> bool {
    is_before_components(shape) && manifest.is_none_or(|manifest| manifest.format == ManifestFormat::Prx)
}

/// What [`EXECUTE`] is given for a tool; `params` is JSON, and stays as it was given.
pub(super) fn of_tool(name: &str, params: &str) -> String {
    format!(r#"{{"tool":{},"params":{params}}}"#, serde_json::Value::from(name))
}

/// Runs [`INIT`], whose answer says whether it did well.
pub(super) async fn run_init(live: &mut Live) -> Result<(), Failure> {
    match live.invoke::<(), u32>(INIT, ()).await.transpose()? {
        None | Some(0) => Ok(()),
        Some(code) => Err(Error::new(ErrorKind::Failed(format!("its `{INIT}` answered {code}"))).into()),
    }
}

/// What asks a plugin for its tools, where its manifest names none.
///
/// # Errors
/// As [`Abi::bind`](crate::abi::Abi::bind).
pub(super) fn describer(shape: &Arc<Shape>, manifest: Option<&Manifest>) -> Result<Option<Describer>> {
    if manifest.is_some_and(|manifest| !manifest.tools.is_empty()) || !may_have_tools(shape, manifest) {
        return Ok(None);
    }
    // Of the two the one that is for tools.
    let Some(tell) = tells(shape).last() else { return Ok(None) };
    Ok(Some(Describer {
        adapter: Arc::new(Asked { adapter: JsonAdapter::of(shape, manifest)?, tell }),
        is_manifest: false,
        read: |said, manifest, name| match said {
            // It had nothing when it was asked, and may need something.
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::Trap { .. } | ErrorKind::BadGuest { .. } | ErrorKind::Failed(_)
                ) =>
            {
                Err(error)
            }
            Err(error) => Manifest::with_prx_tools(Err(error), manifest, name),
            Ok(said) => Manifest::with_prx_tools(Ok(&said), manifest, name),
        },
    }))
}

/// A plugin that is only asked what it is.
struct Asked {
    adapter: JsonAdapter,
    tell: &'static str,
}

impl Adapter for Asked {
    fn functions(&self) -> &[String] {
        &[]
    }

    fn start<'a>(&'a self, live: &'a mut Live) -> Option<GuestFuture<'a, ()>> {
        self.adapter.start(live)
    }

    fn call<'a>(&'a self, live: &'a mut Live, _function: &'a str, input: Input) -> GuestFuture<'a, Answer> {
        Box::pin(async move {
            let said = self.adapter.call(live, self.tell, input).await?;
            Ok(Answer::Bytes(said.to_json_text().into_bytes()))
        })
    }
}
