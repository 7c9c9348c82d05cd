// A function from JSON to JSON: greet.
//
// It is called with the address and the length of JSON in memory of the kit's allocator, and
// gives the address of JSON that ends with a NUL.
package main

import (
	"encoding/json"

	"airlock.example/cortex"
)

type person struct {
	Name string `json:"name"`
}

type greeting struct {
	Greeting string `json:"greeting"`
}

// A failure is what the caller is told.
type failure struct {
	Error string `json:"error"`
}

//go:wasmexport greet
func greet(pointer, length uint32) uint32 {
	var who person
	if err := json.Unmarshal([]byte(cortex.ReadMemory(pointer, length)), &who); err != nil {
		return answer(failure{err.Error()})
	}
	if who.Name == "" {
		return answer(failure{"`name` is missing or empty"})
	}
	return answer(greeting{"Hello, " + who.Name + "!"})
}

func answer(value any) uint32 {
	// Of these types nothing can fail.
	text, _ := json.Marshal(value)
	return cortex.WriteMemory(string(text))
}

// Never run: the plugin is a library.
func main() {}
