//go:build race

package policy

// raced says that the race detector slows everything down tenfold.
const raced = true
