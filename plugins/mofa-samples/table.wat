;; Calls by number: MoFA's page, "Tables and Indirect Calls".
(module
    (table (export "operations") 2 funcref)
    (elem (i32.const 0) $add $mul)

    (func $add (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))

    (func $mul (param i32 i32) (result i32)
        (i32.mul (local.get 0) (local.get 1)))

    (func (export "call_indirect") (param $which i32) (param i32 i32) (result i32)
        (call_indirect (param i32 i32) (result i32)
            (local.get 1) (local.get 2) (local.get $which))))
