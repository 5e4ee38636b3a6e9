;; Never ends, in `_initialize`, which the component calls when it is made.
(module
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    i32.const 64)
  (func (export "_initialize") (loop $ever (br $ever))))
