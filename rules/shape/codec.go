package shape

import (
	"bytes"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/ebbgate/ebbgate/bridge"
)

// PropEncoding is the user property that names the compression of a payload;
// MQTT has no property of its own for it. Its value is gzip or zstd.
const PropEncoding = "content-encoding"

// codec compresses payloads one after the other. The nil codec does not.
type codec struct {
	name string
	gzip *gzip.Writer
	zstd *zstd.Encoder
	out  bytes.Buffer
	buf  []byte
}

// zstdWindow is how far back zstd looks: the largest payload of AWS. It bounds
// what an encoder keeps in memory.
const zstdWindow = 128 << 10

func newCodec(name string) *codec {
	c := &codec{name: name}
	switch name {
	case Gzip:
		c.gzip = gzip.NewWriter(nil)
	case Zstd:
		// It fails for wrong options only.
		c.zstd, _ = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithLowerEncoderMem(true))
	default:
		return nil
	}
	return c
}

// compress returns data compressed, as good until the next call.
func (c *codec) compress(data []byte) []byte {
	if c.zstd != nil {
		c.buf = c.zstd.EncodeAll(data, c.buf[:0])
		return c.buf
	}
	c.out.Reset()
	c.gzip.Reset(&c.out)
	_, _ = c.gzip.Write(data) // into memory
	_ = c.gzip.Close()
	return c.out.Bytes()
}

// smaller returns data compressed, as good until the next call, and whether that makes it
// smaller, mark included.
func (c *codec) smaller(data []byte) ([]byte, bool) {
	if c == nil {
		return nil, false
	}
	small := c.compress(data)
	return small, len(small)+len(PropEncoding)+len(c.name) < len(data)
}

// mark says of a record that its payload is compressed.
func (c *codec) mark(r *bridge.Record) {
	r.User = append(r.User[:len(r.User):len(r.User)], bridge.UserProperty{Key: PropEncoding, Value: c.name})
	r.PayloadFormat = 0
}

// compressor compresses each message by itself, where that makes it smaller.
type compressor struct{ codec *codec }

func (c *compressor) take(it *item, next func(*item)) {
	payload, wrapped := it.enveloped(false)
	small, smaller := c.codec.smaller(payload)
	if !smaller {
		next(it)
		return
	}
	rec, to := *it.rec, *it.to
	rec.Payload = bytes.Clone(small)
	if wrapped {
		rec.ContentType, to.Origin = "application/json", bridge.OriginNone
	}
	c.codec.mark(&rec)
	it.rec, it.to = &rec, &to
	next(it)
}

func (c *compressor) ripe(time.Duration, func(*item)) time.Duration { return never }
