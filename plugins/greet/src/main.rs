//! A WASI program for the `command` ABI: greets each argument, or each line of standard
//! input when there is none. `--exit CODE` leaves with that code, `--time` prints the
//! clock in seconds since the Unix epoch, `--random` prints eight random bytes,
//! `--panic` panics, `--env` and `--ls` show that there is nothing to see.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::BufRead;
use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    let mut args = std::env::args().skip(1);
    let mut greeted = false;
    while let Some(arg) = args.next() {
        greeted = true;
        match arg.as_str() {
            "--exit" => std::process::exit(args.next().and_then(|code| code.parse().ok()).unwrap_or(1)),
            "--time" => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
                println!("{}", now.as_secs());
            }
            // A hasher's keys come from the system's random numbers.
            "--random" => println!("{:016x}", RandomState::new().build_hasher().finish()),
            "--panic" => panic!("asked to"),
            "--env" => println!("{} variables", std::env::vars().count()),
            "--ls" => match std::fs::read_dir("/") {
                Ok(entries) => println!("{} entries", entries.count()),
                Err(error) => println!("no files: {}", error.kind()),
            },
            name => println!("hello, {name}"),
        }
    }
    if !greeted {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            println!("hello, {line}");
        }
    }
    eprintln!("done");
}
