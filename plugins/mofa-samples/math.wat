;; Whole numbers: MoFA's page, "Write WASM Module".
(module
    (func (export "add") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))

    (func (export "sub") (param i32 i32) (result i32)
        (i32.sub (local.get 0) (local.get 1)))

    (func (export "mul") (param i32 i32) (result i32)
        (i32.mul (local.get 0) (local.get 1)))

    (func $factorial (export "factorial") (param $n i32) (result i32)
        (if (result i32) (i32.le_s (local.get $n) (i32.const 1))
            (then (i32.const 1))
            (else
                (i32.mul
                    (local.get $n)
                    (call $factorial (i32.sub (local.get $n) (i32.const 1)))))))

    ;; Of the example beside the page.
    (func $fibonacci (export "fibonacci") (param $n i32) (result i32)
        (if (result i32) (i32.le_s (local.get $n) (i32.const 1))
            (then (local.get $n))
            (else
                (i32.add
                    (call $fibonacci (i32.sub (local.get $n) (i32.const 1)))
                    (call $fibonacci (i32.sub (local.get $n) (i32.const 2))))))))
