//! Greets somebody: a sen-rs plugin by its published SDK, with options and subcommands.
//!
//! The SDK documents that values come in the order of the declared arguments, with defaults
//! filled in: `greet Alice -g Hi` is `["Alice", "Hi", "plain"]`. It is silent on subcommands;
//! here a subcommand's name comes first and its values after it: `["farewell", "Ann"]`. So
//! nobody can be greeted whose name is that of a subcommand.

use sen_plugin_sdk::prelude::*;

struct Greet;

impl Plugin for Greet {
    fn manifest() -> PluginManifest {
        // The SDK has no setter for `possible_values`.
        let style = ArgSpec {
            name: "style".into(),
            long: Some("style".into()),
            short: None,
            required: false,
            help: "How loud the greeting is".into(),
            value_name: Some("STYLE".into()),
            default_value: Some("plain".into()),
            possible_values: Some(vec!["plain".into(), "loud".into()]),
        };
        let greeting = ArgSpec::option("greeting", "greeting")
            .short('g')
            .default("Hello")
            .help("What is said before the name");
        let many = CommandSpec::new("many", "Greets two at once")
            .arg(ArgSpec::positional("first").required().help("Who is named first"))
            .arg(ArgSpec::positional("second").required().help("Who is named second"));
        let farewell = CommandSpec::new("farewell", "Says goodbye")
            .arg(ArgSpec::positional("name").default("World").help("Who leaves"));
        PluginManifest::new(
            CommandSpec::new("greet", "Greets somebody")
                .version("1.0.0")
                .arg(ArgSpec::positional("name").default("World").help("Who is greeted"))
                .arg(greeting)
                .arg(style)
                .subcommand(many)
                .subcommand(farewell),
        )
    }

    fn execute(args: Vec<String>) -> ExecuteResult {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match args[..] {
            ["farewell", ref values @ ..] => farewell(values),
            ["many", ref values @ ..] => many(values),
            ref values => greet(values),
        }
    }
}

fn greet(values: &[&str]) -> ExecuteResult {
    let name = values.first().unwrap_or(&"World");
    let greeting = values.get(1).unwrap_or(&"Hello");
    let text = format!("{greeting}, {name}!");
    match values.get(2) {
        None | Some(&"plain") => ExecuteResult::success(text),
        Some(&"loud") => ExecuteResult::success(text.to_uppercase()),
        Some(other) => ExecuteResult::user_error(format!("no style `{other}`: plain or loud")),
    }
}

fn farewell(values: &[&str]) -> ExecuteResult {
    let name = values.first().unwrap_or(&"World");
    ExecuteResult::success(format!("Goodbye, {name}!"))
}

fn many(values: &[&str]) -> ExecuteResult {
    match values {
        [first, second] => ExecuteResult::success(format!("Hello, {first} and {second}!")),
        _ => ExecuteResult::user_error("`many` greets exactly two"),
    }
}

export_plugin!(Greet);
