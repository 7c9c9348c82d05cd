//! `wasi:filesystem`: opening, places, folders, and what was granted.

use bindings::filesystem::preopens::get_directories;
use bindings::filesystem::types::{
    Descriptor, DescriptorFlags, DescriptorType, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

use std::cell::RefCell;

use bindings::io::streams::{InputStream, OutputStream, StreamError};

use crate::Suite;

pub const READ: DescriptorFlags = DescriptorFlags::READ;
pub const WRITE: DescriptorFlags = DescriptorFlags::WRITE;

const FOLLOW: PathFlags = PathFlags::SYMLINK_FOLLOW;
const HERE: PathFlags = PathFlags::empty();
const PLAIN: OpenFlags = OpenFlags::empty();

/// The first folder that was granted.
pub fn root() -> Descriptor {
    get_directories().into_iter().next().expect("a folder was granted").0
}

/// Opens a file, made new.
pub fn new_file(root: &Descriptor, path: &str) -> Descriptor {
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
    root.open_at(HERE, path, flags, READ | WRITE).expect("a file can be made")
}

fn content(root: &Descriptor, path: &str) -> Result<String, ErrorCode> {
    let file = root.open_at(HERE, path, PLAIN, READ)?;
    file.read(100, 0).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
}

pub fn opening(suite: &mut Suite) {
    let root = root();
    let open = |path: &str, how: OpenFlags, flags| root.open_at(FOLLOW, path, how, flags);
    suite.gives("a missing file", open("none", PLAIN, READ), "no-entry");
    suite.gives("create", open("file", OpenFlags::CREATE, WRITE), "fine");
    suite.gives("create what is there", open("file", OpenFlags::CREATE, WRITE), "fine");
    let exclusive = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
    suite.gives("create exclusively what is there", open("file", exclusive, WRITE), "exist");
    suite.gives("a file as a folder", open("file", OpenFlags::DIRECTORY, READ), "not-directory");
    let both = OpenFlags::CREATE | OpenFlags::DIRECTORY;
    suite.gives("create a folder by opening", open("both", both, READ), "invalid");
    root.create_directory_at("folder").expect("a folder can be made");
    suite.gives("a folder", open("folder", OpenFlags::DIRECTORY, READ), "fine");
    suite.gives("a folder without saying so", open("folder", PLAIN, READ), "fine");
    suite.gives("a folder to be written", open("folder", PLAIN, WRITE), "is-directory");
    suite.gives("above", open("..", PLAIN, READ), "not-permitted");
    suite.gives("above, by a folder", open("folder/../..", PLAIN, READ), "not-permitted");
    suite.gives("an absolute path", open("/etc/passwd", PLAIN, READ), "not-permitted");
    suite.gives("an empty path", open("", PLAIN, READ), "no-entry");
    suite.gives("a path past PATH_MAX", open(&"a/".repeat(2500), PLAIN, READ), "name-too-long");
    suite.gives("a FIFO", open("fifo", PLAIN, READ), "not-permitted");
    suite.gives("a FIFO to be written", open("fifo", PLAIN, WRITE), "not-permitted");
    root.symlink_at("file", "link").expect("a link can be made");
    suite.gives("a link that is followed", open("link", PLAIN, READ), "fine");
    suite.gives("a link that is not", root.open_at(HERE, "link", PLAIN, READ), "loop");
    root.symlink_at("../outside", "leaving").expect("a link can be made");
    suite.gives("a link that leads out", open("leaving", PLAIN, READ), "not-permitted");
    let file = open("file", PLAIN, READ).expect("it is there");
    suite.gives("open below a file", file.open_at(HERE, "a", PLAIN, READ), "not-directory");
    suite.gives("write to what is open to be read", file.write(b"x", 0), "bad-descriptor");
    suite.is("its flags", file.get_flags(), Ok(READ));
    suite.is("its type", file.get_type(), Ok(DescriptorType::RegularFile));
    suite.gives(
        "synchronised writing",
        open("file", PLAIN, WRITE | DescriptorFlags::DATA_INTEGRITY_SYNC),
        "unsupported",
    );
    let all: Vec<_> = (0..2000).map_while(|_| open("file", PLAIN, READ).ok()).collect();
    suite.is("no more than 1024 are open at once", all.len() < 1024 && all.len() > 1000, true);
    suite.gives("one more", open("file", PLAIN, READ), "insufficient-memory");
    drop(all);
    suite.gives("one more, when those are dropped", open("file", PLAIN, READ), "fine");
}

pub fn places(suite: &mut Suite) {
    let root = root();
    let file = new_file(&root, "file");
    suite.is("write", file.write(b"0123456789", 0), Ok(10));
    suite.is("write over it", file.write(b"xy", 4), Ok(2));
    suite.is("write behind the end", file.write(b"z", 12), Ok(1));
    suite.is("read", file.read(100, 0), Ok((b"0123xy6789\0\0z".to_vec(), false)));
    suite.is("read from a place", file.read(2, 4), Ok((b"xy".to_vec(), false)));
    suite.is("read at the end", file.read(5, 13), Ok((Vec::new(), true)));
    suite.is("read far behind it", file.read(5, 1 << 40), Ok((Vec::new(), true)));
    suite.is("the size", file.stat().map(|stat| stat.size), Ok(13));
    suite.is("links", file.stat().map(|stat| stat.link_count), Ok(1));
    suite.gives("a smaller size", file.set_size(4), "fine");
    suite.is("what is left", content(&root, "file"), Ok("0123".to_owned()));
    suite.gives("a larger size", file.set_size(6), "fine");
    suite.is("what is new of it", content(&root, "file"), Ok("0123\0\0".to_owned()));
    suite.gives("read a folder as a file", root.read(1, 0), "bad-descriptor");
    suite.gives("the size of a folder", root.set_size(1), "bad-descriptor");
    suite.gives("sync", file.sync(), "fine");
    suite.gives("sync of the data", file.sync_data(), "fine");
    let time = bindings::clocks::wall_clock::Datetime { seconds: 1_000_000_000, nanoseconds: 500 };
    let times = file.set_times(NewTimestamp::NoChange, NewTimestamp::Timestamp(time));
    suite.gives("times", times, "fine");
    let modified = file.stat().ok().and_then(|stat| stat.data_modification_timestamp);
    suite.is(
        "the time it was given",
        modified.map(|time| (time.seconds, time.nanoseconds)),
        Some((1_000_000_000, 500)),
    );
    let again = root.open_at(HERE, "file", PLAIN, READ).expect("it is there");
    let other = new_file(&root, "other");
    suite.is("the same file, opened twice", file.is_same_object(&again), true);
    suite.is("another file", file.is_same_object(&other), false);
    let hash = |of: &Descriptor| of.metadata_hash().map(|hash| (hash.lower, hash.upper)).ok();
    suite.is("its hash is the same", hash(&file) == hash(&again) && hash(&file).is_some(), true);
    suite.is("another's is another", hash(&file) == hash(&other), false);
    let by_path = root.metadata_hash_at(HERE, "file").map(|hash| (hash.lower, hash.upper)).ok();
    suite.is("by its path as well", by_path == hash(&file), true);
}

pub fn folders(suite: &mut Suite) {
    let root = root();
    let names = |of: &Descriptor| -> Vec<String> {
        let stream = of.read_directory().expect("it can be listed");
        let mut names: Vec<_> = std::iter::from_fn(|| stream.read_directory_entry().ok().flatten())
            .map(|entry| entry.name)
            .collect();
        names.sort();
        names
    };
    suite.is("an empty folder lists nothing", names(&root), Vec::new());
    suite.gives("make a folder", root.create_directory_at("folder"), "fine");
    suite.gives("make it again", root.create_directory_at("folder"), "exist");
    suite.gives("make one in none", root.create_directory_at("none/folder"), "no-entry");
    new_file(&root, "folder/file");
    new_file(&root, "b");
    root.symlink_at("b", "a").expect("a link can be made");
    suite.is("a listing has what is there", names(&root), ["a", "b", "folder"].map(str::to_owned).to_vec());
    let kinds = root.read_directory().expect("it can be listed");
    let mut kinds: Vec<_> = std::iter::from_fn(|| kinds.read_directory_entry().ok().flatten())
        .map(|entry| (entry.name, entry.type_))
        .collect();
    kinds.sort_by(|one, other| one.0.cmp(&other.0));
    let kinds: Vec<_> = kinds.into_iter().map(|(_, kind)| kind).collect();
    let expected = [DescriptorType::SymbolicLink, DescriptorType::RegularFile, DescriptorType::Directory];
    suite.is("and what each is", kinds, expected.to_vec());
    let file = root.open_at(HERE, "b", PLAIN, READ).expect("it is there");
    suite.gives("list a file", file.read_directory(), "not-directory");
    suite.gives("remove a folder that is not empty", root.remove_directory_at("folder"), "not-empty");
    suite.gives("remove a file as a folder", root.remove_directory_at("b"), "not-directory");
    suite.gives("remove what is not there", root.remove_directory_at("none"), "no-entry");
    suite.gives("unlink what is not there", root.unlink_file_at("none"), "no-entry");
    suite.gives("unlink", root.unlink_file_at("folder/file"), "fine");
    suite.gives("remove it, with a slash", root.remove_directory_at("folder/"), "fine");
    suite.is("where a link leads", root.readlink_at("a"), Ok("b".to_owned()));
    suite.gives("where a file leads", root.readlink_at("b"), "invalid");
    suite.gives("a link to an absolute path", root.symlink_at("/etc", "absolute"), "not-permitted");
    suite.gives("rename", root.rename_at("b", &root, "c"), "fine");
    suite.gives("rename what is gone", root.rename_at("b", &root, "d"), "no-entry");
    suite.gives("rename to above", root.rename_at("c", &root, "../c"), "not-permitted");
    suite.gives("link", root.link_at(HERE, "c", &root, "d"), "fine");
    suite.is("which counts", root.stat_at(HERE, "d").map(|stat| stat.link_count), Ok(2));
    suite.gives("link, following", root.link_at(FOLLOW, "c", &root, "e"), "invalid");
    suite.gives("stat of what is not there", root.stat_at(HERE, "none").map(|_| ()), "no-entry");
    let kind = |flags| root.stat_at(flags, "a").map(|stat| stat.type_);
    suite.is("stat of a link", kind(HERE), Ok(DescriptorType::SymbolicLink));
    suite.is(
        "stat of where it leads, which is nowhere",
        kind(FOLLOW).map_err(|error| error),
        Err(ErrorCode::NoEntry),
    );
    let (one, other) = (get_directories(), get_directories());
    suite.is("folders can be had again", one[0].0.is_same_object(&other[0].0), true);
}

/// What was granted: `/data` to be read, one file of `/one` by its name, and the files of `/flat`.
pub fn granted(suite: &mut Suite) {
    let all = get_directories();
    let mut names: Vec<_> = all.iter().map(|(_, name)| name.as_str()).collect();
    names.sort_unstable();
    suite.is("the folders", names, vec!["/data", "/flat", "/one"]);
    let at = |name: &str| &all.iter().find(|(_, it)| it == name).expect("it is granted").0;
    let (data, flat, one) = (at("/data"), at("/flat"), at("/one"));
    suite.is("a file to be read", content(data, "file"), Ok("content".to_owned()));
    suite.gives("to be written", data.open_at(HERE, "file", PLAIN, WRITE), "not-permitted");
    suite.gives("to be made", data.open_at(HERE, "new", OpenFlags::CREATE, WRITE), "not-permitted");
    suite.gives("to be removed", data.unlink_file_at("file"), "not-permitted");
    suite.gives("to be truncated", data.open_at(HERE, "file", OpenFlags::TRUNCATE, READ), "not-permitted");
    let file = data.open_at(HERE, "file", PLAIN, READ).expect("it is there");
    suite.gives("to be given times", file.set_times(NewTimestamp::Now, NewTimestamp::Now), "not-permitted");
    suite.gives("a stream to write", file.write_via_stream(0), "not-permitted");
    suite.gives("to be given a size", file.set_size(0), "not-permitted");

    suite.is("the one file", content(one, "file"), Ok("content".to_owned()));
    suite.is("through a longer path", content(one, "./file"), Ok("content".to_owned()));
    suite.gives("its neighbour", one.open_at(HERE, "other", PLAIN, READ), "not-permitted");
    suite.gives("stat of its neighbour", one.stat_at(HERE, "other").map(|_| ()), "not-permitted");
    suite.gives(
        "a folder beside it",
        one.open_at(HERE, "folder", OpenFlags::DIRECTORY, READ),
        "not-permitted",
    );
    suite.gives("a file as a folder", one.open_at(HERE, "file/", PLAIN, READ), "not-directory");
    suite.gives("to rename it", one.rename_at("file", one, "other"), "not-permitted");
    suite.gives("to link it", one.link_at(HERE, "file", one, "other"), "not-permitted");
    let listed = |of: &Descriptor| -> Vec<String> {
        let stream = of.read_directory().expect("it can be listed");
        let mut names: Vec<_> = std::iter::from_fn(|| stream.read_directory_entry().ok().flatten())
            .map(|entry| entry.name)
            .collect();
        names.sort();
        names
    };
    suite.is("its folder lists it alone", listed(one), vec!["file".to_owned()]);

    suite.is("a file of the flat one", content(flat, "file"), Ok("content".to_owned()));
    suite.gives("its folder", flat.open_at(HERE, "folder", PLAIN, READ), "not-permitted");
    suite.gives("a file in its folder", flat.open_at(HERE, "folder/file", PLAIN, READ), "not-permitted");
    suite.gives("stat of its folder", flat.stat_at(HERE, "folder").map(|_| ()), "not-permitted");
    suite.gives("hash of its folder", flat.metadata_hash_at(HERE, "folder").map(|_| ()), "not-permitted");
    suite.gives("make a folder", flat.create_directory_at("new"), "not-permitted");
    suite.is("it lists its files", listed(flat), vec!["file".to_owned(), "other".to_owned()]);
    suite.gives("rename into another", flat.rename_at("file", data, "b"), "not-permitted");
}

/// What is open from one call of a session to the next.
struct Kept {
    root: Descriptor,
    file: Descriptor,
    reads: InputStream,
    writes: OutputStream,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

pub fn keep(suite: &mut Suite) {
    let root = root();
    let file = new_file(&root, "kept");
    suite.is("write", file.write(b"0123456789", 0), Ok(10));
    let (reads, writes) =
        (file.read_via_stream(0).expect("to read"), file.write_via_stream(2).expect("to write"));
    suite.is("read", reads.blocking_read(2).ok(), Some(b"01".to_vec()));
    suite.is("write by a stream", writes.blocking_write_and_flush(b"ab").is_ok(), true);
    KEPT.set(Some(Kept { root, file, reads, writes }));
}

/// With the word `gone`, where it is not granted any more.
pub fn kept(suite: &mut Suite) {
    let word = if suite.word(0) == "gone" { "not-permitted" } else { "fine" };
    let Kept { root, file, reads, writes } = KEPT.take().expect("a call before has kept it");
    suite.gives("open by the folder", root.open_at(HERE, "kept", PLAIN, READ), word);
    suite.gives("list the folder", root.read_directory(), word);
    suite.gives("read the file", file.read(1, 0), word);
    suite.gives("write the file", file.write(b"x", 0), word);
    suite.gives("stat of the file", file.stat(), word);
    let told = |found: Result<(), StreamError>| match found {
        Ok(()) => "fine".to_owned(),
        Err(StreamError::Closed) => "closed".to_owned(),
        Err(StreamError::LastOperationFailed(error)) => {
            let code = bindings::filesystem::types::filesystem_error_code(&error);
            code.map_or_else(|| error.to_debug_string(), |code| crate::said(&code))
        }
    };
    suite.is("read by the stream", told(reads.blocking_read(1).map(drop)), word.to_owned());
    suite.is("write by the stream", told(writes.blocking_write_and_flush(b"c")), word.to_owned());
}
