//! Configuration from the operator and the host's environment.

use std::collections::{BTreeMap, BTreeSet};

use airlock_core::{Config, Permit, ServiceError};

/// Beginnings of variables' names, the first that has a value goes before: Airlock's own, and
/// CortexPrism's (its `host_get_config`).
const PREFIXES: [&str; 2] = ["AIRLOCK_PLUGIN", "CORTEX_PLUGIN"];

/// What the operator set for each plugin, under what the host's environment says.
///
/// The variable for the key `api-url` of the plugin `my-tool` is
/// `AIRLOCK_PLUGIN_MY_TOOL_API_URL`, or `CORTEX_PLUGIN_MY_TOOL_API_URL`: in upper case, with
/// `_` for everything that is neither a letter nor a digit. CortexPrism replaces nothing, so
/// `CORTEX_PLUGIN_MY-TOOL_API-URL` is looked at too, and last `CORTEX_WASM_API_URL`, which is every
/// plugin's. What a plugin's manifest has for a key holds where none of them says anything.
#[derive(Debug, Clone, Default)]
pub struct OperatorConfig {
    plugins: BTreeMap<String, BTreeMap<String, String>>,
}

impl OperatorConfig {
    /// Nothing but the environment.
    pub fn new() -> Self {
        OperatorConfig::default()
    }

    /// The same with these values for a plugin.
    #[must_use]
    pub fn plugin(
        mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        self.plugins.entry(name.into()).or_default().extend(values);
        self
    }
}

impl Config for OperatorConfig {
    fn get(&self, permit: &Permit, key: &str) -> Result<Option<String>, ServiceError> {
        if key.is_empty() || key.contains('\0') {
            return Err(ServiceError::Invalid("a key of the configuration has a name".to_owned()));
        }
        let plugin = &permit.caller().name;
        let set = |name: String| std::env::var(name).ok().filter(|value| !value.is_empty());
        let own = PREFIXES.iter().find_map(|prefix| set(variable(&[prefix, plugin, key])));
        let as_it_is =
            || set(format!("CORTEX_PLUGIN_{}_{}", plugin.to_ascii_uppercase(), key.to_ascii_uppercase()));
        let operators = || self.plugins.get(plugin).and_then(|values| values.get(key)).cloned();
        let everyones = || set(variable(&["CORTEX_WASM", key]));
        Ok(own.or_else(as_it_is).or_else(operators).or_else(everyones))
    }

    fn keys(&self, permit: &Permit) -> Result<Vec<String>, ServiceError> {
        // A variable's name does not say what its key was: upper case it may not have been.
        let keys = self.plugins.get(&permit.caller().name).into_iter().flat_map(BTreeMap::keys);
        Ok(keys.cloned().collect::<BTreeSet<_>>().into_iter().collect())
    }
}

/// The name of a variable of these parts.
fn variable(parts: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    parts.iter().map(|part| part.chars().map(plain).collect::<String>()).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn a_variables_name_is_made_of_what_a_shell_takes() {
        assert_eq!(variable(&["AIRLOCK_PLUGIN", "my-tool", "api.url"]), "AIRLOCK_PLUGIN_MY_TOOL_API_URL");
    }
}
