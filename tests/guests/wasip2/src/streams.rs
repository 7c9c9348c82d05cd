//! Streams of files, and how much may be written.

use bindings::cli::{stderr, stdin, stdout};
use bindings::filesystem::types::{Descriptor, filesystem_error_code};
use bindings::io::streams::{InputStream, OutputStream, StreamError};

use crate::files::{new_file, root};
use crate::{Suite, said};

/// What a stream's error is, by the word that the file system has for it.
fn told<T>(result: Result<T, StreamError>) -> String {
    match result {
        Ok(_) => "fine".to_owned(),
        Err(StreamError::Closed) => "closed".to_owned(),
        Err(StreamError::LastOperationFailed(error)) => {
            filesystem_error_code(&error).map_or_else(|| error.to_debug_string(), |code| said(&code))
        }
    }
}

fn all_of(stream: &InputStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(piece) = stream.blocking_read(7) {
        all.extend(piece);
    }
    all
}

fn content(file: &Descriptor) -> Vec<u8> {
    file.read(1000, 0).expect("it can be read").0
}

/// Writes as `wasi:io/streams` has it: with leave, then a flush, then waiting.
fn write(stream: &OutputStream, bytes: &[u8]) -> Result<(), StreamError> {
    let ready = stream.subscribe();
    let mut rest = bytes;
    while !rest.is_empty() {
        ready.block();
        let leave = usize::try_from(stream.check_write()?).unwrap_or(usize::MAX);
        let (piece, later) = rest.split_at(leave.min(rest.len()));
        stream.write(piece)?;
        rest = later;
    }
    stream.flush()?;
    ready.block();
    stream.check_write().map(|_| ())
}

pub fn streams(suite: &mut Suite) {
    let root = root();
    let file = new_file(&root, "file");
    let to_start = file.write_via_stream(0).expect("it can be written");
    suite.is("write and flush", told(to_start.blocking_write_and_flush(b"one two")), "fine".to_owned());
    suite.is("it goes on where it was", told(write(&to_start, b" three")), "fine".to_owned());
    suite.is("what was written", content(&file), b"one two three".to_vec());
    let to_place = file.write_via_stream(4).expect("it can be written");
    suite.is("write at a place", told(write(&to_place, b"TWO")), "fine".to_owned());
    let to_end = file.append_via_stream().expect("it can be written");
    suite.is("append", told(write(&to_end, b", four")), "fine".to_owned());
    suite.is("append again", told(to_end.blocking_write_and_flush(b", five")), "fine".to_owned());
    suite.is("all of it", content(&file), b"one TWO three, four, five".to_vec());
    suite.is("zeroes", told(to_end.blocking_write_zeroes_and_flush(3)), "fine".to_owned());
    suite.is("zeroes are written", content(&file).ends_with(b"five\0\0\0"), true);

    let from_place = file.read_via_stream(4).expect("it can be read");
    suite.is("read from a place to the end", all_of(&from_place), b"TWO three, four, five\0\0\0".to_vec());
    suite.is("the end stays the end", told(from_place.blocking_read(1)), "closed".to_owned());
    let skips = file.read_via_stream(0).expect("it can be read");
    suite.is("skip", skips.blocking_skip(4).ok(), Some(4));
    suite.is("read behind what was skipped", skips.blocking_read(3).ok(), Some(b"TWO".to_vec()));
    let far = file.read_via_stream(1 << 40).expect("it can be asked for");
    suite.is("read far behind the end", told(far.blocking_read(1)), "closed".to_owned());

    let other = new_file(&root, "other");
    let (from, to) =
        (file.read_via_stream(0).expect("to read"), other.write_via_stream(0).expect("to write"));
    suite.is("splice", to.blocking_splice(&from, 7).ok(), Some(7));
    suite.is("what was spliced", content(&other), b"one TWO".to_vec());
    suite.gives("a stream of a folder", root.read_via_stream(0), "is-directory");
    suite.gives("a stream to a folder", root.write_via_stream(0), "bad-descriptor");
    drop(file);
    suite.is(
        "a stream outlives its descriptor",
        told(to_end.blocking_write_and_flush(b".")),
        "fine".to_owned(),
    );
    let large = new_file(&root, "large");
    let to = large.write_via_stream(0).expect("to write");
    suite.is("a megabyte", told(write(&to, &vec![7; 1_000_000])), "fine".to_owned());
    suite.is("is all there", large.stat().map(|stat| stat.size).ok(), Some(1_000_000));
}

/// With a limit of 1000 written bytes and 3 files, in a folder that may hold 5000 and holds 4100.
pub fn quota(suite: &mut Suite) {
    let root = root();
    let file = new_file(&root, "one");
    let stream = file.write_via_stream(0).expect("it can be written");
    suite.is("past the folder's size", told(write(&stream, &[0; 901])), "quota".to_owned());
    suite.is("past it by blocking", told(stream.blocking_write_and_flush(&[0; 901])), "quota".to_owned());
    suite.is("nothing of it was written", file.stat().map(|stat| stat.size).ok(), Some(0));
    suite.gives("by no stream", file.write(&[0; 901], 0), "quota");
    suite.gives("a size", file.set_size(901), "quota");
    suite.is("as much as fits", told(write(&stream, &[0; 800])), "fine".to_owned());
    suite.is("a little more", told(write(&stream, &[0; 100])), "fine".to_owned());
    suite.is("one byte more", told(stream.blocking_write_and_flush(&[0; 1])), "quota".to_owned());
    suite.gives("a file longer than its folder", file.set_size(5001), "file-too-large");
    let far = file.write_via_stream(1 << 40).expect("it can be asked for");
    suite.is("far behind the end", told(far.blocking_write_and_flush(b"x")), "file-too-large".to_owned());
    new_file(&root, "two");
    suite.gives("a third", root.create_directory_at("three"), "fine");
    suite.gives("a fourth", root.symlink_at("one", "four"), "quota");
    suite.gives(
        "a fourth as a link",
        root.link_at(bindings::filesystem::types::PathFlags::empty(), "one", &root, "four"),
        "quota",
    );
}

/// The three standard streams; what is read is `in 1\nin 2\n`.
pub fn stdio(suite: &mut Suite) {
    let (input, again) = (stdin::get_stdin(), stdin::get_stdin());
    input.subscribe().block();
    suite.is("input comes", input.blocking_read(3).ok(), Some(b"in ".to_vec()));
    suite.is("it is one, however often it is had", again.blocking_read(2).ok(), Some(b"1\n".to_vec()));
    suite.is("skipped", input.blocking_skip(3).ok(), Some(3));
    suite.is("no bytes are no end", input.read(0).ok(), Some(Vec::new()));
    suite.is("the rest", all_of(&input), b"2\n".to_vec());
    suite.is("then it has ended", told(input.read(1)), "closed".to_owned());
    suite.is("and stays so", told(again.blocking_read(1)), "closed".to_owned());
    let (output, errors) = (stdout::get_stdout(), stderr::get_stderr());
    suite.is("output takes some", output.check_write().is_ok_and(|leave| leave > 0), true);
    suite.is("output", told(write(&output, b"out 1\n")), "fine".to_owned());
    suite.is("errors", told(write(&errors, b"err 1\n")), "fine".to_owned());
    suite.is("nothing is written", told(output.blocking_write_and_flush(b"")), "fine".to_owned());
    suite.is("zeros", told(output.blocking_write_zeroes_and_flush(2)), "fine".to_owned());
    suite.is(
        "output again",
        told(stdout::get_stdout().blocking_write_and_flush(b"\nout 2\n")),
        "fine".to_owned(),
    );
    suite.is(
        "errors again",
        told(stderr::get_stderr().blocking_write_and_flush(b"err 2\n")),
        "fine".to_owned(),
    );
    drop(output);
    suite.is("one that is dropped is one of many", told(stdout::get_stdout().flush()), "fine".to_owned());
}
