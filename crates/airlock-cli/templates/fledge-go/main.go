// Greets whoever it is told: an ordinary program, which exchanges JSON messages with its host.
package main

import (
	"encoding/json"
	"os"
	"unsafe"
)

//go:wasmimport fledge send
func fledgeSend(message unsafe.Pointer, length uint32)

//go:wasmimport fledge recv
func fledgeRecv(buffer unsafe.Pointer, room uint32) int32

// What the host says first.
type start struct {
	Protocol string   `json:"protocol"`
	Args     []string `json:"args"`
}

func main() {
	var init start
	if err := json.Unmarshal(receive(), &init); err != nil || init.Protocol != "fledge-v1" {
		log("error", "the host speaks another protocol")
		os.Exit(2)
	}
	name := "you"
	if len(init.Args) > 0 {
		name = init.Args[0]
	}
	if name == "" {
		log("error", "nobody has an empty name")
		os.Exit(1)
	}
	output("Hello, " + name + "!\n")
}

// output shows text, as it is.
func output(text string) {
	send(map[string]string{"type": "output", "text": text})
}

// log says something beside the output. Levels are debug, info, warn and error.
func log(level, message string) {
	send(map[string]string{"type": "log", "level": level, "message": message})
}

func send(message map[string]string) {
	// Of texts nothing can fail.
	text, _ := json.Marshal(message)
	fledgeSend(unsafe.Pointer(unsafe.SliceData(text)), uint32(len(text)))
}

// receive reads all that the host has to say now, in pieces of any size.
func receive() []byte {
	var received []byte
	piece := make([]byte, 4096)
	for {
		count := fledgeRecv(unsafe.Pointer(unsafe.SliceData(piece)), uint32(len(piece)))
		if count <= 0 {
			return received
		}
		received = append(received, piece[:count]...)
	}
}
