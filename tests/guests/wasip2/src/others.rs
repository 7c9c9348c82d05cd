//! Clocks, waiting, random numbers, and the environment.

use bindings::cli::environment;
use bindings::clocks::{monotonic_clock, wall_clock};
use bindings::io::poll::poll;
use bindings::random::{insecure, insecure_seed, random as secure};

use crate::Suite;

const MILLISECOND: u64 = 1_000_000;

pub fn clocks(suite: &mut Suite) {
    let resolution = wall_clock::resolution();
    suite.is("resolution of the wall clock", (resolution.seconds, resolution.nanoseconds), (0, 1));
    suite.is("resolution of the monotonic clock", monotonic_clock::resolution(), 1);
    suite.is("the wall clock is past 2019", wall_clock::now().seconds > 1_577_000_000, true);
    let times: Vec<_> = (0..1000).map(|_| monotonic_clock::now()).collect();
    suite.is("the monotonic clock never goes back", times.is_sorted(), true);
}

pub fn polling(suite: &mut Suite) {
    let before = monotonic_clock::now();
    let (long, short) = (
        monotonic_clock::subscribe_duration(60_000 * MILLISECOND),
        monotonic_clock::subscribe_duration(5 * MILLISECOND),
    );
    suite.is("the shorter of two is over first", poll(&[&long, &short]), vec![1]);
    suite.is("that long has passed", monotonic_clock::now() - before >= 5 * MILLISECOND, true);
    suite.is("it is ready", short.ready(), true);
    suite.is("what is over is over at once", poll(&[&short]), vec![0]);
    suite.is("twice the same", poll(&[&short, &short]), vec![0, 1]);
    let past = monotonic_clock::subscribe_instant(before);
    past.block();
    suite.is("a time that is past is ready", past.ready(), true);
    let output = bindings::cli::stdout::get_stdout();
    let writable = output.subscribe();
    suite.is("output is ready beside a long wait", poll(&[&long, &writable]), vec![1]);
    let input = bindings::cli::stdin::get_stdin();
    let readable = input.subscribe();
    suite.is("and so is input", poll(&[&long, &readable]), vec![1]);
}

pub fn random(suite: &mut Suite) {
    suite.is("no bytes", secure::get_random_bytes(0), Vec::new());
    let (one, other) = (secure::get_random_bytes(70_000), secure::get_random_bytes(70_000));
    suite.is("as many as asked for", (one.len(), other.len()), (70_000, 70_000));
    suite.is("others each time", one != other, true);
    let zeroes = one.iter().filter(|byte| **byte == 0).count();
    suite.is("about one in 256 is zero", zeroes > 100 && zeroes < 600, true);
    suite.is("numbers differ", secure::get_random_u64() != secure::get_random_u64(), true);
    suite.is("insecure bytes", insecure::get_insecure_random_bytes(9).len(), 9);
    suite.is(
        "insecure numbers differ",
        insecure::get_insecure_random_u64() != insecure::get_insecure_random_u64(),
        true,
    );
    suite.is("seeds are no zeroes", insecure_seed::insecure_seed() != (0, 0), true);
}

/// With the variable `WASI_ONE`, and these words.
pub fn environment(suite: &mut Suite) {
    let one = ("WASI_ONE".to_owned(), "1".to_owned());
    suite.is("the variables", environment::get_environment(), vec![one]);
    let words = ["wasip2", "environment", "", "two words", "\u{e9}\u{2603}", "--x"].map(str::to_owned);
    suite.is("the arguments", environment::get_arguments(), words.to_vec());
    suite.is("the folder that it is in", environment::initial_cwd(), None);
    suite.is("no terminal for input", bindings::cli::terminal_stdin::get_terminal_stdin().is_none(), true);
    suite.is("no terminal for output", bindings::cli::terminal_stdout::get_terminal_stdout().is_none(), true);
}
