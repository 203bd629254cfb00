//go:build !linux

package peers

// InMemory puts the temporary folders of tests into memory on Linux only.
func InMemory() {}
