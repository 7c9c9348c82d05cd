;; Opens the path that is its first argument, below its first folder, and writes what it reads;
;; leaves with the number of the error of what fails. FLAGS and RIGHTS are put in by the test.
(module
(import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
(memory (export "memory") 4)
(func $check (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
(func (export "_start") (local $path i32) (local $end i32)
    (call $check (call $sizes (i32.const 0) (i32.const 4)))
    (call $check (call $args (i32.const 16) (i32.const 1024)))
    (local.set $path (i32.load (i32.const 20)))
    (local.set $end (local.get $path))
    (block $ended (loop $next
        (br_if $ended (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (call $check (call $open (i32.const 3) (i32.const 1) (local.get $path)
        (i32.sub (local.get $end) (local.get $path)) (i32.const FLAGS) (i64.const RIGHTS) (i64.const 0)
        (i32.const 0) (i32.const 8)))
    (i32.store (i32.const 32) (i32.const 65536)) (i32.store (i32.const 36) (i32.const 65536))
    (call $check (call $read (i32.load (i32.const 8)) (i32.const 32) (i32.const 1) (i32.const 12)))
    (i32.store (i32.const 36) (i32.load (i32.const 12)))
    (call $check (call $write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 12)))))
