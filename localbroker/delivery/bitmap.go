package delivery

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// The values of Options.JSONBitmap. AWS's documentation contradicts itself: its
// text says hexadecimal, its examples too, and its servers were seen to read
// base64.
const (
	bitmapAuto   = "auto"
	bitmapBase64 = "base64"
	bitmapHex    = "hex"
)

// maxBitmapText is the longest text of a bitmap, in hexadecimal and with its 0x.
const maxBitmapText = 2*maxBitmap + 2

var errBitmap = faultf(InvalidRequest, "b, the bitmap, must be base64, hexadecimal after 0x, or an array of bytes")

func (f jsonFields) bitmap(name string) ([]byte, bool, *Fault) {
	v := f.value(name)
	if v == nil {
		return nil, false, nil
	}
	switch v[0] {
	case '[':
		bits, fault := arrayBitmap(v)
		return bits, true, fault
	case '"':
		if len(v) > maxBitmapText+2 { // before it is decoded
			return nil, true, tooLong()
		}
		var text string
		if json.Unmarshal(v, &text) != nil {
			return nil, true, refused()
		}
		bits, ok := decodeBitmap(text, f.bitmaps)
		if !ok {
			return nil, true, refused()
		}
		return checkedBitmap(bits)
	}
	return nil, true, refused()
}

func tooLong() *Fault {
	return faultf(BlockBitmap, "b, the bitmap, may have %d bytes", maxBitmap)
}

// refused is a fault of its own for each request, which puts its token in.
func refused() *Fault {
	f := *errBitmap
	return &f
}

func checkedBitmap(bits []byte) ([]byte, bool, *Fault) {
	if len(bits) > maxBitmap {
		return nil, true, tooLong() // F64
	}
	return bits, true, nil
}

// arrayBitmap reads an array of bytes, which AWS took in 2018.
func arrayBitmap(v json.RawMessage) ([]byte, *Fault) {
	var list []json.Number
	if strings.Count(string(v), ",") >= maxBitmap { // before it is decoded
		return nil, tooLong()
	}
	if json.Unmarshal(v, &list) != nil {
		return nil, refused()
	}
	bits := make([]byte, len(list))
	for i, n := range list {
		b, ok := parseInteger(n.String())
		if !ok || b < 0 || b > 255 {
			return nil, refused()
		}
		bits[i] = byte(b)
	}
	return bits, nil
}

// decodeBitmap reads a bitmap's text. In mode auto hexadecimal without 0x whose
// length is a multiple of four is read as base64, as AWS does (§8.2).
func decodeBitmap(text, mode string) ([]byte, bool) {
	digits, prefixed := strings.CutPrefix(strings.Replace(text, "0X", "0x", 1), "0x")
	if mode != bitmapBase64 && prefixed {
		if bits, ok := decodeHex(digits); ok || mode == bitmapHex {
			return bits, ok
		}
	}
	if mode != bitmapHex && text != "" && len(text)%4 == 0 && !strings.ContainsAny(text, "\r\n") {
		if bits, err := base64.StdEncoding.DecodeString(text); err == nil {
			return bits, true
		}
	}
	if mode == bitmapBase64 {
		return nil, false
	}
	return decodeHex(text)
}

func decodeHex(digits string) ([]byte, bool) {
	if digits == "" {
		return nil, false
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	bits, err := hex.DecodeString(digits)
	return bits, err == nil
}
