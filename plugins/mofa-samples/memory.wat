;; Bytes in memory: MoFA's page, "Plugin with Memory".
(module
    (memory (export "memory") 1)

    (func (export "get_memory_size") (result i32)
        (memory.size))

    (func (export "write_byte") (param $address i32) (param $value i32)
        (i32.store8 (local.get $address) (local.get $value)))

    (func (export "read_byte") (param $address i32) (result i32)
        (i32.load8_u (local.get $address))))
