module fledge-go

go 1.24
