// Command ebbgate is the gateway and its tools.
//
// main.go turns signals into a context and errors into exit codes, gateway.go
// wires the rooms of the house together, and each command has a file of its
// own. Nothing else imports this package, and it alone may import everything.
package main
