// Package aws signs for AWS: it finds credentials as AWS's own tools do, and
// makes Signature Version 4 of WebSocket addresses and HTTP requests with them.
//
// It is the only house of AWS's SDK below upstream. No type of it leaves: who
// sends has a small interface of his own that [Signer] satisfies.
package aws
