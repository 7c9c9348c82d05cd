//! A function from JSON to JSON: `greet`.
//!
//! It is called with the address and the length of JSON in memory of `alloc`, and gives the
//! address of a length in four bytes and of as much JSON behind it.

const std = @import("std");

const heap = std.heap.wasm_allocator;

/// A panic is a trap, without a message and the code that prints one.
pub const panic = std.debug.no_panic;

const Person = struct { name: []const u8 };
const Greeting = struct { greeting: []const u8 };
const Failure = struct { @"error": []const u8 };

/// Memory for the host to write to; null where there is none. The instance ends with the call,
/// so nothing is taken back.
export fn alloc(size: usize) ?[*]u8 {
    const memory = heap.alloc(u8, size) catch return null;
    return memory.ptr;
}

export fn greet(pointer: [*]const u8, length: usize) ?[*]const u8 {
    const person = std.json.parseFromSliceLeaky(Person, heap, pointer[0..length], .{
        .ignore_unknown_fields = true,
    }) catch |problem| return give(Failure{ .@"error" = switch (problem) {
        error.OutOfMemory => "out of memory",
        error.MissingField => "`name` is missing",
        error.DuplicateField => "`name` is there twice",
        error.UnexpectedToken => "it is no object, or `name` no text",
        else => "it is no JSON",
    } });
    if (person.name.len == 0) return give(Failure{ .@"error" = "`name` is empty" });
    const greeting = std.mem.concat(heap, u8, &.{ "Hello, ", person.name, "!" }) catch return null;
    return give(Greeting{ .greeting = greeting });
}

/// An answer as JSON with its length before it.
fn give(answer: anytype) ?[*]const u8 {
    var out: std.Io.Writer.Allocating = .init(heap);
    out.writer.writeAll(&.{ 0, 0, 0, 0 }) catch return null;
    std.json.Stringify.value(answer, .{}, &out.writer) catch return null;
    const bytes = out.written();
    std.mem.writeInt(u32, bytes[0..4], @intCast(bytes.len - 4), .little);
    return bytes.ptr;
}
