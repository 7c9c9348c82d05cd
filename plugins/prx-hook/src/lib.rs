//! A hook that counts what it is told of and writes it to the log. A payload can ask it for more.

use serde_json::Value;

wit_bindgen::generate!({ world: "hook", path: "../../wit/prx-plugin", generate_all });

use exports::prx::plugin::hook_exports::Guest;
use prx::host::log::Level;
use prx::host::{events, kv, log};

struct Hook;

export!(Hook);

impl Guest for Hook {
    fn on_event(event: String, payload: String) -> Result<(), String> {
        let key = format!("count:{event}");
        let before: Option<u64> = kv::get(&key).and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        let count = before.unwrap_or_default() + 1;
        kv::set(&key, count.to_string().as_bytes())?;
        let asked: Value = serde_json::from_str(&payload).unwrap_or_default();
        let text = |key: &str| asked[key].as_str();
        let did = match (text("subscribe"), text("publish"), asked["unsubscribe"].as_u64()) {
            (Some(pattern), _, _) => events::subscribe(pattern).map(|id| format!("subscribed {id}")),
            (_, Some(topic), _) => events::publish(topic, &payload).map(|()| format!("published {topic}")),
            (_, _, Some(id)) => events::unsubscribe(id).map(|()| format!("unsubscribed {id}")),
            _ => Ok("noted".to_owned()),
        };
        log::log(Level::Info, &format!("{event} {count}: {}", did.unwrap_or_else(|error| error)));
        if asked["panic"].as_bool() == Some(true) {
            panic!("it was told to");
        }
        text("fail").map_or(Ok(()), |reason| Err(reason.to_owned()))
    }
}
