//! Counts its runs in the store that its host keeps for it: a plugin for fledge's protocol.
//!
//!     counter [reset]
//!
//! A host that keeps nothing for it answers null, also to what was set just before. The
//! counter says so then and goes on.

const std = @import("std");

const heap = std.heap.wasm_allocator;

/// A panic is a trap, without a message and the code that prints one.
pub const panic = std.debug.no_panic;

const fledge = struct {
    extern "fledge" fn send(message: [*]const u8, length: usize) void;
    extern "fledge" fn recv(buffer: [*]u8, room: usize) i32;
    extern "fledge" fn exit(code: i32) noreturn;
    extern "fledge" fn store_set(request: [*]const u8, length: usize) void;
    extern "fledge" fn store_get(key: [*]const u8, length: usize) i32;
};

const Init = struct { args: []const []const u8 = &.{} };

/// The program's memory lasts as long as the program, so nothing is freed.
export fn _start() void {
    run() catch |problem| {
        send("{{\"type\":\"log\",\"level\":\"error\",\"message\":\"{s}\"}}", .{@errorName(problem)}) catch {};
        fledge.exit(1);
    };
}

fn run() !void {
    const init = try parse(Init, try receive());
    const reset = init.args.len > 0 and std.mem.eql(u8, init.args[0], "reset");

    const count = if (reset) 0 else (try stored() orelse 0) +| 1;
    var buffer: [64]u8 = undefined;
    const request = try std.fmt.bufPrint(&buffer, "{{\"key\":\"count\",\"value\":\"{d}\"}}", .{count});
    fledge.store_set(request.ptr, request.len);

    const note = if (try stored() == null) " (not kept)" else "";
    try send("{{\"type\":\"output\",\"text\":\"count: {d}{s}\\n\"}}", .{ count, note });
}

/// The count that the store holds, if it does and it is one.
fn stored() !?u64 {
    const key = "count";
    _ = fledge.store_get(key, key.len);
    const value = try parse(?[]const u8, try receive()) orelse return null;
    return std.fmt.parseInt(u64, value, 10) catch null;
}

fn send(comptime format: []const u8, values: anytype) !void {
    var buffer: [256]u8 = undefined;
    const message = try std.fmt.bufPrint(&buffer, format, values);
    fledge.send(message.ptr, message.len);
}

/// All that the host has to say now, in pieces of any size.
fn receive() ![]const u8 {
    var received: std.ArrayList(u8) = .empty;
    while (true) {
        const room = try received.addManyAsSlice(heap, 4096);
        const got = fledge.recv(room.ptr, room.len);
        received.items.len -= room.len - @as(usize, @intCast(@max(got, 0)));
        if (got <= 0) return received.items;
    }
}

fn parse(comptime T: type, json: []const u8) !T {
    return std.json.parseFromSliceLeaky(T, heap, json, .{ .ignore_unknown_fields = true });
}
