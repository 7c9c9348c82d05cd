;; A function from JSON to JSON: `greet` takes a text and answers with one.
;;
;; It is called with the address and the length of JSON in memory of `alloc`, and gives the
;; address of a length in four bytes and of as much JSON behind it. What stands between the
;; quotes of a JSON text is copied as it is, escapes and all, so that nothing has to be decoded.
(module
  (memory (export "memory") 1)

  (data (i32.const 0) "\"Hello, ")
  (data (i32.const 16) "!\"")
  ;; An answer as it is given: its length, and the JSON.
  (data (i32.const 32) "\20\00\00\00{\"error\":\"the input is no text\"}")

  ;; Where the next block begins. The instance ends with the call, so nothing is taken back.
  (global $next (mut i32) (i32.const 1024))

  ;; Memory for `size` bytes, aligned to eight; 0 where there is none.
  (func $alloc (export "alloc") (param $size i32) (result i32)
    (local $block i32)
    (local $missing i32)
    (local.set $block (global.get $next))
    (if (i32.gt_u (local.get $size) (i32.const 0x3fffffff)) (then (return (i32.const 0))))
    (global.set $next
      (i32.and
        (i32.add (i32.add (local.get $block) (local.get $size)) (i32.const 7))
        (i32.const -8)))
    (if (i32.gt_u (global.get $next) (i32.shl (memory.size) (i32.const 16)))
      (then
        (local.set $missing
          (i32.sub (global.get $next) (i32.shl (memory.size) (i32.const 16))))
        (if (i32.eq
              (memory.grow
                (i32.shr_u (i32.add (local.get $missing) (i32.const 65535)) (i32.const 16)))
              (i32.const -1))
          (then (return (i32.const 0))))))
    (local.get $block))

  ;; Whether the byte there is none of a value: a space, a tab or a line's end.
  (func $is_blank (param $at i32) (result i32)
    (local $byte i32)
    (local.set $byte (i32.load8_u (local.get $at)))
    (i32.or
      (i32.or
        (i32.eq (local.get $byte) (i32.const 0x20))
        (i32.eq (local.get $byte) (i32.const 0x09)))
      (i32.or
        (i32.eq (local.get $byte) (i32.const 0x0a))
        (i32.eq (local.get $byte) (i32.const 0x0d)))))

  (func (export "greet") (param $input i32) (param $length i32) (result i32)
    (local $end i32)
    (local $inner i32)
    (local $answer i32)
    (local.set $end (i32.add (local.get $input) (local.get $length)))
    ;; The host gives JSON, which has a value, so there is an end to the blanks around it.
    (loop $before
      (if (call $is_blank (local.get $input))
        (then
          (local.set $input (i32.add (local.get $input) (i32.const 1)))
          (br $before))))
    (loop $behind
      (if (call $is_blank (i32.sub (local.get $end) (i32.const 1)))
        (then
          (local.set $end (i32.sub (local.get $end) (i32.const 1)))
          (br $behind))))
    (if (i32.ne (i32.load8_u (local.get $input)) (i32.const 0x22))
      (then (return (i32.const 32))))
    ;; What begins with a quote ends with one.
    (local.set $inner
      (i32.sub (i32.sub (local.get $end) (local.get $input)) (i32.const 2)))
    ;; `"Hello, ` and `!"` are ten bytes.
    (local.set $answer (call $alloc (i32.add (local.get $inner) (i32.const 14))))
    (if (i32.eqz (local.get $answer)) (then (unreachable)))
    (i32.store (local.get $answer) (i32.add (local.get $inner) (i32.const 10)))
    (memory.copy
      (i32.add (local.get $answer) (i32.const 4)) (i32.const 0) (i32.const 8))
    (memory.copy
      (i32.add (local.get $answer) (i32.const 12))
      (i32.add (local.get $input) (i32.const 1))
      (local.get $inner))
    (memory.copy
      (i32.add (i32.add (local.get $answer) (i32.const 12)) (local.get $inner))
      (i32.const 16)
      (i32.const 2))
    (local.get $answer)))
