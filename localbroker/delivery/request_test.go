package delivery

import (
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func options(change ...func(*Options)) *Options {
	o := DefaultOptions()
	for _, f := range change {
		f(&o)
	}
	return &o
}

// asked reads a GetStream of JSON and lists its blocks, or says why not.
func asked(t *testing.T, o *Options, size int64, text string) ([]int, error) {
	t.Helper()
	q, fault := o.read(verbGet, JSON, []byte(text))
	if fault != nil {
		return nil, fault
	}
	return q.blocks(size, o.Range == rangeLenient)
}

// TestF67_Bitmaps are the specification's worked examples.
func TestF67_Bitmaps(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   []int
	}{
		{`"o":20,"b":"EwCA","n":32`, []int{20, 21, 24, 43}},
		{`"o":20,"b":"EwCA","n":2`, []int{20, 21}},
		{`"o":0,"b":"AQ=="`, []int{0}},
		{`"o":0,"b":"gA=="`, []int{7}},
		{`"o":0,"b":"AAE="`, []int{8}},
		{`"o":5,"b":"MQ=="`, []int{5, 9, 10}},
		{`"l":65536,"b":"Hw=="`, []int{0, 1}},
		{`"l":32768,"o":1,"b":"4Q=="`, []int{1, 6, 7, 8}},
	} {
		if !strings.Contains(c.fields, `"l"`) {
			c.fields += `,"l":256`
		}
		if got, err := asked(t, options(), 1<<30, `{"f":0,`+c.fields+`}`); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v %v, want %v", c.fields, got, err, c.want)
		}
	}
	payload := cborOf(t, map[string]any{"f": 0, "l": 4096, "o": 5, "b": []byte("MQ=="), "n": 4})
	q, fault := options().read(verbGet, CBOR, payload)
	if fault != nil {
		t.Fatal(fault)
	}
	if got, err := q.blocks(1<<20, false); err != nil || !slices.Equal(got, []int{5, 7, 8, 11}) {
		t.Errorf("%v %v", got, err)
	}
}

func cborOf(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestF68_CountLimitsBitmap: the first n set bits, and a larger n changes nothing.
func TestF68_CountLimitsBitmap(t *testing.T) {
	for n, want := range map[int][]int{1: {1}, 3: {1, 2, 3}, 98304: {1, 2, 3, 4}, 0: {1, 2, 3, 4}} {
		got, err := asked(t, options(), 1<<20, fmt.Sprintf(`{"f":0,"l":256,"b":"Hg==","n":%d}`, n))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("n=%d: %v %v, want %v", n, got, err, want)
		}
	}
}

// TestF69_BitmapSpellings: each mode takes its own, and an array is taken in all.
func TestF69_BitmapSpellings(t *testing.T) {
	const refusal = "refused"
	for _, c := range []struct{ text, auto, base64, hex string }{
		{`"EwCA"`, "[20 21 24 43]", "[20 21 24 43]", refusal},
		{`"0x1300800"`, "[20 32 33 39]", refusal, "[20 32 33 39]"},
		{`"0X1300"`, "[20 21 24]", refusal, "[20 21 24]"},
		{`"0x130080"`, "[20 21 24 43]", "[20 21 24 26 27 28 30 31 32 36 37 38 40 41 42 44 45 48 50 51 52 53 54 55 58 62 64 65]", "[20 21 24 43]"}, // base64 too, by its letters
		{`"130080"`, "[20 21 24 43]", refusal, "[20 21 24 43]"},
		{`[19,0,128]`, "[20 21 24 43]", "[20 21 24 43]", "[20 21 24 43]"},
		{`"f"`, "[20 21 22 23]", refusal, "[20 21 22 23]"},
		{`"0xf"`, "[20 21 22 23]", refusal, "[20 21 22 23]"},
		{`"0f0f"`, "[20 24 26 27 28 30 31 32 33 34 35 36 37 38 39 40]", "[20 24 26 27 28 30 31 32 33 34 35 36 37 38 39 40]", "[20 21 22 23 28 29 30 31]"}, // as AWS
		{`"!"`, refusal, refusal, refusal},
		{`""`, refusal, refusal, refusal},
		{`"AQ=\n"`, refusal, refusal, refusal},
		{`17`, refusal, refusal, refusal},
		{`[256]`, refusal, refusal, refusal},
		{`[1.5]`, refusal, refusal, refusal},
		{`[[1]]`, refusal, refusal, refusal},
		{`{}`, refusal, refusal, refusal},
	} {
		for mode, want := range map[string]string{bitmapAuto: c.auto, bitmapBase64: c.base64, bitmapHex: c.hex} {
			got, err := asked(t, options(func(o *Options) { o.JSONBitmap = mode }), 1<<20, `{"f":0,"l":256,"o":20,"b":`+c.text+`}`)
			text := fmt.Sprint(got)
			if f, ok := errors.AsType[*Fault](err); ok && f.Code == InvalidRequest {
				text = refusal
			}
			if text != want {
				t.Errorf("%s in mode %s: %s (%v), want %s", c.text, mode, text, err, want)
			}
		}
	}
}

// TestBlocks is the algorithm at its edges.
func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		name    string
		size    int64
		fields  string
		strict  string
		lenient string
	}{
		{"F66 as many as fit", 1 << 20, `"l":65536`, "[0 1]", "[0 1]"},
		{"F66 an odd size", 1 << 20, `"l":60000`, "[0 1]", "[0 1]"},
		{"F65 five blocks of 32 KB", 300000, `"l":32768,"n":5`, "[0 1 2 3]", "[0 1 2 3]"},
		{"F65 the fifth", 300000, `"l":32768,"n":5,"o":4`, "[4 5 6 7]", "[4 5 6 7]"},
		{"F71 past the end", 51200, `"l":4096,"o":12,"n":5`, errRange.Error(), "[12]"},
		{"F71 all past the end", 51200, `"l":4096,"o":13,"n":1`, errRange.Error(), errRange.Error()},
		{"the limit comes before the end", 51200, `"l":4096,"o":12,"b":"MQ==","n":1`, "[12]", "[12]"},
		{"nothing is chosen", 51200, `"l":4096,"b":"AAA="`, errNothing.Error(), errNothing.Error()},
		{"an empty file", 0, `"l":256,"n":1`, errRange.Error(), errRange.Error()},
		{"trailing zero bytes", 51200, `"l":4096,"b":"AQAA"`, "[0]", "[0]"},
		{"the largest offset", maxFileSize, `"l":131072,"o":98303`, "[98303]", "[98303]"},
	} {
		for mode, want := range map[string]string{rangeStrict: c.strict, rangeLenient: c.lenient} {
			got, err := asked(t, options(func(o *Options) { o.Range = mode }), c.size, `{"f":0,`+c.fields+`}`)
			text := fmt.Sprint(got)
			if err != nil {
				text = err.Error()
			}
			if text != want {
				t.Errorf("%s, %s: %s, want %s", c.name, mode, text, want)
			}
		}
	}
}

// TestF74_HugeLengthsCostNothing: a declared length alone allocates nothing, and
// nesting ends early.
func TestF74_HugeLengthsCostNothing(t *testing.T) {
	for name, payload := range map[string][]byte{
		"a byte string of 2^62":  append([]byte("\xa1\x61b\x5b"), 0x40, 0, 0, 0, 0, 0, 0, 0),
		"an array of 2^32":       append([]byte("\xa1\x61b\x9a"), 0xff, 0xff, 0xff, 0xff),
		"a map of 2^32":          {0xba, 0xff, 0xff, 0xff, 0xff},
		"nested":                 append([]byte("\xa1\x61b"), []byte(strings.Repeat("\x81", 1000))...),
		"a tag":                  []byte("\xa1\x61f\xc2\x41\x01"),
		"not a map":              []byte("\x81\x01"),
		"a key that is a number": []byte("\xa1\x01\x01"),
		"a key twice":            []byte("\xa2\x61f\x01\x61f\x02"),
		"two values":             []byte("\xa0\xa0"),
		"nothing":                {},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, fault := options().read(verbGet, CBOR, payload)
		runtime.ReadMemStats(&after)
		if fault == nil || fault.Code != InvalidCBOR {
			t.Errorf("%s: %v", name, fault)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
	indefinite := []byte("\xbf\x61f\x00\x61l\x19\x01\x00\x61b\x5f\x41\x13\x42\x00\x80\xff\xff")
	q, fault := options().read(verbGet, CBOR, indefinite)
	if fault != nil || base64.StdEncoding.EncodeToString(q.bitmap) != "EwCA" {
		t.Errorf("an indefinite map: %v", fault)
	}
}

// TestRequestIsReadByTheLetter: names count exactly, null is absence.
func TestRequestIsReadByTheLetter(t *testing.T) {
	for text, want := range map[string]Code{
		`{"F":0,"l":256}`:                    InvalidRequest,
		`{"f":null,"l":256}`:                 InvalidRequest,
		`[]`:                                 InvalidRequest,
		`null`:                               InvalidRequest,
		``:                                   InvalidJSON,
		`{"f":0,"l":256}x`:                   InvalidJSON,
		`{"f":0,"l":1e300}`:                  BlockSize,
		`{"f":0,"l":256.5}`:                  InvalidRequest,
		`{"f":0,"l":256,"c":7}`:              InvalidRequest,
		`{"f":0,"l":256,"s":65536}`:          InvalidRequest,
		`{"f":0,"l":256,"s":-1}`:             InvalidRequest,
		`{"f":true,"l":256}`:                 InvalidRequest,
		`{"f":"0x1","l":256}`:                InvalidRequest,
		`{"f":"","l":256}`:                   InvalidRequest,
		`{"f":0,"l":256,"o":99999999999999}`: Offset,
		`{"f":0,"l":256,"n":-1}`:             BlockCount,
		`{"f":0,"l":256,"b":"` + strings.Repeat("A", 30000) + `"}`:      BlockBitmap,
		`{"f":0,"l":256,"b":[` + strings.Repeat("1,", 12288) + `1]}`:    BlockBitmap,
		`{"f":0,"l":256,"x":"` + strings.Repeat("A", maxRequest) + `"}`: InvalidRequest,
	} {
		if _, fault := options().read(verbGet, JSON, []byte(text)); fault == nil || fault.Code != want {
			t.Errorf("%.60s: %v, want %s", text, fault, want)
		}
	}
	q, fault := options().read(verbGet, JSON, []byte(`{"c":null,"f":3.0,"l":"256","o":1e1,"n":null,"s":null,"b":null,"x":{}}`))
	if fault != nil || q.file != 3 || q.block != 256 || q.offset != 10 || q.count != 0 || q.version != noVersion || q.chosen || q.token != "" {
		t.Errorf("%+v %v", q, fault)
	}
}

func FuzzCBORRequest(f *testing.F) {
	f.Add([]byte("\xa6acbbmaf\x05al\x19\x10\x00ao\x05abDMQ==an\x01"))
	f.Add([]byte("\xbf\x61f\x00\x61l\x19\x01\x00\x61b\x5f\x41\x13\x42\x00\x80\xff\xff"))
	f.Add([]byte("\xa1\x61b\x5b\x40\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, payload []byte) { fuzzRequest(t, CBOR, payload) })
}

func FuzzJSONRequest(f *testing.F) {
	f.Add([]byte(`{"c":"t","s":1,"f":0,"l":4096,"o":2,"n":1,"b":"EwCA"}`))
	f.Add([]byte(`{"f":"0","l":"256","b":[19,0,128]}`))
	f.Fuzz(func(t *testing.T, payload []byte) { fuzzRequest(t, JSON, payload) })
}

// fuzzRequest: whatever comes, a request that is taken is within its bounds, and
// so is what it is answered by.
func fuzzRequest(t *testing.T, format Format, payload []byte) {
	q, fault := options().read(verbGet, format, payload)
	if fault != nil {
		if len(fault.Token) > maxToken {
			t.Fatalf("token %q", fault.Token)
		}
		fault.payload(format)
		return
	}
	if q.file < 0 || q.file > maxFile || q.block < minBlock || q.block > maxBlock || q.offset < 0 || q.offset > maxOffset ||
		q.count < 0 || q.count > maxCount || len(q.bitmap) > maxBitmap || len(q.token) > maxToken || q.version < noVersion || q.version > maxVersion {
		t.Fatalf("%+v", q)
	}
	const size = 10 << 20
	blocks, err := q.blocks(size, false)
	if err != nil {
		return
	}
	if !slices.IsSorted(blocks) || len(blocks)*q.block > maxAnswer || int64(blocks[len(blocks)-1])*int64(q.block) >= size {
		t.Fatalf("%+v: %v", q, blocks)
	}
}

func FuzzBitmap(f *testing.F) {
	for _, text := range []string{"EwCA", "0x130080", "0X1", "", "MQ==", "zz"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		auto, ok := decodeBitmap(text, bitmapAuto)
		_, is64 := decodeBitmap(text, bitmapBase64)
		_, isHex := decodeBitmap(text, bitmapHex)
		if ok != (is64 || isHex) {
			t.Fatalf("%q: auto %v, base64 %v, hex %v", text, ok, is64, isHex)
		}
		if len(auto) > len(text) {
			t.Fatalf("%q made %d bytes", text, len(auto))
		}
	})
}

func FuzzTopic(f *testing.F) {
	f.Add("$aws/things/t1/streams/S1/get/json")
	f.Add("$aws/things/+/streams/#")
	f.Fuzz(func(t *testing.T, text string) {
		if !ours(text) {
			return
		}
		if parsed, err := parseTopic(text); err == nil && parsed.String() != text {
			t.Fatalf("%q became %q", text, parsed.String())
		}
	})
}
