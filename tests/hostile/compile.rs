//! Modules that are admitted and still keep a compiler busy.

use std::time::{Duration, Instant};

use airlock_host::{Host, InProcess};

use super::cache::big;
use super::case;
use crate::support::{limits, source, survives, text};

#[test]
fn slow_compilation_is_given_up_at_its_time() {
    let _case = case(34, "limit-compile-time", "compile_time");
    let host = Host::builder().slots(4).compiler(InProcess::new(2)).build().unwrap();
    let big = big(4000);
    let start = Instant::now();
    let error = host.load_blocking(source(&big), limits(&[("compile_time", "100ms")])).expect_err("slow");
    assert_eq!(error.to_string(), "limit `compile_time` of 100ms hit while compiling");
    assert_eq!((error.code(), error.exit_code()), ("limit-compile-time", 123));
    assert!(start.elapsed() < Duration::from_secs(20));
    survives(&host);
}

#[test]
fn slow_compilations_keep_no_more_than_their_turns_busy() {
    let _case = case(34, "limit-compile-time", "compile_time, one at a time");
    let host = Host::builder().slots(4).compiler(InProcess::new(1)).build().unwrap();
    let module = |index: usize| big(4000).replacen("(memory 1)", &format!("(memory {index})"), 1);
    let loads: Vec<String> = std::thread::scope(|scope| {
        let loads: Vec<_> = (1..5)
            .map(|index| {
                let (host, module) = (&host, module(index));
                scope.spawn(move || {
                    let options = limits(&[("compile_time", "150ms")]);
                    host.load_blocking(source(&module), options).expect_err("slow").code().to_owned()
                })
            })
            .collect();
        loads.into_iter().map(|load| load.join().unwrap()).collect()
    });
    assert_eq!(loads, vec!["limit-compile-time"; 4]);
    // The one that was begun goes on to its end; then there is a turn for others.
    survives(&host);
}

#[test]
fn a_load_that_is_given_up_leaves_the_next_one_its_chance() {
    let _case = case(34, "loads", "compile_time");
    let host = Host::builder().slots(4).build().unwrap();
    let big = big(1000);
    assert!(host.load_blocking(source(&big), limits(&[("compile_time", "1ns")])).is_err());
    host.load_blocking(source(&big), text()).unwrap();
}
