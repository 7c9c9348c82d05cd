//! A command that greets: `{{command}} [NAME] [--greeting TEXT]`.

use sen_plugin_sdk::prelude::*;

struct Greeter;

impl Plugin for Greeter {
    /// What the plugin is, for its host's command line.
    fn manifest() -> PluginManifest {
        let name = ArgSpec::positional("name")
            .default("World")
            .help("Who is greeted");
        let greeting = ArgSpec::option("greeting", "greeting")
            .short('g')
            .default("Hello")
            .help("What is said before the name");
        PluginManifest::new(
            CommandSpec::new("{{command}}", {{description_rust}})
                .version("0.1.0")
                .arg(name)
                .arg(greeting),
        )
    }

    /// The values come in the order of the arguments above, defaults filled in.
    fn execute(args: Vec<String>) -> ExecuteResult {
        let name = args.first().map_or("World", String::as_str);
        let greeting = args.get(1).map_or("Hello", String::as_str);
        if name.is_empty() {
            return ExecuteResult::user_error("nobody has an empty name");
        }
        ExecuteResult::success(format!("{greeting}, {name}!"))
    }
}

export_plugin!(Greeter);

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str]) -> ExecuteResult {
        Greeter::execute(args.iter().map(|arg| (*arg).to_owned()).collect())
    }

    #[test]
    fn somebody_is_greeted_by_name() {
        let ExecuteResult::Success(text) = run(&["Ada", "Good day"]) else {
            panic!("it is refused");
        };
        assert_eq!(text, "Good day, Ada!");
    }

    #[test]
    fn nobody_is_not_greeted() {
        assert!(matches!(run(&["", "Hello"]), ExecuteResult::Error(_)));
    }
}
