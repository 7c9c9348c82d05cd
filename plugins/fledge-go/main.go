// Says hello: a plugin for fledge's protocol.
//
//	go [fail] [ARGUMENT...]
//
// An ordinary program, which ends as any does: os.Exit, also with 0, is WASI's proc_exit. Its
// os.Args are empty under fledge, as the arguments come in init.
package main

import (
	"os"
	"strconv"
	"strings"
	"unsafe"
)

//go:wasmimport fledge send
func fledgeSend(message unsafe.Pointer, length uint32)

//go:wasmimport fledge recv
func fledgeRecv(buffer unsafe.Pointer, room uint32) int32

// send sends a message, which is an object with a "type".
func send(message string) {
	fledgeSend(unsafe.Pointer(unsafe.StringData(message)), uint32(len(message)))
}

// receive reads all that the host has to say now, in pieces of any size.
func receive() string {
	var received strings.Builder
	piece := make([]byte, 4096)
	for {
		got := fledgeRecv(unsafe.Pointer(unsafe.SliceData(piece)), uint32(len(piece)))
		if got <= 0 {
			return received.String()
		}
		received.Write(piece[:got])
	}
}

// arguments finds the arguments in init and leaves their escapes as they are. encoding/json
// would do it all, and make the built file twice as large.
func arguments(init string) []string {
	var args []string
	_, rest, _ := strings.Cut(init, `"args":[`)
	for strings.HasPrefix(rest, `"`) {
		end := 1
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			break
		}
		args = append(args, rest[1:end])
		rest = strings.TrimPrefix(rest[end+1:], ",")
	}
	return args
}

func main() {
	args := arguments(receive())
	send(`{"type":"output","text":"hello from Go, ` + strconv.Itoa(len(args)) + ` arguments\n"}`)
	if len(args) > 0 && args[0] == "fail" {
		os.Exit(7)
	}
	os.Exit(0)
}
