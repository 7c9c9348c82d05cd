//! Middleware that blocks texts with a certain word and signs the others, in any of the forms that there are
//! for that.

use serde_json::{Value, json};

wit_bindgen::generate!({ world: "middleware", path: "../../wit/prx-plugin", generate_all });

use exports::prx::plugin::middleware_exports::Guest;
use prx::host::config;

struct Guard;

export!(Guard);

impl Guest for Guard {
    fn process(stage: String, data: String) -> Result<String, String> {
        let mut data: Value = serde_json::from_str(&data).map_err(|error| error.to_string())?;
        let text = data["text"].as_str().unwrap_or_default().to_owned();
        let set = |key: &str| config::get(key).unwrap_or_default();
        let word = set("word");
        if !word.is_empty() && text.contains(&word) {
            let block = json!({ "action": "block", "reason": format!("it has `{word}` at {stage}") });
            return match set("form").as_str() {
                "thrown" => Err(block.to_string()),
                _ => Ok(block.to_string()),
            };
        }
        data["text"] = json!(format!("{text} {}", set("sign")));
        match set("form").as_str() {
            "action" => Ok(json!({ "action": "continue", "data": data }).to_string()),
            "same" => Ok(json!({ "action": "continue" }).to_string()),
            "fail" => Err("it cannot".to_owned()),
            "nonsense" => Ok("{".to_owned()),
            "panic" => panic!("it was told to"),
            _ => Ok(data.to_string()),
        }
    }
}
