module cortex-go

go 1.24

require airlock.example/cortex v0.0.0

replace airlock.example/cortex => ../../kits/go
