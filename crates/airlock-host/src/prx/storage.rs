//! Plugins that keep memories.

use airlock_core::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Callee;

/// A plugin that keeps memories.
#[derive(Debug, Clone)]
pub struct Storage(Callee);

/// One memory that a plugin keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredMemory {
    /// Which it is.
    pub id: String,
    /// What it was stored under.
    pub key: String,
    /// What is remembered.
    pub content: String,
    /// What kind of thing it is.
    pub category: String,
    /// When it was stored, as the plugin writes times.
    pub timestamp: String,
    /// How well it fits what was searched for, where the plugin says.
    pub score: Option<f64>,
}

impl Storage {
    /// This plugin.
    pub fn new(plugin: impl Into<Callee>) -> Self {
        Storage(plugin.into())
    }

    /// What it says that it is called.
    ///
    /// # Errors
    /// As [`Plugin::call`](crate::Plugin::call).
    pub async fn name(&self) -> Result<String> {
        self.0.call("prx:plugin/storage-exports.name", &json!({})).await
    }

    /// Keeps a memory under a key.
    ///
    /// # Errors
    /// As [`Plugin::call`](crate::Plugin::call); [`ErrorKind::Failed`](airlock_core::ErrorKind::Failed)
    /// with what the plugin says, as for all of its functions.
    pub async fn store(&self, key: &str, content: &str, category: &str, session: Option<&str>) -> Result<()> {
        let params = json!({ "key": key, "content": content, "category": category, "session-id": session });
        self.0.call("prx:plugin/storage-exports.store-memory", &params).await
    }

    /// Memories that fit a query, at most so many.
    ///
    /// # Errors
    /// As [`Storage::store`].
    pub async fn recall(&self, query: &str, limit: u32, session: Option<&str>) -> Result<Vec<StoredMemory>> {
        let params = json!({ "query": query, "limit": limit, "session-id": session });
        self.0.call("prx:plugin/storage-exports.recall-memory", &params).await
    }

    /// Forgets what is kept under a key; whether there was something.
    ///
    /// # Errors
    /// As [`Storage::store`].
    pub async fn forget(&self, key: &str) -> Result<bool> {
        self.0.call("prx:plugin/storage-exports.forget-memory", &json!({ "key": key })).await
    }

    /// How many memories it keeps.
    ///
    /// # Errors
    /// As [`Storage::store`].
    pub async fn count(&self) -> Result<u32> {
        self.0.call("prx:plugin/storage-exports.count-memories", &json!({})).await
    }

    /// Whether it says that it is well.
    ///
    /// # Errors
    /// As [`Plugin::call`](crate::Plugin::call).
    pub async fn is_healthy(&self) -> Result<bool> {
        self.0.call("prx:plugin/storage-exports.health-check", &json!({})).await
    }
}
