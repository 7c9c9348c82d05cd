//! A function from JSON to JSON: `greet`.

use airlock_sdk::register_capability;
use serde::{Deserialize, Serialize};

/// What `greet` is called with.
#[derive(Deserialize)]
struct Person {
    name: String,
}

/// What it answers.
#[derive(Serialize)]
struct Greeting {
    greeting: String,
}

register_capability!("greet", greet);

/// An `Err` is what the caller is told.
fn greet(person: Person) -> Result<Greeting, String> {
    if person.name.is_empty() {
        return Err("`name` is empty".to_owned());
    }
    Ok(Greeting {
        greeting: format!("Hello, {}!", person.name),
    })
}

#[cfg(test)]
mod tests {
    use airlock_sdk::cortex::testing::{Fakes, call};
    use airlock_sdk::serde_json::json;

    use super::greet;

    #[test]
    fn somebody_is_greeted_by_name() {
        let greeting = call!(greet, json!({ "name": "Ada" }), &Fakes::new());
        assert_eq!(greeting, Ok(json!({ "greeting": "Hello, Ada!" })));
    }

    #[test]
    fn nobody_is_not_greeted() {
        let greeting = call!(greet, json!({ "name": "" }), &Fakes::new());
        assert_eq!(greeting, Err("`name` is empty".to_owned()));
    }
}
