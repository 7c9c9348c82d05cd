//! What a word of the command line takes after it.

use serde::{Deserialize, Deserializer, Serialize};

use super::is_word;
use crate::text::is_hidden;

/// A command as a plugin describes it: what it is for, what it takes, what is below it.
///
/// Read leniently from sen-rs's manifests: a nil stands for what a field is without one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// The word that it is called by.
    pub name: String,
    /// What it does, as written.
    #[serde(default, deserialize_with = "or_default")]
    pub about: String,
    /// Its version, as written.
    #[serde(default)]
    pub version: Option<String>,
    /// Whose it is, as written.
    #[serde(default)]
    pub author: Option<String>,
    /// What it takes, in the order in which the plugin is given the values.
    #[serde(default, deserialize_with = "or_default")]
    pub args: Vec<ArgSpec>,
    /// The commands below it.
    #[serde(default, deserialize_with = "or_default")]
    pub subcommands: Vec<CommandSpec>,
}

/// One thing that a command takes: an option where it has a long or short form, else a value at
/// its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArgSpec {
    /// What it is called.
    pub name: String,
    /// Its long form, without dashes.
    #[serde(default)]
    pub long: Option<String>,
    /// Its short form, without a dash.
    #[serde(default)]
    pub short: Option<char>,
    /// Whether there has to be one.
    #[serde(default, deserialize_with = "or_default")]
    pub required: bool,
    /// What it is for, as written.
    #[serde(default, deserialize_with = "or_default")]
    pub help: String,
    /// What stands for its value in help.
    #[serde(default)]
    pub value_name: Option<String>,
    /// What the plugin is given where nobody gives one.
    #[serde(default)]
    pub default_value: Option<String>,
    /// What it can be; anything where none is said.
    #[serde(default)]
    pub possible_values: Option<Vec<String>>,
}

/// What there is, or what stands for nothing.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Forms that every command has for its help and version.
const TAKEN_LONG: [&str; 2] = ["help", "version"];
const TAKEN_SHORT: [char; 2] = ['h', 'V'];

impl ArgSpec {
    /// Whether it is told by its form and not by its place.
    pub fn is_option(&self) -> bool {
        self.long.is_some() || self.short.is_some()
    }
}

impl CommandSpec {
    /// Makes it what a command line can be read by, and says what of it is left out for that:
    /// forms that are none or that something else has already, a default that cannot be
    /// chosen, a second command of the same name.
    pub(super) fn tidy(&mut self, warnings: &mut Vec<String>) {
        let command = self.name.clone();
        let (mut longs, mut shorts): (Vec<String>, Vec<char>) = (Vec::new(), Vec::new());
        for arg in &mut self.args {
            let mut warn = |what: String| {
                warnings.push(format!("`{command}`: `{}` {what}", arg.name));
            };
            if let Some(long) = arg.long.take() {
                let bare = long.trim_start_matches('-');
                if !is_word(bare) {
                    warn(format!("has the form `--{bare}`, which is none"));
                } else if TAKEN_LONG.contains(&bare) || longs.iter().any(|taken| taken == bare) {
                    warn(format!("has the form `--{bare}`, which is another's"));
                } else {
                    longs.push(bare.to_owned());
                    arg.long = Some(bare.to_owned());
                }
            }
            if let Some(short) = arg.short.take() {
                if !short.is_alphanumeric() {
                    warn(format!("has the form `-{short}`, which is none"));
                } else if TAKEN_SHORT.contains(&short) || shorts.contains(&short) {
                    warn(format!("has the form `-{short}`, which is another's"));
                } else {
                    shorts.push(short);
                    arg.short = Some(short);
                }
            }
            // What cannot be shown cannot be typed.
            let typed = |value: &String| !value.chars().any(is_hidden);
            let possible = arg.possible_values.take().map(|values| values.into_iter().filter(typed));
            arg.possible_values =
                possible.map(Iterator::collect).filter(|values: &Vec<_>| !values.is_empty());
            if let (Some(default), Some(possible)) = (&arg.default_value, &arg.possible_values)
                && !possible.contains(default)
            {
                warn(format!("is `{default}` where nothing is said, which is not one of its values"));
                arg.default_value = None;
            }
        }
        self.tidy_places(warnings);
        let mut names: Vec<String> = Vec::new();
        self.subcommands.retain(|below| {
            let is_fine = is_word(&below.name) && !names.contains(&below.name);
            match is_fine {
                true => names.push(below.name.clone()),
                false => warnings.push(format!(
                    "`{command}`: the command `{}` below it has a name that is none, or another's",
                    below.name
                )),
            }
            is_fine
        });
        self.subcommands.iter_mut().for_each(|below| below.tidy(warnings));
    }

    /// A value that could be left out cannot be before one that could not: nobody would know which
    /// of them one was.
    fn tidy_places(&mut self, warnings: &mut Vec<String>) {
        let values = self.args.iter_mut().filter(|arg| !arg.is_option()).rev();
        let mut later_is_required = false;
        for arg in values {
            let is_required = arg.required && arg.default_value.is_none();
            if later_is_required && !is_required {
                warnings.push(format!(
                    "`{}`: `{}` comes before a value that there has to be, and so has to be there too",
                    self.name, arg.name
                ));
                (arg.required, arg.default_value) = (true, None);
            }
            later_is_required |= is_required;
        }
    }

    /// Arguments and commands, of it and all below it.
    pub(super) fn entries(&self) -> usize {
        let below: usize = self.subcommands.iter().map(CommandSpec::entries).sum();
        1 + self.args.len() + below
    }
}
