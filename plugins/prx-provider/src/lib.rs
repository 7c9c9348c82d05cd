//! A model that repeats what it is told, or calls the tool that it is told to.

wit_bindgen::generate!({ world: "provider", path: "../../wit/prx-plugin", generate_all });

use exports::prx::plugin::provider_exports::{ChatMessage, ChatResponse, Guest, ToolCall};

struct Echo;

export!(Echo);

impl Guest for Echo {
    fn name() -> String {
        "echo".to_owned()
    }

    fn chat(messages: Vec<ChatMessage>, model: String, temperature: f64) -> Result<ChatResponse, String> {
        let last = messages.last().ok_or("there is nothing to answer")?;
        if temperature > 2.0 {
            return Err(format!("{temperature} is too hot"));
        }
        Ok(match last.content.strip_prefix("call ") {
            Some(name) => {
                let id = format!("call-{}", messages.len());
                let call = ToolCall { id, name: name.to_owned(), arguments: "{}".to_owned() };
                ChatResponse { text: None, tool_calls: vec![call] }
            }
            None => {
                let text = format!("{model}: {}", last.content);
                ChatResponse { text: Some(text), tool_calls: Vec::new() }
            }
        })
    }
}
