package bridge

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// EscapeID makes one component of a path from a client id or a file id, as EMQX
// does: nothing in it can leave its folder, and no two ids are the same.
func EscapeID(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	var b strings.Builder
	for i := 0; i < len(id); {
		r, n := utf8.DecodeRuneInString(id[i:])
		if r == utf8.RuneError && n <= 1 || strings.ContainsRune(`%:\/`, r) || !PrintableRune(r) {
			for _, c := range []byte(id[i : i+n]) {
				b.WriteByte('%')
				b.WriteString(strings.ToUpper(hex.EncodeToString([]byte{c})))
			}
		} else {
			b.WriteString(id[i : i+n])
		}
		i += n
	}
	return b.String()
}

// PrintableRune is what EMQX takes for that in names of files: not the controls,
// nor what is no character.
func PrintableRune(r rune) bool {
	return r >= 0x20 && r != 0x7f && (r < 0x80 || r >= 0xa0) && (r < 0xd800 || r > 0xdfff) && r != 0xfffe && r != 0xffff
}
