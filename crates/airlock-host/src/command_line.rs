//! Plugins' commands on an application's command line, through clap. (Feature `clap`.)
//!
//! ```
//! use airlock_host::{CommandLine, Host, LoadOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::new()?;
//! let greet = host.load_blocking("../../plugins/sen-greet/sen_greet.wasm", LoadOptions::new())?;
//! let line = CommandLine::of(&greet).expect("it says what it takes");
//!
//! let cli = clap::Command::new("mycli").subcommand(line.command());
//! let matches = cli.try_get_matches_from(["mycli", "greet", "--style", "loud", "Ann"])?;
//! let Some(("greet", given)) = matches.subcommand() else { unreachable!() };
//! let values = line.values(given)?;
//! // In the order in which the plugin takes them, with what stands for those that are not given.
//! assert_eq!(values, ["Ann", "Hello", "loud"]);
//! let program = greet.run_blocking(airlock_host::ProgramInput::new().args(values))?;
//! assert_eq!(program.value.stdout, b"HELLO, ANN!\n");
//! # Ok(())
//! # }
//! ```

use airlock_core::{ArgSpec, CommandSpec, visible};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::plugin::Plugin;

/// What words a command is given by, and what its plugin makes of them: one value for each of its
/// arguments, in their order.
///
/// A value that is not given is what the plugin says stands for it, else an empty text where
/// others follow it and nothing where none does. A command below a command is its name before its
/// own values. A command that says nothing of what it takes is given all words as they are; one
/// that takes nothing but values and could do without the last is given all that are left.
#[derive(Debug, Clone)]
pub struct CommandLine {
    spec: CommandSpec,
}

impl CommandLine {
    /// That of a command.
    pub fn new(spec: CommandSpec) -> Self {
        CommandLine { spec }
    }

    /// That of a plugin, where its manifest says what it takes.
    pub fn of(plugin: &Plugin) -> Option<Self> {
        plugin.manifest()?.commands.first()?.spec.clone().map(CommandLine::new)
    }

    /// The command for clap, by its plugin's name for it: to be a subcommand, or to be parsed by
    /// itself. All its texts are made harmless to a terminal.
    pub fn command(&self) -> Command {
        command(&self.spec)
    }

    /// What the plugin is given.
    ///
    /// # Errors
    /// Where something that has to be there is not; the rest clap has found.
    pub fn values(&self, matches: &ArgMatches) -> Result<Vec<String>, clap::Error> {
        values(&self.spec, matches)
    }

    /// What the plugin is given for these words, the command's own name not among them.
    ///
    /// # Errors
    /// What is wrong with them, and [`DisplayHelp`](clap::error::ErrorKind::DisplayHelp) and
    /// [`DisplayVersion`](clap::error::ErrorKind::DisplayVersion) where that is what they ask for.
    pub fn parse(
        &self,
        words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
    ) -> Result<Vec<String>, clap::Error> {
        self.parse_as(self.command(), words)
    }

    /// The same with what was changed of the [`CommandLine::command`], such as what it is called.
    ///
    /// # Errors
    /// As [`CommandLine::parse`].
    pub fn parse_as(
        &self,
        command: Command,
        words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
    ) -> Result<Vec<String>, clap::Error> {
        let matches = command.no_binary_name(true).try_get_matches_from(words)?;
        self.values(&matches)
    }
}

/// Where the words go of a command that says nothing of what it takes.
const WORDS: &str = "words";

/// An argument is known by its place.
fn id(at: usize) -> String {
    at.to_string()
}

/// The argument that takes all values that are left.
fn greedy(spec: &CommandSpec) -> Option<usize> {
    let is_last = !spec.args.is_empty() && spec.subcommands.is_empty();
    let values_only = spec.args.iter().all(|arg| !arg.is_option());
    let last = spec.args.len().checked_sub(1)?;
    (is_last && values_only && !spec.args[last].required).then_some(last)
}

fn command(spec: &CommandSpec) -> Command {
    let shown = |text: &str| visible(text, false).into_owned();
    let mut command = Command::new(spec.name.clone()).disable_help_subcommand(true);
    if !spec.about.is_empty() {
        command = command.about(shown(&spec.about));
    }
    if let Some(version) = &spec.version {
        command = command.version(shown(version));
    }
    if let Some(author) = &spec.author {
        command = command.author(shown(author));
    }
    if spec.args.is_empty() && spec.subcommands.is_empty() {
        let words = Arg::new(WORDS).value_name("ARGS").num_args(0..).action(ArgAction::Append);
        return command.arg(words.trailing_var_arg(true).allow_hyphen_values(true));
    }
    let greedy = greedy(spec);
    for (at, arg) in spec.args.iter().enumerate() {
        command = command.arg(argument(at, arg, greedy == Some(at)));
    }
    if !spec.subcommands.is_empty() {
        command = command
            .subcommand_required(spec.args.is_empty())
            .arg_required_else_help(spec.args.is_empty())
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true);
    }
    command.subcommands(spec.subcommands.iter().map(self::command))
}

fn argument(at: usize, arg: &ArgSpec, greedy: bool) -> Arg {
    let shown = |text: &str| visible(text, false).into_owned();
    let name = arg.value_name.as_deref().unwrap_or(&arg.name);
    let name = if arg.is_option() { name.to_uppercase() } else { name.to_owned() };
    let mut help = shown(&arg.help);
    if let Some(default) = arg.default_value.as_deref().filter(|default| !default.is_empty()) {
        let space = if help.is_empty() { "" } else { " " };
        help = format!("{help}{space}[default: {}]", shown(default));
    }
    let mut built = Arg::new(id(at))
        .value_name(shown(&name))
        .help(help)
        .required(arg.required && arg.default_value.is_none())
        .allow_negative_numbers(true);
    if let Some(long) = &arg.long {
        built = built.long(long.clone());
    }
    if let Some(short) = arg.short {
        built = built.short(short);
    }
    if let Some(possible) = &arg.possible_values {
        built = built.value_parser(PossibleValuesParser::new(possible.clone()));
    }
    match greedy {
        true => built.num_args(0..).action(ArgAction::Append),
        false => built.action(ArgAction::Set),
    }
}

fn values(spec: &CommandSpec, matches: &ArgMatches) -> Result<Vec<String>, clap::Error> {
    if let Some((name, below)) = matches.subcommand()
        && let Some(spec) = spec.subcommands.iter().find(|below| below.name == name)
    {
        let own = values(spec, below)?;
        return Ok(std::iter::once(name.to_owned()).chain(own).collect());
    }
    let given = |id: &str| matches.get_many::<String>(id).into_iter().flatten().cloned();
    if spec.args.is_empty() {
        return Ok(given(WORDS).collect());
    }
    let mut values: Vec<Option<String>> = Vec::new();
    for (at, arg) in spec.args.iter().enumerate() {
        let own: Vec<String> = given(&id(at)).collect();
        match own.is_empty() {
            true => values.push(arg.default_value.clone()),
            false => values.extend(own.into_iter().map(Some)),
        }
    }
    while values.last().is_some_and(Option::is_none) {
        values.pop();
    }
    Ok(values.into_iter().map(Option::unwrap_or_default).collect())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests {
    use airlock_core::{ArgSpec, CommandSpec};
    use clap::error::ErrorKind;

    use super::CommandLine;

    fn arg(name: &str) -> ArgSpec {
        ArgSpec { name: name.to_owned(), ..ArgSpec::default() }
    }

    fn option(name: &str, short: char) -> ArgSpec {
        ArgSpec { long: Some(name.to_owned()), short: Some(short), ..arg(name) }
    }

    fn command(name: &str, args: Vec<ArgSpec>) -> CommandSpec {
        CommandSpec { name: name.to_owned(), args, ..CommandSpec::default() }
    }

    fn parse(spec: &CommandSpec, words: &[&str]) -> Result<Vec<String>, ErrorKind> {
        CommandLine::new(spec.clone()).parse(words.iter().copied()).map_err(|error| error.kind())
    }

    fn fine(words: &[&str]) -> Result<Vec<String>, ErrorKind> {
        Ok(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn values_come_in_the_order_of_the_arguments() {
        let default =
            |arg: ArgSpec, default: &str| ArgSpec { default_value: Some(default.to_owned()), ..arg };
        let spec = command(
            "greet",
            vec![default(arg("name"), "World"), option("greeting", 'g'), option("count", 'n')],
        );
        assert_eq!(parse(&spec, &[]), fine(&["World"]));
        assert_eq!(parse(&spec, &["-g", "Hi"]), fine(&["World", "Hi"]));
        assert_eq!(parse(&spec, &["--count=-3", "Ann"]), fine(&["Ann", "", "-3"]));
        assert_eq!(parse(&spec, &["-n3", "--greeting", "Hi", "--", "-Ann"]), fine(&["-Ann", "Hi", "3"]));
        assert_eq!(parse(&spec, &["Ann", "Bob"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(parse(&spec, &["--no"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(parse(&spec, &["--help"]), Err(ErrorKind::DisplayHelp));
        assert_eq!(parse(&spec, &["-g"]), Err(ErrorKind::InvalidValue));
    }

    #[test]
    fn what_has_to_be_there_and_what_it_can_be_is_checked() {
        let required = ArgSpec { required: true, ..arg("file") };
        let format = ArgSpec {
            possible_values: Some(vec!["json".to_owned(), "yaml".to_owned()]),
            default_value: Some("json".to_owned()),
            required: true,
            ..option("format", 'f')
        };
        let spec = command("show", vec![required, format]);
        assert_eq!(parse(&spec, &[]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse(&spec, &["a"]), fine(&["a", "json"]));
        assert_eq!(parse(&spec, &["a", "-f", "yaml"]), fine(&["a", "yaml"]));
        assert_eq!(parse(&spec, &["a", "-f", "xml"]), Err(ErrorKind::InvalidValue));
    }

    #[test]
    fn commands_below_are_their_names_and_values() {
        let create = command("create", vec![ArgSpec { required: true, ..arg("name") }]);
        let all = command("list", Vec::new());
        let spec = CommandSpec { subcommands: vec![create, all], ..command("db", Vec::new()) };
        assert_eq!(parse(&spec, &["create", "a"]), fine(&["create", "a"]));
        assert_eq!(parse(&spec, &["list"]), fine(&["list"]));
        assert_eq!(
            parse(&spec, &["list", "-a", "--b", "c"]),
            fine(&["list", "-a", "--b", "c"]),
            "it says nothing of them"
        );
        assert_eq!(parse(&spec, &["create"]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse(&spec, &["drop"]), Err(ErrorKind::InvalidSubcommand));
        assert_eq!(parse(&spec, &[]), Err(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand));
        // With values of its own too.
        let spec = CommandSpec { args: vec![ArgSpec { required: true, ..arg("name") }], ..spec };
        assert_eq!(parse(&spec, &["Ann"]), fine(&["Ann"]));
        assert_eq!(parse(&spec, &["list"]), fine(&["list"]));
    }

    #[test]
    fn what_can_do_without_its_last_value_takes_all_that_are_left() {
        let echo = command("echo", vec![arg("message")]);
        assert_eq!(parse(&echo, &["a", "b", "c"]), fine(&["a", "b", "c"]));
        assert_eq!(parse(&echo, &[]), fine(&[]));
        let copy = |required| {
            command(
                "copy",
                vec![ArgSpec { required: true, ..arg("from") }, ArgSpec { required, ..arg("to") }],
            )
        };
        assert_eq!(parse(&copy(true), &["a", "b", "c"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(parse(&copy(false), &["a", "b", "c"]), fine(&["a", "b", "c"]));
        let nothing = command("any", Vec::new());
        assert_eq!(parse(&nothing, &["--a", "-b", "c"]), fine(&["--a", "-b", "c"]));
    }

    /// clap checks all of a command when it is built in a debug build, which this is.
    #[test]
    fn texts_of_a_plugin_reach_a_terminal_made_visible() {
        let spec = CommandSpec {
            about: "clears\u{1b}[2Jall".to_owned(),
            version: Some("1\u{7}".to_owned()),
            author: Some("me\u{202e}".to_owned()),
            ..command(
                "a",
                vec![ArgSpec {
                    help: "h\u{1b}c".to_owned(),
                    value_name: Some("v\u{9b}".to_owned()),
                    default_value: Some("d\u{1b}".to_owned()),
                    ..option("opt", 'o')
                }],
            )
        };
        let help = CommandLine::new(spec).command().render_long_help().to_string();
        assert!(!help.chars().any(|c| c.is_control() && c != '\n'), "{help:?}");
        assert!(help.contains("clears\\x1b[2Jall") && help.contains("[default: d\\x1b]"), "{help}");
    }
}
