package upload

import (
	"crypto/sha1" //nolint:gosec // names a folder as EMQX does; nothing rests on it
	"encoding/binary"
	"encoding/hex"
	"path"
	"strings"
	"unicode/utf8"
)

// maxComponent is what a component of a path may have on common file systems.
const maxComponent = 255

// manifestSuffix ends the name of the manifest beside a file.
const manifestSuffix = ".MANIFEST.json"

// maxName leaves room for the manifest's.
const maxName = 240

// escape makes one component of a path from a client or file id, as EMQX does:
// nothing in it can leave its folder.
func escape(id string) string {
	if id == "." || id == ".." {
		return strings.ReplaceAll(id, ".", "%2E")
	}
	var b strings.Builder
	for i := 0; i < len(id); {
		r, n := utf8.DecodeRuneInString(id[i:])
		if r == utf8.RuneError && n <= 1 || strings.ContainsRune(`%:\/`, r) || !printable(r) {
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

// fits reports whether an id can be a component.
func fits(id string) bool { return len(escape(id)) <= maxComponent }

// printable is what EMQX takes for that: not the controls, nor what is no
// character.
func printable(r rune) bool {
	return r >= 0x20 && r != 0x7f && (r < 0x80 || r >= 0xa0) && (r < 0xd800 || r > 0xdfff) && r != 0xfffe && r != 0xffff
}

// validName reports whether a file may be called that: it is used as it is.
func validName(name string) bool {
	if name == "" || name == "." || name == ".." || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsAny(name, `/\:`) {
		return false
	}
	for _, r := range name {
		if !printable(r) {
			return false
		}
	}
	return true
}

// bucket is the folder of a client's file in EMQX's layout: the SHA-1 of
// the Erlang external term {ClientId, FileId}.
func bucket(p pair) string {
	term := []byte{0x83, 0x68, 0x02}
	for _, s := range []string{p.client, p.file} {
		term = append(term, 0x6d)
		term = binary.BigEndian.AppendUint32(term, uint32(len(s)))
		term = append(term, s...)
	}
	sum := sha1.Sum(term) //nolint:gosec // see above
	h := strings.ToUpper(hex.EncodeToString(sum[:]))
	return path.Join(h[:2], h[2:4], h[4:])
}

// pair identifies a transfer: not the session, nor the connection, nor the user.
type pair struct{ client, file string }

// key is the pair for the shelf: a length and both.
func (p pair) key() string {
	return string(binary.AppendUvarint(nil, uint64(len(p.client)))) + p.client + p.file
}
