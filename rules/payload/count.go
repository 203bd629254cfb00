package payload

import "encoding/binary"

// maxValues bounds how many values of a payload are read: a value of a byte or two
// may take a hundred of memory. No payload of AWS's 128 KiB has more, but one of a
// listener that takes larger ones could have millions.
const maxValues = 128 << 10

// many reports whether JSON has more values than are read. It counts what may
// begin one: a list, an object, what follows a comma or a colon.
func many(text []byte) bool {
	values, inText := 1, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case !inText && (c == ',' || c == ':' || c == '[' || c == '{'):
			if values++; values > maxValues {
				return true
			}
		}
	}
	return false
}

// manyBinary is many for CBOR. What is not well-formed is the decoder's to refuse.
func manyBinary(data []byte) bool {
	for values := 1; len(data) > 0; values++ {
		if values > maxValues {
			return true
		}
		kind, n, used := data[0]>>5, uint64(data[0]&0x1f), 1
		if n >= 24 && n < 28 {
			used += 1 << (n - 24)
			if len(data) < used {
				return false
			}
			var wide [8]byte
			copy(wide[8-(used-1):], data[1:used])
			n = binary.BigEndian.Uint64(wide[:])
		} else if n >= 28 { // a length that is not known, or a break
			n = 0
		}
		data = data[used:]
		if kind == 2 || kind == 3 { // bytes and texts
			if n > uint64(len(data)) {
				return false
			}
			data = data[n:]
		}
	}
	return false
}
