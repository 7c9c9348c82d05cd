//! What `airlock bench` and `airlock profile` do again and again.

use airlock_host::{Error, ErrorKind, Input, Plugin, ProgramInput, StdinSource, Usage};

use super::call::read_input;

/// One call, to be made any number of times.
pub(super) enum Work<'a> {
    Call { function: &'a str, input: Input },
    Run { args: Vec<String>, stdin: Vec<u8> },
}

impl<'a> Work<'a> {
    /// A call of a plugin's function with what was typed for it, or a run of a program with these as
    /// arguments.
    ///
    /// # Errors
    /// Where it is not said which function, and what the input has wrong.
    pub(super) fn of(plugin: &Plugin, function: Option<&'a str>, input: &[String]) -> Result<Self, Error> {
        if plugin.abi().is_program() {
            let args = function.map(str::to_owned).into_iter().chain(input.iter().cloned()).collect();
            return Ok(Work::Run { args, stdin: Vec::new() });
        }
        let Some(function) = function else {
            let names = plugin.functions().iter().take(5).map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let error = Error::new(ErrorKind::InvalidSetting {
                name: "FUNCTION".to_owned(),
                reason: "it is not said which function is to be called".to_owned(),
            });
            return Err(error.with_hint(format!("the plugin has {}", names.join(", "))));
        };
        Ok(Work::Call { function, input: read_input(plugin, input)? })
    }

    pub(super) fn once(&self, plugin: &Plugin) -> Result<Usage, Error> {
        match self {
            Work::Call { function, input } => {
                plugin.invoke_blocking(function, input.clone()).map(|outcome| outcome.usage)
            }
            Work::Run { args, stdin } => {
                let input = ProgramInput::new().args(args.clone()).stdin(StdinSource::bytes(stdin.clone()));
                plugin.run_blocking(input).map(|outcome| outcome.usage)
            }
        }
    }
}
