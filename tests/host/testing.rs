//! The test kit: plugins among fakes, and fakes that are written down.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use airlock_host::testing::{
    Content, FakeAnswer, FakeData, FakeTool, Fakes, Observed, TestPlugin, TestPluginBuilder, fakes,
    test_plugin,
};
use airlock_host::{
    CapabilityKind, Error, ErrorKind, Host, HttpRequest, LimitKind, LoadOptions, Need, Origin, ProgramInput,
    ServiceError, StdinSource,
};
use serde_json::{Value, json};

use crate::gated::Call;
use crate::support::{Mode, repository};

/// Its functions use one import of CortexPrism's host each.
const SERVICES: &str = "tests/guests/services.wat";

fn data(toml: &str) -> FakeData {
    toml::from_str(toml).unwrap()
}

fn misread(toml: &str) -> String {
    toml::from_str::<FakeData>(toml).expect_err("it is not as it should be").message().to_owned()
}

fn among(toml: &str, granted: &[&str]) -> TestPluginBuilder {
    let builder = TestPlugin::builder().fake(data(toml)).allow_nothing();
    granted.iter().fold(builder, |builder, text| builder.allow(text.parse().unwrap()))
}

fn load(path: &str, toml: &str, granted: &[&str]) -> TestPlugin {
    among(toml, granted).load(repository(path)).expect("it loads")
}

fn call(plugin: &TestPlugin, function: &str) -> Value {
    plugin.call::<_, Value>(function, &json!(7)).expect("it answers").value
}

/// As it is written down.
fn written(observed: &Observed) -> Value {
    serde_json::to_value(observed).unwrap()
}

/// Why what is written down cannot be put there.
fn refused(toml: &str) -> String {
    let error = fakes().put(&data(toml), "any").expect_err("it cannot be answered");
    assert!(matches!(error.kind(), ErrorKind::InvalidSetting { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn a_plugin_under_test_is_loaded_with_all_that_it_asks_for_and_called() {
    let plugin = test_plugin(repository("plugins/text-processor")).unwrap();
    assert_eq!(plugin.functions(), ["transform"]);
    let input = json!({ "text": "hello world", "mode": "reverse" });
    let outcome = plugin.call::<_, Value>("transform", &input).unwrap();
    assert_eq!(
        outcome.value,
        json!({ "result": "dlrow olleh", "length": 11, "hash": 84918698004773316_u64 })
    );
    assert!(outcome.usage.memory_bytes > 0);
    let error = plugin.call::<_, Value>("transfrom", &input).unwrap_err();
    assert_eq!(error.code(), "unknown-function");
    assert_eq!(test_plugin("no/such/plugin").unwrap_err().code(), "plugin-not-found");
    plugin.close().unwrap();
    assert!(plugin.call::<_, Value>("transform", &input).is_err());
}

#[test]
fn requests_are_answered_by_method_and_pattern_the_more_exact_first() {
    let plugin = load(
        SERVICES,
        r#"
        [[http]]
        url = "https://api.example/*"
        status = 404
        [[http]]
        method = "post"
        url = "https://api.example/x"
        status = 405
        [[http]]
        method = "GET"
        url = "https://api.*/x"
        status = 406
        "#,
        &["net=https://api.example"],
    );
    assert_eq!(call(&plugin, "status"), 404, "more of it is said than of `https://api.*/x`");
    plugin.fakes().http.put(FakeAnswer::new("https://api.example/x#top").status(203).unwrap());
    assert_eq!(call(&plugin, "status"), 203, "the very URL");
    plugin.fakes().http.answer("https://api.example/x", 202, "later");
    assert_eq!(call(&plugin, "status"), 202, "in place of what was there");
    let of_method = FakeAnswer::new("https://api.example/x").method("get").unwrap();
    plugin.fakes().http.put(of_method.status(201).unwrap().body("created"));
    assert_eq!((call(&plugin, "status"), call(&plugin, "http")), (json!(201), json!("0created")));
    let requests = written(&plugin.observed())["http"].clone();
    assert_eq!(requests.as_array().unwrap().len(), 5);
    let request =
        json!({ "method": "GET", "url": "https://api.example/x", "headers": { "x-a": "b" }, "body": "key" });
    assert_eq!(requests[4], request);
}

#[test]
fn a_response_has_the_headers_and_body_that_are_written_down_or_none() {
    let fakes = fakes();
    fakes
        .put(
            &data(
                r#"
                http = [
                    { url = "https://a.example/json", json = { n = 18446744073709551615 }, headers = { x-a = "b" } },
                    { url = "https://a.example/bytes", body = { base64 = "AP8=" } },
                    { url = "https://a.example/typed", json = 1, headers = { Content-Type = "text/x" } },
                    { url = "https://a.example/down", error = "nobody is there" },
                ]
                "#,
            ),
            "any",
        )
        .unwrap();
    let call = Call::new(std::path::Path::new("/"), &["net=https://a.example"]);
    let services = fakes.services();
    let send = |path: &str| {
        let request = HttpRequest::new("GET", &format!("https://a.example/{path}")).unwrap();
        let permit = call.permit(request.need()).unwrap();
        Mode::NoRuntime.wait(services.http.send(&permit, request))
    };
    let body = |path: &str| Mode::NoRuntime.wait(send(path).unwrap().bytes(100)).unwrap().to_vec();
    let json = send("json").unwrap();
    assert_eq!(
        (&json.headers["content-type"], &json.headers["x-a"]),
        (&"application/json".parse().unwrap(), &"b".parse().unwrap())
    );
    assert_eq!(body("json"), br#"{"n":18446744073709551615}"#);
    assert_eq!((json.status.as_u16(), body("bytes").as_slice()), (200, &[0, 255][..]));
    assert_eq!(send("typed").unwrap().headers["content-type"], "text/x");
    assert_eq!(send("down").unwrap_err(), ServiceError::Failed("nobody is there".to_owned()));
    let missing = "no answer was put there for https://a.example/other".to_owned();
    assert_eq!(send("other").unwrap_err(), ServiceError::Failed(missing));
}

#[test]
fn configuration_state_and_log_are_what_is_written_down_and_what_came_of_it() {
    let toml = r#"
        config = { key = 42, other = "x", truth = true }
        kv = { key = "kept", bytes = { base64 = "/w==" } }
    "#;
    let plugin = load(SERVICES, toml, &["config", "kv", "log"]);
    assert_eq!(call(&plugin, "config"), "042");
    assert_eq!(call(&plugin, "get"), "0kept");
    assert_eq!(call(&plugin, "set"), "0");
    call(&plugin, "log");
    let observed = written(&plugin.observed());
    assert_eq!(observed["kv"], json!({ "key": "7", "bytes": { "base64": "/w==" } }));
    assert_eq!(observed["log"], json!([{ "level": "info", "message": "hello \u{1b}[2J" }]));
    // What is not allowed is as on any host.
    let denied = load(SERVICES, toml, &[]);
    assert_eq!((call(&denied, "config"), call(&denied, "get")), (json!("1"), json!("1")));
    assert!(denied.observed().log.is_empty());
}

#[test]
fn programs_facts_and_state_of_a_fledge_plugin_are_what_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let toml = r#"
        metadata = { language = "COBOL" }
        kv = { k = "before" }
        [[exec]]
        program = "sh"
        stdout = "any\n"
        [[exec]]
        program = "sh"
        args = ["-c", "echo hi"]
        stdout = "faked\n"
        code = 3
    "#;
    let options = LoadOptions::new().working_folder(folder.path()).own_folder(folder.path().join("own"));
    let plugin =
        TestPlugin::builder().options(options).fake(data(toml)).load(repository("plugins/fledge-messages"));
    let plugin = plugin.unwrap();
    let ran = plugin.run(ProgramInput::new().args(["all"])).unwrap().value;
    let printed = String::from_utf8(ran.stdout).unwrap();
    assert!(
        printed.contains("faked") && printed.contains("COBOL") && printed.contains("before"),
        "{printed}"
    );
    let observed = written(&plugin.observed());
    assert_eq!(observed["exec"][0]["program"], "sh", "{observed}");
    assert_eq!(observed["exec"][0]["args"], json!(["-c", "echo hi"]), "{observed}");
    assert_eq!(observed["kv"]["k"], "v");
}

#[test]
fn names_that_a_component_looks_up_stand_for_what_is_written_down() {
    let toml = r#"resolver = { "DB.test" = ["8.8.8.8"] }"#;
    let plugin = load("plugins/tcp-echo/tcp-echo.wasm", toml, &["net=tcp://*.test:*"]);
    let ran = plugin.run(ProgramInput::new().args(["lookup", "db.test"])).unwrap().value;
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), "8.8.8.8\n");
    assert_eq!(plugin.observed().resolver, ["db.test"]);
}

#[test]
fn tools_secrets_and_events_are_faked_for_whoever_has_a_permit() {
    let fakes = fakes();
    let toml = r#"
        secrets = { TOKEN = "s3cret" }
        [tools.add]
        description = "Adds"
        input_schema = { type = "array" }
        output = 3
        [tools.broken]
        error = "out of order"
    "#;
    fakes.put(&data(toml), "one").unwrap();
    fakes.add_tool(FakeTool::new("late").answer(&json!({ "at": "last" }))).unwrap();
    let services = fakes.services();
    let granted = ["tools.call=*", "secrets=TOKEN", "events.publish=*"];
    let call = Call::new(std::path::Path::new("/"), &granted);
    let tool = |name: &str, input: &str| {
        let permit = call.permit(Need::Name(CapabilityKind::ToolsCall, name)).unwrap();
        Mode::NoRuntime.wait(services.tools.call(&permit, name, input))
    };
    assert_eq!(tool("add", "[1, 2.00]"), Ok("3".to_owned()));
    assert_eq!(tool("late", "{}"), Ok(r#"{"at":"last"}"#.to_owned()));
    assert_eq!(tool("broken", "1"), Err(ServiceError::Failed("out of order".to_owned())));
    let infos = fakes.tools.all();
    assert_eq!(
        (infos[0].description.as_str(), infos[0].input_schema.as_deref()),
        ("Adds", Some(r#"{"type":"array"}"#))
    );

    let permit = call.permit(Need::Name(CapabilityKind::Secrets, "TOKEN")).unwrap();
    assert_eq!(services.secrets.get(&permit, "TOKEN").unwrap().unwrap().reveal(), "s3cret");
    let permit = call.permit(Need::Name(CapabilityKind::EventsPublish, "done")).unwrap();
    assert_eq!(services.events.publish(&permit, "done", b"\xff"), Ok(0), "nobody listens");

    let observed = serde_json::to_string(&fakes.observed("one")).unwrap();
    assert!(observed.contains(r#""tools":[{"tool":"add","input":[1, 2.00]},"#), "{observed}");
    assert!(observed.contains(r#""events":[{"topic":"done","payload":{"base64":"/w=="}}]"#), "{observed}");
}

#[test]
fn what_is_written_down_wrong_is_told_with_what_it_should_be() {
    assert!(misread("htp = []").starts_with("unknown field `htp`, expected one of `http`, `kv`, "));
    assert!(misread("[[http]]\nstatus = 1").starts_with("missing field `url`"));
    assert!(misread("[[http]]\nurl = 'x'\nbdy = 'y'").starts_with("unknown field `bdy`"));
    assert!(misread("[[exec]]\nprogram = 'x'\nstdin = 'y'").starts_with("unknown field `stdin`"));
    assert!(misread("[tools.x]\nanswer = 1").starts_with("unknown field `answer`"));
    assert_eq!(misread("kv = { a = 1 }"), "expected a text, or `base64` with one");
    assert!(misread("kv = { a = { base64 = '-' } }").starts_with("`base64` is none: "));
    assert_eq!(misread("config = { a = [] }"), "expected a text, a number or a truth");
    assert!(misread("resolver = { a = ['b'] }").contains("invalid IP address"));

    let two = "[[http]]\nurl = 'https://a.example'\n[[http]]\nurl = 'https://a.example/'";
    assert_eq!(refused(two), "`http`: there are two answers for `https://a.example/`");
    let row = |rest: &str| format!("[[http]]\nurl = 'https://a.example/'\n{rest}");
    let about = "`answer for https://a.example/`: ";
    assert_eq!(refused(&row("status = 99")), format!("{about}`99` is no HTTP status"));
    assert_eq!(refused(&row("method = 'G T'")), format!("{about}`G T` is no HTTP method"));
    assert_eq!(refused(&row("headers = { 'a b' = 'c' }")), format!("{about}`a b: c` is no header"));
    assert_eq!(refused(&row("body = ''\njson = 1")), format!("{about}it has both `body` and `json`"));
    assert_eq!(
        refused(&row("error = 'x'\nstatus = 200")),
        format!("{about}with `error` there is no response to be described")
    );
    let ends = "`exec x`: it ends in one way: `code`, `signal` or `timed_out`";
    assert_eq!(refused("[[exec]]\nprogram = 'x'\ncode = 1\nsignal = 9"), ends);
    assert_eq!(refused("[[exec]]\nprogram = 'x'\n[[exec]]\nprogram = 'x'"), "`exec`: `x` is there twice");
    assert_eq!(refused("[tools.x]\noutput = 1\nerror = 'y'"), "`tool x`: it has both `output` and `error`");
    assert!(refused("[tools.'x y']").contains("a name has 1 to 256 bytes"));
    assert!(refused("kv = { '' = 'x' }").contains("a key has 1 to 1024 bytes"));
}

#[test]
fn nothing_of_what_cannot_be_put_there_is() {
    let fakes = fakes();
    let toml = "config = { a = 'b' }\n[[http]]\nurl = 'https://a.example/'\nstatus = 1";
    assert!(fakes.put(&data(toml), "any").is_err());
    let call = Call::new(std::path::Path::new("/"), &["config"]);
    let permit = call.permit(Need::Kind(CapabilityKind::Config)).unwrap();
    assert_eq!(fakes.services().config.get(&permit, "a"), Ok(None));
}

#[test]
fn null_is_a_body_of_json_and_content_is_read_as_it_is_written() {
    let data: FakeData = serde_json::from_value(json!({ "http": [{ "url": "x", "json": null }] })).unwrap();
    assert_eq!(data.http[0].json, Some(Value::Null));
    for bytes in [&b"text"[..], b"\xff\x00", b""] {
        let content = Content(bytes.to_vec().into());
        let written = serde_json::to_string(&content).unwrap();
        assert_eq!(serde_json::from_str::<Content>(&written).unwrap(), content, "{written}");
    }
}

#[test]
fn limits_grants_and_names_are_as_the_builder_says() {
    let path = repository("plugins/greet/greet.wasm");
    let time = |builder: TestPluginBuilder| {
        let plugin = builder.load(path.clone()).unwrap();
        let ran = plugin.run(ProgramInput::new().args(["--time"])).unwrap().value;
        String::from_utf8(ran.stdout).unwrap()
    };
    let fixed = "1577836800\n";
    assert_ne!(time(TestPlugin::builder().allow("clock".parse().unwrap())), fixed);
    assert_eq!(time(TestPlugin::builder().allow_nothing()), fixed);
    assert_eq!(time(TestPlugin::builder().deny("clock".parse().unwrap())), fixed);
    assert_eq!(time(TestPlugin::builder().deterministic(true)), fixed);

    let spin = r#"(module (func (export "spin") (loop (br 0))))"#.as_bytes();
    let plugin =
        TestPlugin::builder().wat(true).name("spinner").limit(LimitKind::Timeout, 50_000_000).load(spin);
    let plugin = plugin.unwrap();
    let error = plugin.call::<_, Value>("spin", &()).unwrap_err();
    assert_eq!((plugin.plugin().name(), error.code()), ("spinner", "deadline"));
}

#[test]
fn a_plugin_that_keeps_state_does_so_under_test_unless_told_otherwise() {
    let count = r#"(module (global $count (mut i32) (i32.const 0)) (func (export "count") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1))) (global.get $count)))"#;
    let counts = |builder: TestPluginBuilder| {
        let plugin = builder.wat(true).load(count.as_bytes()).unwrap();
        [(); 2].map(|()| plugin.call::<_, i32>("count", &()).unwrap().value)
    };
    assert_eq!(counts(TestPlugin::builder()), [1, 2]);
    assert_eq!(counts(TestPlugin::builder().keep_state(false)), [1, 1]);
}

#[test]
fn a_plugin_that_is_closed_cleans_up() {
    let cleans = r#"(module
        (import "env" "host_set_state" (func $set (param i32 i32 i32 i32)))
        (memory (export "memory") 1) (data (i32.const 16) "cleanup")
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "touch") (param i32 i32) (result i32) (i32.const 1))
        (func (export "_cleanup")
            (call $set (i32.const 16) (i32.const 5) (i32.const 21) (i32.const 2))))"#;
    let builder = TestPlugin::builder().wat(true).allow("kv".parse().unwrap()).keep_state(true);
    let plugin = builder.load(cleans.as_bytes()).unwrap();
    call(&plugin, "touch");
    assert!(plugin.observed().kv.is_empty());
    plugin.close().unwrap();
    assert_eq!(written(&plugin.observed())["kv"], json!({ "clean": "up" }));
}

#[test]
fn several_plugins_can_share_their_fakes() {
    let shared: Fakes = fakes();
    shared.settings.set("key", "shared");
    let load = |name: &str| {
        let builder = among("kv = { key = 'own' }", &["config", "kv"]).fakes(shared.clone()).name(name);
        builder.load(repository(SERVICES)).unwrap()
    };
    let (one, other) = (load("one"), load("other"));
    assert_eq!((call(&one, "config"), call(&other, "config")), (json!("0shared"), json!("0shared")));
    call(&one, "set");
    assert_eq!((call(&one, "get"), call(&other, "get")), (json!("07"), json!("0own")));
    assert_eq!(shared.kv.entries("one")["key"], b"7");
    assert!(Arc::ptr_eq(&one.fakes().kv, &other.fakes().kv));
}

#[test]
fn a_plugin_is_called_from_inside_a_runtime_by_waiting() {
    let plugin = load(SERVICES, "config = { key = 'x' }", &["config", "kv"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let inside: Error = plugin.call::<_, Value>("get", &7).unwrap_err();
        assert_eq!(inside.kind(), &ErrorKind::BlockingInRuntime);
        let outcome = plugin.managed().call::<_, Value>("config", &7).await.unwrap();
        assert_eq!(outcome.value, "0x");
    });
}

#[test]
fn input_of_a_program_is_what_it_is_given() {
    let plugin = load("plugins/jsonfmt/jsonfmt.wasm", "", &["stdin=inherit"]);
    let input = ProgramInput::new().args(["--indent", "0"]).stdin(StdinSource::bytes(&b"{ \"a\": 1 }"[..]));
    assert_eq!(plugin.run(input).unwrap().value.stdout, b"{\"a\":1}\n");
}

#[test]
fn stand_ins_begin_where_they_are_told_to() {
    let said = |builder: TestPluginBuilder, word: &str| {
        let plugin = builder.allow_nothing().load(repository("plugins/greet/greet.wasm")).unwrap();
        let ran = plugin.run(ProgramInput::new().args([word])).unwrap();
        String::from_utf8(ran.value.stdout).unwrap()
    };
    let at = |seconds: u64| TestPlugin::builder().virtual_clock(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(said(TestPlugin::builder(), "--time"), "1577836800\n");
    assert_eq!(said(at(1_769_860_800), "--time"), "1769860800\n");
    assert_eq!(
        said(TestPlugin::builder().virtual_clock(UNIX_EPOCH - Duration::from_secs(9)), "--time"),
        "0\n"
    );
    let of = |seed: u64| said(TestPlugin::builder().random_seed(seed), "--random");
    assert_eq!(of(0), said(TestPlugin::builder(), "--random"));
    assert_eq!(of(7), of(7));
    assert_ne!(of(0), of(7));
}

#[test]
fn hosts_beside_one_another_share_code_and_no_service() {
    let host = Host::builder().on_demand().build().unwrap();
    let load = |toml: &str| {
        let builder = among(toml, &["kv"]).beside(&host);
        builder.load(repository("plugins/cortex-context/cortex_context.wasm")).unwrap()
    };
    let get = |plugin: &TestPlugin| plugin.call::<_, Value>("state-get", "a").unwrap().value;
    let (one, other) = (load("kv = { a = \"one\" }"), load("kv = { a = \"other\" }"));
    assert_eq!((get(&one), get(&other)), (json!("one"), json!("other")));
    one.call::<_, Value>("state-set", &("a", "changed")).unwrap();
    assert_eq!((get(&one), get(&other)), (json!("changed"), json!("other")));
    assert_eq!(one.plugin().code_origin(), Origin::Compiler);
    assert_eq!(other.plugin().code_origin(), Origin::Memory);
    // Each ends alone.
    one.close().unwrap();
    assert_eq!(get(&other), json!("other"));
}

#[test]
fn of_what_is_written_down_twice_the_later_counts() {
    let all = data(
        "kv = { a = \"1\", b = \"1\" }\nhttp = [{ url = \"x\", status = 201 }, { url = \"y\" }]\n\
         exec = [{ program = \"p\", code = 1 }]\ntools = { t = { output = 1 } }",
    );
    let own = data(
        "kv = { b = \"2\" }\nhttp = [{ url = \"x\", status = 202 }]\n\
         exec = [{ program = \"p\", code = 2 }, { program = \"p\", args = [\"a\"] }]\ntools = { t = { output = 2 } }",
    );
    let both = all.with(own);
    let expected = data(
        "kv = { a = \"1\", b = \"2\" }\nhttp = [{ url = \"y\" }, { url = \"x\", status = 202 }]\n\
         exec = [{ program = \"p\", code = 2 }, { program = \"p\", args = [\"a\"] }]\ntools = { t = { output = 2 } }",
    );
    assert_eq!(both, expected);
    fakes().put(&both, "any").unwrap();
}
