package delivery

import "unicode/utf8"

// The bounds of a request, which are AWS's (§8.1 of the specification).
const (
	maxToken    = 64 // bytes
	maxVersion  = 65535
	maxFile     = 255
	minBlock    = 256
	maxBlock    = 131072
	maxOffset   = 98304 // blocks
	maxCount    = 98304 // blocks
	maxBitmap   = 12288 // bytes
	maxAnswer   = 131072
	maxRequest  = 64 << 10 // bytes of a request's payload: a bitmap as an array of numbers is the longest
	noVersion   = -1
	maxFiles    = 50
	maxFileSize = int64(maxOffset) * maxBlock
)

// request is a DescribeStream or a GetStream.
type request struct {
	token   string
	version int // noVersion: not checked
	file    int
	block   int // size of a block, bytes
	offset  int // blocks
	count   int // blocks; 0: as many as fit
	bitmap  []byte
	chosen  bool // by bitmap
}

// fields gives a request's values by name, in whatever format it came. A value
// that is null is not there.
type fields interface {
	// text is false when there is a value that is no text.
	text(name string) (value string, present, ok bool)
	// integer is false when there is a value that is no number, nor the text of
	// one; numbers that no field could hold come as very large or small ones.
	integer(name string) (value int64, present, ok bool)
	// bitmap is the chosen blocks; the fault says what is wrong with them.
	bitmap(name string) (bits []byte, present bool, fault *Fault)
}

// read takes a payload apart into a request of the given verb. A fault carries
// the token, if that could be read and is valid.
func (o *Options) read(verb string, format Format, payload []byte) (*request, *Fault) {
	if len(payload) > maxRequest {
		return nil, faultf(InvalidRequest, "the request has %d bytes, at most %d are read", len(payload), maxRequest)
	}
	var f fields
	var fault *Fault
	if format == CBOR {
		f, fault = readCBOR(payload)
	} else {
		f, fault = readJSON(payload, o.JSONBitmap)
	}
	if fault != nil {
		return nil, fault
	}
	q := &request{version: noVersion}
	token, _, ok := f.text("c")
	if !ok || len(token) > maxToken || !utf8.ValidString(token) {
		return nil, faultf(InvalidRequest, "c, the client token, must be a text of at most %d bytes", maxToken) // F58
	}
	q.token = token
	if verb == verbGet {
		fault = q.get(f)
	}
	if fault != nil {
		fault.Token = token
		return nil, fault
	}
	return q, nil
}

// get takes the fields of a GetStream.
func (q *request) get(f fields) *Fault {
	for _, n := range []struct {
		name     string
		to       *int
		low, top int64
		required bool
		code     Code
		what     string
	}{
		{"s", &q.version, 0, maxVersion, false, InvalidRequest, "the stream's version"},
		{"f", &q.file, 0, maxFile, true, InvalidRequest, "the file id"},
		{"l", &q.block, minBlock, maxBlock, true, BlockSize, "the block size in bytes"}, // F63
		{"o", &q.offset, 0, maxOffset, false, Offset, "the offset in blocks"},           // F64
		{"n", &q.count, 0, maxCount, false, BlockCount, "the number of blocks"},         // F64
	} {
		v, present, ok := f.integer(n.name)
		switch {
		case !ok:
			return faultf(InvalidRequest, "%s, %s, must be an integer", n.name, n.what)
		case !present && n.required:
			return faultf(InvalidRequest, "%s, %s, is missing", n.name, n.what)
		case !present:
		case v < n.low || v > n.top:
			return faultf(n.code, "%s, %s, must be from %d to %d", n.name, n.what, n.low, n.top)
		default:
			*n.to = int(v)
		}
	}
	var fault *Fault
	q.bitmap, q.chosen, fault = f.bitmap("b")
	return fault
}
