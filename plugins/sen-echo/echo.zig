//! Answers its arguments, `echo a b` with "Echo: a b": a sen-rs plugin in Zig, in the dialect
//! of that system's Zig SDK.
//!
//! What the SDK writes and sen-rs's own host refuses is written here too: nil for an `about`
//! or a `help` that is not there, and an error as a bare text.

const std = @import("std");

const heap = std.heap.wasm_allocator;
const Bytes = std.ArrayList(u8);

/// A panic is a trap, without a message and the code that prints one.
pub const panic = std.debug.no_panic;

const manifest = .{
    .api_version = 2,
    .command = .{
        .name = "echo",
        .about = null,
        .version = null,
        .author = null,
        .args = .{.{
            .name = "message",
            .long = null,
            .short = null,
            .required = false,
            .help = null,
            .value_name = null,
            .default_value = null,
            .possible_values = null,
        }},
        .subcommands = .{},
    },
};

export fn plugin_manifest() i64 {
    return give(manifest);
}

export fn plugin_execute(args: [*]const u8, length: usize) i64 {
    const message = echo(args[0..length]) catch |problem| return give(.{ .Error = switch (problem) {
        error.Asked => "as asked",
        error.Malformed => "the arguments are no array of texts",
        error.OutOfMemory => "out of memory",
    } });
    defer heap.free(message);
    return give(.{ .Success = message });
}

/// Memory for the host to write to; null where there is none.
export fn plugin_alloc(size: i32) ?[*]u8 {
    if (size <= 0) return null;
    const memory = heap.alloc(u8, @intCast(size)) catch return null;
    return memory.ptr;
}

/// Takes back what `plugin_alloc` or an answer gave, by its address and its length.
export fn plugin_dealloc(pointer: ?[*]u8, size: i32) void {
    if (size <= 0) return;
    if (pointer) |memory| heap.free(memory[0..@intCast(size)]);
}

fn echo(args: []const u8) ![]u8 {
    var reader: Reader = .{ .rest = args };
    var message: Bytes = .empty;
    errdefer message.deinit(heap);
    try message.appendSlice(heap, "Echo:");
    for (0..try reader.array()) |index| {
        const arg = try reader.text();
        if (index == 0 and std.mem.eql(u8, arg, "fail")) return error.Asked;
        try message.append(heap, ' ');
        try message.appendSlice(heap, arg);
    }
    return message.toOwnedSlice(heap);
}

/// Reads MessagePack: what a list of arguments is made of, and nothing else.
const Reader = struct {
    rest: []const u8,

    fn array(self: *Reader) !usize {
        const head = try self.int(u8);
        return switch (head) {
            0x90...0x9f => head & 0x0f,
            0xdc => try self.int(u16),
            0xdd => try self.int(u32),
            else => error.Malformed,
        };
    }

    fn text(self: *Reader) ![]const u8 {
        const head = try self.int(u8);
        return self.take(switch (head) {
            0xa0...0xbf => head & 0x1f,
            0xd9 => try self.int(u8),
            0xda => try self.int(u16),
            0xdb => try self.int(u32),
            else => return error.Malformed,
        });
    }

    fn int(self: *Reader, comptime Int: type) !Int {
        const bytes = try self.take(@sizeOf(Int));
        return std.mem.readInt(Int, bytes[0..@sizeOf(Int)], .big);
    }

    fn take(self: *Reader, count: usize) ![]const u8 {
        if (count > self.rest.len) return error.Malformed;
        defer self.rest = self.rest[count..];
        return self.rest[0..count];
    }
};

/// Hands a value to the host, which frees it: its address in the upper half, its length in
/// the lower. Where there is no memory for it the call ends with a trap.
fn give(value: anytype) i64 {
    var out: Bytes = .empty;
    write(&out, value) catch @trap();
    const bytes = out.toOwnedSlice(heap) catch @trap();
    return @bitCast(@as(u64, @intFromPtr(bytes.ptr)) << 32 | bytes.len);
}

/// Writes a value as MessagePack: a struct as a map of its fields, a tuple as an array.
fn write(out: *Bytes, value: anytype) std.mem.Allocator.Error!void {
    switch (@typeInfo(@TypeOf(value))) {
        .null => try out.append(heap, 0xc0),
        .bool => try out.append(heap, if (value) 0xc3 else 0xc2),
        .comptime_int => try out.append(heap, @as(u7, value)),
        .@"struct" => |info| {
            const names = comptime std.meta.fieldNames(@TypeOf(value));
            comptime std.debug.assert(names.len < 16);
            const head: u8 = if (info.is_tuple) 0x90 else 0x80;
            try out.append(heap, head | names.len);
            inline for (names) |name| {
                if (!info.is_tuple) try writeText(out, name);
                try write(out, @field(value, name));
            }
        },
        else => try writeText(out, value),
    }
}

fn writeText(out: *Bytes, text: []const u8) !void {
    if (text.len < 0x20) {
        try out.append(heap, 0xa0 | @as(u8, @intCast(text.len)));
    } else {
        // Any text may have its length in four bytes.
        try out.append(heap, 0xdb);
        var length: [4]u8 = undefined;
        std.mem.writeInt(u32, &length, @intCast(text.len), .big);
        try out.appendSlice(heap, &length);
    }
    try out.appendSlice(heap, text);
}
