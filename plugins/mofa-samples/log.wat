;; A function of the application's: MoFA's page, "Module Linking".
(module
    (import "env" "log" (func $log (param i32)))

    (func (export "run")
        (call $log (i32.const 42))))
