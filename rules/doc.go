// Package rules decides where a message goes, and as what: the routes.
//
// A route takes the messages whose topic matches its filter and says to which
// upstream they go (up) or from which they come (down), under which topic, at
// which QoS, with which priority and for how long they are kept. Who may send
// or receive a message is not decided here but by package policy.
//
// [Options] is what people write. [Compile] turns it into an immutable [Table]:
// every filter in one trie, every topic template in parts, so that a message
// costs one walk over its topic and at most two allocations. [Router] holds the
// table that is in force behind an atomic pointer; a reload swaps it, and what
// was accepted under the old one keeps the receivers it was given.
//
// Filters match as MQTT says: "+" is one level, "#" is the rest and the parent
// ("sensor/#" matches "sensor"), and a filter that begins with a wildcard does
// not match a topic that begins with "$". Templates are in template.go, loops
// in loops.go.
package rules
