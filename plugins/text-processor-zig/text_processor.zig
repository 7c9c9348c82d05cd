//! Transforms text: CortexPrism's example plugin in Zig, one capability named `transform`.
//!
//! Input is JSON at (pointer, length) in memory of `alloc`, the answer a pointer to a length of
//! four bytes and as much JSON.

const std = @import("std");

const heap = std.heap.wasm_allocator;
const Bytes = std.ArrayList(u8);

/// A panic is a trap, without a message and the code that prints one.
pub const panic = std.debug.no_panic;

const Input = struct { text: []const u8, mode: []const u8 };
const Output = struct { result: []const u8, length: usize, hash: u64 };
const Failure = struct { @"error": []const u8 };

/// Memory for the host to write to; null where there is none. The instance ends with the call,
/// so nothing is taken back.
export fn alloc(size: usize) ?[*]u8 {
    const memory = heap.alloc(u8, size) catch return null;
    return memory.ptr;
}

export fn transform(pointer: [*]const u8, length: usize) ?[*]const u8 {
    const input = std.json.parseFromSliceLeaky(Input, heap, pointer[0..length], .{
        .ignore_unknown_fields = true,
    }) catch |problem| return give(Failure{ .@"error" = switch (problem) {
        error.OutOfMemory => "out of memory",
        error.MissingField => "`text` or `mode` is missing",
        error.DuplicateField => "`text` or `mode` is there twice",
        error.UnexpectedToken => "it is no object, or `text` or `mode` no text",
        else => "it is no JSON",
    } });
    const result = apply(input) catch |problem| return give(Failure{ .@"error" = switch (problem) {
        error.OutOfMemory => "out of memory",
        else => "it is no UTF-8",
    } });
    return give(Output{ .result = result, .length = result.len, .hash = hash(result) });
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

const Problem = error{OutOfMemory} || error{InvalidUtf8};

fn apply(input: Input) Problem![]const u8 {
    const Mode = enum { reverse, uppercase, lowercase, rot13 };
    const mode = std.meta.stringToEnum(Mode, input.mode) orelse return input.text;
    return switch (mode) {
        .reverse => reverse(input.text),
        .uppercase => map(input.text, upper),
        .lowercase => map(input.text, lower),
        .rot13 => map(input.text, rot13),
    };
}

/// The characters from the last to the first, each with its bytes as they are.
fn reverse(text: []const u8) Problem![]const u8 {
    const result = try heap.alloc(u8, text.len);
    var left = text.len;
    var characters = (try std.unicode.Utf8View.init(text)).iterator();
    while (characters.nextCodepointSlice()) |character| {
        left -= character.len;
        @memcpy(result[left..][0..character.len], character);
    }
    return result;
}

/// Each character by itself; none becomes longer.
fn map(text: []const u8, comptime step: fn (u21) u21) Problem![]const u8 {
    const result = try heap.alloc(u8, text.len);
    var length: usize = 0;
    var characters = (try std.unicode.Utf8View.init(text)).iterator();
    while (characters.nextCodepoint()) |character| {
        // What `step` makes of a character is one too.
        length += std.unicode.utf8Encode(step(character), result[length..]) catch unreachable;
    }
    return result[0..length];
}

fn rot13(character: u21) u21 {
    return switch (character) {
        'a'...'m', 'A'...'M' => character + 13,
        'n'...'z', 'N'...'Z' => character - 13,
        else => character,
    };
}

/// Capital letters from `first` to `last`, all of them or every second one; the small letter of
/// each is `apart` further on.
const Letters = struct {
    first: u21,
    last: u21,
    step: u21 = 1,
    apart: i22 = 32,

    fn hold(letters: Letters, character: i22) bool {
        return character >= letters.first and character <= letters.last and
            @rem(character - letters.first, letters.step) == 0;
    }
};

/// The letters of Europe beyond ASCII: Latin with its accents, Greek and Cyrillic. What needs several
/// characters (`ß` is `SS`) or its neighbours stays as it is.
const alphabet = [_]Letters{
    .{ .first = 0xc0, .last = 0xd6 },
    .{ .first = 0xd8, .last = 0xde },
    .{ .first = 0x100, .last = 0x12e, .step = 2, .apart = 1 },
    .{ .first = 0x132, .last = 0x136, .step = 2, .apart = 1 },
    .{ .first = 0x139, .last = 0x147, .step = 2, .apart = 1 },
    .{ .first = 0x14a, .last = 0x176, .step = 2, .apart = 1 },
    .{ .first = 0x178, .last = 0x178, .apart = -121 },
    .{ .first = 0x179, .last = 0x17d, .step = 2, .apart = 1 },
    .{ .first = 0x386, .last = 0x386, .apart = 38 },
    .{ .first = 0x388, .last = 0x38a, .apart = 37 },
    .{ .first = 0x38c, .last = 0x38c, .apart = 64 },
    .{ .first = 0x38e, .last = 0x38f, .apart = 63 },
    .{ .first = 0x391, .last = 0x3a1 },
    .{ .first = 0x3a3, .last = 0x3ab },
    .{ .first = 0x400, .last = 0x40f, .apart = 80 },
    .{ .first = 0x410, .last = 0x42f },
    .{ .first = 0x460, .last = 0x480, .step = 2, .apart = 1 },
    .{ .first = 0x48a, .last = 0x4be, .step = 2, .apart = 1 },
    .{ .first = 0x4c0, .last = 0x4c0, .apart = 15 },
    .{ .first = 0x4c1, .last = 0x4cd, .step = 2, .apart = 1 },
    .{ .first = 0x4d0, .last = 0x52e, .step = 2, .apart = 1 },
    .{ .first = 0x1e00, .last = 0x1e94, .step = 2, .apart = 1 },
    .{ .first = 0x1ea0, .last = 0x1efe, .step = 2, .apart = 1 },
};

fn lower(character: u21) u21 {
    if (character < 0x80) return std.ascii.toLower(@intCast(character));
    for (alphabet) |letters| {
        if (letters.hold(character)) return @intCast(character + letters.apart);
    }
    // A capital whose small letter is not its own.
    return if (character == 0x1e9e) 0xdf else character;
}

fn upper(character: u21) u21 {
    if (character < 0x80) return std.ascii.toUpper(@intCast(character));
    for (alphabet) |letters| {
        const capital = @as(i22, character) - letters.apart;
        if (letters.hold(capital)) return @intCast(capital);
    }
    // Small letters that are a second one of their capital.
    return switch (character) {
        0xb5 => 0x39c,
        0x131 => 'I',
        0x17f => 'S',
        0x3c2 => 0x3a3,
        0x1e9b => 0x1e60,
        else => character,
    };
}

/// The document's hash, modulo 2^64.
fn hash(text: []const u8) u64 {
    var sum: u64 = 0;
    for (text) |byte| sum = sum *% 31 +% byte;
    return sum;
}
