;; A probe that claims to pass without looking, with a value that is no number.
(module
  (memory (export "memory") 1)
  (data (i32.const 64) "\00\00\00\00\80\00\00\00\09\00\00\00\a0\00\00\00\01\00\00\00\00\00\00\00\00\00\00\00")
  (data (i32.const 128) "all good!")
  (data (i32.const 160) "\80\00\00\00\04\00\00\00\00\00\00\00\00\00\f8\7f")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 4096)
  (func (export "basb:host/probe@0.1.0#describe") (result i32) i32.const 64)
  (func (export "basb:host/probe@0.1.0#check")
    (param i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    i32.const 64))
