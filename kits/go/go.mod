module airlock.example/cortex

go 1.24
