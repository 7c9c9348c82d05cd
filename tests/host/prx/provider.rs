//! Providers and storage, by the types of their interfaces.

use airlock_host::block_on;
use airlock_host::prx::{ChatMessage, ChatResponse, Provider, Storage, StoredMemory, ToolCall};

use super::{World, granted};
use crate::support::{MODES, Mode, repository};

#[test]
fn a_provider_answers_with_a_text_or_wants_a_tool_called() {
    let world = World::new();
    let path = repository("plugins/prx-provider");
    let managed = world.manager().load_blocking("p", path.as_path(), granted()).unwrap();
    let provider = Provider::new(&managed);
    assert_eq!(block_on(provider.name()).unwrap(), "echo");
    let chat = |text: &str| {
        let messages = [ChatMessage::new("system", "be brief"), ChatMessage::new("user", text)];
        block_on(provider.chat(&messages, "echo-1", 0.5))
    };
    assert_eq!(
        chat("hello").unwrap(),
        ChatResponse { text: Some("echo-1: hello".to_owned()), tool_calls: Vec::new() }
    );
    let call = ToolCall { id: "call-2".to_owned(), name: "search".to_owned(), arguments: "{}".to_owned() };
    assert_eq!(chat("call search").unwrap(), ChatResponse { text: None, tool_calls: vec![call] });
    let error = block_on(provider.chat(&[], "echo-1", 0.5)).unwrap_err();
    assert_eq!(error.to_string(), "the plugin failed: there is nothing to answer");
    let hot = block_on(provider.chat(&[ChatMessage::new("user", "x")], "echo-1", 2.5)).unwrap_err();
    assert_eq!(hot.to_string(), "the plugin failed: 2.5 is too hot");
}

#[test]
fn a_provider_is_asked_on_any_executor() {
    let world = World::new();
    let plugin = world.host.load_blocking(repository("plugins/prx-provider").as_path(), granted()).unwrap();
    let provider = Provider::new(plugin);
    let messages = [ChatMessage::new("user", "hi")];
    for mode in MODES.into_iter().filter(|mode| *mode != Mode::Blocking) {
        let response = mode.wait(provider.chat(&messages, "m", 1.0)).unwrap();
        assert_eq!(response.text.as_deref(), Some("m: hi"));
    }
}

#[test]
fn storage_keeps_finds_counts_and_forgets() {
    let world = World::new();
    let path = repository("plugins/prx-storage");
    let managed = world.manager().load_blocking("p", path.as_path(), granted()).unwrap();
    let storage = Storage::new(&managed);
    assert_eq!(block_on(storage.name()).unwrap(), "shelf");
    assert!(block_on(storage.is_healthy()).unwrap());
    block_on(storage.store("tea", "green tea", "core", None)).unwrap();
    block_on(storage.store("cup", "a cup of tea", "daily", Some("s1"))).unwrap();
    assert_eq!(block_on(storage.count()).unwrap(), 2);
    let found = block_on(storage.recall("tea", 10, Some("s1"))).unwrap();
    let wanted = StoredMemory {
        id: "cup-1".to_owned(),
        key: "cup".to_owned(),
        content: "a cup of tea".to_owned(),
        category: "daily".to_owned(),
        timestamp: "1970-01-01T00:00:00Z".to_owned(),
        score: Some(1.0),
    };
    assert_eq!(found, [wanted]);
    assert_eq!(block_on(storage.recall("tea", 1, None)).unwrap().len(), 1);
    assert!(block_on(storage.forget("tea")).unwrap() && !block_on(storage.forget("tea")).unwrap());
    assert_eq!(block_on(storage.count()).unwrap(), 1);
    let error = block_on(storage.store("", "x", "core", None)).unwrap_err();
    assert_eq!(error.to_string(), "the plugin failed: a memory has a key");
}
