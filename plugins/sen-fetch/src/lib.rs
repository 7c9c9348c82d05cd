//! Fetches a URL: a sen-rs plugin by its published SDK that asks its host for effects.
//!
//! A plugin has no network. `execute` answers with the effect it wants, and the host calls
//! `resume` of the same instance with what came of it. Besides `GET` and `POST` there are
//! methods that no server knows: `SLEEP` waits, `CHAIN` asks for one effect after another
//! and `FOREVER` never stops asking.

use std::sync::Mutex;

use sen_plugin_sdk::prelude::*;
use sen_plugin_sdk::NetProtocol;

// What the effects are called in `resume`.
const GET: u32 = 1;
const POST: u32 = 2;
const SLEEP: u32 = 3;
const CHAIN_FIRST: u32 = 10;
const CHAIN_PAUSE: u32 = 11;
const CHAIN_SECOND: u32 = 12;
const FOREVER: u32 = 20;

const PAUSE_MS: u64 = 20;

/// What `CHAIN` has to know between its rounds.
static CHAIN: Mutex<Chain> = Mutex::new(Chain { url: String::new(), first: String::new() });

struct Chain {
    url: String,
    first: String,
}

struct Fetch;

impl Plugin for Fetch {
    fn manifest() -> PluginManifest {
        // The SDK has no function for plain HTTP.
        let here = NetPattern { host: "127.0.0.1".into(), port: None, protocol: NetProtocol::Http };
        let capabilities = Capabilities::none()
            .with_net(vec![NetPattern::https("api.example.com"), here])
            .with_stdio(StdioCapability::none());
        let method = ArgSpec::option("method", "method")
            .short('m')
            .default("GET")
            .help("GET, POST, SLEEP, CHAIN or FOREVER");
        PluginManifest::with_capabilities(
            CommandSpec::new("fetch", "Fetches a URL")
                .version("1.0.0")
                .arg(ArgSpec::positional("url").required().help("What is fetched"))
                .arg(method)
                .arg(ArgSpec::option("body", "body").default("").help("What is posted")),
            capabilities,
        )
    }

    fn execute(args: Vec<String>) -> ExecuteResult {
        let mut args = args.into_iter();
        let Some(url) = args.next() else {
            return ExecuteResult::user_error("`url` is missing");
        };
        let method = args.next().unwrap_or_else(|| "GET".into());
        let body = args.next().unwrap_or_default();
        match method.as_str() {
            "GET" => get(GET, url),
            "POST" => post(url, body),
            "SLEEP" => ExecuteResult::sleep(SLEEP, PAUSE_MS),
            "CHAIN" => {
                *chain() = Chain { url: url.clone(), first: String::new() };
                get(CHAIN_FIRST, url)
            }
            "FOREVER" => ExecuteResult::sleep(FOREVER, 0),
            other => ExecuteResult::user_error(format!("no method `{other}`")),
        }
    }

    fn resume(id: u32, result: EffectResult) -> ExecuteResult {
        match (id, result) {
            (FOREVER, _) => ExecuteResult::sleep(FOREVER, 0),
            (_, EffectResult::Error(error)) => ExecuteResult::user_error(format!("request failed: {error}")),
            (CHAIN_FIRST, EffectResult::Http(response)) => {
                chain().first = report(&response);
                ExecuteResult::sleep(CHAIN_PAUSE, PAUSE_MS)
            }
            (CHAIN_PAUSE, EffectResult::SleepComplete) => get(CHAIN_SECOND, chain().url.clone()),
            (CHAIN_SECOND, EffectResult::Http(response)) => {
                ExecuteResult::success(format!("{}\n{}", chain().first, report(&response)))
            }
            (_, EffectResult::Http(response)) => ExecuteResult::success(report(&response)),
            (_, EffectResult::SleepComplete) => ExecuteResult::success("slept"),
        }
    }
}

fn chain() -> std::sync::MutexGuard<'static, Chain> {
    CHAIN.lock().expect("there is one thread, and a panic ends it")
}

fn get(id: u32, url: String) -> ExecuteResult {
    let headers = vec![("accept".into(), "text/plain".into())];
    ExecuteResult::Effect(Effect::HttpGet { id, url, headers })
}

fn post(url: String, body: String) -> ExecuteResult {
    let content_type = Some("text/plain".into());
    ExecuteResult::Effect(Effect::HttpPost { id: POST, url, body, content_type, headers: Vec::new() })
}

fn report(response: &HttpResponse) -> String {
    format!("STATUS {}\n{}", response.status, response.body)
}

export_plugin!(Fetch);
