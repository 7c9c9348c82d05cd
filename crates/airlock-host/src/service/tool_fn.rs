//! A closure as a tool for plugins.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use airlock_core::{Permit, ServiceError, ServiceFuture, Tool, ToolInfo};
use serde_json::Value;

/// A function of the application that plugins can call by a tool's name: JSON in, JSON out, awaited on
/// the executor that awaits the call.
///
/// What it fails with is told to the plugin, as its ABI tells such things. Whole numbers of 64 bits come
/// and go as they are; a tool that wants more of a number's digits implements [`Tool`] itself.
///
/// ```
/// use std::sync::Arc;
///
/// use airlock_host::ServiceError;
/// use airlock_host::service::{Services, ToolFn, ToolRegistry};
/// use serde_json::json;
///
/// # fn main() -> Result<(), airlock_host::Error> {
/// let double = ToolFn::new("double", "doubles a number", |input| async move {
///     match input["number"].as_i64() {
///         Some(number) => Ok(json!({ "result": number * 2 })),
///         None => Err(ServiceError::Invalid("it wants a `number`".to_owned())),
///     }
/// });
/// let tools = ToolRegistry::new();
/// tools.register(Arc::new(double))?;
/// let mut services = Services::default();
/// services.tools = Arc::new(tools);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ToolFn {
    info: ToolInfo,
    run: Arc<dyn Fn(Value) -> ServiceFuture<'static, Value> + Send + Sync>,
}

impl ToolFn {
    /// A tool of this name, with what it does in words.
    pub fn new<F, Fut>(name: impl Into<String>, description: impl Into<String>, run: F) -> Self
    where
        F: Fn(Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, ServiceError>> + Send + 'static,
    {
        let info = ToolInfo { name: name.into(), description: description.into(), input_schema: None };
        ToolFn { info, run: Arc::new(move |input| Box::pin(run(input))) }
    }

    /// The same with a JSON Schema of its input, which is told to who asks for the tools and checked by
    /// nobody.
    #[must_use]
    pub fn input_schema(mut self, schema: &Value) -> Self {
        self.info.input_schema = Some(schema.to_string());
        self
    }
}

impl fmt::Debug for ToolFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolFn").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Tool for ToolFn {
    fn info(&self) -> ToolInfo {
        self.info.clone()
    }

    fn call<'a>(&'a self, _permit: &'a Permit, input: &'a str) -> ServiceFuture<'a, String> {
        Box::pin(async move {
            let input = serde_json::from_str(input)
                .map_err(|error| ServiceError::Invalid(format!("its input cannot be read: {error}")))?;
            Ok((self.run)(input).await?.to_string())
        })
    }
}
