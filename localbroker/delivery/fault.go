package delivery

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// Code is the reason of a rejection.
type Code string

// The codes that a gateway gives: Unauthorized and ETagMismatch, which are about AWS's
// storage, as AWS has given them. AWS has InvalidTopic besides, for which there is no
// topic to say it on.
const (
	InvalidJSON        Code = "InvalidJson"
	InvalidCBOR        Code = "InvalidCbor"
	InvalidRequest     Code = "InvalidRequest"
	BlockSize          Code = "BlockSizeOutOfBounds"
	Offset             Code = "OffsetOutOfBounds"
	BlockCount         Code = "BlockCountLimitExceeded"
	BlockBitmap        Code = "BlockBitmapLimitExceeded"
	ResourceNotFound   Code = "ResourceNotFound"
	VersionMismatch    Code = "VersionMismatch"
	ETagMismatch       Code = "ETagMismatch"
	Unauthorized       Code = "Unauthorized"
	InternalError      Code = "InternalError"
	invalidTopicReason      = "stream-topic" // in the drop log
)

// Fault is why a request is rejected. A device that sent a valid token gets it
// back.
type Fault struct {
	Code  Code
	Text  string
	Token string
}

// Error implements error.
func (f *Fault) Error() string { return string(f.Code) + ": " + f.Text }

func faultf(c Code, format string, args ...any) *Fault {
	return &Fault{Code: c, Text: fmt.Sprintf(format, args...)}
}

// rejection is a fault on the wire: AWS sends both spellings of everything at
// once (F73).
type rejection struct {
	O           Code   `json:"o" cbor:"o"`
	Code        Code   `json:"code" cbor:"code"`
	M           string `json:"m" cbor:"m"`
	Message     string `json:"message" cbor:"message"`
	C           string `json:"c,omitempty" cbor:"c,omitempty"`
	ClientToken string `json:"clientToken,omitempty" cbor:"clientToken,omitempty"`
}

func (f *Fault) payload(format Format) []byte {
	return marshal(format, rejection{f.Code, f.Code, f.Text, f.Text, f.Token, f.Token})
}

// marshal writes what consists of numbers, texts and bytes.
func marshal(format Format, v any) []byte {
	var b []byte
	var err error
	if format == CBOR {
		b, err = cborWriter.Marshal(v)
	} else {
		b, err = json.Marshal(v)
	}
	if err != nil {
		panic("delivery: " + err.Error())
	}
	return b
}

// mostHeard is how much of somebody else's words is passed on, in bytes.
const mostHeard = 512

// heard makes what a cloud says fit to be shown: it is short, and no terminal obeys it.
func heard(text string) string {
	if len(text) > mostHeard {
		text = strings.ToValidUTF8(text[:mostHeard], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}
