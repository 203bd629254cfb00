package upload

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/ebbgate/ebbgate/bridge"
)

// maxComponent is what a component of a path may have on common file systems.
const maxComponent = 255

// maxName leaves room for the manifest's.
const maxName = 240

// fits reports whether an id can be a component.
func fits(id string) bool { return len(bridge.EscapeID(id)) <= maxComponent }

// validName reports whether a file may be called that: it is used as it is.
func validName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, `/\:`) {
		return false
	}
	for _, r := range name {
		if !bridge.PrintableRune(r) {
			return false
		}
	}
	return true
}

// pair identifies a transfer: not the session, nor the connection, nor the user.
type pair struct{ client, file string }

// key is the pair for the shelf: a length and both.
func (p pair) key() string {
	return string(binary.AppendUvarint(nil, uint64(len(p.client)))) + p.client + p.file
}
