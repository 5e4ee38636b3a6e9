;; Imports a function without any interface.
;;! world: import system: func(command: string) -> s32; export basb:host/probe@0.1.0;
(module
  (import "$root" "system" (func $system (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (call $system (i32.const 0) (i32.const 0))))
