//! What the functions of a component are called by.

use std::collections::HashMap;

use airlock_core::{Error, ErrorKind, nearest};
use airlock_engine::Wit;

/// Names, each with the functions that could be meant by it.
pub(super) struct Names {
    /// The shortest full name of each function that only it has.
    listed: Vec<String>,
    meant: HashMap<String, Vec<usize>>,
}

impl Names {
    pub(super) fn of(wit: &Wit) -> Self {
        let mut meant: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, function) in wit.functions.iter().enumerate() {
            let interface = function.interface.as_deref();
            let mut names: Vec<String> = Vec::new();
            for own in [Some(function.name.as_str()), plain(&function.name)].into_iter().flatten() {
                let full = |interface: &str| format!("{interface}.{own}");
                names.push(own.to_owned());
                names.extend(interface.map(full));
                names.extend(interface.and_then(unversioned).map(full));
            }
            for name in names {
                let meant = meant.entry(name).or_default();
                if !meant.contains(&index) {
                    meant.push(index);
                }
            }
        }
        let listed = |function: &airlock_engine::WitFunction| {
            let short = function.interface.as_deref().and_then(unversioned);
            let short = short.map(|interface| format!("{interface}.{}", function.name));
            short.filter(|name| meant[name].len() == 1).unwrap_or_else(|| function.full_name())
        };
        Names { listed: wit.functions.iter().map(listed).collect(), meant }
    }

    /// The functions as they are listed.
    pub(super) fn listed(&self) -> &[String] {
        &self.listed
    }

    /// Which function is called so.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownFunction`], with all that are called so where those are several.
    pub(super) fn find(&self, name: &str) -> Result<usize, Error> {
        let nearest = match self.meant.get(name).map(Vec::as_slice) {
            Some(&[index]) => return Ok(index),
            // A function of the component itself goes before those of interfaces.
            Some(several) => match several.iter().find(|index| self.listed[**index] == name) {
                Some(&index) => return Ok(index),
                None => several.iter().map(|index| self.listed[*index].clone()).collect(),
            },
            None => self.nearest(name),
        };
        let (plugin, function) = (String::new(), name.to_owned());
        Err(Error::new(ErrorKind::UnknownFunction { plugin, function, nearest }))
    }

    fn nearest(&self, name: &str) -> Vec<String> {
        let near = nearest(name, self.meant.keys().map(String::as_str));
        // By the names that they are listed under, each once.
        let mut places: Vec<usize> = near.iter().flat_map(|name| self.meant[name].clone()).collect();
        places.sort_unstable();
        places.dedup();
        match places.is_empty() {
            true => self.listed.iter().take(5).cloned().collect(),
            false => places.into_iter().take(5).map(|index| self.listed[index].clone()).collect(),
        }
    }
}

/// An interface without its version.
fn unversioned(interface: &str) -> Option<&str> {
    interface.split_once('@').map_or(Some(interface), |(name, _)| Some(name))
}

/// `counter.increment` for `[method]counter.increment`, and `counter` for its constructor.
fn plain(name: &str) -> Option<&str> {
    let (kind, rest) = name.strip_prefix('[')?.split_once(']')?;
    matches!(kind, "method" | "static" | "constructor").then_some(rest)
}
