// The example in Go of CortexPrism's document. Its functions are as they are there; what is
// not: `//export`, which Go ignores, is `//go:wasmexport`, and readMemory and writeMemory, which
// the document leaves out, are the Go kit's.
package main

import (
	"strings"
	"unicode/utf8"

	"airlock.example/cortex"
)

var readMemory, writeMemory = cortex.ReadMemory, cortex.WriteMemory

//go:wasmexport transform
func transform(ptr uint32, len uint32) uint32 {
	input := readMemory(ptr, len)
	result := strings.ToUpper(input)
	return writeMemory(result)
}

//go:wasmexport count_tokens
func countTokens(ptr uint32, len uint32) uint32 {
	input := readMemory(ptr, len)
	count := utf8.RuneCountInString(input) / 4
	if count < 1 {
		count = 1
	}
	return uint32(count)
}

func main() {}
