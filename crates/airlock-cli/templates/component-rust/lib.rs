//! A component with one function: `greet`.

wit_bindgen::generate!({ world: "greeter", path: "wit" });

struct Greeter;

export!(Greeter);

impl Guest for Greeter {
    /// An `Err` is what the caller is told.
    fn greet(name: String) -> Result<String, String> {
        if name.is_empty() {
            return Err("`name` is empty".to_owned());
        }
        Ok(format!("Hello, {name}!"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Greeter, Guest};

    #[test]
    fn somebody_is_greeted_by_name() {
        assert_eq!(
            Greeter::greet("Ada".to_owned()),
            Ok("Hello, Ada!".to_owned())
        );
    }

    #[test]
    fn nobody_is_not_greeted() {
        assert_eq!(
            Greeter::greet(String::new()),
            Err("`name` is empty".to_owned())
        );
    }
}
