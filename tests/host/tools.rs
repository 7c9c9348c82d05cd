//! Tools that plugins call by name.

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use airlock_host::service::ToolRegistry;
use airlock_host::{
    CapabilityKind, LimitKind, Need, Permit, ServiceError, ServiceFuture, Tool, ToolInfo, Tools,
};

use crate::gated::{Call, denied};
use crate::support::Mode;

type Work = fn(&Fake, &Permit, &str) -> Result<String, ServiceError>;

/// A tool that does what a test needs.
#[derive(Debug)]
struct Fake {
    name: &'static str,
    work: Work,
}

impl Tool for Fake {
    fn info(&self) -> ToolInfo {
        ToolInfo {
            name: self.name.to_owned(),
            description: format!("does {}", self.name),
            input_schema: None,
        }
    }

    fn call<'a>(&'a self, permit: &'a Permit, input: &'a str) -> ServiceFuture<'a, String> {
        Box::pin(async move { (self.work)(self, permit, input) })
    }
}

fn echo(_: &Fake, _: &Permit, input: &str) -> Result<String, ServiceError> {
    Ok(input.to_owned())
}

fn registry(tools: &[(&'static str, Work)]) -> ToolRegistry {
    let registry = ToolRegistry::new();
    for &(name, work) in tools {
        registry.register(Arc::new(Fake { name, work })).unwrap();
    }
    registry
}

fn call(granted: &[&str]) -> Call {
    Call::new(Path::new("/w"), granted)
}

/// Calls a tool as an adapter does.
fn invoke(tools: &ToolRegistry, call: &Call, name: &str, input: &str) -> Result<String, ServiceError> {
    let permit = call.permit(Need::Name(CapabilityKind::ToolsCall, name))?;
    Mode::NoRuntime.wait(tools.call(&permit, name, input))
}

#[test]
fn a_plugin_sees_and_calls_the_tools_it_was_granted() {
    let tools = registry(&[("math.add", echo), ("math.sub", echo), ("shell", echo)]);
    let one = call(&["tools.call=math.*"]);
    let permit = one.permit(Need::Name(CapabilityKind::ToolsCall, "math.add")).unwrap();
    let names: Vec<String> = tools.list(&permit).into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["math.add", "math.sub"]);
    assert_eq!(invoke(&tools, &one, "math.add", "[1,2]"), Ok("[1,2]".to_owned()));
    assert_eq!(invoke(&tools, &one, "shell", "{}"), Err(denied("tools.call=shell")));
    // A permit for one is none for another.
    let other = Mode::NoRuntime.wait(tools.call(&permit, "shell", "{}"));
    assert_eq!(other, Err(denied("tools.call=shell")));
    let missing = ServiceError::NotFound("tool `math.mul`".to_owned());
    assert_eq!(invoke(&tools, &one, "math.mul", "{}"), Err(missing));
}

#[test]
fn two_tools_of_one_name_are_refused_and_one_that_was_taken_away_is_gone() {
    let tools = registry(&[("add", echo)]);
    let again = tools.register(Arc::new(Fake { name: "add", work: echo })).unwrap_err();
    assert_eq!(again.to_string(), "`tool add`: it is there already: `does add`, and not `does add`");
    assert_eq!((tools.unregister("add"), tools.unregister("add"), tools.all().len()), (true, false, 0));
    tools.register(Arc::new(Fake { name: "add", work: echo })).unwrap();
    for name in ["", "a b", "a*", "a=b", "a\u{1b}"] {
        assert!(tools.register(Arc::new(Fake { name, work: echo })).is_err(), "{name:?}");
    }
}

#[test]
fn what_goes_in_and_out_is_json_of_a_bounded_size() {
    let tools = registry(&[
        ("echo", echo),
        ("text", |_, _, _| Ok("no JSON".to_owned())),
        ("twice", |_, _, _| Ok("1 2".to_owned())),
        ("long", |_, _, _| Ok(format!("\"{}\"", "x".repeat(1000)))),
    ]);
    let one = || call(&["tools.call=*"]);
    for input in ["", "{", "1 2", "{'a':1}", "nul"] {
        let error = invoke(&tools, &one(), "echo", input).unwrap_err();
        assert_eq!(error.code(), "invalid", "{input:?}");
    }
    for name in ["text", "twice"] {
        assert_eq!(invoke(&tools, &one(), name, "{}").unwrap_err().code(), "failed");
    }
    // However deep it is, it is looked at without recursion.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(invoke(&tools, &one(), "echo", &deep), Ok(deep));
    let limited = one().limited(LimitKind::Output, 1000);
    let error = invoke(&tools, &limited, "long", "{}").unwrap_err();
    assert_eq!(error, ServiceError::Limit { limit: LimitKind::Output, maximum: 1000 });
    let limited = one().limited(LimitKind::Input, 3);
    let error = invoke(&tools, &limited, "echo", "[12]").unwrap_err();
    assert_eq!(error, ServiceError::Limit { limit: LimitKind::Input, maximum: 3 });
}

#[test]
fn a_tool_that_panics_has_failed_and_nothing_else() {
    #[derive(Debug)]
    struct AtOnce;
    impl Tool for AtOnce {
        fn info(&self) -> ToolInfo {
            ToolInfo { name: "at-once".to_owned(), description: String::new(), input_schema: None }
        }
        fn call<'a>(&'a self, _: &'a Permit, _: &'a str) -> ServiceFuture<'a, String> {
            panic!("before there is a future")
        }
    }
    let tools = registry(&[("echo", echo), ("later", |_, _, _| panic!("inside of it"))]);
    tools.register(Arc::new(AtOnce)).unwrap();
    let one = call(&["tools.call=*"]);
    for name in ["later", "at-once"] {
        let failed = ServiceError::Failed(format!("the tool `{name}` panicked"));
        assert_eq!(invoke(&tools, &one, name, "{}"), Err(failed));
    }
    assert_eq!(invoke(&tools, &one, "echo", "1"), Ok("1".to_owned()));
}

/// A tool that calls the one its input names, as a plugin does that is called for it.
#[derive(Debug)]
struct Relay {
    name: &'static str,
    tools: Weak<Tied>,
}

#[derive(Debug)]
struct Tied(ToolRegistry);

impl Tool for Relay {
    fn info(&self) -> ToolInfo {
        ToolInfo { name: self.name.to_owned(), description: String::new(), input_schema: None }
    }

    fn call<'a>(&'a self, permit: &'a Permit, input: &'a str) -> ServiceFuture<'a, String> {
        Box::pin(async move {
            let tied = self.tools.upgrade().unwrap();
            // Registering while it runs shows that no lock is held.
            tied.0.unregister("nobody");
            let next: Vec<String> = serde_json::from_str(input).unwrap();
            let Some((next, rest)) = next.split_first() else { return Ok("\"end\"".to_owned()) };
            let rest = serde_json::to_string(rest).unwrap();
            tied.0.call(permit, next, &rest).await
        })
    }
}

#[test]
fn reenter_tools_call_each_other_neither_in_a_circle_nor_too_deep() {
    let tied = Arc::new_cyclic(|tools: &Weak<Tied>| {
        let registry = ToolRegistry::new();
        for name in ["a", "b", "c"] {
            registry.register(Arc::new(Relay { name, tools: tools.clone() })).unwrap();
        }
        Tied(registry)
    });
    let one = || call(&["tools.call=*"]);
    assert_eq!(invoke(&tied.0, &one(), "a", r#"["b","c"]"#), Ok("\"end\"".to_owned()));
    let circle = invoke(&tied.0, &one(), "a", r#"["b","a"]"#).unwrap_err();
    assert_eq!(circle.to_string(), "tools call each other in a circle: a > b > a");
    let limited = one().limited(LimitKind::ToolDepth, 2);
    let deep = invoke(&tied.0, &limited, "a", r#"["b","c"]"#).unwrap_err();
    assert_eq!(deep, ServiceError::Limit { limit: LimitKind::ToolDepth, maximum: 2 });
}

#[test]
fn slow_host_call_nested_deadline_a_tool_has_the_rest_of_the_calls_time() {
    #[derive(Debug)]
    struct Never(Arc<()>);
    impl Tool for Never {
        fn info(&self) -> ToolInfo {
            ToolInfo { name: "never".to_owned(), description: String::new(), input_schema: None }
        }
        fn call<'a>(&'a self, _: &'a Permit, _: &'a str) -> ServiceFuture<'a, String> {
            let held = self.0.clone();
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok(String::new())
            })
        }
    }
    let held = Arc::new(());
    let tools = ToolRegistry::new();
    tools.register(Arc::new(Never(held.clone()))).unwrap();
    for mode in [Mode::NoRuntime, Mode::CurrentThread, Mode::MultiThread] {
        let one = call(&["tools.call=*"]).lasting(Duration::from_millis(50));
        let permit = one.permit(Need::Name(CapabilityKind::ToolsCall, "never")).unwrap();
        let result = mode.wait(tools.call(&permit, "never", "{}"));
        assert_eq!((result, Arc::strong_count(&held)), (Err(ServiceError::Ended), 2), "{mode:?}");
    }
}
