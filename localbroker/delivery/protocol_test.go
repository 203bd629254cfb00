package delivery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestF57_Describe: the answer is in the request's format, and has a token when
// the request had one.
func TestF57_Describe(t *testing.T) {
	s := openSite(t).defined()
	d := s.listener("t1")
	for _, format := range []Format{JSON, CBOR} {
		for _, token := range []string{"", "tok"} {
			q := map[string]any{}
			if token != "" {
				q["c"] = token
			}
			d.ask("S1", verbDescribe, format, marshal(format, q))
			m := d.next()
			got, _ := m.fields["c"].(string)
			files, _ := m.fields["r"].([]any)
			if _, there := m.fields["c"]; m.verb != verbDescription || m.format != format || got != token || there != (token != "") ||
				m.number("s") != 1 || m.fields["d"] != "test stream" || len(files) != 7 {
				t.Errorf("%s: %v", format, m.fields)
			}
		}
	}
}

// TestF58_Token: 64 bytes are echoed, 65 are not.
func TestF58_Token(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"f":0,"l":256,"n":1,"c":"` + strings.Repeat("x", 64) + `"`)
	if m := d.next(); m.fields["c"] != strings.Repeat("x", 64) || m.verb != verbData {
		t.Errorf("%v", m.fields)
	}
	d.get(`"f":0,"l":256,"n":1,"c":"` + strings.Repeat("x", 65) + `"`)
	m := d.rejected(InvalidRequest)
	if _, echoed := m.fields["c"]; echoed || m.fields["clientToken"] != nil {
		t.Errorf("%v", m.fields)
	}
}

// TestF59_NotFound: an unknown stream or file, and a name that can be none.
func TestF59_NotFound(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	for _, stream := range []string{"S2", "..", "a%2fb", ".new-1"} {
		d.ask(stream, verbDescribe, JSON, []byte(`{}`))
		d.rejected(ResourceNotFound)
	}
	d.get(`"f":9,"l":256,"n":1`)
	d.rejected(ResourceNotFound)
}

// TestF60_Version: equal, absent, and different, 0 included.
func TestF60_Version(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"s":1,"f":0,"l":256,"n":1`)
	d.blocks(1, 0, 256)
	d.get(`"f":0,"l":256,"n":1`)
	d.blocks(1, 0, 256)
	for _, v := range []int{0, 2} {
		d.get(fmt.Sprintf(`"s":%d,"f":0,"l":256,"n":1`, v))
		d.rejected(VersionMismatch)
	}
}

// TestF61_Blocks: absolute numbers, ascending, each with the token.
func TestF61_Blocks(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"c":"t","f":0,"l":4096,"o":2,"n":3`)
	if got := d.blocks(3, 0, 4096); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("%v", got)
	}
	d.quiet()
}

// TestF62_LastBlock says how long it is.
func TestF62_LastBlock(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"f":1,"l":4096,"o":12,"n":1`)
	if m := d.next(); m.number("l") != 2048 || len(m.p) != 2048 {
		t.Errorf("%v", m.number("l"))
	}
}

// TestF63_BlockSize and TestF64: the bounds, on both sides of each.
func TestF63_BlockSize(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	for _, l := range []int{255, 131073, -256} {
		d.get(fmt.Sprintf(`"f":0,"l":%d,"n":1`, l))
		d.rejected(BlockSize)
	}
	d.get(`"f":0,"l":256,"n":1`)
	d.blocks(1, 0, 256)
	d.get(`"f":0,"l":131072,"n":1`) // 175 KB of base64: more than a payload may have (§14)
	d.blocks(1, 0, 131072)
}

func TestF64_OffsetCountBitmap(t *testing.T) {
	s := openSite(t).defined()
	d := s.listener("t1")
	for fields, code := range map[string]Code{
		`"f":0,"l":256,"o":98305`:         Offset,
		`"f":0,"l":256,"o":-1`:            Offset,
		`"f":0,"l":256,"n":98305`:         BlockCount,
		`"f":0,"l":256,"o":98304,"n":1`:   InvalidRequest, // allowed, and past the end
		`"f":0,"l":256,"n":98304,"o":511`: InvalidRequest,
	} {
		d.get(fields)
		d.rejected(code)
	}
	d.ask("S1", verbGet, CBOR, cborOf(t, map[string]any{"f": 0, "l": 256, "b": make([]byte, 12289)}))
	d.rejected(BlockBitmap)
	all := slices.Repeat([]byte{0xff}, 12288)
	d.ask("S1", verbGet, CBOR, cborOf(t, map[string]any{"f": 5, "l": 256, "b": all}))
	if got := d.blocks(512, 5, 256); got[511] != 511 {
		t.Errorf("%v", got)
	}
}

// TestF65_AnswerIsBounded: the fifth of five blocks of 32 KB comes when it is asked
// for, and not before.
func TestF65_AnswerIsBounded(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"f":5,"l":32768,"n":5`)
	d.blocks(4, 5, 32768)
	d.quiet()
	d.get(`"f":5,"l":32768,"o":4,"n":1`)
	d.get(`"f":5,"l":32768,"b":"EA=="`)
	if got := d.blocks(2, 5, 32768); !slices.Equal(got, []int{4, 4}) {
		t.Errorf("%v", got)
	}
}

// TestF66_DefaultCount is as many blocks as fit.
func TestF66_DefaultCount(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"f":5,"l":65536,"o":1`)
	if got := d.blocks(2, 5, 65536); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("%v", got)
	}
}

// TestF70_CLibrary sends the bytes of AWS's C library, for the last block too.
func TestF70_CLibrary(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.ask("S1", verbGet, JSON, []byte(`{"s": 1,"f": 0,"l": 4096,"o": 31,"n": 1}`))
	d.blocks(1, 0, 4096)
	d.ask("S1", verbGet, CBOR, []byte("\xa6acbbmaf\x01al\x19\x10\x00ao\x0cabDMQ==an\x01"))
	if got := d.blocks(1, 1, 4096); got[0] != 12 {
		t.Errorf("%v", got)
	}
}

// TestF71_PastTheEnd: strict refuses all of it, lenient sends what is there.
func TestF71_PastTheEnd(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"f":1,"l":4096,"o":12,"n":5`)
	if m := d.rejected(InvalidRequest); m.fields["m"] != errRange.Error() {
		t.Errorf("%v", m.fields)
	}
	d.quiet()
	d = openSite(t, func(o *Options) { o.Range = rangeLenient }).defined().listener("t1")
	d.get(`"f":1,"l":4096,"o":12,"n":5`)
	d.blocks(1, 1, 4096)
	d.quiet()
}

// TestF72_Broken and TestF73: broken requests are answered in their format, errors
// in both spellings.
func TestF72_Broken(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.ask("S1", verbGet, JSON, []byte(`{"f":0,`))
	if m := d.rejected(InvalidJSON); m.format != JSON {
		t.Errorf("%s", m.format)
	}
	d.ask("S1", verbGet, CBOR, []byte("\xa2\x61f"))
	if m := d.rejected(InvalidCBOR); m.format != CBOR {
		t.Errorf("%s", m.format)
	}
}

func TestF73_BothSpellings(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	for _, format := range []Format{JSON, CBOR} {
		d.ask("S1", verbGet, format, marshal(format, map[string]any{"c": "k", "f": 9, "l": 256}))
		f := d.rejected(ResourceNotFound).fields
		if f["code"] != f["o"] || f["m"] == "" || f["message"] != f["m"] || f["c"] != "k" || f["clientToken"] != "k" {
			t.Errorf("%s: %v", format, f)
		}
	}
}

// TestF75_NumbersAsTexts are taken.
func TestF75_NumbersAsTexts(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	d.get(`"f":"0","l":"60000","n":"1","o":"1"`)
	d.blocks(1, 0, 60000)
}

// TestF76_Repeat: what was lost is asked for again, whole or by bitmap.
func TestF76_Repeat(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	for range 3 {
		d.get(`"f":0,"l":256,"n":1`)
		d.blocks(1, 0, 256)
	}
	d.get(`"f":0,"l":256,"b":"BQ=="`)
	if got := d.blocks(2, 0, 256); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("%v", got)
	}
}

// TestF78_OddBlocks: sizes that are no power of two, over chunks' borders.
func TestF78_OddBlocks(t *testing.T) {
	d := openSite(t).defined().listener("t1")
	for _, l := range []int{60000, 70000, 257} {
		n := min(maxAnswer/l, (300000+l-1)/l)
		d.get(fmt.Sprintf(`"f":5,"l":%d,"n":%d`, l, n))
		d.blocks(n, 5, l)
		d.get(fmt.Sprintf(`"f":5,"l":%d,"n":1,"o":%d`, l, (300000-1)/l))
		d.blocks(1, 5, l)
	}
}
