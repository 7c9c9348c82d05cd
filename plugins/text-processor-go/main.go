// Transforms text: CortexPrism's example plugin in Go, one capability named transform.
//
// Input is JSON at (pointer, length), the answer a pointer to JSON that ends with a NUL. The Go
// kit exports the allocator and keeps what was handed over.
package main

import (
	"encoding/json"
	"strings"

	"airlock.example/cortex"
)

// Pointers, so that a field that is missing is told from one that is empty.
type input struct {
	Text *string `json:"text"`
	Mode *string `json:"mode"`
}

type output struct {
	Result string `json:"result"`
	Length int    `json:"length"`
	Hash   uint64 `json:"hash"`
}

type failure struct {
	Error string `json:"error"`
}

//go:wasmexport transform
func transform(pointer uint32, length uint32) uint32 {
	var in input
	if err := json.Unmarshal([]byte(cortex.ReadMemory(pointer, length)), &in); err != nil {
		return answer(failure{err.Error()})
	}
	if in.Text == nil || in.Mode == nil {
		return answer(failure{"`text` or `mode` is missing"})
	}
	result := apply(*in.Text, *in.Mode)
	return answer(output{result, len(result), hash(result)})
}

func answer(value any) uint32 {
	// Of these types nothing can fail.
	text, _ := json.Marshal(value)
	return cortex.WriteMemory(string(text))
}

func apply(text, mode string) string {
	switch mode {
	case "reverse":
		return reverse(text)
	case "uppercase":
		return strings.ToUpper(text)
	case "lowercase":
		return strings.ToLower(text)
	case "rot13":
		return strings.Map(rot13, text)
	}
	return text
}

func reverse(text string) string {
	reversed := make([]byte, len(text))
	left := len(text)
	for at, r := range text {
		left -= copy(reversed[left-len(string(r)):], text[at:at+len(string(r))])
	}
	return string(reversed)
}

func rot13(r rune) rune {
	switch {
	case 'a' <= r && r <= 'z':
		return (r-'a'+13)%26 + 'a'
	case 'A' <= r && r <= 'Z':
		return (r-'A'+13)%26 + 'A'
	}
	return r
}

// hash is the document's, modulo 2^64.
func hash(text string) uint64 {
	var sum uint64
	for i := range len(text) {
		sum = sum*31 + uint64(text[i])
	}
	return sum
}

func main() {}
