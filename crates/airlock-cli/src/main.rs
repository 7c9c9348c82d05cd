//! The `airlock` command.

#![forbid(unsafe_code)]

mod command;
mod config;
mod flags;
mod mail;
mod printer;
mod prompt;
mod screen;
mod spinner;
mod trace;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = flags::Cli::parse();
    trace::start(cli.global.verbose);
    command::run(cli)
}
