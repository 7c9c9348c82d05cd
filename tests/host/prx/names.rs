//! Every interface of `prx:host`, and `prx:plugin/host-calls`, by both of its names, with and without a version,
//! and for the types of its WIT file and those that PRX's own host links: each function is called.

use std::sync::Arc;

use airlock_host::testing::FakeMail;
use airlock_host::{AbiId, Input, LoadOptions, MailMessage, Plugin};
use serde_json::{Value, json};

use super::World;
use crate::http::{Server, ok};
use crate::support::text;

/// A function of the host, in the text form of components.
pub(super) struct Function {
    of: &'static str,
    name: &'static str,
    /// A type that has to have a name, which is `$named` in the others.
    named: Option<(&'static str, &'static str)>,
    /// Each with its types in a core module.
    params: &'static [(&'static str, &'static str)],
    /// With whether it comes in memory.
    result: Option<(&'static str, bool)>,
}

const fn function(of: &'static str, name: &'static str) -> Function {
    Function { of, name, named: None, params: &[], result: None }
}

const TEXT: (&str, &str) = ("string", "i32 i32");
const NUMBER: (&str, &str) = ("u64", "i64");
const TEXT_OR_WHY: Option<(&str, bool)> = Some(("(result string (error string))", true));
const DONE_OR_WHY: Option<(&str, bool)> = Some(("(result (error string))", true));
const NUMBER_OR_WHY: Option<(&str, bool)> = Some(("(result u64 (error string))", true));
const HEADERS: (&str, &str) = ("(list (tuple string string))", "i32 i32");
const BODY: (&str, &str) = ("(option (list u8))", "i32 i32 i32");

impl Function {
    const fn takes(self, params: &'static [(&'static str, &'static str)]) -> Self {
        Function { params, ..self }
    }

    const fn gives(self, result: Option<(&'static str, bool)>) -> Self {
        Function { result, ..self }
    }

    const fn with(self, name: &'static str, ty: &'static str) -> Self {
        Function { named: Some((name, ty)), ..self }
    }

    /// A component that hands on what it is called with, and gives back what it gets.
    pub(super) fn component(&self, version: &str) -> String {
        let Function { of, name, named, params, result } = self;
        let (declared, known) = match named {
            Some((name, ty)) => (
                format!("(type $t {ty}) (export \"{name}\" (type $named (eq $t)))"),
                format!("(alias export $host \"{name}\" (type $named))"),
            ),
            None => Default::default(),
        };
        let in_order =
            |param: fn(&(&str, &str)) -> String| -> Vec<String> { params.iter().map(param).collect() };
        let types = in_order(|(ty, _)| (*ty).to_owned());
        let types: String =
            types.iter().enumerate().map(|(index, ty)| format!("(param \"p{index}\" {ty})")).collect();
        let cores = in_order(|(_, core)| (*core).to_owned()).join(" ");
        let count = cores.split_whitespace().count();
        let handed: String = (0..count).map(|index| format!("(local.get {index})")).collect();
        let given = result.map(|(ty, _)| format!("(result {ty})")).unwrap_or_default();
        let (place, back, core_result, core_back) = match result {
            Some((_, true)) => ("(i32.const 256)", "(i32.const 256)", "", "(result i32)"),
            Some((_, false)) => ("", "", "(result i32)", "(result i32)"),
            None => ("", "", "", ""),
        };
        let pointer = if place.is_empty() { "" } else { "i32" };
        format!(
            r#"(component
            (import "{of}{version}" (instance $host {declared} (export "{name}" (func {types} {given}))))
            {known}
            (alias export $host "{name}" (func $f))
            (core module $libc
                (memory (export "memory") 1)
                (global $at (mut i32) (i32.const 4096))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $now i32)
                    (local.set $now (i32.and (i32.add (global.get $at) (i32.const 7)) (i32.const -8)))
                    (global.set $at (i32.add (local.get $now) (local.get 3)))
                    (local.get $now)))
            (core instance $libc (instantiate $libc))
            (alias core export $libc "memory" (core memory $memory))
            (alias core export $libc "realloc" (core func $realloc))
            (core func $lowered (canon lower (func $f) (memory $memory) (realloc $realloc)))
            (core module $m
                (import "host" "f" (func $f (param {cores} {pointer}) {core_result}))
                (func (export "run") (param {cores}) {core_back} (call $f {handed} {place}) {back}))
            (core instance $m (instantiate $m (with "host" (instance (export "f" (func $lowered))))))
            (func (export "run") {types} {given}
                (canon lift (core func $m "run") (memory $memory) (realloc $realloc))))"#
        )
    }
}

/// What a function gives; of one that fails, why.
fn run(plugin: &Plugin, args: &Value) -> Result<Value, String> {
    match plugin.invoke_blocking("run", Input::json(args).unwrap()) {
        Ok(outcome) => Ok(serde_json::from_str(&outcome.value.to_json_text()).unwrap()),
        Err(error) => Err(error.to_string().replacen("the plugin failed: ", "", 1)),
    }
}

fn load(world: &World, function: &Function, version: &str, granted: &[&str]) -> Plugin {
    let grant = |options: LoadOptions, granted: &&str| options.allow(granted.parse().unwrap());
    let options = granted.iter().fold(text(), grant);
    let plugin = world.host.load_blocking(function.component(version).as_bytes(), options);
    let plugin = plugin.unwrap_or_else(|error| panic!("{}{version}.{}: {error}", function.of, function.name));
    assert_eq!(plugin.abi(), AbiId::Prx, "{}{version}", function.of);
    plugin
}

const VERSIONS: [&str; 2] = ["@0.1.0", ""];

/// Calls a function by both of its names; what it gives, which is the same.
fn both(world: &World, function: Function, granted: &[&str], args: Value) -> Result<Value, String> {
    let [one, other] = VERSIONS.map(|version| run(&load(world, &function, version, granted), &args));
    assert_eq!(one, other, "{}.{}", function.of, function.name);
    one
}

#[test]
fn the_log_and_the_configuration_have_both_names_and_the_log_both_levels() {
    let world = World::new();
    let level = ("level", "(enum \"trace\" \"debug\" \"info\" \"warn\" \"error\")");
    let typed = function("prx:host/log", "log").with(level.0, level.1).takes(&[("$named", "i32"), TEXT]);
    let as_text = function("prx:host/log", "log").takes(&[TEXT, TEXT]);
    for log in [typed, as_text] {
        assert_eq!(both(&world, log, &[], json!(["warn", "a line"])), Ok(Value::Null));
        assert_eq!(world.all_lines(), ["warn: a line", "warn: a line"]);
    }
    let config = |name| function("prx:host/config", name);
    let get = config("get").takes(&[TEXT]).gives(Some(("(option string)", true)));
    assert_eq!(both(&world, get, &[], json!(["greeting"])), Ok(Value::Null));
    let all = config("get-all").gives(Some(("(list (tuple string string))", true)));
    assert_eq!(both(&world, all, &[], json!([])), Ok(json!([])));
}

#[test]
fn kept_data_has_both_names_and_both_ways_to_say_how_a_change_went() {
    let world = World::new();
    let kv = |name| function("prx:host/kv", name).takes(&[TEXT]);
    const BYTES: (&str, &str) = ("(list u8)", "i32 i32");
    let set = |result| function("prx:host/kv", "set").takes(&[TEXT, BYTES]).gives(result);
    let get = || kv("get").gives(Some(("(option (list u8))", true)));
    let granted = ["kv=1MiB"];
    for (result, value) in [(DONE_OR_WHY, 1), (None, 2)] {
        assert_eq!(both(&world, set(result), &granted, json!(["key", [value]])), Ok(Value::Null));
        assert_eq!(both(&world, get(), &granted, json!(["key"])), Ok(json!([value])));
    }
    let keys = kv("list-keys").gives(Some(("(list string)", true)));
    assert_eq!(both(&world, keys, &granted, json!(["k"])), Ok(json!(["key"])));
    // Whether there was one: the second name finds none any more.
    for (result, is_plain) in
        [(Some(("(result bool (error string))", true)), false), (Some(("bool", false)), true)]
    {
        both(&world, set(None), &granted, json!(["key", [3]])).unwrap();
        let delete = kv("delete").gives(result);
        let deleted = VERSIONS.map(|version| run(&load(&world, &delete, version, &granted), &json!(["key"])));
        assert_eq!(deleted, [Ok(json!(true)), Ok(json!(false))], "{is_plain}");
    }
}

#[test]
fn requests_have_both_names_and_both_shapes_of_a_response() {
    let (world, server) = (World::new(), Server::saying(ok("hello")));
    let url = format!("http://127.0.0.1:{}", server.port);
    let request = || function("prx:host/http-outbound", "request").takes(&[TEXT, TEXT, HEADERS, BODY]);
    let record = "(record (field \"status\" u16) (field \"headers\" (list (tuple string string))) (field \"body\" (list u8)))";
    let typed = request().with("http-response", record).gives(Some(("(result $named (error string))", true)));
    let tuple = request()
        .gives(Some(("(result (tuple u16 (list (tuple string string)) (list u8)) (error string))", true)));
    let (granted, args) = ([&*format!("net={url}")], json!(["GET", url, [["x-probe", "1"]], null]));
    let hello = json!(b"hello");
    let answer = both(&world, typed, &granted, args.clone()).unwrap();
    assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &hello));
    let answer = both(&world, tuple, &granted, args).unwrap();
    assert_eq!((&answer[0], &answer[2]), (&json!(200), &hello));
    assert_eq!(server.asked().len(), 4);
}

#[test]
fn a_memory_has_both_names_and_both_shapes_of_an_entry() {
    let world = World::new();
    let store = function("prx:host/memory", "store").takes(&[TEXT, TEXT]).gives(TEXT_OR_WHY);
    let granted = ["memory"];
    let ids = VERSIONS.map(|version| {
        run(&load(&world, &store, version, &granted), &json!([format!("green tea{version}"), "core"]))
            .unwrap()
    });
    let recall = || function("prx:host/memory", "recall").takes(&[TEXT, ("u32", "i32")]);
    let record = "(record (field \"id\" string) (field \"text\" string) (field \"category\" string) (field \"importance\" f64))";
    let typed =
        recall().with("memory-entry", record).gives(Some(("(result (list $named) (error string))", true)));
    let tuple =
        recall().gives(Some(("(result (list (tuple string string string f64)) (error string))", true)));
    let found = both(&world, typed, &granted, json!(["tea", 5])).unwrap();
    let mut typed: Vec<&Value> = found.as_array().unwrap().iter().map(|entry| &entry["id"]).collect();
    let found = both(&world, tuple, &granted, json!(["tea", 5])).unwrap();
    let mut tuples: Vec<&Value> = found.as_array().unwrap().iter().map(|entry| &entry[0]).collect();
    let mut ids: Vec<&Value> = ids.iter().collect();
    [&mut typed, &mut tuples, &mut ids].into_iter().for_each(|ids| ids.sort_by_key(|id| id.to_string()));
    assert_eq!((&typed, &tuples), (&ids, &ids));
}

#[test]
fn events_have_both_names() {
    let world = World::new();
    let events = |name| function("prx:host/events", name);
    let granted = ["events.publish=*", "events.subscribe=*"];
    let publish = events("publish").takes(&[TEXT, TEXT]).gives(DONE_OR_WHY);
    assert_eq!(both(&world, publish, &granted, json!(["a.topic", "{}"])), Ok(Value::Null));
    let subscribe = events("subscribe").takes(&[TEXT]).gives(NUMBER_OR_WHY);
    // What comes would have nowhere to go.
    let error = both(&world, subscribe, &granted, json!(["a.*"])).unwrap_err();
    assert_eq!(error, "event subscriptions require a hook-capable plugin event handler");
    let unsubscribe = events("unsubscribe").takes(&[NUMBER]).gives(DONE_OR_WHY);
    let error = both(&world, unsubscribe, &granted, json!([99])).unwrap_err();
    assert!(error.contains("99"), "{error}");
}

#[test]
fn websockets_are_linked_by_both_names_and_every_function_says_that_it_is_not_supported() {
    let world = World::new();
    let socket = |name| function("prx:host/websocket-outbound", name);
    let functions = [
        (socket("connect").takes(&[TEXT]).gives(NUMBER_OR_WHY), json!(["wss://a.example"])),
        (socket("send").takes(&[NUMBER, TEXT]).gives(DONE_OR_WHY), json!([1, "hello"])),
        (socket("receive").takes(&[NUMBER]).gives(TEXT_OR_WHY), json!([1])),
        (socket("close").takes(&[NUMBER]).gives(DONE_OR_WHY), json!([1])),
    ];
    for (function, args) in functions {
        let told = both(&world, function, &["net=*"], args).unwrap_err();
        assert_eq!(told, "websocket-outbound is not supported by this host");
    }
}

/// The function that calls a tool of the host's.
pub(super) fn execute_tool() -> Function {
    let result =
        "(record (field \"success\" bool) (field \"output\" string) (field \"error\" (option string)))";
    function("prx:plugin/host-calls", "execute-tool")
        .with("host-result", result)
        .takes(&[TEXT, TEXT, ("bool", "i32")])
        .gives(Some(("$named", true)))
}

#[test]
fn tools_of_the_host_have_both_names() {
    let world = World::new();
    let answer = both(&world, execute_tool(), &["tools.call=*"], json!(["gone", "{}", false])).unwrap();
    assert_eq!(answer["success"], false);
    assert!(answer["error"].as_str().unwrap().contains("gone"), "{answer}");
}

/// The functions of `prx:host/email`, each with what it is asked.
fn mail() -> [(&'static str, Value); 6] {
    [
        ("sync", json!({ "folder": "INBOX" })),
        ("list", json!({ "folder": "INBOX" })),
        ("get", json!({ "message_id": "<m@x.example>" })),
        ("search", json!({ "query": "tea" })),
        ("send", json!({ "to": "bert@x.example", "subject": "tea", "body_text": "green" })),
        ("reply", json!({ "message_id": "<m@x.example>", "body_text": "black" })),
    ]
}

/// Asks each of them by both names; what each answers, or says of why not.
fn ask_all(world: &World, granted: &[&str]) -> Vec<(&'static str, Result<Value, Value>)> {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| panic!("{text}"));
    let ask = |(name, request): (&'static str, Value)| {
        let function = function("prx:host/email", name).takes(&[TEXT]).gives(TEXT_OR_WHY);
        let answers = VERSIONS.map(|version| {
            let answer = run(&load(world, &function, version, granted), &json!([request.to_string()]));
            answer.map(|text| read(text.as_str().unwrap())).map_err(|text| read(&text))
        });
        let [one, other] = answers;
        let has = |answer: &Result<Value, Value>| match answer {
            Ok(answer) => answer["tool"].clone(),
            Err(answer) => answer["error_code"].clone(),
        };
        assert_eq!((one.is_ok(), has(&one)), (other.is_ok(), has(&other)), "{name}");
        (name, one)
    };
    mail().into_iter().map(ask).collect()
}

fn with_mail(network: bool) -> (World, Arc<FakeMail>) {
    let inbox = Arc::new(FakeMail::default());
    inbox.add(MailMessage {
        message_id: "<m@x.example>".to_owned(),
        subject: Some("tea".to_owned()),
        ..MailMessage::default()
    });
    let mail = inbox.clone();
    let world = World::with(|mut services| {
        services.mail = mail;
        services.mail_network = network;
        services
    });
    (world, inbox)
}

const ALL_MAIL: [&str; 5] =
    ["email.sync=*", "email.read=*", "email.search=*", "email.send=*", "email.reply=*"];

fn codes(answers: &[(&'static str, Result<Value, Value>)]) -> Vec<String> {
    let code = |(name, answer): &(&str, Result<Value, Value>)| match answer {
        Ok(answer) => format!("{name} {}", answer["ok"]),
        Err(answer) => format!("{name} {}", answer["error_code"].as_str().unwrap_or("no code")),
    };
    answers.iter().map(code).collect()
}

#[test]
fn mail_has_functions_of_its_own_by_both_names() {
    let (world, inbox) = with_mail(true);
    let answers = ask_all(&world, &ALL_MAIL);
    assert_eq!(
        codes(&answers),
        ["sync true", "list true", "get true", "search true", "send true", "reply true"]
    );
    for (name, answer) in &answers {
        let answer = answer.as_ref().unwrap();
        assert_eq!((&answer["tool"], &answer["error"]), (&json!(format!("email.{name}")), &Value::Null));
    }
    assert_eq!(answers[1].1.as_ref().unwrap()["items"][0]["message_id"], "<m@x.example>");
    assert_eq!(inbox.requests().len(), 12);
}

#[test]
fn mail_without_a_mailbox_without_the_network_and_without_a_grant_says_so_by_both_names() {
    let none = World::with(|mut services| {
        services.mail_network = true;
        services
    });
    let unavailable = mail().map(|(name, _)| format!("{name} EMAIL_HOST_CAPABILITY_UNAVAILABLE"));
    assert_eq!(codes(&ask_all(&none, &ALL_MAIL)), unavailable);
    let (world, inbox) = with_mail(false);
    assert_eq!(
        codes(&ask_all(&world, &ALL_MAIL)),
        [
            "sync EMAIL_NETWORK_GUARD",
            "list true",
            "get true",
            "search true",
            "send EMAIL_NETWORK_GUARD",
            "reply EMAIL_NETWORK_GUARD"
        ]
    );
    assert_eq!(inbox.requests().len(), 6, "nothing of that came to the mailbox");
    let (world, inbox) = with_mail(true);
    let denied = codes(&ask_all(&world, &["email.read=*"]));
    let told: Vec<bool> = denied.iter().map(|told| told.ends_with(" true")).collect();
    assert_eq!(told, [false, true, true, false, false, false], "{denied:?}");
    assert_eq!(inbox.requests().len(), 4);
}
