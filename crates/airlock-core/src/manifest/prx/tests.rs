use super::{PrxCapability, PrxKind, PrxManifest};
use crate::{LimitKind, Manifest, Overrides};

fn reads(text: &str) -> Manifest {
    Manifest::read("plugin.toml", text.as_bytes()).expect("a valid manifest")
}

fn fails(text: &str) -> String {
    Manifest::read("plugin.toml", text.as_bytes()).expect_err("an invalid manifest").to_string()
}

fn prx(manifest: &Manifest) -> &PrxManifest {
    manifest.prx.as_ref().expect("it is PRX's")
}

fn asked(manifest: &Manifest) -> Vec<String> {
    let shown = |request: &crate::Request| {
        format!("{}{}", request.capability, if request.required { " (required)" } else { "" })
    };
    manifest.requests.iter().map(shown).collect()
}

fn kinds(manifest: &Manifest) -> Vec<(PrxKind, &str)> {
    prx(manifest).capabilities.iter().map(|one| (one.kind, one.name.as_str())).collect()
}

const PLUGIN: &str = "[plugin]\nname = \"a\"\nversion = \"1\"\n";

#[test]
fn what_its_own_parser_reads_is_read_without_a_warning() {
    let manifest = reads(
        r#"
        [plugin]
        name = "notes"
        version = "0.1.0"
        api_version = "1"
        description = "Keeps notes"
        wasm = "build/notes.wasm"
        author = "me"
        license = "MIT"
        [[capabilities]]
        type = "tool"
        name = "note"
        description = "writes one"
        [[capabilities]]
        type = "middleware"
        name = "first"
        priority = 7
        [[capabilities]]
        type = "hook"
        name = "hook"
        events = ["agent_start", "*"]
        [[capabilities]]
        type = "cron"
        name = "cron"
        schedule = "0 0 * * *"
        [permissions]
        required = ["log", "kv"]
        optional = ["http-outbound", "memory", "clock"]
        http_allowlist = ["https://api.example.com"]
        filesystem_allowlist = []
        [resources]
        max_fuel = 500
        max_memory_mb = 16
        max_execution_time_ms = 5000
        max_http_requests_per_call = 3
        max_kv_storage_mb = 2
        pool_size = 0
        [config]
        key = "value"
        "#,
    );
    assert_eq!(manifest.warnings, [""; 0]);
    assert_eq!((manifest.name.as_str(), manifest.entry_point.as_str()), ("notes", "build/notes.wasm"));
    assert_eq!(manifest.description.as_deref(), Some("Keeps notes"));
    assert_eq!((&*manifest.details["author"], &*manifest.details["license"]), ("me", "MIT"));
    assert_eq!(
        asked(&manifest),
        [
            "memory",
            "kv=2MiB (required)",
            "net=https://api.example.com",
            "events.subscribe=*",
            "events.subscribe=prx.lifecycle.agent_start"
        ]
    );
    let wanted: Overrides = [
        (LimitKind::Fuel, 500),
        (LimitKind::Memory, 16 << 20),
        (LimitKind::Timeout, 5_000_000_000),
        (LimitKind::HttpRequests, 3),
    ]
    .into();
    assert_eq!(manifest.limits, wanted);
    assert_eq!(manifest.config["key"], "value");
    let prx = prx(&manifest);
    assert_eq!(
        (&prx.required[..], &prx.optional[1]),
        (&["log".to_owned(), "kv".to_owned()][..], &"memory".to_owned())
    );
    let of = |kind| prx.of(kind).next().expect("it has one");
    assert_eq!((of(PrxKind::Middleware).priority, of(PrxKind::Tool).priority), (7, 100));
    assert_eq!(of(PrxKind::Cron).schedule.as_deref(), Some("0 0 * * *"));
    // One covers the other, and nobody is told twice.
    assert_eq!(of(PrxKind::Hook).topics().iter().map(ToString::to_string).collect::<Vec<_>>(), ["*"]);
}

#[test]
fn what_is_not_said_is_as_its_parser_has_it() {
    let manifest = reads(&format!("{PLUGIN}[permissions]\nrequired = [\"storage\"]\n"));
    assert_eq!((manifest.entry_point.as_str(), manifest.description.as_deref()), ("plugin.wasm", None));
    assert_eq!(asked(&manifest), ["kv=10MiB (required)"]);
    assert!(manifest.limits.is_empty() && prx(&manifest).capabilities.is_empty());
    assert!(prx(&manifest).permits_url("https://anything.example/"));
}

#[test]
fn events_are_read_as_texts_and_as_tables() {
    let manifest = reads(&format!(
        "{PLUGIN}[[capabilities]]\ntype = \"hook\"\n[[capabilities.events]]\npattern = \"build.*\"\n\
         [[capabilities.events]]\ntrigger = \"agent_end\"\n\
         [[capabilities]]\ntype = \"hook\"\nname = \"go\"\ntrigger = \"error\"\n\
         [[capabilities]]\ntype = \"hook\"\nname = \"bad\"\nevents = [\"a.**.b\", 7, \"\"]\n"
    ));
    let events: Vec<&[String]> = prx(&manifest).capabilities.iter().map(|one| &one.events[..]).collect();
    assert_eq!(
        events,
        [&["build.*".to_owned(), "agent_end".to_owned()][..], &["error".to_owned()], &["7".to_owned()]]
    );
    assert_eq!(
        manifest.warnings,
        [
            "`capabilities.name` of a hook is missing: it is the plugin's",
            "`a.**.b` is no event: `*` stands at the end of a name only: ignored",
            "`` is no event: a name is missing: ignored",
        ]
    );
    let topics: Vec<String> =
        prx(&manifest).capabilities[0].topics().iter().map(ToString::to_string).collect();
    assert_eq!(topics, ["build.*", "prx.lifecycle.build.*", "prx.lifecycle.agent_end"]);
}

#[test]
fn a_capability_without_a_name_has_the_plugins() {
    let manifest = reads(&format!("{PLUGIN}[[capabilities]]\ntype = \"cron\"\nschedule = \"* * * * *\"\n"));
    assert_eq!(kinds(&manifest), [(PrxKind::Cron, "a")]);
}

#[test]
fn the_python_sdks_form_has_one_capability_and_its_list_elsewhere() {
    let manifest = reads(&format!(
        "{PLUGIN}capability = \"tool\"\n[permissions]\nrequired = [\"http-outbound\"]\n\
         [http_allowlist]\nurls = [\"https://a.example\", \"https://b.example/v1/*\"]\n"
    ));
    assert_eq!(kinds(&manifest), [(PrxKind::Tool, "a")]);
    assert_eq!(asked(&manifest), ["net=https://a.example (required)", "net=https://b.example (required)"]);
    assert!(manifest.warnings.is_empty(), "{:?}", manifest.warnings);
}

#[test]
fn the_sites_form_asks_for_what_its_parser_passes_over() {
    for text in ["net.http = [\"https://a.example\"]", "\"net.http\" = [\"https://a.example\"]"] {
        let manifest =
            reads(&format!("{PLUGIN}[permissions]\n{text}\nevent_bus_subscribe = [\"weather.*\"]\n"));
        assert_eq!(asked(&manifest), ["net=https://a.example", "events.subscribe=weather.*"]);
        assert_eq!(prx(&manifest).optional, ["http-outbound"]);
    }
}

#[test]
fn the_guides_keys_of_resources_are_read_and_what_is_too_much_is_cut() {
    let manifest = reads(&format!(
        "{PLUGIN}[permissions]\nrequired = [\"kv\"]\n[resources]\nmax_http_requests = 5\n\
         max_kv_storage_kb = 512\nmax_memory_mb = 100000\nmax_fuel = \"1_000\"\n\
         max_execution_time_ms = -1\npool_size = 4\ncolour = 1\n"
    ));
    let wanted: Overrides =
        [(LimitKind::Fuel, 1000), (LimitKind::Memory, 1 << 30), (LimitKind::HttpRequests, 5)].into();
    assert_eq!(
        (manifest.limits.clone(), asked(&manifest)),
        (wanted, vec!["kv=512KiB (required)".to_owned()])
    );
    assert_eq!(
        manifest.warnings,
        [
            "`resources.max_memory_mb` is more than a plugin can say for itself: 1.0 GiB",
            "`resources.max_execution_time_ms` is no whole number: ignored",
            "`resources.pool_size` has no effect: a plugin has one instance",
            "unknown key `resources.colour`",
        ]
    );
}

#[test]
fn values_of_the_configuration_are_texts_whatever_they_are_written_as() {
    let manifest = reads(&format!(
        "{PLUGIN}[resources]\n[config]\nenable_real_network_default = false\nretries = 3\nname = \"x\"\nlist = [1]\n"
    ));
    let config: Vec<(&str, &str)> = manifest.config.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(config, [("enable_real_network_default", "false"), ("name", "x"), ("retries", "3")]);
    assert_eq!(
        manifest.warnings,
        [
            "`config.enable_real_network_default` is no text, and is read as `false`",
            "`config.list` is no text: ignored",
            "`config.retries` is no text, and is read as `3`",
        ]
    );
}

#[test]
fn the_oldest_form_says_what_it_is_in_a_table_of_flags() {
    let manifest = reads(
        "[plugin]\nname = \"voice\"\nversion = \"1\"\n[plugin.capabilities]\ntools = true\nhooks = false\n\
         [[plugin.tools]]\nname = \"voice_session\"\n",
    );
    assert_eq!(kinds(&manifest), [(PrxKind::Tool, "voice")]);
    assert!(manifest.warnings.is_empty(), "{:?}", manifest.warnings);
}

#[test]
fn the_oldest_form_lists_its_tools_with_what_they_take() {
    let manifest = reads(
        "[plugin]\nname = \"voice\"\nversion = \"1\"\n[plugin.capabilities]\ntools = true\n\
         [[plugin.tools]]\nname = \"voice_session\"\ndescription = \"begins one\"\nparameters = [\n\
         { name = \"provider\", type = \"string\", required = true, description = \"whose\" },\n\
         { name = \"voice\", type = \"string\", required = false },\n]\n\
         [[plugin.tools]]\nname = \"end\"\n",
    );
    let [session, end] = manifest.tools.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((&*session.name, session.description.as_deref()), ("voice_session", Some("begins one")));
    let params: Vec<_> = session.params.iter().map(|one| (&*one.name, &*one.kind, one.required)).collect();
    assert_eq!(params, [("provider", "string", true), ("voice", "string", false)]);
    assert_eq!(session.params[0].description.as_deref(), Some("whose"));
    assert_eq!((&*end.name, end.description.as_deref(), end.params.len()), ("end", None, 0));
    assert!(manifest.warnings.is_empty(), "{:?}", manifest.warnings);
    // A component says itself what its tool is, or has none of another name than `execute`.
    let spec = serde_json::json!({ "name": "spoken", "parameters-schema": "{}" }).to_string();
    let said = Manifest::with_prx_spec(Ok(spec.as_bytes()), Some(manifest.clone()), "a").expect("one tool");
    assert_eq!(said.tools.iter().map(|tool| &*tool.name).collect::<Vec<_>>(), ["spoken"]);
    let said = Manifest::with_prx_spec(Ok(b"{}"), Some(manifest), "a").expect("no tool");
    assert!(said.tools.is_empty());
}

#[test]
fn what_a_plugin_from_before_components_says_of_its_tools_is_read_as_far_as_it_can_be() {
    let says = |text: &str| Manifest::with_prx_tools(Ok(text.as_bytes()), None, "a");
    let manifest = says(
        r#"{"name":"voice","tools":[
            {"name":"one","description":"does","parameters":[{"name":"n","type":"number","required":true},7,{}]},
            {"name":"two","parameters":{"type":"object","required":["x"],"properties":{"x":{"type":"string"}}}},
            {"name":"one"},{"name":""},{"name":"a\u001b[2J"},{"name":7},"three"]}"#,
    )
    .expect("few tools");
    let [one, two] = manifest.tools.as_slice() else { panic!("{manifest:?}") };
    for (tool, name, param, kind) in [(one, "one", "n", "number"), (two, "two", "x", "string")] {
        let params: Vec<_> = tool.params.iter().map(|one| (&*one.name, &*one.kind, one.required)).collect();
        assert_eq!((&*tool.name, params), (name, vec![(param, kind, true)]));
    }
    assert_eq!(manifest.tools[1].schema.as_ref().map(|schema| schema["type"].clone()), Some("object".into()));
    assert_eq!(
        manifest.warnings,
        [
            "`tools` has `one` twice: the first counts",
            "`tools` has an entry with the name ``, which is none: ignored",
            "`tools` has an entry with the name `a\\x1b[2J`, which is none: ignored",
            "`tools` has an entry without a name: ignored",
            "`tools` has an entry that is no object: ignored",
        ]
    );
    let long = serde_json::json!({ "tools": [{ "name": "x".repeat(257) }] }).to_string();
    assert_eq!(
        says(&long).expect("no tool").warnings,
        ["`tools` has an entry whose name has 257 bytes, and 256 are the most: ignored"]
    );
}

#[test]
fn an_answer_without_tools_is_a_warning_and_too_many_are_refused() {
    let says = |text: &str| Manifest::with_prx_tools(Ok(text.as_bytes()), None, "a");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, reason) in [
        (r#"{"name":"voice"}"#, "its answer has no `tools`"),
        (r#""voice""#, "its answer has no `tools`"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        (&deep, "recursion limit exceeded at line 1 column 128"),
    ] {
        let manifest = says(text).expect("nothing is too much");
        assert!(manifest.tools.is_empty());
        assert_eq!(manifest.warnings, [format!("the module does not say which tools it has: {reason}")]);
    }
    assert_eq!(says(r#"{"tools":{}}"#).expect("no tool").warnings, ["`tools` is no list: ignored"]);
    let many = |count: usize| {
        let tools: Vec<_> = (0..count).map(|at| serde_json::json!({ "name": format!("t{at}") })).collect();
        says(&serde_json::json!({ "tools": tools }).to_string())
    };
    assert_eq!(many(1000).expect("as many as there may be").tools.len(), 1000);
    let error = many(1001).expect_err("one too many").to_string();
    assert_eq!(error, "manifest `the module's tools` is not valid: it names more than 1000 tools");
    let params: Vec<_> = (0..1000).map(|at| serde_json::json!({ "name": format!("p{at}") })).collect();
    let wide = serde_json::json!({ "tools": [{ "name": "t", "parameters": params }] }).to_string();
    let error = says(&wide).expect_err("one takes too much").to_string();
    assert_eq!(
        error,
        "manifest `the module's tools` is not valid: it asks for or names more than 1000 things of a kind"
    );
    let text = format!("{PLUGIN}{}", "[[plugin.tools]]\nname = \"a\"\n".repeat(1001));
    assert_eq!(fails(&text), "manifest `plugin.toml` is not valid: it names more than 1000 tools");
}

#[test]
fn what_its_own_parser_passes_over_is_named() {
    let manifest = reads(&format!(
        "{PLUGIN}api_version = \"2\"\ncolour = \"red\"\n[[capabilities]]\ntype = \"channel\"\nname = \"x\"\n\
         [[capabilities]]\ntype = \"tool\"\nname = \"y\"\nsize = 3\n\
         [permissions]\nfilesystem_allowlist = [\"/tmp\"]\nfs = [\"read\"]\n[plugins]\nenabled = true\n"
    ));
    assert_eq!(kinds(&manifest), [(PrxKind::Tool, "y")]);
    assert!(manifest.requests.is_empty());
    assert_eq!(
        manifest.warnings,
        [
            "`plugin.api_version` is `2`: there is no other than `1`",
            "`capabilities.type` is `channel`, which nobody knows: ignored",
            "unknown key `capabilities.size`",
            "`permissions.filesystem_allowlist` has no effect: PRX gives its plugins no files",
            "unknown key `permissions.fs`",
            "unknown key `plugin.colour`",
            "unknown key `plugins`",
        ]
    );
}

#[test]
fn permissions_that_give_nothing_are_named() {
    let manifest = reads(&format!(
        "{PLUGIN}[permissions]\nrequired = [\"log\", \"llm\", \"websocket-outbound\"]\noptional = [\"http-outbond\"]\n"
    ));
    assert_eq!(
        manifest.warnings,
        [
            "the permission `llm` gives nothing: PRX has no interface for it",
            "the permission `websocket-outbound` gives nothing: every call of it answers that it is not supported",
            "nobody knows the permission `http-outbond`; `http-outbound` is one",
        ]
    );
    assert!(manifest.requests.is_empty());
}

#[test]
fn a_list_of_urls_means_origins_beginnings_and_urls_and_never_part_of_a_host() {
    let list = |entry: &str| PrxManifest { http_allowlist: vec![entry.to_owned()], ..PrxManifest::default() };
    for (entry, fits, does_not) in [
        (
            "https://api.example.com",
            "https://api.example.com/v1?q=1",
            "https://api.example.com.evil.example/",
        ),
        ("https://api.example.com/", "https://api.example.com/v1", "http://api.example.com/v1"),
        ("https://api.example.com:8443", "https://api.example.com:8443/x", "https://api.example.com/x"),
        ("https://api.example.com/v1/*", "https://api.example.com/v1/x", "https://api.example.com/v2/x"),
        ("https://api.example.com/v1*", "https://api.example.com/v1?x", "https://api.example.com/"),
        ("https://api.example.com*", "https://api.example.com/x", "https://api.example.com.evil.example/"),
        (
            "https://api.example.com/v1/status",
            "https://api.example.com/v1/status",
            "https://api.example.com/v1/status/x",
        ),
        ("https://*", "https://any.example/", "http://any.example/"),
        ("https://*.example.com", "https://a.b.example.com/x", "https://example.com.evil.example/"),
        ("https://*.example.com/v1/*", "https://a.example.com/v1/x", "https://a.example.com/v2"),
    ] {
        assert!(list(entry).permits_url(fits), "{entry} {fits}");
        assert!(!list(entry).permits_url(does_not), "{entry} {does_not}");
    }
    assert!(list("*").permits_url("http://any.example/"));
    assert!(
        !list("https://api.example.com").names_paths() && list("https://api.example.com/v1*").names_paths()
    );
    let net = |entry: &str| {
        let text = format!(
            "{PLUGIN}[permissions]\noptional = [\"http-outbound\"]\nhttp_allowlist = [\"{entry}\"]\n"
        );
        let manifest = reads(&text);
        asked(&manifest).into_iter().chain(manifest.warnings).collect::<Vec<_>>()
    };
    assert_eq!(net("https://api.example.com/v1/*"), ["net=https://api.example.com"]);
    assert_eq!(net("https://*.example.com"), ["net=https://*.example.com"]);
    assert_eq!(
        (net("*"), net("https*"), net("http://*")),
        (
            ["net=http://*:*", "net=https://*:*"].map(str::to_owned).to_vec(),
            vec!["net=https://*".to_owned()],
            vec!["net=http://*".to_owned()]
        )
    );
    assert_eq!(net("api.example.com"), ["`http_allowlist`: `api.example.com` is no URL: ignored"]);
    assert_eq!(
        net("https://me@evil.example"),
        ["`http_allowlist`: `https://me@evil.example` has a user: ignored"]
    );
}

#[test]
fn what_it_cannot_be_run_from_is_refused() {
    let refused = |text: &str, reason: &str| {
        assert_eq!(fails(text), format!("manifest `plugin.toml` is not valid: {reason}"));
    };
    refused("[plugin]\nversion = \"1\"\nwasm = \"a.wasm\"", "`plugin.name` is missing");
    refused("[plugin]\nname = \"a\"\nversion = \"\"\n[permissions]", "`plugin.version` is missing");
    refused(
        "[plugin]\nname = \"a\"\nversion = \"1\"\nwasm = \"../a.wasm\"",
        "`plugin.wasm` must name a file inside the plugin's folder",
    );
    refused("plugin = 1\n[permissions]", "`plugin` is no table");
    refused(&format!("{PLUGIN}[permissions]\n# {}", "x".repeat(256 << 10)), "larger than 256 KiB");
    assert_eq!(
        Manifest::read("plugin.toml", b"\xff[permissions]").expect_err("no text").to_string(),
        "manifest `plugin.toml` is not valid: it is not UTF-8"
    );
}

#[test]
fn fledges_file_of_the_same_name_is_fledges() {
    let manifest = reads(&format!(
        "{PLUGIN}runtime = \"wasm\"\n[[commands]]\nname = \"a\"\nbinary = \"a.wasm\"\n[capabilities]\nstore = true\n"
    ));
    assert_eq!(manifest.format, crate::ManifestFormat::Fledge);
}

fn said(spec: &serde_json::Value) -> Manifest {
    Manifest::with_prx_spec(Ok(spec.to_string().as_bytes()), None, "a").expect("it is not too much")
}

#[test]
fn a_tool_is_what_it_says_it_is() {
    let schema =
        r#"{"type":"object","required":["text"],"properties":{"text":{"type":"string"},"n":{"enum":[1]}}}"#;
    let manifest = said(
        &serde_json::json!({ "name": "email.execute", "description": "d", "parameters-schema": schema }),
    );
    let tool = &manifest.tools[0];
    assert_eq!((tool.name.as_str(), tool.description.as_deref()), ("email.execute", Some("d")));
    let params: Vec<_> = tool.params.iter().map(|one| (&*one.name, &*one.kind, one.required)).collect();
    assert_eq!(params, [("text", "string", true), ("n", "any", false)]);
    assert!(manifest.warnings.is_empty());
}

#[test]
fn a_schema_that_is_none_is_one_that_takes_anything() {
    for schema in ["", "{", "[]", "true"] {
        let manifest =
            said(&serde_json::json!({ "name": "x", "description": "", "parameters-schema": schema }));
        let any = serde_json::json!({ "type": "object", "properties": {} });
        assert_eq!(manifest.tools[0].schema, Some(any));
        assert_eq!(manifest.warnings, ["the schema of its tool `x` is no JSON object: anything is taken"]);
    }
    let manifest = said(&serde_json::json!({ "name": "a\u{1b}[2J" }));
    assert!(manifest.tools.is_empty() && manifest.warnings[0].contains("which is none: it is `execute`"));
}

#[test]
fn topics_of_a_hook_never_cover_one_another() {
    let hook = |events: &[&str]| PrxCapability {
        kind: PrxKind::Hook,
        name: "a".to_owned(),
        description: String::new(),
        priority: 0,
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        schedule: None,
    };
    let topics =
        |events: &[&str]| -> Vec<String> { hook(events).topics().iter().map(ToString::to_string).collect() };
    assert_eq!(topics(&["agent_start", "prx.lifecycle.*"]), ["prx.lifecycle.*"]);
    assert_eq!(topics(&["a.b", "a.*", "*"]), ["*"]);
    assert_eq!(topics(&["mine"]), ["mine", "prx.lifecycle.mine"]);
}
