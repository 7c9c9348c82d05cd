// Package cortex hands texts over between a CortexPrism plugin in Go and its host.
//
// A capability is a function that takes a pointer and a length and gives a pointer:
//
//	//go:wasmexport shout
//	func shout(pointer uint32, length uint32) uint32 {
//		return cortex.WriteMemory(strings.ToUpper(cortex.ReadMemory(pointer, length)))
//	}
//
//	func main() {}
//
// It is built as a reactor, whose functions are there to be called; main is never run then:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o plugin.wasm .
//
// The package exports alloc to the host, which asks it for memory for the input.
//
// What is handed over stays where it is until the host asks for memory for the call after, so
// that Go's garbage collector does not take it from under the host.
package cortex

import "unsafe"

var (
	// What the garbage collector must leave alone, which only the host has pointers to.
	held [][]byte
	// Whether the call that held is of has begun.
	begun bool
)

// alloc gives the host memory to write to, and 0 where there is none. The first time after a
// call has read or written something, what was handed over for that call is let go.
//
//go:wasmexport alloc
func alloc(size uint32) uint32 {
	if begun {
		held, begun = nil, false
	}
	return hold(make([]byte, max(size, 1)))
}

// ReadMemory is the text that the host handed over: length bytes at pointer, copied.
func ReadMemory(pointer, length uint32) string {
	begun = true
	if length == 0 {
		return ""
	}
	return string(unsafe.Slice((*byte)(unsafe.Pointer(uintptr(pointer))), length))
}

// WriteMemory gives the host a text: a pointer to its bytes and one NUL after them. The host
// takes JSON as it is, and any other text, up to its first NUL, for a JSON string.
func WriteMemory(text string) uint32 {
	begun = true
	return hold(append([]byte(text), 0))
}

func hold(bytes []byte) uint32 {
	held = append(held, bytes)
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(bytes))))
}
