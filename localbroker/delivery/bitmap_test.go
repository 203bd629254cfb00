package delivery

import (
	"slices"
	"testing"
)

// TestF67F68F69_Bitmaps: what a device chooses by a bitmap is what comes, however it
// is spelled, and no more of it than it asked for.
func TestF67F68F69_Bitmaps(t *testing.T) {
	s := openSite(t).defined()
	d := s.listener("t1")
	for fields, want := range map[string][]int{
		`"o":20,"b":"EwCA","n":32`:        {20, 21, 24, 43},
		`"o":20,"b":"EwCA","n":2`:         {20, 21},
		`"o":20,"b":"EwCA","n":98304`:     {20, 21, 24, 43},
		`"o":20,"b":"0x1300800"`:          {20, 32, 33, 39},
		`"o":20,"b":[19,0,128],"n":3`:     {20, 21, 24},
		`"o":20,"b":"EwCA","n":1,"s":"1"`: {20},
	} {
		d.get(`"f":5,"l":256,` + fields)
		if got := d.blocks(len(want), 5, 256); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", fields, got, want)
		}
	}
	d.ask("S1", verbGet, CBOR, cborOf(t, map[string]any{"f": 5, "l": 256, "o": 5, "b": []byte("MQ=="), "n": 4}))
	if got := d.blocks(4, 5, 256); !slices.Equal(got, []int{5, 7, 8, 11}) {
		t.Errorf("%v", got)
	}
	for _, bitmap := range []string{`"!"`, `""`, `17`, `[256]`, `{}`} {
		d.get(`"f":5,"l":256,"b":` + bitmap)
		d.rejected(InvalidRequest)
	}
	d.quiet()
	s.undisturbed()
}

// TestF74_HostileCBOR: a map without a length is read, and lengths that are lies are
// refused; others are served.
func TestF74_HostileCBOR(t *testing.T) {
	s := openSite(t).defined()
	d := s.listener("t1")
	d.ask("S1", verbGet, CBOR, []byte("\xbf\x61f\x00\x61l\x19\x01\x00\x61b\x5f\x41\x13\x42\x00\x80\xff\xff"))
	if got := d.blocks(4, 0, 256); !slices.Equal(got, []int{0, 1, 4, 23}) {
		t.Errorf("%v", got)
	}
	for _, lie := range []string{
		"\xa1\x61b\x5b\x40\x00\x00\x00\x00\x00\x00\x00", "\xa1\x61b\x9a\xff\xff\xff\xff", "\xba\xff\xff\xff\xff",
		"\xa1\x61b\x81\x81\x81\x81\x81\x81\x01", "\x81\x01", "",
	} {
		d.ask("S1", verbGet, CBOR, []byte(lie))
		d.rejected(InvalidCBOR)
	}
	s.undisturbed()
}
