;; A global that counts: MoFA's page, "Global Variables".
(module
    (global $counter (export "counter") (mut i32) (i32.const 0))

    (func (export "increment") (result i32)
        (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
        (global.get $counter))

    (func (export "get") (result i32)
        (global.get $counter))

    (func (export "reset")
        (global.set $counter (i32.const 0))))
