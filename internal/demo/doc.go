// Package demo shows Ebbgate on one machine: a gateway as a process of its
// own, a sandbox cloud behind a link that can be cut, and simulated devices
// that really connect.
//
//   - [Live] is for a person: a view of the terminal, or a line a second
//     without one, and keys that cut, restore, kill and break.
//   - [Script] is for a machine: the same with a plan, and figures at the end.
//   - [Versus] runs the script against Debian's mosquitto bridge as well.
//
// What is claimed is never the gateway's own word. The devices keep the set of
// what was acknowledged to them, the cloud the set of what arrived; lost is the
// difference.
package demo
